//! Worker hosting against real Python processes: they start, fail, hang, crash and are killed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail the test"
)]

mod hosting_support;

use std::time::Duration;

use hosting_support::{PATIENCE, TestNode, classes, descendants, kill, process, read, until};
use protocol::control::{FailureCode, Notice, SystemMessage};

const ECHO: &str = "
from thespian.actors import Actor
class A(Actor):
    def receiveMessage(self, message, sender):
        if isinstance(message, str):
            print(message)
";

#[tokio::test]
async fn an_actor_starts_in_a_process_of_its_own_and_ends_when_asked() {
    let mut node = TestNode::start();
    let setup = node.source(ECHO);
    let prepared = node
        .hosting
        .prepare(setup.clone(), classes(&["app.A", "app"]))
        .await
        .unwrap();
    let found: Vec<_> = prepared
        .classes
        .iter()
        .map(|one| one.class.as_deref())
        .collect();
    assert_eq!(found, [Some("app.A"), Some("app.A")]);
    assert_eq!(prepared.per_actor, None);
    let (pid, mut worker) = node.started(&setup, "app.A").await;
    let (state, parent) = process(pid).unwrap();
    assert!(state != 'Z' && parent != std::process::id());
    assert_eq!(node.hosting.pid(worker.actor), Some(pid));
    worker.tell("'a line of mine'").await;
    worker
        .system(&SystemMessage::ActorExitRequest { recursive: true })
        .await;
    assert_eq!(worker.notice().await, Notice::Exiting);
    let ended = node.ended().await;
    assert_eq!(
        (ended.actor, ended.pid, ended.status),
        (worker.actor, pid, Some(0))
    );
    assert_eq!(ended.stderr_tail, "a line of mine");
    assert_eq!(node.hosting.pid(worker.actor), None);
    node.close().await;
}

#[tokio::test]
async fn an_import_that_fails_comes_with_its_traceback() {
    let node = TestNode::start();
    let setup = node.source("import no_such_module\nclass A: pass\n");
    let prepared = node
        .hosting
        .prepare(setup, classes(&["app.A"]))
        .await
        .unwrap();
    let failure = prepared.classes[0].failure.clone().unwrap();
    assert_eq!(failure.code, FailureCode::ImportError);
    assert!(failure.message.contains("no_such_module"), "{failure:?}");
    assert!(failure.traceback.unwrap().contains("app.py\", line 1"));
    node.close().await;
}

#[tokio::test]
async fn an_import_that_crashes_the_process_is_told_with_its_last_words() {
    let node = TestNode::start();
    let setup = node
        .source("import os, sys\nprint('last words', file=sys.stderr, flush=True)\nos.abort()\n");
    let failure = node.prepare_failure(&setup).await;
    assert_eq!(failure.code, FailureCode::ProcessDied);
    assert_eq!(
        failure.message,
        "the process died during the import of `app.A`: signal SIGABRT"
    );
    assert!(failure.traceback.unwrap().contains("last words"));
    node.close().await;
}

#[tokio::test]
async fn an_import_that_hangs_is_ended_at_the_limit() {
    let node = TestNode::start_with(|config| config.import_timeout = Duration::from_secs(2));
    let setup = node.source("import time\ntime.sleep(1000)\n");
    let failure = node.prepare_failure(&setup).await;
    assert_eq!(failure.code, FailureCode::TimedOut);
    assert_eq!(
        failure.message,
        "the import of `app.A` took longer than 2 s (`import_timeout`)"
    );
    node.close().await;
}

