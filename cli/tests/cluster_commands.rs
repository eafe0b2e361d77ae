//! The verbs of `cluster` on the command line: help, mistakes, and what needs no node.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are test code"
)]

mod common;

use std::os::unix::fs::symlink;
use std::process::Command;

use common::Sandbox;

const VERBS: [&str; 20] = [
    "status",
    "members",
    "load",
    "refresh",
    "unload",
    "invite",
    "tokens",
    "approve",
    "leave",
    "remove",
    "drain",
    "promote",
    "demote",
    "voters",
    "explain",
    "events",
    "backup",
    "restore",
    "recover",
    "authority",
];

#[test]
fn every_verb_is_explained_and_cluster_alone_lists_them() {
    let sandbox = Sandbox::new();
    let list = sandbox.done("cluster");
    for verb in VERBS {
        assert!(list.contains(&format!("  {verb} ")), "{verb} in {list}");
        let help = sandbox.done(&format!("help cluster {verb}"));
        assert!(
            help.contains(&format!("Usage: director cluster {verb}")),
            "{help}"
        );
    }
    assert_eq!(sandbox.done("help cluster"), list);
}

#[test]
fn a_program_called_cluster_takes_the_words_directly() {
    let sandbox = Sandbox::new();
    let program = sandbox.path("cluster");
    symlink(env!("CARGO_BIN_EXE_director"), &program).unwrap();
    let run = |words: &[&str]| {
        let mut command = Command::new(&program);
        command
            .args(words)
            .env("THESPIAN_DIRECTOR_DIR", sandbox.path("dir"));
        sandbox.ran(command.output().unwrap())
    };
    assert_eq!(run(&["status"]), sandbox.run("cluster status"));
    assert_eq!(run(&["frob"]), sandbox.run("cluster frob"));
    assert_eq!(run(&[]).stdout, sandbox.done("cluster"));
}

#[test]
fn mistakes_name_the_word_and_the_next_step() {
    let sandbox = Sandbox::new();
    check!(sandbox.run("cluster inv"), @r"
    exit 2
    --- stderr
    error: `cluster inv` is no command
    hint: did you mean `invite`? `director help cluster` lists the commands
    ");
    check!(sandbox.run("cluster invite --ttl 3w"), @r"
    exit 2
    --- stderr
    error: invalid value '3w' for '--ttl <T>': `3w` has no unit known here: s, m, h \
          or d
    hint: `director help cluster` explains it
    ");
    check!(sandbox.run("cluster members"), @r"
    exit 3
    --- stderr
    error: no node runs for the Director directory `[BOX]/dir`
    hint: `director start` starts it; THESPIAN_DIRECTOR_DIR names the directory
    ");
    check!(sandbox.run("cluster restore nothing"), @r"
    exit 1
    --- stderr
    error: `nothing` is no file
    hint: name what `cluster backup` wrote
    ");
}

#[test]
fn a_backup_overwrites_nothing_and_guards_the_authority_by_a_passphrase() {
    let sandbox = Sandbox::new();
    sandbox.write("there", "x");
    sandbox.write("short", "secret\n");
    check!(sandbox.run("cluster backup there"), @r"
    exit 1
    --- stderr
    error: `there` is there already
    hint: name another file, or delete it
    ");
    check!(sandbox.run("cluster backup new --with-ca --passphrase short"), @r"
    exit 1
    --- stderr
    error: the authority's key needs a passphrase of at least 12 characters
    hint: set DIRECTOR_PASSPHRASE, or give `--passphrase FILE`
    ");
}

#[test]
fn recovering_wants_a_word_and_a_voter_that_does_not_run() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run("cluster recover");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("--quorum-is-lost"), "{ran:?}");
    let ran = sandbox.run("cluster recover --quorum-is-lost");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("this node was no voter"), "{ran:?}");
    assert!(sandbox.listing().is_empty(), "nothing was made");
}
