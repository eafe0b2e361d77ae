//! An application's source from its bytes to code that actors run, and its end.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;

use package::{Limits, Verified};
use protocol::control::{ActorFailure, FailureCode, Origin};
use protocol::view::Wish;
use protocol::{NodeId, SourceHash};

use super::super::actors::Stage;
use super::super::node::Node;
use super::authority::Verdict;
use super::table::{Code, Content, Standing, Unloaded};
use crate::hosting::{OriginSetup, remove_unpacked, unpack, unpack_plain};
use crate::store::{Arrived, StoreError};

impl Node {
    /// Begins to load a source; actors can be created from it once it has been judged.
    pub(in crate::agent) fn take_source(
        self: &Arc<Self>,
        hash: SourceHash,
        info: String,
        package: impl Future<Output = Result<Arrived, StoreError>> + Send + 'static,
    ) {
        let brought = async {
            let package = package.await.map_err(|error| error.to_string())?;
            Ok(Brought { package, zip: None })
        };
        self.take_brought(hash, info, None, brought);
    }

    /// As [`take_source`](Self::take_source), from a member or an application.
    pub(super) fn take_brought(
        self: &Arc<Self>,
        hash: SourceHash,
        info: String,
        from: Option<NodeId>,
        brought: impl Future<Output = Result<Brought, String>> + Send + 'static,
    ) {
        if self.replica.read(|state| state.sources.contains_key(&hash)) {
            tracing::info!(hash = %hash.short(), info, "source is loaded already");
            return;
        }
        let Some(load) = self.applications.begin(hash, &info, from) else {
            tracing::info!(hash = %hash.short(), info, "source is loaded already");
            return;
        };
        let node = Arc::clone(self);
        self.tasks.spawn(async move {
            let judging = async {
                let _not_told = node.replica.want(Wish::Source(hash)).await;
                if node.replica.read(|state| state.sources.contains_key(&hash)) {
                    return Err("the convention has it loaded already".to_owned());
                }
                let brought = brought.await?;
                node.judge(hash, brought, &info).await
            };
            let Some(judged) = node.shutdown.run_until_cancelled(judging).await else {
                return;
            };
            if let Err(reason) = &judged {
                tracing::warn!(hash = %hash.short(), info, reason, "source not accepted");
            }
            if let Ok(content) = &judged {
                node.lend(content);
            }
            if node.applications.settle(hash, load, judged.ok()) {
                tracing::info!(hash = %hash.short(), info, ?from, "application source loaded");
                node.tell_of_source(hash, &info, true);
                // Unpacked before anyone asks; who does reports the failure.
                let _early = node.application_code(hash).await;
            }
        });
    }

    /// Whether a source may run here, and what it then consists of.
    async fn judge(
        &self,
        hash: SourceHash,
        brought: Brought,
        info: &str,
    ) -> Result<Content, String> {
        let Brought { package, zip } = brought;
        if package.hash() != hash {
            return Err(format!(
                "its bytes have the hash {}",
                package.hash().short()
            ));
        }
        let verified = if self.directory.is_private() {
            None
        } else {
            Some(self.verify(package.path().to_owned()).await?)
        };
        let package = Arc::new(package);
        match (
            self.ask_authority(hash, package.path(), info).await,
            verified,
        ) {
            (Verdict::Rejected, _) => {
                Err("the application's source authority rejects it".to_owned())
            }
            (Verdict::Silent, _) => Err("its source authority did not answer".to_owned()),
            (Verdict::Nobody, None) => match zip {
                // What the convention has validated.
                Some(zip) => Ok(Content::new(package, Code::Zip(checked(zip).await?))),
                None => Err("no actor is registered as source authority".to_owned()),
            },
            (Verdict::Nobody | Verdict::Accepted(_), Some(verified)) => {
                Ok(Content::new(package, Code::Package(Box::new(verified))))
            }
            (Verdict::Accepted(zip), None) => {
                let zip = checked(zip).await?;
                Ok(Content::new(package, Code::Zip(zip)))
            }
        }
    }

    fn lend(&self, content: &Content) {
        self.packages.lend(&content.package);
        if let Code::Zip(zip) = &content.code {
            self.packages.lend(zip);
        }
    }

    async fn verify(&self, path: std::path::PathBuf) -> Result<Verified, String> {
        let authority = self.authority.clone();
        let verifying = tokio::task::spawn_blocking(move || authority.verify(&path));
        let trusted = verifying.await.map_err(|error| error.to_string())?;
        Ok(trusted.map_err(|error| error.to_string())?.verified)
    }

