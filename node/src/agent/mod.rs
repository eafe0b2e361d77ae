//! The agent: brings the parts of a node together and serves until it is told to stop.
//!
//! Read in this order: `boot` (start and stop), `node` (what everything shares), `events` (what
//! comes from the router), `actors` (who lives here), `sources` (code on this host),
//! `applications` (sources that they load themselves), `capabilities` (what the node offers),
//! `fleet`
//! (orders of the leader), `binder` (the registry's roles into the router), `leftovers`
//! (what no longer is loaded), `requests`.
//! Not here: decisions (`convention`, `package`), connections (`router`), processes (`hosting`).

mod boot;
mod director_actor;
pub use boot::{Agent, Options, StartError};

pub use crate::cluster::identity::IdentityError;
pub use crate::cluster::warnings::Warning;

pub(crate) mod node;
pub use node::Patience;

mod rights;

pub(crate) mod actors;
mod applications;
pub(crate) mod binder;
mod capabilities;
mod events;
pub(crate) mod fleet;
pub(crate) mod leftovers;
mod log_plan;
pub(crate) mod requests;
pub(crate) mod sources;
