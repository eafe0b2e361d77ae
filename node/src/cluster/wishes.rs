//! What this node wishes to know of the registry, and how far its view covers that.
//!
//! A voter has the whole registry; it notes its wishes all the same, for the day that it follows.
//! A wish stands until the node stops.
//! Not here: what a view holds (`convention::view`), the session that brings it (`session`).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::limits::WISHES_MAX;
use protocol::view::Wish;
use tokio::sync::watch;
use tokio::time::timeout;

use super::registry::RegistryHandle;

/// The wishes of this node, numbered in their order.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    // Held for a look-up or an insertion only.
    noted: Mutex<Noted>,
    last: watch::Sender<u64>,
    covered: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Noted {
    numbers: BTreeMap<Wish, u64>,
    in_order: Vec<Wish>,
    /// Those for what somebody has called by a name or role, whether there is any such or not.
    n_called: usize,
}

/// This node does not know, and the leader was not there to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this node does not know it, and the leader did not tell it within {} s",
    WANT_LIMIT.as_secs()
)]
pub(crate) struct NotTold;

impl Wishes {
    /// Notes a wish, and says its number: the first that it was noted under.
    fn note(&self, wish: Wish) -> u64 {
        let mut noted = self.noted();
        if let Some(number) = noted.numbers.get(&wish) {
            return *number;
        }
        // What anybody may ask for leaves room for members, sources and groups.
        let is_called = matches!(wish, Wish::Called(_) | Wish::Role(_));
        let is_full =
            noted.in_order.len() >= WISHES_MAX || is_called && noted.n_called >= WISHES_MAX / 2;
        if is_full || is_too_long(&wish) {
            // Nothing covers it.
            return u64::MAX;
        }
        noted.n_called += usize::from(is_called);
        noted.in_order.push(wish.clone());
        let number = noted.in_order.len() as u64;
        noted.numbers.insert(wish, number);
        drop(noted);
        self.last.send_if_modified(|last| {
            let newer = number > *last;
            *last = number.max(*last);
            newer
        });
        number
    }

    /// The wishes behind this number, with the number of the last.
    pub(super) fn after(&self, number: u64) -> (u64, Vec<Wish>) {
        let noted = self.noted();
        let skipped = usize::try_from(number).unwrap_or(usize::MAX);
        let wishes = noted.in_order.iter().skip(skipped).cloned().collect();
        (noted.in_order.len() as u64, wishes)
    }

