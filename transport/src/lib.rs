#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod identity;

pub mod token;

mod credentials;
pub use credentials::{Credentials, CredentialsCell, CredentialsFault};

mod verify;
pub use verify::PeerFault;

pub mod endpoint;
pub use endpoint::{Alpn, Endpoint, Settings};

mod hello;

mod connection;
pub use connection::{Closed, Connection};

pub mod streams;

pub mod bulk;

pub mod sealed;

mod crypto;
