//! Pulls between real endpoints on loopback: shared, resumed, busy, corrupt, judged anew.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::wire::About;
use protocol::{ConventionId, Stamp};
use tempfile::TempDir;
use tokio::task::JoinSet;
use transport::identity::{Authority, NodeKey, PeerIdentity};
use transport::{Alpn, Connection, Credentials, CredentialsCell, Endpoint, Settings};

use super::*;
use crate::directory::Directory;

/// A member with a store, an endpoint that serves it, and a count of what it sent.
struct Member {
    folder: TempDir,
    packages: Arc<Packages>,
    endpoint: Endpoint,
    served: Arc<Mutex<Vec<Connection>>>,
    _serving: JoinSet<()>,
}

impl Member {
    fn start(authority: &Authority, node: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("packages");
        std::fs::create_dir(&store).unwrap();
        let packages = Arc::new(Packages::new(
            PackageStore::new(store, None),
            SourceAuthority::new(Directory::at(folder.path())),
        ));
        let key = NodeKey::generate().unwrap();
        let request = key.request().unwrap();
        let certificate = authority.issue(&request, NodeId(node), now()).unwrap();
        let trusted = vec![authority.certificate().clone()];
        let credentials = Credentials::new(&key, &certificate, trusted).unwrap();
        let endpoint = Endpoint::bind(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            Arc::new(CredentialsCell::new(credentials)),
            Arc::new(|_: &PeerIdentity, _| Ok(())),
            Settings::new(About::default()),
        )
        .unwrap();
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut serving = JoinSet::new();
        serving.spawn(accept(
            endpoint.clone(),
            Arc::clone(&packages),
            Arc::clone(&served),
        ));
        Self {
            folder,
            packages,
            endpoint,
            served,
            _serving: serving,
        }
    }

    fn put(&self, name: &SourceHash, bytes: &[u8]) {
        let path = self.folder.path().join("packages").join(name.to_string());
        std::fs::write(path, bytes).unwrap();
    }

    fn sent_bytes(&self) -> u64 {
        let served = self.served.lock().unwrap();
        served.iter().map(|each| each.traffic_bytes().0).sum()
    }
}

async fn accept(endpoint: Endpoint, packages: Arc<Packages>, served: Arc<Mutex<Vec<Connection>>>) {
    let mut serving = JoinSet::new();
    while let Some(arrival) = endpoint.accept().await {
        let (packages, served) = (Arc::clone(&packages), Arc::clone(&served));
        serving.spawn(async move {
            let connection = arrival.establish().await.unwrap();
            served.lock().unwrap().push(connection.clone());
            packages.serve(connection).await;
        });
    }
}

/// Dials members of a test by their number.
struct Dialler {
    from: Endpoint,
    to: Vec<(NodeId, SocketAddr)>,
    dialled: AtomicU64,
}

impl Dialler {
    fn new(from: &Member, to: &[&Member], first: u64) -> Self {
        let addresses = to
            .iter()
            .map(|member| member.endpoint.local_address().unwrap());
        let numbers = (first..).map(NodeId);
        Self {
            from: from.endpoint.clone(),
            to: numbers.zip(addresses).collect(),
            dialled: AtomicU64::new(0),
        }
    }
}

impl Dial for Dialler {
    async fn dial(&self, node: NodeId) -> Result<Connection, String> {
        self.dialled.fetch_add(1, Ordering::Relaxed);
        let found = self.to.iter().find(|(id, _)| *id == node);
        let (_, address) = found.ok_or("nobody is there")?;
        let dialled = self.from.dial(*address, Some(node), Alpn::Bulk).await;
        dialled.map_err(|fault| fault.to_string())
    }

    fn forget(&self, _connection: &Connection) {}
}

fn now() -> Stamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Stamp(since.as_millis() as u64)
}

fn authority() -> Authority {
    Authority::found(ConventionId([1; 16]), now()).unwrap()
}

