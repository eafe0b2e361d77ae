//! Conventions of several nodes in one process, on loopback.

mod alone;
mod damage;
pub(crate) mod host;
mod intruder;
mod invitations;
mod joining;
mod members;
mod neighbours;
mod programs;
mod rotation;
mod trust;
mod voters;
