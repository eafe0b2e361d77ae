//! Nodes on hosts of their own: addresses and ports as deployed, cables that are pulled.

use cluster::{A, Condition, Op, Scene};

#[test]
fn a_node_serves_on_a_host_of_its_own() {
    let Some(scene) = Scene::on_hosts(1) else {
        return;
    };
    scene.play(&[
        Op::Start(A),
        Op::load(A, "1.0"),
        Op::Isolate(A),
        Op::Heal,
        Op::until(
            Condition::Answers {
                on: A,
                target: "Desk",
                literal: "'where'",
                reply: "('1.0', 'a')",
            },
            "a cable that was pulled matters nothing to one host alone",
        ),
        Op::Stop(A),
    ]);
}