fn package(length: usize) -> (SourceHash, Vec<u8>) {
    let bytes: Vec<u8> = (0..length).map(|n| (n * 31 % 251) as u8).collect();
    (SourceHash::of(&bytes), bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_is_pulled_once_however_many_want_it() {
    let convention = authority();
    let (getter, holder) = (Member::start(&convention, 1), Member::start(&convention, 2));
    let (hash, bytes) = package(3 << 20);
    holder.put(&hash, &bytes);
    let dialler = Arc::new(Dialler::new(&getter, &[&holder], 2));
    let mut wanting = JoinSet::new();
    for _ in 0..8 {
        let (packages, dialler) = (Arc::clone(&getter.packages), Arc::clone(&dialler));
        let length = Some(bytes.len() as u64);
        wanting.spawn(async move { packages.hold(&*dialler, hash, length, &[NodeId(2)]).await });
    }
    while let Some(held) = wanting.join_next().await {
        let held = held.unwrap().unwrap();
        assert!(held.distrust.is_some(), "no key was given to it");
    }
    assert_eq!(dialler.dialled.load(Ordering::Relaxed), 1);
    assert!(holder.sent_bytes() < 2 * bytes.len() as u64);
    let (held, distrusted) = getter.packages.report(&BTreeSet::from([hash]));
    assert_eq!((held, distrusted.len()), (vec![hash], 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_and_one_who_has_nothing_are_passed_over() {
    let convention = authority();
    let members: Vec<_> = (1..5).map(|n| Member::start(&convention, n)).collect();
    let [getter, liar, empty, holder] = members.as_slice() else {
        panic!("four members");
    };
    let (hash, bytes) = package(2 << 20);
    let mut wrong = bytes.clone();
    *wrong.last_mut().unwrap() ^= 1;
    liar.put(&hash, &wrong);
    holder.put(&hash, &bytes);
    let dialler = Dialler::new(getter, &[liar, empty, holder], 2);
    let holders = [NodeId(9), NodeId(2), NodeId(3), NodeId(4)];
    let length = Some(bytes.len() as u64);
    let held = getter.packages.hold(&dialler, hash, length, &holders).await;
    assert!(held.is_ok(), "{held:?}");
    let path = getter.folder.path().join("packages").join(hash.to_string());
    assert_eq!(std::fs::read(path).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_run_had_pulled_is_taken_up_and_checked_with_the_rest() {
    let convention = authority();
    let holder = Member::start(&convention, 2);
    let (hash, bytes) = package(8 << 20);
    holder.put(&hash, &bytes);
    let three_quarters = bytes[..6 << 20].to_vec();
    let mut wrong = three_quarters.clone();
    wrong[77] ^= 1;
    let longer = [bytes.as_slice(), b"more"].concat();
    let parts = [three_quarters, wrong, longer, bytes.clone()];
    let mut sent_before = 0;
    let mut sent = Vec::new();
    for (part, node) in parts.iter().zip(10..) {
        let getter = Member::start(&convention, node);
        std::fs::write(getter.packages.store.partial_path(hash), part).unwrap();
        let dialler = Dialler::new(&getter, &[&holder], 2);
        let length = Some(bytes.len() as u64);
        let held = getter.packages.hold(&dialler, hash, length, &[NodeId(2)]);
        held.await.unwrap();
        let path = getter.packages.store.path(hash);
        assert!(std::fs::read(path).unwrap() == bytes);
        let folder = getter.folder.path().join("packages");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1);
        sent.push(holder.sent_bytes() - sent_before);
        sent_before = holder.sent_bytes();
    }
    let whole = bytes.len() as u64;
    assert!(sent[0] < whole / 2, "a quarter was missing: {sent:?}");
    assert!(sent[1] >= whole, "wrong bytes are pulled anew: {sent:?}");
    assert!(sent[2] >= whole, "what is too long is not it: {sent:?}");
    assert!(sent[3] < whole / 8, "nothing was missing: {sent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_failed_goes_on_in_the_next_one() {
    let convention = authority();
    let (getter, holder) = (Member::start(&convention, 1), Member::start(&convention, 2));
    let (hash, bytes) = package(4 << 20);
    let part = getter.packages.store.partial_path(hash);
    std::fs::write(&part, &bytes[..3 << 20]).unwrap();
    let dialler = Dialler::new(&getter, &[&holder], 2);
    let length = Some(bytes.len() as u64);
    let hold = || getter.packages.hold(&dialler, hash, length, &[NodeId(2)]);
    assert!(hold().await.is_err(), "nobody has it yet");
    assert_eq!(std::fs::metadata(&part).unwrap().len(), 3 << 20);
    holder.put(&hash, &bytes);
    hold().await.unwrap();
    assert!(holder.sent_bytes() < 2 << 20);
    assert!(getter.packages.has(hash) && !part.exists());
}

#[test]
fn partial_files_that_nobody_wants_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = PackageStore::new(folder.path().to_owned(), None);
    let keys = SourceAuthority::new(Directory::at(folder.path()));
    let packages = Packages::new(store.clone(), keys);
    let [named, held, other, cleared] = [1, 2, 3, 4].map(|n| SourceHash([n; 32]));
    let begin = |hash| std::fs::write(store.partial_path(hash), b"some").unwrap();
    let is_there = |hash| store.partial_path(hash).exists();
    for hash in [named, held, other, cleared] {
        begin(hash);
    }
    std::fs::write(store.path(held), b"all").unwrap();
    store.sweep(&BTreeSet::from([named, held]));
    assert_eq!([named, held, other, cleared].map(is_there), [true; 4]);
    packages.forget(cleared);
    assert!(!is_there(cleared));
    let wanted = BTreeSet::from([named, held]);
    packages.drop_older(&wanted, Duration::from_secs(3_600));
    assert_eq!([named, held, other].map(is_there), [true, false, true]);
    let writing = packages.partial(other).unwrap().unwrap();
    assert!(packages.partial(other).unwrap().is_none(), "one at a time");
    packages.drop_older(&wanted, Duration::ZERO);
    assert!(is_there(other), "it is being pulled");
    drop(writing);
    packages.drop_older(&wanted, Duration::ZERO);
    assert_eq!([named, other].map(is_there), [true, false]);
}

/// Keeps the only blocking thread busy until it is dropped.
fn occupied() -> std::sync::mpsc::Sender<()> {
    let (ends, busy) = std::sync::mpsc::channel();
    let _thread = tokio::task::spawn_blocking(move || busy.recv());
    ends
}

async fn when_free(packages: &Packages, hash: SourceHash) -> partial::Partial {
    loop {
        match packages.partial(hash).unwrap() {
            Some(partial) => return partial,
            None => tokio::task::yield_now().await,
        }
    }
}

#[test]
fn a_partial_file_is_nobody_elses_while_anything_still_works_on_it() {
    use tokio::io::AsyncWriteExt;

    let folder = tempfile::tempdir().unwrap();
    let store = PackageStore::new(folder.path().to_owned(), None);
    let keys = SourceAuthority::new(Directory::at(folder.path()));
    let packages = Packages::new(store.clone(), keys);
    let (hash, bytes) = package(100_000);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        // A pull is given up in the middle of a write.
        let busy = occupied();
        let partial = packages.partial(hash).unwrap().unwrap();
        partial.sink().unwrap().write_all(&bytes).await.unwrap();
        drop(partial);
        assert!(packages.partial(hash).unwrap().is_none(), "it is written");
        drop(busy);
        let partial = when_free(&packages, hash).await;
        let about = std::fs::metadata(store.partial_path(hash)).unwrap();
        assert_eq!(about.len(), bytes.len() as u64);
        // And one while the file is about to get its own name.
        let busy = occupied();
        let keeping = partial.keep(bytes.len() as u64);
        tokio::select! {
            biased;
            _kept = keeping => panic!("no thread was free for it"),
            () = std::future::ready(()) => {}
        }
        assert!(packages.partial(hash).unwrap().is_none(), "it is checked");
        packages.drop_partial(hash);
        drop(busy);
        when_free(&packages, hash).await.remove();
        assert!(packages.has(hash), "it was there, whole");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_package_that_nobody_has_says_why_and_leaves_nothing() {
    let convention = authority();
    let (getter, empty) = (Member::start(&convention, 1), Member::start(&convention, 2));
    let (hash, bytes) = package(100);
    let dialler = Dialler::new(&getter, &[&empty], 2);
    let held = getter
        .packages
        .hold(&dialler, hash, Some(bytes.len() as u64), &[NodeId(2)])
        .await;
    let told = held.unwrap_err().to_string();
    assert!(told.contains("not held here"), "{told}");
    let left = getter.folder.path().join("packages");
    assert_eq!(std::fs::read_dir(left).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_getters_than_a_holder_serves_all_get_it() {
    let convention = authority();
    let holder = Member::start(&convention, 100);
    let (hash, bytes) = package(4 << 20);
    holder.put(&hash, &bytes);
    let mut getting = JoinSet::new();
    for number in 1..=3 * SERVED_AT_ONCE as u64 {
        let getter = Member::start(&convention, number);
        let dialler = Dialler::new(&getter, &[&holder], 100);
        let length = Some(bytes.len() as u64);
        getting.spawn(async move {
            // All of it, folder included, lives as long as this.
            let (getter, holders) = (&getter, [NodeId(100)]);
            let held = getter.packages.hold(&dialler, hash, length, &holders).await;
            held.map(|_held| getter.packages.has(hash))
        });
    }
    while let Some(got) = getting.join_next().await {
        assert!(got.unwrap().unwrap());
    }
}
