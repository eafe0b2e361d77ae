//! What the routers of two nodes tell each other beside messages, markers and credit.
//!
//! JSON in frames `Notice`, on lanes only. Not here: messages (`header`), credit (`frame`).

use serde::{Deserialize, Serialize};

use crate::control::AskOutcome;
use crate::id::ActorId;

/// A fact from one node's router to another's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum LinkNotice {
    /// An ask that came over the link is not answered.
    AskEnded {
        /// Who asked.
        asker: ActorId,
        /// Target as addressed, 32 hex digits.
        target: String,
        /// Sequence of the message.
        sequence: u64,
        /// How it ended.
        outcome: AskOutcome,
        /// Why.
        reason: String,
    },
    /// The asker waits no longer for the answer to an ask that went over the link.
    AskOver {
        /// Who asked.
        asker: ActorId,
        /// Target as addressed, 32 hex digits.
        target: String,
        /// Sequence of the message.
        sequence: u64,
    },
    /// An actor has ended whose creator is elsewhere; repeated on each new link until noted.
    Exited {
        /// Which.
        child: ActorId,
        /// Who created it.
        parent: ActorId,
    },
    /// An `Exited` was taken in.
    ExitNoted {
        /// Of whom.
        child: ActorId,
    },
}