#[tokio::test]
async fn a_constructor_that_raises_ends_its_process() {
    let mut node = TestNode::start();
    let setup = node.source(
        "from thespian.actors import Actor\nclass A(Actor):\n    def __init__(self): 1 / 0\n",
    );
    node.hosting.set_up(setup.clone()).await;
    let (pid, mut worker) = node.spawn(&setup, "app.A").await;
    let Notice::StartFailed(failure) = worker.notice().await else {
        panic!("a start that fails is told");
    };
    assert_eq!(failure.code, FailureCode::ConstructorFailed);
    assert!(failure.traceback.unwrap().contains("ZeroDivisionError"));
    let ended = node.ended().await;
    assert_eq!((ended.pid, ended.status), (pid, Some(1)));
    node.close().await;
}

#[tokio::test]
async fn a_killed_forkserver_takes_its_busy_worker_along_and_is_started_again() {
    let mut node = TestNode::start();
    let setup = node.source(
        "from thespian.actors import Actor\nclass A(Actor):\n    \
         def receiveMessage(self, m, s):\n        while True: pass\n",
    );
    node.hosting
        .prepare(setup.clone(), classes(&["app.A"]))
        .await
        .unwrap();
    let (pid, mut worker) = node.started(&setup, "app.A").await;
    worker.tell("'go'").await;
    let (_, forkserver) = process(pid).unwrap();
    kill(forkserver);
    let ended = node.ended().await;
    assert_eq!(
        (ended.actor, ended.pid, ended.status),
        (worker.actor, pid, Some(-9))
    );
    until("no process is left of them", || {
        process(pid).is_none() && process(forkserver).is_none()
    })
    .await;
    let (again, _worker) = node.started(&setup, "app.A").await;
    assert_ne!(process(again).unwrap().1, forkserver);
    node.close().await;
}

#[tokio::test]
async fn a_killed_root_forkserver_is_started_again() {
    let mut node = TestNode::start();
    let setup = node.source(ECHO);
    node.hosting.set_up(setup.clone()).await;
    let (pid, _worker) = node.started(&setup, "app.A").await;
    let (_, forkserver) = process(pid).unwrap();
    let (_, root) = process(forkserver).unwrap();
    kill(root);
    assert_eq!(node.ended().await.pid, pid);
    until("all have gone", || {
        [pid, forkserver, root]
            .iter()
            .all(|&one| process(one).is_none())
    })
    .await;
    let (again, worker) = node.started(&setup, "app.A").await;
    assert!(node.hosting.kill(worker.actor));
    assert_eq!(node.ended().await.pid, again);
    node.close().await;
}

#[tokio::test]
async fn what_an_actor_forked_ends_with_it() {
    let mut node = TestNode::start();
    let file = node.path("children");
    let setup = node.source(&format!(
        "import subprocess\nfrom thespian.actors import Actor\nclass A(Actor):\n    \
         def __init__(self):\n        child = subprocess.Popen(['sleep', '1000'])\n        \
         open({:?}, 'w').write(str(child.pid))\n",
        file.display().to_string()
    ));
    node.hosting.set_up(setup.clone()).await;
    let (pid, worker) = node.started(&setup, "app.A").await;
    let child: u32 = read(&file).unwrap().parse().unwrap();
    assert!(process(child).is_some());
    assert!(node.hosting.kill(worker.actor));
    let ended = node.ended().await;
    assert_eq!((ended.pid, ended.status), (pid, Some(-9)));
    until("the actor's own child is gone, not even a zombie", || {
        process(child).is_none()
    })
    .await;
    node.close().await;
}

#[tokio::test]
async fn a_flood_of_output_is_drained_and_bounded() {
    let mut node = TestNode::start();
    let setup = node.source(
        "from thespian.actors import Actor\nclass A(Actor):\n    def __init__(self):\n        \
         for n in range(200000): print('flood', n)\n        print('x' * 5000000)\n        \
         print('the end')\n",
    );
    node.hosting.set_up(setup.clone()).await;
    let (_pid, worker) = node.started(&setup, "app.A").await;
    assert!(node.hosting.kill(worker.actor));
    let ended = node.ended().await;
    let lines: Vec<_> = ended.stderr_tail.lines().collect();
    assert_eq!(lines.len(), 200);
    assert_eq!((lines[197], lines[199]), ("flood 199999", "the end"));
    assert!(lines[198].ends_with("x... (4991808 bytes more)"));
    node.close().await;
}

