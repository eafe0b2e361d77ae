//! The source authority: this host's keys as they are now, and the bytes that were opened.

#![expect(clippy::unwrap_used, reason = "helpers of tests are test code")]

use std::fs::{self, File};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use node::authority::SourceAuthority;
use node::directory::Directory;
use package::{Builder, Format, PrivateKey, sign};
use protocol::SourceHash;
use tempfile::TempDir;

const KEYS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../package/tests/fixtures/keys"
);

struct Site {
    folder: TempDir,
}

impl Site {
    /// A directory that trusts the fixture's key.
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let key = Path::new(KEYS).join("one_tls.key");
        fs::copy(key, folder.path().join("one_tls.key")).unwrap();
        Self { folder }
    }

    fn authority(&self) -> SourceAuthority {
        SourceAuthority::new(Directory::at(self.folder.path()))
    }

    /// A package with one member, signed with the fixture's key.
    fn package(&self, name: &str, content: &[u8]) -> PathBuf {
        let mut zip = Builder::new(Cursor::new(Vec::new()));
        zip.add("app.py", &mut &*content).unwrap();
        let mut zip = zip.finish().unwrap();
        zip.set_position(0);
        let key = fs::read(Path::new(KEYS).join("one_pkcs8.pem")).unwrap();
        let key = PrivateKey::from_pem(&key).unwrap();
        let path = self.folder.path().join(name);
        let mut file = File::create(&path).unwrap();
        sign(&mut zip, &key, Format::DirectorFmt1, &mut file).unwrap();
        path
    }
}

#[test]
fn a_removed_key_is_removed_trust_at_once() {
    let site = Site::new();
    let package = site.package("app-1.tls", b"x = 1\n");
    let authority = site.authority();
    authority.verify(&package).unwrap();
    let key = site.folder.path().join("one_tls.key");
    fs::rename(&key, site.folder.path().join("away")).unwrap();
    let error = authority.verify(&package).unwrap_err();
    assert!(error.hint().contains("_tls.key"), "{}", error.hint());
    fs::rename(site.folder.path().join("away"), &key).unwrap();
    authority.verify(&package).unwrap();
}

#[test]
fn a_malformed_key_is_named_and_stops_nobody() {
    let site = Site::new();
    let package = site.package("app-1.tls", b"x = 1\n");
    fs::write(site.folder.path().join("bad_tls.key"), "no key").unwrap();
    let trusted = site.authority().verify(&package).unwrap();
    assert!(trusted.warnings[0].contains("bad_tls.key"), "{trusted:?}");
}

#[test]
fn what_was_verified_is_what_is_unpacked_whatever_lies_at_the_path_by_then() {
    let site = Site::new();
    let path = site.package("app-1.tls", b"x = 1\n");
    let good = SourceHash::of(&fs::read(&path).unwrap());
    let mut opened = File::open(&path).unwrap();
    let other = site.package("other", b"x = 2\n");
    fs::rename(other, &path).unwrap();
    let trusted = site.authority().verify_opened(&mut opened).unwrap();
    assert_eq!(trusted.verified.hash(), good);
    let limits = package::Limits::default();
    let mut read = Vec::new();
    package::read_member(&mut opened, &trusted.verified, "app.py", &limits, &mut read).unwrap();
    assert_eq!(read, b"x = 1\n");
}
