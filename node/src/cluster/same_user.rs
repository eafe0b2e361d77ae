//! Nodes of one user on one host: whoever can read the user's secret file may join.
//!
//! Only conventions founded without a Director directory take it: there, programs of one user start
//! nodes through the API, and nobody makes tokens for them. The file lies in the user's runtime
//! folder and only the user can read it. The secret itself never goes over the network: each side
//! proves that it knows it, for this authority and this request alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use protocol::Stamp;
use protocol::wire::{JoinRequest, Refusal, RefusalCode};
use sha2::{Digest, Sha256};
use transport::identity::KeyHash;
use transport::token::{SecretHash, TokenSecret};

use super::identity::Identity;

/// Stands in for a token's id: of a node that a program of the user has started.
pub(super) const TOKEN: &str = "user";

/// Whether a joiner has proven to know the user's secret just now, for this very request, and the
/// convention is one that takes it.
pub(super) fn judge(
    identity: &Identity,
    request: &JoinRequest,
    asked: Stamp,
    now: Stamp,
) -> Result<(), Refusal> {
    let wanted = identity.user_secret().zip(identity.authority_key());
    let wanted = wanted.map(|(secret, authority)| joiners(secret, authority, request_of(request)));
    // Compared in the same time for all.
    let proven = match (
        wanted.map(SecretHash),
        <[u8; 32]>::try_from(&*request.secret),
    ) {
        (Some(wanted), Ok(shown)) => wanted == SecretHash(shown),
        _ => false,
    };
    if !proven {
        return Err(Refusal::new(
            RefusalCode::TokenUnknown,
            "this convention lets no nodes in for their user alone; write a token of `cluster \
             invite` into `convtoken.cfg`",
        ));
    }
    // Both read the clock of one host.
    if asked.0.abs_diff(now.0) > FRESH_MS {
        return Err(stale("was made more than a minute ago"));
    }
    Ok(())
}

/// A proof that counted once, for something else, or long ago.
pub(super) fn stale(why: &str) -> Refusal {
    let text = format!("the proof of being of the same user {why}; ask again");
    Refusal::new(RefusalCode::Busy, text)
}

/// What stands for a request to join, with the key and the document in it.
pub(super) fn request_of(request: &JoinRequest) -> [u8; 32] {
    let length = request.certificate_request.len() as u64;
    let digest = Sha256::new()
        .chain_update(length.to_be_bytes())
        .chain_update(&request.certificate_request)
        .chain_update(&request.document);
    digest.finalize().into()
}

/// What a joiner shows: it knows the secret, and means this authority and this request. A stranger
/// in between has another authority, for which the proof is worth nothing elsewhere; a member that
/// has passed it on can say nothing else with it.
pub(super) fn joiners(secret: &TokenSecret, authority: KeyHash, request: [u8; 32]) -> [u8; 32] {
    proof(b"director user joins", secret, authority, KeyHash(request))
}

/// What the convention shows to the joiner: it knows the secret as well, and has this request.
pub(super) fn conventions(secret: &TokenSecret, authority: KeyHash, request: [u8; 32]) -> [u8; 32] {
    proof(b"director user is in", secret, authority, KeyHash(request))
}

/// Whether the convention has proven to a joiner with this request that it knows the secret.
pub(super) fn is_convention(
    secret: &TokenSecret,
    authority: KeyHash,
    request: [u8; 32],
    shown: &[u8],
) -> bool {
    let wanted = SecretHash(conventions(secret, authority, request));
    // Compared in the same time for all.
    <[u8; 32]>::try_from(shown).is_ok_and(|shown| wanted == SecretHash(shown))
}

/// What a member shows that sends code of its user's programs: it knows the secret, and means this
/// authority and this request.
pub(super) fn senders(secret: &TokenSecret, authority: KeyHash, request: [u8; 32]) -> [u8; 32] {
    proof(b"director user sends", secret, authority, KeyHash(request))
}

/// What a node shows that calls another into its convention, or out of it: it knows the secret, and
/// means this authority and this wish.
pub(super) fn callers(secret: &TokenSecret, authority: KeyHash, wish: [u8; 32]) -> [u8; 32] {
    proof(b"director user calls", secret, authority, KeyHash(wish))
}

/// What a node shows on each lane whose messages it wants read as those of its user's programs: it
/// knows the secret, and means this authority and the two nodes with these keys, in this order.
pub(super) fn lanes(
    secret: &TokenSecret,
    authority: KeyHash,
    from: KeyHash,
    to: KeyHash,
) -> [u8; 32] {
    let pair = Sha256::new().chain_update(from.0).chain_update(to.0);
    let pair = KeyHash(pair.finalize().into());
    proof(b"director user lanes", secret, authority, pair)
}

fn proof(who: &[u8; 19], secret: &TokenSecret, authority: KeyHash, joiner: KeyHash) -> [u8; 32] {
    let digest = Sha256::new()
        .chain_update(who)
        .chain_update(secret.bytes())
        .chain_update(authority.0)
        .chain_update(joiner.0);
    digest.finalize().into()
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

/// How long what a joiner shows is taken: longer than it may take to pass it on to the leader.
const FRESH_MS: u64 = 60_000;

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
