//! `doctor`, `logs` and `bootstart`: what concerns the machine that a node runs on.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails the test")]

mod common;
mod online_support;

use common::Sandbox;
use online_support::{Host, MAIN, until};

fn finding(told: &serde_json::Value, what: &str) -> (String, String) {
    let findings = told["findings"].as_array().unwrap();
    let found = findings
        .iter()
        .find(|finding| finding["what"] == what)
        .unwrap();
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("health"), format!("{} {}", text("text"), text("next")))
}

#[test]
fn doctor_looks_at_all_that_a_node_needs() {
    let host = Host::new();
    let told = host.json("doctor");
    for what in ["directory", "keys", "python", "port", "clock"] {
        let (health, text) = finding(&told, what);
        assert_eq!(health, "ok", "{what}: {text}");
    }
    for what in ["thespian", "buffers", "disk"] {
        let (health, text) = finding(&told, what);
        assert_ne!(health, "error", "{what}: {text}");
    }
    host.done("start");
    let (_health, text) = finding(&host.json("doctor"), "port");
    assert!(text.contains("the node runs"), "{text}");
    host.write("dir/advertise.cfg", "a.example");
    let (health, text) = finding(&host.json("doctor"), "address");
    assert_eq!(health, "ok", "{text}");
    assert!(text.contains("at a.example:"), "{text}");
}

#[test]
fn doctor_ends_with_1_and_says_the_next_step_where_something_is_wrong() {
    let sandbox = Sandbox::new();
    let taken = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    sandbox.write("dir/adminport.cfg", port.to_string());
    let ran = sandbox.run("doctor");
    assert_eq!(ran.code, 1, "{ran:?}");
    let says = |text: &str| assert!(ran.stdout.contains(text), "no `{text}` in {}", ran.stdout);
    says(&format!("error    port: UDP {port} cannot be bound"));
    says(&format!("next: `ss -ulpn sport = :{port}`"));
    says("warning  keys: there is no `*_tls.key`");
    sandbox.write("dir/adminport.cfg", "many");
    let ran = sandbox.run("doctor");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("error    settings: "), "{ran:?}");
}

#[test]
fn logs_shows_what_actors_print_and_what_they_log() {
    let host = Host::new();
    let ran = host.run("logs");
    assert_eq!(ran.code, 1, "{ran:?}");
    host.write(
        "dir/thesplog.cfg",
        "{'handlers': {'all': {'class': 'logging.FileHandler', 'filename': 'app.log'}},
          'root': {'level': 'INFO', 'handlers': ['all']}}",
    );
    host.write("dir/thesplogd.cfg", host.path("dir").to_str().unwrap());
    let main = MAIN.replace(
        "        if message == 'version':",
        "        print('printed', message)\n        \
         self.logger().info('logged %s', message)\n        \
         if message == 'version':",
    );
    host.build("1.0", &main);
    host.done("start");
    host.done("ask Main 'hallo'");
    until("both are shown", || {
        let shown = host.done("logs hallo");
        shown.contains("printed hallo") && shown.contains("\nlogged hallo")
    });
    let shown = host.done("logs -n 1 hallo");
    assert!(shown.contains("==> [BOX]/dir/app.log <=="), "{shown}");
    assert_eq!(shown.lines().count(), 4, "{shown}");
}

#[test]
fn logs_follows_what_is_written() {
    use std::io::BufRead;
    let host = Host::new();
    host.write("dir/thespian_system.log", "first\n");
    let mut following = host.command(["logs", "--follow"]);
    let mut child = following
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "first");
    let path = host.path("dir/thespian_system.log");
    std::fs::write(path, "first\nsecond\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "second");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn bootstart_writes_a_service_that_runs_this_program_for_this_directory() {
    let sandbox = Sandbox::with_key();
    let wrote = sandbox.done("bootstart my.app nostart --unit-dir .");
    assert_eq!(wrote, "Wrote ./my-app.service\n");
    let unit = String::from_utf8(sandbox.read("my-app.service")).unwrap();
    let directory = sandbox.path("dir");
    let line = format!(
        "Environment=\"THESPIAN_DIRECTOR_DIR={}\"",
        directory.display()
    );
    assert!(unit.contains(&line), "{unit}");
    let program = env!("CARGO_BIN_EXE_director");
    assert!(
        unit.contains(&format!("ExecStart=\"{program}\" start --foreground")),
        "{unit}"
    );
    assert_eq!(sandbox.run("bootstart a b --unit-dir .").code, 2);
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(sandbox.run("bootstart --unit-dir .").code, 5);
}
