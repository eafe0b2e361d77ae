//! One host from end to end by its commands: keys to shutdown.

mod common;
mod online_support;

use online_support::{Host, MAIN, lives, processes_of, until};

#[test]
fn an_application_is_built_loaded_asked_updated_rolled_back_and_unloaded() {
    let host = Host::new();
    let first = host.build("1.0", MAIN);
    let started = host.json("start");
    assert_eq!(started["started"], true);
    assert_eq!(started["refresh"]["loaded"][0]["version"], "1.0");
    let pid = host.pid().unwrap();
    assert_eq!(started["node"]["pid"], pid);
    assert!(host.done("start").contains("runs already"));
    assert_eq!(host.done("ask Main 'version'"), "'1.0'\n");
    assert_eq!(host.done("ask Main 'x'"), "['x', {'n': (1, 2.5, None)}]\n");

    // Somebody else's reply is as readable as that of who was asked.
    let delegated = host.done("ask Main 'delegate'");
    assert_eq!(delegated, "('from the clerk', '1.0')\n");

    host.build("2.0", MAIN);
    let loaded = host.done("load foo");
    let hash = host.hash("foo", "2.0");
    assert_eq!(
        loaded,
        format!("Loaded \"foo\" [BOX]/dir/foo-2.0.tls: {hash}\n")
    );
    assert_eq!(host.done("ask Main 'version'"), "'2.0'\n");
    let list = host.done("list foo");
    assert!(list.starts_with("Group foo::\n  Source hash "), "{list}");
    assert!(
        list.contains(&format!("  Source hash {hash}  2.0  [ACTIVE]\n      ")),
        "{list}"
    );
    assert!(list.contains(" -- foo.main.Main (Main)  (since "), "{list}");
    let role = host.done("role Main --group foo");
    assert!(role.starts_with("Main of foo: "), "{role}");

    host.done("rollback foo");
    assert_eq!(host.done("ask Main 'version'"), "'1.0'\n");
    let refreshed = host.run("refresh");
    assert_eq!((refreshed.code, refreshed.stdout.as_str()), (0, ""));
    assert!(refreshed.stderr.contains("withdrawn"), "{refreshed:?}");
    assert_eq!(host.active("foo").as_deref(), Some("1.0"));
    host.done("load foo-2.0.tls");
    assert_eq!(host.done("ask Main 'version'"), "'2.0'\n");

    assert_eq!(
        host.done(&format!("unload {}", &hash[..10])),
        format!("Unloaded {hash}\n")
    );
    assert_eq!(host.done("ask Main 'version'"), "'1.0'\n");
    let history = host.json("history foo");
    let told = history["entries"].as_array().unwrap().iter();
    let told: Vec<_> = told.map(|entry| entry["what"].as_str().unwrap()).collect();
    assert!(
        told.contains(&"loaded") && told.contains(&"withdrawn"),
        "{told:?}"
    );

    let address = host.json("role Main")["actor"].as_str().unwrap().to_owned();
    assert_eq!(host.done(&format!("ask {address} 'version'")), "'1.0'\n");
    assert_eq!(host.done("shutdown"), "Shutdown completed\n");
    assert!(!lives(pid));
    until("no process is left", || {
        processes_of(&host.path("")).is_empty()
    });
    assert!(first.exists());
    host.fails("list", 3, &["no node runs", "director start"]);
}

#[test]
fn a_load_starts_the_node_and_a_boot_runs_what_was_active() {
    let host = Host::new();
    host.build("1.0", MAIN);
    host.build("2.0", MAIN);
    host.done("load foo-1.0.tls");
    assert_eq!(host.done("ask Main 'version'"), "'1.0'\n");
    host.done("shutdown");
    // A start refreshes: upwards only.
    assert!(
        host.done("start")
            .contains("Loaded \"foo\" [BOX]/dir/foo-2.0.tls: ")
    );
    assert_eq!(host.done("ask Main 'version'"), "'2.0'\n");
    host.done("rollback foo");
    host.done("shutdown");
    let started = host.run("start");
    assert_eq!(started.code, 0);
    assert!(!started.stdout.contains("Loaded"), "{started:?}");
    assert_eq!(host.done("ask Main 'version'"), "'1.0'\n");
}

