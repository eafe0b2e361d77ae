//! Conventions of several nodes in one process, on loopback.

pub(crate) mod host;
mod joining;
mod members;
mod neighbours;
mod programs;
