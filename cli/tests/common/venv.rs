//! A virtual environment with packages from PyPI, made once and shared by the tests.
//!
//! It lies in cargo's folder for tests' files; a lock lets parallel tests wait for the one that
//! makes it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of an environment with `thespian==4.0.1` and the seed's dependencies.
///
/// # Panics
/// When PyPI cannot be reached or Python cannot make an environment: these tests need both.
pub(crate) fn venv() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join("venv.lock")).unwrap();
    lock.lock().unwrap();
    let venv = folder.join("venv");
    let ready = venv.join("ready");
    let wanted = PACKAGES.join("\n");
    if fs::read_to_string(&ready).is_ok_and(|found| found == wanted) && python(&venv).exists() {
        return venv;
    }
    let _ = fs::remove_dir_all(&venv);
    run(
        Command::new("python3").args(["-m", "venv"]).arg(&venv),
        "a virtual environment",
    );
    let mut pip = Command::new(python(&venv));
    pip.args(["-m", "pip", "install", "-q", "--disable-pip-version-check"])
        .args(PACKAGES);
    run(
        &mut pip,
        "packages from PyPI (the network, or a mirror set by PIP_INDEX_URL)",
    );
    fs::write(&ready, wanted).unwrap();
    venv
}

/// The interpreter of an environment.
pub(crate) fn python(venv: &Path) -> PathBuf {
    venv.join("bin/python")
}

fn run(command: &mut Command, need: &str) {
    let output = command.output();
    let output = output.unwrap_or_else(|cause| panic!("this test needs {need}: {cause}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "this test needs {need}; {command:?} says:\n{stderr}"
    );
}

const PACKAGES: [&str; 5] = ["thespian==4.0.1", "tabulate", "jsonschema", "Jinja2", "six"];
