//! Gathers the Python files of `python/thespian` for the binary to carry.
//!
//! Only sources: compiled files of somebody's test run stay out.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let home = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let from = home.join("../python/thespian");
    let to = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("thespian");
    println!("cargo:rerun-if-changed={}", from.display());
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    copy_sources(&from, &to)
}

fn copy_sources(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    if !from.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        if path.is_dir() && name != "__pycache__" {
            copy_sources(&path, &to.join(name))?;
        } else if path.extension().is_some_and(|end| end == "py") {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
