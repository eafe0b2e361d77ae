//! Conventions of several nodes in one process, on loopback.

mod host;
mod intruder;
mod joining;
mod members;
mod trust;
mod voters;
