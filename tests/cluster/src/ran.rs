//! One command of the program, run with a deadline.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The command line.
    pub line: String,
    /// Its exit code; `None`: it was killed at the deadline.
    pub code: Option<i32>,
    /// What it wrote as data.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Ran {
    /// Runs a command to its end, or until the limit.
    pub(crate) fn run(command: &mut Command, line: String, limit: Duration) -> Self {
        let begun = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`director` starts");
        let stdout = reader(child.stdout.take().unwrap());
        let stderr = reader(child.stderr.take().unwrap());
        let code = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status.code().unwrap_or(-1));
            }
            if begun.elapsed() > limit {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            thread::sleep(Duration::from_millis(3));
        };
        Self {
            line,
            code,
            took: begun.elapsed(),
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
        }
    }

    /// The JSON document on stdout.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON document ({error}): {self:?}"))
    }

    /// The last line of stdout.
    #[must_use]
    pub fn last_line(&self) -> &str {
        self.stdout.lines().last().unwrap_or_default()
    }

    /// How it ended, in a line.
    #[must_use]
    pub fn shown(&self) -> String {
        let code = match self.code {
            Some(code) => format!("exit {code}"),
            None => "killed at the limit".to_owned(),
        };
        let said = [&self.stdout, &self.stderr].map(|text| first_line(text));
        format!(
            "{code} after {} ms: {}",
            self.took.as_millis(),
            said.join(" | ")
        )
    }
}

fn first_line(text: &str) -> String {
    let line = text.trim().replace('\n', " / ");
    line.chars().take(400).collect()
}

fn reader(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _broken = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
