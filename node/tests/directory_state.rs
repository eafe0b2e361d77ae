//! `state/`, the node's record, its sockets, and the packages beside them.

#![expect(clippy::unwrap_used, reason = "helpers of tests are test code")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;

use node::directory::{
    Directory, NodeRecord, RecordError, runtime_folder, socket_path, worker_socket_path,
};
use protocol::Incarnation;
use tempfile::TempDir;

fn directory() -> (TempDir, Directory) {
    let folder = TempDir::new().unwrap();
    let directory = Directory::at(folder.path());
    (folder, directory)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn record(pid: u32, socket: &Path) -> NodeRecord {
    NodeRecord {
        pid,
        port: 0,
        socket: socket.to_owned(),
        incarnation: Incarnation(7),
    }
}

#[test]
fn a_directory_has_an_absolute_path_without_a_trailing_slash() {
    assert_eq!(Directory::at("/a/b/").path(), Path::new("/a/b"));
    assert!(Directory::at("b").path().is_absolute());
}

#[test]
fn state_folders_are_made_private_when_they_are_wanted() {
    let (folder, directory) = directory();
    let state = directory.state();
    assert!(!state.path().exists(), "asking for it makes nothing");
    let made = [
        state.identity().unwrap(),
        state.packages().unwrap(),
        state.unpacked().unwrap(),
        state.python().unwrap(),
    ];
    for path in made {
        assert!(path.starts_with(folder.path().join("state")));
        assert_eq!(mode(&path), 0o700);
    }
    assert_eq!(mode(state.path()), 0o700);
    assert_eq!(state.raft(), folder.path().join("state/raft.redb"));
    state.packages().unwrap();
}

#[test]
fn a_state_folder_that_others_may_write_is_refused() {
    let (_folder, directory) = directory();
    fs::create_dir(directory.path().join("state")).unwrap();
    let open = Permissions::from_mode(0o777);
    fs::set_permissions(directory.path().join("state"), open).unwrap();
    let error = directory.state().packages().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("chmod go-w"), "{error}");
}

#[test]
fn a_state_folder_that_another_user_made_is_refused_by_root_too() {
    let (_folder, directory) = directory();
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o700)).unwrap();
    // Only root can give a folder away; nobody else could make one for us either.
    if chown(&state, Some(12_345), None).is_ok() {
        let error = directory.state().packages().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        let text = error.to_string();
        assert!(
            text.contains("user 12345") && text.contains("chown"),
            "{text}"
        );
    }
}

#[test]
fn a_record_is_read_back_and_removed_only_by_its_own_run() {
    let (_folder, directory) = directory();
    let state = directory.state();
    assert_eq!(state.record().unwrap(), None);
    let written = record(1, Path::new("/run/director/1900.sock"));
    state.write_record(&written).unwrap();
    assert_eq!(state.record().unwrap(), Some(written));
    assert_eq!(mode(&state.record_path()), 0o600);
    state.remove_record(Incarnation(8)).unwrap();
    assert!(
        state.record().unwrap().is_some(),
        "a newer run's record stays"
    );
    state.remove_record(Incarnation(7)).unwrap();
    assert_eq!(state.record().unwrap(), None);
    fs::write(state.record_path(), "1234\n").unwrap();
    assert!(matches!(state.record(), Err(RecordError::Malformed { .. })));
}

#[test]
fn a_node_is_found_by_its_record_while_it_lives() {
    let (folder, directory) = directory();
    let socket = folder.path().join("node.sock");
    assert!(directory.find_node(0).is_empty());
    let state = directory.state();
    state
        .write_record(&record(std::process::id(), &socket))
        .unwrap();
    assert!(directory.find_node(0).is_empty(), "no socket, no node");
    let _listener = UnixListener::bind(&socket).unwrap();
    let places = directory.find_node(0);
    assert_eq!(places.len(), 1);
    assert_eq!(
        (&places[0].socket, places[0].record.is_some()),
        (&socket, true)
    );
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    state.write_record(&record(child.id(), &socket)).unwrap();
    assert!(directory.find_node(0).is_empty(), "its process is gone");
}

#[test]
fn a_node_without_a_readable_record_is_found_by_its_port() {
    let (_folder, directory) = directory();
    let runtime = runtime_folder().unwrap();
    // Ports of nodes are below 65536, and this one is nobody's: the file is this test's own.
    let port = 65_535;
    let socket = socket_path(&runtime, port);
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let places = directory.find_node(port);
    drop(listener);
    fs::remove_file(&socket).unwrap();
    assert_eq!(places.len(), 1);
    assert_eq!((&places[0].socket, &places[0].record), (&socket, &None));
    assert!(directory.find_node(port).is_empty());
}

#[test]
fn sockets_are_named_by_the_port() {
    let folder = Path::new("/run/director");
    assert_eq!(socket_path(folder, 1900), folder.join("1900.sock"));
    assert_eq!(
        worker_socket_path(folder, 1900),
        folder.join("1900.workers.sock")
    );
}

#[test]
fn packages_are_listed_by_group_newest_first() {
    let (folder, directory) = directory();
    let files = [
        "foo.tli",
        "foo-bar.tli",
        "foo-1.9.tls",
        "foo-1.10.tls",
        "foo.tls",
        "foo-bar-2.tls",
        "my.app-3.tls",
        "-.tls",
        "notes.txt",
    ];
    for file in files {
        fs::write(folder.path().join(file), "").unwrap();
    }
    let listing = directory.listing().unwrap();
    let groups: Vec<_> = listing
        .groups
        .iter()
        .map(|group| {
            let versions = group.packages.iter().map(|package| package.name.version());
            (
                group.group.as_str(),
                group.tli.is_some(),
                versions.collect::<Vec<_>>(),
            )
        })
        .collect();
    assert_eq!(
        groups,
        [
            ("foo", true, vec![Some("1.10"), Some("1.9"), None]),
            ("foo-bar", true, vec![Some("2")]),
            ("my.app", false, vec![Some("3")]),
        ]
    );
    assert_eq!(listing.strange.len(), 1);
    assert!(directory.packages_of("none").unwrap().is_empty());
}

#[test]
fn keep_newest_spares_other_groups_and_the_files_named() {
    let (folder, directory) = directory();
    for file in [
        "foo.tli",
        "foo-1.tls",
        "foo-2.tls",
        "foo-3.tls",
        "foo-bar.tli",
        "foo-bar-0.tls",
    ] {
        fs::write(folder.path().join(file), "").unwrap();
    }
    let active = directory.file("foo-1.tls");
    assert!(directory.keep_newest("foo", None, &[]).unwrap().is_empty());
    let deleted = directory.keep_newest("foo", Some(1), &[&active]).unwrap();
    assert_eq!(deleted, [directory.file("foo-2.tls")]);
    let elsewhere = Path::new("/elsewhere/foo-1.tls");
    let deleted = directory.keep_newest("foo", Some(1), &[elsewhere]).unwrap();
    assert_eq!(deleted, [active]);
    assert!(directory.file("foo-bar-0.tls").exists());
}
