//! What a user hands in wrongly, node running or not: the thing named, the next step, the
//! documented exit code, and nothing changed.

mod common;
mod online_support;

use online_support::{Host, MAIN, TLI};

/// A host on which version 1.0 of `foo` runs.
fn running() -> Host {
    let host = Host::new();
    host.build("1.0", MAIN);
    host.done("load foo");
    host
}

/// Version 1.0 is the only one loaded, and it answers.
fn unchanged(host: &Host) {
    assert_eq!(host.active("foo").as_deref(), Some("1.0"));
    let list = host.json("list");
    let sources = list.pointer("/groups/0/sources");
    let n_sources = sources.and_then(|sources| sources.as_array()).map(Vec::len);
    assert_eq!(n_sources, Some(1), "{list}");
    assert_eq!(host.done("ask Main 'version'"), "'1.0'\n");
}

#[test]
fn packages_that_cannot_be_trusted_are_refused() {
    let host = running();
    let package = host.build("2.0", MAIN);
    let good = std::fs::read(&package).unwrap();
    let mut bent = good.clone();
    let middle = bent.len() / 2;
    bent[middle] ^= 1;
    host.write("dir/foo-2.0.tls", &bent);
    host.fails("load foo", 1, &["foo-2.0.tls", "test_tls.key"]);
    unchanged(&host);
    host.write("dir/foo-2.0.tls", &good[..middle]);
    host.fails("load foo", 1, &["foo-2.0.tls"]);
    host.write("dir/foo-2.0.tls", "");
    host.fails("load foo", 1, &["foo-2.0.tls"]);
    host.write("dir/foo-2.0.tls", "no package at all");
    host.fails("load foo", 1, &["foo-2.0.tls"]);
    unchanged(&host);

    host.write("dir/foo-2.0.tls", &good);
    let key = host.path("dir/test_tls.key");
    let elsewhere = host.path("test_tls.key");
    std::fs::rename(&key, &elsewhere).unwrap();
    host.fails("load foo", 1, &["foo-2.0.tls", "_tls.key"]);
    std::fs::rename(&elsewhere, &key).unwrap();
    unchanged(&host);
}

#[test]
fn names_of_nothing_are_refused_before_a_node_is_started() {
    let host = Host::new();
    host.write("src/foo.tli", TLI);
    host.fails("load bar", 1, &["`bar`", "director avail"]);
    host.fails("load bar-1.0.tls", 1, &["`bar-1.0.tls`"]);
    host.write("dir/foo.tli", TLI);
    host.fails("load foo", 1, &["the group `foo` has no package"]);
    host.fails("load foo.tli", 1, &["foo.tli", "has no package"]);
    host.build("1.0", MAIN);
    std::fs::remove_file(host.path("dir/foo.tli")).unwrap();
    host.fails(
        "load foo-1.0.tls",
        1,
        &["[BOX]/dir/foo.tli", "does not exist", "Actors"],
    );
    host.write("notes.txt", "no package");
    host.fails("load notes.txt", 1, &["`notes.txt`", ".tls"]);
    assert_eq!(host.pid(), None, "a node was started");
}

#[test]
fn a_tli_with_a_fault_names_file_line_and_column() {
    let host = running();
    host.build("2.0", MAIN);
    for (text, place) in [
        (
            "{'Actors': {'foo.main.Main' {}}}",
            "foo.tli` line 1, column",
        ),
        (
            "{'Actors': {\n  'foo.main.Main': {'OnLoad': {'Role': 5}}}}",
            "foo.tli",
        ),
        ("{'Actors': {}", "foo.tli` line 1, column"),
        ("[]", "foo.tli"),
    ] {
        host.write("dir/foo.tli", text);
        host.fails("load foo", 1, &[place]);
    }
    host.write("dir/foo.tli", TLI.replace("Main'", "Mein'"));
    host.fails("load foo", 1, &["foo.main", "`Mein`"]);
    unchanged(&host);
}

