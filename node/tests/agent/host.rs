//! A node in a directory of its own, and what a client asks of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use node::agent::{Agent, Options, Patience};
use node::client::{AskEnd, Client, ClientError, ReplyContent, Target};
use node::directory::{Directory, NodeRecord};
use protocol::control::{ListedActor, Match, Request, RequestError, Response, RoleAction};
use protocol::{ActorId, RequestId, RoleId};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::{App, key};

/// Longer than anything here takes on a loaded machine.
pub(crate) const LONG: Duration = Duration::from_secs(40);

/// A running node; ends with the test.
pub(crate) struct Host {
    pub(crate) folder: TempDir,
    socket: PathBuf,
    serving: Option<Serving>,
}

/// A node that serves in this process.
pub(crate) struct Serving {
    record: NodeRecord,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), leader::FatalError>>,
}

/// A Director directory that trusts the tests' key, with these `.cfg` files.
pub(crate) fn directory(settings: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("adminport.cfg"), "0").unwrap();
    fs::write(folder.path().join("listen.cfg"), "127.0.0.1").unwrap();
    for (name, text) in settings {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let key = key().public_pem().unwrap();
    fs::write(folder.path().join("test_tls.key"), key).unwrap();
    folder
}

impl Host {
    pub(crate) async fn start() -> Self {
        Self::start_in(directory(&[]), Patience::default()).await
    }

    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_in(directory(settings), Patience::default()).await
    }

    pub(crate) async fn start_in(folder: TempDir, patience: Patience) -> Self {
        let serving = Self::serve(folder.path(), patience).await;
        Self {
            folder,
            socket: serving.socket().to_owned(),
            serving: Some(serving),
        }
    }

    /// A node that another process serves.
    pub(crate) fn elsewhere(folder: TempDir, socket: PathBuf) -> Self {
        Self {
            folder,
            socket,
            serving: None,
        }
    }

    /// Starts a node in this folder.
    pub(crate) async fn serve(folder: &Path, patience: Patience) -> Serving {
        if std::env::var_os("DIRECTOR_LOG").is_some() {
            let filter = tracing_subscriber::EnvFilter::from_env("DIRECTOR_LOG");
            let log = tracing_subscriber::fmt().with_env_filter(filter);
            let _again = log.with_writer(std::io::stderr).try_init();
        }
        let options = Options {
            directory: Directory::at(folder),
            python_hint: None,
            found: false,
            warnings: None,
        };
        let agent = Agent::start_with(options, patience).await.unwrap();
        let record = agent.record();
        let shutdown = CancellationToken::new();
        let ended = tokio::spawn(agent.serve(shutdown.clone()));
        Serving {
            record,
            shutdown,
            ended,
        }
    }

    /// Stops the node in order and starts it again in the same directory.
    pub(crate) async fn restart(mut self) -> Self {
        self.end().await;
        Self::start_in(self.folder, Patience::default()).await
    }

    /// Stops the node in order; no process of its stays behind.
    pub(crate) async fn stop(mut self) {
        self.end().await;
    }

    /// Waits until the node has stopped of itself.
    pub(crate) async fn stopped(mut self) {
        if let Some(serving) = self.serving.take() {
            serving.ended.await.unwrap().unwrap();
        }
        assert_eq!(
            processes(self.folder.path()),
            Vec::<u32>::new(),
            "left behind"
        );
    }

    async fn end(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.shutdown.cancel();
            serving.ended.await.unwrap().unwrap();
        }
        assert_eq!(
            processes(self.folder.path()),
            Vec::<u32>::new(),
            "left behind"
        );
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.socket).await.unwrap()
    }

    pub(crate) async fn request(&self, request: Request) -> Result<Response, RequestError> {
        refusal(self.client().await.request(request).await)
    }

    /// Loads an application as the command does.
    pub(crate) async fn load(&self, app: &App) -> Result<Response, RequestError> {
        self.load_bytes(app, &app.package(), false).await
    }

    /// Loads it as `refresh` does.
    pub(crate) async fn refresh(&self, app: &App) -> Result<Response, RequestError> {
        self.load_bytes(app, &app.package(), true).await
    }

    pub(crate) async fn load_bytes(
        &self,
        app: &App,
        package: &[u8],
        upwards_only: bool,
    ) -> Result<Response, RequestError> {
        let mut request = self.load_request(app);
        if let Request::Load {
            upwards_only: only, ..
        } = &mut request
        {
            *only = upwards_only;
        }
        let mut client = self.client().await;
        refusal(client.upload(package, request, |_bytes| ()).await)
    }

    pub(crate) fn load_request(&self, app: &App) -> Request {
        let names = pyliteral::NoNames;
        let (definition, _warnings) = package::parse_tli("test.tli", &app.tli, &names).unwrap();
        Request::Load {
            request: RequestId(rand::random()),
            group: app.group.clone(),
            version: Some(app.version.clone()),
            path: "test.tls".to_owned(),
            definition,
            by: "a test".to_owned(),
            no_wait: false,
            upwards_only: false,
            reach: Default::default(),
            lies: None,
        }
    }

    pub(crate) async fn unload(&self, app: &App, now: bool) -> Result<Response, RequestError> {
        self.request(Request::Unload {
            request: RequestId(rand::random()),
            hash: app.hash().to_string(),
            now,
            by: "a test".to_owned(),
        })
        .await
    }

    pub(crate) async fn rollback(&self) -> Result<Response, RequestError> {
        self.request(Request::Rollback {
            request: RequestId(rand::random()),
            group: "foo".to_owned(),
            by: "a test".to_owned(),
        })
        .await
    }

    pub(crate) async fn role(&self, action: RoleAction) -> Result<String, RequestError> {
        let request = Request::Role {
            action,
            role: "Main".to_owned(),
            group: None,
            by: "a test".to_owned(),
        };
        match self.request(request).await? {
            Response::Done { text } => Ok(text),
            other => panic!("{other:?}"),
        }
    }

    /// Asks the role `Main` and gives what it answers.
    pub(crate) async fn ask(&self, literal: &str) -> Result<String, AskEnd> {
        self.ask_to(Target::Role(RoleId::of("foo", "Main")), literal)
            .await
    }

    pub(crate) async fn ask_to(&self, target: Target, literal: &str) -> Result<String, AskEnd> {
        let mut client = self.client().await;
        let reply = client.ask(target, literal, Some(LONG)).await?;
        match reply.content() {
            ReplyContent::Literal(text) | ReplyContent::Repr(text) | ReplyContent::Poison(text) => {
                Ok(text)
            }
            other => panic!("the reply is {other:?}"),
        }
    }

    /// Tells the role `Main`.
    pub(crate) async fn tell(&self, literal: &str) {
        let target = Target::Role(RoleId::of("foo", "Main"));
        self.client().await.tell(target, literal).await.unwrap();
    }

    /// The process of the role `Main`.
    pub(crate) async fn pid(&self) -> u32 {
        self.ask("'pid'").await.unwrap().parse().unwrap()
    }

    pub(crate) async fn resolve(&self, target: &str) -> Vec<Match> {
        let request = Request::Resolve {
            target: target.to_owned(),
            group: None,
            confirmed: false,
        };
        match self.request(request).await.unwrap() {
            Response::Resolved { matches, .. } => matches,
            other => panic!("{other:?}"),
        }
    }

    /// The actor that plays `Main` now.
    pub(crate) async fn actor(&self) -> ActorId {
        self.resolve("Main").await[0].actor.unwrap()
    }

    /// Version and state of each loaded source, highest first, with its actors.
    pub(crate) async fn sources(&self) -> Vec<(String, String, Vec<ListedActor>)> {
        let request = Request::List {
            group: None,
            stale: false,
        };
        let Response::Listed { groups, .. } = self.request(request).await.unwrap() else {
            panic!("a list is answered with a list");
        };
        let sources = groups.into_iter().flat_map(|group| group.sources);
        sources
            .map(|source| {
                let version = source.version.unwrap_or_default();
                (version, source.state, source.actors)
            })
            .collect()
    }

    /// `1.0 active, 0.9 loaded`.
    pub(crate) async fn standing(&self) -> String {
        let sources = self.sources().await;
        let shown = sources
            .iter()
            .map(|(version, state, _)| format!("{version} {state}"));
        shown.collect::<Vec<_>>().join(", ")
    }

    /// Waits until `wanted` holds of the first actor of the first source.
    pub(crate) async fn until_actor(&self, wanted: impl Fn(&ListedActor) -> bool) -> ListedActor {
        let waiting = async {
            loop {
                let sources = self.sources().await;
                let actors = sources.into_iter().flat_map(|(_, _, actors)| actors);
                if let Some(actor) = actors.into_iter().next().filter(&wanted) {
                    return actor;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LONG, waiting).await.unwrap()
    }
}

impl Serving {
    pub(crate) fn socket(&self) -> &Path {
        &self.record.socket
    }
}

fn refusal(answer: Result<Response, ClientError>) -> Result<Response, RequestError> {
    match answer {
        Ok(response) => Ok(response),
        Err(ClientError::Refused(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

pub(crate) fn kill(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// Processes that a node in this folder has started: their command lines name it.
pub(crate) fn processes(folder: &Path) -> Vec<u32> {
    let wanted = folder.as_os_str().as_encoded_bytes();
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id())
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.windows(wanted.len()).any(|part| part == wanted)
        })
        .collect()
}

/// Waits until something holds.
pub(crate) async fn until(holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.unwrap();
}

/// Whether the process is in `clock_nanosleep`, as `time.sleep` is.
pub(crate) fn is_asleep(pid: u32) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.starts_with("230 ") || call.starts_with("35 ") || call.starts_with("115 ")
}
