//! Nodes of one user on one host: whoever can read the user's secret file may join.
//!
//! Only conventions founded without a Director directory take it: there, programs of one user start
//! nodes through the API, and nobody makes tokens for them. The file lies in the user's runtime
//! folder and only the user can read it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use protocol::wire::{Refusal, RefusalCode};
use transport::token::TokenSecret;

use super::identity::Identity;

/// Stands in for a token's id.
pub(super) const TOKEN: &str = "user";

/// Whether this secret is the user's, and the convention one that takes it.
pub(super) fn judge(identity: &Identity, secret: Option<&TokenSecret>) -> Result<(), Refusal> {
    let own = identity.user_secret();
    match own.zip(secret) {
        Some((own, shown)) if own == shown => Ok(()),
        _ => Err(Refusal::new(
            RefusalCode::TokenUnknown,
            "this convention lets no nodes in for their user alone; write a token of `cluster \
             invite` into `convtoken.cfg`",
        )),
    }
}

/// The user's secret in this folder, drawn if there is none yet.
pub(crate) fn secret(folder: &Path) -> io::Result<TokenSecret> {
    let path = folder.join(FILE);
    match read(&path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
        known => return known,
    }
    let drawn: [u8; 32] = rand::random();
    let fresh = folder.join(format!("{FILE}.{:016x}", rand::random::<u64>()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(hex::encode(drawn).as_bytes())?;
    drop(file);
    // Two nodes may start at once: the first one's stays.
    let linked = fs::hard_link(&fresh, &path);
    fs::remove_file(&fresh)?;
    match linked {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => Err(cause),
        _ => read(&path),
    }
}

fn read(path: &Path) -> io::Result<TokenSecret> {
    let about = fs::symlink_metadata(path)?;
    let me = rustix::process::geteuid().as_raw();
    let denied = |text: &str| {
        let text = format!("`{}` {text}", path.display());
        io::Error::new(io::ErrorKind::PermissionDenied, text)
    };
    if !about.is_file() || about.uid() != me || about.mode() & 0o077 != 0 {
        return Err(denied(
            "is not a file that only this user can read; remove it",
        ));
    }
    let text = fs::read_to_string(path)?;
    let bytes = hex::decode(text.trim()).unwrap_or_default();
    TokenSecret::from_bytes(&bytes).ok_or_else(|| denied("holds no secret; remove it"))
}

const FILE: &str = "user.secret";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_secret_is_drawn_once_and_read_by_its_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let first = secret(folder.path()).unwrap();
        assert!(secret(folder.path()).unwrap() == first);
        let path = folder.path().join(FILE);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        secret(folder.path()).unwrap_err();
    }
}
