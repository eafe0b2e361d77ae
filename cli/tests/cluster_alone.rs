//! A lone node is a convention of one: the verbs of `cluster` that it answers.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are test code"
)]

mod common;
mod online_support;

use online_support::{Host, MAIN};

#[test]
fn a_lone_node_is_a_convention_of_one() {
    let host = Host::new();
    host.build("1.0", MAIN);
    host.done("start");
    let status = host.json("cluster status");
    let leader = status["leader"].as_str().unwrap().to_owned();
    assert_eq!(status["voters"], serde_json::json!([leader]));
    assert_eq!((&status["up"], &status["members"]), (&1.into(), &1.into()));
    assert_eq!(status["sources"], 1);
    let members = host.json("cluster members");
    assert_eq!(members["members"][0]["name"], leader.as_str());
    assert_eq!(members["members"][0]["state"], "up");
    assert_eq!(members["members"][0]["part"], "leader");
    assert!(host.done("cluster members").contains(&leader));

    let invited = host.done("cluster invite --uses 2 --ttl 30m");
    let token = invited.lines().last().unwrap();
    assert!(!token.contains(' '), "{invited}");
    let listed = host.json("cluster tokens");
    assert_eq!(listed["tokens"][0]["uses_left"], 2);
    let id = listed["tokens"][0]["id"].as_str().unwrap();
    assert!(!invited.is_empty() && host.done("cluster tokens").contains(id));
    host.done(&format!("cluster tokens revoke {id}"));
    assert_eq!(
        host.json("cluster tokens list")["tokens"],
        serde_json::json!([])
    );
    host.fails(&format!("cluster tokens revoke {id}"), 1, &[id]);
    host.fails("cluster approve nobody", 1, &["`nobody`", "waits"]);

    host.build("2.0", MAIN);
    let loaded = host.json("cluster load foo");
    assert_eq!(
        (&loaded["changed"], &loaded["version"]),
        (&true.into(), &"2.0".into())
    );
    assert_eq!(loaded["members"][0]["name"], leader.as_str());
    assert_eq!(loaded["members"][0]["state"], "verified");
    assert_eq!(host.done("ask Main 'version'"), "'2.0'\n");
    let explained = host.json("cluster explain Main");
    assert_eq!(explained["found"][0]["role"], "Main");
    assert_eq!(explained["found"][0]["members"][0]["eligible"], true);
    host.fails("cluster explain Nobody", 1, &["`Nobody`"]);

    let events = host.done("cluster events");
    assert!(events.lines().count() > 2, "{events}");
    let numbers = host.json("cluster events")["events"]
        .as_array()
        .unwrap()
        .clone();
    let last = numbers.last().unwrap()["number"].as_u64().unwrap();
    let none = host.json(&format!("cluster events --after {last}"));
    assert_eq!(none["events"], serde_json::json!([]));
    host.fails("cluster leave", 1, &[]);
}
