//! One node's part in the consensus: propose commands, read the registry, follow its index.
//!
//! Generic over openraft's runtime, the way to other voters and the disk, so that a simulation
//! runs this very code. A voter that is alone elects itself at once and never wakes up while
//! nothing happens; the same open consensus has heartbeats and elections when others come in.
//! Not here: commands' meaning (`convention`), when to propose what (the reconciler), heartbeats
//! and elections (`election`), who votes (`members`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::error::{CheckIsLeaderError, Fatal, RaftError};
use openraft::{AsyncRuntime, Instant as _, Raft, ServerState, TokioRuntime};
use protocol::NodeId;
use protocol::registry::{Command, Outcome, State};
use redb::StorageBackend;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::batch::{self, Answer, Proposal};
use super::config::{Config, Timing};
use super::election::Driver;
use super::error::{FatalError, OpenError, ProposeError, ReadError, Unavailable};
use super::file::{FileError, Identity, RaftFile, on_disk};
use super::log::LogStore;
use super::machine::{Machine, Replica};
use super::network::Network;
use super::peers::{Calls, Peers};
use super::presence::Presence;
use super::snapshot::Image;
use super::standing::Standing;
use super::types::{Index, LeaderId, Membership, TypeConfig};

/// One node's part in the consensus. End it with [`Consensus::shutdown`]: dropping it only closes
/// the file.
pub struct Consensus<R: AsyncRuntime = TokioRuntime> {
    pub(crate) raft: Raft<TypeConfig<R>>,
    file: Arc<RaftFile>,
    replica: Replica,
    proposals: mpsc::Sender<Proposal>,
    pub(crate) propose_limit: Duration,
    pub(crate) timing: Timing,
    pub(crate) calls: Calls,
    pub(crate) presence: Arc<Presence<R>>,
    standing: watch::Receiver<Standing>,
    // Ends the driver.
    stopping: CancellationToken,
    // True once an entry of this run has committed: a leader that restarts fast leads on without
    // an election, and only such an entry proves that nobody else led meanwhile.
    confirmed: watch::Sender<bool>,
    // The term at the opening: a lead of it is an earlier run's, which may have promised things.
    opened_term: OnceLock<u64>,
}

impl<R: AsyncRuntime> Consensus<R> {
    /// Opens the voter's file and takes part. A single voter leads when this returns, and the
    /// registry holds everything that was ever acknowledged.
    ///
    /// # Errors
    /// [`OpenError::File`] when the file is locked, missing, damaged or another's;
    /// [`OpenError::Fatal`] when it fails under use; [`OpenError::NoLeader`].
    pub async fn open<P: Peers>(config: Config, peers: P) -> Result<Self, OpenError> {
        let file = on_disk(|| RaftFile::open(&config.path, config.create()))?;
        Self::start(config, file, Calls::over(peers)).await
    }

    /// As [`Consensus::open`], on a disk of the caller's; `config.path` names it in messages.
    ///
    /// # Errors
    /// As [`Consensus::open`].
    pub async fn open_on<P, B>(config: Config, backend: B, peers: P) -> Result<Self, OpenError>
    where
        P: Peers,
        B: StorageBackend,
    {
        let file = RaftFile::open_backend(&config.path, backend, config.create())?;
        Self::start(config, file, Calls::over(peers)).await
    }

    async fn start(config: Config, file: RaftFile, calls: Calls) -> Result<Self, OpenError> {
        config.check_identity(file.identity())?;
        let file = Arc::new(file);
        let opened = Self::launch(&config, Arc::clone(&file), calls).await;
        if opened.is_err() {
            file.close();
        }
        opened
    }

    async fn launch(config: &Config, file: Arc<RaftFile>, calls: Calls) -> Result<Self, OpenError> {
        let damaged = |error: FileError| FatalError::new(error);
        let (ours, timing) = (file.identity(), config.timing);
        let log = LogStore::<R>::new(Arc::clone(&file)).map_err(damaged)?;
        let machine = Machine::<R>::restore(Arc::clone(&file)).map_err(damaged)?;
        let replica = machine.replica();
        let settings = Arc::new(config.openraft(ours));
        let presence = Arc::new(Presence::new(timing.silence()));
        let network = Network {
            ours,
            calls: calls.clone(),
            presence: Arc::clone(&presence),
            timing,
        };
        let raft = Raft::new(ours.raft, settings, network, log, machine).await;
        let raft = raft.map_err(FatalError::from)?;
        let (publish, standing) = watch::channel(Standing::default());
        let driver = Driver {
            raft: raft.clone(),
            ours,
            calls: calls.clone(),
            presence: Arc::clone(&presence),
            timing,
            standing: publish,
        };
        let stop = CancellationToken::new();
        drop(R::spawn(driver.run(stop.clone())));
        let consensus = Self {
            proposals: batch::spawn::<R>(raft.clone()),
            raft,
            file,
            replica,
            propose_limit: Duration::from_millis(config.propose_limit_ms),
            timing,
            calls,
            presence,
            standing,
            stopping: stop,
            confirmed: watch::Sender::new(false),
            opened_term: OnceLock::new(),
        };
        let identity = ours;
        let begun = consensus.begin(config, identity).await;
        if begun.is_err() {
            consensus.stop().await;
        }
        begun.map(|()| consensus)
    }

