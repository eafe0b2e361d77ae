//! The program under test: `director` of this build, made fresh when it is not.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The path of a `director` that is as new as its sources.
///
/// `DIRECTOR_BIN` names another one, which is taken as it is.
///
/// # Panics
/// When it cannot be built.
pub fn director() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(given) = std::env::var_os("DIRECTOR_BIN") {
            return given.into();
        }
        let program = beside_this_test();
        if !is_fresh(&program) {
            build(&program);
        }
        program
    })
}

/// Tests lie in `target/PROFILE/deps/`, programs in `target/PROFILE/`.
fn beside_this_test() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let deps = test.parent().unwrap();
    let profile = deps.parent().unwrap();
    profile.join("director")
}

/// Whether no source that cargo names for the program is newer than it.
fn is_fresh(program: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|about| about.modified()).ok();
    let (Some(built), Ok(sources)) = (
        changed(program),
        fs::read_to_string(program.with_extension("d")),
    ) else {
        return false;
    };
    let sources = sources.split_once(": ").map_or("", |(_, sources)| sources);
    let mut sources = sources.split_whitespace();
    sources.all(|source| changed(Path::new(source)).is_some_and(|at: SystemTime| at <= built))
}

fn build(program: &Path) {
    let profile = program.parent().unwrap();
    // Of several test processes one builds; cargo's own lock would do, but says so on stderr.
    let turn = File::create(profile.join(".director-build")).unwrap();
    turn.lock().unwrap();
    if is_fresh(program) {
        return;
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "cli", "--bin", "director"]);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let target = profile.parent().unwrap();
    let house = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let built = command
        .current_dir(house)
        .env("CARGO_TARGET_DIR", target)
        .status();
    assert!(built.unwrap().success(), "`director` cannot be built");
}
