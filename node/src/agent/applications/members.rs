//! Actors that are told which other nodes come to the convention and which go.
//!
//! A change of capabilities is no such event, as in the original.
//! Source: Thespian `notifyOnSystemRegistrationChanges`.

use std::collections::BTreeMap;

use protocol::control::SystemMessage;
use protocol::registry::{Member, MemberState, State};
use protocol::view::Wish;
use protocol::{ActorId, NodeId};

use super::super::node::Node;
use super::table::Table;

/// The members that run, but for one: by their own addresses, with their capabilities.
pub(super) type Others = BTreeMap<ActorId, String>;

impl Node {
    /// An actor is told of members from now on, of those that are there at once; or no longer.
    pub(in crate::agent) fn watch_members(&self, actor: ActorId, on: bool) {
        let mut table = self.applications.table();
        if !on {
            table.member_watchers.remove(&actor);
            return;
        }
        // Those that this node has yet to hear of are told when it does.
        self.replica.note(Wish::Members);
        self.catch_up_members(&mut table);
        table.member_watchers.insert(actor);
        for (admin, capabilities) in &table.told_members {
            self.router
                .send_system(actor, update(*admin, capabilities, true));
        }
    }

    /// Tells the watchers what has changed since they were told last.
    pub(super) fn tell_members(&self) {
        let mut table = self.applications.table();
        if !table.member_watchers.is_empty() {
            self.catch_up_members(&mut table);
        }
    }

    fn catch_up_members(&self, table: &mut Table) {
        let changed = |state: &State| {
            let mut n_running = 0;
            let known = running(state, self.id).all(|(admin, _)| {
                n_running += 1;
                table.told_members.contains_key(&admin)
            });
            let same = known && n_running == table.told_members.len();
            (!same).then(|| others(state, self.id))
        };
        let Some(now) = self.replica.read(changed) else {
            return;
        };
        let before = std::mem::replace(&mut table.told_members, now.clone());
        let gone = before.iter().filter(|(admin, _)| !now.contains_key(admin));
        let come = now.iter().filter(|(admin, _)| !before.contains_key(admin));
        let gone = gone.map(|(admin, had)| update(*admin, had, false));
        let updates: Vec<_> = gone
            .chain(come.map(|(admin, has)| update(*admin, has, true)))
            .collect();
        // One that has exited hears nothing more.
        table
            .member_watchers
            .retain(|actor| self.actors.stage(*actor).is_some());
        for actor in &table.member_watchers {
            for message in &updates {
                self.router.send_system(*actor, message.clone());
            }
        }
    }
}

/// The members that run, without this node.
fn others(state: &State, own: NodeId) -> Others {
    let others = running(state, own);
    others.map(|(admin, has)| (admin, has.to_owned())).collect()
}

fn running(state: &State, own: NodeId) -> impl Iterator<Item = (ActorId, &str)> {
    let up =
        move |(id, member): &(&NodeId, &Member)| **id != own && member.state == MemberState::Up;
    state.members.iter().filter(up).map(|(_, member)| {
        let admin = ActorId::allot(member.incarnation, OWN_SERIAL);
        (admin, member.capabilities.as_str())
    })
}

fn update(admin: ActorId, capabilities: &str, added: bool) -> SystemMessage {
    SystemMessage::ConventionUpdate {
        admin,
        capabilities: capabilities.to_owned(),
        added,
    }
}

/// Serial of a node's own address.
const OWN_SERIAL: u64 = 1;

#[cfg(test)]
mod tests {
    use protocol::registry::Admission;
    use protocol::{Incarnation, Stamp};

    use super::*;

    fn member(run: u64, state: MemberState) -> Member {
        Member {
            name: String::new(),
            address: String::new(),
            incarnation: Incarnation(run),
            capabilities: format!("{{'run': {run}}}"),
            state,
            since: Stamp(0),
            admission: Admission::default(),
        }
    }

    #[test]
    fn only_other_members_that_run_are_told_of_each_run_by_its_own_address() {
        let mut state = State::default();
        state.members.insert(NodeId(1), member(10, MemberState::Up));
        state.members.insert(NodeId(2), member(20, MemberState::Up));
        state
            .members
            .insert(NodeId(3), member(30, MemberState::Down));
        state
            .members
            .insert(NodeId(4), member(40, MemberState::Lost));
        let told = others(&state, NodeId(1));
        let second = ActorId::allot(Incarnation(20), 1);
        assert_eq!(told, [(second, "{'run': 20}".to_owned())].into());
    }
}
