//! Behaviour of several voters in one process, over a hub whose lines can be cut.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test ends at what it does not expect"
)]

mod hub;

mod lead;

mod links;

mod members;

mod restart;

mod storm;

mod trust;
