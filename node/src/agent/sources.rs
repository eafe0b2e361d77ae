//! Code on this host: sources unpacked, their interpreter, their forkservers prepared.
//!
//! A source is verified by this node's own authority and unpacked before anything of it is
//! imported; that happens once, whoever asks first.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use package::Verified;
use protocol::control::{ActorFailure, FailureCode, Origin, PreparedClass};
use protocol::definition::Preload;
use protocol::{GroupDefinition, SourceHash};
use pyliteral::Value;
use tokio::sync::OnceCell;

use super::capabilities::Capabilities;
use super::node::Node;
use crate::authority::SourceAuthority;
use crate::hosting::{
    Hosting, Interpreter, OriginSetup, PrepareRequest, PythonPolicy, UnpackError, folder_of,
    remove_unpacked, unpack,
};
use crate::store::PackageStore;

/// The sources of a node as far as they can run here.
#[derive(Debug)]
pub(crate) struct Sources {
    state: PathBuf,
    policy: PythonPolicy,
    python_path: Vec<PathBuf>,
    pub(super) offered: Capabilities,
    resolved: Mutex<HashMap<PathBuf, Interpreter>>,
    // Held for look-ups only; the work is done inside the cells.
    ready: Mutex<HashMap<SourceHash, Arc<OnceCell<Ready>>>>,
    notes: Mutex<HashMap<SourceHash, String>>,
}

/// A source that can be imported.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    setup: OriginSetup,
    notes: Vec<String>,
}

/// What [`Sources`] needs to know.
#[derive(Debug)]
pub(crate) struct SourcesConfig {
    pub(crate) state: PathBuf,
    pub(crate) policy: PythonPolicy,
    pub(crate) python_path: Vec<PathBuf>,
    pub(crate) other_capabilities: Value,
    pub(crate) port: u16,
    pub(crate) start_ms: u64,
}

impl Sources {
    /// No source is ready yet.
    pub(crate) fn new(config: SourcesConfig) -> Self {
        let SourcesConfig {
            state,
            policy,
            python_path,
            ..
        } = &config;
        Self {
            state: state.clone(),
            policy: policy.clone(),
            python_path: python_path.clone(),
            offered: Capabilities::new(config.port, config.start_ms, &config.other_capabilities),
            resolved: Mutex::default(),
            ready: Mutex::default(),
            notes: Mutex::default(),
        }
    }

    /// The interpreter for a group's actors, and for the node itself without a group; resolved
    /// once. Blocks the first time.
    pub(crate) fn interpreter(&self, group: Option<&str>) -> Result<Interpreter, String> {
        let program = self
            .policy
            .choose(group)
            .map_err(|error| error.to_string())?;
        let known = || self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(interpreter) = known().get(&program) {
            return Ok(interpreter.clone());
        }
        let resolved = crate::hosting::resolve(&program, &self.state);
        let interpreter = resolved.map_err(|error| error.to_string())?;
        known().insert(program, interpreter.clone());
        Ok(interpreter)
    }

    /// The node's capabilities, a dictionary literal.
    pub(crate) fn capabilities(&self) -> String {
        self.offered.literal(self.interpreter(None).ok().as_ref())
    }

