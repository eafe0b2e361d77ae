#![doc = include_str!("../README.md")]

pub mod agent;
pub mod authority;
pub mod client;
mod cluster;
pub mod directory;
pub mod hosting;
pub mod router;
pub mod store;

pub use cluster::reachable::advertised;
pub use cluster::recover::{RecoverError, Recovery, recover};
