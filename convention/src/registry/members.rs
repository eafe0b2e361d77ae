//! Members: they are admitted, start, stop, are lost, drained and removed.
//!
//! A refused admission changes nothing but the audit. An id that was removed comes back only where
//! the leader takes it back (a program's node that has proven to be of the same user).
//! A report about an older run of a member is stale.
//! Not here: what becomes of a member's Director actors (`vacate`), tokens (`joining`).

use protocol::NodeId;
use protocol::Stamp;
use protocol::registry::{Command, Member, MemberCommand, MemberState, Outcome, Refusal, Removal};

use super::Registry;
use super::audit::Event;

impl Registry {
    pub(super) fn member(&mut self, command: &MemberCommand) -> Outcome {
        match command {
            MemberCommand::Admit { .. } => self.admit(command),
            MemberCommand::Remove {
                node,
                left,
                by,
                stamp,
            } => self.remove(*node, *left, by, *stamp),
            MemberCommand::Lost {
                node,
                incarnation,
                stamp,
            } => {
                let member = self.state.members.get(node);
                let runs = member
                    .is_some_and(|m| m.incarnation == *incarnation && m.state == MemberState::Up);
                if !runs {
                    return Outcome::Stale;
                }
                self.lose(*node, "its lease ended", *stamp);
                Outcome::Done
            }
            MemberCommand::Describe { .. } => self.describe(command),
            MemberCommand::Drain {
                node,
                on,
                by,
                stamp,
            } => self.drain_member(*node, *on, by, *stamp),
            MemberCommand::Vote {
                node,
                on,
                by,
                stamp,
            } => self.let_vote(*node, *on, by, *stamp),
            MemberCommand::Recovered { node, stamp } => self.recovered(*node, *stamp),
            MemberCommand::TakeBack { node, by, stamp } => self.take_back(*node, by, *stamp),
            MemberCommand::TakeRaftId { node, stamp } => self.take_raft_id(*node, *stamp),
            MemberCommand::Issue { .. }
            | MemberCommand::Revoke { .. }
            | MemberCommand::Approve { .. } => self.invite(command),
            MemberCommand::Authority(command) => self.authority(command),
            MemberCommand::Voters { wanted, by, stamp } => self.want_voters(*wanted, by, *stamp),
            MemberCommand::Note {
                what,
                subject,
                by,
                detail,
                stamp,
            } => {
                let event = Event {
                    what,
                    subject,
                    by,
                    detail,
                };
                self.audit(*stamp, &event);
                Outcome::Done
            }
        }
    }

    pub(super) fn member_started(&mut self, command: &Command) -> Outcome {
        let Command::MemberStarted {
            node,
            name,
            address,
            incarnation,
            capabilities,
            stamp,
        } = command
        else {
            return Outcome::Stale;
        };
        if let Err(refusal) = self.may_start(*node) {
            return Outcome::Refused(refusal);
        }
        let known = self.state.members.get(node);
        let same_run = known.is_some_and(|member| member.incarnation == *incarnation);
        let was = known.map(|member| member.state);
        let admission = known.map(|member| member.admission.clone());
        let member = Member {
            name: name.clone(),
            address: address.clone(),
            incarnation: *incarnation,
            capabilities: capabilities.clone(),
            state: MemberState::Up,
            since: known
                .filter(|member| same_run && member.state == MemberState::Up)
                .map_or(*stamp, |member| member.since),
            admission: admission.unwrap_or_default(),
        };
        self.state.members.insert(*node, member);
        if !same_run {
            self.restarted(*node, *stamp);
        }
        if !same_run || was != Some(MemberState::Up) {
            self.audit_member(*node, *stamp, "member started", "", "");
        }
        Outcome::Done
    }

    /// A member that was admitted, or the founder of a convention without members.
    fn may_start(&self, node: NodeId) -> Result<(), Refusal> {
        if self.state.roll.removed.contains_key(&node) {
            Err(Refusal::RemovedMember { node })
        } else if self.state.members.is_empty() || self.state.members.contains_key(&node) {
            Ok(())
        } else {
            Err(Refusal::UnknownMember { node })
        }
    }

    pub(super) fn member_stopped(&mut self, node: NodeId, stamp: Stamp) -> Outcome {
        let Some(member) = self.state.members.get_mut(&node) else {
            return Outcome::Stale;
        };
        if member.state != MemberState::Up {
            return Outcome::Stale;
        }
        member.state = MemberState::Down;
        member.since = stamp;
        let reason = format!("member `{}` was shut down", member.name);
        self.vacate(node, &reason, stamp);
        self.audit_member(node, stamp, "member stopped", "", "");
        Outcome::Done
    }

    fn lose(&mut self, node: NodeId, why: &str, stamp: Stamp) {
        let Some(member) = self.state.members.get_mut(&node) else {
            return;
        };
        member.state = MemberState::Lost;
        member.since = stamp;
        let reason = format!("member `{}` was lost", member.name);
        self.vacate(node, &reason, stamp);
        self.audit_member(node, stamp, "member lost", "", why);
    }