#[tokio::test]
async fn a_hung_actor_tells_where_it_stands() {
    let mut node = TestNode::start();
    let setup = node.source(
        "import time\nfrom thespian.actors import Actor\ndef stuck():\n    print('in it')\n    \
         time.sleep(1000)\nclass A(Actor):\n    def receiveMessage(self, m, s): stuck()\n",
    );
    node.hosting.set_up(setup.clone()).await;
    let (_pid, mut worker) = node.started(&setup, "app.A").await;
    worker.tell("'go'").await;
    let (hosting, actor) = (node.hosting.clone(), worker.actor);
    until("it hangs", || {
        hosting.tail(actor).is_some_and(|tail| tail == "in it")
    })
    .await;
    let text = node.hosting.dump(actor).await.unwrap();
    assert!(text.contains("in stuck"), "{text}");
    assert!(node.hosting.kill(actor));
    node.ended().await;
    let error = node.hosting.dump(actor).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!("the actor `{actor}` has no process on this node")
    );
    node.close().await;
}

#[tokio::test]
async fn a_finished_forkserver_ends_after_its_last_worker() {
    let mut node = TestNode::start();
    let setup = node.source(ECHO);
    node.hosting.set_up(setup.clone()).await;
    let (pid, worker) = node.started(&setup, "app.A").await;
    let (_, forkserver) = process(pid).unwrap();
    node.hosting.finish(&setup.origin).await;
    let (second, other) = node.started(&setup, "app.A").await;
    assert_ne!(process(second).unwrap().1, forkserver);
    assert!(process(forkserver).is_some());
    assert!(node.hosting.kill(worker.actor));
    assert_eq!(node.ended().await.status, Some(-9));
    until("the forkserver has gone", || process(forkserver).is_none()).await;

    node.hosting.forget(&setup.origin).await;
    let spec = node.spec(&setup.origin, "app.A");
    let failure = node.hosting.spawn(spec).await.unwrap_err();
    assert_eq!(failure.code, FailureCode::InvalidSourceHash);
    assert!(node.hosting.kill(other.actor));
    assert_eq!(node.ended().await.pid, second);
    node.close().await;
}

#[tokio::test]
async fn a_forkserver_without_actors_is_ended_when_idle() {
    let mut node = TestNode::start();
    let setup = node.source(ECHO);
    node.hosting.set_up(setup.clone()).await;
    let (pid, worker) = node.started(&setup, "app.A").await;
    let (_, forkserver) = process(pid).unwrap();
    node.hosting.end_idle(Duration::ZERO).await;
    assert!(node.hosting.kill(worker.actor));
    assert_eq!(
        node.ended().await.status,
        Some(-9),
        "its forkserver still answers for it"
    );
    assert!(process(forkserver).is_some());
    node.hosting.end_idle(Duration::ZERO).await;
    until("the forkserver has gone", || process(forkserver).is_none()).await;
    let (_again, _worker) = node.started(&setup, "app.A").await;
    node.close().await;
}

#[tokio::test]
async fn fifty_starts_at_once_are_fifty_processes_and_fifty_ends() {
    let mut node = TestNode::start();
    let setup = node.source(ECHO);
    node.hosting
        .prepare(setup.clone(), classes(&["app.A"]))
        .await
        .unwrap();
    let starts: Vec<_> = (0..50)
        .map(|_| {
            let spec = node.spec(&setup.origin, "app.A");
            let hosting = node.hosting.clone();
            tokio::spawn(async move { hosting.spawn(spec).await })
        })
        .collect();
    let mut pids = Vec::new();
    for start in starts {
        pids.push(start.await.unwrap().unwrap());
    }
    node.hosting.shutdown(Duration::ZERO).await;
    let mut ended = Vec::new();
    while ended.len() < 50 {
        ended.push(node.ended().await.pid);
    }
    pids.sort_unstable();
    ended.sort_unstable();
    assert_eq!(pids, ended);
    assert!(pids.iter().all(|&pid| process(pid).is_none()));
}

