//! Who this node is, for good: its id, key and certificate, its convention and whom it trusts.
//!
//! `state/identity/` holds `node.json`, `node.key`, `node.crt`, and of the convention's authorities
//! what `authorities` says.
//! Each file is replaced as a whole, and `node.json` last: what it names is on the disk before.
//! Not here: how a node joins (`join`), who may (`admission`).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use protocol::wire::JoinResponse;
use protocol::{ConventionId, NodeId, Stamp};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use transport::Credentials;
use transport::identity::{KeyHash, NodeCertificate, NodeKey, Trust, renew_at};
use transport::token::TokenSecret;

use crate::directory::StateFolder;

mod authorities;
use authorities::Held;

/// Identity of a node as it lies on its disk.
#[derive(Debug)]
pub(crate) struct Identity {
    folder: PathBuf,
    record: Record,
    key: NodeKey,
    certificate: Option<NodeCertificate>,
    trust: Trust,
    held: Held,
    // Where programs of one user start nodes through the API.
    user_secret: Option<TokenSecret>,
}

/// `node.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    node: NodeId,
    /// None until it has founded or joined one.
    convention: Option<ConventionId>,
    /// Whether it opens an empty log where it has none. Nodes of old were all founders.
    #[serde(default = "yes")]
    founder: bool,
    /// Up to which of their changes the convention's authorities are known here.
    #[serde(default)]
    authorities: u64,
}

/// Why the identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk.
    #[error("the state folder cannot be used")]
    Io(#[from] std::io::Error),
    /// A file is damaged.
    #[error("`{path}` is no part of a node's identity: {reason}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No key or certificate comes about.
    #[error("the node's keys cannot be made: {reason}")]
    Keys {
        /// Why.
        reason: String,
    },
}

impl Identity {
    /// Reads the identity, or draws and keeps a new one: of a founder, or of a node that has yet
    /// to join a convention.
    pub(crate) fn open(
        state: &StateFolder,
        found: bool,
        now: Stamp,
    ) -> Result<Self, IdentityError> {
        let folder = state.identity()?;
        let known = read(&folder, RECORD, |text| serde_json::from_str::<Record>(text))?;
        let record = known.unwrap_or_else(|| Record {
            node: NodeId(draw()),
            convention: None,
            founder: false,
            authorities: 0,
        });
        let drawn = read(&folder, KEY, NodeKey::from_pem)?;
        let fresh = drawn.is_none();
        let key = match drawn {
            Some(key) => key,
            None => NodeKey::generate().map_err(keys)?,
        };
        let mut identity = Self {
            certificate: read(&folder, CERTIFICATE, NodeCertificate::from_pem)?,
            trust: Trust::default(),
            held: Held::default(),
            user_secret: None,
            folder,
            record,
            key,
        };
        if fresh {
            identity.keep(KEY, &identity.key.to_pem())?;
        }
        if found && identity.record.convention.is_none() {
            identity.record.convention = Some(ConventionId(rand::random()));
            identity.record.founder = true;
        }
        identity.read_trust()?;
        identity.read_authority()?;
        if identity.record.founder && identity.certificate.is_none() {
            identity.found_authority(now)?;
        }
        identity.renew_own(now)?;
        if known != Some(identity.record) {
            identity.keep_record()?;
        }
        Ok(identity)
    }

    /// The node.
    pub(crate) fn node(&self) -> NodeId {
        self.record.node
    }

    /// Its convention, once it has founded or joined one.
    pub(crate) fn convention(&self) -> Option<ConventionId> {
        self.record.convention
    }

    /// Whether it opens an empty log where it has none.
    pub(crate) fn is_founder(&self) -> bool {
        self.record.founder
    }

    /// Its key.
    pub(crate) fn key(&self) -> &NodeKey {
        &self.key
    }

