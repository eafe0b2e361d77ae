//! gensrc: what is packed and under which names.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are test code"
)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::{Sandbox, application, exists};

fn members(sandbox: &Sandbox, package: &str) -> Vec<String> {
    let listing = sandbox.done(&format!("tlsinfo {package} contents"));
    listing
        .lines()
        .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
        .collect()
}

#[test]
fn globs_and_files_become_members_and_nothing_is_run() {
    let sandbox = application();
    let out = sandbox.done(
        "gensrc foo key.pem src version:1.0 foo/*.py foo/data.bin \
         foo/subdir1/baractor.py foo/subdir2/**/*.*py",
    );
    assert_eq!(out, "Wrote [BOX]/dir/foo-1.0.tls\n");
    assert_eq!(
        members(&sandbox, "foo-1.0.tls"),
        [
            "foo/__init__.py",
            "foo/data.bin",
            "foo/fooactor.py",
            "foo/subdir1/baractor.py",
            "foo/subdir2/barn/cowactor.py",
        ]
    );
    let ran = Command::new("find")
        .arg(sandbox.path("src"))
        .args(["-name", "*.was-run"])
        .output();
    assert!(ran.unwrap().stdout.is_empty(), "a source was run");
    assert_eq!(
        sandbox.listing(),
        ["foo-1.0.tls", "test_tls.key"],
        "nothing is left behind"
    );
}

#[test]
fn two_stars_find_all_folders_but_no_caches_and_no_hidden_files() {
    let sandbox = application();
    sandbox.done("gensrc foo key.pem src/ foo/**/*");
    assert_eq!(
        members(&sandbox, "foo"),
        [
            "foo/__init__.py",
            "foo/data.bin",
            "foo/fooactor.py",
            "foo/subdir1/__init__.py",
            "foo/subdir1/baractor.py",
            "foo/subdir2/barn/cowactor.py",
        ]
    );
}

#[test]
fn links_that_lead_in_a_circle_are_walked_once() {
    let sandbox = application();
    sandbox.write("elsewhere/linked.py", "");
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, sandbox.path(name)).unwrap();
    };
    link(".", "src/circle");
    link("..", "src/foo/circle");
    link("nowhere", "src/dangling.py");
    link("../elsewhere", "src/outside");
    sandbox.done("gensrc foo key.pem src **/*.py");
    let members = members(&sandbox, "foo");
    assert_eq!(members.len(), 6, "{members:?}");
    assert!(members.contains(&"outside/linked.py".to_owned()));
}

#[test]
fn patterns_match_as_deep_as_they_say() {
    let sandbox = application();
    let found = |pattern: &str| {
        sandbox.done(&format!("gensrc foo key.pem src {pattern}"));
        members(&sandbox, "foo").join(" ")
    };
    assert_eq!(found("foo/[f]*.py"), "foo/fooactor.py");
    assert_eq!(
        found("*/subdir1/*.py"),
        "foo/subdir1/__init__.py foo/subdir1/baractor.py"
    );
    assert_eq!(found("foo/./subdir2/../foo?ctor.py"), "foo/fooactor.py");
    assert_eq!(found("foo/.h*.py"), "foo/.hidden.py");
    assert_eq!(found("**/cowactor.py"), "foo/subdir2/barn/cowactor.py");
    let absolute = format!("{}/foo/foo*.py", sandbox.path("src").display());
    assert_eq!(found(&absolute), "foo/fooactor.py");
    assert_eq!(
        sandbox.run("gensrc foo key.pem src ../elsewhere/*.py").code,
        5
    );
}

#[test]
fn absolute_dotted_and_repeated_sources_are_one_member_each() {
    let sandbox = application();
    let absolute = sandbox.path("src/foo/__init__.py");
    sandbox.done(&format!(
        "gensrc foo key.pem src/ {} ./foo/fooactor.py foo//fooactor.py foo/subdir1/../fooactor.py",
        absolute.display()
    ));
    assert_eq!(
        members(&sandbox, "foo"),
        ["foo/__init__.py", "foo/fooactor.py"]
    );
}

