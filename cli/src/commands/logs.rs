//! `logs`: the last lines of this node's log, which has its actors' output, and of the files that
//! `thesplog.cfg` names.
//!
//! Not here: logs of other hosts.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use node::directory::Settings;
use pyliteral::Value as Literal;
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::printer::Report;
use crate::{Exit, Failure};

/// Show the last lines of this node's log and of its actors' logs and output
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only lines with this text: an address, a class, a word
    text: Option<String>,
    /// Lines of each file
    #[arg(short = 'n', long, default_value_t = 20)]
    lines: usize,
    /// Go on with what is written, until interrupted
    #[arg(short, long)]
    follow: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let settings = context.settings()?;
    if args.follow && context.printer.is_json() {
        let text = "`--follow` has no end, a JSON document has one";
        return Err(Failure::text(Exit::Usage, text).hint("leave out `--json` or `--follow`"));
    }
    let mut tails: Vec<_> = paths(&settings).into_iter().map(Tail::new).collect();
    let mut shown = Vec::new();
    for tail in &mut tails {
        match tail.last(args) {
            Ok(lines) => shown.push((tail.path.clone(), lines)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => context
                .printer
                .warning(format_args!("`{}`: {cause}", tail.path.display())),
        }
    }
    if shown.is_empty() && !args.follow {
        let path = settings.internal_log.display();
        let text = format!("there is no log yet: `{path}` does not exist");
        return Err(Failure::text(Exit::Refused, text)
            .hint("`director start` starts the node; one in the foreground logs to its stderr"));
    }
    context.printer.report(&Shown { files: shown });
    if args.follow {
        follow(&mut tails, args);
    }
    Ok(Exit::Done)
}

/// Shows what is written from now on, until nobody reads it.
fn follow(tails: &mut [Tail], args: &Args) {
    let mut out = io::stdout().lock();
    loop {
        sleep(LOOK_AGAIN);
        for tail in &mut *tails {
            // A file that is not there now may be there at the next look.
            for line in tail.fresh(args).unwrap_or_default() {
                if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                    return;
                }
            }
        }
    }
}

/// The node's own log, and the files of the logging configuration.
fn paths(settings: &Settings) -> Vec<PathBuf> {
    let mut paths = vec![settings.internal_log.clone()];
    let entry = |value: &Literal, key: &str| -> Option<Literal> {
        let mut entries = value.as_dict()?.iter();
        entries.find_map(|(k, v)| (k.as_str() == Some(key)).then(|| v.clone()))
    };
    let configured = settings.log_configuration.as_ref();
    let handlers = configured.and_then(|value| entry(value, "handlers"));
    let named = handlers.iter().filter_map(Literal::as_dict).flatten();
    let named =
        named.filter_map(|(_, handler)| Some(entry(handler, "filename")?.as_str()?.to_owned()));
    paths.extend(named.map(|name| settings.log_directory.join(name)));
    if configured.is_none() && settings.texts.contains_key("thesplogd.cfg") {
        paths.push(settings.log_directory.join("thespian.log"));
    }
    paths.dedup();
    paths
}

/// A file of which the end is shown, and how far that is.
struct Tail {
    path: PathBuf,
    inode: u64,
    at: u64,
    open: Vec<u8>,
}

impl Tail {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            inode: 0,
            at: 0,
            open: Vec::new(),
        }
    }

    /// The last lines there are.
    fn last(&mut self, args: &Args) -> io::Result<Vec<String>> {
        let length = std::fs::metadata(&self.path)?.len();
        self.at = length.saturating_sub(BYTES_MAX);
        let cut = self.at > 0;
        self.inode = std::fs::metadata(&self.path)?.ino();
        let mut lines = self.fresh(args)?;
        if cut && !lines.is_empty() {
            lines.remove(0);
        }
        let surplus = lines.len().saturating_sub(args.lines);
        lines.drain(..surplus);
        Ok(lines)
    }

    /// The whole lines that came since the last look; a file that was moved away begins anew.
    fn fresh(&mut self, args: &Args) -> io::Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        let about = file.metadata()?;
        if about.ino() != self.inode || about.len() < self.at {
            (self.inode, self.at) = (about.ino(), 0);
            self.open.clear();
        }
        file.seek(SeekFrom::Start(self.at))?;
        self.at += file.take(BYTES_MAX).read_to_end(&mut self.open)? as u64;
        let whole = self.open.iter().rposition(|byte| *byte == b'\n');
        let Some(end) = whole else {
            return Ok(Vec::new());
        };
        let rest = self.open.split_off(end + 1);
        let text = std::mem::replace(&mut self.open, rest);
        let text = String::from_utf8_lossy(&text).into_owned();
        let wanted = |line: &&str| args.text.as_ref().is_none_or(|text| line.contains(text));
        Ok(text.lines().filter(wanted).map(str::to_owned).collect())
    }
}

struct Shown {
    files: Vec<(PathBuf, Vec<String>)>,
}

impl Report for Shown {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let several = self.files.len() > 1;
        for (path, lines) in &self.files {
            if several {
                writeln!(out, "==> {} <==", path.display())?;
            }
            for line in lines {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let file = |(path, lines): &(PathBuf, Vec<String>)| {
            let path: &Path = path;
            json!({ "path": path, "lines": lines })
        };
        json!({ "files": self.files.iter().map(file).collect::<Vec<_>>() })
    }
}

/// Of a long log only its end is read.
const BYTES_MAX: u64 = 4 << 20;

const LOOK_AGAIN: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: Option<&str>, lines: usize) -> Args {
        Args {
            text: text.map(str::to_owned),
            lines,
            follow: false,
        }
    }

    #[test]
    fn the_last_whole_lines_are_shown_and_what_comes_after_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\ntwo\nthree\nhal").unwrap();
        let mut tail = Tail::new(path.clone());
        assert_eq!(tail.last(&args(None, 2)).unwrap(), ["two", "three"]);
        file.write_all(b"f\nfive\n").unwrap();
        assert_eq!(tail.fresh(&args(None, 2)).unwrap(), ["half", "five"]);
        assert!(tail.fresh(&args(None, 2)).unwrap().is_empty());
        // Moved away, as a rotation does.
        std::fs::rename(&path, folder.path().join("a.log.old")).unwrap();
        std::fs::write(&path, "new\nother\n").unwrap();
        assert_eq!(tail.fresh(&args(Some("ne"), 2)).unwrap(), ["new"]);
    }
}
