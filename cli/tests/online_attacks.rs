//! Packages made to do harm, by the whole path of `load`: refused with the reason and the next
//! step, and nothing of them stays. And other users of the host: they get in only as far as the
//! rights of `clientgroup.cfg` go.
//!
//! Each single attack on the format is in the tests of `package`; here the way is tested.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests are test code"
)]

mod common;
mod online_support;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::net::UdpSocket;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use common::{Ran, succeed};
use online_support::{Host, MAIN, TLI};

/// A host on which version 1.0 of `foo` runs.
fn running() -> Host {
    let host = Host::new();
    host.build("1.0", MAIN);
    host.done("load foo");
    host
}

/// All that lies under `state/`, but for the log of the registry and compiled files of ours.
fn kept(host: &Host) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![
        host.path("dir/state/packages"),
        host.path("dir/state/unpacked"),
    ];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}

/// Makes `dir/foo-2.0.tls` of the zip file that this Python text writes as `zip`, signed with the
/// host's own key: what a signer could do who is trusted and means harm.
fn signed(host: &Host, text: &str) {
    let zip = host.path("evil.zip");
    let script = format!(
        "import sys, zipfile\nzip = zipfile.ZipFile(sys.argv[1], 'w')\n{text}\nzip.close()\n"
    );
    succeed(
        Command::new("python3")
            .args(["-W", "ignore", "-c", &script])
            .arg(&zip),
    );
    let signature = host.path("signature");
    let mut openssl = Command::new("openssl");
    openssl
        .args(["dgst", "-sha256", "-sign"])
        .arg(host.path("key.pem"));
    succeed(openssl.arg("-out").arg(&signature).arg(&zip));
    let (zip, signature) = (fs::read(zip).unwrap(), fs::read(signature).unwrap());
    let marker = zip
        .windows(4)
        .rposition(|four| four == b"PK\x05\x06")
        .unwrap();
    let n_bytes = signature.len();
    let mut package = format!("ThespianDirectorFMT1-sha256\n{n_bytes}\n{marker}\n").into_bytes();
    package.extend([&zip[..marker], &zip[marker + 4..], &signature].concat());
    host.write("dir/foo-2.0.tls", package);
}

const SOUND: &str = "zip.writestr('foo/__init__.py', '')\nzip.writestr('foo/main.py', 'x = 1')";

/// Loads `dir/foo-2.0.tls`, which must be refused with these words and change nothing.
fn refused(host: &Host, says: &[&str]) {
    let before = kept(host);
    let mut all = vec!["foo-2.0.tls"];
    all.extend(says);
    host.fails("load foo", 1, &all);
    assert_eq!(kept(host), before, "{says:?}");
    assert_eq!(host.active("foo").as_deref(), Some("1.0"), "{says:?}");
}

#[test]
fn members_that_would_leave_their_folder_are_refused_by_load_and_leave_nothing() {
    let host = running();
    let link = "about = zipfile.ZipInfo('foo/link')\nabout.create_system = 3\n\
                about.external_attr = 0o120777 << 16\nzip.writestr(about, '/etc/passwd')";
    for (text, says) in [
        ("zip.writestr('../evil.py', 'x')", "../evil.py"),
        ("zip.writestr('foo/../../../evil.py', 'x')", "evil.py"),
        ("zip.writestr('/tmp/evil.py', 'x')", "/tmp/evil.py"),
        ("zip.writestr('foo\\\\evil.py', 'x')", "evil.py"),
        ("zip.writestr('C:/evil.py', 'x')", "C:/evil.py"),
        ("zip.writestr('foo/evil.py.', 'x')", "evil.py."),
        (link, "foo/link"),
    ] {
        signed(&host, &format!("{SOUND}\n{text}"));
        refused(&host, &[says]);
    }
    assert_eq!(host.done("ask Main 'version'"), "'1.0'\n");
}

