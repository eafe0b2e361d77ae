//! `.cfg` files: one value each, typed; what is wrong with one is told with its place.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are test code"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use node::directory::{CfgFault, Directory, EnvironmentEntry, Settings, SettingsRead};
use node::hosting::PythonConfig;
use tempfile::TempDir;

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> (TempDir, Directory) {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let directory = Directory::at(folder.path());
    (folder, directory)
}

fn read(files: &[(&str, &str)]) -> Settings {
    let (_folder, directory) = directory(files);
    directory
        .settings()
        .unwrap_or_else(|error| panic!("{error}"))
        .settings
}

/// The error for one file, as `NAME:LINE:COLUMN: ...`.
fn refused(name: &str, text: &str) -> String {
    let (folder, directory) = directory(&[(name, text)]);
    let error = directory.settings().unwrap_err();
    assert!(!error.hint().is_empty());
    assert_eq!(error.path, folder.path().join(name));
    error
        .to_string()
        .replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn an_empty_or_absent_directory_has_the_defaults() {
    let folder = TempDir::new().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("nowhere")] {
        let SettingsRead { settings, warnings } = Directory::at(&path).settings().unwrap();
        assert!(warnings.is_empty());
        assert_eq!(settings.admin_port, 1900);
        assert_eq!(
            (settings.voters, settings.voter, settings.offline),
            (3, true, false)
        );
        assert_eq!(settings.drain, Duration::from_secs(30));
        assert_eq!(settings.other_capabilities_literal(), "{}");
        assert_eq!(settings.system_base_shown(), "multiprocQUICBase");
        assert_eq!(settings.internal_log, path.join("thespian_system.log"));
        assert!(settings.convention_leaders.is_empty() && settings.texts.is_empty());
        assert!(!settings.node_name.is_empty());
    }
}

#[test]
fn every_file_has_its_type() {
    let settings = read(&[
        ("adminport.cfg", " 0\n"),
        ("thespbase.cfg", "multiprocTCPBase\n"),
        (
            "convleader.cfg",
            "['leader.example:1901', '[::1]:5', '10.0.0.1']",
        ),
        ("convtoken.cfg", "D1.abc.def\n"),
        ("convvoters.cfg", "5"),
        ("voter.cfg", "False"),
        ("offline.cfg", "True"),
        ("nodename.cfg", "'alpha'"),
        ("advertise.cfg", "alpha.example:1900"),
        ("listen.cfg", "0.0.0.0"),
        ("python.cfg", "{'foo': '/usr/bin/python3.8'}"),
        ("pythonpath.cfg", "/a:/b\n/c\n"),
        ("environment.cfg", "{'HOME': None, 'MODE': 'fast'}"),
        ("drain.cfg", "1.5"),
        ("clientgroup.cfg", "operators"),
        ("pickle.cfg", "['fractions.Fraction', 'my.mod.*']"),
        ("storelimit.cfg", "10 GiB"),
        (
            "othercaps.cfg",
            "{ 'Worker': True, 'Slot': 19,\n 'where': os.path.join('a', 'b') }",
        ),
        ("thesplog.cfg", "{'version': 1, 'f': '%s/x.log' % logdir}"),
        ("thesplogd.cfg", "/tmp/log"),
        ("thesplogf.cfg", "internal.log"),
        ("thesplogs.cfg", "100_000"),
    ]);
    assert_eq!(settings.admin_port, 0);
    let leaders: Vec<_> = settings
        .convention_leaders
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(leaders, ["leader.example:1901", "[::1]:5", "10.0.0.1"]);
    assert_eq!(settings.join_token.as_deref(), Some("D1.abc.def"));
    assert_eq!(
        (settings.voters, settings.voter, settings.offline),
        (5, false, true)
    );
    assert_eq!(settings.node_name, "alpha");
    let Some(PythonConfig::PerGroup(paths)) = &settings.python else {
        panic!("{:?}", settings.python)
    };
    assert_eq!(paths["foo"], Path::new("/usr/bin/python3.8"));
    assert_eq!(settings.python_path, ["/a", "/b", "/c"].map(PathBuf::from));
    let entry = |name: &str, value: Option<&str>| EnvironmentEntry {
        name: name.to_owned(),
        value: value.map(str::to_owned),
    };
    let environment = settings.environment.unwrap();
    assert_eq!(
        environment,
        [entry("HOME", None), entry("MODE", Some("fast"))]
    );
    assert_eq!(settings.drain, Duration::from_millis(1500));
    assert_eq!(settings.client_group.as_deref(), Some("operators"));
    assert_eq!(settings.pickle, ["fractions.Fraction", "my.mod.*"]);
    assert_eq!(settings.store_limit_bytes, Some(10 << 30));
    assert_eq!(
        settings.other_capabilities.get("Slot").unwrap().as_i64(),
        Some(19)
    );
    assert_eq!(
        settings.other_capabilities.get("where").unwrap().as_str(),
        Some("a/b")
    );
    let log = settings.log_configuration.unwrap();
    assert_eq!(log.get("f").unwrap().as_str(), Some("/tmp/log/x.log"));
    assert_eq!(settings.internal_log_bytes_max, 100_000);
    assert_eq!(settings.texts.len(), 22);
}

