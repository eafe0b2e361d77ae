//! A follower's part of the registry: taken over whole, then moved by what the leader tells.
//!
//! Not here: what a view holds (`convention::view`), how it is kept on the disk (`follow`).

use std::collections::BTreeSet;
use std::sync::PoisonError;

use convention::Registry;
use protocol::NodeId;
use protocol::registry::State;
use protocol::view::{Change, Streamed, Wish};

use super::registry::RegistryHandle;

/// A follower's view as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) index: u64,
    pub(crate) state: State,
    /// Who votes.
    pub(crate) voters: BTreeSet<NodeId>,
}

impl RegistryHandle {
    /// What this node has of the registry, to be kept.
    pub(super) fn copy(&self) -> View {
        let voters = self.followed().voters.clone();
        self.read_at(|index, state| View {
            index,
            state: state.clone(),
            voters,
        })
    }

    /// Who votes, by the log or by the leader's last word.
    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        match self.consensus() {
            Some(consensus) => {
                let standing = consensus.standing().borrow().clone();
                standing.voters.values().map(|voter| voter.node).collect()
            }
            None => self.followed().voters.clone(),
        }
    }

    /// Follows the leader's stream from this state on.
    pub(crate) fn become_follower(&self, copy: View) {
        let View {
            index,
            state,
            voters,
        } = copy;
        // Before anything is replaced: no session of the part before moves what is here now.
        self.let_go();
        self.replace(state, index, Some(voters));
        self.swap(None);
        self.applied.send_replace(index);
        self.standing.send_modify(|standing| {
            standing.leader = None;
            standing.leads = false;
        });
    }

    /// A follower takes a document of the leader's stream in.
    ///
    /// # Errors
    /// Why the session cannot go on, for the log.
    pub(super) fn follow(&self, streamed: Streamed, part: u64) -> Result<(), String> {
        let Streamed {
            whole,
            index,
            covers,
            voters,
            changes,
        } = streamed;
        let voters = voters.map(BTreeSet::from_iter);
        // What has been of interest stays so.
        for change in &changes {
            if let Change::Group(name, Some(_)) = change {
                self.note(Wish::Group(name.clone()));
            }
        }
        if whole {
            let mut state = State::default();
            convention::take_in(&mut state, changes);
            self.take_over(state, index, voters, Some(part))?;
        } else {
            self.take_in(changes, index, voters, part)?;
        }
        if self.consensus().is_some() || self.has_part(part) {
            self.wishes.cover(covers);
        }
        Ok(())
    }

    /// A follower takes the leader's registry over; what was done offline is forgotten.
    ///
    /// # Errors
    /// Why not: it is another convention's, or an older one than this node has seen, though the
    /// convention was not recovered since.
    pub(super) fn take_over(
        &self,
        state: State,
        index: u64,
        voters: Option<BTreeSet<NodeId>>,
        began: Option<u64>,
    ) -> Result<(), String> {
        let part = self
            .consensus
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if part.is_some() {
            return Ok(());
        }
        self.is_step_ahead(&state, index)?;
        let mut followed = self.followed_mut();
        if began.is_some_and(|began| !self.has_part(began)) {
            return Err(ANOTHER_PART.to_owned());
        }
        followed.registry = Registry::from_state(state);
        followed.index = index;
        if let Some(voters) = voters {
            followed.voters = voters;
        }
        // With the same grip: what is proposed from here on is the convention's to decide.
        self.back();
        drop(followed);
        self.applied.send_replace(index);
        Ok(())
    }

    fn is_step_ahead(&self, state: &State, index: u64) -> Result<(), String> {
        let followed = self.followed();
        let ours = followed.registry.state();
        if ours.convention.is_some() && ours.convention != state.convention {
            return Err("the leader's registry is another convention's".to_owned());
        }
        let recovered = state.roll.recoveries > ours.roll.recoveries;
        if index < followed.index && !recovered && !self.is_offline() {
            return Err(format!(
                "the leader's registry ends at {index}, this node's at {}: was an old copy of its \
                 `state/` brought back? Stop it and run `director cluster recover` there",
                followed.index
            ));
        }
        Ok(())
    }

    /// A follower takes in what has changed of its view.
    fn take_in(
        &self,
        changes: Vec<Change>,
        index: u64,
        voters: Option<BTreeSet<NodeId>>,
        began: u64,
    ) -> Result<(), String> {
        // Held to the end: a voter's registry is moved by its own log alone.
        let part = self
            .consensus
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if part.is_some() {
            return Ok(());
        }
        let mut followed = self.followed_mut();
        if !self.has_part(began) {
            return Err(ANOTHER_PART.to_owned());
        }
        if self.is_offline() {
            return Err("this node went on by itself meanwhile".to_owned());
        }
        if index < followed.index {
            return Err(format!(
                "the leader's stream goes back from index {} to {index}",
                followed.index
            ));
        }
        followed.registry.take_in(changes);
        followed.index = index;
        if let Some(voters) = voters {
            followed.voters = voters;
        }
        drop(followed);
        self.applied.send_replace(index);
        Ok(())
    }
}

/// Why a session ends whose stream is of no use any more.
pub(super) const ANOTHER_PART: &str = "this node has another part now";
