//! The commands: one file per verb, named here once.
//!
//! A verb's file has `Args` (clap) and `run(&Args, &Context) -> Outcome`; the doc comment of
//! `Args` is its help.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use node::directory::{Directory, Settings};

use crate::words;
use crate::{Exit, Failure, Printer};

mod ask;
mod avail;
mod bootstart;
mod cluster;
mod completions;
mod config;
mod dead_letters;
mod demo;
mod doctor;
mod dump;
mod gensrc;
mod help;
mod history;
mod keygen;
mod list;
mod load;
mod logs;
mod operate;
mod refresh;
mod restart;
mod resume;
mod role;
mod rollback;
mod shutdown;
mod start;
mod stop;
mod tell;
mod tlsinfo;
mod unload;

macro_rules! verbs {
    ($($name:ident($module:ident)),+ $(,)?) => {
        /// What to do.
        #[derive(Debug, Subcommand)]
        enum Verb {
            $(#[allow(missing_docs, reason = "the doc of Args is the help")] $name($module::Args)),+
        }

        impl Verb {
            fn run(&self, context: &Context) -> Outcome {
                match self {
                    $(Self::$name(args) => $module::run(args, context)),+
                }
            }
        }
    };
}
use verbs;

verbs! {
    Help(help),
    Config(config),
    Keygen(keygen),
    Gensrc(gensrc),
    Tlsinfo(tlsinfo),
    Avail(avail),
    Start(start),
    Shutdown(shutdown),
    Bootstart(bootstart),
    Load(load),
    Refresh(refresh),
    Unload(unload),
    List(list),
    Rollback(rollback),
    Role(role),
    Ask(ask),
    Tell(tell),
    Restart(restart),
    Stop(stop),
    Resume(resume),
    Dump(dump),
    DeadLetters(dead_letters),
    Logs(logs),
    History(history),
    Cluster(cluster),
    Doctor(doctor),
    Demo(demo),
    Completions(completions),
}

/// How a command ended.
pub(crate) type Outcome = Result<Exit, Failure>;

/// What every command has at hand.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// Where it writes.
    pub(crate) printer: Printer,
    /// The Director directory.
    pub(crate) directory: Directory,
}

impl Context {
    /// The settings; says what is strange about them.
    ///
    /// # Errors
    /// `Refused` for a `.cfg` file that cannot be used.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        let read = self.directory.settings().map_err(|error| {
            let hint = error.hint();
            Failure::text(Exit::Refused, error).hint(hint)
        })?;
        for warning in &read.warnings {
            self.printer.warning(warning);
        }
        Ok(read.settings)
    }
}

/// Runs the command line.
pub(crate) fn run(words: impl IntoIterator<Item = OsString>) -> Exit {
    let words = words::modern(words);
    let line = match Line::try_parse_from(&words) {
        Ok(line) => line,
        Err(error) => return misunderstood(&error, &words),
    };
    let printer = Printer::new(line.json, line.verbose);
    let context = Context {
        printer,
        directory: Directory::from_env(),
    };
    let outcome = match &line.verb {
        Some(verb) => verb.run(&context),
        None => help::overview(&context),
    };
    outcome.unwrap_or_else(|failure| {
        printer.error(&failure);
        failure.exit()
    })
}

/// The whole command line as clap knows it.
pub(crate) fn line() -> clap::Command {
    Line::command()
}

/// Runs Python actor applications on many hosts and replaces their code while they run.
#[derive(Debug, Parser)]
#[command(
    name = "director",
    version,
    disable_help_subcommand = true,
    subcommand_value_name = "COMMAND",
    max_term_width = 100
)]
struct Line {
    /// Answer with one JSON document
    #[arg(long, global = true)]
    json: bool,
    /// Tell what is being done, on stderr; the word `verbose` in front of COMMAND does the same
    #[arg(long, short, global = true)]
    verbose: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

fn misunderstood(error: &clap::Error, words: &[OsString]) -> Exit {
    let printer = Printer::plain();
    let command = words::command(words);
    let exit = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            printer.raw(error.to_string().as_bytes());
            return Exit::Done;
        }
        ErrorKind::MissingRequiredArgument if command == Some("gensrc") => Exit::MissingArguments,
        _ => Exit::Usage,
    };
    let failure = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => {
            let group = command.filter(|command| *command == "cluster");
            let known: Vec<_> = group.map(str::to_owned).into_iter().collect();
            unknown_command(&known, word, exit)
        }
        _ => {
            let text = error.to_string();
            let text = text.trim_start_matches("error: ").replace(CLAP_ENDING, "");
            let failure = Failure::text(exit, text.trim_end());
            match command {
                Some(command) => {
                    failure.hint(format_args!("`director help {command}` explains it"))
                }
                None => failure.hint("`director help` explains the commands"),
            }
        }
    };
    printer.error(&failure);
    failure.exit()
}

/// The failure for a word that is no command, or none of the group that these words name.
fn unknown_command(group: &[String], word: &str, exit: Exit) -> Failure {
    let line = line();
    let found = group
        .iter()
        .try_fold(&line, |line, name| line.find_subcommand(name));
    let known = found.into_iter().flat_map(clap::Command::get_subcommands);
    let like = known
        .map(clap::Command::get_name)
        .filter(|name| name.starts_with(word) || word.starts_with(*name));
    let like: Vec<_> = like.map(|name| format!("`{name}`")).collect();
    let path = |last: &str| {
        let words = group.iter().map(String::as_str).chain([last]);
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        words.join(" ")
    };
    let failure = Failure::text(exit, format_args!("`{}` is no command", path(word)));
    let help = path("");
    let help = format!("director help {help}");
    let help = format!("`{}` lists the commands", help.trim_end());
    if like.is_empty() {
        failure.hint(help)
    } else {
        failure.hint(format_args!("did you mean {}? {help}", like.join(" or ")))
    }
}

/// Our hint says it better.
const CLAP_ENDING: &str = "For more information, try '--help'.";
