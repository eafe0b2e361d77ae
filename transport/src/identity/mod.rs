//! Who a node is: the convention's certificate authority, node keys and their certificates.
//!
//! Pure but for the drawing of keys: the time comes in as [`Stamp`](protocol::Stamp).
//! Not here: where keys lie on the disk (`node`), which node ids are still members (the registry),
//! what a connection makes of a certificate (`endpoint`).

mod certificate;
pub(crate) use certificate::names_voter;
pub use certificate::{CertificateFault, KeyHash, NodeCertificate, PeerIdentity, Validity};

mod node_key;
pub use node_key::{KeyFault, NodeKey};

mod authority;
pub use authority::{Authority, AuthorityFault, CaCertificate, CaCertificateFault, IssueFault};

mod trust;
pub use trust::{LINKS_MAX, Trust};

mod renewal;
pub use renewal::renew_at;