    /// Founds an empty log, and brings a single voter into the lead.
    async fn begin(&self, config: &Config, identity: Identity) -> Result<(), OpenError> {
        if identity.founder && !self.raft.is_initialized().await.map_err(FatalError::from)? {
            let voters = BTreeMap::from([(identity.raft, config.voter.clone())]);
            match self.raft.initialize(voters).await {
                Ok(()) => tracing::info!(convention = %identity.convention, "convention founded"),
                Err(error) => return Err(FatalError::new(error).into()),
            }
        }
        let me = identity.raft;
        let voters = self.raft.with_raft_state(move |state| {
            let membership = state.membership_state.effective();
            let term = state.vote_ref().leader_id().term;
            (membership.voter_ids().eq([me]), term)
        });
        let (alone, term) = voters.await.map_err(FatalError::from)?;
        self.opened_term.get_or_init(|| term);
        if !alone {
            return Ok(());
        }
        self.lead().await?;
        match self.confirm().await {
            Ok(_index) => Ok(()),
            Err(ReadError::Fatal(fatal)) => Err(fatal.into()),
            Err(ReadError::Unavailable(_)) => Err(self.no_leader()),
        }
    }

    async fn lead(&self) -> Result<(), OpenError> {
        let mut standing = self.raft.server_metrics();
        let elected = async {
            while standing.borrow_and_update().state != ServerState::Leader {
                if standing.changed().await.is_err() {
                    break;
                }
            }
        };
        // A failing disk ends openraft, and with it the channel that is waited on.
        let waited = R::timeout(self.propose_limit, elected).await;
        self.check_running()?;
        waited.map_err(|_elapsed| self.no_leader())
    }

    /// Has `command` carried out by a majority of voters, durably.
    ///
    /// # Errors
    /// [`ProposeError`]: refused, unavailable, unknown and fatal are told apart there.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the outcome unknown, as a time-out does.
    pub async fn propose(&self, command: Command) -> Result<(Index, Outcome), ProposeError> {
        match self.submit(Some(command)).await? {
            (_, Some(Outcome::Refused(refusal))) => Err(refusal.into()),
            (index, Some(outcome)) => Ok((index, outcome)),
            (_, None) => Err(ProposeError::Unknown { waited_ms: 0 }),
        }
    }

