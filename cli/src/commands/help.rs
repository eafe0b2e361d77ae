//! `help [CMD]`: the commands with the current settings, or one command at length.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Context, Outcome, line, unknown_command};
use crate::Exit;
use crate::printer::Report;

/// Show the commands and the current settings, or how one command is used
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The command to explain, as `load` or `cluster invite`
    command: Vec<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    if args.command.is_empty() {
        overview(context)
    } else {
        explain(&args.command, context)
    }
}

/// How the command that these words name is used.
pub(super) fn explain(words: &[String], context: &Context) -> Outcome {
    let mut line = line();
    line.build();
    let mut command = &mut line;
    for (index, name) in words.iter().enumerate() {
        let known = words.get(..index).unwrap_or_default();
        command = command
            .find_subcommand_mut(name)
            .ok_or_else(|| unknown_command(known, name, Exit::Usage))?;
    }
    let text = command.render_long_help().to_string();
    context.printer.report(&CommandHelp {
        name: words.join(" "),
        text,
    });
    Ok(Exit::Done)
}

/// What `director` alone and `director help` print; nothing else happens.
pub(crate) fn overview(context: &Context) -> Outcome {
    let settings = match context.directory.settings() {
        Ok(read) => vec![
            (
                "THESPIAN_DIRECTOR_DIR",
                context.directory.path().display().to_string(),
            ),
            ("System Base", read.settings.system_base_shown().to_owned()),
            ("Admin Port", read.settings.admin_port.to_string()),
        ],
        Err(error) => vec![
            (
                "THESPIAN_DIRECTOR_DIR",
                context.directory.path().display().to_string(),
            ),
            ("Settings", format!("cannot be read: {error}")),
        ],
    };
    let line = line();
    let commands = line.get_subcommands().map(|command| {
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        (command.get_name().to_owned(), about)
    });
    context.printer.report(&Overview {
        settings,
        commands: commands.collect(),
    });
    Ok(Exit::Done)
}

struct CommandHelp {
    name: String,
    text: String,
}

impl Report for CommandHelp {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.text.trim_end())
    }

    fn json(&self) -> Value {
        json!({ "command": self.name, "help": self.text })
    }
}

struct Overview {
    settings: Vec<(&'static str, String)>,
    commands: Vec<(String, String)>,
}

impl Report for Overview {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Usage: director [verbose] [--json] [COMMAND [ARGS]]\n")?;
        writeln!(out, "Commands (`director help COMMAND` explains one):")?;
        let width = self
            .commands
            .iter()
            .map(|(name, _)| name.len())
            .max()
            .unwrap_or(0);
        for (name, about) in &self.commands {
            writeln!(out, "  {name:width$}  {about}")?;
        }
        writeln!(out, "\nCurrent settings (`director config` shows all):")?;
        for (name, value) in &self.settings {
            writeln!(out, "  {name}: {value}")?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let commands = self
            .commands
            .iter()
            .map(|(name, about)| json!({"name": name, "about": about}));
        let settings: serde_json::Map<_, _> = self
            .settings
            .iter()
            .map(|(name, value)| (name.to_lowercase().replace(' ', "_"), json!(value)))
            .collect();
        json!({ "commands": commands.collect::<Vec<_>>(), "settings": settings })
    }
}
