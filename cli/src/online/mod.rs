//! Commands that talk to the node: finding it, starting it, what it answers when it will not.
//!
//! Not here: the frames (`node::client`), what each command asks (`commands`).

mod session;
pub(crate) use session::Online;

mod refusal;
pub(crate) use refusal::{refusal, unexpected};

mod daemon;
pub(crate) use daemon::{Daemon, Started, start, start_or_found};

mod log;
mod warnings;

mod load;
pub(crate) use load::{LoadOrder, Loaded};

mod surplus;

mod newest;

mod refresh;
pub(crate) use refresh::{Refreshed, refresh};

pub(crate) mod target;
pub(crate) use target::Resolved;

mod shown;
pub(crate) use shown::as_of;
pub(crate) use shown::{moment, user};