    /// Makes reads that follow see everything that was acknowledged anywhere before this call.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] when this node does not lead, or no longer for sure;
    /// [`ReadError::Fatal`].
    pub async fn linearizable(&self) -> Result<Index, ReadError> {
        if !*self.confirmed.borrow() {
            return self.confirm().await;
        }
        match self.raft.ensure_linearizable().await {
            Ok(id) => Ok(Index(id.map_or(0, |id| id.index))),
            Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward))) => {
                Err(Unavailable::from(forward).into())
            }
            Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => {
                Err(Unavailable::because(NO_MAJORITY).into())
            }
            Err(RaftError::Fatal(Fatal::Stopped)) => Err(STOPPED.into()),
            Err(RaftError::Fatal(fatal)) => Err(FatalError::from(fatal).into()),
        }
    }

    /// Reads the registry as this node has applied it. Keep it short: applying waits meanwhile.
    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        self.replica.read(read)
    }

    /// As [`Consensus::read`], with the index that the registry stands at.
    pub fn read_at<T>(&self, read: impl FnOnce(u64, &State) -> T) -> T {
        self.replica.read_at(read)
    }

    /// The last applied index, as it moves; what [`Consensus::read`] shows is never older.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.replica.index()
    }

    /// Who leads and who votes, as it changes.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Whether this node leads, as far as it knows; `Standing::leads` also asks for a majority.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.raft.server_metrics().borrow().state == ServerState::Leader
    }

    /// When that was sent which a majority of the voters has acknowledged last: until then nobody
    /// else was elected. `None`: this node does not lead, or nobody has acknowledged anything yet.
    #[must_use]
    pub fn majority_at(&self) -> Option<R::Instant> {
        let metrics = self.raft.server_metrics().borrow().clone();
        let leads = metrics.state == ServerState::Leader;
        let at = || {
            let membership = &metrics.membership_config;
            self.presence.majority_at(self.identity().raft, membership)
        };
        leads.then(at).flatten()
    }

    /// Whose entries stand in the log right before those of this lead, and of earlier leads of this
    /// run that nobody else's came between: nobody else has committed anything since. `None`: this
    /// node has committed nothing in its lead yet, it goes on with the lead of an earlier run, or
    /// the other is no voter any more.
    #[must_use]
    pub fn led_before(&self) -> Option<NodeId> {
        let metrics = self.raft.server_metrics().borrow().clone();
        let (me, opened) = (self.identity().raft, *self.opened_term.get()?);
        let of_this_run = |lead: &LeaderId| lead.node_id == me && lead.term > opened;
        let mut leads = self.replica.leads().into_iter();
        let leads_now = metrics.state == ServerState::Leader
            && leads.next().is_some_and(|lead| {
                of_this_run(&lead) && lead.term == metrics.vote.leader_id().term
            });
        let before = leads.find(|lead| !of_this_run(lead))?;
        let membership = metrics.membership_config.membership();
        let voter = membership.get_node(&before.node_id)?;
        leads_now.then_some(voter.node)
    }

    pub(crate) fn image(&self) -> Image {
        self.replica.image()
    }

    /// Whose file this is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.file.identity()
    }

    /// Waits until consensus stops for good and says why; the node must stop then. After
    /// [`Consensus::shutdown`] it waits for ever.
    pub async fn failed(&self) -> FatalError {
        let mut metrics = self.raft.metrics();
        loop {
            match self.check_running() {
                Err(fatal) => return fatal,
                Ok(()) => {
                    if metrics.changed().await.is_err() && self.check_running().is_ok() {
                        return std::future::pending().await;
                    }
                }
            }
        }
    }

    /// Takes a snapshot now; entries that it covers are purged as the settings say.
    ///
    /// # Errors
    /// [`FatalError`] when consensus has stopped.
    pub async fn snapshot(&self) -> Result<(), FatalError> {
        Ok(self.raft.trigger().snapshot().await?)
    }

    /// Stops; the file can be opened anew when this returns. Proposals under way become unknown.
    pub async fn shutdown(&self) {
        self.stop().await;
    }

    async fn stop(&self) {
        self.stopping.cancel();
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "consensus ended by a panic");
        }
        on_disk(|| self.file.close());
    }

    /// Has an empty entry of this run committed.
    async fn confirm(&self) -> Result<Index, ReadError> {
        match self.submit(None).await {
            Ok((index, _)) => Ok(index),
            Err(ProposeError::Fatal(fatal)) => Err(fatal.into()),
            Err(ProposeError::Unavailable(unavailable)) => Err(unavailable.into()),
            Err(ProposeError::Unknown { .. } | ProposeError::Refused(_)) => {
                Err(Unavailable::because(NO_MAJORITY).into())
            }
        }
    }

    async fn submit(&self, command: Option<Command>) -> Answer {
        self.check_lead()?;
        let (answer, receiver) = oneshot::channel();
        let proposal = Proposal { command, answer };
        match self.proposals.try_send(proposal) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return Err(Unavailable::because("too many proposals wait").into());
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                self.check_running()?;
                return Err(STOPPED.into());
            }
        }
        let begun = R::Instant::now();
        match R::timeout(self.propose_limit, receiver).await {
            Ok(Ok(answer)) => {
                let done = answer?;
                self.confirmed
                    .send_if_modified(|it| !std::mem::replace(it, true));
                Ok(done)
            }
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown {
                waited_ms: millis(begun.elapsed()),
            }),
        }
    }

    /// Refuses what only a leader with a majority may do, as far as that is known here.
    pub(crate) fn check_lead(&self) -> Result<(), Unavailable> {
        let metrics = self.raft.server_metrics().borrow().clone();
        if metrics.state != ServerState::Leader {
            return Ok(());
        }
        let membership = &metrics.membership_config;
        let me = self.identity().raft;
        if self.presence.is_yielding() {
            return Err(Unavailable::because("this node hands over the lead"));
        }
        if !membership.voter_ids().any(|voter| voter == me) {
            return Err(Unavailable::because("this node is no voter any more"));
        }
        if !self.quorum_answers(membership) {
            return Err(Unavailable::because(NO_MAJORITY));
        }
        Ok(())
    }

    pub(crate) fn quorum_answers(&self, membership: &Membership) -> bool {
        self.presence
            .quorum_answers(self.identity().raft, membership)
    }

    /// Why openraft has stopped.
    pub(crate) fn stopped(&self) -> FatalError {
        self.check_running()
            .err()
            .unwrap_or_else(|| FatalError::of(&STOPPED))
    }

    fn check_running(&self) -> Result<(), FatalError> {
        match &self.raft.metrics().borrow().running_state {
            Ok(()) | Err(Fatal::Stopped) => Ok(()),
            Err(fatal) => Err(fatal.clone().into()),
        }
    }

    fn no_leader(&self) -> OpenError {
        OpenError::NoLeader {
            waited_ms: millis(self.propose_limit),
        }
    }
}

impl<R: AsyncRuntime> Drop for Consensus<R> {
    /// Lets go of the file; what is still under way becomes fatal or unknown.
    fn drop(&mut self) {
        self.stopping.cancel();
        self.file.close();
    }
}

impl<R: AsyncRuntime> fmt::Debug for Consensus<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consensus")
            .field("identity", &self.identity())
            .field("leader", &self.is_leader())
            .finish_non_exhaustive()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const NO_MAJORITY: &str = "no majority of the voters answers";

pub(crate) const STOPPED: Unavailable = Unavailable {
    reason: "this node is stopping",
    not_leader: None,
};
