//! The seam behind which a host's TCP stands: one connection's protocol machine and what drives it.
//!
//! There are two: [smoltcp's](by_smoltcp), and [one of our own](linux_like) that does as Linux does. What both must know of each
//! other is nothing; what a host needs of either is here, and what follows from it the same way for both.

mod by_smoltcp;
mod linux_like;
mod memory;

use anyedge_net::fetch::Place;
use anyedge_net::time::Instant;
use anyedge_net::wire::Parsed;
use anyedge_topologies::TcpStack;

use super::Io;
use super::tuple::Tuple;
use linux_like::Connection;

/// Bytes that one connection buffers each way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpBuffers {
    /// Received and not yet read; also the largest receive window.
    pub receive: usize,
    /// Written and not yet acknowledged.
    pub send: usize,
}

impl Default for TcpBuffers {
    /// 64 KiB each way, of which only what is used becomes memory.
    fn default() -> TcpBuffers {
        TcpBuffers {
            receive: 65_536,
            send: 65_536,
        }
    }
}

/// What reports call a TCP.
pub const fn name_of(stack: TcpStack) -> &'static str {
    match stack {
        TcpStack::Smoltcp => "smoltcp 0.14 (Reno, no SACK)",
        TcpStack::LinuxLike => "Linux-like (Reno, SACK, 10 segments at first)",
    }
}

/// Where a connection stands, as far as its owner must know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Our SYN is unanswered.
    Opening,
    /// Their SYN is answered, the handshake not complete.
    Accepting,
    /// Our direction is open.
    Open,
    /// Our direction is closed, theirs maybe not.
    Closing,
    /// Ours is closed and acknowledged, theirs open (FIN-WAIT-2).
    HalfClosed,
    /// Both are closed; late segments must still be answered.
    TimeWait,
    /// Over: by both FINs, a RST, or refused in the handshake.
    Closed,
}

/// What all connections of a host share.
pub(super) enum TcpEngine {
    Smoltcp(Box<by_smoltcp::Engine>),
    LinuxLike(linux_like::Engine),
}

/// One connection's protocol machine and its buffers, which are kept when it is used again.
pub(super) enum TcpEndpoint {
    Smoltcp(by_smoltcp::Endpoint),
    LinuxLike(Box<Connection>),
}

/// Where an endpoint lies.
#[derive(Clone, Copy)]
pub(super) enum EndpointPlace {
    Smoltcp(by_smoltcp::EndpointPlace),
    LinuxLike(Place<{ size_of::<Connection>() }>),
}

impl EndpointPlace {
    /// Has it brought to the processor, but for its buffers.
    pub(super) fn fetch(self) {
        match self {
            EndpointPlace::Smoltcp(place) => place.fetch(),
            EndpointPlace::LinuxLike(place) => place.fetch(),
        }
    }
}

impl TcpEngine {
    pub(super) fn new(stack: TcpStack, mtu: usize, seed: u64, buffers: TcpBuffers) -> TcpEngine {
        match stack {
            TcpStack::Smoltcp => {
                TcpEngine::Smoltcp(Box::new(by_smoltcp::Engine::new(mtu, seed, buffers)))
            }
            TcpStack::LinuxLike => {
                TcpEngine::LinuxLike(linux_like::Engine::new(mtu, seed, buffers))
            }
        }
    }

    /// Segments that were not sent because the pool had no slot; their loss is repaired like any other.
    pub(super) const fn unsent(&self) -> u64 {
        match self {
            TcpEngine::Smoltcp(engine) => engine.unsent(),
            TcpEngine::LinuxLike(engine) => engine.unsent,
        }
    }

    pub(super) fn endpoint(&self) -> TcpEndpoint {
        match self {
            TcpEngine::Smoltcp(engine) => TcpEndpoint::Smoltcp(engine.endpoint()),
            TcpEngine::LinuxLike(engine) => {
                TcpEndpoint::LinuxLike(Box::new(Connection::new(engine)))
            }
        }
    }

    /// Starts a connection; the SYN leaves with the next [`transmit`](TcpEngine::transmit).
    pub(super) fn connect(&mut self, endpoint: &mut TcpEndpoint, tuple: &Tuple, now: Instant) {
        match (self, endpoint) {
            (TcpEngine::Smoltcp(engine), TcpEndpoint::Smoltcp(endpoint)) => {
                engine.connect(endpoint, tuple);
            }
            (TcpEngine::LinuxLike(engine), TcpEndpoint::LinuxLike(connection)) => {
                connection.connect(tuple, engine, now);
            }
            _ => unreachable!("{OF_ONE_ENGINE}"),
        }
    }

    /// Waits for the SYN of `tuple` that is handed in next.
    pub(super) fn listen(&mut self, endpoint: &mut TcpEndpoint, tuple: &Tuple, now: Instant) {
        match (self, endpoint) {
            (TcpEngine::Smoltcp(engine), TcpEndpoint::Smoltcp(endpoint)) => {
                engine.listen(endpoint, tuple);
            }
            (TcpEngine::LinuxLike(engine), TcpEndpoint::LinuxLike(connection)) => {
                connection.listen(tuple, engine, now);
            }
            _ => unreachable!("{OF_ONE_ENGINE}"),
        }
    }

