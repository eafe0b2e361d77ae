//! Several nodes, each in a process of its own, as one convention: what members do for each other.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails; its helpers as well"
)]
#![allow(dead_code, reason = "the helpers of the agent's tests can do more")]

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use node::agent::Patience;
use node::client::ClientError;
use protocol::RequestId;
use protocol::control::{
    ClusterRequest, ClusterResponse, ErrorCode, Reach, Request, RequestError, Response,
};
use tempfile::TempDir;

#[path = "agent/app.rs"]
mod app;
#[path = "agent/host.rs"]
mod host;

use app::App;
use host::{Host, directory, processes};

/// Waits for a condition; says what it waited for when it does not come.
async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(90), "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A node in a process of its own; killed with the test.
struct Member {
    child: Running,
    host: Host,
}

/// A process that does not outlive the test.
struct Running(Child);

impl Member {
    fn start(folder: TempDir) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "serves_when_asked_to", "--nocapture"])
            .env(SERVED, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        let socket = lines.find_map(|line| Some(line.strip_prefix("serving ")?.to_owned()));
        // The child's test harness writes on, and ends when nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        let host = Host::elsewhere(folder, socket.unwrap().into());
        let child = Running(child);
        Self { child, host }
    }

    /// Kills the node as SIGKILL does; its actors go with it.
    async fn kill(mut self) -> TempDir {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap();
        let folder = self.host.folder;
        until("the actors of a killed node end", async || {
            processes(folder.path()).is_empty()
        })
        .await;
        folder
    }

    async fn version(&self) -> Option<String> {
        self.host.ask("'version'").await.ok()
    }

    fn runs(&self, pid: &str) -> bool {
        processes(self.host.folder.path()).contains(&pid.parse().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Not a test of its own: the node that another test starts in a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serves_when_asked_to() {
    let Some(folder) = std::env::var_os(SERVED) else {
        return;
    };
    let host = Host::serve(folder.as_ref(), Patience::default()).await;
    println!("\nserving {}", host.socket().display());
    std::future::pending::<()>().await;
}

const SERVED: &str = "DIRECTOR_TEST_MEMBER";

/// A founder `a` and so many members that joined it by a token; each has a capability of its name.
async fn convention(members: u32) -> Vec<Member> {
    let caps = |name: &str| format!("{{'{name}': True}}");
    let founder = directory(&[("nodename.cfg", "a"), ("othercaps.cfg", &caps("a"))]);
    let founder = Member::start(founder);
    let invite = ClusterRequest::Invite {
        uses: members,
        ttl_s: 600,
        by: "a test".to_owned(),
        drawn: None,
    };
    let invited = founder.host.request(Request::Cluster(invite)).await;
    let Ok(Response::Cluster(ClusterResponse::Invited { token, .. })) = invited else {
        panic!("{invited:?}");
    };
    let status = founder.host.request(Request::Status).await;
    let Ok(Response::Status(status)) = status else {
        panic!("{status:?}");
    };
    let address = format!("127.0.0.1:{}", status.port);
    let mut all = vec![founder];
    for name in ["b", "c", "d", "e"].iter().take(members as usize) {
        let folder = directory(&[
            ("nodename.cfg", name),
            ("othercaps.cfg", &caps(name)),
            ("convleader.cfg", &address),
            ("convtoken.cfg", &token),
        ]);
        all.push(Member::start(folder));
    }
    all
}

/// A load that every eligible member pulls and verifies before the switch.
async fn load_everywhere(at: &Member, app: &App) -> (Result<Response, RequestError>, RequestId) {
    let mut request = at.host.load_request(app);
    let Request::Load {
        request: id, reach, ..
    } = &mut request
    else {
        panic!("a load");
    };
    *reach = Reach::Everywhere;
    let id = *id;
    let mut client = at.host.client().await;
    let answer = client
        .upload(app.package().as_slice(), request, |_bytes| ())
        .await;
    let answer = answer.map_err(|error| match error {
        ClientError::Refused(error) => error,
        other => panic!("{other}"),
    });
    (answer, id)
}

/// Waits until so many vote.
async fn voters(at: &Member, wanted: usize) {
    until("the voters are as many as wanted", async || {
        let status = ClusterRequest::Status { stale: false };
        let status = at.host.request(Request::Cluster(status)).await;
        matches!(status, Ok(Response::Cluster(ClusterResponse::Status(status)))
            if status.voters.len() == wanted)
    })
    .await;
}

/// Role `Main` on a member that has this capability.
fn on(name: &str) -> String {
    format!("'OnLoad': {{'Role': 'Main', 'Message': 'loaded'}}, 'Requirements': {{'{name}': True}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_on_another_member_answers_everywhere_and_is_updated_from_anywhere() {
    let all = convention(2).await;
    let [a, b, c] = all.as_slice() else {
        panic!("three members");
    };
    a.host.load(&App::new("1.0").tli(&on("b"))).await.unwrap();
    for member in [c, b, a] {
        assert_eq!(member.version().await.unwrap(), "'1.0'");
    }
    let pid = c.host.ask("'pid'").await.unwrap();
    assert!(b.runs(&pid));
    c.host.load(&App::new("1.1").tli(&on("a"))).await.unwrap();
    for member in [b, c, a] {
        assert_eq!(member.version().await.unwrap(), "'1.1'");
        assert_eq!(member.host.ask("'heard'").await.unwrap(), "['loaded']");
    }
    b.host.rollback().await.unwrap();
    assert_eq!(c.version().await.unwrap(), "'1.0'");
    c.host
        .unload(&App::new("1.1").tli(&on("a")), false)
        .await
        .unwrap();
    assert_eq!(a.version().await.unwrap(), "'1.0'");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actors_of_a_lost_member_answer_elsewhere() {
    let mut all = convention(2).await;
    let c = all.pop().unwrap();
    let b = all.pop().unwrap();
    let a = all.pop().unwrap();
    b.host.load(&App::new("1.0")).await.unwrap();
    let pid = a.host.ask("'pid'").await.unwrap();
    assert!(b.runs(&pid), "it runs where its load came from");
    let killed = Instant::now();
    let _folder = b.kill().await;
    until("the actor answers elsewhere", async || {
        a.version().await.is_some()
    })
    .await;
    let took = killed.elapsed();
    assert_eq!(c.version().await.unwrap(), "'1.0'");
    assert!(took < Duration::from_secs(30), "{took:?}");
    println!("answered elsewhere after {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_leader_a_convention_of_three_goes_on() {
    let mut all = convention(2).await;
    voters(&all[0], 3).await;
    let c = all.pop().unwrap();
    let b = all.pop().unwrap();
    let a = all.pop().unwrap();
    b.host.load(&App::new("1.0").tli(&on("b"))).await.unwrap();
    assert_eq!(c.version().await.unwrap(), "'1.0'");
    let killed = Instant::now();
    let folder = a.kill().await;
    c.host.load(&App::new("1.1").tli(&on("b"))).await.unwrap();
    println!("loaded {:?} after the leader was killed", killed.elapsed());
    assert_eq!(c.version().await.unwrap(), "'1.1'");
    // The old leader comes back as one of the voters.
    let a = Member::start(folder);
    until("the former leader knows what was loaded", async || {
        a.version().await.as_deref() == Some("'1.1'")
    })
    .await;
    voters(&a, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_everywhere_says_of_each_member_how_far_it_is() {
    let mut all = convention(2).await;
    // A member without the key stores, and never runs.
    let c = all.pop().unwrap();
    let folder = c.kill().await;
    std::fs::remove_file(folder.path().join("test_tls.key")).unwrap();
    let c = Member::start(folder);
    let b = all.pop().unwrap();
    let a = all.pop().unwrap();
    until("the member is up again", async || {
        let (loaded, id) = load_everywhere(&b, &App::new("1.0")).await;
        loaded.unwrap();
        let progress = ClusterRequest::Progress { request: id };
        let progress = b.host.request(Request::Cluster(progress)).await.unwrap();
        let Response::Cluster(ClusterResponse::Progress { members }) = progress else {
            panic!("{progress:?}");
        };
        let states: Vec<_> = members.iter().map(|m| (&*m.name, &*m.state)).collect();
        let done = [
            ("a", "verified"),
            ("b", "verified"),
            ("c", "not trusted here"),
        ];
        let again = states != done;
        if again {
            b.host.unload(&App::new("1.0"), true).await.unwrap();
        }
        !again
    })
    .await;
    let only_c = App::new("1.1").tli(&on("c"));
    let refused = a.host.load(&only_c).await.unwrap_err();
    assert!(refused.message.contains("trust"), "{refused:?}");
    assert_eq!(c.version().await.unwrap(), "'1.0'");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_refuses_loads_and_says_why() {
    let mut all = convention(2).await;
    voters(&all[0], 3).await;
    let c = all.pop().unwrap();
    for member in all {
        member.kill().await;
    }
    // The first may have been sent to the leader just before its end: then nobody knows.
    let first = c.host.load(&App::new("1.0")).await.unwrap_err();
    let kinds = [ErrorCode::Unavailable, ErrorCode::TimedOut];
    assert!(kinds.contains(&first.code), "{first:?}");
    let refused = c.host.load(&App::new("1.0")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable, "{refused:?}");
    assert!(
        refused.message.contains("leader cannot be reached"),
        "{refused:?}"
    );
}

/// An actor that has a child made where its capability is, and counts how often it is told that
/// it ended.
const PARENT: &str = "
class Child(ActorTypeDispatcher):
    @staticmethod
    def actorSystemCapabilityCheck(capabilities, requirements):
        return capabilities.get('b', False)

    def receiveMsg_str(self, message, sender):
        self.send(sender, os.getpid())

class Parent(Foo):
    def constructed(self):
        self.exits = 0

    def receiveMsg_str(self, message, sender):
        if message == 'make':
            self.child = self.createActor(Child)
            self.asker = sender
            self.send(self.child, 'where')
        elif message == 'exits':
            self.send(sender, self.exits)
        else:
            super().receiveMsg_str(message, sender)

    def receiveMsg_int(self, pid, sender):
        self.send(self.asker, pid)

    def receiveMsg_ChildActorExited(self, message, sender):
        self.exits += 1
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_fits_only_elsewhere_is_created_there_and_its_end_told_once() {
    let mut all = convention(2).await;
    let app = App::new("1.0").code(PARENT).whole_tli(
        "{'Actors': {'foo.main.Parent': {'OnLoad': {'Role': 'Main', 'Message': 'loaded'}, \
         'Requirements': {'a': True}}}}",
    );
    all[2].host.load(&app).await.unwrap();
    let pid = all[2].host.ask("'make'").await.unwrap();
    assert!(all[1].runs(&pid), "it runs where it fits");
    let b = all.remove(1);
    let _folder = b.kill().await;
    until("the parent hears of the end", async || {
        all[0].host.ask("'exits'").await.unwrap() == "1"
    })
    .await;
    assert_eq!(all[1].host.ask("'exits'").await.unwrap(), "1");
}
