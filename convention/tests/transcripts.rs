//! Transcripts of the registry: commands in, outcomes and standings out.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test -p convention` writes them anew; read the difference.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests fail the test"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a test reads its transcripts from files"
)]

mod stage;

use std::fs;
use std::path::Path;

use convention::Registry;
use stage::Stage;

#[test]
fn transcripts_play_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let written = fs::read_to_string(&path).unwrap();
        let played = replay(&written);
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            fs::write(&path, &played).unwrap();
        } else {
            assert_eq!(written, played, "{}", path.display());
        }
        count += 1;
    }
    assert!(count >= 5, "the transcripts are there");
}

/// Keeps comments and commands (`> ...`), renews what follows each.
fn replay(written: &str) -> String {
    let mut stage = Stage::default();
    let mut out = String::new();
    for line in written.lines() {
        if line.starts_with('#') || line.is_empty() {
            out.push_str(line);
            out.push('\n');
        } else if let Some(command) = line.strip_prefix("> ") {
            out.push_str(line);
            out.push('\n');
            out.push_str(&stage.play(command));
        }
    }
    same_log_same_bytes(&stage);
    out
}

/// The same log gives the same state, byte for byte.
fn same_log_same_bytes(stage: &Stage) {
    let mut again = Registry::new();
    for command in &stage.log {
        again.apply(command);
    }
    let bytes = |registry: &Registry| {
        protocol::encode(
            "state",
            protocol::registry::REGISTRY_VERSION,
            registry.state(),
        )
        .unwrap()
    };
    assert_eq!(bytes(&again), bytes(&stage.registry));
}
