//! What one end of gRPC grants the other, and for how long it waits.
//!
//! Everything that a peer can make us keep or wait for has a number here. A message's size is the generated
//! service's own limit (`max_decoding_message_size`, 4 MiB unless set).

use core::time::Duration;

/// The limits of a server or a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections of a server at one time; one more is reset.
    pub connections_max: usize,
    /// Calls at one time: of a server over all connections, of a channel. One more is `RESOURCE_EXHAUSTED`.
    pub calls_max: usize,
    /// Calls at one time on one connection of a server; the client keeps back what is more.
    pub streams_max: u32,
    /// Bytes of one call's headers.
    pub header_bytes_max: u32,
    /// Bytes of one call that may be on their way to us before they are read.
    pub window_bytes: u32,
    /// The same for a whole connection.
    pub connection_window_bytes: u32,
    /// Bytes of one call that wait here for the peer's window.
    pub send_bytes_max: usize,
    /// Bytes of a connection that its TCP has taken and never sent; `None`: what it has room for.
    pub unsent_bytes_max: Option<u32>,
    /// For connecting with TLS and HTTP/2, or for a client's first bytes.
    pub handshake_max: Duration,
    /// Between two questions whether the peer still answers.
    pub ping_every: Duration,
    /// For its answer: a connection without one is cut.
    pub ping_wait: Duration,
    /// For the peer to take any byte of a call's message: a call that waits longer is cut.
    pub stalled_max: Duration,
    /// A server closes a connection without calls after this time.
    pub idle_max: Duration,
    /// Between two attempts of a channel to connect: doubles up to this from a sixteenth of it.
    pub retry_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 4_096,
            calls_max: 8_192,
            streams_max: 256,
            header_bytes_max: 16 << 10,
            window_bytes: 256 << 10,
            connection_window_bytes: 1 << 20,
            send_bytes_max: 256 << 10,
            unsent_bytes_max: None,
            handshake_max: Duration::from_secs(10),
            ping_every: Duration::from_secs(10),
            ping_wait: Duration::from_secs(10),
            stalled_max: Duration::from_secs(20),
            idle_max: Duration::from_secs(300),
            retry_max: Duration::from_secs(2),
        }
    }
}
