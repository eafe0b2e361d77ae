//! One long-lived `python3` that says what CPython makes of a text.

#![expect(clippy::expect_used, clippy::panic, reason = "a test's helper")]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use pyliteral::Value;

/// What CPython makes of a literal: its `repr`, sets sorted, or the exception.
pub(crate) fn literal(text: &str) -> Result<String, String> {
    ask("literal", text)
}

/// What CPython makes of an expression.
pub(crate) fn expression(text: &str) -> Result<String, String> {
    ask("expression", text)
}

/// Whether CPython's Unicode version knows the character; a later one may print what it escapes.
pub(crate) fn knows(c: char) -> bool {
    static KNOWN: OnceLock<HashSet<char>> = OnceLock::new();
    c.is_ascii()
        || KNOWN
            .get_or_init(|| all_known().chars().collect())
            .contains(&c)
}

/// Every character that CPython's Unicode version knows.
pub(crate) fn all_known() -> String {
    let known = "''.join(c for c in map(chr, range(0x110000)) \
                 if __import__('unicodedata').category(c) not in ('Cn', 'Cs')).encode().hex()";
    text_of(expression(known).expect("a list").trim_matches('\''))
}

/// The `repr` of `value`, sets sorted as the other side does.
pub(crate) fn shown(value: &Value) -> String {
    sorted(value).repr()
}

fn sorted(value: &Value) -> Value {
    let all = |items: &[Value]| items.iter().map(sorted).collect::<Vec<_>>();
    match value {
        Value::Set(items) => {
            let mut items = all(items);
            items.sort_by_key(Value::repr);
            Value::Set(items)
        }
        Value::Tuple(items) => Value::Tuple(all(items)),
        Value::List(items) => Value::List(all(items)),
        Value::Dict(pairs) => {
            Value::Dict(pairs.iter().map(|(k, v)| (sorted(k), sorted(v))).collect())
        }
        other => other.clone(),
    }
}

struct Python {
    // Ends with its standard input, that is with this process.
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

fn ask(question: &str, text: &str) -> Result<String, String> {
    static PYTHON: OnceLock<Mutex<Python>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| Mutex::new(start()));
    let mut python = python
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut line = String::new();
    let sent = writeln!(python.requests, "{question} {hex}");
    let read = sent.and_then(|()| python.answers.read_line(&mut line));
    if !read.is_ok_and(|length| length > 0) {
        panic!(
            "python3 ended ({:?}) when asked about {text:?}",
            python.child.wait()
        );
    }
    let (verdict, hex) = line
        .trim_end()
        .split_once(' ')
        .expect("a verdict and a text");
    let answer = text_of(hex);
    if verdict == "yes" {
        Ok(answer)
    } else {
        Err(answer)
    }
}

fn text_of(hex: &str) -> String {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    String::from_utf8((0..hex.len()).step_by(2).map(byte).collect()).expect("UTF-8")
}

fn start() -> Python {
    let mut child = Command::new("python3")
        .args(["-c", include_str!("oracle.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("these tests compare with CPython: install python3 and put it on PATH");
    Python {
        requests: child.stdin.take().expect("piped"),
        answers: BufReader::new(child.stdout.take().expect("piped")),
        child,
    }
}
