//! A node end to end with real processes: load, update, fail, restart, kill.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail the test"
)]

mod app;
mod host;

mod actors;
mod applications;
mod bad_input;
mod capabilities;
mod crashes;
mod definitions;
mod hardship;
mod loading;
mod roles;
mod rollout;
mod unloading;
mod whole_path;
