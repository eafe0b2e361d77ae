//! Whom the leader begins no session with: a log of another history of the convention, one that is
//! no voter's any more, a release that cannot follow.
//!
//! A quorum that was lost for good is recovered from one survivor; what the others hold since is
//! another history, and none of them is to lead or to serve in this one.
//! Not here: the session itself (`sessions`).

use leader::RaftId;
use leader::reconcile::Replica;
use protocol::NodeId;
use protocol::peer::{SessionDown, SessionOpen};

use super::{serve, voters};
use crate::agent::node::Node;

/// Why no session begins, and what the member is told.
#[derive(Debug)]
pub(super) struct NoSession(pub(super) String, pub(super) SessionDown);

impl NoSession {
    fn refused(reason: String) -> Self {
        Self(reason.clone(), SessionDown::Refused { reason })
    }
}

impl From<String> for NoSession {
    /// Another time, or elsewhere.
    fn from(reason: String) -> Self {
        Self(reason, SessionDown::NotLeader)
    }
}

/// Refuses who is of another history of the convention, or cannot follow it.
///
/// # Errors
/// [`NoSession`].
pub(super) async fn may_begin(
    node: &Node,
    from: NodeId,
    open: &SessionOpen,
) -> Result<(), NoSession> {
    serve::must_lead(node).map_err(|refusal| refusal.text)?;
    let registry = &node.membership.registry;
    let ours = registry.recoveries();
    if let Some(reason) = other_history(open, ours) {
        let membership = &node.membership;
        if membership.sessions.is_news(from, open.incarnation) {
            membership
                .audit
                .note("session refused", &open.name, &reason);
        }
        return Err(NoSession::refused(reason));
    }
    let level = registry.read(|state| state.feature_level);
    if open.feature_level < level {
        return Err(NoSession::refused(format!(
            "`{}` applies feature level {}, the convention is at {level}: upgrade it",
            open.name, open.feature_level
        )));
    }
    if let Some(raft) = open.raft {
        // Only a leader for sure knows who votes.
        let confirmed = registry.confirm().await;
        confirmed.map_err(|failure| failure.to_string())?;
        if voters::is_out(node, RaftId(raft)) {
            let reason = format!("raft id {raft} is no voter's any more");
            return Err(NoSession(reason, SessionDown::VotesNot { raft }));
        }
    }
    Ok(())
}

/// Why a member with this part knows another history than a convention that was recovered so
/// often. One that only follows takes the registry whole and goes on.
fn other_history(open: &SessionOpen, ours: u64) -> Option<String> {
    let (name, theirs) = (&open.name, open.recoveries);
    if theirs > ours {
        return Some(format!(
            "`{name}` knows of {theirs} recoveries of the convention and this leader of {ours}: \
             the leader is of a history that was given up; move its `state/` away and join it anew"
        ));
    }
    (theirs < ours && open.raft.is_some()).then(|| {
        format!(
            "`{name}` was a voter when the convention was recovered without it ({ours} times, it \
             knows of {theirs}): move its `state/` folder away, write a fresh token into \
             `convtoken.cfg` and start it"
        )
    })
}

#[cfg(test)]
mod tests {
    use protocol::Incarnation;

    use super::*;

    fn told(recoveries: u64, raft: Option<u64>) -> Option<String> {
        let open = SessionOpen {
            incarnation: Incarnation(1),
            name: "b".to_owned(),
            address: String::new(),
            capabilities: "{}".to_owned(),
            may_vote: true,
            feature_level: 1,
            recoveries,
            raft,
            wishes: None,
        };
        other_history(&open, 2)
    }

    #[test]
    fn a_voter_of_another_history_is_refused_and_a_follower_goes_on() {
        assert_eq!(told(2, Some(3)), None);
        assert_eq!(told(1, None), None);
        let voter = told(1, Some(3)).unwrap();
        assert!(voter.contains("was recovered without it"), "{voter}");
        let later = told(3, None).unwrap();
        assert!(later.contains("the leader is of a history"), "{later}");
    }
}
