//! The transport over loopback, on free ports: real endpoints, real certificates.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are test code"
)]

mod admission;
mod bulk;
mod joining;
mod removal;
mod streams;
mod world;
