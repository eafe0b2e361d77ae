//! tlsinfo: valid, listed, printed; and each way in which a package is no good.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are test code"
)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use common::Sandbox;

/// A sandbox with `dir/foo-1.tls` of two members.
fn packed() -> Sandbox {
    let sandbox = Sandbox::with_key();
    sandbox.write("src/foo/__init__.py", "VERSION = 1\n");
    sandbox.write("src/foo/data.bin", [0, 159, 146, 150]);
    sandbox.done("gensrc foo key.pem src version:1 foo/*");
    sandbox
}

#[test]
fn a_valid_package_is_named_with_its_key() {
    let sandbox = packed();
    let want = "Validated \"[BOX]/dir/foo-1.tls\" loadable with key [BOX]/dir/test_tls.key\n";
    for name in [
        "foo-1.tls",
        "foo",
        "foo.tli",
        sandbox.path("dir/foo-1.tls").to_str().unwrap(),
    ] {
        assert_eq!(sandbox.done(&format!("tlsinfo {name}")), want, "{name}");
    }
    let document = sandbox.done("--json tlsinfo foo");
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let hash = package::SourceHash::of(&sandbox.read("dir/foo-1.tls")).to_string();
    assert_eq!(
        (&document["valid"], &document["members"]),
        (&true.into(), &2.into())
    );
    assert_eq!(document["hash"], hash);
}

#[test]
fn contents_and_members_are_printed() {
    let sandbox = packed();
    check!(sandbox.run("tlsinfo foo contents"), @r"
    exit 0
    --- stdout
         12  foo/__init__.py
          4  foo/data.bin
    ");
    assert_eq!(sandbox.done("tlsinfo foo foo/__init__.py"), "VERSION = 1\n");
    let bytes = sandbox
        .command(["tlsinfo", "foo", "foo/data.bin"])
        .output()
        .unwrap()
        .stdout;
    assert_eq!(bytes, [0, 159, 146, 150]);
    check!(sandbox.run("tlsinfo foo foo/none.py"), @r"
    exit 6
    --- stderr
    error: `[BOX]/dir/foo-1.tls`: the package has no file `foo/none.py`
    hint: `director tlsinfo [BOX]/dir/foo-1.tls contents` lists the members
    ");
}

#[test]
fn a_file_that_is_not_there_exits_4() {
    let sandbox = packed();
    check!(sandbox.run("tlsinfo bar"), @r"
    exit 4
    --- stderr
    error: the package `bar` does not exist
      looked for the path, and in `[BOX]/dir` for the file and the group
    hint: `director avail` lists what is there
    ");
}

#[test]
fn what_is_no_package_exits_6() {
    let sandbox = packed();
    let package = sandbox.read("dir/foo-1.tls");
    sandbox.write("dir/text-1.tls", "not a package\n");
    sandbox.write("dir/empty-1.tls", "");
    sandbox.write("dir/cut-1.tls", &package[..200]);
    check!(sandbox.run("tlsinfo text"), @r"
    exit 6
    --- stderr
    error: `[BOX]/dir/text-1.tls`: this is no source package: it begins with `not a \
          package`
    hint: copy the file again, or build it again with gensrc
    ");
    assert_eq!(sandbox.run("tlsinfo empty").code, 6);
    assert_eq!(sandbox.run("tlsinfo cut").code, 6);
}

#[test]
fn a_package_that_no_key_validates_exits_7_with_the_keys_tried() {
    let sandbox = packed();
    let mut package = sandbox.read("dir/foo-1.tls");
    let at = package
        .windows(3)
        .position(|window| window == b"foo")
        .unwrap();
    package[at] = b'g';
    sandbox.write("dir/foo-2.tls", &package);
    sandbox.done("keygen short --bits 1024");
    fs::rename(sandbox.path("short_tls.key"), sandbox.path("dir/a_tls.key")).unwrap();
    check!(sandbox.run("tlsinfo foo-2.tls"), @r#"
    exit 7
    --- stderr
    warning: key file `[BOX]/dir/a_tls.key` is used, but its size of `1024` bits is \
          short: use 3072 or more; make a longer key with `director keygen NAME` \
          and sign with it
    error: Could not validate signature on "[BOX]/dir/foo-2.tls"
      tried [BOX]/dir/a_tls.key: its signatures have 128 bytes, this one 256
      tried [BOX]/dir/test_tls.key: the signature is not its
    hint: copy the package again if it may be damaged; else put its signer's public \
          key into the Director directory as `NAME_tls.key`
    "#);
}

#[test]
fn without_a_key_nothing_is_valid() {
    let sandbox = packed();
    fs::remove_file(sandbox.path("dir/test_tls.key")).unwrap();
    check!(sandbox.run("tlsinfo foo"), @r"
    exit 7
    --- stderr
    error: `[BOX]/dir/foo-1.tls` cannot be validated: there is no usable public key \
          to check the package with
    hint: put the signer's public key into the Director directory as `NAME_tls.key`
    ");
}

#[test]
fn a_bad_key_file_is_named_and_the_others_are_tried() {
    let sandbox = packed();
    sandbox.write("dir/a_tls.key", "garbage");
    sandbox.write("dir/open_tls.key", "garbage");
    let open = fs::Permissions::from_mode(0o666);
    fs::set_permissions(sandbox.path("dir/open_tls.key"), open).unwrap();
    symlink("/proc/self/mounts", sandbox.path("dir/link_tls.key")).unwrap();
    let ran = sandbox.run("tlsinfo foo");
    assert_eq!(ran.code, 0);
    for words in [
        "key file `[BOX]/dir/a_tls.key` is not used: it holds no PEM block",
        "key file `[BOX]/dir/open_tls.key` is not used: everybody may write it",
        "key file `[BOX]/dir/link_tls.key` is not used: ",
    ] {
        assert!(ran.stderr.contains(words), "{words} in {}", ran.stderr);
    }
}

#[test]
fn keys_of_a_directory_that_everybody_may_write_are_not_trusted() {
    let sandbox = packed();
    fs::set_permissions(sandbox.path("dir"), fs::Permissions::from_mode(0o777)).unwrap();
    check!(sandbox.run("tlsinfo foo"), @r"
    exit 7
    --- stderr
    error: the Director directory `[BOX]/dir` is writable by everybody
    hint: no key in it is trusted until its mode is tightened: `chmod o-w [BOX]/dir`
    ");
}
