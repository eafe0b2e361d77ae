//! `gensrc`: sources and their dependencies become one signed package in the directory.
//!
//! Everything is checked before the first byte is written, and nothing of the user's is run.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use node::directory::Directory;
use package::{Format, PackageName, PrivateKey, Signed};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::{Context, Outcome};
use crate::gensrc::{
    Collected, Definition, Distribution, Members, Sources, check, choose, collect, find_definition,
    write,
};
use crate::printer::Report;
use crate::{Exit, Failure, Printer, python};

/// Build a signed package GROUP-VERSION.tls in the Director directory
///
/// Sources are files or quoted patterns ('foo/**/*.py') below SOURCES_DIR; data files are welcome.
/// Options may stand anywhere, also in the form `version:1.0`, `deps:FILE`, `tli:FILE`.
/// KEY, deps and tli files are looked for in the current folder, then in SOURCES_DIR.
/// Nothing of yours is run: syntax errors are found by compiling.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "director gensrc GROUP KEY SOURCES_DIR [version:V] [deps:F] [tli:F] \
                            [fmt:F] SRC..."
)]
pub(crate) struct Args {
    /// The group: what `load` and the package's file are called by
    group: String,
    /// The private key that signs, a PEM file made by `director keygen` or openssl
    key: PathBuf,
    /// The folder from which the package's modules are imported
    sources_dir: PathBuf,
    /// Files and patterns below SOURCES_DIR
    #[arg(required = true, value_name = "SRC")]
    sources: Vec<String>,
    /// The version; `date` is the time of now as YYYYMMDDHHMM; without it the file is GROUP.tls
    #[arg(long, value_name = "V")]
    version: Option<String>,
    /// A file with one installed distribution or import name a line: packed along, with all that
    /// they require
    #[arg(long, value_name = "FILE")]
    deps: Option<PathBuf>,
    /// The same, for the names in the file alone
    #[arg(long, value_name = "FILE", conflicts_with = "deps")]
    deps_only: Option<PathBuf>,
    /// The group's .tli file; else SOURCES_DIR/GROUP.tli is copied if it is there
    #[arg(long, value_name = "FILE")]
    tli: Option<PathBuf>,
    /// ThespianDirectorFMT1 or ViceroyFMT2
    #[arg(long, value_name = "FORMAT", default_value_t = Format::DirectorFmt1)]
    fmt: Format,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let (printer, directory) = (context.printer, &context.directory);
    directory.check().map_err(|error| {
        let hint = error.hint();
        Failure::new(Exit::Failed, error).hint(hint)
    })?;
    let settings = context.settings();
    let settings = settings.map_err(|failure| failure.ending(Exit::Failed))?;
    let name = package_name(args, directory)?;
    let sources = Sources::at(&args.sources_dir)?;
    let key_path = sources.file(&args.key);
    let key = read_key(&key_path, printer)?;
    let chosen = choose(&sources, &args.sources, &key_path)?;
    let definition = find_definition(
        args.tli.as_deref(),
        &sources,
        name.group(),
        directory,
        printer,
    )?;
    let interpreter = python::interpreter(&settings, name.group())?;
    let collected = dependencies(args, &sources, &interpreter, printer)?;
    let mut members = Members::default();
    members.add_own(chosen, printer);
    let taken = add_dependencies(&mut members, collected, printer);
    check(&interpreter, &members, printer)?;
    let path = directory.file(name.file_name());
    let written = write(&members, &key, args.fmt, &path)?;
    let tli = definition.write()?.map(Path::to_owned);
    let signed = written.persist(&path)?;
    let deleted = keep(directory, &name, &definition, &path)?;
    for path in &deleted {
        printer.note(format_args!("deleted {} (TLS_Keep_Limit)", path.display()));
    }
    if let Some(note) = definition.note() {
        printer.note(note);
    }
    context.printer.report(&Wrote {
        path,
        name,
        format: args.fmt,
        signed,
        tli,
        taken,
        deleted,
    });
    Ok(Exit::Done)
}

