//! Members that cannot be dialled, behind a NAT or a firewall: they dial this node when the leader
//! tells them to.
//!
//! That a dial hangs is only known after long, so the other way is tried beside it after a moment,
//! and at once where it was the one that worked last.

use std::time::Duration;

use protocol::NodeId;
use protocol::peer::PeerRequest;
use tokio::time::{Instant, timeout_at};
use transport::{Alpn, Connection};

use super::{PeerFault, Peers, link_of, lock};

/// What a dial may take before the member is told to dial as well: more than most ways there and
/// back, less than a person notices.
const HEAD_START: Duration = Duration::from_millis(300);

/// How long a member may take to dial us.
const CALL_BACK: Duration = Duration::from_secs(5);

impl Peers {
    /// Dials a member, and has it dial this node when it does not answer soon.
    pub(super) async fn reach(&self, node: NodeId, alpn: Alpn) -> Result<Connection, PeerFault> {
        let called = async {
            self.head_start(node).await;
            self.called_back(node, alpn).await
        };
        let reached = first_of(self.dial_member(node, alpn), called, |fault| {
            matches!(fault, PeerFault::Refused(_))
        });
        let reached = reached.await?;
        self.dial_succeeds(node, reached.is_dialler());
        Ok(reached)
    }

    /// Waits as long as a dial of this member is given before it is to dial us.
    pub(crate) async fn head_start(&self, node: NodeId) {
        if !lock(&self.0.silent).contains(&node) {
            tokio::time::sleep(HEAD_START).await;
        }
    }

    /// Remembers whether this node's dial reached a member, or the member's reached this node.
    pub(crate) fn dial_succeeds(&self, node: NodeId, ours: bool) {
        let mut silent = lock(&self.0.silent);
        if ours {
            silent.remove(&node);
        } else if silent.insert(node) {
            tracing::info!(%node, "a member is not reached by dialling: it dials when it is told");
        }
    }

    /// Has a member told to dial this node; `None`: there is nobody to tell it.
    pub(crate) async fn have_dial(&self, node: NodeId, alpn: Alpn) -> Option<()> {
        let (leader, _) = self.0.registry.standing().borrow().leader.clone()?;
        if leader == node {
            return None;
        }
        let link = link_of(alpn)?;
        let (asked, request) = if leader == self.0.me {
            // The session of the member, if it has one, is a connection already: only other kinds
            // are left to ask for.
            let request = PeerRequest::Dial {
                node: self.0.me,
                address: self.0.address.clone(),
                link,
            };
            (node, request)
        } else {
            (leader, PeerRequest::CallBack { node, link })
        };
        let connection = self.live(asked, Alpn::Convention)?;
        let told = self.ask_on(&connection, &request, CALL_BACK).await;
        told.ok().map(|_done| ())
    }

    /// The peer has spoken on this connection, so it leads there. One that was let go because an
    /// answer did not come is taken up again: to a member that cannot be dialled it may be the only
    /// way.
    pub(crate) fn heard_on(&self, connection: &Connection) {
        let Some(peer) = connection.peer() else {
            return;
        };
        let is_there = self.live(peer.node, connection.alpn()).is_some();
        if !is_there && !connection.is_closed() {
            tracing::debug!(node = %peer.node, "a connection is taken up again");
            self.add(connection);
        }
    }

    /// Has a member told to dial this node, and waits for it.
    async fn called_back(&self, node: NodeId, alpn: Alpn) -> Option<Connection> {
        let until = Instant::now() + CALL_BACK;
        let mut came = self.0.came.subscribe();
        self.have_dial(node, alpn).await?;
        loop {
            came.borrow_and_update();
            if let Some(live) = self.live(node, alpn) {
                return Some(live);
            }
            timeout_at(until, came.changed()).await.ok()?.ok()?;
        }
    }
}

/// What `first` brings, or `second`, whichever is sooner; a failure of `first` waits for `second`
/// unless it is final.
pub(crate) async fn first_of<T, E>(
    first: impl Future<Output = Result<T, E>>,
    second: impl Future<Output = Option<T>>,
    is_final: impl Fn(&E) -> bool,
) -> Result<T, E> {
    tokio::pin!(first, second);
    let mut over = false;
    loop {
        tokio::select! {
            biased;
            outcome = &mut first => return match outcome {
                Err(fault) if !over && !is_final(&fault) => second.await.ok_or(fault),
                outcome => outcome,
            },
            found = &mut second, if !over => match found {
                Some(found) => return Ok(found),
                None => over = true,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn the_sooner_way_counts_and_a_failed_one_waits_for_the_other() {
        let is_final = |fault: &u8| *fault == 9;
        let hangs = pending::<Result<u8, u8>>;
        assert_eq!(first_of(hangs(), ready(Some(2)), is_final).await, Ok(2));
        let fails = |fault| ready(Err::<u8, u8>(fault));
        let later = async {
            tokio::task::yield_now().await;
            Some(2)
        };
        assert_eq!(first_of(fails(1), later, is_final).await, Ok(2));
        assert_eq!(first_of(fails(1), ready(None), is_final).await, Err(1));
        assert_eq!(first_of(fails(9), ready(Some(2)), is_final).await, Err(9));
        let slow = async {
            tokio::task::yield_now().await;
            Err::<u8, u8>(1)
        };
        assert_eq!(first_of(slow, ready(None), is_final).await, Err(1));
        assert_eq!(
            first_of(ready(Ok::<u8, u8>(1)), pending(), is_final).await,
            Ok(1)
        );
    }
}
