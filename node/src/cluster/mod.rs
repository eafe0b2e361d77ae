//! One of many: what this node does as a member of its convention.
//!
//! Read in this order: `membership` (what all share), `start` (taking part), `identity`, `endpoint`
//! (the port and who passes), `peers` (asking others), `serve` (being asked), `vouching` and
//! `removal` (whose word counts), `registry` with `proposals` and `standing` (what this node
//! knows), `join`, `admission`, `founding`, `invitations` and `invited`, `session` and `sessions`
//! with `lease` and `histories`; then what members do for each other: `leadership` and `voters`,
//! `orders`, `fleet` and `steps`, `packages` with `distribution` and `holdings`, `lanes`,
//! `creation`, `warnings`; `mutual` is what these keep.

pub(crate) mod membership;
pub(crate) mod start;

pub(crate) mod endpoint;
pub(crate) mod identity;
pub(crate) mod peers;
pub(crate) mod reachable;
mod removal;
pub(crate) mod serve;
mod voter_calls;
mod vouching;

mod proposals;
pub(crate) mod registry;
pub(crate) mod standing;
pub(crate) use standing::Standing;

pub(crate) mod admission;
pub(crate) mod audit;
pub(crate) mod join;
mod listener;
pub(crate) mod operator;
pub(crate) mod recover;
mod renew;
pub(crate) mod rotation;
pub(crate) mod same_user;

pub(crate) mod founding;
pub(crate) mod invitations;
mod invited;

mod feed;
pub(crate) mod follow;
mod histories;
pub(crate) mod lease;
mod parts;
pub(crate) mod session;
pub(crate) mod sessions;

pub(crate) mod farewell;
mod strays;

pub(crate) mod mutual;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) mod directories;
pub(crate) mod distribution;
pub(crate) mod holdings;
pub(crate) mod packages;
pub(crate) mod placement;

pub(crate) mod fleet;
pub(crate) mod leadership;
pub(crate) mod orders;
pub(crate) mod reading;
pub(crate) mod steps;
pub(crate) mod voters;

pub(crate) mod creation;
pub(crate) mod lanes;
pub(crate) mod neighbours;
pub(crate) mod programs;

pub(crate) mod view;
pub(crate) mod warnings;
mod whole;
mod wishes;
