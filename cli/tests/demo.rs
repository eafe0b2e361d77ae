//! The demo as a stranger runs it: it holds, and nothing of it stays behind.

use std::fs;
use std::process::Command;

use serde_json::Value;

#[test]
fn the_demo_accounts_for_every_request_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_director"))
        .args(["--json", "demo"])
        .env("TMPDIR", temporary.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let account: Value = serde_json::from_slice(&output.stdout).unwrap();
    for promise in [
        "without_outcome",
        "handled_twice",
        "unknown_elsewhere",
        "stale",
        "wrong",
    ] {
        assert_eq!(account[promise], 0, "{promise} in {account:#}");
    }
    for version in ["1.0", "2.0"] {
        assert!(
            account["by_version"][version].as_u64().unwrap() > 0,
            "{account:#}"
        );
    }
    let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(
        processes_naming(&temporary.path().display().to_string()),
        Vec::<String>::new()
    );
}

/// Command lines of living processes that name this folder.
fn processes_naming(folder: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|process| {
        let line = fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(folder)).collect()
}
