//! What a member says on its session, as the leader takes it in.

use protocol::NodeId;
use protocol::peer::{SessionOpen, SessionUp};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use transport::streams::FrameReceiver;

use super::{Heard, Report};
use crate::agent::node::Node;
use crate::cluster::feed::Up;
use crate::cluster::peers::told;

/// Takes in the member's heartbeats until it stops or is not heard any more.
pub(super) async fn hear(
    node: &Node,
    (from, open): (NodeId, &SessionOpen),
    receiver: &mut FrameReceiver,
    (acknowledge, log): (mpsc::Sender<Up>, watch::Sender<Option<u64>>),
) -> String {
    loop {
        match receiver.receive::<SessionUp>().await {
            Ok(Some(SessionUp::Heartbeat {
                number,
                bound,
                raft,
                actors,
                held,
                distrusted,
                certified_by,
                authorities,
            })) => {
                log.send_if_modified(|log| std::mem::replace(log, raft) != raft);
                node.membership.peers.heard_on(receiver.connection());
                let report = Report {
                    bound,
                    actors,
                    held,
                    distrusted,
                    certified_by,
                    authorities,
                    heard: Some(Instant::now()),
                };
                let sessions = &node.membership.sessions;
                // A leader that is one no longer grants nothing.
                if !node.membership.leads() {
                    return "this node leads no longer".to_owned();
                }
                match sessions.hear(from, open.incarnation, report) {
                    Heard::Renewed => {}
                    Heard::Behind => continue,
                    Heard::Over => return "its lease is over".to_owned(),
                }
                if acknowledge.send(Up::Beat(number)).await.is_err() {
                    return "this node leads no longer".to_owned();
                }
            }
            Ok(Some(SessionUp::Received { bytes })) => {
                if acknowledge.send(Up::Received(bytes)).await.is_err() {
                    return "this node leads no longer".to_owned();
                }
            }
            Ok(Some(SessionUp::Wish { number, wishes })) => {
                if acknowledge.send(Up::Wish(number, wishes)).await.is_err() {
                    return "this node leads no longer".to_owned();
                }
            }
            Ok(Some(SessionUp::Stopping)) => {
                node.membership.sessions.forget(from);
                return "the member stops".to_owned();
            }
            Ok(None) => return "the member has ended it".to_owned(),
            Err(fault) => return told(&fault),
        }
    }
}
