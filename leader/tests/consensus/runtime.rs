//! Another runtime under the same code, one that counts: what a simulation will do.

use std::future::Future;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use leader::{Consensus, Unconnected};
use openraft::{AsyncRuntime, OptionalSend, TokioRuntime};

use crate::disk::Disk;
use crate::support::{config, entry};

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counting;

/// Tasks and timers of [`Counting`]; only the test below uses it.
static COUNTS: Mutex<(u32, u32)> = Mutex::new((0, 0));

type Inner = TokioRuntime;

impl AsyncRuntime for Counting {
    type JoinError = <Inner as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Inner as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Inner as AsyncRuntime>::Sleep;
    type Instant = <Inner as AsyncRuntime>::Instant;
    type TimeoutError = <Inner as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <Inner as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <Inner as AsyncRuntime>::ThreadLocalRng;
    type OneshotSender<T: OptionalSend> = <Inner as AsyncRuntime>::OneshotSender<T>;
    type OneshotReceiver<T: OptionalSend> = <Inner as AsyncRuntime>::OneshotReceiver<T>;
    type OneshotReceiverError = <Inner as AsyncRuntime>::OneshotReceiverError;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        COUNTS.lock().unwrap().0 += 1;
        Inner::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        COUNTS.lock().unwrap().1 += 1;
        Inner::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        COUNTS.lock().unwrap().1 += 1;
        Inner::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        Inner::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Inner::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        Inner::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Inner::thread_rng()
    }

    fn oneshot<T: OptionalSend>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>) {
        Inner::oneshot()
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_voter_that_idles_wakes_up_once_an_hour() {
    let config = config(Path::new("memory"));
    let consensus = Consensus::<Counting>::open_on(config, Disk::default(), Unconnected);
    let consensus = consensus.await.unwrap();
    consensus.propose(entry(1)).await.unwrap();
    let (tasks, timers) = *COUNTS.lock().unwrap();
    assert!(tasks >= 4, "ticker, core, machine, batches: {tasks}");
    assert!(timers <= 1, "{timers}");

    // Virtual time: ten hours.
    tokio::time::sleep(Duration::from_secs(36_000)).await;
    let (later_tasks, later_timers) = *COUNTS.lock().unwrap();
    assert_eq!(later_tasks, tasks);
    assert!(later_timers - timers <= 11, "{later_timers}");
    assert!(consensus.is_leader());
    consensus.propose(entry(2)).await.unwrap();
    consensus.shutdown().await;
}
