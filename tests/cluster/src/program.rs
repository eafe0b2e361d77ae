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

/// Whether nothing that the program is made of is newer than it. Cargo's own list lies beside a
/// program that was built, not beside one that `cargo test` has made on the way.
fn is_fresh(program: &Path) -> bool {
    let house = Path::new(HOUSE);
    let Some(built) = changed(program) else {
        return false;
    };
    let crates = fs::read_dir(house).unwrap().flatten();
    let crates = crates.map(|entry| entry.path().join("src"));
    let others = ["python/thespian", "Cargo.toml", "Cargo.lock"];
    let others = others.iter().map(|path| house.join(path));
    crates.chain(others).all(|path| is_older(&path, built))
}

/// Whether a file, or all files below a folder, are not newer; what is not there is not.
fn is_older(path: &Path, built: SystemTime) -> bool {
    match fs::read_dir(path) {
        Ok(inside) => {
            let inside = inside.flatten();
            let mut inside = inside.filter(|entry| entry.file_name() != "__pycache__");
            inside.all(|entry| is_older(&entry.path(), built))
        }
        Err(_no_folder) => changed(path).is_none_or(|at| at <= built),
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|about| about.modified()).ok()
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
    let built = command
        .current_dir(HOUSE)
        .env("CARGO_TARGET_DIR", target)
        .status();
    assert!(built.unwrap().success(), "`director` cannot be built");
}

const HOUSE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
