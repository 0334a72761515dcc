//! QUIC over a `Host`: quinn on the host's own sockets, tasks, clock and secrets, the same in both worlds.
//!
//! quinn brings a runtime of its own for nothing: where it wants a timer, a task, a socket or the time, it asks
//! [`runtime::HostRuntime`] and [`socket::Socket`]. All that it draws at random comes from the operating system, or, where a
//! host has seeded secrets, from those, so that a simulated run repeats to the byte ([`settings`] has the list). Streams,
//! migration, retry and resumption are off: what is left are datagrams (RFC 9221) between two ends with certificates.

mod runtime;
mod settings;
mod socket;

use core::net::{IpAddr, SocketAddr};
use std::io;
use std::sync::Arc;

use anyedge_net::host::{Host, UdpSocket as _};
use anyedge_net::wire::{ip, udp};
use quinn::{ConnectError, Connecting, ServerConfig};

use self::runtime::HostRuntime;
use self::settings::{Draw, client, endpoint, server};
use self::socket::Socket;
use crate::rpc::Tls;

/// The largest UDP payload in packets of `mtu` bytes to or from `address`.
pub(crate) const fn payload_of(address: IpAddr, mtu: u16) -> u16 {
    let headers = match address {
        IpAddr::V4(_) => ip::header_len(anyedge_net::flow::Family::V4),
        IpAddr::V6(_) => ip::header_len(anyedge_net::flow::Family::V6),
    };
    mtu.saturating_sub((headers + udp::HEADER_LEN) as u16)
}

/// A UDP socket with the connections on it. Dropping it ends them.
pub(crate) struct Endpoint<H: Host> {
    tls: Tls,
    draw: Arc<Draw>,
    socket: Arc<Socket<H::Udp>>,
    inner: quinn::Endpoint,
}

impl<H: Host> Endpoint<H> {
    /// Binds `local`, for paths whose packets have at most `mtu_max` bytes. Others may call where `answers`.
    ///
    /// # Errors
    /// When the address is not there or its port is taken.
    pub(crate) fn open(
        host: &H,
        local: SocketAddr,
        tls: &Tls,
        mtu_max: u16,
        answers: bool,
    ) -> io::Result<Endpoint<H>> {
        let udp = host.udp_bind(local)?;
        udp.never_fragment()?;
        let socket = Arc::new(Socket::new(udp));
        let draw = Arc::new(Draw::of(host));
        let payload = payload_of(local.ip(), mtu_max);
        let config = endpoint(tls, &draw, payload);
        let answering = answers.then(|| server(tls, payload));
        let inner = quinn::Endpoint::new_with_abstract_socket(
            config,
            answering,
            Arc::clone(&socket) as Arc<dyn quinn::AsyncUdpSocket>,
            Arc::new(HostRuntime::new(host, tls)),
        )?;
        Ok(Endpoint {
            tls: tls.clone(),
            draw,
            socket,
            inner,
        })
    }

    /// Calls the server of that name, over a path whose packets have at most `mtu` bytes.
    pub(crate) fn connect(
        &self,
        to: SocketAddr,
        name: &str,
        mtu: u16,
    ) -> Result<Connecting, ConnectError> {
        let config = client(&self.tls, &self.draw, payload_of(to.ip(), mtu));
        self.tls.scope(|| self.inner.connect_with(config, to, name))
    }

    /// How one that calls from `address` is answered, over a path whose packets have at most `mtu` bytes.
    pub(crate) fn answer_config(&self, address: IpAddr, mtu: u16) -> Arc<ServerConfig> {
        Arc::new(server(&self.tls, payload_of(address, mtu)))
    }

    /// The endpoint of quinn, to accept with.
    pub(crate) fn inner(&self) -> &quinn::Endpoint {
        &self.inner
    }

    /// Where it is bound.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.socket.local()
    }

    /// Datagrams that came in, whatever they were.
    pub(crate) fn received(&self) -> u64 {
        self.socket.received()
    }
}

impl<H: Host> Drop for Endpoint<H> {
    fn drop(&mut self) {
        self.inner.close(0_u32.into(), b"");
    }
}
