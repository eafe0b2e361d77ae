//! Load, ask, update, roll back, unload, restart.

use node::client::AskEnd;
use protocol::control::Response;

use crate::app::App;
use crate::host::Host;

const ALL_MESSAGES: &str = "'OnLoad': {'Role': 'Main', 'Message': 'loaded'},
    'OnDeactivate': {'Message': 'deactivated'}, 'OnReactivate': {'Message': 'reactivated'}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_is_loaded_updated_rolled_back_and_unloaded() {
    let host = Host::start().await;
    let (first, second) = (App::new("1.0").tli(ALL_MESSAGES), App::new("1.1"));
    host.load(&first).await.unwrap();
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    host.load(&second).await.unwrap();
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.1'");
    assert_eq!(host.ask("'heard'").await.unwrap(), "['loaded']");

    let rolled_back = host.rollback().await.unwrap();
    let (from, to) = (second.hash(), first.hash());
    assert_eq!(rolled_back, Response::RolledBack { from, to });
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    let heard = host.ask("'heard'").await.unwrap();
    assert_eq!(heard, "['loaded', 'deactivated', 'reactivated']");

    host.unload(&second, false).await.unwrap();
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    host.unload(&first, false).await.unwrap();
    let end = host.ask("'version'").await;
    assert!(matches!(end, Err(AskEnd::DeadLettered(_))), "{end:?}");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_runs_what_was_active() {
    let host = Host::start().await;
    host.load(&App::new("1.0")).await.unwrap();
    let host = host.restart().await;
    assert_eq!(host.ask("'version'").await.unwrap(), "'1.0'");
    host.stop().await;
}
