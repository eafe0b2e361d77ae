//! One of many: what this node does as a member of its convention.

#![allow(dead_code, reason = "its users are being written")]
pub(crate) mod distribution;
pub(crate) mod holdings;
pub(crate) mod packages;
pub(crate) mod placement;