    fn remove(&mut self, node: NodeId, left: bool, by: &str, stamp: Stamp) -> Outcome {
        if self.state.roll.removed.contains_key(&node) {
            return Outcome::Stale;
        }
        let Some(member) = self.state.members.remove(&node) else {
            return Outcome::Refused(Refusal::UnknownMember { node });
        };
        let (reason, what) = if left {
            (format!("member `{}` has left", member.name), "member left")
        } else {
            let reason = format!("member `{}` was removed", member.name);
            (reason, "member removed")
        };
        let removal = Removal {
            name: member.name.clone(),
            left,
            stamp,
            by: by.to_owned(),
        };
        self.state.roll.removed.insert(node, removal);
        self.vacate(node, &reason, stamp);
        self.forget_places(node);
        let event = Event {
            what,
            subject: &member.name,
            by,
            detail: &node.to_string(),
        };
        self.audit(stamp, &event);
        Outcome::Done
    }

    fn take_back(&mut self, node: NodeId, by: &str, stamp: Stamp) -> Outcome {
        let Some(removal) = self.state.roll.removed.remove(&node) else {
            return Outcome::Stale;
        };
        let event = Event {
            what: "member taken back",
            subject: &removal.name,
            by,
            detail: &node.to_string(),
        };
        self.audit(stamp, &event);
        Outcome::Done
    }

    fn describe(&mut self, command: &MemberCommand) -> Outcome {
        let MemberCommand::Describe {
            node,
            incarnation,
            address,
            capabilities,
            may_vote,
            ..
        } = command
        else {
            return Outcome::Stale;
        };
        let member = self.state.members.get_mut(node);
        let Some(member) = member.filter(|member| member.incarnation == *incarnation) else {
            return Outcome::Stale;
        };
        member.address.clone_from(address);
        member.capabilities.clone_from(capabilities);
        member.admission.may_vote = *may_vote;
        Outcome::Done
    }

    fn drain_member(&mut self, node: NodeId, on: bool, by: &str, stamp: Stamp) -> Outcome {
        let Some(member) = self.state.members.get_mut(&node) else {
            return Outcome::Refused(self.unknown(node));
        };
        if member.admission.drained == on {
            return Outcome::Stale;
        }
        member.admission.drained = on;
        let what = if on {
            "member drained"
        } else {
            "member takes actors again"
        };
        self.audit_member(node, stamp, what, by, "");
        Outcome::Done
    }

    fn let_vote(&mut self, node: NodeId, on: bool, by: &str, stamp: Stamp) -> Outcome {
        let Some(member) = self.state.members.get_mut(&node) else {
            return Outcome::Refused(self.unknown(node));
        };
        if member.admission.demoted != on {
            return Outcome::Stale;
        }
        member.admission.demoted = !on;
        let what = if on {
            "member promoted"
        } else {
            "member demoted"
        };
        self.audit_member(node, stamp, what, by, "");
        Outcome::Done
    }

    fn recovered(&mut self, survivor: NodeId, stamp: Stamp) -> Outcome {
        if !self.state.members.contains_key(&survivor) {
            return Outcome::Refused(self.unknown(survivor));
        }
        self.state.roll.recoveries += 1;
        let others: Vec<_> = self
            .state
            .members
            .iter()
            .filter(|(node, member)| **node != survivor && member.state != MemberState::Lost)
            .map(|(node, _)| *node)
            .collect();
        self.audit_member(survivor, stamp, "recovered", "", "it goes on alone");
        for node in others {
            self.lose(node, "the convention was recovered without it", stamp);
        }
        Outcome::Done
    }

    fn take_raft_id(&mut self, node: NodeId, stamp: Stamp) -> Outcome {
        if !self.state.members.contains_key(&node) {
            return Outcome::Refused(self.unknown(node));
        }
        let roll = &mut self.state.roll;
        // 1 was the founder's.
        roll.last_raft_id = roll.last_raft_id.max(1) + 1;
        let taken = roll.last_raft_id;
        self.audit_member(node, stamp, "raft id taken", "", &taken.to_string());
        Outcome::RaftId(taken)
    }

    fn want_voters(&mut self, wanted: u8, by: &str, stamp: Stamp) -> Outcome {
        if !matches!(wanted, 1 | 3 | 5 | 7) {
            return Outcome::Refused(Refusal::Voters { wanted });
        }
        self.state.roll.voters_wanted = wanted;
        let event = Event {
            what: "voters wanted",
            subject: "",
            by,
            detail: &wanted.to_string(),
        };
        self.audit(stamp, &event);
        Outcome::Done
    }

    pub(super) fn unknown(&self, node: NodeId) -> Refusal {
        if self.state.roll.removed.contains_key(&node) {
            Refusal::RemovedMember { node }
        } else {
            Refusal::UnknownMember { node }
        }
    }

    pub(super) fn audit_member(
        &mut self,
        node: NodeId,
        stamp: Stamp,
        what: &str,
        by: &str,
        detail: &str,
    ) {
        let subject = self.member_name(node);
        let event = Event {
            what,
            subject: &subject,
            by,
            detail,
        };
        self.audit(stamp, &event);
    }

    pub(super) fn member_name(&self, node: NodeId) -> String {
        let member = self.state.members.get(&node);
        member.map_or_else(|| node.to_string(), |member| member.name.clone())
    }
}
