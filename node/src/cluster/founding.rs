//! A convention of one: its registry begins, and knows this run of its only member.

use leader::reconcile::{ProposeFailure, Replica};
use protocol::registry::{Command, FEATURE_LEVEL, MemberCommand};

use super::session;
use crate::agent::node::{Node, stamp};

/// Has a convention of one know this run; in one of several, whoever leads is told in time.
pub(crate) async fn announce(node: &Node) -> Result<(), ProposeFailure> {
    if !node.membership.leads() {
        return Ok(());
    }
    if node.replica.read(|state| state.convention.is_none()) {
        let convention = node.membership.identity().convention();
        let found = Command::Found {
            convention: convention.unwrap_or_default(),
            feature_level: FEATURE_LEVEL,
            stamp: stamp(),
        };
        Replica::propose(&*node.replica, found).await?;
        // Afterwards it is the convention's, and changed by command.
        let voters = Command::Member(MemberCommand::Voters {
            wanted: node.settings.voters,
            by: "convvoters.cfg".to_owned(),
            stamp: stamp(),
        });
        Replica::propose(&*node.replica, voters).await?;
    }
    let log = node.replica.consensus();
    let recoveries = log.map_or(0, |log| log.identity().recovery_epoch);
    if recoveries > node.replica.read(|state| state.roll.recoveries) {
        let recovered = Command::Member(MemberCommand::Recovered {
            node: node.id,
            stamp: stamp(),
        });
        Replica::propose(&*node.replica, recovered).await?;
    }
    session::announce(node).await
}
