//! Packages travel between Director and Thespian 4.0.1 in both directions, and dependencies along.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are test code"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::Sandbox;
use common::venv::{python, venv};

/// The original's command, made to work on a Python newer than 3.8 (its defect D1).
fn original(venv: &Path, sandbox: &Sandbox) -> Command {
    let script = "import base64, runpy, sys\n\
                  base64.decodestring = base64.decodebytes\n\
                  sys.argv[0] = 'thespian.director'\n\
                  runpy.run_module('thespian.director', run_name='__main__')";
    let mut command = Command::new(python(venv));
    command
        .args(["-c", script])
        .env("THESPIAN_DIRECTOR_DIR", sandbox.path("dir"));
    command.current_dir(sandbox.path("src"));
    command
}

/// An application without a syntax that either side would stumble over.
fn application() -> Sandbox {
    let sandbox = Sandbox::with_key();
    sandbox.write("src/foo/__init__.py", "");
    sandbox.write("src/foo/fooactor.py", "ANSWER = 42\n");
    sandbox.write("src/foo/subdir1/__init__.py", "");
    sandbox.write("src/foo.tli", "{'Actors': {}}");
    sandbox
}

#[test]
fn packages_of_thespian_validate_here() {
    let (venv, sandbox) = (venv(), application());
    for format in ["ThespianDirectorFMT1", "ViceroyFMT2"] {
        let mut gensrc = original(&venv, &sandbox);
        gensrc
            .args(["gensrc", "foo"])
            .arg(sandbox.path("key.pem"))
            .arg(sandbox.path("src"));
        gensrc.args([format!("version:{format}"), format!("fmt:{format}")]);
        gensrc.args(["foo/*.py", "foo/subdir1/*.py"]);
        common::succeed(&mut gensrc);
        let package = format!("foo-{format}.tls");
        let said = sandbox.done(&format!("tlsinfo {package}"));
        assert!(
            said.starts_with(&format!("Validated \"[BOX]/dir/{package}\"")),
            "{said}"
        );
        let member = sandbox.done(&format!("tlsinfo {package} foo/fooactor.py"));
        assert_eq!(member, "ANSWER = 42\n");
    }
}

#[test]
fn packages_made_here_validate_in_thespian() {
    let (venv, sandbox) = (venv(), application());
    for format in ["ThespianDirectorFMT1", "ViceroyFMT2"] {
        sandbox.done(&format!(
            "gensrc foo key.pem src version:{format} fmt:{format} foo/*.py foo/subdir1/*.py"
        ));
        let package = format!("foo-{format}.tls");
        let said = common::succeed(original(&venv, &sandbox).args(["tlsinfo", &package]));
        assert!(said.contains("loadable with key"), "{said}");
        let member = original(&venv, &sandbox)
            .args(["tlsinfo", &package, "foo/fooactor.py"])
            .output();
        assert_eq!(
            String::from_utf8(member.unwrap().stdout).unwrap(),
            "ANSWER = 42\n\n"
        );
    }
}

