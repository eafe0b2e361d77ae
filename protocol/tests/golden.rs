//! Golden bytes of what is fixed for good: documents that Python reads too, and stored shapes.
//!
//! A difference here is a change of a contract: it needs a version and a way up, not a new file.
//! `UPDATE_GOLDEN=1 cargo test -p protocol` writes the files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use protocol::control::{ActorFailure, ConnectionRole, FailureCode};
use protocol::control::{ClientEnvironment, Hello, Notice, Origin, Request, Response, WorkerSpec};
use protocol::definition::{ActorDefinition, AutoUnload};
use protocol::peer::SessionUp;
use protocol::registry::{
    Authorities, Change, Command, FEATURE_LEVEL, Group, KeyDigest, MemberCommand, Outcome,
    Placement, REGISTRY_VERSION, Recorded, Roll, Root, Rotation, RotationStep, State,
};
use protocol::view::{self, Settings, Streamed, Wish};
use protocol::{
    ActorId, ConventionId, GroupDefinition, Incarnation, NodeId, RequestId, RoleId, SourceHash,
    Stamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).unwrap();
    }
    let known = fs::read_to_string(&path).unwrap();
    assert_eq!(known, text, "{}", path.display());
}

fn document<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, value: &T) {
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    golden(name, &text);
    assert_eq!(serde_json::from_str::<T>(&text).unwrap(), *value);
}

fn stored<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(name: &str, value: &T) {
    let bytes = protocol::encode("golden", REGISTRY_VERSION, value).unwrap();
    golden(name, &(hex::encode(&bytes) + "\n"));
    assert_eq!(
        protocol::decode::<T>("golden", REGISTRY_VERSION, &bytes).unwrap(),
        *value
    );
}

fn spec(origin: Origin) -> WorkerSpec {
    WorkerSpec {
        token: "00ff".to_owned(),
        actor: ActorId::allot(Incarnation(1), 2),
        origin,
        class: "foo.main.Foo".to_owned(),
        parent: ActorId::NONE,
        global_name: Some("Foo Primary".to_owned()),
        requirements: None,
        capabilities: "{'Python Version': (3, 11, 7)}".to_owned(),
        incarnation: Incarnation(1),
        allotment: 1 << 32,
        environment: vec![("LANG".to_owned(), "C".to_owned())],
        user: None,
    }
}

fn definition() -> GroupDefinition {
    GroupDefinition {
        actors: vec![ActorDefinition {
            class: "foo.main.Foo".to_owned(),
            role: Some("Main".to_owned()),
            on_load: Some("('go', None)".to_owned()),
            ..ActorDefinition::default()
        }],
        auto_unload: AutoUnload::Keep(2),
        keep_limit: Some(3),
    }
}

#[test]
fn the_workers_specification_names_its_origin() {
    document(
        "worker-spec-source.json",
        &spec(Origin::Source(SourceHash([7; 32]))),
    );
    let client = ClientEnvironment {
        interpreter: "/usr/bin/python3".to_owned(),
        sys_path: vec!["/home/ann".to_owned()],
        main: Some("/home/ann/app.py".to_owned()),
        directory: "/home/ann".to_owned(),
    };
    golden("program-id.txt", &format!("{}\n", client.program()));
    document("worker-spec-client.json", &spec(Origin::Client(client)));
}

#[test]
fn greetings_requests_answers_and_notices_are_fixed() {
    let hello = Hello {
        protocol: 2,
        oldest: Some(1),
        role: ConnectionRole::Worker,
        token: Some("00ff".to_owned()),
        pid: 7,
        program: None,
        node: None,
    };
    document("hello.json", &hello);
    let load = Request::Load {
        request: RequestId([9; 16]),
        group: "foo".to_owned(),
        version: Some("1.0".to_owned()),
        path: "/opt/thespian/director/foo-1.0.tls".to_owned(),
        definition: definition(),
        by: "ann".to_owned(),
        no_wait: false,
        upwards_only: true,
        reach: Default::default(),
        lies: None,
    };
    document("request-load.json", &load);
    document(
        "response-created.json",
        &Response::Created {
            actor: ActorId([3; 16]),
        },
    );
    let failure = ActorFailure {
        code: FailureCode::ImportError,
        message: "No module named 'x'".to_owned(),
        traceback: Some("Traceback...".to_owned()),
    };
    document("notice-start-failed.json", &Notice::StartFailed(failure));
}

