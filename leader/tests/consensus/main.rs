//! Behaviour of one voter: restarts, snapshots, damaged files, failing disks.

mod disk;
mod support;

mod proposing;

mod restart;

mod snapshots;

mod damage;

mod faults;
