//! The same certificates for QUIC: what quinn takes of a [`Tls`], and who the peer of a connection is.

use std::any::Any;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::crypto::{HandshakeTokenKey, HmacKey};
use ring::{hkdf, hmac};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ServerConfig};

use super::Tls;
use crate::rpc::certificates::read_peer;
use crate::rpc::peer::Role;

/// What a tunnel's connections say that they are for (RFC 7301).
const PROTOCOL: &[u8] = b"anyedge-tunnel";
const HAS_SUITE: &str = "ring has the suite that every QUIC handshake begins with";

/// Keys of a node that outlive it: of its private key.
pub(super) fn lasting_keys(private: &[u8]) -> hkdf::Prk {
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"anyedge quic").extract(private)
}

impl Tls {
    /// Calls into rustls or quinn, with the host's secrets at hand.
    pub(crate) fn scope<R>(&self, act: impl FnOnce() -> R) -> R {
        self.secrets.scope(act)
    }

    pub(crate) fn quic_client(&self) -> Arc<QuicClientConfig> {
        let mut config = ClientConfig::clone(&self.shown().client);
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Arc::new(config.try_into().expect(HAS_SUITE))
    }

    pub(crate) fn quic_server(&self) -> Arc<QuicServerConfig> {
        let mut config = ServerConfig::clone(&self.shown().server);
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Arc::new(config.try_into().expect(HAS_SUITE))
    }

    /// With which stateless resets are made.
    pub(crate) fn quic_reset_key(&self) -> Arc<dyn HmacKey> {
        let lasting = self.shown().lasting;
        let expanded = lasting.expand(&[b"reset"], hmac::HMAC_SHA256);
        let key = expanded.expect("as long as the hash");
        Arc::new(hmac::Key::from(key))
    }

    /// With which tokens would be made, of which there are none.
    pub(crate) fn quic_token_key(&self) -> Arc<dyn HandshakeTokenKey> {
        Arc::new(lasting_keys(b"no tokens"))
    }
}

/// Name and role in the certificate that the peer of a connection has shown.
pub(crate) fn shown(identity: Option<Box<dyn Any>>) -> Option<(String, Role)> {
    let chain = identity?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.first().and_then(read_peer)
}