#[test]
fn commands_and_state_of_the_registry_are_fixed() {
    let found = Command::Found {
        convention: ConventionId([1; 16]),
        feature_level: FEATURE_LEVEL,
        stamp: Stamp(1_700_000_000_000),
    };
    stored("command-found.hex", &found);
    let ordered = Command::Ordered {
        request: RequestId([8; 16]).step(1),
        told: vec!["`b` takes actors again".to_owned()],
        change: Change::Member(MemberCommand::Drain {
            node: NodeId(2),
            on: false,
            by: "ann".to_owned(),
            stamp: Stamp(3),
        }),
        stamp: Stamp(3),
    };
    stored("command-ordered.hex", &ordered);
    let load = Command::Load {
        request: RequestId([9; 16]),
        hash: SourceHash([7; 32]),
        group: "foo".to_owned(),
        version: Some("1.0".to_owned()),
        bytes: 4096,
        definition: definition(),
        placements: vec![Placement {
            position: 0,
            class: "foo.main.Foo".to_owned(),
            node: NodeId(5),
            actor: ActorId([3; 16]),
        }],
        by: "ann".to_owned(),
        stamp: Stamp(1_700_000_000_001),
    };
    stored("command-load.hex", &load);
    let group = Group {
        active: Some(SourceHash([7; 32])),
        ..Group::default()
    };
    let recorded = Recorded {
        stamp: Stamp(3),
        outcome: Outcome::Done,
        told: vec!["`b` takes actors again".to_owned()],
    };
    let state = State {
        feature_level: FEATURE_LEVEL,
        convention: Some(ConventionId([1; 16])),
        groups: BTreeMap::from([("foo".to_owned(), group)]),
        requests: BTreeMap::from([(RequestId([8; 16]), recorded)]),
        last_number: 4,
        roll: Roll {
            authorities: authorities(),
            ..Roll::default()
        },
        ..State::default()
    };
    stored("state.hex", &state);
}

/// One authority is about to replace another.
fn authorities() -> Authorities {
    let root = |number: u8| Root {
        key: KeyDigest([number; 32]),
        certificate: vec![number; 3],
    };
    Authorities {
        roots: vec![root(6)],
        links: vec![vec![56]],
        retired: vec![root(5)],
        changes: 3,
        rotation: Some(Rotation {
            step: RotationStep::Drawn {
                root: root(7),
                link: vec![67],
            },
            by: "ann".to_owned(),
            since: Stamp(4),
        }),
    }
}

#[test]
fn what_a_follower_is_told_is_told_in_these_bytes() {
    let group = Group {
        active: Some(SourceHash([2; 32])),
        ..Group::default()
    };
    let settings = Settings {
        convention: Some(ConventionId([1; 16])),
        feature_level: FEATURE_LEVEL,
        voters_wanted: 3,
        recoveries: 0,
    };
    let streamed = Streamed {
        whole: true,
        index: 300,
        covers: 2,
        voters: Some(vec![NodeId(7)]),
        changes: vec![
            view::Change::Settings(settings),
            view::Change::Group("foo".to_owned(), Some(Box::new(group))),
            view::Change::Member(NodeId(9), None),
            view::Change::Name("Foo Primary".to_owned(), Some("foo".to_owned())),
            view::Change::Authorities(Box::new(authorities())),
        ],
    };
    stored("streamed.hex", &streamed);
    let wishes = vec![
        Wish::Group("foo".to_owned()),
        Wish::Role(RoleId([3; 16])),
        Wish::Source(SourceHash([4; 32])),
        Wish::Called("Main".to_owned()),
        Wish::Node(NodeId(5)),
        Wish::Groups,
        Wish::Members,
    ];
    stored("session-wish.hex", &SessionUp::Wish { number: 7, wishes });
}