    /// Why the actors of a source import one by one, if they do.
    pub(crate) fn note(&self, source: SourceHash) -> Option<String> {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&source)
            .cloned()
    }

    /// Whether the unpacked source has this module.
    pub(crate) fn has_module(&self, source: SourceHash, module: &str) -> bool {
        has_module(&folder_of(&self.state, &source), module)
    }

    /// Forgets a source that is no longer loaded, its forkserver and unpacked files included.
    pub(crate) async fn forget(&self, hosting: &Hosting, source: SourceHash) {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&source);
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&source);
        hosting.forget(&Origin::Source(source)).await;
        let state = self.state.clone();
        let removed = tokio::task::spawn_blocking(move || remove_unpacked(&state, &source)).await;
        if let Ok(Err(cause)) = removed {
            tracing::warn!(hash = %source.short(), %cause, "unpacked files stay behind");
        }
    }

    /// Makes an origin's code ready to run actors.
    pub(crate) async fn set_up(&self, node: &Node, origin: &Origin) -> Result<(), ActorFailure> {
        let Origin::Source(hash) = origin else {
            return Ok(());
        };
        let known = node.replica.read(|state| {
            let source = state.sources.get(hash)?;
            Some((source.group.clone(), source.definition.clone()))
        });
        let Some((group, definition)) = known else {
            return node.application_code(*hash).await.map(drop);
        };
        let cell = self.cell(*hash);
        let fresh = cell.get().is_none();
        let ready = self.ready(node, *hash, &group).await?;
        if fresh {
            // Only to import once for all; each actor reports its own failures.
            let sets = vec![node.capabilities()];
            let _looked_at = self.prepare(node, *hash, ready.setup, &definition, sets);
            let _looked_at = _looked_at.await;
        }
        Ok(())
    }

    /// Imports a source's classes and evaluates their checks against each of these sets of
    /// capabilities; what does not fit is in the answer.
    pub(crate) async fn look_at(
        &self,
        node: &Node,
        source: SourceHash,
        group: &str,
        definition: &GroupDefinition,
        capability_sets: Vec<String>,
    ) -> Result<(Vec<PreparedClass>, Vec<String>), ActorFailure> {
        let ready = self.ready(node, source, group).await?;
        if definition.actors.is_empty() {
            return Ok((Vec::new(), ready.notes));
        }
        let looked_at = self.prepare(node, source, ready.setup, definition, capability_sets);
        Ok((looked_at.await?, ready.notes))
    }

    /// As [`look_at`](Self::look_at), for a program's own modules and sources of applications.
    pub(crate) async fn look_at_program(
        &self,
        node: &Node,
        origin: &Origin,
        definition: &GroupDefinition,
        capability_sets: Vec<String>,
    ) -> Result<Vec<PreparedClass>, ActorFailure> {
        let setup = match origin {
            Origin::Source(hash) => node.application_code(*hash).await?,
            Origin::Client(client) => OriginSetup {
                origin: origin.clone(),
                interpreter: client.interpreter.clone().into(),
                path: Vec::new(),
            },
        };
        let request = prepare_request(definition, capability_sets);
        Ok(node.hosting.prepare(setup, request).await?.classes)
    }

    async fn prepare(
        &self,
        node: &Node,
        source: SourceHash,
        setup: OriginSetup,
        definition: &GroupDefinition,
        capability_sets: Vec<String>,
    ) -> Result<Vec<PreparedClass>, ActorFailure> {
        let request = prepare_request(definition, capability_sets);
        let prepared = node.hosting.prepare(setup, request).await?;
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = prepared.per_actor {
            notes.insert(source, why);
        }
        Ok(prepared.classes)
    }

    /// What a worker of the source in this folder has in front of its `sys.path`.
    pub(super) fn path_with(&self, folder: PathBuf) -> Vec<PathBuf> {
        let rest = self.python_path.iter().cloned();
        [folder].into_iter().chain(rest).collect()
    }

    fn cell(&self, source: SourceHash) -> Arc<OnceCell<Ready>> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(ready.entry(source).or_default())
    }

    async fn ready(
        &self,
        node: &Node,
        source: SourceHash,
        group: &str,
    ) -> Result<Ready, ActorFailure> {
        let cell = self.cell(source);
        let make = async || {
            let interpreter = self.interpreter(Some(group)).map_err(failed)?;
            let job = Unpack {
                authority: node.authority.clone(),
                store: node.store.clone(),
                source,
                state: self.state.clone(),
                interpreter: interpreter.clone(),
            };
            let done = tokio::task::spawn_blocking(move || job.run()).await;
            let (folder, notes) = match done.map_err(|error| failed(error.to_string()))? {
                Ok(unpacked) => unpacked,
                Err(failure) => {
                    let damaged = node.packages.doubt(source).await;
                    return Err(damaged.map_or(failure, |fault| failed(fault.to_string())));
                }
            };
            let path = self.path_with(folder);
            let origin = Origin::Source(source);
            let setup = OriginSetup {
                origin,
                interpreter: interpreter.executable,
                path,
            };
            node.hosting.set_up(setup.clone()).await;
            Ok(Ready { setup, notes })
        };
        cell.get_or_try_init(make).await.cloned()
    }
}

/// Whether the source in this folder has a module.
pub(super) fn has_module(folder: &Path, module: &str) -> bool {
    let path = folder.join(module.replace('.', "/"));
    path.with_extension("py").is_file() || path.join("__init__.py").is_file()
}

/// Verifies and unpacks one source; blocks.
struct Unpack {
    authority: SourceAuthority,
    store: PackageStore,
    source: SourceHash,
    state: PathBuf,
    interpreter: Interpreter,
}

impl Unpack {
    fn run(self) -> Result<(PathBuf, Vec<String>), ActorFailure> {
        let mut package = File::open(self.store.path(self.source))
            .map_err(|error| failed(format!("source {}: {error}", self.source.short())))?;
        let trusted = self
            .authority
            .verify_opened(&mut package)
            .map_err(|error| {
                failed(format!(
                    "source {} is not trusted here: {error}",
                    self.source.short()
                ))
            })?;
        if Verified::hash(&trusted.verified) != self.source {
            return Err(failed(format!(
                "the store's file for source {} holds other bytes",
                self.source.short()
            )));
        }
        let unpacked = unpack(
            &self.state,
            &mut package,
            &trusted.verified,
            &self.interpreter,
        )
        .map_err(|error| not_unpacked(&error))?;
        let mut notes = trusted.warnings;
        notes.extend(unpacked.warnings);
        Ok((unpacked.folder, notes))
    }
}

fn not_unpacked(error: &UnpackError) -> ActorFailure {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    failed(format!("{error}{}", cause.unwrap_or_default()))
}

fn failed(message: String) -> ActorFailure {
    ActorFailure {
        code: FailureCode::Failure,
        message,
        traceback: None,
    }
}

fn prepare_request(definition: &GroupDefinition, capability_sets: Vec<String>) -> PrepareRequest {
    let actors = &definition.actors;
    PrepareRequest {
        classes: actors.iter().map(|actor| actor.class.clone()).collect(),
        capability_sets,
        requirements: actors
            .iter()
            .map(|actor| actor.requirements.clone())
            .collect(),
        preload: actors.iter().all(|actor| actor.preload == Preload::Once),
    }
}