#[test]
fn a_package_that_says_two_things_is_refused_by_load_and_leaves_nothing() {
    let host = running();
    for (text, says) in [
        ("zip.writestr('foo/main.py', 'x = 2')", "foo/main.py"),
        ("zip.writestr('foo/MAIN.py', 'x = 2')", "foo/MAIN.py"),
        ("zip.writestr('foo/main.py/x.py', '')", "foo/main.py"),
    ] {
        signed(&host, &format!("{SOUND}\n{text}"));
        refused(&host, &[says]);
    }
    // Another size or spelling in the header than the bytes have.
    signed(&host, SOUND);
    let good = host.read("dir/foo-2.0.tls");
    let bent = |from: &str, to: &str| {
        let header = std::str::from_utf8(&good[..33]).unwrap();
        [header.replace(from, to).as_bytes(), &good[33..]].concat()
    };
    for (from, to) in [
        ("\n256\n", "\n 256\n"),
        ("\n256\n", "\n+256\n"),
        ("\n256\n", "\n2_56\n"),
    ] {
        host.write("dir/foo-2.0.tls", bent(from, to));
        refused(&host, &["line 2"]);
    }
    host.write("dir/foo-2.0.tls", [good.as_slice(), b"more"].concat());
    refused(&host, &[]);
    host.write("dir/foo-2.0.tls", &good[..good.len() - 1]);
    refused(&host, &[]);
}

#[test]
fn a_zip_bomb_is_refused_by_load_and_leaves_nothing() {
    let host = running();
    let bomb = "zip.writestr('foo/data', bytes(64 << 20), zipfile.ZIP_DEFLATED)";
    signed(&host, &format!("{SOUND}\n{bomb}"));
    refused(&host, &["a zip bomb"]);
    let many = "for n in range(100_001):\n  zip.writestr(str(n), '')";
    signed(&host, &format!("{SOUND}\n{many}"));
    refused(&host, &["100000"]);
}

#[test]
fn keys_that_others_can_write_validate_nothing() {
    let host = running();
    host.build("2.0", MAIN);
    let chmod = |name: &str, mode| {
        fs::set_permissions(host.path(name), Permissions::from_mode(mode)).unwrap();
    };
    chmod("dir/test_tls.key", 0o666);
    refused(&host, &["test_tls.key", "everybody may write it"]);
    chmod("dir/test_tls.key", 0o644);
    chmod("dir", 0o777);
    host.fails(
        "load foo",
        1,
        &["everybody may write its directory", "chmod o-w"],
    );
    chmod("dir", 0o755);
    assert_eq!(host.active("foo").as_deref(), Some("1.0"));
}

#[test]
fn a_tli_executes_nothing_however_it_is_written() {
    let host = running();
    let mark = host.path("was-run");
    let mark = mark.display();
    for call in [
        format!("__import__('os').system('touch {mark}')"),
        format!("os.system('touch {mark}')"),
        format!("open('{mark}', 'w')"),
        format!("[x for x in [open('{mark}', 'w')]]"),
        format!("(lambda: open('{mark}', 'w'))()"),
        format!("'{{0.__class__}}'.format(open('{mark}', 'w'))"),
        "'{0.__class__.__mro__}'.format(1)".to_owned(),
        "'%1000000000s' % 1".to_owned(),
        "9 ** 9 ** 9".to_owned(),
        "[".repeat(200_000),
        "-".repeat(200_000),
        format!("'{}'", "x".repeat(2 << 20)),
    ] {
        host.write(
            "dir/foo.tli",
            format!("{{'Actors': {{'foo.main.Main': {call}}}}}"),
        );
        host.fails("load foo", 1, &["foo.tli"]);
        let setting = host.write("dir/othercaps.cfg", &call);
        host.fails("list", 1, &["othercaps.cfg"]);
        fs::remove_file(setting).unwrap();
        let ask = host
            .command(["ask", "Main", &call[..call.len().min(100_000)]])
            .output()
            .unwrap();
        assert_eq!(host.ran(ask).code, 2, "{}", &call[..call.len().min(80)]);
    }
    assert!(!host.path("was-run").exists());
    host.write("dir/foo.tli", TLI);
    assert_eq!(host.done("ask Main 'version'"), "'1.0'\n");
}

