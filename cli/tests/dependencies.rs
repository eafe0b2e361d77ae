//! Dependency lists against a host whose packages are laid out by the test itself.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are test code"
)]

mod common;

use common::{Ran, Sandbox};

/// A sandbox whose `site/` is on the path of the Python that gensrc asks.
struct Host {
    sandbox: Sandbox,
}

impl Host {
    fn new() -> Self {
        let sandbox = Sandbox::with_key();
        sandbox.write("src/app.py", "");
        Self { sandbox }
    }

    /// Installs a distribution with these files, as pip would.
    fn install(&self, name: &str, requires: &[&str], files: &[&str]) {
        let info = format!("{name}-1.0.dist-info");
        let mut metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
        for requirement in requires {
            metadata.push_str(&format!("Requires-Dist: {requirement}\n"));
        }
        self.sandbox
            .write(&format!("site/{info}/METADATA"), metadata);
        let mut record = format!("{info}/METADATA,,\n{info}/RECORD,,\n");
        for file in files {
            record.push_str(&format!("{file},sha256=x,1\n"));
            self.sandbox
                .write(&format!("site/{file}"), format!("# {name}\n"));
        }
        self.sandbox.write(&format!("site/{info}/RECORD"), record);
    }

    fn gensrc(&self, list: &str) -> Ran {
        self.sandbox.write("deps.txt", list);
        let mut run = self
            .sandbox
            .command("--json gensrc app key.pem src app.py deps:deps.txt".split(' '));
        self.sandbox.ran(
            run.env("PYTHONPATH", self.sandbox.path("site"))
                .output()
                .unwrap(),
        )
    }

    #[track_caller]
    fn members(&self, list: &str) -> Vec<String> {
        let ran = self.gensrc(list);
        assert_eq!(ran.code, 0, "{ran:?}");
        let listing = self.sandbox.done("tlsinfo app contents");
        let names = listing
            .lines()
            .map(|line| line.split_whitespace().nth(1).unwrap().to_owned());
        names
            .filter(|name| !name.contains(".dist-info/") && name != "app.py")
            .collect()
    }
}

#[test]
fn requirements_come_along_under_this_interpreters_markers() {
    let host = Host::new();
    host.install(
        "One_Dist",
        &[
            "two.dist (>=1.0)",
            "never ; python_version < '3'",
            "never; extra == 'other'",
            "three[fast] ; extra == 'more' and python_version >= '3.0'",
        ],
        &["one.py"],
    );
    host.install(
        "two-dist",
        &["One_Dist"],
        &["two/__init__.py", "two/data/x.txt"],
    );
    host.install("three", &["four; extra == 'fast'"], &["three.py"]);
    host.install("four", &[], &["four.py"]);
    assert_eq!(
        host.members("one-dist"),
        ["one.py", "two/__init__.py", "two/data/x.txt"]
    );
    assert_eq!(
        host.members("ONE.dist[more]"),
        [
            "four.py",
            "one.py",
            "three.py",
            "two/__init__.py",
            "two/data/x.txt"
        ]
    );
}

#[test]
fn namespace_packages_are_merged() {
    let host = Host::new();
    host.install("acme-a", &["acme-b"], &["acme/a.py"]);
    host.install("acme-b", &[], &["acme/b.py", "acme_b.libs/libb.so.1"]);
    assert_eq!(
        host.members("acme-a"),
        ["acme/a.py", "acme/b.py", "acme_b.libs/libb.so.1"]
    );
    assert_eq!(
        host.members("acme.b"),
        ["acme/b.py", "acme_b.libs/libb.so.1"]
    );
}

#[test]
fn without_a_record_the_packages_folder_is_taken() {
    let host = Host::new();
    host.install(
        "plain",
        &[],
        &["plain/__init__.py", "plain/data.json", "plain/sub/x.py"],
    );
    std::fs::remove_file(host.sandbox.path("site/plain-1.0.dist-info/RECORD")).unwrap();
    host.sandbox.write("site/loose.py", "");
    host.sandbox
        .write("site/bare/__init__.py", "raise SystemExit('it was run')");
    host.sandbox.write("site/bare/deep/x.txt", "");
    let plain = ["plain/__init__.py", "plain/data.json", "plain/sub/x.py"];
    assert_eq!(host.members("plain"), plain);
    assert_eq!(
        host.members("loose\nbare"),
        ["bare/__init__.py", "bare/deep/x.txt", "loose.py"]
    );
}

