//! Actors that are told which sources become available and which no longer are.
//!
//! All sources count: those of applications, and those that the registry has as loaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::control::SystemMessage;
use protocol::registry::{SourceState, State};
use protocol::view::Wish;
use protocol::{ActorId, SourceHash};

use super::super::node::Node;
use super::table::Table;

/// Tells of the registry's sources and members as they come and go, until shutdown.
pub(in crate::agent) async fn follow(node: Arc<Node>) {
    let mut applied = node.replica.applied();
    loop {
        applied.mark_unchanged();
        node.tell_changes();
        node.tell_members();
        tokio::select! {
            biased;
            () = node.shutdown.cancelled() => return,
            changed = applied.changed() => if changed.is_err() { return },
        }
    }
}

impl Node {
    /// An actor is told of sources from now on, of those that are there at once; or no longer.
    pub(in crate::agent) fn watch_sources(&self, actor: ActorId, on: bool) {
        let mut table = self.applications.table();
        if !on {
            table.watchers.remove(&actor);
            return;
        }
        // Those that this node has yet to hear of are told when it does.
        self.replica.note(Wish::Groups);
        self.catch_up(&mut table);
        table.watchers.insert(actor);
        let registry = table.told.clone().into_iter();
        for (hash, info) in registry.chain(table.valid()) {
            let message = SystemMessage::LoadedSource { hash, info };
            self.router.send_system(actor, message);
        }
    }

    /// Tells all watchers of a source of an application.
    pub(super) fn tell_of_source(&self, hash: SourceHash, info: &str, is_loaded: bool) {
        self.tell(&mut self.applications.table(), hash, info, is_loaded);
    }

    fn tell_changes(&self) {
        let mut table = self.applications.table();
        if !table.watchers.is_empty() {
            self.catch_up(&mut table);
        }
    }

    /// Tells the watchers what has changed in the registry since they were told last.
    fn catch_up(&self, table: &mut Table) {
        let now = self.replica.read(available);
        let before = std::mem::replace(&mut table.told, now.clone());
        for (hash, info) in before.iter().filter(|(hash, _)| !now.contains_key(hash)) {
            self.tell(table, *hash, info, false);
        }
        for (hash, info) in now.iter().filter(|(hash, _)| !before.contains_key(hash)) {
            self.tell(table, *hash, info, true);
        }
    }

    fn tell(&self, table: &mut Table, hash: SourceHash, info: &str, is_loaded: bool) {
        // One that has exited hears nothing more.
        table
            .watchers
            .retain(|actor| self.actors.stage(*actor).is_some());
        for actor in &table.watchers {
            let info = info.to_owned();
            let message = if is_loaded {
                SystemMessage::LoadedSource { hash, info }
            } else {
                SystemMessage::UnloadedSource { hash, info }
            };
            self.router.send_system(*actor, message);
        }
    }
}

/// The loaded sources of the registry, by the names of their files.
pub(super) fn available(state: &State) -> BTreeMap<SourceHash, String> {
    let loaded = state
        .sources
        .iter()
        .filter(|(_, source)| source.state == SourceState::Loaded);
    let named = loaded.map(|(hash, source)| {
        let version = source.version.as_ref().map(|version| format!("-{version}"));
        let info = format!("{}{}.tls", source.group, version.unwrap_or_default());
        (*hash, info)
    });
    named.collect()
}
