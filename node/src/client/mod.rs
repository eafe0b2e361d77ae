//! A client of a node's control socket: requests, uploads, asks and tells of literals.
//!
//! Read in this order: `line` (the stream of frames), `session` (hello, requests, what arrives),
//! `upload`, `talk` (messages to actors), `reply` (what comes back).
//! One call at a time: a program that asks several things at once opens several clients. Nothing
//! runs between calls; a call that is dropped half-way leaves the client usable.
//! Not here: where the socket lies (`directory`), pickles (the command line and Rust send and read
//! literals only).

mod line;

mod session;
pub use session::{Client, ClientError, ConnectError};

mod upload;

mod credit;

mod talk;
pub use talk::{AskEnd, Target};

mod reply;
pub use reply::{Reply, ReplyContent};
