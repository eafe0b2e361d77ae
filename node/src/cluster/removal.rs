//! Whether this node believes that it was removed: by one who leads or votes, or by two members.
//!
//! Whoever was removed is refused by everybody, before it can ask anything; so a member that has
//! turned against the others could say it as well. Its word alone ends nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use protocol::NodeId;
use protocol::wire::RefusalCode;
use tokio::sync::watch;
use transport::endpoint::DialFault;

use super::peers::Peers;

/// What single members have said without being believed.
#[derive(Debug, Default)]
pub(super) struct Rumours {
    // Held for a look-up or an insertion only.
    told: Mutex<BTreeMap<NodeId, String>>,
    // Who was called the leader and did not prove it.
    doubt: Mutex<Option<String>>,
    // Whether somebody says that this node's certificate is of an authority that has retired.
    retired: watch::Sender<bool>,
}

impl Rumours {
    /// How many say so by now, and whether this one had not said so before.
    fn add(&self, by: NodeId, text: &str) -> (usize, bool) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told.insert(by, text.to_owned()).is_none();
        (told.len(), is_new)
    }

    /// Somebody was called the leader and did not prove it.
    pub(super) fn doubt(&self, leader: NodeId) {
        let text = format!("node `{leader}` is said to lead and does not prove that it votes");
        let mut doubt = self.doubt.lock().unwrap_or_else(PoisonError::into_inner);
        *doubt = Some(text);
    }

    /// Whether this node is to get a certificate of an authority that it may not know yet.
    pub(super) fn retired(&self) -> &watch::Sender<bool> {
        &self.retired
    }

    /// One of these, for people.
    pub(super) fn any(&self) -> Option<String> {
        let doubt = self.doubt.lock().unwrap_or_else(PoisonError::into_inner);
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        doubt.clone().or_else(|| told.values().next().cloned())
    }

    /// The leader knows this node as a member: whoever said otherwise was mistaken.
    pub(super) fn clear(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clear();
        drop(told);
        let mut doubt = self.doubt.lock().unwrap_or_else(PoisonError::into_inner);
        *doubt = None;
    }
}

impl Peers {
    /// Others may know of our removal before we do, or that our authority was replaced.
    pub(super) fn note_removal(&self, fault: &DialFault) {
        if let DialFault::Refused { refusal, .. } = fault
            && refusal.code == RefusalCode::AuthorityRetired
        {
            self.rumours().retired().send_replace(true);
        }
        if let DialFault::Refused {
            by: Some(by),
            refusal,
            ..
        } = fault
            && refusal.code == RefusalCode::Removed
        {
            self.told_of_removal(*by, &refusal.text);
        }
    }

    /// A member says that this node was removed.
    pub(super) fn told_of_removal(&self, by: NodeId, text: &str) {
        let standing = self.registry().standing().borrow().clone();
        if standing.leads {
            tracing::warn!(%by, "a member says that this node, which leads, was removed");
            return;
        }
        let leads = standing.leader.is_some_and(|(leader, _)| leader == by);
        if leads || self.vouched().names(by) || self.registry().voters().contains(&by) {
            return self.registry().note_removed(text);
        }
        let (said, is_new) = self.rumours().add(by, text);
        // Who does not vote knows only some of the others, on its own or not.
        let others = match self.registry().consensus() {
            None => WITNESSES,
            Some(_) => self.registry().read(|state| {
                let members = state.members.keys();
                members.filter(|member| **member != self.me()).count()
            }),
        };
        // Two say so, or nobody else is there to ask.
        if said >= others.min(WITNESSES) {
            return self.registry().note_removed(text);
        }
        if is_new {
            tracing::warn!(%by, text, "a member alone says that this node was removed");
        }
    }
}

/// Members whose word counts without a vote.
const WITNESSES: usize = 2;