    /// Makes the code of an application's source ready to run actors, once it has been judged.
    pub(in crate::agent) async fn application_code(
        &self,
        hash: SourceHash,
    ) -> Result<OriginSetup, ActorFailure> {
        let no_source = || ActorFailure {
            code: FailureCode::InvalidSourceHash,
            message: format!("source {} is not loaded", hash.short()),
            traceback: None,
        };
        let mut standing = self.applications.standing(hash).ok_or_else(no_source)?;
        let reached = standing.wait_for(|standing| !matches!(standing, Standing::Pending));
        let reached = reached.await.map(|standing| standing.clone());
        let (Ok(Standing::Valid(content)) | Ok(Standing::Unloaded(content))) = reached else {
            return Err(no_source());
        };
        let _stay = self.applications.files_of(hash).read_owned().await;
        let make = async || self.unpack(hash, Arc::clone(&content)).await;
        let setup = content.ready.get_or_try_init(make).await?;
        self.hosting.set_up(setup.clone()).await;
        Ok(setup.clone())
    }

    async fn unpack(
        &self,
        hash: SourceHash,
        content: Arc<Content>,
    ) -> Result<OriginSetup, ActorFailure> {
        let interpreter = self.sources.interpreter(None).map_err(failed)?;
        let executable = interpreter.executable.clone();
        let folder = self.applications.folder.clone();
        let unpacking = tokio::task::spawn_blocking(move || {
            let mut file = File::open(content.code.path(&content.package))
                .map_err(|error| error.to_string())?;
            let unpacked = match &content.code {
                Code::Package(verified) => unpack(&folder, &mut file, verified, &interpreter),
                Code::Zip(_) => unpack_plain(&folder, hash, &mut file, &interpreter),
            };
            unpacked.map_err(|error| error.to_string())
        });
        let unpacked = unpacking.await.map_err(|error| failed(error.to_string()))?;
        let unpacked = unpacked.map_err(failed)?;
        for warning in &unpacked.warnings {
            tracing::warn!(hash = %hash.short(), warning, "source of an application");
        }
        Ok(OriginSetup {
            origin: Origin::Source(hash),
            interpreter: executable,
            path: self.sources.path_with(unpacked.folder),
        })
    }

    /// Takes an application's source out of resolution; its actors go on. Answers which members
    /// took it over from here; `None`: there is none with this hash.
    pub(in crate::agent) fn unload_source(
        self: &Arc<Self>,
        hash: SourceHash,
    ) -> Option<BTreeSet<NodeId>> {
        match self.applications.unload(hash) {
            Unloaded::Unknown => None,
            Unloaded::Pending => Some(BTreeSet::new()),
            Unloaded::Valid { info, lent_to } => {
                tracing::info!(hash = %hash.short(), info, "source unloaded by an application");
                self.tell_of_source(hash, &info, false);
                let node = Arc::clone(self);
                self.tasks.spawn(async move {
                    let stopping = node.shutdown.clone();
                    stopping
                        .run_until_cancelled(node.clear_application(hash))
                        .await
                });
                Some(lent_to)
            }
        }
    }

    /// Removes the code of an unloaded source once its last actor has ended.
    async fn clear_application(&self, hash: SourceHash) {
        let _turn = loop {
            while let Some(actor) = self.actors.of_source(hash).first() {
                if let Some(mut stage) = self.actors.stage(*actor) {
                    // An error means that it has left the table.
                    let _gone = stage.wait_for(|stage| *stage == Stage::Ended).await;
                }
                tokio::task::yield_now().await;
            }
            let turn = self.applications.files_of(hash).write_owned().await;
            if self.actors.of_source(hash).is_empty() {
                break turn;
            }
        };
        if !self.applications.forget(hash) {
            return;
        }
        if !self.replica.read(|state| state.sources.contains_key(&hash)) {
            self.hosting.forget(&Origin::Source(hash)).await;
        }
        let folder = self.applications.folder.clone();
        let removed = tokio::task::spawn_blocking(move || remove_unpacked(&folder, &hash)).await;
        if let Ok(Err(cause)) = removed {
            tracing::warn!(hash = %hash.short(), %cause, "unpacked files stay behind");
        }
    }
}

/// The bytes of a source as they came.
#[derive(Debug)]
pub(super) struct Brought {
    /// As they were loaded first.
    pub(super) package: Arrived,
    /// From a member of the same user: the zip that its authority made of them.
    pub(super) zip: Option<Arrived>,
}

/// The zip that an authority answered, if it is one.
async fn checked(zip: Arrived) -> Result<Arc<Arrived>, String> {
    let checking = tokio::task::spawn_blocking(move || {
        let mut file = File::open(zip.path()).map_err(|error| error.to_string())?;
        package::plain_contents(&mut file, &Limits::default())
            .map(|_members| Arc::new(zip))
            .map_err(|error| format!("what its source authority answered is no zip: {error}"))
    });
    checking.await.map_err(|error| error.to_string())?
}

fn failed(message: String) -> ActorFailure {
    ActorFailure {
        code: FailureCode::Failure,
        message,
        traceback: None,
    }
}