    /// Takes in one segment: a whole IP packet, verified and meant for this endpoint. Answers that cannot wait
    /// (to a gap, to a segment outside the window) may leave at once.
    pub(super) fn receive(
        &mut self,
        endpoint: &mut TcpEndpoint,
        bytes: &[u8],
        parsed: &Parsed,
        io: &mut Io<'_>,
    ) {
        match (self, endpoint) {
            (TcpEngine::Smoltcp(engine), TcpEndpoint::Smoltcp(endpoint)) => {
                engine.receive(endpoint, &bytes[..parsed.total_len], io);
            }
            (TcpEngine::LinuxLike(_), TcpEndpoint::LinuxLike(connection)) => {
                connection.receive(parsed.l4(bytes), io.now);
            }
            _ => unreachable!("{OF_ONE_ENGINE}"),
        }
    }

    /// Sends all that the endpoint may send now, in packets of at most `mtu` bytes, and returns when it wants to
    /// be asked again.
    pub(super) fn transmit(
        &mut self,
        endpoint: &mut TcpEndpoint,
        mtu: usize,
        io: &mut Io<'_>,
    ) -> Instant {
        match (self, endpoint) {
            (TcpEngine::Smoltcp(engine), TcpEndpoint::Smoltcp(endpoint)) => {
                engine.transmit(endpoint, mtu, io)
            }
            (TcpEngine::LinuxLike(engine), TcpEndpoint::LinuxLike(connection)) => {
                connection.transmit(engine, mtu, io)
            }
            _ => unreachable!("{OF_ONE_ENGINE}"),
        }
    }
}

const OF_ONE_ENGINE: &str = "a host's endpoints are all of its engine";

/// The same of whichever it is.
macro_rules! either {
    ($of:expr, $machine:ident => $call:expr) => {
        match $of {
            TcpEndpoint::Smoltcp($machine) => $call,
            TcpEndpoint::LinuxLike($machine) => $call,
        }
    };
}

impl TcpEndpoint {
    pub(super) fn place(&self) -> EndpointPlace {
        match self {
            TcpEndpoint::Smoltcp(endpoint) => EndpointPlace::Smoltcp(endpoint.place()),
            TcpEndpoint::LinuxLike(connection) => {
                EndpointPlace::LinuxLike(Place::of(&**connection))
            }
        }
    }

    pub(super) fn phase(&self) -> Phase {
        either!(self, machine => machine.phase())
    }

    /// Whether nothing will ever be sent again, a RST included.
    pub(super) fn is_silent(&self) -> bool {
        either!(self, machine => machine.is_silent())
    }

    /// Whether the other end owes us an acknowledgement.
    pub(super) fn is_outstanding(&self) -> bool {
        match self.phase() {
            Phase::Opening | Phase::Accepting | Phase::Closing => true,
            Phase::Open => either!(self, machine => machine.has_unacknowledged()),
            Phase::HalfClosed | Phase::TimeWait | Phase::Closed => false,
        }
    }

    /// Whether a read would not wait: data, the other's FIN, or the end.
    pub(super) fn is_readable(&self) -> bool {
        self.unread() > 0
            || !(either!(self, machine => machine.may_receive()) || self.is_handshaking())
    }

    /// Whether a write is worth a wake-up: a third of the buffer is free, or it would fail.
    pub(super) fn is_writable(&self) -> bool {
        if !either!(self, machine => machine.may_send()) {
            return !self.is_handshaking();
        }
        let (room, capacity) = either!(self, machine => machine.room());
        room * 3 >= capacity
    }

    fn is_handshaking(&self) -> bool {
        matches!(self.phase(), Phase::Opening | Phase::Accepting)
    }

    /// Received bytes that nobody has read.
    pub(super) fn unread(&self) -> usize {
        either!(self, machine => machine.unread())
    }

    /// Moves received bytes out; `None` when there are none yet, 0 at the other's FIN or after the end.
    pub(super) fn read(&mut self, into: &mut [u8]) -> Option<usize> {
        self.is_readable()
            .then(|| either!(self, machine => machine.read(into)))
    }

    /// Moves bytes in, as many as there is room for; `None` when our direction is closed.
    pub(super) fn write(&mut self, data: &[u8]) -> Option<usize> {
        either!(self, machine => machine.write(data))
    }

    /// Whether the other end's FIN has come and all before it.
    pub(super) fn is_finished(&mut self) -> bool {
        either!(self, machine => machine.is_finished())
    }

    /// Sends FIN behind what was written.
    pub(super) fn close(&mut self) {
        either!(self, machine => machine.close());
    }

    /// Sends RST with the next pass and forgets the rest.
    pub(super) fn abort(&mut self) {
        either!(self, machine => machine.abort());
    }
}