#[test]
fn the_node_keeps_nothing_of_its_starter() {
    let host = Host::new();
    // A shell that holds a descriptor open while it starts the node, as scripts do.
    let director = env!("CARGO_BIN_EXE_director");
    let mut shell = std::process::Command::new("sh");
    let held = host.write("held", "");
    shell
        .args(["-c", "exec 7<held; \"$0\" start"])
        .arg(director)
        .current_dir(host.path(""))
        .env("THESPIAN_DIRECTOR_DIR", host.path("dir"));
    // Ends only when the node has closed the pipe as well.
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let pid = host.pid().unwrap();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten();
    let open: Vec<_> = open
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .collect();
    assert!(!open.contains(&held.canonicalize().unwrap()), "{open:?}");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat
        .rsplit_once(") ")
        .unwrap()
        .1
        .split(' ')
        .nth(3)
        .unwrap()
        .to_owned();
    assert_eq!(session, pid.to_string(), "no session of its own");
}

#[test]
fn starts_at_the_same_time_give_one_node() {
    let host = Host::new();
    let spawn = |_| {
        host.command(["--json", "start"])
            .stdout(std::process::Stdio::piped())
            .spawn()
    };
    let starts: Vec<_> = (0..3).map(|n| spawn(n).unwrap()).collect();
    let answers = starts
        .into_iter()
        .map(|start| host.ran(start.wait_with_output().unwrap()));
    let answers: Vec<_> = answers.collect();
    assert!(answers.iter().all(|ran| ran.code == 0), "{answers:?}");
    let read = |ran: &common::Ran| serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap();
    let answers: Vec<_> = answers.iter().map(read).collect();
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer["started"] == true)
            .count(),
        1
    );
    let pid = host.pid().unwrap();
    assert!(
        answers.iter().all(|answer| answer["node"]["pid"] == pid),
        "{answers:?}"
    );
}

#[test]
fn a_node_in_the_foreground_ends_with_a_signal() {
    let host = Host::new();
    host.build("1.0", MAIN);
    // The older form; `--foreground` is what the background process itself is started with.
    let mut command = host.command(["start", "here"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("the role answers", || {
        host.run("ask Main 'version'").stdout == "'1.0'\n"
    });
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let mut told = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut told).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(told.starts_with("Started the node: process "), "{told}");
    assert!(told.contains("Loaded \"foo\" "), "{told}");
    until("no process is left", || {
        processes_of(&host.path("")).is_empty()
    });
}

#[test]
fn a_role_is_stopped_resumed_restarted_and_dumped() {
    let host = Host::new();
    host.build("1.0", MAIN);
    host.done("load foo");
    let address = |host: &Host| host.json("role Main")["actor"].as_str().map(str::to_owned);
    let before = address(&host);
    assert_eq!(host.done("restart Main"), "Restarted \"Main\"\n");
    assert_ne!(address(&host), before);
    assert_eq!(host.done("ask Main 'version'"), "'1.0'\n");
    assert!(
        host.done("dump Main --group foo")
            .contains("most recent call first")
    );
    host.done("stop Main");
    assert!(host.done("list").contains("  stopped"));
    host.fails("ask Main 'version'", 1, &["`Main` is stopped"]);
    let dead = host.json("dead-letters");
    assert_eq!(dead["total"], 1, "{dead}");
    assert!(
        dead["kept"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("stopped")
    );
    host.done("resume Main");
    assert_eq!(host.done("ask Main 'version'"), "'1.0'\n");
}

#[test]
fn surplus_packages_go_but_never_the_active_one() {
    let host = Host::new();
    let tli = TLI_OF_ONE;
    host.write(
        "src/foo.tli",
        tli.replace("'TLS_Keep_Limit': 1", "'TLS_Keep_Limit': 9"),
    );
    for version in ["1.0", "2.0", "3.0"] {
        host.build(version, MAIN);
    }
    host.done("load foo-1.0.tls");
    host.write("dir/foo.tli", tli);
    let ran = host.run("load foo-2.0.tls");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stderr
            .contains("deleted [BOX]/dir/foo-1.0.tls (TLS_Keep_Limit)"),
        "{ran:?}"
    );
    let packages: Vec<_> = host
        .listing()
        .into_iter()
        .filter(|name| name.ends_with(".tls"))
        .collect();
    assert_eq!(packages, ["foo-2.0.tls", "foo-3.0.tls"]);
}

const TLI_OF_ONE: &str =
    "{'Actors': {'foo.main.Main': {'OnLoad': {'Role': 'Main'}}}, 'TLS_Keep_Limit': 1}\n";