#[test]
fn code_that_cannot_be_brought_up_is_refused_with_its_traceback() {
    let host = running();
    host.build("2.0", "import no_such_module_here\n");
    host.fails("load foo", 1, &["Traceback", "no_such_module_here"]);
    unchanged(&host);
    let raising = "from thespian.actors import Actor\nclass Main(Actor):\n  \
                   def __init__(self):\n    raise ValueError('cannot be built')\n";
    host.build("3.0", raising);
    host.fails("load foo", 1, &["Traceback", "cannot be built"]);
    unchanged(&host);
    let refresh = host.run("refresh");
    assert_eq!(refresh.code, 1, "{refresh:?}");
    assert!(refresh.stderr.contains("foo: ") && refresh.stderr.contains("cannot be built"));
    unchanged(&host);
}

#[test]
fn a_refresh_goes_on_after_a_group_that_fails() {
    let host = Host::new();
    host.build("1.0", MAIN);
    host.write("dir/aaa.tli", "{'Actors': {'x.Y': {}}}");
    host.write("dir/aaa-1.0.tls", "no package");
    host.write("dir/loose-1.0.tls", "without a .tli");
    let ran = host.run("refresh");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.starts_with("Loaded \"foo\" "), "{ran:?}");
    assert!(
        ran.stderr.contains("error: aaa: ") && ran.stderr.contains("loose.tli"),
        "{ran:?}"
    );
    let json = host.run("--json refresh");
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["failed"][0]["group"], "aaa");
    assert_eq!(json["unchanged"][0]["group"], "foo");
}

#[test]
fn words_for_actors_versions_and_groups_are_checked() {
    let host = running();
    host.fails("ask Main version", 2, &["line 1, column 1", "`version`"]);
    host.fails("tell Main {'a':", 2, &["line 1, column"]);
    host.fails("ask Nobody 1", 1, &["`Nobody`", "director list"]);
    host.fails("ask Main 1 --group bar", 1, &["`Main`", "`bar`"]);
    host.fails("ask Main 1 --timeout 0", 2, &["more than 0 seconds"]);
    host.fails("tell Nobody 1", 1, &["`Nobody`"]);
    host.fails("role Nobody", 1, &["`Nobody`"]);
    host.fails("restart Nobody", 1, &["`Nobody`"]);
    host.fails("dump Nobody", 1, &["`Nobody`"]);
    host.fails("list bar", 1, &["`bar`"]);
    host.fails("history bar", 1, &["`bar`"]);
    host.fails("rollback bar", 1, &["`bar`"]);
    host.fails("rollback foo", 1, &["foo"]);
    host.fails("unload xyz", 2, &["`xyz`", "director list"]);
    let hash = host.hash("foo", "1.0");
    let other = if hash.starts_with('0') { "1" } else { "0" };
    host.fails(
        &format!("unload {other}{}", &hash[1..]),
        1,
        &["no loaded source"],
    );
    unchanged(&host);
}

#[test]
fn replies_that_are_no_values_are_told_apart() {
    let host = running();
    let shown = host.run("ask Main 'thing'");
    assert_eq!((shown.code, shown.stdout.as_str()), (0, "<a thing>\n"));
    assert!(shown.stderr.contains("no literal"), "{shown:?}");
    assert_eq!(host.json("ask Main 'thing'")["literal"], false);
    let poison = host.fails("ask Main 'raise'", 1, &["Traceback", "ValueError: no way"]);
    assert!(
        poison
            .stderr
            .starts_with("error: `Main` failed on the message"),
        "{poison:?}"
    );
    host.fails(
        "ask Main 'silence' --timeout 0.3",
        3,
        &["no reply within 0.3 s"],
    );
    host.fails(
        "ask Main 'die'",
        3,
        &["ended before it replied", "status 3"],
    );
}

