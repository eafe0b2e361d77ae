//! Bulk transfer: a provider sends the bytes of a package, a getter checks them by their hash.
//!
//! Participants: *providers* are members that hold the package; the *getter* wants it and knows
//! its SHA-256 (from the registry, not from a provider), often its length. Goals: no byte beyond
//! the announced length is read and no announcement beyond the cap accepted; a transfer goes on
//! with another provider from where it stopped; wrong bytes are found before anybody uses them.
//! Not goals: secrecy of packages among members, checking signatures (`package`, with the node's
//! own keys), files: bytes come from an `AsyncRead` and go to a [`Sink`].
//!
//! # Format
//! On a bi stream of a `bulk/1` connection the getter sends one frame, `TransferRequest`, and
//! finishes; the provider answers one frame, `Answer<TransferResponse>`, then the bytes from the
//! offset to the announced length without frames, and finishes.

mod provider;
pub use provider::{ProvideFault, provide, refuse, wanted};

mod pace;
pub use pace::Pace;

mod getter;
pub use getter::{Getter, PullFault, Sink, Wanted};

mod sources;
pub use sources::{GetFault, Providers, get};
