//! Roles: which actor plays each, and the messages that wait while one is held.

use std::collections::BTreeSet;

use protocol::{ActorId, RoleId};

use super::Core;
use super::outbox::FrameBytes;
use super::party::{Backlog, CreditState, Meta, Queued};
use crate::router::agent::AgentEvent;
use crate::router::moment::Moment;

/// One role as this node's messages see it.
#[derive(Debug)]
pub(super) struct Role {
    actor: Option<ActorId>,
    /// Why nobody plays it.
    reason: String,
    hold: Option<Hold>,
    /// It is here because somebody named it, and nobody has played it since.
    is_sought: bool,
}

/// Roles that somebody has named and nobody had told of: no more of them than there is room for.
#[derive(Debug, Default)]
pub(super) struct Sought {
    under_way: BTreeSet<RoleId>,
    /// Size of the table at which those that were sought in vain are forgotten.
    clear_at: usize,
}

#[derive(Debug, Default)]
struct Hold {
    waiting: Backlog,
    until: Option<Moment>,
}

impl Role {
    pub(super) fn n_waiting(&self) -> u64 {
        self.hold
            .as_ref()
            .map_or(0, |hold| hold.waiting.len() as u64)
    }

    /// Whether it was looked for and nobody plays it: as good as unknown.
    fn is_in_vain(&self) -> bool {
        self.is_sought && self.actor.is_none() && self.hold.is_none()
    }

    pub(super) fn held_until(&self) -> Option<Moment> {
        self.hold.as_ref()?.until
    }
}

/// Until when messages are delivered by role.
#[derive(Debug, Default)]
pub(super) struct Service {
    until: Option<Moment>,
    is_over: bool,
    /// Held for that reason alone.
    held: BTreeSet<RoleId>,
}

/// Where a role leads.
#[derive(Debug)]
pub(super) enum Way {
    Actor(ActorId),
    Held,
    Nobody(String),
    /// Nobody has told of it.
    Unknown,
}

impl Core {
    pub(super) fn way(&self, role: RoleId) -> Way {
        match self.roles.get(&role) {
            // Without other nodes there is nobody to ask.
            None if self.far.knows_nobody() => Way::Nobody(NO_ROLE.to_owned()),
            None => Way::Unknown,
            Some(Role { hold: Some(_), .. }) => Way::Held,
            Some(Role { actor, reason, .. }) => {
                actor.map_or_else(|| Way::Nobody(reason.clone()), Way::Actor)
            }
        }
    }

    pub(super) fn bind(&mut self, id: RoleId, actor: Option<ActorId>, reason: String) {
        let role = self.role(id);
        role.is_sought &= actor.is_none();
        role.actor = actor;
        role.reason = reason;
        if self.service.is_over {
            self.hold_back(id);
        }
        self.break_cycles();
    }

    /// Has the agent look for a role; messages to it wait until it is released. `false`: so many
    /// are looked for already that this one is not.
    pub(super) fn seek_role(&mut self, id: RoleId) -> bool {
        if self.sought.under_way.len() >= self.limits.roles_sought_max {
            return false;
        }
        if self.roles.len() >= self.sought.clear_at.max(self.limits.roles_kept) {
            // Whoever names one of them again has it looked for again.
            self.roles.retain(|_, role| !role.is_in_vain());
            // Not each time where most are played.
            self.sought.clear_at = self.roles.len().saturating_mul(2);
        }
        self.sought.under_way.insert(id);
        let role = self.role(id);
        role.is_sought = true;
        role.hold = Some(Hold::default());
        self.tell(AgentEvent::SeekRole { role: id });
        true
    }

    /// Says anew until when messages are delivered by role.
    pub(super) fn serve_until(&mut self, until: Option<Moment>) {
        self.service.until = until;
        if until.is_none_or(|until| until > self.now) {
            self.service.is_over = false;
            let held: Vec<_> = std::mem::take(&mut self.service.held).into_iter().collect();
            self.release(&held);
        } else {
            self.end_service();
        }
    }

    /// Holds every role once the time is over; asked before each event, so that not even what came
    /// while this process was stopped is delivered by a binding that may be another's by now.
    pub(super) fn end_service(&mut self) {
        let over = self.service.until.is_some_and(|until| until <= self.now);
        if !over || self.service.is_over {
            return;
        }
        self.service.is_over = true;
        let open = self.roles.iter().filter(|(_, role)| role.hold.is_none());
        let open: Vec<RoleId> = open.map(|(id, _)| *id).collect();
        open.into_iter().for_each(|id| self.hold_back(id));
    }