#[test]
fn a_directory_that_cannot_be_used_is_a_start_that_failed() {
    let host = Host::new();
    let with = |folder: &str, line: &str| {
        let mut command = host.command(line.split(' '));
        command.env("THESPIAN_DIRECTOR_DIR", host.path(folder));
        host.ran(command.output().unwrap())
    };
    let missing = with("nowhere", "start");
    assert_eq!(missing.code, 5, "{missing:?}");
    assert!(
        missing
            .stderr
            .contains("[BOX]/nowhere` does not exist\nhint: make it"),
        "{missing:?}"
    );
    host.write("file", "");
    let file = with("file", "start");
    assert_eq!(file.code, 5, "{file:?}");
    assert!(
        file.stderr
            .contains("[BOX]/file` is not a directory\nhint: "),
        "{file:?}"
    );
    assert_eq!(with("nowhere", "load foo").code, 1);
    assert_eq!(with("nowhere", "list").code, 3);

    host.write("dir/adminport.cfg", "nineteen\n");
    host.fails("start", 5, &["adminport.cfg:1:1", "`nineteen`"]);
    host.fails("load foo", 1, &["foo"]);
    host.fails("list", 1, &["adminport.cfg:1:1"]);
    host.write("dir/adminport.cfg", "0\n");
    host.write("dir/state", "in the way");
    host.fails("start", 5, &["state"]);
    assert_eq!(host.run("shutdown").stdout, "Shutdown completed\n");
}

#[test]
fn a_damaged_state_is_a_start_that_failed_and_mends_with_the_file() {
    let host = running();
    host.done("shutdown");
    for file in ["dir/state/raft.redb", "dir/state/identity/node.json"] {
        let good = host.read(file);
        host.write(file, "damaged");
        host.fails("start", 5, &["state/"]);
        host.fails("load foo", 3, &["state/"]);
        host.fails("list", 3, &["no node runs"]);
        host.write(file, good);
    }
    host.done("start");
    unchanged(&host);
}

#[test]
fn a_host_without_python_serves_and_says_so() {
    let host = Host::new();
    host.build("1.0", MAIN);
    host.write("dir/python.cfg", "/no/such/python3\n");
    let started = host.run("start");
    assert_eq!(started.code, 1, "{started:?}");
    assert!(
        started.stdout.starts_with("Started the node"),
        "{started:?}"
    );
    assert!(started.stderr.contains("/no/such/python3"), "{started:?}");
    host.fails("load foo", 1, &["/no/such/python3"]);
    let list = host.run("list");
    assert_eq!(list.code, 0);
    assert!(list.stderr.contains("/no/such/python3"), "{list:?}");
    assert_eq!(host.json("list")["groups"].as_array().unwrap().len(), 0);
}

#[test]
fn a_word_that_stands_for_several_things_is_answered_with_the_list() {
    let host = running();
    let tli = "{'Actors': {'bar.Other': {'OnLoad': {'Role': 'Main', 'GlobalName': 'the other'}}}}";
    host.write("src/bar.tli", tli);
    host.write("src/bar.py", OTHER);
    host.done("gensrc bar key.pem src bar.py");
    host.done("load bar");
    let both = [
        "`Main` stands for 2 things",
        "Main of bar: ",
        "Main of foo: ",
        "--group",
    ];
    host.fails("ask Main 'version'", 1, &both);
    host.fails("tell Main 'version'", 1, &both);
    host.fails("role Main", 1, &both);
    host.fails("restart Main", 1, &["`Main`", "`bar`", "`foo`", "--group"]);
    assert_eq!(host.done("ask Main 'version' --group foo"), "'1.0'\n");
    assert_eq!(host.done("ask Main 'version' --group bar"), "'other'\n");
    let named = host
        .command(["ask", "the other", "'version'"])
        .output()
        .unwrap();
    assert_eq!(host.ran(named).stdout, "'other'\n");
    assert!(
        host.done("list bar")
            .contains(" -- bar.Other (Main)  named the other  (since ")
    );
}

const OTHER: &str = "
from thespian.actors import ActorTypeDispatcher


class Other(ActorTypeDispatcher):
    def receiveMsg_str(self, message, sender):
        self.send(sender, 'other')
";