#[test]
fn plain_strings_stay_strings() {
    let leader = |text: &str| read(&[("convleader.cfg", text)]).convention_leaders[0].to_string();
    assert_eq!(leader("192.168.32.19\n"), "192.168.32.19");
    assert_eq!(leader("host-1:1900"), "host-1:1900");
    assert_eq!(leader("'quoted'"), "quoted");
    assert_eq!(leader("[::1]:1900"), "[::1]:1900");
    assert_eq!(leader("a, b:1\nc"), "a");
    assert_eq!(read(&[("nodename.cfg", "1234")]).node_name, "1234");
    let python = read(&[("python.cfg", "/usr/bin/python3")]).python;
    assert_eq!(python, Some(PythonConfig::One("/usr/bin/python3".into())));
}

#[test]
fn an_error_names_file_line_column_and_what_was_expected() {
    let port = refused("adminport.cfg", "\n  nineteen");
    assert_eq!(
        port,
        "adminport.cfg:2:3: expected a port number from 0 to 65535, found `nineteen`"
    );
    assert!(refused("adminport.cfg", "70000").contains("found `70000`"));
    assert!(refused("adminport.cfg", "").contains("found an empty file"));
    assert!(refused("othercaps.cfg", "{'a': 1\n 'b': 2}").starts_with("othercaps.cfg:1:8: "));
    assert!(refused("othercaps.cfg", "[1]").contains("expected a dictionary with string keys"));
    assert!(refused("othercaps.cfg", "__import__('os')").starts_with("othercaps.cfg:1:"));
    for (name, text) in [
        ("convleader.cfg", "host:port"),
        ("convvoters.cfg", "2"),
        ("voter.cfg", "'yes'"),
        ("drain.cfg", "-1"),
        ("pickle.cfg", "['not a name']"),
        ("storelimit.cfg", "lots"),
        ("python.cfg", "python3"),
        ("pythonpath.cfg", "relative/path"),
        ("environment.cfg", "[1]"),
        ("thesplog.cfg", "3"),
        ("nodename.cfg", "['a']"),
    ] {
        let error = refused(name, text);
        assert!(
            error.starts_with(&format!("{name}:1:1: expected ")),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_is_no_text_is_named() {
    let (folder, directory) = directory(&[]);
    fs::write(folder.path().join("nodename.cfg"), b"ab\xff").unwrap();
    let error = directory.settings().unwrap_err();
    assert!(
        matches!(error.fault, CfgFault::NotText { at: 2 }),
        "{error}"
    );
    fs::remove_file(folder.path().join("nodename.cfg")).unwrap();
    fs::create_dir(folder.path().join("nodename.cfg")).unwrap();
    let error = directory.settings().unwrap_err();
    assert!(matches!(error.fault, CfgFault::Unreadable(_)), "{error}");
}

#[test]
fn unknown_settings_are_warned_of_with_the_likely_name() {
    let (_folder, directory) = directory(&[
        ("convleeder.cfg", "x"),
        ("entirely-else.cfg", "x"),
        ("voter.cfg", "True"),
    ]);
    let read = directory.settings().unwrap();
    let warnings: Vec<_> = read.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 2);
    assert!(
        warnings[0].contains("convleeder.cfg` is no setting"),
        "{warnings:?}"
    );
    assert!(
        warnings[0].ends_with("did you mean `convleader.cfg`?"),
        "{warnings:?}"
    );
    assert!(warnings[1].ends_with("is not read"), "{warnings:?}");
}

#[test]
fn a_setting_that_somebody_else_can_have_written_is_not_read() {
    let (folder, directory) = directory(&[("python.cfg", "/tmp/evil")]);
    let file = folder.path().join("python.cfg");
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let refusal = || {
        let error = directory.settings().unwrap_err();
        assert_eq!(error.path, file);
        format!("{error}; {}", error.hint())
    };
    chmod(&file, 0o666);
    let text = refusal();
    assert!(text.contains("everybody may write it;"), "{text}");
    assert!(text.contains("chmod o-w"), "{text}");
    chmod(&file, 0o644);
    for mode in [0o777, 0o1777] {
        chmod(folder.path(), mode);
        let text = refusal();
        assert!(text.contains("everybody may write its directory"), "{text}");
    }
    chmod(folder.path(), 0o775);
    directory.settings().unwrap();
    // Only root can give a file away.
    if chown(&file, Some(12_345), None).is_ok() {
        let text = refusal();
        assert!(
            text.contains("user 12345") && text.contains("chown"),
            "{text}"
        );
        chown(folder.path(), Some(12_345), None).unwrap();
        directory.settings().unwrap();
    }
}

#[test]
fn a_setting_without_end_is_not_read_to_its_end() {
    let long = format!("'{}'", "x".repeat(1024 * 1024));
    let text = refused("nodename.cfg", &long);
    assert!(text.contains("more than 1048576 bytes"), "{text}");
}
