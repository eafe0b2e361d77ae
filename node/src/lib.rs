#![doc = include_str!("../README.md")]

pub mod directory;
pub mod store;
pub mod hosting;
pub mod router;
pub mod client;