    /// What it shows and whom it accepts; `None` before it has joined.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials>, IdentityError> {
        let Some(certificate) = &self.certificate else {
            return Ok(None);
        };
        Credentials::new(&self.key, certificate, self.trust.clone())
            .map(Some)
            .map_err(keys)
    }

    /// What lets nodes of the same user on this host join, where that is enough.
    pub(crate) fn user_secret(&self) -> Option<&TokenSecret> {
        self.user_secret.as_ref()
    }

    /// From now on it is enough to be of this user: there is no Director directory.
    pub(crate) fn trust_user(&mut self, secret: TokenSecret) {
        self.user_secret = Some(secret);
    }

    /// When its certificate is to be renewed, and when it ends.
    pub(crate) fn renewal(&self, jitter_permille: u16) -> Option<(Stamp, Stamp)> {
        let validity = self.certificate.as_ref()?.identity().validity;
        Some((renew_at(validity, jitter_permille), validity.not_after))
    }

    /// Keeps what a join brought; from here on the node is a member.
    pub(crate) fn joined(
        &mut self,
        response: &JoinResponse,
        authority: KeyHash,
        now: Stamp,
    ) -> Result<Credentials, IdentityError> {
        let (credentials, certificate) =
            Credentials::joined(&self.key, response, authority, now).map_err(keys)?;
        if response.node != self.record.node {
            let reason = format!("the convention calls this node `{}`", response.node);
            return Err(IdentityError::Keys { reason });
        }
        let trust = credentials.trust().clone();
        self.keep_trust(&trust)?;
        self.keep(CERTIFICATE, &certificate.to_pem())?;
        self.record.convention = Some(response.convention);
        self.record.founder = false;
        self.record.authorities = 0;
        self.keep_record()?;
        self.trust = trust;
        self.certificate = Some(certificate);
        Ok(credentials)
    }

    /// Keeps what a join brought to a node that has a convention already: it is of another one from
    /// here on, and has no part in that one's authority.
    pub(crate) fn moved(
        &mut self,
        response: &JoinResponse,
        authority: KeyHash,
        now: Stamp,
    ) -> Result<Credentials, IdentityError> {
        let credentials = self.joined(response, authority, now)?;
        self.drop_authority()?;
        Ok(credentials)
    }

    /// Founds a convention of its own anew, as a node that is of none any more.
    pub(crate) fn found_anew(&mut self, now: Stamp) -> Result<Credentials, IdentityError> {
        self.record.convention = Some(ConventionId(rand::random()));
        self.record.founder = true;
        self.certificate = None;
        self.found_authority(now)?;
        self.renew_own(now)?;
        self.keep_record()?;
        self.credentials()?.ok_or_else(|| IdentityError::Keys {
            reason: "a founder has a certificate".to_owned(),
        })
    }

    /// Keeps a renewed certificate, which must be for this node and key and from an authority that
    /// it trusts, or that one of those has handed over to.
    pub(crate) fn renewed(
        &mut self,
        chain: Vec<Vec<u8>>,
        now: Stamp,
    ) -> Result<Credentials, IdentityError> {
        let certificate = NodeCertificate::from_der(chain).map_err(keys)?;
        let named = certificate.identity();
        if (Some(named.convention), named.node) != (self.record.convention, self.record.node) {
            let reason = format!("the certificate names node `{}`", named.node);
            return Err(IdentityError::Keys { reason });
        }
        if named.key != self.key.hash() {
            let reason = "the certificate is for another key".to_owned();
            return Err(IdentityError::Keys { reason });
        }
        self.adopt(&certificate, now)?;
        let certificate = certificate.bare();
        self.keep(CERTIFICATE, &certificate.to_pem())?;
        self.certificate = Some(certificate);
        self.credentials()?.ok_or_else(|| IdentityError::Keys {
            reason: "a member has a certificate".to_owned(),
        })
    }

    /// Others depend on the log from now on: where it is lost, no empty one may take its place.
    pub(crate) fn settle(&mut self) -> Result<(), IdentityError> {
        if std::mem::replace(&mut self.record.founder, false) {
            self.keep_record()?;
        }
        Ok(())
    }

    /// Issues this node's certificate where it has the key to do so and the old one is half over,
    /// or of an authority that issues no more.
    pub(crate) fn renew_own(&mut self, now: Stamp) -> Result<bool, IdentityError> {
        let Some(authority) = self.authority() else {
            return Ok(false);
        };
        let is_early = self.renewal(0).is_some_and(|(due, _)| now.0 < due.0);
        if is_early && !self.is_outdated() {
            return Ok(false);
        }
        let request = self.key.request().map_err(keys)?;
        let certificate = authority
            .issue(&request, self.record.node, now)
            .map_err(keys)?;
        self.keep(CERTIFICATE, &certificate.to_pem())?;
        self.certificate = Some(certificate);
        Ok(true)
    }

    fn keep_record(&self) -> Result<(), IdentityError> {
        let text = serde_json::to_string(&self.record).map_err(keys)?;
        self.keep(RECORD, &text)?;
        fs::File::open(&self.folder)?.sync_all()?;
        Ok(())
    }

    /// Replaces a file as a whole; only its owner may read it.
    fn keep(&self, name: &str, text: &str) -> Result<(), IdentityError> {
        let mut file = NamedTempFile::new_in(&self.folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_data()?;
        let kept = file.persist(self.folder.join(name));
        kept.map_err(|error| error.error)?;
        Ok(())
    }
}

