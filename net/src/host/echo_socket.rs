//! ICMP echoes of a host: what `ping` sends and gets back, IPv4 and IPv6.
//!
//! A socket is a series of echoes under one identifier, which the host chooses and keeps apart from those of other
//! series. Requests that reach a host are answered by its kernel and shown to nobody. ICMP errors are not told:
//! an echo that is not answered has failed, whyever. References: RFC 792, RFC 4443 §4, RFC 1122 §3.2.2.6.

use core::convert::Infallible;
use core::future::poll_fn;
use core::net::IpAddr;
use core::task::{Context, Poll};
use std::io;

/// What comes beside the bytes of an echo reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EchoMeta {
    /// Who answered.
    pub peer: IpAddr,
    /// The number of the request that it answers.
    pub sequence: u16,
    /// TTL or hop limit, as received.
    pub ttl: u8,
}

/// A series of echoes of a [`Host`](super::Host). One task at a time waits for replies.
pub trait EchoSocket: Send + Sync + 'static {
    /// Sends an echo request. A full device queue loses it silently; `InvalidInput` for a peer of another family or more
    /// bytes than an echo holds.
    fn send(&self, to: IpAddr, sequence: u16, payload: &[u8]) -> io::Result<()>;

    /// The next reply, its bytes cut to `into`; their whole number is given.
    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<(usize, EchoMeta)>>;

    /// The next reply, its bytes cut to `into`; their whole number is given.
    fn recv(&self, into: &mut [u8]) -> impl Future<Output = io::Result<(usize, EchoMeta)>> + Send
    where
        Self: Sized,
    {
        poll_fn(move |context| self.poll_recv(context, into))
    }
}

/// The echoes of a host that sends none.
impl EchoSocket for Infallible {
    fn send(&self, _: IpAddr, _: u16, _: &[u8]) -> io::Result<()> {
        match *self {}
    }

    fn poll_recv(&self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<(usize, EchoMeta)>> {
        match *self {}
    }
}
