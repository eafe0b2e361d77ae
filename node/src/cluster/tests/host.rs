//! A node in a directory of its own, and what a test looks at.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leader::reconcile::Replica;
use protocol::Stamp;
use protocol::registry::{Command, KeyDigest, Member, MemberCommand, Outcome};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use transport::token::JoinToken;

use crate::agent::node::{Node, stamp};
use crate::agent::{Agent, Options};
use crate::directory::Directory;

/// Longer than anything here takes on a loaded machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A running node.
pub(crate) struct Host {
    pub(crate) folder: TempDir,
    pub(crate) node: Arc<Node>,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), leader::FatalError>>,
}

impl Host {
    /// A node that founds a convention.
    pub(crate) async fn found(name: &str) -> Self {
        Self::start(tempfile::tempdir().unwrap(), &[("nodename.cfg", name)]).await
    }

    /// A node that joins the convention of `leader` with this token.
    pub(crate) async fn join(name: &str, leader: &Self, token: &str) -> Self {
        let address = leader.address();
        let settings = [
            ("nodename.cfg", name),
            ("convleader.cfg", address.as_str()),
            ("convtoken.cfg", token),
        ];
        let host = Self::start(tempfile::tempdir().unwrap(), &settings).await;
        host.until(|host| host.is_member()).await;
        host
    }

    /// A node with these settings; it may still be waiting for its convention.
    pub(crate) async fn start(folder: TempDir, settings: &[(&str, &str)]) -> Self {
        if std::env::var_os("DIRECTOR_LOG").is_some() {
            let filter = tracing_subscriber::EnvFilter::from_env("DIRECTOR_LOG");
            let log = tracing_subscriber::fmt().with_env_filter(filter);
            let _again = log.with_writer(std::io::stderr).try_init();
        }
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("adminport.cfg", "0");
        write("listen.cfg", "127.0.0.1");
        for (name, text) in settings {
            write(name, text);
        }
        let options = Options {
            directory: Directory::at(folder.path()),
            python_hint: None,
            found: false,
            warnings: None,
        };
        let started = timeout(LONG, Agent::start(options)).await;
        let agent = started.expect("a start ends").unwrap();
        let node = Arc::clone(agent.node());
        let shutdown = CancellationToken::new();
        let ended = tokio::spawn(agent.serve(shutdown.clone()));
        Self {
            folder,
            node,
            shutdown,
            ended,
        }
    }

    /// Stops it in order; the folder stays.
    pub(crate) async fn stop(self) -> TempDir {
        self.shutdown.cancel();
        let ended = timeout(LONG, self.ended).await;
        ended.expect("a stop ends").unwrap().unwrap();
        self.folder
    }

    /// Starts it again in the same folder.
    pub(crate) async fn restart(self) -> Self {
        let folder = self.stop().await;
        Self::start(folder, &[]).await
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn address(&self) -> String {
        self.node.membership.address().to_owned()
    }

    /// Whether its convention knows this run, and it holds a lease.
    pub(crate) fn is_member(&self) -> bool {
        let lease = self.node.membership.lease.state();
        let known = self
            .member_of(self)
            .is_some_and(|member| member.incarnation == self.node.incarnation);
        known && lease.borrow().serves()
    }

    /// What this node knows of another.
    pub(crate) fn member_of(&self, other: &Self) -> Option<Member> {
        self.node
            .replica
            .read(|state| state.members.get(&other.node.id).cloned())
    }

    /// What keeps it from its convention.
    pub(crate) fn trouble(&self) -> String {
        let trouble = self.node.membership.trouble.borrow().clone();
        trouble.unwrap_or_default()
    }

    /// Waits until something holds of it.
    pub(crate) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = timeout(LONG, waiting).await;
        assert!(waited.is_ok(), "it never held; trouble: {}", self.trouble());
    }

    /// What its audit says, as `what: subject`.
    pub(crate) fn audit(&self) -> Vec<String> {
        self.node.replica.read(|state| {
            let entries = state.roll.audit.iter();
            entries
                .map(|entry| format!("{}: {} ({})", entry.what, entry.subject, entry.detail))
                .collect()
        })
    }

    /// Waits until the audit tells of this.
    pub(crate) async fn until_audit(&self, part: &str) {
        self.until(|host| host.audit().iter().any(|entry| entry.contains(part)))
            .await;
    }

    pub(crate) async fn propose(&self, command: MemberCommand) -> Outcome {
        let proposed = self.node.replica.propose(Command::Member(command)).await;
        proposed.unwrap().1
    }

    /// A token that is good for some uses.
    pub(crate) async fn token(&self, uses: u32, ttl_ms: u64) -> String {
        let authority = self.node.membership.identity().authority_key().unwrap();
        let token = JoinToken::draw(authority).unwrap();
        let issue = MemberCommand::Issue {
            id: token.id.to_string(),
            secret: KeyDigest(token.secret.hash().0),
            uses,
            expires: Stamp(stamp().0 + ttl_ms),
            authority: KeyDigest(authority.0),
            by: "a test".to_owned(),
            stamp: stamp(),
        };
        assert_eq!(self.propose(issue).await, Outcome::Done);
        token.reveal()
    }
}