/// A host with a port that others know, and a copy of the command that they can run.
struct Shared {
    host: Host,
    program: PathBuf,
}

impl Shared {
    fn new() -> Self {
        let host = Host::new();
        let free = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        host.write("dir/adminport.cfg", format!("{port}\n"));
        let program = host.path("director");
        let ours = env!("CARGO_BIN_EXE_director");
        if fs::hard_link(ours, &program).is_err() {
            fs::copy(ours, &program).unwrap();
        }
        fs::set_permissions(host.path("."), Permissions::from_mode(0o755)).unwrap();
        Self { host, program }
    }

    /// The command as another user runs it.
    fn stranger(&self, gid: u32, words: &[&str]) -> Ran {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .env_clear()
            .env("THESPIAN_DIRECTOR_DIR", self.host.path("dir"))
            .current_dir("/")
            .gid(gid)
            .uid(STRANGER);
        self.host.ran(command.output().unwrap())
    }
}

/// A user who is nobody here.
const STRANGER: u32 = 12_345;

#[test]
fn another_user_gets_only_what_the_client_group_may() {
    if !nix::unistd::Uid::effective().is_root() {
        // Only root can be somebody else for a moment.
        return;
    }
    let group = nix::unistd::Group::from_name("daemon").unwrap().unwrap();
    let shared = Shared::new();
    let host = &shared.host;
    host.build("1.0", MAIN);
    host.write("dir/clientgroup.cfg", "daemon\n");
    host.done("load foo");
    let hash = host.hash("foo", "1.0");
    host.build("2.0", MAIN);
    let operations: [&[&str]; 8] = [
        &["load", "foo"],
        &["refresh"],
        &["unload", &hash],
        &["rollback", "foo"],
        &["restart", "Main"],
        &["stop", "Main"],
        &["dump", "Main"],
        &["shutdown"],
    ];
    for words in operations {
        let ran = shared.stranger(group.gid.as_raw(), words);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (1, ""),
            "{words:?}: {ran:?}"
        );
        assert!(
            ran.stderr.contains("may not") && ran.stderr.contains("hint: "),
            "{ran:?}"
        );
        let ran = shared.stranger(STRANGER, words);
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (1, ""),
            "{words:?}: {ran:?}"
        );
        assert!(ran.stderr.contains("clientgroup.cfg"), "{ran:?}");
    }
    let asked: [&[&str]; 2] = [&["ask", "Main", "'version'"], &["list"]];
    for words in asked {
        assert_eq!(
            shared.stranger(group.gid.as_raw(), words).code,
            0,
            "{words:?}"
        );
        assert_eq!(shared.stranger(STRANGER, words).code, 1, "{words:?}");
    }
    assert_eq!(host.active("foo").as_deref(), Some("1.0"));
    for secret in ["", "raft.redb", "packages", "unpacked", "identity"] {
        let path = host.path("dir/state").join(secret);
        let mut look = Command::new("ls");
        look.arg(path).gid(group.gid.as_raw()).uid(STRANGER);
        assert!(!look.output().unwrap().status.success(), "{secret}");
    }
}

#[test]
fn root_believes_no_socket_that_another_user_put_in_its_way() {
    if !nix::unistd::Uid::effective().is_root() {
        // For anybody else such a socket belongs to the wrong user, which `node` tests.
        return;
    }
    let shared = Shared::new();
    let host = &shared.host;
    let port = String::from_utf8(host.read("dir/adminport.cfg")).unwrap();
    let socket = host
        .path("tmp/director-0")
        .join(format!("{}.sock", port.trim()));
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    for path in [socket.parent().unwrap(), &socket] {
        chown(path, Some(STRANGER), Some(STRANGER)).unwrap();
    }
    let mut command = host.command(["list"]);
    command.env("TMPDIR", host.path("tmp"));
    let ran = host.ran(command.output().unwrap());
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("no node runs"), "{ran:?}");
    assert!(listener.accept().is_err(), "the stranger was dialled");
}
