//! `Load`: a verified, held, preflighted source enters the registry and its rollout begins.
//!
//! Bytes that are active already change nothing; bytes that are loaded but not active are made
//! active by a rollout with the definition that came with them.

use std::collections::BTreeSet;

use protocol::definition;
use protocol::registry::{
    Command, Outcome, Placement, Refusal, Rollout, RolloutKind, RolloutStep, Slot, SlotState,
    Source, SourceState,
};
use protocol::{ActorId, GroupDefinition, NodeId, SlotId, SourceHash, Stamp};

use super::{Refused, Registry};
use crate::placement::is_open;

impl Registry {
    pub(super) fn load(&mut self, command: &Command) -> Outcome {
        match self.try_load(command) {
            Ok(outcome) => outcome,
            Err(refused) => refused.into(),
        }
    }

    fn try_load(&mut self, command: &Command) -> Result<Outcome, Refused> {
        let Command::Load {
            hash,
            group,
            version,
            bytes,
            definition,
            placements,
            by,
            stamp,
            ..
        } = command
        else {
            return Ok(Outcome::Stale);
        };
        self.free(group)?;
        if let Some(known) = self.state.sources.get(hash) {
            if known.group != *group {
                let group = known.group.clone();
                return Err(Refusal::OtherGroup { hash: *hash, group }.into());
            }
            if matches!(known.state, SourceState::Draining { .. }) {
                return Err(Refusal::Draining { hash: *hash }.into());
            }
            if self.active(group) == Some(*hash) {
                return Ok(Outcome::AlreadyActive);
            }
        } else {
            self.names_are_free(group, definition)?;
            self.state.last_order += 1;
            let source = Source {
                group: group.clone(),
                version: version.clone(),
                bytes: *bytes,
                definition: definition.clone(),
                order: self.state.last_order,
                loaded: *stamp,
                by: by.clone(),
                state: SourceState::Loading,
            };
            self.state.sources.insert(*hash, source);
            self.reserve_names();
        }
        self.group_mut(group).withdrawn.remove(hash);
        self.record(*hash, *stamp, "loaded", by, "");
        let (constructed, reactivated) = self.fill_slots(*hash, group, placements, *stamp);
        let from = self.active(group);
        let rollout = Rollout {
            group: group.clone(),
            kind: RolloutKind::Load,
            from,
            to: Some(*hash),
            step: RolloutStep::Construct,
            constructed,
            reactivated,
            deactivated: self.living_slots(from),
            by: by.clone(),
            now: false,
            since: *stamp,
        };
        let id = self.next_rollout();
        self.state.rollouts.insert(id, rollout);
        Ok(Outcome::Began { rollout: id })
    }

    /// Slots of `hash` that are to be constructed, and those that live already.
    fn fill_slots(
        &mut self,
        hash: SourceHash,
        group: &str,
        placements: &[Placement],
        stamp: Stamp,
    ) -> (BTreeSet<SlotId>, BTreeSet<SlotId>) {
        let mut constructed = BTreeSet::new();
        let mut reactivated = BTreeSet::new();
        for placement in placements {
            if !self.has_position(hash, placement.position) {
                continue;
            }
            let known = self.slot_for(hash, placement);
            if let Some((id, slot)) = known
                && slot.state == SlotState::Running
            {
                reactivated.insert(id);
                continue;
            }
            let each = self.belongs_on_each(hash, placement.position);
            let open = is_open(&self.state, placement.node);
            if each && !open {
                continue;
            }
            let id = known.map(|(id, _)| id);
            let id = id.unwrap_or_else(|| self.next_slot());
            let mut slot = starting(hash, group, placement);
            if !open {
                (slot.node, slot.actor) = (NodeId::NONE, ActorId::NONE);
                slot.state = SlotState::Waiting {
                    not_before: stamp,
                    reason: format!("no member can run `{}`", placement.class),
                };
            }
            self.state.slots.insert(id, slot);
            // One that no member fits waits; one whose member is gone by now is placed anew.
            if placement.node != NodeId::NONE {
                constructed.insert(id);
            }
        }
        reactivated.extend(self.living_slots(Some(hash)));
        (constructed, reactivated)
    }

    /// The slot that a placement is about: of an actor that runs on each member the one there.
    fn slot_for(&self, hash: SourceHash, placement: &Placement) -> Option<(SlotId, &Slot)> {
        let each = self.belongs_on_each(hash, placement.position);
        let mut slots = self.state.slots.iter();
        let found = slots.find(|(_, slot)| {
            slot.source == hash
                && slot.position == placement.position
                && (!each || slot.node == placement.node)
        });
        found.map(|(id, slot)| (*id, slot))
    }

    fn has_position(&self, hash: SourceHash, position: u32) -> bool {
        let source = self.state.sources.get(&hash);
        source.is_some_and(|source| (position as usize) < source.definition.actors.len())
    }

    fn belongs_on_each(&self, hash: SourceHash, position: u32) -> bool {
        let source = self.state.sources.get(&hash);
        let actor = source.and_then(|s| s.definition.actors.get(position as usize));
        actor.is_some_and(|actor| actor.placement == definition::Placement::Each)
    }

    fn names_are_free(&self, group: &str, definition: &GroupDefinition) -> Result<(), Refused> {
        for name in definition
            .actors
            .iter()
            .filter_map(|actor| actor.global_name.as_ref())
        {
            if let Some(owner) = self.state.names.get(name)
                && owner != group
            {
                return Err(Refusal::NameTaken {
                    name: name.clone(),
                    owner: owner.clone(),
                }
                .into());
            }
        }
        Ok(())
    }

    /// Global names belong to the groups whose loaded sources define them.
    pub(super) fn reserve_names(&mut self) {
        let names = self.state.sources.values().flat_map(|source| {
            let names = source
                .definition
                .actors
                .iter()
                .filter_map(|a| a.global_name.clone());
            names.map(|name| (name, source.group.clone()))
        });
        self.state.names = names.collect();
    }
}

/// A slot whose actor is to be constructed.
pub(super) fn starting(hash: SourceHash, group: &str, placement: &Placement) -> Slot {
    Slot {
        source: hash,
        group: group.to_owned(),
        position: placement.position,
        class: placement.class.clone(),
        node: placement.node,
        actor: placement.actor,
        state: SlotState::Starting,
        started: None,
        restarts: 0,
        recent: Vec::new(),
    }
}