#[test]
fn of_an_editable_install_the_folder_is_taken() {
    let host = Host::new();
    host.install("in-place", &[], &["in-place.pth"]);
    let info = "site/in-place-1.0.dist-info";
    let origin = r#"{"url": "file:///work", "dir_info": {"editable": true}}"#;
    host.sandbox
        .write(&format!("{info}/direct_url.json"), origin);
    host.sandbox
        .write(&format!("{info}/top_level.txt"), "placed\n");
    host.sandbox.write("site/placed/__init__.py", "");
    host.sandbox.write("site/placed/data/x.txt", "");
    assert_eq!(
        host.members("in-place"),
        ["placed/__init__.py", "placed/data/x.txt"]
    );
    assert_eq!(
        host.members("placed"),
        ["placed/__init__.py", "placed/data/x.txt"]
    );
}

#[test]
fn scripts_and_path_files_stay_behind_and_missing_files_are_named() {
    let host = Host::new();
    host.install(
        "odd",
        &[],
        &[
            "odd.py",
            "../bin/odd",
            "odd.pth",
            "gone.py",
            "__pycache__/odd.pyc",
        ],
    );
    std::fs::remove_file(host.sandbox.path("site/gone.py")).unwrap();
    let ran = host.gensrc("odd");
    assert!(
        ran.stderr.contains("`odd.pth` has no effect in a package"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr
            .contains("site/gone.py` is recorded and not there"),
        "{}",
        ran.stderr
    );
    assert_eq!(host.members("odd"), ["odd.py"]);
}

#[test]
fn what_is_not_installed_is_named_with_its_line() {
    let host = Host::new();
    host.install("one", &["absent-requirement"], &["one.py"]);
    let ran = host.gensrc("# list\none\n\nno-such-distribution\n");
    check!(ran, @r"
    exit 5
    --- stderr
    error: dependencies are not installed for `[PYTHON]`
      deps.txt:2: `absent-requirement`, required by `one`
      deps.txt:4: `no-such-distribution`
    hint: install them: `[PYTHON] -m pip install absent-requirement \
          no-such-distribution`
    hint: or pack exactly the listed ones with `deps-only:` instead of `deps:`
    ");
    assert_eq!(host.sandbox.listing(), ["test_tls.key"]);
}

#[test]
fn lines_that_are_no_names_are_refused() {
    let host = Host::new();
    check!(host.gensrc("six\ntabulate==0.9\n"), @r"
    exit 5
    --- stderr
    error: deps.txt:2: `tabulate==0.9` is no distribution or import name
    hint: write one name a line without a version: what is installed is packed
    ");
    let mut run = host
        .sandbox
        .command("gensrc app key.pem src app.py deps:none.txt".split(' '));
    let ran = host.sandbox.ran(run.output().unwrap());
    assert_eq!(ran.code, 5);
    assert!(
        ran.stderr.contains("none.txt` cannot be read"),
        "{}",
        ran.stderr
    );
}

#[test]
fn standard_modules_are_not_packed() {
    let host = Host::new();
    let ran = host.gensrc("json\nsys\n");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stderr.contains("deps.txt:1: `json` is part of Python"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("deps.txt:2: `sys` is part of Python"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_dependencys_file_that_does_not_compile_is_a_warning() {
    let host = Host::new();
    host.install("templated", &[], &["templated.py"]);
    host.sandbox
        .write("site/templated.py", "def {{ name }}(:\n");
    let ran = host.gensrc("templated");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stderr.contains("warning: [BOX]/site/templated.py:1:"),
        "{}",
        ran.stderr
    );
}

#[test]
fn own_sources_win_over_a_dependencys_file() {
    let host = Host::new();
    host.install("clash", &[], &["app.py", "clash.py"]);
    host.sandbox.write("src/app.py", "MINE = True\n");
    let ran = host.gensrc("clash");
    assert!(
        ran.stderr.contains("`app.py` of clash is left out"),
        "{}",
        ran.stderr
    );
    assert_eq!(host.sandbox.done("tlsinfo app app.py"), "MINE = True\n");
}

#[test]
fn the_current_folder_is_not_on_the_path_of_the_scripts() {
    let host = Host::new();
    let trap = "open('was-run', 'w')\n";
    host.sandbox.write("json.py", trap);
    host.sandbox.write("platform.py", trap);
    host.install("one", &[], &["one.py"]);
    assert_eq!(host.members("one"), ["one.py"]);
    assert!(!common::exists(host.sandbox.path("was-run")));
}