/// A number that is not zero.
pub(crate) fn draw() -> u64 {
    rand::random::<u64>().max(1)
}

fn read<T, E: std::fmt::Display>(
    folder: &Path,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, IdentityError> {
    let path = folder.join(name);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) if cause.kind() == std::io::ErrorKind::InvalidData => {
            let reason = cause.to_string();
            return Err(IdentityError::Damaged { path, reason });
        }
        Err(cause) => return Err(cause.into()),
    };
    let damaged = |error: E| IdentityError::Damaged {
        path,
        reason: error.to_string(),
    };
    parse(&text).map(Some).map_err(damaged)
}

fn keys(cause: impl std::fmt::Display) -> IdentityError {
    IdentityError::Keys {
        reason: cause.to_string(),
    }
}

fn yes() -> bool {
    true
}

const RECORD: &str = "node.json";
const KEY: &str = "node.key";
const CERTIFICATE: &str = "node.crt";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use transport::identity::Authority;

    use super::authorities::CA_KEY;
    use super::*;
    use crate::directory::Directory;

    const NOW: Stamp = Stamp(1_800_000_000_000);
    const DAY_MS: u64 = 86_400_000;

    #[test]
    fn a_founder_is_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let state = Directory::at(folder.path()).state();
        let first = Identity::open(&state, true, NOW).unwrap();
        let shown = first.credentials().unwrap().unwrap();
        assert_eq!(shown.identity().node, first.node());
        let again = Identity::open(&state, true, NOW).unwrap();
        assert_eq!(again.record, first.record);
        assert_eq!(again.authority_key(), first.authority_key());
        assert_eq!(again.key().hash(), first.key().hash());
        let path = state.identity().unwrap().join(CA_KEY);
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_directory_from_before_gets_its_authority() {
        let folder = tempfile::tempdir().unwrap();
        let state = Directory::at(folder.path()).state();
        let old = r#"{"node":7,"convention":"000102030405060708090a0b0c0d0e0f"}"#;
        fs::write(state.identity().unwrap().join(RECORD), old).unwrap();
        let identity = Identity::open(&state, true, NOW).unwrap();
        assert_eq!(identity.node(), NodeId(7));
        assert!(identity.is_founder());
        let shown = identity.credentials().unwrap().unwrap();
        assert_eq!(shown.identity().convention, identity.convention().unwrap());
    }

    #[test]
    fn a_founder_renews_its_own_certificate_whenever_it_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let state = Directory::at(folder.path()).state();
        let first = Identity::open(&state, true, NOW).unwrap();
        let key = first.key().hash();
        let later = Stamp(NOW.0 + 200 * DAY_MS);
        let again = Identity::open(&state, true, later).unwrap();
        let shown = again.credentials().unwrap().unwrap();
        assert!(!shown.identity().validity.is_over(later));
        assert_eq!(shown.identity().key, key);
    }

    #[test]
    fn a_joiner_keeps_its_key_and_becomes_who_it_asked_to_be() {
        let folder = tempfile::tempdir().unwrap();
        let state = Directory::at(folder.path()).state();
        let waiting = Identity::open(&state, false, NOW).unwrap();
        assert!(waiting.credentials().unwrap().is_none());
        let mut joiner = Identity::open(&state, false, NOW).unwrap();
        assert_eq!(joiner.record, waiting.record);
        let authority = Authority::found(ConventionId([3; 16]), NOW).unwrap();
        let request = joiner.key().request().unwrap();
        let issued = authority.issue(&request, joiner.node(), NOW).unwrap();
        let response = JoinResponse {
            convention: ConventionId([3; 16]),
            node: joiner.node(),
            chain: issued.to_der(),
            document: Vec::new(),
        };
        let pinned = authority.certificate().key_hash();
        joiner.joined(&response, KeyHash([9; 32]), NOW).unwrap_err();
        joiner.joined(&response, pinned, NOW).unwrap();
        let member = Identity::open(&state, true, NOW).unwrap();
        assert_eq!(member.convention(), Some(ConventionId([3; 16])));
        assert!(!member.is_founder() && member.authority().is_none());
        assert!(member.credentials().unwrap().is_some());
    }

    #[test]
    fn a_founder_moves_to_another_convention_and_founds_one_of_its_own_again() {
        let folder = tempfile::tempdir().unwrap();
        let state = Directory::at(folder.path()).state();
        let mut node = Identity::open(&state, true, NOW).unwrap();
        let (id, key, first) = (node.node(), node.key().hash(), node.convention());
        let authority = Authority::found(ConventionId([3; 16]), NOW).unwrap();
        let request = node.key().request().unwrap();
        let response = JoinResponse {
            convention: ConventionId([3; 16]),
            node: id,
            chain: authority.issue(&request, id, NOW).unwrap().to_der(),
            document: Vec::new(),
        };
        let pinned = authority.certificate().key_hash();
        node.moved(&response, pinned, NOW).unwrap();
        let member = Identity::open(&state, true, NOW).unwrap();
        assert_eq!(member.convention(), Some(ConventionId([3; 16])));
        assert!(!member.is_founder() && member.authority().is_none());
        let shown = node.found_anew(NOW).unwrap();
        assert_eq!((shown.identity().node, shown.identity().key), (id, key));
        assert!(![first, member.convention()].contains(&node.convention()));
        let again = Identity::open(&state, true, NOW).unwrap();
        assert_eq!(again.record, node.record);
        assert!(again.is_founder() && again.authority().is_some());
        assert_eq!(again.authority_key(), node.authority_key());
    }

    #[test]
    fn the_authoritys_key_comes_and_goes_with_the_vote() {
        let folder = tempfile::tempdir().unwrap();
        let state = Directory::at(folder.path()).state();
        let mut founder = Identity::open(&state, true, NOW).unwrap();
        let key = founder.authority().unwrap().to_bundle();
        founder.drop_authority().unwrap();
        let mut again = Identity::open(&state, true, NOW).unwrap();
        assert!(again.authority().is_none() && !again.is_founder());
        again.take_authority(&key).unwrap();
        let voter = Identity::open(&state, true, NOW).unwrap();
        assert!(voter.authority().is_some());
    }
}
