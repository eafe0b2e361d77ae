#![doc = include_str!("../README.md")]

pub mod agent;
pub mod directory;
pub mod authority;
pub mod store;
pub mod hosting;
pub mod router;
pub mod client;
