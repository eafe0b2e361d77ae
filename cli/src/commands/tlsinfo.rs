//! `tlsinfo FILE`: whether this host would accept a package, what is inside, one member of it.
//!
//! The same check as a load's: own keys, all bytes, then the zip file's structure.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use package::{ArchiveError, KeyOutcome, Limits, Member, Verified, VerifyError, ZipError};
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::printer::Report;
use crate::progress::Progress;
use crate::{Exit, Failure};

/// Say whether a package is valid here and with which key, list it, or print a member
///
/// Exit codes: 0 valid; 4 no such file; 6 no package, a damaged one, or no such member;
/// 7 no key of the Director directory validates it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A path, a file of the Director directory, or a group (its newest package)
    file: PathBuf,
    /// `contents` lists the members; any other word is the member to print
    #[arg(value_name = "contents|MEMBER")]
    what: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let path = context
        .package_named(&args.file)
        .ok_or_else(|| no_such_file(args, context))?;
    let file = File::open(&path).map_err(|cause| unreadable(&path, &cause))?;
    let bytes = file
        .metadata()
        .map_err(|cause| unreadable(&path, &cause))?
        .len();
    let mut reader = BufReader::new(file);
    let keys = context.keys().map_err(|error| {
        let hint = error.hint();
        Failure::new(Exit::NoKey, error).hint(hint)
    })?;
    let limits = Limits::default();
    let verified = {
        let progress = Progress::bytes("verifying", bytes);
        package::verify(&mut progress.reading(&mut reader), &keys, &limits)
            .map_err(|error| refused(&path, error))?
    };
    let bad = |error: ArchiveError| bad_archive(&path, error);
    match args.what.as_deref() {
        None => context.printer.report(&Validated {
            path: &path,
            verified: &verified,
        }),
        Some("contents") => {
            let members = package::contents(&mut reader, &verified, &limits).map_err(bad)?;
            context.printer.report(&Contents {
                path: &path,
                verified: &verified,
                members,
            });
        }
        Some(member) if context.printer.is_json() => {
            let mut content = Vec::new();
            package::read_member(&mut reader, &verified, member, &limits, &mut content)
                .map_err(bad)?;
            context.printer.report(&OneMember { member, content });
        }
        Some(member) => {
            let mut out = io::stdout().lock();
            package::read_member(&mut reader, &verified, member, &limits, &mut out).map_err(bad)?;
        }
    }
    Ok(Exit::Done)
}

fn no_such_file(args: &Args, context: &Context) -> Failure {
    let word = args.file.display();
    let directory = context.directory.path().display();
    Failure::text(
        Exit::NoSuchFile,
        format_args!("the package `{word}` does not exist"),
    )
    .detail(format_args!(
        "looked for the path, and in `{directory}` for the file and the group"
    ))
    .hint("`director avail` lists what is there")
}

fn unreadable(path: &Path, cause: &io::Error) -> Failure {
    let text = format!("`{}` cannot be read: {cause}", path.display());
    Failure::text(Exit::NoSuchFile, text).hint("check the rights of the file and its folder")
}

fn refused(path: &Path, error: VerifyError) -> Failure {
    let hint = error.hint();
    let shown = path.display();
    match error {
        VerifyError::Archive(error) => bad_archive(path, error),
        VerifyError::NoKeys => Failure::text(
            Exit::NoKey,
            format_args!("`{shown}` cannot be validated: {error}"),
        )
        .hint(hint),
        VerifyError::Refused { tried } => {
            let text = format!("Could not validate signature on \"{shown}\"");
            let failure = tried
                .iter()
                .fold(Failure::text(Exit::NoKey, text), |failure, key| {
                    let why = match key.outcome {
                        KeyOutcome::Mismatch => "the signature is not its".to_owned(),
                        KeyOutcome::OtherLength {
                            key_bytes,
                            signature_bytes,
                        } => format!(
                            "its signatures have {key_bytes} bytes, this one {signature_bytes}"
                        ),
                    };
                    failure.detail(format_args!("tried {}: {why}", key.key_name))
                });
            failure.hint(hint)
        }
    }
}

fn bad_archive(path: &Path, error: ArchiveError) -> Failure {
    let hint = match &error {
        ArchiveError::Zip(ZipError::Missing { .. }) => {
            format!(
                "`director tlsinfo {} contents` lists the members",
                path.display()
            )
        }
        error => error.hint().to_owned(),
    };
    let context = format!("`{}`", path.display());
    Failure::new(Exit::BadArchive, anyhow::Error::new(error).context(context)).hint(hint)
}

struct Validated<'a> {
    path: &'a Path,
    verified: &'a Verified,
}

impl Report for Validated<'_> {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let (path, key) = (self.path.display(), self.verified.key_name());
        writeln!(out, "Validated \"{path}\" loadable with key {key}")
    }

    fn json(&self) -> Value {
        json!({
            "path": self.path,
            "valid": true,
            "key": self.verified.key_name(),
            "hash": self.verified.hash().to_string(),
            "format": self.verified.format().name(),
            "bytes": self.verified.size(),
            "members": self.verified.members(),
            "unpacked_bytes": self.verified.unpacked_bytes(),
        })
    }
}

struct Contents<'a> {
    path: &'a Path,
    verified: &'a Verified,
    members: Vec<Member>,
}

impl Report for Contents<'_> {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for member in &self.members {
            writeln!(out, " {:6}  {}", member.size, member.name)?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let member = |member: &Member| json!({ "name": member.name, "bytes": member.size });
        json!({
            "path": self.path,
            "hash": self.verified.hash().to_string(),
            "contents": self.members.iter().map(member).collect::<Vec<_>>(),
        })
    }
}

struct OneMember<'a> {
    member: &'a str,
    content: Vec<u8>,
}

impl Report for OneMember<'_> {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.content)
    }

    fn json(&self) -> Value {
        match str::from_utf8(&self.content) {
            Ok(text) => json!({ "name": self.member, "text": text }),
            Err(_) => json!({ "name": self.member, "hex": hex::encode(&self.content) }),
        }
    }
}
