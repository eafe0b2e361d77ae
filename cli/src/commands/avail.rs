//! `avail`: the packages of the directory, group by group, with their hashes. Starts nothing.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use node::directory::{GroupFiles, PackageFile};
use package::{SourceHash, source_hash};
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::printer::Report;
use crate::progress::Progress;
use crate::{Exit, Failure};

/// List the packages that can be loaded, newest first, with their hashes
///
/// Nothing is checked or started: `tlsinfo` says whether a package would be accepted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args, context: &Context) -> Outcome {
    let listing = context.directory.listing().map_err(|error| {
        let hint = error.hint();
        Failure::new(Exit::Refused, error).hint(hint)
    })?;
    for strange in &listing.strange {
        context
            .printer
            .warning(format_args!("{strange}: it belongs to no group"));
    }
    let mut unreadable = false;
    let mut groups = Vec::new();
    for group in listing.groups {
        let mut packages = Vec::new();
        for package in &group.packages {
            match hash(&package.path) {
                Ok((hash, bytes)) => packages.push(Row::new(package, hash, bytes)),
                Err(cause) => {
                    unreadable = true;
                    let path = package.path.display();
                    context
                        .printer
                        .error(format_args!("`{path}` cannot be read: {cause}"));
                }
            }
        }
        groups.push(Group {
            files: group,
            packages,
        });
    }
    context.printer.report(&Avail {
        directory: context.directory.path().to_owned(),
        groups,
    });
    Ok(if unreadable {
        Exit::Refused
    } else {
        Exit::Done
    })
}

fn hash(path: &Path) -> io::Result<(SourceHash, u64)> {
    let file = File::open(path)?;
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let progress = Progress::bytes(name, file.metadata()?.len());
    source_hash(&mut progress.reading(file))
}

struct Avail {
    directory: PathBuf,
    groups: Vec<Group>,
}

struct Group {
    files: GroupFiles,
    packages: Vec<Row>,
}

struct Row {
    path: PathBuf,
    version: Option<String>,
    hash: SourceHash,
    bytes: u64,
}

impl Row {
    fn new(package: &PackageFile, hash: SourceHash, bytes: u64) -> Self {
        let version = package.name.version().map(str::to_owned);
        Self {
            path: package.path.clone(),
            version,
            hash,
            bytes,
        }
    }
}

impl Report for Avail {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "THESPIAN_DIRECTOR_DIR={}", self.directory.display())?;
        for group in &self.groups {
            let name = &group.files.group;
            let rows = group.packages.iter();
            let rows: Vec<_> = rows
                .map(|row| format!("{}    {}", row.path.display(), row.hash))
                .collect();
            let next_line = format!("\n{:width$}+ ", "", width = name.chars().count());
            let space = if rows.is_empty() { "" } else { " " };
            writeln!(out, "{name}:{space}{}", rows.join(&next_line))?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "path": row.path,
                "version": row.version,
                "hash": row.hash.to_string(),
                "bytes": row.bytes,
            })
        };
        let group = |group: &Group| {
            json!({
                "group": group.files.group,
                "tli": group.files.tli,
                "packages": group.packages.iter().map(row).collect::<Vec<_>>(),
            })
        };
        json!({
            "directory": self.directory,
            "groups": self.groups.iter().map(group).collect::<Vec<_>>(),
        })
    }
}
