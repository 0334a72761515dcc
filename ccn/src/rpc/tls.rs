//! Mutual TLS: each end shows a certificate of one authority, and is who that says.
//!
//! TLS 1.3 by rustls with ring, Ed25519 certificates (their signatures have one length and need no randomness),
//! no resumption. Keys and nonces come from the operating system; where a [`Host`] has seeded secrets they come
//! from it, and time from its clock, so that a simulated run repeats to the byte: [`seeded`].

mod quic;
mod seeded;

use core::fmt;
use core::future::Future;
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyedge_net::host::Host;
use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

pub(crate) use self::quic::shown;
use self::seeded::{Scoped, Secrets};
use super::certificates::{Identity, read_peer};
use super::peer::Role;

/// Where a simulated clock stands in the calendar at its zero: 2026-01-01.
const SIMULATED_ZERO: Duration = Duration::from_secs(1_767_225_600);
const PROTOCOL: &[u8] = b"h2";

/// One end's certificate and whom it trusts, ready for both roles. Cloning shares it.
#[derive(Clone)]
pub struct Tls {
    /// What clones share: a renewed certificate is that of all of them.
    shown: Arc<Mutex<Shown>>,
    secrets: Secrets,
}

/// What handshakes from here on show and ask for.
#[derive(Clone)]
struct Shown {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    /// From which keys come that a restart does not change.
    lasting: ring::hkdf::Prk,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// A stream that TLS protects.
pub(super) type Protected<S> = Scoped<TlsStream<S>>;

impl Tls {
    /// `host` is `identity` and trusts whom `identity`'s authority vouches for.
    ///
    /// # Errors
    /// When certificate and key do not fit each other, or are none.
    pub fn new<H: Host>(host: &H, identity: &Identity) -> Result<Tls, rustls::Error> {
        let secrets = Secrets::of(host);
        let shown = Shown::new(host, identity, &secrets)?;
        let shown = Arc::new(Mutex::new(shown));
        Ok(Tls { shown, secrets })
    }

    /// Takes another certificate, for this one and all its clones; connections that stand go on with the old one.
    ///
    /// # Errors
    /// As for [`Tls::new`]; then nothing changes.
    pub fn renew<H: Host>(&self, host: &H, identity: &Identity) -> Result<(), rustls::Error> {
        let shown = Shown::new(host, identity, &self.secrets)?;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(())
    }

    fn shown(&self) -> Shown {
        let shown = self.shown.lock();
        shown.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens TLS on `stream` towards the server that is called `server`.
    pub(super) async fn connect<S>(&self, server: &str, stream: S) -> io::Result<Protected<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(server.to_owned())
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let connector = TlsConnector::from(self.shown().client);
        let connect = self.secrets.scope(|| connector.connect(name, stream));
        let stream = Scoped::new(connect, self.secrets.clone()).await?;
        Ok(Scoped::new(stream.into(), self.secrets.clone()))
    }

    /// Answers TLS on `stream`; who the client is.
    pub(super) async fn accept<S>(&self, stream: S) -> io::Result<(Protected<S>, String, Role)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(self.shown().server);
        let accept = self.secrets.scope(|| acceptor.accept(stream));
        let stream = Scoped::new(accept, self.secrets.clone()).await?;
        let shown: Option<&CertificateDer<'_>> = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first);
        let (name, role) = shown
            .and_then(read_peer)
            .ok_or(io::ErrorKind::InvalidData)?;
        let stream = Scoped::new(stream.into(), self.secrets.clone());
        Ok((stream, name, role))
    }
}

impl Shown {
    fn new<H: Host>(
        host: &H,
        identity: &Identity,
        secrets: &Secrets,
    ) -> Result<Shown, rustls::Error> {
        let (provider, time): (CryptoProvider, Arc<dyn TimeProvider>) = if secrets.are_seeded() {
            (seeded::provider(), Arc::new(HostTime(host.clone())))
        } else {
            let provider = rustls::crypto::ring::default_provider();
            (provider, Arc::new(DefaultTimeProvider))
        };
        let provider = Arc::new(provider);
        let mut roots = RootCertStore::empty();
        roots.add(identity.authority.clone())?;
        let roots = Arc::new(roots);
        let chain = vec![identity.certificate.clone()];

        let mut client =
            ClientConfig::builder_with_details(Arc::clone(&provider), Arc::clone(&time))
                .with_protocol_versions(&[&TLS13])?
                .with_root_certificates(Arc::clone(&roots))
                .with_client_auth_cert(chain.clone(), identity.key.clone_key())?;
        client.alpn_protocols = vec![PROTOCOL.to_vec()];
        client.resumption = Resumption::disabled();

        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut server = ServerConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, identity.key.clone_key())?;
        server.alpn_protocols = vec![PROTOCOL.to_vec()];
        server.send_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Shown {
            client: Arc::new(client),
            server: Arc::new(server),
            lasting: quic::lasting_keys(identity.key.secret_der()),
        })
    }
}

/// The calendar by a host's clock.
struct HostTime<H>(H);

impl<H: Host> TimeProvider for HostTime<H> {
    fn current_time(&self) -> Option<UnixTime> {
        let since_zero = Duration::from_nanos(self.0.now().as_nanos());
        Some(UnixTime::since_unix_epoch(SIMULATED_ZERO + since_zero))
    }
}

impl<H: Host> fmt::Debug for HostTime<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostTime").field(&self.0.name()).finish()
    }
}

/// A future that is polled with its host's secrets at hand.
impl<F: Future + Unpin> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(
        self: core::pin::Pin<&mut Self>,
        context: &mut core::task::Context<'_>,
    ) -> core::task::Poll<F::Output> {
        self.scoped(|future| future.poll(context))
    }
}
