//! An operator and a role: restart, stop, resume, dump; restarts after a crash.

use std::time::Duration;

use node::agent::Patience;
use node::client::AskEnd;
use protocol::control::RoleAction;

use crate::app::App;
use crate::host::{Host, directory, is_asleep, kill, until};

/// Version 1.0 with a file beside it that counts constructions, and fails them when told to.
fn counting(folder: &std::path::Path) -> App {
    let file = folder.join("starts");
    App::new("1.0").code(&format!(
        "
    def constructed(self):
        with open({file:?}, 'a') as file:
            file.write('x')
        if os.path.exists({file:?} + '.fail'):
            raise ValueError('told to fail')
"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_actor_starts_again_and_messages_wait_for_it() {
    let host = Host::start().await;
    host.load(&App::new("1.0")).await.unwrap();
    let (pid, actor) = (host.pid().await, host.actor().await);
    for restarts in 1..=3 {
        kill(host.pid().await);
        // What had reached the dying actor ends with it, what comes later waits.
        let heard = match host.ask("'heard'").await {
            Err(AskEnd::Unknown(_) | AskEnd::DeadLettered(_)) => host.ask("'heard'").await,
            heard => heard,
        };
        assert_eq!(heard.unwrap(), "['loaded']");
        let listed = host.until_actor(|actor| actor.state == "running").await;
        assert_eq!(listed.restarts, restarts);
    }
    assert_ne!((host.pid().await, host.actor().await), (pid, actor));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_cannot_start_is_failed_until_it_is_resumed() {
    let host = Host::start().await;
    host.load(&counting(host.folder.path())).await.unwrap();
    let starts = host.folder.path().join("starts");
    let fail = host.folder.path().join("starts.fail");
    std::fs::write(&fail, "").unwrap();
    kill(host.pid().await);
    let failed = host.until_actor(|actor| actor.state == "failed").await;
    let reason = failed.failed.unwrap();
    assert!(reason.contains("8 starts within a minute"), "{reason}");
    assert!(reason.contains("told to fail"), "{reason}");
    assert_eq!(std::fs::read(&starts).unwrap().len(), 8);
    let Err(AskEnd::DeadLettered(why)) = host.ask("'version'").await else {
        panic!("a failed role has no actor");
    };
    assert!(why.contains("`Main` failed"), "{why}");
    std::fs::remove_file(&fail).unwrap();
    host.role(RoleAction::Resume).await.unwrap();
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_role_says_so_and_resumes() {
    let host = Host::start().await;
    host.load(&App::new("1.0")).await.unwrap();
    host.role(RoleAction::Stop).await.unwrap();
    let Err(AskEnd::DeadLettered(why)) = host.ask("'version'").await else {
        panic!("a stopped role has no actor");
    };
    assert!(why.contains("`Main` is stopped"), "{why}");
    host.role(RoleAction::Stop).await.unwrap();
    let host = host.restart().await;
    assert_eq!(host.until_actor(|_| true).await.state, "stopped");
    host.role(RoleAction::Resume).await.unwrap();
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_asked_is_lost_while_a_role_restarts() {
    let host = Host::start().await;
    host.load(&App::new("1.0")).await.unwrap();
    let pid = host.pid().await;
    let asking = async {
        for _n in 0..200 {
            host.ask("'version'").await.unwrap();
        }
    };
    let (restarted, ()) = tokio::join!(host.role(RoleAction::Restart), asking);
    restarted.unwrap();
    assert_ne!(host.pid().await, pid);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_actor_shows_where_it_stands_and_is_restarted() {
    let patience = Patience {
        exit: Duration::from_millis(500),
        ..Patience::default()
    };
    let host = Host::start_in(directory(&[]), patience).await;
    host.load(&App::new("1.0")).await.unwrap();
    let pid = host.pid().await;
    host.tell("'hang'").await;
    until(async || is_asleep(pid)).await;
    let shown = host.role(RoleAction::Dump).await.unwrap();
    assert!(shown.contains("receiveMsg_str"), "{shown}");
    host.role(RoleAction::Restart).await.unwrap();
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_stopped_while_it_starts_leaves_no_process() {
    let host = Host::start().await;
    let slow = "\n    def constructed(self):\n        time.sleep(0.4)\n";
    host.load(&App::new("1.0").code(slow)).await.unwrap();
    kill(host.pid().await);
    host.until_actor(|actor| actor.state == "starting").await;
    host.role(RoleAction::Stop).await.unwrap();
    let before = crate::host::processes(host.folder.path()).len();
    assert_eq!(host.until_actor(|_| true).await.state, "stopped");
    host.role(RoleAction::Resume).await.unwrap();
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    let after = crate::host::processes(host.folder.path()).len();
    assert_eq!(after, before + 1, "only the actor came");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_role_is_named() {
    let host = Host::start().await;
    let error = host.role(RoleAction::Restart).await.unwrap_err();
    assert!(error.message.contains("`Main`"), "{error:?}");
    host.stop().await;
}
