//! `keygen NAME`: a key pair, the private half to sign with, the public half for every host.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use package::PrivateKey;
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde_json::{Value, json};

use super::{Context, Outcome};
use crate::printer::Report;
use crate::progress::Progress;
use crate::{Exit, Failure};

/// Make a key pair: NAME.pem signs packages, NAME_tls.key lets hosts trust them
///
/// Keep NAME.pem on the build host. Copy NAME_tls.key into the Director directory of every host
/// that shall run what NAME.pem signs. Pairs made with openssl work as well.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the pair; a path puts it into another folder
    name: PathBuf,
    /// Size of the key: 1024 to 8192 bits
    #[arg(long, default_value_t = 3072)]
    bits: usize,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let private = with_ending(&args.name, ".pem");
    let public = with_ending(&args.name, "_tls.key");
    for path in [&private, &public] {
        if path.symlink_metadata().is_ok() {
            return Err(
                Failure::text(Exit::Refused, format_args!("`{}` exists", path.display()))
                    .hint("choose another NAME, or move the old pair away"),
            );
        }
    }
    let key = generate(args.bits)?;
    let encode = |text: Result<String, package::KeyProblem>| {
        text.map_err(|problem| Failure::new(Exit::Refused, problem))
    };
    write(&private, &encode(key.to_pem())?, 0o600)?;
    write(&public, &encode(key.public_pem())?, 0o644)?;
    context.printer.report(&Pair {
        private,
        public,
        bits: key.bits(),
    });
    Ok(Exit::Done)
}

fn generate(bits: usize) -> Result<PrivateKey, Failure> {
    let _progress = Progress::spinner(format!("looking for primes, {bits} bits"));
    let mut fault = None;
    let key = PrivateKey::generate(bits, |buffer| {
        if let Err(cause) = OsRng.try_fill_bytes(buffer) {
            // Zeros are no prime and no key; the fault below says why.
            fault = Some(cause);
        }
    });
    if let Some(cause) = fault {
        return Err(Failure::text(
            Exit::Refused,
            format_args!("the system gives no random bytes: {cause}"),
        ));
    }
    key.map_err(|problem| {
        let hint = problem.hint();
        let failure = Failure::text(Exit::Refused, format_args!("no key was made: {problem}"));
        match problem {
            package::KeyProblem::Size { .. } => failure.hint("use `--bits 3072`"),
            _ => failure.hint(hint),
        }
    })
}

fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut path = name.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    file.and_then(|mut file| {
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
    })
    .map_err(|cause| {
        let text = format!("`{}` cannot be written: {cause}", path.display());
        Failure::text(Exit::Refused, text).hint("choose a folder that you may write")
    })
}

struct Pair {
    private: PathBuf,
    public: PathBuf,
    bits: usize,
}

impl Report for Pair {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Wrote {}", self.private.display())?;
        writeln!(out, "Wrote {}", self.public.display())
    }

    fn json(&self) -> Value {
        json!({ "private": self.private, "public": self.public, "bits": self.bits })
    }
}
