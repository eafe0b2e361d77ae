//! The registry of a node that is of another convention from now on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use leader::Consensus;

use super::{RegistryHandle, Standing};
use crate::cluster::view::View;

impl RegistryHandle {
    /// Nothing of the convention before counts, its terms and indexes neither. Gives the log of
    /// that one, to be shut down.
    pub(in crate::cluster) fn begin_anew(&self) -> Option<Arc<Consensus>> {
        let before = self.consensus();
        // What a session of the one before has still to say finds another part.
        self.let_go();
        self.become_follower(View::default());
        let followed = self.followed_mut();
        self.back();
        drop(followed);
        self.wishes.uncover();
        self.recovery.store(0, Ordering::Release);
        self.standing.send_replace(Standing::default());
        self.removed.send_replace(None);
        before
    }

    /// Whether this node has the same part still: asked where a watch is written, so that a log
    /// that was let go meanwhile does not write over what came after it.
    pub(in crate::cluster) fn has_part(&self, part: u64) -> bool {
        *self.parts.borrow() == part
    }
}
