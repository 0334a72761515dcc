//! TLS whose every random byte comes from a host's seeded stream.
//!
//! rustls takes its randomness from objects that live for ever, so they cannot belong to a host. What belongs to
//! one is put at hand for the length of each call into rustls and taken away after it; a call without it fails.
//! The key exchange is X25519 by dalek, since ring draws its keys from the operating system alone.
//!
//! For the simulator only: secrets that can be computed from a seed protect nobody.

use core::cell::RefCell;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyedge_net::host::Host;
use anyedge_net::rng::Rng;
use futures_io::{AsyncRead, AsyncWrite};
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup, ring,
};
use rustls::{Error, NamedGroup, PeerMisbehaved};

thread_local! {
    static AT_HAND: RefCell<Option<Arc<Mutex<Rng>>>> = const { RefCell::new(None) };
}

/// A host's secrets: its own stream, or none where the operating system has better ones.
#[derive(Clone)]
pub(super) struct Secrets(Option<Arc<Mutex<Rng>>>);

impl Secrets {
    pub(super) fn of(host: &impl Host) -> Secrets {
        let stream = host.secrets("tls");
        Secrets(stream.map(|rng| Arc::new(Mutex::new(rng))))
    }

    pub(super) const fn are_seeded(&self) -> bool {
        self.0.is_some()
    }

    /// Calls into rustls.
    pub(super) fn scope<R>(&self, act: impl FnOnce() -> R) -> R {
        let Some(rng) = &self.0 else {
            return act();
        };
        let outer = AT_HAND.replace(Some(Arc::clone(rng)));
        let result = act();
        AT_HAND.set(outer);
        result
    }
}

/// Something of rustls that draws randomness when it is polled.
pub(in crate::rpc) struct Scoped<T> {
    inner: T,
    secrets: Secrets,
}

impl<T: Unpin> Scoped<T> {
    pub(super) const fn new(inner: T, secrets: Secrets) -> Scoped<T> {
        Scoped { inner, secrets }
    }

    pub(super) fn scoped<R>(self: Pin<&mut Self>, act: impl FnOnce(Pin<&mut T>) -> R) -> R {
        let this = self.get_mut();
        let inner = &mut this.inner;
        this.secrets.scope(|| act(Pin::new(inner)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Scoped<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.scoped(|stream| stream.poll_read(context, into))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Scoped<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.scoped(|stream| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.scoped(|stream| stream.poll_flush(context))
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.scoped(|stream| stream.poll_close(context))
    }
}

/// ring's provider with the two things exchanged that draw randomness.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![&X25519],
        secure_random: &AtHand,
        ..ring::default_provider()
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
    AT_HAND.with_borrow(|rng| {
        let rng = rng.as_ref().ok_or(GetRandomFailed)?;
        // A generator that a panic interrupted is still a generator.
        rng.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill(bytes);
        Ok(())
    })
}

#[derive(Debug)]
struct AtHand;

impl SecureRandom for AtHand {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        fill(bytes)
    }
}

#[derive(Debug)]
struct X25519;

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut secret = [0; 32];
        fill(&mut secret)?;
        let public = x25519_dalek::x25519(secret, x25519_dalek::X25519_BASEPOINT_BYTES);
        Ok(Box::new(Exchange { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct Exchange {
    secret: [u8; 32],
    public: [u8; 32],
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, theirs: &[u8]) -> Result<SharedSecret, Error> {
        let invalid = || Error::from(PeerMisbehaved::InvalidKeyShare);
        let theirs = theirs.try_into().map_err(|_| invalid())?;
        let shared = x25519_dalek::x25519(self.secret, theirs);
        // A point of small order (RFC 7748 section 6.1).
        if shared == [0; 32] {
            return Err(invalid());
        }
        Ok(SharedSecret::from(&shared[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}