    /// The number of the last wish, as it moves.
    pub(super) fn last(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// The view here covers the wishes up to this number.
    pub(super) fn cover(&self, number: u64) {
        self.covered.send_if_modified(|covered| {
            let more = number > *covered;
            *covered = number.max(*covered);
            more
        });
    }

    /// Nothing is covered any more: this node is of another convention now.
    pub(super) fn uncover(&self) {
        self.covered.send_replace(0);
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RegistryHandle {
    /// Whether the registry here is a view, which lacks what this node has not wished to know.
    pub(crate) fn is_partial(&self) -> bool {
        let follows = self.consensus().is_none() && !self.is_offline();
        follows && self.read(|state| state.convention.is_some())
    }

    /// From now on this node wishes to know this; it comes in time.
    pub(crate) fn note(&self, wish: Wish) {
        self.wishes().note(wish);
    }

    /// From now on this node wishes to know this; waits until it does. What it has known before it
    /// knows at once, as of its last session.
    ///
    /// # Errors
    /// [`NotTold`]; the wish stands.
    pub(crate) async fn want(&self, wish: Wish) -> Result<(), NotTold> {
        self.want_all([wish]).await
    }

    /// The same for several, which are waited for at once.
    ///
    /// # Errors
    /// [`NotTold`]; the wishes stand.
    pub(crate) async fn want_all<const N: usize>(&self, wishes: [Wish; N]) -> Result<(), NotTold> {
        let numbers = wishes.map(|wish| self.wishes().note(wish));
        let number = numbers.into_iter().max().unwrap_or_default();
        if !self.is_partial() {
            return Ok(());
        }
        if number == u64::MAX {
            return Err(NotTold);
        }
        let (mut parts, mut offline) = (self.parts(), self.offline());
        parts.borrow_and_update();
        let mut covered = self.wishes().covered.subscribe();
        let told = async {
            tokio::select! {
                biased;
                covered = covered.wait_for(|covered| *covered >= number) => drop(covered),
                _votes_now = parts.changed() => {}
                alone = offline.wait_for(|offline| *offline) => drop(alone),
            }
        };
        timeout(WANT_LIMIT, told).await.map_err(|_elapsed| NotTold)
    }
}

fn is_too_long(wish: &Wish) -> bool {
    match wish {
        Wish::Group(name) | Wish::Called(name) => name.len() > NAME_BYTES_MAX,
        _ => false,
    }
}

/// Longest name that is asked for: all wishes together fit into the document that opens a session.
const NAME_BYTES_MAX: usize = 256;

/// How long the leader may take to tell what a member wishes to know: an election takes less, and
/// a person waits no longer.
const WANT_LIMIT: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::registry::State;
    use protocol::view::{Change, Settings, Streamed};
    use protocol::{ConventionId, NodeId};
    use tokio_util::task::TaskTracker;

    use super::*;

    fn follower() -> Arc<RegistryHandle> {
        let registry = Arc::new(RegistryHandle::new(TaskTracker::new()));
        registry.follow(told(true, 1, 0), 0).unwrap();
        registry
    }

    fn told(whole: bool, index: u64, covers: u64) -> Streamed {
        let convention = Some(ConventionId([1; 16]));
        let settings = Settings {
            convention,
            ..Settings::default()
        };
        Streamed {
            whole,
            index,
            covers,
            voters: None,
            changes: vec![Change::Settings(settings)],
        }
    }

    #[tokio::test]
    async fn who_wants_to_know_waits_until_the_view_covers_it() {
        let registry = follower();
        let wish = Wish::Node(NodeId(7));
        let wanting = registry.want(wish.clone());
        let telling = async {
            let (number, wishes) = registry.wishes().after(0);
            assert_eq!((number, wishes), (1, vec![wish.clone()]));
            assert_eq!(registry.wishes().after(1), (1, Vec::new()));
            registry.follow(told(false, 2, number), 0).unwrap();
        };
        let (wanted, ()) = tokio::join!(wanting, telling);
        wanted.unwrap();
        assert_eq!(*registry.applied().borrow(), 2);
        // It is known now, whether anybody leads or not.
        registry.want(wish).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_leader_tells_is_not_known() {
        let registry = follower();
        let error = registry.want(Wish::Groups).await.unwrap_err();
        assert!(error.to_string().contains("did not tell it within 6 s"));
        // It is asked for in the next session.
        assert_eq!(registry.wishes().after(0), (1, vec![Wish::Groups]));
    }

    #[tokio::test(start_paused = true)]
    async fn several_wishes_are_waited_for_at_once() {
        let registry = follower();
        let begun = tokio::time::Instant::now();
        let wanted = registry.want_all([Wish::Members, Wish::Groups]).await;
        assert_eq!(wanted, Err(NotTold));
        assert_eq!(begun.elapsed(), WANT_LIMIT);
        // One of them is known: the other is what is waited for.
        registry.follow(told(false, 2, 1), 0).unwrap();
        let wanting = registry.want_all([Wish::Members, Wish::Groups]);
        let telling = async { registry.follow(told(false, 3, 2), 0) };
        let (wanted, told) = tokio::join!(wanting, telling);
        assert_eq!((wanted, told), (Ok(()), Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_on_its_own_asks_nobody() {
        let registry = follower();
        let alone = async { registry.go_offline(|_: &mut State| {}) };
        let (wanted, ()) = tokio::join!(registry.want(Wish::Members), alone);
        wanted.unwrap();
        registry.want(Wish::Groups).await.unwrap();
    }

    #[test]
    fn the_stream_does_not_go_back() {
        let registry = follower();
        registry.follow(told(false, 5, 0), 0).unwrap();
        let back = registry.follow(told(false, 4, 0), 0).unwrap_err();
        assert!(back.contains("from index 5 to 4"), "{back}");
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_nobody_gives_burden_no_leader() {
        let registry = follower();
        let name = "x".repeat(NAME_BYTES_MAX + 1);
        registry.want(Wish::Called(name)).await.unwrap_err();
        assert_eq!(registry.wishes().after(0), (0, Vec::new()));
    }
}