#[test]
fn the_original_refuses_what_was_changed_after_signing() {
    let (venv, sandbox) = (venv(), application());
    sandbox.done("gensrc foo key.pem src version:1 foo/*.py");
    let mut package = sandbox.read("dir/foo-1.tls");
    let middle = package.len() / 2;
    package[middle] ^= 1;
    sandbox.write("dir/foo-1.tls", package);
    let output = original(&venv, &sandbox)
        .args(["tlsinfo", "foo-1.tls"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(sandbox.run("tlsinfo foo-1.tls").code, 7);
}

#[test]
fn openssls_keys_sign_and_validate() {
    let sandbox = application();
    let openssl = |words: &str| {
        let mut command = Command::new("openssl");
        common::succeed(
            command
                .args(words.split(' '))
                .current_dir(sandbox.path(".")),
        );
    };
    openssl("genrsa -out pkcs8.pem 1024");
    openssl("rsa -in pkcs8.pem -pubout -out dir/sourcekey_tls.key");
    openssl("rsa -in pkcs8.pem -traditional -out pkcs1.pem");
    for key in ["pkcs8.pem", "pkcs1.pem"] {
        sandbox.done(&format!("gensrc foo {key} src foo/*.py"));
        let said = sandbox.done("tlsinfo foo");
        assert!(
            said.ends_with("loadable with key [BOX]/dir/sourcekey_tls.key\n"),
            "{said}"
        );
    }
}

/// Runs gensrc with the environment's Python; returns the members.
fn packed(sandbox: &Sandbox, venv: &Path, words: &str) -> Vec<String> {
    let mut gensrc = sandbox.command(words.split(' '));
    let ran = sandbox.ran(gensrc.env("VIRTUAL_ENV", venv).output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    let listing = sandbox.done("tlsinfo foo contents");
    listing
        .lines()
        .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
        .collect()
}

#[test]
fn the_seeds_example_comes_with_its_dependencies_whole() {
    let (venv, sandbox) = (venv(), application());
    sandbox.write(
        "src/deppkgs.txt",
        "# what foo needs\ntabulate\nJSONSchema  # any spelling\njinja2\nsix\n",
    );
    let members = packed(
        &sandbox,
        &venv,
        "gensrc foo key.pem src version:date deps:./deppkgs.txt foo/*.py",
    );
    let has = |name: &str| members.iter().any(|member| member == name);
    for member in [
        "tabulate/__init__.py",
        "jsonschema/validators.py",
        "jinja2/__init__.py",
        "six.py",
    ] {
        assert!(has(member), "{member}");
    }
    assert!(
        has("markupsafe/__init__.py") && has("attr/__init__.py"),
        "requirements come along"
    );
    assert!(
        has("jsonschema_specifications/schemas/draft7/metaschema.json"),
        "data comes along"
    );
    let extension = |member: &&String| member.starts_with("rpds/") && member.ends_with(".so");
    assert!(
        members.iter().any(|member| extension(&member)),
        "extension modules come along"
    );
    assert!(
        members
            .iter()
            .any(|member| member.ends_with(".dist-info/METADATA"))
    );
    assert!(
        !members
            .iter()
            .any(|member| member.contains("__pycache__") || member.ends_with(".pyc"))
    );
    assert!(
        !members
            .iter()
            .any(|member| member.starts_with("thespian") || member.contains(".."))
    );
}

#[test]
fn a_packed_application_imports_from_the_package_alone() {
    let (venv, sandbox) = (venv(), application());
    sandbox.write("deps.txt", "jsonschema\nJinja2\ntabulate\nsix\n");
    let members = packed(
        &sandbox,
        &venv,
        "gensrc foo key.pem src deps:deps.txt foo/*.py",
    );
    for member in &members {
        let content = sandbox
            .command(["tlsinfo", "foo", member])
            .output()
            .unwrap()
            .stdout;
        sandbox.write(&format!("unpacked/{member}"), content);
    }
    let script = "import sys; sys.path.insert(0, sys.argv[1])\n\
                  import jsonschema, jinja2, tabulate, six, rpds\n\
                  packed = (jsonschema, jinja2, rpds)\n\
                  assert all(m.__file__.startswith(sys.argv[1]) for m in packed)\n\
                  jsonschema.validate({'a': 1}, {'type': 'object'})\n\
                  print(jinja2.Template('{{ x }}').render(x=42))";
    let mut base = Command::new(python(&venv));
    let run = base
        .args(["-I", "-S", "-c", script])
        .arg(sandbox.path("unpacked"));
    assert_eq!(common::succeed(run), "42\n");
}

#[test]
fn deps_only_takes_the_list_alone() {
    let (venv, sandbox) = (venv(), application());
    sandbox.write("deps.txt", "jsonschema\n");
    let members = packed(
        &sandbox,
        &venv,
        "gensrc foo key.pem src deps-only:deps.txt foo/*.py",
    );
    assert!(
        members
            .iter()
            .any(|member| member == "jsonschema/__init__.py")
    );
    assert!(!members.iter().any(|member| member.starts_with("attr")));
}

#[test]
fn import_names_find_their_distribution_and_thespian_stays_out() {
    let (venv, sandbox) = (venv(), application());
    sandbox.write("deps.txt", "attr\nthespian\nrpds\n");
    let members = packed(
        &sandbox,
        &venv,
        "gensrc foo key.pem src deps:deps.txt foo/*.py",
    );
    assert!(
        members.iter().any(|member| member == "attrs/__init__.py"),
        "attrs brings attr"
    );
    assert!(members.iter().any(|member| member.starts_with("rpds/")));
    assert!(!members.iter().any(|member| member.starts_with("thespian")));
}

#[test]
fn verbose_lists_what_was_taken() {
    let (venv, sandbox) = (venv(), application());
    sandbox.write("deps.txt", "six\n");
    let mut gensrc =
        sandbox.command("verbose gensrc foo key.pem src deps:deps.txt foo/*.py".split(' '));
    let ran = sandbox.ran(gensrc.env("VIRTUAL_ENV", &venv).output().unwrap());
    assert!(ran.stderr.contains("took six 1."), "{}", ran.stderr);
    assert!(ran.stderr.contains("\n  six.py\n"), "{}", ran.stderr);
    assert_eq!(ran.stdout, "Wrote [BOX]/dir/foo.tls\n");
}

#[test]
fn markers_are_evaluated_as_packaging_does() {
    let collector = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("python/collect.py");
    let checker = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/python/check_markers.py");
    let said = common::succeed(Command::new(python(&venv())).arg(checker).arg(collector));
    assert_eq!(said, "same\n");
}
