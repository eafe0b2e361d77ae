//! Conventions of several nodes in one process, on loopback.

mod host;
mod joining;
mod members;
mod voters;