#[tokio::test]
async fn nothing_is_left_after_a_shutdown() {
    let mut node = TestNode::start();
    let setup = node.source(ECHO);
    node.hosting.set_up(setup.clone()).await;
    let (pid, _worker) = node.started(&setup, "app.A").await;
    let (_, forkserver) = process(pid).unwrap();
    let (_, root) = process(forkserver).unwrap();
    let all = descendants(root);
    assert!(all.contains(&pid) && all.contains(&forkserver));
    let begin = std::time::Instant::now();
    node.hosting.shutdown(Duration::from_millis(50)).await;
    assert!(begin.elapsed() < PATIENCE);
    assert!(
        [pid, forkserver, root]
            .iter()
            .all(|&one| process(one).is_none())
    );
    let spec = node.spec(&setup.origin, "app.A");
    let failure = node.hosting.spawn(spec).await.unwrap_err();
    assert_eq!(failure.message, "the node is shutting down");
}

#[tokio::test]
async fn a_python_that_does_not_come_up_is_named() {
    let node = TestNode::start();
    let mut setup = node.source(ECHO);
    setup.interpreter = "/bin/false".into();
    let failure = node.prepare_failure(&setup).await;
    assert_eq!(
        failure.message,
        "the Python `/bin/false` did not come up: exit code 1"
    );
    setup.interpreter = "/nowhere/python".into();
    let failure = node.prepare_failure(&setup).await;
    assert!(
        failure
            .message
            .starts_with("the Python `/nowhere/python` cannot be started")
    );
    node.close().await;
}

#[tokio::test]
async fn a_killed_agent_takes_its_busy_workers_along() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let agent = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "agent_of_the_test_above", "--nocapture"])
        .env(PIDS_FILE, &file)
        .stdout(std::process::Stdio::null())
        .spawn();
    let mut agent = agent.unwrap();
    until("the actor is busy", || read(&file).is_some()).await;
    let pids: Vec<u32> = read(&file)
        .unwrap()
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert!(pids.iter().all(|&pid| process(pid).is_some()));
    agent.kill().unwrap();
    agent.wait().unwrap();
    until("worker, forkserver and root have gone", || {
        pids.iter()
            .all(|&pid| process(pid).is_none_or(|(state, _)| state == 'Z'))
    })
    .await;
}

/// Runs as a process of its own, for the test above; without its variable there is none to end.
#[tokio::test]
async fn agent_of_the_test_above() {
    let Some(file) = std::env::var_os(PIDS_FILE) else {
        return;
    };
    let mut node = TestNode::start();
    let setup = node.source(
        "from thespian.actors import Actor\nclass A(Actor):\n    \
         def receiveMessage(self, m, s):\n        print('busy')\n        while True: pass\n",
    );
    node.hosting.set_up(setup.clone()).await;
    let (pid, mut worker) = node.started(&setup, "app.A").await;
    worker.tell("'go'").await;
    let (hosting, actor) = (node.hosting.clone(), worker.actor);
    until("it is busy", || {
        hosting.tail(actor).is_some_and(|tail| tail == "busy")
    })
    .await;
    let (_, forkserver) = process(pid).unwrap();
    let (_, root) = process(forkserver).unwrap();
    let fresh = std::path::PathBuf::from(&file).with_extension("new");
    std::fs::write(&fresh, format!("{pid} {forkserver} {root}")).unwrap();
    std::fs::rename(fresh, file).unwrap();
    std::future::pending::<()>().await;
}

const PIDS_FILE: &str = "HOSTING_TEST_PIDS";
