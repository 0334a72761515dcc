//! The one connection of a channel: made, kept, found dead, made again.
//!
//! Attempts that fail are spaced by a growing pause with seeded jitter, so that clients of a server that comes
//! back do not all come at once. A pause starts anew after a connection that stood.

use core::net::SocketAddr;
use core::task::Poll;
use core::time::Duration;
use std::future::poll_fn;
use std::io;

use anyedge_net::host::{Host, TcpStream as _};
use anyedge_net::rng::Rng;
use anyedge_net::time::Instant;
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Status;

use super::Shared;
use crate::rpc::deadline::until;
use crate::rpc::failure::unconnected;
use crate::rpc::keepalive::Keepalive;
use crate::rpc::limits::Limits;
use crate::rpc::security::ClientSecurity;
use crate::rpc::stream_io::StreamIo;
use crate::rpc::{RESET_REMEMBERED, RESETS_REMEMBERED_MAX};

/// The connection, or when the next attempt at one is due.
pub(super) struct Connection {
    sender: Option<SendRequest<Bytes>>,
    failures: u32,
    not_before: Instant,
    jitter: Rng,
}

impl Connection {
    /// None yet.
    pub(super) fn new(host: &impl Host, address: SocketAddr) -> Connection {
        Connection {
            sender: None,
            failures: 0,
            not_before: Instant::ZERO,
            jitter: host.rng(&format!("rpc retry {address}")),
        }
    }

    /// A handle to the connection; a new one when the last was lost.
    pub(super) async fn get<H: Host>(
        &mut self,
        shared: &Shared<H>,
    ) -> Result<SendRequest<Bytes>, Status> {
        if let Some(sender) = &mut self.sender {
            let mut alive = sender.clone();
            let is_alive = poll_fn(|context| {
                Poll::Ready(!matches!(alive.poll_ready(context), Poll::Ready(Err(_))))
            });
            if is_alive.await {
                return Ok(sender.clone());
            }
            self.sender = None;
        }
        let now = shared.host.now();
        if now < self.not_before {
            return Err(Status::unavailable(
                "connecting: the last attempt failed just now",
            ));
        }
        let patience_ends = now + shared.limits.handshake_max;
        let made = until(&shared.host, patience_ends, shared.make()).await;
        match made.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into())) {
            Ok(sender) => {
                self.failures = 0;
                self.sender = Some(sender.clone());
                Ok(sender)
            }
            Err(error) => {
                self.pause(shared.host.now(), shared.limits.retry_max);
                Err(unconnected(&error))
            }
        }
    }

    fn pause(&mut self, now: Instant, longest: Duration) {
        let pause = (longest / 16 * (1 << self.failures.min(4))).min(longest);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + pause / 2 + self.jitter.up_to(pause / 2);
    }
}

impl<H: Host> Shared<H> {
    async fn make(&self) -> io::Result<SendRequest<Bytes>> {
        let stream = self.host.tcp_connect(None, self.address).await?;
        if let Some(bytes) = self.limits.unsent_bytes_max {
            stream.limit_unsent(bytes)?;
        }
        match &self.security {
            ClientSecurity::Plain => self.greet(StreamIo(stream)).await,
            ClientSecurity::Tls { tls, server } => {
                let stream = tls.connect(server, stream).await?;
                self.greet(StreamIo(stream)).await
            }
        }
    }

    async fn greet<T>(&self, io: T) -> io::Result<SendRequest<Bytes>>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Limits {
            header_bytes_max,
            window_bytes,
            connection_window_bytes,
            send_bytes_max,
            ping_every,
            ping_wait,
            ..
        } = self.limits;
        let mut builder = Builder::new();
        builder
            .reset_stream_duration(RESET_REMEMBERED)
            .max_concurrent_reset_streams(RESETS_REMEMBERED_MAX)
            .enable_push(false)
            .max_header_list_size(header_bytes_max)
            .initial_window_size(window_bytes)
            .initial_connection_window_size(connection_window_bytes)
            .max_send_buffer_size(send_bytes_max);
        let (sender, mut connection) = builder.handshake(io).await.map_err(io::Error::other)?;
        let pings = connection.ping_pong().expect("it is asked for once");
        let mut keepalive = Keepalive::new(&self.host, pings, ping_every, ping_wait);
        self.host.spawn(async move {
            let mut connection = core::pin::pin!(connection);
            poll_fn(|context| {
                if keepalive.poll_dead(context).is_ready() {
                    return Poll::Ready(());
                }
                connection.as_mut().poll(context).map(drop)
            })
            .await;
        });
        Ok(sender)
    }
}
