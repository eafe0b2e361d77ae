//! A node in a directory of its own, with packages made on the spot.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use node::agent::{Agent, Options};
use node::client::{AskEnd, Client, ClientError, ReplyContent, Target};
use node::directory::{Directory, NodeRecord};
use package::{Builder, Format, PrivateKey};
use protocol::control::{Match, Request, Response};
use protocol::{RequestId, RoleId};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running node; ends with the test.
pub(crate) struct Host {
    pub(crate) folder: TempDir,
    record: NodeRecord,
    shutdown: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

/// A Python source and what the Director does with it.
pub(crate) struct Application<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) tli: &'a str,
    pub(crate) files: &'a [(&'a str, &'a str)],
}

impl Host {
    /// A node that trusts the tests' key.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("adminport.cfg"), "0").unwrap();
        fs::write(
            folder.path().join("test_tls.key"),
            key().public_pem().unwrap(),
        )
        .unwrap();
        Self::start_in(folder).await
    }

    async fn start_in(folder: TempDir) -> Self {
        let directory = Directory::at(folder.path());
        let agent = Agent::start(Options {
            directory,
            python_hint: None,
        })
        .await
        .unwrap();
        let record = agent.record();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(agent.serve(shutdown.clone()));
        Self {
            folder,
            record,
            shutdown,
            serving: Some(serving),
        }
    }

    /// Stops the node in order and starts it again in the same directory.
    pub(crate) async fn restart(mut self) -> Self {
        self.stop().await;
        Self::start_in(self.folder).await
    }

    /// Stops the node in order.
    pub(crate) async fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(serving) = self.serving.take() {
            serving.await.unwrap();
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.record.socket).await.unwrap()
    }

    /// Loads an application as the command does.
    pub(crate) async fn load(
        &self,
        application: &Application<'_>,
    ) -> Result<Response, ClientError> {
        let package = application.package();
        self.load_bytes(application, &package).await
    }

    pub(crate) async fn load_bytes(
        &self,
        application: &Application<'_>,
        package: &[u8],
    ) -> Result<Response, ClientError> {
        let mut client = self.client().await;
        let names = pyliteral::NoNames;
        let (definition, _warnings) =
            package::parse_tli("test.tli", application.tli, &names).unwrap();
        let request = Request::Load {
            request: RequestId(rand::random()),
            group: application.group.to_owned(),
            version: Some(application.version.to_owned()),
            path: "test.tls".to_owned(),
            definition,
            by: "a test".to_owned(),
            no_wait: false,
            upwards_only: false,
        };
        client.upload(package, request, |_bytes| ()).await
    }

    /// Asks a role and gives the literal that it answers.
    pub(crate) async fn ask(
        &self,
        group: &str,
        role: &str,
        literal: &str,
    ) -> Result<String, AskEnd> {
        let mut client = self.client().await;
        let target = Target::Role(RoleId::of(group, role));
        let reply = client
            .ask(target, literal, Some(Duration::from_secs(20)))
            .await?;
        match reply.content() {
            ReplyContent::Literal(text) => Ok(text),
            other => panic!("the reply is {other:?}"),
        }
    }

    pub(crate) async fn resolve(&self, target: &str) -> Vec<Match> {
        let request = Request::Resolve {
            target: target.to_owned(),
            group: None,
        };
        match self.client().await.request(request).await.unwrap() {
            Response::Resolved { matches } => matches,
            other => panic!("{other:?}"),
        }
    }
}

impl Application<'_> {
    pub(crate) fn package(&self) -> Vec<u8> {
        let mut zip = Builder::new(Cursor::new(Vec::new()));
        let mut files = self.files.to_vec();
        files.sort();
        for (name, text) in files {
            zip.add(name, &mut text.as_bytes()).unwrap();
        }
        let mut zip = zip.finish().unwrap();
        let mut out = Vec::new();
        package::sign(&mut zip, key(), Format::DirectorFmt1, &mut out).unwrap();
        out
    }
}

fn key() -> &'static PrivateKey {
    static KEY: OnceLock<PrivateKey> = OnceLock::new();
    KEY.get_or_init(|| PrivateKey::generate(2048, |bytes| rand::fill(bytes)).unwrap())
}

/// Number of this process's children, zombies included.
pub(crate) fn children() -> usize {
    let me = std::process::id().to_string();
    let tasks = fs::read_dir(Path::new("/proc").join(&me).join("task")).unwrap();
    let children = tasks.flatten().map(|task| {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        text.split_whitespace().count()
    });
    children.sum()
}
