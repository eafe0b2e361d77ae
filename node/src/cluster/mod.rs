//! One of many: what this node does as a member of its convention.

#![allow(dead_code, reason = "its users are being written")]
pub(crate) mod packages;