fn package_name(args: &Args, directory: &Directory) -> Result<PackageName, Failure> {
    let version = match args.version.as_deref() {
        Some("date") => Some(local_date()?),
        Some(version) => Some(version.to_owned()),
        None => None,
    };
    let bad_name = |error: package::PackageNameError| {
        Failure::new(Exit::Failed, error).hint("choose names such as `foo` and `1.0`")
    };
    let name = PackageName::new(&args.group, version.as_deref()).map_err(bad_name)?;
    let mut groups = directory.tli_groups().unwrap_or_default();
    groups.push(args.group.clone());
    let file = name.file_name();
    let read_back =
        PackageName::parse(&file, groups.iter().map(String::as_str)).map_err(bad_name)?;
    if read_back.group() != args.group {
        let text = format!("`{file}` would belong to the group `{}`", read_back.group());
        return Err(Failure::text(Exit::Failed, text).hint("choose another version"));
    }
    Ok(name)
}

fn local_date() -> Result<String, Failure> {
    let now = OffsetDateTime::now_local().map_err(|cause| {
        Failure::text(
            Exit::Failed,
            format_args!("the local time is unknown: {cause}"),
        )
        .hint("give the version as a number instead of `date`")
    })?;
    now.format(format_description!("[year][month][day][hour][minute]"))
        .map_err(|cause| Failure::new(Exit::Failed, cause))
}

fn read_key(path: &Path, printer: Printer) -> Result<PrivateKey, Failure> {
    let content = std::fs::read(path).map_err(|cause| {
        let text = format!("the key `{}` cannot be read: {cause}", path.display());
        Failure::text(Exit::Failed, text)
            .hint("make a pair with `director keygen NAME` and sign with NAME.pem")
    })?;
    let key = PrivateKey::from_pem(&content).map_err(|problem| {
        let hint = problem.hint();
        let text = format!("the key `{}` cannot sign: {problem}", path.display());
        Failure::text(Exit::Failed, text).hint(hint)
    })?;
    if key.bits() < 2048 {
        let text = format!("has {} bits, which is short: use 3072 or more", key.bits());
        printer.warning(format_args!("the key `{}` {text}", path.display()));
    }
    Ok(key)
}

fn dependencies(
    args: &Args,
    sources: &Sources,
    interpreter: &Path,
    printer: Printer,
) -> Result<Collected, Failure> {
    let (list, closure) = match (&args.deps, &args.deps_only) {
        (Some(list), _) => (list, true),
        (None, Some(list)) => (list, false),
        (None, None) => return Ok(Collected::default()),
    };
    collect(interpreter, &sources.file(list), closure, printer)
}

/// Adds what was collected; tells with `verbose` what was taken.
fn add_dependencies(members: &mut Members, collected: Collected, printer: Printer) -> Vec<Taken> {
    let mut all = Vec::new();
    for Distribution {
        name,
        version,
        by,
        files,
    } in collected.distributions
    {
        let version = version.unwrap_or_else(|| "without a version".to_owned());
        printer.detail(format_args!(
            "took {name} {version}: {} files by {by}",
            files.len()
        ));
        for (member, _) in &files {
            printer.detail(format_args!("  {member}"));
        }
        all.push(Taken {
            name: name.clone(),
            version,
            files: files.len(),
        });
        members.add_dependency(&name, files, printer);
    }
    all
}

fn keep(
    directory: &Directory,
    name: &PackageName,
    definition: &Definition,
    written: &Path,
) -> Result<Vec<PathBuf>, Failure> {
    directory
        .keep_newest(name.group(), definition.keep_limit(), &[written])
        .map_err(|error| {
            Failure::new(Exit::Failed, error)
                .detail(format_args!("`{}` was written", written.display()))
                .hint("delete the older packages yourself, or drop TLS_Keep_Limit")
        })
}

struct Taken {
    name: String,
    version: String,
    files: usize,
}

struct Wrote {
    path: PathBuf,
    name: PackageName,
    format: Format,
    signed: Signed,
    tli: Option<PathBuf>,
    taken: Vec<Taken>,
    deleted: Vec<PathBuf>,
}

impl Report for Wrote {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Wrote {}", self.path.display())
    }

    fn json(&self) -> Value {
        let taken = self.taken.iter().map(
            |taken| json!({ "name": taken.name, "version": taken.version, "files": taken.files }),
        );
        json!({
            "path": self.path,
            "group": self.name.group(),
            "version": self.name.version(),
            "hash": self.signed.hash.to_string(),
            "format": self.format.name(),
            "bytes": self.signed.size,
            "members": self.signed.members,
            "tli": self.tli,
            "distributions": taken.collect::<Vec<_>>(),
            "deleted": self.deleted,
        })
    }
}
