//! The router: every message between actors, clients and roles of this node passes here.
//!
//! A sans-I/O machine (`core`) decides, a driver on a thread of its own (`driver`) reads and
//! writes. What the agent gives is in `config`, what it gets in `agent`, what it may ask for in
//! `handle`.
//!
//! Not here: what a request means, which actor plays a role, when a process has ended: the agent.

mod config;
pub use config::{ActorRecord, Authorize, Config, Limits, Listeners, Peer, Rights, Serials};

mod agent;
pub use agent::{AgentEvent, Caller, CallerKind, Gone, Handover, Responder, Stats, Taken};

mod handle;
pub use handle::{Link, RouterHandle};

mod moment;
pub use moment::Moment;

mod driver;
pub use driver::{Router, start};

mod core;
