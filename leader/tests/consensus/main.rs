//! Behaviour of one voter: restarts, snapshots, damaged files, failing disks.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at what it does not expect"
)]

mod disk;
mod support;

mod proposing;

mod restart;

mod snapshots;

mod damage;

mod faults;

mod runtime;
