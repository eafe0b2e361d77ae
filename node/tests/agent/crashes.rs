//! The node is killed or stopped at a bad moment: no process stays, what was active runs again.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use node::agent::Patience;
use node::client::ClientError;

use crate::app::App;
use crate::host::{Host, directory, is_asleep, kill, processes, until};

/// Names the directory that the child process of these tests serves.
const SERVED: &str = "DIRECTOR_TEST_SERVES";

/// Not a test of its own: the node that another test starts in a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serves_when_asked_to() {
    let Some(folder) = std::env::var_os(SERVED) else {
        return;
    };
    let host = Host::serve(folder.as_ref(), Patience::default()).await;
    println!("\nserving {}", host.socket().display());
    std::future::pending::<()>().await;
}

/// A node in another process.
fn other_process(folder: tempfile::TempDir) -> (Child, Host) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crashes::serves_when_asked_to", "--nocapture"])
        .env(SERVED, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let socket = lines.find_map(|line| Some(line.strip_prefix("serving ")?.to_owned()));
    // The child's test harness writes on, and ends when nobody reads.
    std::thread::spawn(move || lines.for_each(drop));
    let host = Host::elsewhere(folder, socket.unwrap().into());
    (child, host)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_leaves_no_worker_and_runs_what_was_active_again() {
    let (mut child, host) = other_process(directory(&[]));
    host.load(&App::new("1.0")).await.unwrap();
    host.load(&App::new("1.1")).await.unwrap();
    let old = host.actor().await;
    assert!(!processes(host.folder.path()).is_empty());
    // Busy: it cannot notice by itself.
    host.tell("'hang'").await;
    child.kill().unwrap();
    child.wait().unwrap();
    until(async || processes(host.folder.path()).is_empty()).await;

    let (mut child, host) = other_process(host.folder);
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.1'");
    assert_eq!(host.ask("'heard'").await.unwrap(), "['loaded']");
    assert_ne!(host.actor().await, old);
    assert_eq!(host.standing().await, "1.1 active, 1.0 loaded");
    host.rollback().await.unwrap();
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    child.kill().unwrap();
    child.wait().unwrap();
    until(async || processes(host.folder.path()).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_while_a_version_is_constructed_finishes_the_update() {
    let (mut child, host) = other_process(directory(&[]));
    host.load(&App::new("1.0")).await.unwrap();
    let slow = App::new("1.1").code("\n    def constructed(self):\n        time.sleep(0.7)\n");
    let before = processes(host.folder.path()).len();
    // A forkserver and an actor of the new version.
    let constructing = async || processes(host.folder.path()).len() >= before + 2;
    killed_during(&mut child, &host, &slow, constructing).await;
    let (mut child, host) = other_process(host.folder);
    until(async || host.standing().await == "1.1 active, 1.0 loaded").await;
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.1'");
    assert_eq!(host.ask("'heard'").await.unwrap(), "['loaded']");
    child.kill().unwrap();
    child.wait().unwrap();
    until(async || processes(host.folder.path()).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_in_the_hold_reverts() {
    let (mut child, host) = other_process(directory(&[]));
    let tli = "'OnLoad': {'Role': 'Main'}, 'OnDeactivate': {'Message': 1000.0}";
    host.load(&App::new("1.0").tli(tli)).await.unwrap();
    let old = host.pid().await;
    let held = async || is_asleep(old);
    killed_during(&mut child, &host, &App::new("1.1"), held).await;
    let (mut child, host) = other_process(host.folder);
    until(async || host.standing().await == "1.1 loaded, 1.0 active").await;
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    child.kill().unwrap();
    child.wait().unwrap();
    until(async || processes(host.folder.path()).is_empty()).await;
}

/// Begins to load `app` and kills the node once it is as far as `reached` says.
async fn killed_during(child: &mut Child, host: &Host, app: &App, reached: impl AsyncFn() -> bool) {
    let mut client = host.client().await;
    let package = app.package();
    let request = host.load_request(app);
    let loading = client.upload(package.as_slice(), request, |_bytes| ());
    let killing = async {
        until(async || host.standing().await.contains("1.1 loading")).await;
        until(reached).await;
        child.kill().unwrap();
        child.wait().unwrap();
    };
    let (loaded, ()) = tokio::join!(loading, killing);
    loaded.unwrap_err();
    until(async || processes(host.folder.path()).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_forkserver_ends_its_actor_which_starts_again() {
    let host = Host::start().await;
    host.load(&App::new("1.0")).await.unwrap();
    let pid = host.pid().await;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    host.tell("'hang'").await;
    kill(parent.unwrap().trim().parse().unwrap());
    until(async || !std::path::Path::new(&format!("/proc/{pid}")).exists()).await;
    host.until_actor(|actor| actor.state == "running" && actor.restarts == 1)
        .await;
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_although_an_actor_hangs() {
    let host = Host::start().await;
    host.load(&App::new("1.0")).await.unwrap();
    host.tell("'hang'").await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_longer_is_loaded_is_swept_at_the_start() {
    let folder = directory(&[]);
    let state = folder.path().join("state");
    let host = Host::start_in(folder, Patience::default()).await;
    host.load(&App::new("1.0")).await.unwrap();
    let stale = "ab".repeat(32);
    std::fs::write(state.join("packages").join(&stale), "left").unwrap();
    std::fs::write(state.join("packages/.tmpXYZ"), "left").unwrap();
    std::fs::create_dir(state.join("unpacked").join(&stale)).unwrap();
    let host = host.restart().await;
    let hash = App::new("1.0").hash().to_string();
    for folder in ["packages", "unpacked"] {
        let entries = state.join(folder).read_dir().unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let strange: Vec<_> = names.filter(|name| !name.starts_with(&hash)).collect();
        assert!(strange.is_empty(), "{folder}: {strange:?}");
    }
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_root_forkserver_is_replaced() {
    let host = Host::start().await;
    host.load(&App::new("1.0")).await.unwrap();
    let pid = host.pid().await;
    let root = parent(parent(pid));
    assert_eq!(parent(root), std::process::id());
    kill(root);
    until(async || !std::path::Path::new(&format!("/proc/{pid}")).exists()).await;
    host.until_actor(|actor| actor.state == "running" && actor.restarts == 1)
        .await;
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    host.load(&App::new("1.1")).await.unwrap();
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.1'");
    host.stop().await;
}

fn parent(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_in_a_load_goes_on_after_its_start() {
    let host = Host::start().await;
    host.load(&App::new("1.0")).await.unwrap();
    let slow = App::new("1.1").code("\n    def constructed(self):\n        time.sleep(0.5)\n");
    let mut client = host.client().await;
    let package = slow.package();
    let request = host.load_request(&slow);
    let loading = client.upload(package.as_slice(), request, |_bytes| ());
    let stopping = async {
        until(async || host.standing().await.contains("1.1 loading")).await;
        host.restart().await
    };
    let (loaded, host) = tokio::join!(loading, stopping);
    let Err(ClientError::Refused(error)) = loaded else {
        panic!("the one who waits is told: {loaded:?}");
    };
    assert!(error.message.contains("the node stops"), "{error:?}");
    until(async || host.standing().await == "1.1 active, 1.0 loaded").await;
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.1'");
    host.stop().await;
}
