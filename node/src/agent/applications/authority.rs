//! The source authority of an application: an actor that is asked whether a source may run.
//!
//! It is asked as well as the node's own authority, which comes first and alone decides what the
//! source contains. Only on a node that a program started for itself, which has no keys, the
//! application's authority alone decides, and its zip is what runs.
//! Source: Thespian `registerSourceAuthority`, `ValidateSource`, `ValidatedSource`.

use std::path::Path;

use protocol::control::SystemMessage;
use protocol::{ActorId, SourceHash};
use tokio::sync::oneshot;

use super::super::actors::Stage;
use super::super::node::Node;
use crate::store::Arrived;

/// What an application's authority says of a source.
#[derive(Debug)]
pub(in crate::agent) enum Verdict {
    /// It may run, with this zip.
    Accepted(Arrived),
    /// It may not.
    Rejected,
    /// There is no authority.
    Nobody,
    /// The authority ended, or did not answer in time.
    Silent,
}

impl Node {
    /// An actor becomes the authority, in place of the one before.
    pub(in crate::agent) fn register_authority(&self, actor: ActorId) {
        tracing::info!(%actor, "source authority registered");
        self.applications.table().authority = Some(actor);
    }

    /// Whether an actor is the authority now.
    pub(in crate::agent) fn has_authority(&self) -> bool {
        let authority = self.applications.table().authority;
        authority.is_some_and(|authority| self.actors.stage(authority).is_some())
    }

    /// Asks the authority about the source in this file, if there is one.
    pub(in crate::agent) async fn ask_authority(
        &self,
        hash: SourceHash,
        path: &Path,
        info: &str,
    ) -> Verdict {
        let Some(authority) = self.applications.table().authority else {
            return Verdict::Nobody;
        };
        let Some(mut stage) = self.actors.stage(authority) else {
            return Verdict::Nobody;
        };
        let (asked, answer) = oneshot::channel();
        self.applications.table().asked.insert(hash, asked);
        let message = SystemMessage::ValidateSource {
            hash,
            path: path.to_string_lossy().into_owned(),
            info: info.to_owned(),
        };
        self.router.send_system(authority, message);
        let verdict = tokio::select! {
            biased;
            verdict = answer => verdict.unwrap_or(Verdict::Silent),
            _ended = stage.wait_for(|stage| *stage == Stage::Ended) => Verdict::Silent,
            () = tokio::time::sleep(self.patience.authority) => Verdict::Silent,
        };
        self.applications.table().asked.remove(&hash);
        verdict
    }

    /// The authority has answered; what anyone else answers counts for nothing.
    pub(in crate::agent) fn authority_answered(
        &self,
        actor: ActorId,
        hash: SourceHash,
        zip: Option<Arrived>,
    ) {
        let mut table = self.applications.table();
        if table.authority != Some(actor) {
            tracing::warn!(%actor, hash = %hash.short(), "it is not the source authority");
            return;
        }
        if let Some(asked) = table.asked.remove(&hash) {
            // Who asked may have given up.
            let _late = asked.send(zip.map_or(Verdict::Rejected, Verdict::Accepted));
        }
    }
}
