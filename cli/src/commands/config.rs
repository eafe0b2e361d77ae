//! `config`: the settings as they are understood, and the Python that results.

use std::io::{self, Write};

use node::directory::Settings;
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::Exit;
use crate::printer::Report;
use crate::python;

/// Show where the settings are read from and what they are
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, context: &Context) -> Outcome {
    let settings = context.settings()?;
    let python = python::describe(&settings, &context.directory);
    let lines = lines(context, &settings, &python);
    context.printer.report(&Config { lines });
    Ok(Exit::Done)
}

fn lines(context: &Context, settings: &Settings, python: &str) -> Vec<Line> {
    let raw = |file: &str| settings.texts.get(file).cloned();
    let mut lines = vec![
        Line::new("Sources location", context.directory.path().display()),
        Line::new("System Base", settings.system_base_shown()),
    ];
    if let Some(base) = &settings.old_system_base {
        lines.push(Line::new("OLD System Base", base));
    }
    lines.push(Line::new("Admin Port", settings.admin_port));
    lines.push(Line::new(
        "Logging directory",
        settings.log_directory.display(),
    ));
    if !settings.convention_leaders.is_empty() {
        let leaders: Vec<_> = settings
            .convention_leaders
            .iter()
            .map(ToString::to_string)
            .collect();
        lines.push(Line::new("Convention Leader", leaders.join(", ")));
    }
    let capabilities = raw("othercaps.cfg").unwrap_or_else(|| "{}".to_owned());
    lines.push(Line::new("Other Capabilities", capabilities));
    lines.push(Line::new("Node name", &settings.node_name));
    lines.push(Line::new("Python", python));
    for (label, file) in FURTHER {
        lines.extend(raw(file).map(|text| Line::new(label, text)));
    }
    lines
}

struct Line {
    label: &'static str,
    value: String,
}

impl Line {
    fn new(label: &'static str, value: impl ToString) -> Self {
        Self {
            label,
            value: value.to_string(),
        }
    }
}

struct Config {
    lines: Vec<Line>,
}

impl Report for Config {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for line in &self.lines {
            let value = line.value.replace('\n', &format!("\n{:21}", ""));
            writeln!(out, "{:>19}: {value}", line.label)?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let key = |label: &str| label.to_lowercase().replace(' ', "_");
        self.lines
            .iter()
            .map(|line| (key(line.label), json!(line.value)))
            .collect()
    }
}

/// Shown when their files are there.
const FURTHER: [(&str, &str); 11] = [
    ("Voter", "voter.cfg"),
    ("Voters", "convvoters.cfg"),
    ("Offline", "offline.cfg"),
    ("Advertise", "advertise.cfg"),
    ("Listen", "listen.cfg"),
    ("Python path", "pythonpath.cfg"),
    ("Environment", "environment.cfg"),
    ("Drain", "drain.cfg"),
    ("Client group", "clientgroup.cfg"),
    ("Pickle", "pickle.cfg"),
    ("Store limit", "storelimit.cfg"),
];
