//! Interpreters and unpacked sources: what is found out, laid out and refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use node::hosting::{
    Interpreter, PythonPolicy, PythonVersion, Runtime, UnpackError, folder_of, remove_unpacked,
    resolve, unpack,
};
use package::{Builder, Format, KeyRing, Limits, PrivateKey, Verified, sign, verify};

fn python(state: &Path) -> Interpreter {
    let program = PythonPolicy::of_process(None, None).choose(None).unwrap();
    resolve(&program, state).unwrap()
}

fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// A package of these files, verified with its own key.
fn packed(files: &[(&str, &str)]) -> (Cursor<Vec<u8>>, Verified) {
    let mut zip = Builder::new(Cursor::new(Vec::new()));
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    for (name, content) in files {
        zip.add(name, &mut content.as_bytes()).unwrap();
    }
    let mut zip = zip.finish().unwrap();
    let key = PrivateKey::from_pem(KEY.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    sign(&mut zip, &key, Format::DirectorFmt1, &mut bytes).unwrap();
    let public = key.public_pem().unwrap().into_bytes();
    let (ring, _) = KeyRing::parse([("test_tls.key".to_owned(), public)]);
    let mut package = Cursor::new(bytes);
    let verified = verify(&mut package, &ring, &Limits::default()).unwrap();
    (package, verified)
}

#[test]
fn the_real_interpreter_is_found_out_and_remembered() {
    let state = tempfile::tempdir().unwrap();
    let runs = state.path().join("runs");
    let real = python(tempfile::tempdir().unwrap().path()).executable;
    let wrapper = script(
        state.path(),
        "python3",
        &format!(
            "echo run >> {}; exec {} \"$@\"",
            runs.display(),
            real.display()
        ),
    );
    let found = resolve(&wrapper, state.path()).unwrap();
    assert_eq!(found.executable, real);
    assert!(found.version >= PythonVersion(3, 8, 0));
    assert!(
        found.suffixes.iter().any(|suffix| suffix == ".abi3.so"),
        "{found:?}"
    );
    assert_eq!(resolve(&wrapper, state.path()).unwrap(), found);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\n");
    fs::write(
        &wrapper,
        format!("{}\n\n", fs::read_to_string(&wrapper).unwrap()),
    )
    .unwrap();
    assert_eq!(resolve(&wrapper, state.path()).unwrap(), found);
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\nrun\n");
}

#[test]
fn a_virtual_environment_keeps_its_own_program() {
    let state = tempfile::tempdir().unwrap();
    let real = python(state.path()).executable;
    let home = state.path().join("venv");
    fs::create_dir_all(home.join("bin")).unwrap();
    let text = format!("home = {}\n", real.parent().unwrap().display());
    fs::write(home.join("pyvenv.cfg"), text).unwrap();
    std::os::unix::fs::symlink(&real, home.join("bin/python")).unwrap();
    let found = resolve(&home.join("bin/python"), state.path()).unwrap();
    assert_eq!(found.executable, home.join("bin/python"));
    assert_eq!(found.virtual_env, Some(home));
}

#[test]
fn what_is_no_python_is_refused_with_the_next_step() {
    let state = tempfile::tempdir().unwrap();
    let silent = script(state.path(), "silent", "echo oops >&2; exit 7");
    assert_eq!(
        resolve(&silent, state.path()).unwrap_err().to_string(),
        format!(
            "`{}` does not answer like Python 3.8 or newer (it ended with exit status: 7) \
             and says `oops`; name another one in `python.cfg`",
            silent.display()
        )
    );
    let old = script(
        state.path(),
        "old",
        "echo 'director-python: {\"executable\": \"/x\", \"version\": [3, 6, 15], \"release\": \
         [\"final\", 0], \"platform\": \"linux\", \"suffixes\": [], \"base_prefix\": \"/\", \
         \"virtual_env\": null}'",
    );
    assert_eq!(
        resolve(&old, state.path()).unwrap_err().to_string(),
        format!(
            "`{}` is Python 3.6.15, and actors need 3.8.0 or newer; name another one in \
             `python.cfg`",
            old.display()
        )
    );
}

#[test]
fn the_runtime_is_laid_out_once_and_whole() {
    let state = tempfile::tempdir().unwrap();
    let first = Runtime::lay_out(state.path()).unwrap();
    assert!(first.folder.join("thespian/actors.py").is_file());
    assert!(first.bootstrap.contains("forkserver"));
    assert_eq!(Runtime::lay_out(state.path()).unwrap(), first);
    let names = fs::read_dir(state.path().join("python")).unwrap();
    assert_eq!(names.count(), 1);
}

#[test]
fn a_source_is_unpacked_compiled_and_removed() {
    let state = tempfile::tempdir().unwrap();
    let python = python(state.path());
    let (mut package, verified) = packed(&[
        ("app/__init__.py", "X = 1\n"),
        ("app/old.py", "print 'two'\n"),
        ("app/data.txt", "data"),
    ]);
    let source = unpack(state.path(), &mut package, &verified, &python).unwrap();
    assert_eq!(source.folder, folder_of(state.path(), &verified.hash()));
    assert_eq!(
        fs::read_to_string(source.folder.join("app/data.txt")).unwrap(),
        "data"
    );
    let mode = |name: &str| {
        source
            .folder
            .join(name)
            .metadata()
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(
        (mode("app/data.txt") & 0o7777, mode("app") & 0o7777),
        (0o644, 0o755)
    );
    assert_eq!((mode("") & 0o7777, source.warnings.len()), (0o755, 1));
    let warning = &source.warnings[0];
    assert!(
        warning.starts_with("`app/old.py` does not compile: SyntaxError"),
        "{warning}"
    );
    let compiled = fs::read_dir(source.folder.join("app/__pycache__")).unwrap();
    let compiled: Vec<_> = compiled
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    // Bits of a pyc's second word: 1 has a hash, 2 is checked at import.
    assert_eq!(compiled.iter().map(|pyc| pyc[4]).collect::<Vec<_>>(), [1]);

    let again = unpack(state.path(), &mut package, &verified, &python).unwrap();
    assert_eq!(again, source);
    remove_unpacked(state.path(), &verified.hash()).unwrap();
    assert_eq!(
        fs::read_dir(state.path().join("unpacked")).unwrap().count(),
        0
    );
    remove_unpacked(state.path(), &verified.hash()).unwrap();
}

#[test]
fn an_extension_for_another_python_is_refused_before_anything_is_written() {
    let state = tempfile::tempdir().unwrap();
    let python = python(state.path());
    let (mut package, verified) = packed(&[
        ("app.py", "import _speed\n"),
        ("_speed.cpython-36m-x86_64-linux-gnu.so", "ELF"),
    ]);
    let error = unpack(state.path(), &mut package, &verified, &python).unwrap_err();
    let UnpackError::Tag(wrong) = error else {
        panic!("{error:?}");
    };
    assert_eq!(wrong.file, "_speed.cpython-36m-x86_64-linux-gnu.so");
    assert_eq!(wrong.found, "cpython-36m-x86_64-linux-gnu");
    assert!(!state.path().join("unpacked").exists());
}

const KEY: &str = include_str!("../../package/tests/fixtures/keys/one_pkcs8.pem");
