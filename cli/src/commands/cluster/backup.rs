//! `cluster backup`: the registry and its packages in one file.

use std::path::{Path, PathBuf};

use protocol::control::ClusterRequest;

use super::super::{Context, Outcome};
use super::asking::order;
use crate::online::user;
use crate::{Exit, Failure};

/// Write the registry and all packages that it names into a file
///
/// The file is written by the node that is asked, on its host.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file; it must not be there yet
    file: PathBuf,
    /// With the key of the convention's authority, encrypted by a passphrase
    #[arg(long)]
    with_ca: bool,
    /// The file that has the passphrase in its first line; else DIRECTOR_PASSPHRASE has it
    #[arg(long, value_name = "FILE", requires = "with_ca")]
    passphrase: Option<PathBuf>,
}

/// Names the passphrase of a backup with the authority's key.
const PASSPHRASE_VARIABLE: &str = "DIRECTOR_PASSPHRASE";

/// A passphrase shorter than this is guessed.
const PASSPHRASE_CHARACTERS_MIN: usize = 12;

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let shown = args.file.display().to_string();
    if args.file.symlink_metadata().is_ok() {
        let text = format!("`{shown}` is there already");
        return Err(Failure::text(Exit::Refused, text).hint("name another file, or delete it"));
    }
    let passphrase = match args.with_ca {
        true => Some(passphrase(args.passphrase.as_deref())?),
        false => None,
    };
    let path = std::path::absolute(&args.file).unwrap_or_else(|_| args.file.clone());
    let request = ClusterRequest::Backup {
        path: path.display().to_string(),
        passphrase,
        by: user(),
    };
    order(context, request, "Wrote", &shown)
}

fn passphrase(file: Option<&Path>) -> Result<String, Failure> {
    let text = match file {
        Some(path) => std::fs::read_to_string(path).map_err(|cause| {
            let text = format!("`{}` cannot be read: {cause}", path.display());
            Failure::text(Exit::Refused, text).hint("name a file with the passphrase in a line")
        })?,
        None => std::env::var(PASSPHRASE_VARIABLE).unwrap_or_default(),
    };
    let passphrase = text.lines().next().unwrap_or_default().to_owned();
    if passphrase.chars().count() < PASSPHRASE_CHARACTERS_MIN {
        let text = format!(
            "the authority's key needs a passphrase of at least {PASSPHRASE_CHARACTERS_MIN} \
             characters"
        );
        return Err(Failure::text(Exit::Refused, text).hint(format_args!(
            "set {PASSPHRASE_VARIABLE}, or give `--passphrase FILE`"
        )));
    }
    Ok(passphrase)
}
