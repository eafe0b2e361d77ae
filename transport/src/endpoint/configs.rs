//! The settings of quinn and rustls: TLS 1.3 only, no resumption, no early data, windows.
//!
//! One rustls configuration per connection: it takes the credentials of that moment, and its check
//! notes why it refused exactly this peer.

use std::sync::Arc;

use protocol::ConventionId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::version::TLS13;

use super::settings::{Alpn, Settings};
use crate::credentials::Credentials;
use crate::crypto;
use crate::verify::{AcceptorCheck, Accepts, DiallerCheck, Note};

/// rustls or quinn does not take the settings: a bug, or a build without the needed ciphers.
#[derive(Debug, thiserror::Error)]
#[error("the settings for TLS are not accepted: {0}")]
pub(crate) struct ConfigFault(String);

/// A server that can answer nobody; each arrival gets a configuration of its own.
pub(crate) fn door() -> Result<ServerConfig, ConfigFault> {
    let check = AcceptorCheck {
        roots: Arc::new(RootCertStore::empty()),
        retired: Arc::new(RootCertStore::empty()),
        convention: ConventionId::default(),
        note: Note::default(),
    };
    let mut config = server(check, Arc::new(Nobody), TransportConfig::default())?;
    config.migration(true);
    config.max_incoming(ARRIVALS_WAITING_MAX);
    Ok(config)
}

/// For one connection that arrives.
pub(crate) fn acceptor(
    credentials: &Credentials,
    note: Note,
    settings: &Settings,
) -> Result<Arc<ServerConfig>, ConfigFault> {
    let check = AcceptorCheck {
        roots: credentials.roots(),
        retired: credentials.retired(),
        convention: credentials.identity().convention,
        note,
    };
    let mut transport = transport(settings);
    // Until its peer is admitted: one stream, for the first exchange, and little memory.
    transport.max_concurrent_bidi_streams(VarInt::from_u32(1));
    transport.max_concurrent_uni_streams(VarInt::from_u32(0));
    transport.receive_window(VarInt::from_u32(JOIN_WINDOW_BYTES));
    server(check, credentials.shown(), transport).map(Arc::new)
}

/// For one connection that is dialled; without credentials, the dialler shows no certificate.
pub(crate) fn dialler(
    credentials: Option<&Credentials>,
    accepts: Accepts,
    note: Note,
    alpn: Alpn,
    settings: &Settings,
) -> Result<ClientConfig, ConfigFault> {
    let builder = rustls::ClientConfig::builder_with_provider(crypto::provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(fault)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(DiallerCheck { accepts, note }));
    let mut tls = match credentials {
        Some(credentials) => builder.with_client_cert_resolver(credentials.shown()),
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![alpn.name().as_bytes().to_vec()];
    tls.resumption = Resumption::disabled();
    tls.enable_early_data = false;
    let tls = QuicClientConfig::try_from(tls).map_err(fault)?;
    let mut transport = transport(settings);
    if matches!(alpn, Alpn::Convention | Alpn::Lane) {
        transport.keep_alive_interval(Some(settings.keep_alive));
    }
    let limits = limits(alpn);
    transport.receive_window(VarInt::from_u32(limits.window_bytes));
    transport.max_concurrent_bidi_streams(VarInt::from_u32(limits.bi_streams));
    transport.max_concurrent_uni_streams(VarInt::from_u32(limits.uni_streams));
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Gives an admitted connection the room of its kind.
pub(crate) fn admit(connection: &quinn::Connection, alpn: Alpn) {
    let limits = limits(alpn);
    connection.set_receive_window(VarInt::from_u32(limits.window_bytes));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(limits.bi_streams));
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(limits.uni_streams));
}

fn server(
    check: AcceptorCheck,
    shown: Arc<dyn ResolvesServerCert>,
    transport: TransportConfig,
) -> Result<ServerConfig, ConfigFault> {
    let mut tls = rustls::ServerConfig::builder_with_provider(crypto::provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(fault)?
        .with_client_cert_verifier(Arc::new(check))
        .with_cert_resolver(shown);
    tls.alpn_protocols = Alpn::ALL
        .iter()
        .map(|alpn| alpn.name().as_bytes().to_vec())
        .collect();
    // A resumed session would skip the check of the client's certificate.
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    tls.max_early_data_size = 0;
    let tls = QuicServerConfig::try_from(tls).map_err(fault)?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

fn transport(settings: &Settings) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(IdleTimeout::try_from(settings.idle).ok());
    transport.stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES));
    transport.send_window(u64::from(STREAM_WINDOW_BYTES));
    transport.datagram_receive_buffer_size(None);
    transport.enable_segmentation_offload(settings.segmentation_offload);
    transport
}

struct Limits {
    window_bytes: u32,
    bi_streams: u32,
    uni_streams: u32,
}

/// What an admitted peer may have under way on a connection of this kind.
fn limits(alpn: Alpn) -> Limits {
    let (window_bytes, bi_streams, uni_streams) = match alpn {
        // Many small requests; a raft append or a snapshot's chunk fits.
        Alpn::Convention => (STREAM_WINDOW_BYTES, 256, 64),
        // One stream per pair of nodes and direction, a few more while they are replaced.
        Alpn::Lane => (STREAM_WINDOW_BYTES, 16, 64),
        // Several transfers side by side share twice the window of one.
        Alpn::Bulk => (2 * STREAM_WINDOW_BYTES, 16, 0),
        Alpn::Join => (JOIN_WINDOW_BYTES, 1, 0),
    };
    Limits {
        window_bytes,
        bi_streams,
        uni_streams,
    }
}

#[derive(Debug)]
struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(
        &self,
        _hello: rustls::server::ClientHello<'_>,
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }
}

fn fault(cause: impl std::fmt::Display) -> ConfigFault {
    ConfigFault(cause.to_string())
}

/// Bandwidth times delay of 10 Gbit/s over 13 ms, or 1 Gbit/s over 130 ms.
const STREAM_WINDOW_BYTES: u32 = 16 << 20;

/// What strangers may make this node hold per connection.
const JOIN_WINDOW_BYTES: u32 = 256 << 10;

/// Connections that wait to be accepted; more are turned away by quinn.
const ARRIVALS_WAITING_MAX: usize = 1024;
