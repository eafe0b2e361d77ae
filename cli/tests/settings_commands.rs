//! help, config, keygen, avail, completions, and words that are no command.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are test code"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::{fs, io::Read};

use common::Sandbox;

#[test]
fn no_command_prints_help_with_the_settings_and_does_nothing_else() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run("");
    assert_eq!(ran, sandbox.run("help"));
    assert_eq!(ran, sandbox.run("verbose"));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("  gensrc "), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("THESPIAN_DIRECTOR_DIR: [BOX]/dir\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("Admin Port: 1900\n"), "{}", ran.stdout);
    assert!(sandbox.listing().is_empty());
}

#[test]
fn help_survives_settings_that_cannot_be_read() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/adminport.cfg", "nineteen");
    let ran = sandbox.run("help");
    assert_eq!(ran.code, 0);
    assert!(
        ran.stdout
            .contains("dir/adminport.cfg:1:1: expected a port"),
        "{}",
        ran.stdout
    );
}

#[test]
fn help_of_a_command_explains_it() {
    let sandbox = Sandbox::new();
    let text = sandbox.done("help gensrc");
    for word in [
        "GROUP KEY SOURCES_DIR",
        "version:V",
        "deps:",
        "YYYYMMDDHHMM",
    ] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn an_unknown_command_exits_2_and_points_to_help() {
    let sandbox = Sandbox::new();
    check!(sandbox.run("frobnicate"), @r"
    exit 2
    --- stderr
    error: `frobnicate` is no command
    hint: `director help` lists the commands
    ");
    check!(sandbox.run("help gens"), @r"
    exit 2
    --- stderr
    error: `gens` is no command
    hint: did you mean `gensrc`? `director help` lists the commands
    ");
    check!(sandbox.run("avail --frob"), @r"
    exit 2
    --- stderr
    error: unexpected argument '--frob' found

    Usage: director avail [OPTIONS]
    hint: `director help avail` explains it
    ");
}

#[test]
fn the_version_is_told_and_gensrc_has_a_version_of_its_own() {
    let sandbox = Sandbox::new();
    let version = format!("director {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(sandbox.done("--version"), version);
    assert_eq!(sandbox.run("gensrc --version").code, 2);
}

#[test]
fn config_prints_the_seeds_lines_and_the_python() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/convleader.cfg", "192.168.32.19\n");
    sandbox.write(
        "dir/othercaps.cfg",
        "{ 'Worker': True,\n  'Slot': 19, 'nproc': 2 }\n",
    );
    sandbox.write("dir/thesplogd.cfg", "/tmp/log\n");
    sandbox.write("dir/thespbase.cfg", "multiprocTCPBase\n");
    sandbox.write("dir/oldthespbase.cfg", "multiprocUDPBase\n");
    sandbox.write("dir/nodename.cfg", "alpha\n");
    check!(sandbox.run("config"), @r"
    exit 0
    --- stdout
       Sources location: [BOX]/dir
            System Base: multiprocQUICBase
        OLD System Base: multiprocUDPBase
             Admin Port: 1900
      Logging directory: /tmp/log
      Convention Leader: 192.168.32.19
     Other Capabilities: { 'Worker': True,
                           'Slot': 19, 'nproc': 2 }
              Node name: alpha
                 Python: [PYTHON] (Python [VERSION])
    ");
}

#[test]
fn config_as_json_has_the_same_values() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/adminport.cfg", "1911");
    let document: serde_json::Value = serde_json::from_str(&sandbox.done("--json config")).unwrap();
    assert_eq!(document["admin_port"], "1911");
    assert_eq!(document["sources_location"], "[BOX]/dir");
}

#[test]
fn config_names_the_bad_setting_and_the_unknown_file() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/adminprot.cfg", "1911");
    let ran = sandbox.run("config");
    assert_eq!(ran.code, 0);
    assert!(
        ran.stderr.contains("adminprot.cfg` is no setting"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("did you mean `adminport.cfg`?"),
        "{}",
        ran.stderr
    );
    sandbox.write("dir/othercaps.cfg", "{'a': 1\n 'b': 2}");
    let ran = sandbox.run("config");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(
        ran.stderr.contains("[BOX]/dir/othercaps.cfg:1:8: "),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
}

#[test]
fn config_says_what_is_wrong_with_the_python() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/python.cfg", "/nowhere/python3");
    let ran = sandbox.run("config");
    assert_eq!(ran.code, 0);
    assert!(
        ran.stdout.contains("`python.cfg` names `/nowhere/python3`"),
        "{}",
        ran.stdout
    );
}

#[test]
fn keygen_writes_a_pair_that_only_the_owner_can_sign_with() {
    let sandbox = Sandbox::new();
    check!(sandbox.run("keygen mine --bits 1024"), @r"
    exit 0
    --- stdout
    Wrote mine.pem
    Wrote mine_tls.key
    ");
    let mode = |name: &str| {
        fs::metadata(sandbox.path(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("mine.pem"), 0o600);
    assert_eq!(mode("mine_tls.key") & 0o600, 0o600);
    let private = sandbox.read("mine.pem");
    check!(sandbox.run("keygen mine"), @r"
    exit 1
    --- stderr
    error: `mine.pem` exists
    hint: choose another NAME, or move the old pair away
    ");
    assert_eq!(sandbox.read("mine.pem"), private);
    check!(sandbox.run("keygen other --bits 512"), @r"
    exit 1
    --- stderr
    error: no key was made: its size of `512` bits is outside 1024 to 8192
    hint: use `--bits 3072`
    ");
    check!(sandbox.run("keygen nowhere/mine --bits 1024"), @r"
    exit 1
    --- stderr
    error: `nowhere/mine.pem` cannot be written: No such file or directory (os \
          error 2)
    hint: choose a folder that you may write
    ");
    assert_eq!(sandbox.run("keygen").code, 2);
}

#[test]
fn avail_lists_groups_newest_first_and_starts_nothing() {
    let sandbox = Sandbox::new();
    for file in [
        "foo-1.9.tls",
        "foo-1.10.tls",
        "foo.tls",
        "foo-bar-9.tls",
        "other-2.0.tls",
    ] {
        sandbox.write(&format!("dir/{file}"), file);
    }
    sandbox.write("dir/foo.tli", "{}");
    sandbox.write("dir/foo-bar.tli", "{}");
    sandbox.write("dir/new.tli", "{}");
    check!(sandbox.run("avail"), @r"
    exit 0
    --- stdout
    THESPIAN_DIRECTOR_DIR=[BOX]/dir
    foo: [BOX]/dir/foo-1.10.tls    [HASH]
       + [BOX]/dir/foo-1.9.tls    [HASH]
       + [BOX]/dir/foo.tls    [HASH]
    foo-bar: [BOX]/dir/foo-bar-9.tls    [HASH]
    new:
    other: [BOX]/dir/other-2.0.tls    [HASH]
    ");
    assert_eq!(sandbox.listing().len(), 8, "no state folder appeared");
    let document: serde_json::Value = serde_json::from_str(&sandbox.done("avail --json")).unwrap();
    assert_eq!(document["groups"][0]["packages"][0]["version"], "1.10");
    assert_eq!(document["groups"][0]["packages"][0]["bytes"], 12);
    assert_eq!(document["groups"][3]["tli"], serde_json::Value::Null);
}

#[test]
fn avail_gives_the_sha256_of_the_file() {
    let sandbox = Sandbox::new();
    sandbox.write("dir/foo.tls", "abc");
    let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert!(
        sandbox
            .done("avail")
            .contains(&format!("foo.tls    {hash}\n"))
    );
}

#[test]
fn avail_without_a_directory_says_how_to_get_one() {
    let sandbox = Sandbox::new();
    fs::remove_dir(sandbox.path("dir")).unwrap();
    check!(sandbox.run("avail"), @r"
    exit 1
    --- stderr
    error: the Director directory `[BOX]/dir` does not exist
    hint: make it with `mkdir -p [BOX]/dir`, or set THESPIAN_DIRECTOR_DIR to the \
          directory that you use
    ");
}

#[test]
fn completions_name_the_commands() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            sandbox
                .done(&format!("completions {shell}"))
                .contains("tlsinfo")
        );
    }
    assert_eq!(sandbox.run("completions tcsh").code, 2);
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let sandbox = Sandbox::new();
    let mut child = sandbox
        .command(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(
        (child.wait().unwrap().code(), stderr.as_str()),
        (Some(0), "")
    );
}
