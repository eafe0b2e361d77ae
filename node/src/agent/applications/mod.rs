//! Sources that applications load themselves (`loadActorSource`): in no group, on this node, as
//! long as it runs.
//!
//! Read in this order: `table` (what is known of them), `authority` (who is asked whether one may
//! run), `loading` (from bytes to code and back), `notices` (who is told of sources), `members`
//! (who is told of the other nodes), `passing` (how a source comes to another node).
//! Not here: packages that an operator loads (`requests::load`), which are the registry's.

mod table;
pub(super) use table::Applications;

mod authority;
pub(super) use authority::Verdict;

mod loading;
mod members;
mod notices;
mod passing;
pub(super) use notices::follow;

mod shown;