#[test]
fn sources_may_be_named_through_another_link_than_their_root() {
    let sandbox = application();
    std::os::unix::fs::symlink("src", sandbox.path("link")).unwrap();
    let file = sandbox.path("src/foo/fooactor.py");
    sandbox.done(&format!("gensrc foo key.pem link {}", file.display()));
    assert_eq!(members(&sandbox, "foo"), ["foo/fooactor.py"]);
}

#[test]
fn options_may_stand_anywhere_in_both_forms() {
    let sandbox = application();
    for line in [
        "gensrc version:7 foo key.pem src foo/*.py",
        "gensrc foo key.pem src foo/*.py version:7",
        "gensrc foo --version 7 key.pem src foo/*.py",
        "verbose gensrc foo key.pem src foo/*.py --version=7",
    ] {
        assert_eq!(sandbox.done(line), "Wrote [BOX]/dir/foo-7.tls\n", "{line}");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_in_every_format() {
    let sandbox = application();
    for format in ["ThespianDirectorFMT1", "ViceroyFMT2"] {
        sandbox.done(&format!("gensrc a key.pem src foo/**/* fmt:{format}"));
        let first = sandbox.read("dir/a.tls");
        assert!(first.starts_with(format!("{format}-sha256\n256\n").as_bytes()));
        fs::copy(sandbox.path("src/foo/data.bin"), sandbox.path("copy")).unwrap();
        fs::rename(sandbox.path("copy"), sandbox.path("src/foo/data.bin")).unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(sandbox.path("src/foo/fooactor.py"), mode).unwrap();
        sandbox.done(&format!(
            "gensrc a key.pem src fmt:{format} foo/subdir2/**/* foo/subdir1/*.py foo/*.py \
             foo/data.bin"
        ));
        assert!(
            first == sandbox.read("dir/a.tls"),
            "order, times and modes do not matter"
        );
    }
}

#[test]
fn version_date_is_the_local_time_and_no_version_is_the_group_alone() {
    let sandbox = application();
    let out = sandbox.done("gensrc foo key.pem src version:date foo/*.py");
    let date = out
        .strip_prefix("Wrote [BOX]/dir/foo-")
        .unwrap()
        .strip_suffix(".tls\n")
        .unwrap();
    let now = Command::new("date")
        .arg("+%Y%m%d%H%M")
        .output()
        .unwrap()
        .stdout;
    let now: i64 = String::from_utf8(now).unwrap().trim().parse().unwrap();
    assert_eq!(date.len(), 12);
    assert!(
        (0..=100).contains(&(now - date.parse::<i64>().unwrap())),
        "{date} is about {now}"
    );
    assert_eq!(
        sandbox.done("gensrc foo key.pem src foo/*.py"),
        "Wrote [BOX]/dir/foo.tls\n"
    );
}

#[test]
fn the_definition_of_the_sources_is_copied_unless_another_is_named() {
    let sandbox = application();
    sandbox.write("src/foo.tli", "{'Actors': {}}");
    sandbox.write("other.tli", "{'Actors': {}, 'AutoUnload': True}");
    sandbox.done("gensrc foo key.pem src version:1 foo/*.py");
    assert_eq!(sandbox.read("dir/foo.tli"), b"{'Actors': {}}");
    sandbox.done("gensrc foo key.pem src version:2 tli:other.tli foo/*.py");
    assert_eq!(
        sandbox.read("dir/foo.tli"),
        b"{'Actors': {}, 'AutoUnload': True}"
    );
}

#[test]
fn keep_limit_deletes_this_groups_oldest_and_never_the_new_one() {
    let sandbox = application();
    for file in [
        "foo-1.0.tls",
        "foo-2.0.tls",
        "foo-9.0.tls",
        "foo-bar-0.1.tls",
    ] {
        sandbox.write(&format!("dir/{file}"), "old");
    }
    sandbox.write("dir/foo-bar.tli", "{}");
    sandbox.write("src/foo.tli", "{'TLS_Keep_Limit': 2}");
    let ran = sandbox.run("gensrc foo key.pem src version:0.5 foo/*.py");
    assert_eq!(ran.code, 0);
    assert!(
        ran.stderr
            .contains("deleted [BOX]/dir/foo-1.0.tls (TLS_Keep_Limit)"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        sandbox.listing(),
        [
            "foo-0.5.tls",
            "foo-2.0.tls",
            "foo-9.0.tls",
            "foo-bar-0.1.tls",
            "foo-bar.tli",
            "foo.tli",
            "test_tls.key"
        ]
    );
}

#[test]
fn missing_arguments_exit_3() {
    let sandbox = application();
    for line in [
        "gensrc",
        "gensrc foo",
        "gensrc foo key.pem src",
        "gensrc foo key.pem src version:1",
    ] {
        let ran = sandbox.run(line);
        assert_eq!(ran.code, 3, "{line}");
        assert!(
            ran.stderr
                .contains("hint: `director help gensrc` explains it"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn own_thespian_sources_are_left_out() {
    let sandbox = application();
    sandbox.write("src/thespian/actors.py", "");
    let ran = sandbox.run("gensrc foo key.pem src **/*.py");
    assert_eq!(ran.code, 0);
    assert!(
        ran.stderr.contains("`thespian/actors.py` is left out"),
        "{}",
        ran.stderr
    );
    assert!(
        members(&sandbox, "foo")
            .iter()
            .all(|name| !name.starts_with("thespian"))
    );
}

#[test]
fn the_answer_as_json_has_hash_and_size() {
    let sandbox = application();
    let out = sandbox.done("--json gensrc foo key.pem src version:1 foo/*.py");
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    let file = sandbox.read("dir/foo-1.tls");
    assert_eq!(document["bytes"], file.len());
    assert_eq!(document["hash"], package::SourceHash::of(&file).to_string());
    assert_eq!(document["version"], "1");
    assert_eq!(document["members"], 2);
}

#[test]
fn a_large_package_is_packed_and_checked_in_little_memory() {
    let sandbox = application();
    let mut block = vec![0_u8; 1 << 20];
    let mut state = 1_u32;
    block.fill_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    for index in 0..12 {
        sandbox.write(&format!("src/foo/data/{index}.bin"), block.repeat(8));
    }
    let line = "gensrc foo key.pem src foo/**/*";
    for line in [line, "tlsinfo foo"] {
        let most = measured(&sandbox, line);
        assert!(most < 32 * 1024, "`director {line}` took {most} KiB");
    }
    assert!(fs::metadata(sandbox.path("dir/foo.tls")).unwrap().len() > 90 << 20);
}

/// Runs a command and returns the most memory that it had, in KiB.
fn measured(sandbox: &Sandbox, line: &str) -> u64 {
    let script = "import resource, subprocess, sys\n\
                  subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n\
                  print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    let mut run = sandbox.command(line.split(' '));
    let mut python = Command::new("python3");
    python
        .args(["-c", script])
        .arg(run.get_program())
        .args(run.get_args());
    python.current_dir(sandbox.path("."));
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => python.env(name, value),
            None => python.env_remove(name),
        };
    }
    run.stdin(std::process::Stdio::null());
    common::succeed(&mut python).trim().parse().unwrap()
}

#[test]
fn nothing_of_the_key_is_world_readable() {
    let sandbox = application();
    sandbox.done("gensrc foo key.pem src foo/*.py");
    assert!(exists(sandbox.path("dir/foo.tls")));
    let package = sandbox.read("dir/foo.tls");
    let found = package.windows(11).any(|window| window == b"PRIVATE KEY");
    assert!(!found);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&sandbox.path("dir/foo.tls")), 0o644);
}
