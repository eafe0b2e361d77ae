//! Key files: read afresh, and only those that nobody else can have written.

#![expect(clippy::unwrap_used, reason = "helpers of tests are test code")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use node::directory::{Directory, DirectoryError, KeyFiles, KeyFilesError, KeyRefusal};
use tempfile::TempDir;

struct Keys {
    folder: TempDir,
}

impl Keys {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
        }
    }

    fn write(&self, name: &str, mode: u32) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, name).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn link(&self, name: &str, target: &str) {
        symlink(target, self.folder.path().join(name)).unwrap();
    }

    fn read(&self) -> KeyFiles {
        Directory::at(self.folder.path()).key_files().unwrap()
    }

    /// The names of the files that are used.
    fn used(&self) -> Vec<String> {
        let prefix = format!("{}/", self.folder.path().display());
        let files = self.read().files.into_iter();
        files.map(|(path, _)| path.replace(&prefix, "")).collect()
    }

    /// Why the only file is not used.
    fn refusal(&self) -> KeyRefusal {
        let mut keys = self.read();
        assert!(keys.files.is_empty(), "{keys:?}");
        assert_eq!(keys.refused.len(), 1);
        keys.refused.pop().unwrap().refusal
    }
}

#[test]
fn key_files_are_read_by_name_and_afresh() {
    let keys = Keys::new();
    keys.write("b_tls.key", 0o644);
    keys.write("a_tls.key", 0o600);
    keys.write("other.key", 0o600);
    assert_eq!(keys.used(), ["a_tls.key", "b_tls.key"]);
    assert_eq!(keys.read().files[0].1, b"a_tls.key");
    fs::remove_file(keys.folder.path().join("a_tls.key")).unwrap();
    assert_eq!(keys.used(), ["b_tls.key"], "a removed key is removed trust");
}

#[test]
fn a_world_writable_directory_is_refused_whole() {
    let keys = Keys::new();
    keys.write("a_tls.key", 0o600);
    let directory = Directory::at(keys.folder.path());
    for mode in [0o777, 0o1777] {
        fs::set_permissions(keys.folder.path(), Permissions::from_mode(mode)).unwrap();
        let error = directory.key_files().unwrap_err();
        assert!(
            matches!(error, KeyFilesError::WorldWritable { .. }),
            "{error}"
        );
        assert!(error.hint().contains("chmod o-w"));
    }
    fs::set_permissions(keys.folder.path(), Permissions::from_mode(0o775)).unwrap();
    assert_eq!(keys.used().len(), 1);
}

#[test]
fn a_directory_that_is_not_there_is_told_from_one_without_keys() {
    let keys = Keys::new();
    assert_eq!(keys.read(), KeyFiles::default());
    let error = Directory::at(keys.folder.path().join("nowhere"))
        .key_files()
        .unwrap_err();
    let missing = matches!(
        error,
        KeyFilesError::Directory(DirectoryError::Missing { .. })
    );
    assert!(missing, "{error}");
}

#[test]
fn a_world_writable_file_is_passed_over() {
    let keys = Keys::new();
    keys.write("a_tls.key", 0o666);
    assert_eq!(keys.refusal(), KeyRefusal::WorldWritable);
    keys.write("b_tls.key", 0o644);
    assert_eq!(keys.used(), ["b_tls.key"], "the others are used");
}

#[test]
fn links_inside_the_mount_are_followed_as_kubernetes_makes_them() {
    let keys = Keys::new();
    keys.write("..2026_11_23/a_tls.key", 0o644);
    keys.link("..data", "..2026_11_23");
    keys.link("a_tls.key", "..data/a_tls.key");
    assert_eq!(keys.used(), ["a_tls.key"]);
    assert_eq!(keys.read().files[0].1, b"..2026_11_23/a_tls.key");
}

#[test]
fn links_to_another_mount_or_to_nothing_are_passed_over() {
    let keys = Keys::new();
    keys.link("a_tls.key", "/proc/self/mounts");
    // The file of a process belongs to its user, so that only the mount can be the reason.
    let refusal = keys.refusal();
    assert!(matches!(refusal, KeyRefusal::OtherMount), "{refusal:?}");
    fs::remove_file(keys.folder.path().join("a_tls.key")).unwrap();
    keys.link("a_tls.key", "nowhere");
    assert!(matches!(keys.refusal(), KeyRefusal::Unreadable { .. }));
}

#[test]
fn what_is_no_plain_file_is_passed_over_without_waiting() {
    let keys = Keys::new();
    let pipe = keys.folder.path().join("a_tls.key");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    assert_eq!(keys.refusal(), KeyRefusal::NotAFile);
    fs::remove_file(&pipe).unwrap();
    fs::create_dir(&pipe).unwrap();
    assert_eq!(keys.refusal(), KeyRefusal::NotAFile);
}

#[test]
fn a_file_too_large_for_a_key_is_passed_over() {
    let keys = Keys::new();
    fs::write(
        keys.folder.path().join("a_tls.key"),
        vec![b'x'; (1 << 20) + 1],
    )
    .unwrap();
    assert!(matches!(keys.refusal(), KeyRefusal::TooLarge { .. }));
}

#[test]
fn another_users_file_is_passed_over() {
    let keys = Keys::new();
    keys.write("a_tls.key", 0o644);
    let path = keys.folder.path().join("a_tls.key");
    match chown(&path, Some(12345), None) {
        Ok(()) => {
            let wanted = 0;
            assert_eq!(
                keys.refusal(),
                KeyRefusal::Owner {
                    owner: 12345,
                    wanted
                }
            );
        }
        // Only root can give a file away; anybody else has but their own.
        Err(_) => assert_eq!(keys.used(), ["a_tls.key"]),
    }
}