    fn hold_back(&mut self, id: RoleId) {
        let role = self.role(id);
        if role.hold.is_none() {
            role.hold = Some(Hold::default());
            self.service.held.insert(id);
        }
    }

    pub(super) fn hold(&mut self, ids: &[RoleId], limit_ms: Option<u64>) {
        let until = limit_ms.map(|ms| self.now.plus_ms(ms));
        for id in ids {
            self.service.held.remove(id);
            self.role(*id).hold.get_or_insert_default().until = until;
        }
        if let Some(until) = until {
            self.wake_at(until);
        }
    }

    pub(super) fn release(&mut self, ids: &[RoleId]) {
        for id in ids {
            self.sought.under_way.remove(id);
            let Some(role) = self.roles.get_mut(id) else {
                continue;
            };
            if self.service.is_over {
                role.hold.get_or_insert_default().until = None;
                self.service.held.insert(*id);
                continue;
            }
            let Some(mut hold) = role.hold.take() else {
                continue;
            };
            while let Some(item) = hold.waiting.pop_front() {
                if let Queued::Message { meta, bytes } = item {
                    self.route(meta, FrameBytes::Owned(bytes));
                }
            }
        }
        self.break_cycles();
    }

    /// What was known of these roles counts no more: what waits for one, and what comes, has it
    /// looked for.
    pub(super) fn forget_roles(&mut self, ids: &[RoleId]) {
        for id in ids {
            self.service.held.remove(id);
            self.sought.under_way.remove(id);
            let role = self.roles.remove(id);
            let Some(mut hold) = role.and_then(|role| role.hold) else {
                continue;
            };
            while let Some(item) = hold.waiting.pop_front() {
                if let Queued::Message { meta, bytes } = item {
                    self.route(meta, FrameBytes::Owned(bytes));
                }
            }
        }
        self.break_cycles();
    }

    /// Releases the roles whose hold has lasted too long.
    pub(super) fn release_overdue(&mut self) {
        let now = self.now;
        let overdue: Vec<RoleId> = self
            .roles
            .iter()
            .filter(|(_, role)| role.held_until().is_some_and(|until| until <= now))
            .map(|(id, _)| *id)
            .collect();
        self.release(&overdue);
    }

    /// The message waits for the role. Up to a limit its credit is given back at once, so that
    /// senders do not notice a short hold.
    pub(super) fn wait_for_role(&mut self, id: RoleId, mut meta: Meta, bytes: FrameBytes<'_>) {
        let n_bytes = bytes.len() as u64;
        let Some(hold) = self.roles.get(&id).and_then(|role| role.hold.as_ref()) else {
            return;
        };
        let uncredited = meta.credit == CreditState::Free;
        if uncredited && hold.waiting.free_bytes() >= self.limits.uncredited_bytes_max {
            return self.dead(meta, bytes, "too much waits for the role already");
        }
        if hold.waiting.bytes() + n_bytes <= self.limits.hold_bytes_max {
            self.owe_credit(&mut meta, bytes.len());
        } else {
            self.keep_credit(&mut meta, bytes.len());
        }
        let bytes = bytes.into_vec();
        if let Some(hold) = self.roles.get_mut(&id).and_then(|role| role.hold.as_mut()) {
            hold.waiting.push_back(Queued::Message { meta, bytes });
        }
    }

    /// Nobody plays the roles of an actor that has ended.
    pub(super) fn unbind_all(&mut self, actor: ActorId, reason: &str) {
        for role in self.roles.values_mut() {
            if role.actor == Some(actor) {
                role.actor = None;
                reason.clone_into(&mut role.reason);
            }
        }
    }

    /// Nobody plays the roles of the actors for which `lost` is true.
    pub(super) fn unbind_lost(&mut self, lost: impl Fn(&Self, ActorId) -> bool, reason: &str) {
        let actors: Vec<ActorId> = self.roles.values().filter_map(|role| role.actor).collect();
        for actor in actors {
            if lost(self, actor) {
                self.unbind_all(actor, reason);
            }
        }
    }

    pub(super) fn soonest_hold(&self) -> Option<Moment> {
        self.roles.values().filter_map(Role::held_until).min()
    }

    fn role(&mut self, id: RoleId) -> &mut Role {
        self.roles.entry(id).or_insert_with(|| Role {
            actor: None,
            reason: NO_ROLE.to_owned(),
            hold: None,
            is_sought: false,
        })
    }
}

/// Why a message to a role is dead that nobody looks for.
pub(super) const TOO_MANY_SOUGHT: &str =
    "this node looks for too many other roles that it does not know; send it again later";

const NO_ROLE: &str = "nobody plays this role";
