//! What of a node's applications its status shows (`Thespian_SystemStatus`).

use std::collections::BTreeMap;

use protocol::{ActorId, SourceHash};

use super::super::node::Node;
use super::notices::available;

/// Sources, and who looks after them and after members.
#[derive(Debug)]
pub(in crate::agent) struct Shown {
    /// All that actors can be created from, and where they came from.
    pub(in crate::agent) sources: BTreeMap<SourceHash, String>,
    /// The application's source authority.
    pub(in crate::agent) authority: Option<ActorId>,
    /// Who is told of members.
    pub(in crate::agent) told_of_members: Vec<ActorId>,
}

impl Node {
    /// What applications have brought here.
    pub(in crate::agent) fn shown_applications(&self) -> Shown {
        let table = self.applications.table();
        let mut sources = self.replica.read(available);
        sources.extend(table.valid());
        let watch = table.member_watchers.iter().copied();
        Shown {
            sources,
            authority: table.authority,
            told_of_members: watch.collect(),
        }
    }
}
