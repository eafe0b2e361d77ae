//! What the tests of the command share: a Director directory of their own, a key, runs.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are test code"
)]

pub(crate) mod venv;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// A temporary folder with `dir/` (the Director directory) and `src/`; gone when dropped.
pub(crate) struct Sandbox {
    folder: TempDir,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("director-test-")
            .tempdir()
            .unwrap();
        fs::create_dir(folder.path().join("dir")).unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        Self { folder }
    }

    /// With a key pair: `key.pem`, trusted by `dir/test_tls.key`.
    pub(crate) fn with_key() -> Self {
        let sandbox = Self::new();
        let (private, public) = pair();
        sandbox.write("key.pem", private);
        sandbox.write("dir/test_tls.key", public);
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// The names in the Director directory, sorted, hidden ones too.
    pub(crate) fn listing(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("dir")).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// `director` with these words, run in the sandbox.
    pub(crate) fn command<W: AsRef<str>>(&self, words: impl IntoIterator<Item = W>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_director"));
        command
            .args(words.into_iter().map(|word| word.as_ref().to_owned()))
            .current_dir(self.folder.path())
            .env("THESPIAN_DIRECTOR_DIR", self.path("dir"))
            .env_remove("VIRTUAL_ENV")
            .stdin(Stdio::null());
        command
    }

    /// Runs `director` with the words of `line`.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.ran(self.command(line.split_whitespace()).output().unwrap())
    }

    /// Runs it and wants it to succeed; returns stdout.
    pub(crate) fn done(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "director {line}: {ran:?}");
        ran.stdout
    }

    /// The outcome with the sandbox's own path written as `[BOX]`.
    pub(crate) fn ran(&self, output: Output) -> Ran {
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(self.folder.path().to_str().unwrap(), "[BOX]")
        };
        Ran {
            code: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Ran {
    /// Exit code, stdout and stderr in one text for a snapshot: hashes, interpreters and versions
    /// blanked, long lines folded.
    pub(crate) fn shown(&self) -> String {
        let mut shown = format!("exit {}\n", self.code);
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                shown.push_str(&format!("--- {name}\n"));
                text.lines()
                    .for_each(|line| fold(&blanked(line), &mut shown));
            }
        }
        shown
    }
}

fn blanked(line: &str) -> String {
    let words = line.split_inclusive([' ', '`', ')']).map(|word| {
        let bare = word.trim_end_matches([' ', '`', ')']);
        let end = &word[bare.len()..];
        if bare.len() == 64 && bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            format!("[HASH]{end}")
        } else if bare.starts_with('/') && bare.contains("/python") {
            format!("[PYTHON]{end}")
        } else if line.contains("Python: ") && bare.starts_with("3.") {
            format!("[VERSION]{end}")
        } else {
            word.to_owned()
        }
    });
    words.collect()
}

/// Adds a line, cut at spaces where it is long; what goes on is marked.
fn fold(line: &str, out: &mut String) {
    let mut width = 0;
    for word in line.split_inclusive(' ') {
        if width + word.len() > 80 && width > 0 {
            out.push_str("\\\n      ");
            width = 6;
        }
        out.push_str(word);
        width += word.len();
    }
    out.push('\n');
}

/// Compares an outcome with an inline snapshot.
#[macro_export]
macro_rules! check {
    ($ran:expr, @$snapshot:literal) => {
        insta::assert_snapshot!($ran.shown(), @$snapshot)
    };
}

/// An application of the seed's shape in `src/`, whose import would be noticed.
pub(crate) fn application() -> Sandbox {
    let sandbox = Sandbox::with_key();
    let trap = "open(__file__ + '.was-run', 'w')\nraise SystemExit('it was run')\n";
    for file in [
        "__init__",
        "fooactor",
        "subdir1/__init__",
        "subdir1/baractor",
    ] {
        sandbox.write(&format!("src/foo/{file}.py"), trap);
    }
    sandbox.write("src/foo/subdir2/barn/cowactor.py", trap);
    sandbox.write("src/foo/data.bin", [0, 1, 2, 255]);
    sandbox.write("src/foo/.hidden.py", trap);
    sandbox.write("src/foo/__pycache__/fooactor.cpython-38.pyc", "x");
    sandbox
}

/// A key pair of this process, private and public.
pub(crate) fn pair() -> &'static (String, String) {
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let sandbox = Sandbox::new();
        sandbox.done("keygen key --bits 2048");
        let text = |name: &str| String::from_utf8(sandbox.read(name)).unwrap();
        (text("key.pem"), text("key_tls.key"))
    })
}

/// Runs a program and wants it to succeed; returns stdout.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|cause| panic!("{command:?}: {cause}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{stderr}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Whether a path is there.
pub(crate) fn exists(path: impl AsRef<Path>) -> bool {
    path.as_ref().symlink_metadata().is_ok()
}
