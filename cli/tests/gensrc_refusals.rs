//! gensrc: every input that it refuses, with the reason, and nothing written.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are test code"
)]

mod common;

use std::fs;

use common::{Sandbox, application};

/// Runs gensrc with these words; it must fail with 5 and leave the directory as it was.
#[track_caller]
fn refused(sandbox: &Sandbox, words: &str) -> common::Ran {
    let before = sandbox.listing();
    let ran = sandbox.run(&format!("gensrc {words}"));
    assert_eq!(ran.code, 5, "{ran:?}");
    assert_eq!(sandbox.listing(), before, "nothing is written");
    ran
}

#[test]
fn a_source_that_is_no_python_is_an_error_with_file_and_line() {
    let sandbox = application();
    sandbox.write("src/foo/bad.py", "x = 1\ndef f(:\n    pass\n");
    sandbox.write("src/foo/worse.py", b"x = '\xff'\n");
    let ran = refused(&sandbox, "foo key.pem src foo/*.py");
    assert!(
        ran.stderr.contains("2 of the sources cannot be compiled"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("[BOX]/src/foo/bad.py:2:7: "),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("[BOX]/src/foo/worse.py"),
        "{}",
        ran.stderr
    );
}

#[test]
fn sources_that_are_not_there_are_named() {
    let sandbox = application();
    check!(refused(&sandbox, "foo key.pem src foo/*.pyx"), @r"
    exit 5
    --- stderr
    error: `foo/*.pyx` matches no file in `[BOX]/src`
    hint: sources are relative to SOURCES_DIR; `**` must be a whole part of a path
    ");
    check!(refused(&sandbox, "foo key.pem src foo/none.py"), @r"
    exit 5
    --- stderr
    error: there is no `foo/none.py` in `[BOX]/src`
    hint: sources are relative to SOURCES_DIR
    ");
    check!(refused(&sandbox, "foo key.pem src foo"), @r"
    exit 5
    --- stderr
    error: `foo` is a folder
    hint: write 'foo/**/*' for everything in it
    ");
    check!(refused(&sandbox, "foo key.pem src ../key.pem"), @r"
    exit 5
    --- stderr
    error: `../key.pem` is not below SOURCES_DIR `[BOX]/src`
    hint: name files below SOURCES_DIR, or choose a SOURCES_DIR above them
    ");
    check!(refused(&sandbox, "foo key.pem src foo/**.py"), @r"
    exit 5
    --- stderr
    error: `foo/**.py` is no pattern: Pattern syntax error near position 6: \
          recursive wildcards must form a single path component
    hint: `**` must be a whole part of a path; write `[*]` for a star itself
    ");
    check!(refused(&sandbox, "foo key.pem nowhere foo/*.py"), @r"
    exit 5
    --- stderr
    error: SOURCES_DIR `nowhere` cannot be read: No such file or directory (os \
          error 2)
    hint: name the folder that the package's modules are imported from
    ");
}

#[test]
fn the_private_key_is_never_packed() {
    let sandbox = application();
    fs::copy(sandbox.path("key.pem"), sandbox.path("src/key.pem")).unwrap();
    let ran = refused(&sandbox, "foo src/key.pem src **/*");
    assert!(
        ran.stderr
            .contains("would pack the private key `[BOX]/src/key.pem`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn keys_that_cannot_sign_are_explained() {
    let sandbox = application();
    let (_, public) = common::pair();
    sandbox.write("public.pem", public);
    sandbox.write("garbage.pem", "no key at all");
    sandbox.write("cut.pem", "-----BEGIN PRIVATE KEY-----\nMIIE\n");
    check!(refused(&sandbox, "foo none.pem src foo/*.py"), @r"
    exit 5
    --- stderr
    error: the key `[BOX]/src/none.pem` cannot be read: No such file or directory \
          (os error 2)
    hint: make a pair with `director keygen NAME` and sign with NAME.pem
    ");
    check!(refused(&sandbox, "foo public.pem src foo/*.py"), @r"
    exit 5
    --- stderr
    error: the key `public.pem` cannot sign: it holds a `PUBLIC KEY` block where a \
          private key belongs
    hint: gensrc signs with the private key (`NAME.pem`); hosts check with the \
          public one (`NAME_tls.key`)
    ");
    check!(refused(&sandbox, "foo garbage.pem src foo/*.py"), @r"
    exit 5
    --- stderr
    error: the key `garbage.pem` cannot sign: it holds no PEM block
    hint: copy the file again, or make a new pair with `director keygen NAME`
    ");
    assert!(
        refused(&sandbox, "foo cut.pem src foo/*.py")
            .stderr
            .contains("cut off")
    );
}

#[test]
fn a_definition_with_a_fault_is_found_before_anything_is_written() {
    let sandbox = application();
    // The seed's sample, which lacks a comma after the fifth line.
    let sample = "{
  'Actors':
    { 'other.mainActor': { 'OnLoad': { 'Role': 'other',
                                       'Message': 0 }}
    }
  'AutoUnload': True,
  'TLS_Keep_Limit': 3,
}
";
    sandbox.write("src/foo.tli", sample);
    let ran = refused(&sandbox, "foo key.pem src foo/*.py");
    assert!(
        ran.stderr.contains("[BOX]/src/foo.tli` line 5, column 6"),
        "{}",
        ran.stderr
    );
    let ran = refused(&sandbox, "foo key.pem src tli:none.tli foo/*.py");
    assert!(
        ran.stderr.contains("none.tli` cannot be read"),
        "{}",
        ran.stderr
    );
    sandbox.write("src/foo.tli", "{'Actors': 3}");
    let ran = refused(&sandbox, "foo key.pem src foo/*.py");
    assert!(ran.stderr.contains("Actors"), "{}", ran.stderr);
}

#[test]
fn names_that_would_be_another_groups_are_refused() {
    let sandbox = application();
    sandbox.write("dir/foo-bar.tli", "{}");
    check!(refused(&sandbox, "foo key.pem src version:bar-1.0 foo/*.py"), @r"
    exit 5
    --- stderr
    error: `foo-bar-1.0.tls` would belong to the group `foo-bar`
    hint: choose another version
    ");
    check!(refused(&sandbox, "../foo key.pem src foo/*.py"), @r"
    exit 5
    --- stderr
    error: the group `../foo` contains a path separator
    hint: choose names such as `foo` and `1.0`
    ");
    assert_eq!(
        sandbox
            .run("gensrc foo key.pem src fmt:Unknown foo/*.py")
            .code,
        2
    );
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let sandbox = application();
    let command = "gensrc foo key.pem src foo/*.py";
    let mut run = sandbox.command(command.split(' '));
    let ran = sandbox.ran(
        run.env("THESPIAN_DIRECTOR_DIR", "nowhere")
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, 5);
    assert!(
        ran.stderr.contains("mkdir -p [BOX]/nowhere"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_host_without_python_is_told_what_was_looked_at() {
    let sandbox = application();
    let mut run = sandbox.command("gensrc foo key.pem src foo/*.py".split(' '));
    let ran = sandbox.ran(run.env("PATH", sandbox.path("src")).output().unwrap());
    assert_eq!(ran.code, 5);
    assert!(ran.stderr.contains("no Python found"), "{}", ran.stderr);
    assert!(ran.stderr.contains("python.cfg"), "{}", ran.stderr);
    assert_eq!(sandbox.listing(), ["test_tls.key"]);
}

#[test]
fn an_interpreter_that_is_no_python_is_named() {
    let sandbox = application();
    sandbox.write("dir/python.cfg", "/bin/false");
    check!(refused(&sandbox, "foo key.pem src foo/*.py"), @r"
    exit 5
    --- stderr
    error: `/bin/false` failed
      (exit status: 1)
    hint: gensrc needs Python 3.8 or newer; name one in `python.cfg`
    ");
    sandbox.write("dir/python.cfg", "{'foo': '/nowhere/python3'}");
    let ran = refused(&sandbox, "foo key.pem src foo/*.py");
    assert!(
        ran.stderr.contains("`python.cfg` names `/nowhere/python3`"),
        "{}",
        ran.stderr
    );
    sandbox.write("dir/python.cfg", "python3");
    let ran = refused(&sandbox, "foo key.pem src foo/*.py");
    assert!(
        ran.stderr
            .contains("python.cfg:1:1: expected the absolute path"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_failed_run_leaves_the_old_package_as_it_was() {
    let sandbox = application();
    sandbox.done("gensrc foo key.pem src version:1 foo/*.py");
    let before = sandbox.read("dir/foo-1.tls");
    sandbox.write("src/foo/bad.py", "def");
    refused(&sandbox, "foo key.pem src version:1 foo/*.py");
    assert_eq!(sandbox.read("dir/foo-1.tls"), before);
}
