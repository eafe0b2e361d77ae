//! What a member proposes for itself, and may propose again to the next leader when it does not
//! know whether the last one did it.
//!
//! Most of it names the run or incarnation that it is about, and changes nothing the second time;
//! all else gets an idempotency id before it is proposed the first time.

use protocol::registry::{Change, Command, MemberCommand};
use protocol::{NodeId, RequestId};

/// The command as this node, `me`, proposes it, however often.
pub(super) fn identified(command: Command, me: NodeId) -> Command {
    let Command::Member(
        change @ (MemberCommand::Note { stamp, .. }
        | MemberCommand::Vote { stamp, .. }
        | MemberCommand::Remove { stamp, .. }),
    ) = command
    else {
        return command;
    };
    Command::Ordered {
        request: RequestId(rand::random()).of(me),
        told: Vec::new(),
        change: Change::Member(change),
        stamp,
    }
}

/// Whether it is done once, however often it is proposed.
pub(super) fn is_repeatable(command: &Command) -> bool {
    matches!(
        command,
        Command::Ordered { .. }
            | Command::MemberStarted { .. }
            | Command::MemberStopped { .. }
            | Command::Ended { .. }
            | Command::Member(MemberCommand::Describe { .. })
    )
}

#[cfg(test)]
mod tests {
    use protocol::Stamp;

    use super::*;

    #[test]
    fn what_names_no_run_gets_an_id_of_its_own() {
        let note = || {
            Command::Member(MemberCommand::Note {
                what: "seen".to_owned(),
                subject: "a".to_owned(),
                by: String::new(),
                detail: String::new(),
                stamp: Stamp(3),
            })
        };
        let ids = [note(), note()].map(|note| {
            assert!(!is_repeatable(&note));
            let command = identified(note, NodeId(4));
            assert!(is_repeatable(&command));
            let again = identified(command.clone(), NodeId(4));
            assert_eq!(again, command, "it keeps its id");
            match command {
                Command::Ordered { request, stamp, .. } => {
                    assert_eq!(request.node(), NodeId(4));
                    (request, stamp)
                }
                other => panic!("{other:?}"),
            }
        });
        assert_ne!(ids[0].0, ids[1].0);
        assert_eq!(ids[0].1, Stamp(3));
        let stopped = Command::MemberStopped {
            node: NodeId(1),
            stamp: Stamp(3),
        };
        assert_eq!(identified(stopped.clone(), NodeId(4)), stopped);
    }
}
