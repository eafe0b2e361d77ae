//! The last thing that a leader does for its members: waits until they have heard that it stops.
//!
//! Where it is the only voter they would otherwise know no more than that its session has ended,
//! and parents there would not hear of the end of their children here.

use std::time::Duration;

use super::sessions::Sessions;

/// How long a leader that stops waits for its members.
const HEARD_LIMIT: Duration = Duration::from_millis(500);

/// Waits until all members with a lease have applied an index; who is slower hears of it by itself.
pub(crate) async fn heard(sessions: &Sessions, index: u64) {
    let mut changed = sessions.changed();
    let followed = async {
        loop {
            changed.mark_unchanged();
            if !sessions.is_any_behind(index) || changed.changed().await.is_err() {
                return;
            }
        }
    };
    let _in_time = tokio::time::timeout(HEARD_LIMIT, followed).await;
}
