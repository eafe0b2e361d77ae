//! The peers of a node that is of another convention from now on.

use std::collections::BTreeSet;

use protocol::wire::{Refusal, RefusalCode};

use super::hints::Hints;
use super::{Peers, lock};

impl Peers {
    /// Forgets the members of the convention before, what they have proven and what they said, and
    /// closes their connections; `hints` is where the new one is asked.
    pub(in crate::cluster) fn begin_anew(&self, hints: Vec<String>) {
        *lock(&self.0.hints) = Hints::new(hints);
        *lock(&self.0.given_up) = None;
        self.forget_all_told();
        *lock(&self.0.silent) = BTreeSet::new();
        self.0.vouched.clear();
        self.0.rumours.clear();
        self.0.logless.keep(|_node| false);
        lock(&self.0.live).clear();
        let text = "this node is of another convention now";
        let refusal = Refusal::new(RefusalCode::Stopping, text);
        for node in self.0.endpoint.live_nodes().into_keys() {
            self.0.endpoint.close_node(node, &refusal);
        }
    }
}
