//! One simulated host's transport: bare IP packets on one side, TCP and UDP calls on the other.
//!
//! Pure and sans-IO: the caller brings the time, the packet pool and the places for what comes of a call
//! ([`Io`]), and hands in packets and due timers. Packets find their connection through one table of tuples;
//! only that connection is worked on, and only once per [`HostStack::flush`], however many packets and calls
//! touched it. Wakers fire at once: they must do no more than note that a task is ready.
//!
//! Invariant: every packet handed in comes back as one [`Outcome`] and its slot goes back to the pool when its
//! bytes are read; what the host sends is in [`Io::out`] and nowhere else.

mod connections;
mod datagrams;
mod echoes;
mod flow;
mod fragments;
mod icmp;
mod listeners;
mod path_mtus;
mod port_range;
mod tcp;
mod time_wait;
mod tuple;
mod waiter;

use std::io;
use std::net::{IpAddr, SocketAddr};

use anyedge_net::checksum;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::{Address, Family};
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_net::token_bucket::TokenBucket;
use anyedge_net::wire::{self, Parsed};
use anyedge_topologies::TcpStack;

use connections::Connections;
use datagrams::Datagrams;
use echoes::Echoes;
use fragments::{Fragments, Taken};

pub use datagrams::UdpId;
pub use echoes::EchoId;
pub use flow::{FlowId, FlowTimer};
pub use listeners::ListenerId;
pub use tcp::{TcpBuffers, name_of as tcp_name};

/// Connections that one host may have at a time, by default.
pub const FLOWS_MAX: usize = 65_536;
/// Datagrams that wait in one socket, by default: further ones are dropped as `SocketFull`.
pub const UDP_QUEUE_MAX: usize = 512;

/// What a host is made of.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The host's name, which its randomness is drawn by.
    pub name: String,
    /// Its own addresses. The first of a family is the source of what binds to no address.
    pub addresses: Vec<IpAddr>,
    /// Largest IP packet it sends, in bytes; TCP announces an MSS to match.
    pub mtu: usize,
    /// The run's seed.
    pub seed: Seed,
    /// The TCP that it speaks.
    pub tcp: TcpStack,
    /// Buffers of each connection.
    pub buffers: TcpBuffers,
    /// Connections at a time; beyond it a SYN is dropped and a connect fails.
    pub flows_max: usize,
    /// Datagrams that wait in one socket.
    pub udp_queue_max: usize,
    /// Whether sockets may bind to addresses that are not the host's own.
    pub foreign_sources: bool,
}

impl HostConfig {
    /// A host with the usual bounds and MTU 1,500.
    pub fn new(name: impl Into<String>, addresses: Vec<IpAddr>, seed: Seed) -> HostConfig {
        HostConfig {
            name: name.into(),
            addresses,
            mtu: 1_500,
            seed,
            tcp: TcpStack::default(),
            buffers: TcpBuffers::default(),
            flows_max: FLOWS_MAX,
            udp_queue_max: UDP_QUEUE_MAX,
            foreign_sources: false,
        }
    }
}

/// What a call works with and where it leaves what comes of it.
pub struct Io<'a> {
    /// The time.
    pub now: Instant,
    /// Lends the packets that are sent and takes back those that came.
    pub pool: &'a mut Pool,
    /// Packets that the host sends, in order, from their IP headers on.
    pub out: &'a mut Vec<Packet>,
    /// When to call [`HostStack::handle_timer`], and with what.
    pub timers: &'a mut Vec<(Instant, FlowTimer)>,
}

/// How a packet ended at the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Outcome {
    /// A connection, a socket or the host itself has it.
    Delivered,
    /// A fragment that waits for the rest of its packet. [`HostStack::ended`] tells later what became of it.
    Held,
    /// Nobody has it. `NotForHost` when no socket wants it, also if a RST or an ICMP error says so.
    Dropped(DropReason),
}

/// What a host has done, for tests and reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StackStats {
    /// Passes over a connection: the unit of TCP's cost.
    pub flow_polls: u64,
    /// Connections that were opened, either way.
    pub flows_opened: u64,
    /// Packets that were not sent because the pool was empty.
    pub unsent: u64,
    /// TCP segments that began with what had been sent before.
    pub retransmissions: u64,
}

/// A host's addresses and sockets.
pub struct HostStack {
    local: LocalAddresses,
    tcp: Connections,
    udp: Datagrams,
    echoes: Echoes,
    fragments: Fragments,
    /// What it says of closed ports.
    errors: TokenBucket,
    mtu: usize,
    unsent: u64,
}

impl HostStack {
    /// A host without sockets.
    pub fn new(config: &HostConfig) -> HostStack {
        HostStack {
            local: LocalAddresses::new(&config.addresses, config.foreign_sources),
            tcp: Connections::new(config),
            udp: Datagrams::new(config),
            echoes: Echoes::new(config),
            fragments: Fragments::new(config),
            errors: TokenBucket::new(icmp::ERRORS_PER_SECOND, icmp::ERRORS_BURST),
            mtu: config.mtu,
            unsent: 0,
        }
    }

    /// Takes in a packet that starts with its IP header. Call [`flush`](HostStack::flush) afterwards.
    #[inline]
    pub fn handle_packet(&mut self, packet: Packet, io: &mut Io<'_>) -> Outcome {
        let Ok(parsed) = wire::parse(packet.bytes()) else {
            return drop_packet(packet, DropReason::Malformed, io);
        };
        if parsed.fragment.is_some() {
            return self.on_fragment(packet, &parsed, io);
        }
        self.on_whole(packet, &parsed, io)
    }

    #[inline]
    fn on_whole(&mut self, packet: Packet, parsed: &Parsed, io: &mut Io<'_>) -> Outcome {
        match parsed.flow.protocol {
            wire::udp::PROTOCOL => {
                if !transport_is_sound(packet.bytes(), parsed) {
                    return drop_packet(packet, DropReason::BadChecksum, io);
                }
                self.on_datagram(packet, parsed, io)
            }
            wire::tcp::PROTOCOL => {
                self.tcp.expect(&parsed.flow);
                if !transport_is_sound(packet.bytes(), parsed) {
                    return drop_packet(packet, DropReason::BadChecksum, io);
                }
                let outcome = self.tcp.on_segment(packet.bytes(), parsed, &self.local, io);
                io.pool.take_back(packet);
                outcome
            }
            _ => self.on_icmp(packet, parsed, io),
        }
    }

    /// A timer that was asked for is due. Call [`flush`](HostStack::flush) afterwards.
    pub fn handle_timer(&mut self, timer: FlowTimer, io: &mut Io<'_>) {
        self.tcp.on_timer(timer, io);
    }

    /// Whether [`flush`](HostStack::flush) has something to do.
    pub const fn needs_flush(&self) -> bool {
        self.tcp.is_touched()
    }

    /// Lets every connection that was touched since the last flush send what it may, once each, in the order in
    /// which they were touched.
    pub fn flush(&mut self, io: &mut Io<'_>) {
        self.tcp.flush(io);
    }

    /// Forgets all sockets without a word to anybody: the machine crashed, or the run is over. Handles that
    /// are left find nothing; fragments that wait end for `reason`.
    pub fn crash(&mut self, reason: DropReason, pool: &mut Pool) {
        self.tcp.forget_all();
        self.udp.forget_all(pool);
        self.echoes.forget_all();
        self.fragments.forget_all(reason, pool);
    }

    /// What became of packets that were [`Outcome::Held`], to be taken after a packet came or the host crashed.
    pub const fn ended(&mut self) -> &mut Vec<Outcome> {
        self.fragments.ended()
    }

    /// Sends an IP packet as it is. Without a free slot in the pool it is lost silently.
    pub fn send_raw(&mut self, packet: &[u8], io: &mut Io<'_>) {
        match io.pool.lend_copy(packet, Meta::plain(PortId::LOCAL)) {
            Some(packet) => io.out.push(packet),
            None => self.unsent += 1,
        }
    }

    /// Whether `address` is the host's own.
    pub fn has_address(&self, address: Address) -> bool {
        self.local.has(address)
    }

    /// What the host has done so far.
    pub const fn stats(&self) -> StackStats {
        let tcp = self.tcp.stats();
        StackStats {
            unsent: tcp.unsent + self.unsent,
            ..tcp
        }
    }

    #[cold]
    fn on_fragment(&mut self, packet: Packet, parsed: &Parsed, io: &mut Io<'_>) -> Outcome {
        let (outcome, fragments) = match self.fragments.take(packet, parsed, io) {
            Taken::Alone(outcome) => return outcome,
            Taken::Lost(reason, fragments) => (Outcome::Dropped(reason), fragments),
            Taken::Whole(whole, fragments) => {
                let outcome = match wire::parse(whole.bytes()) {
                    Ok(parsed) => self.on_whole(whole, &parsed, io),
                    Err(_) => drop_packet(whole, DropReason::Malformed, io),
                };
                (outcome, fragments)
            }
        };
        self.fragments.whole_ended(outcome, fragments);
        outcome
    }

    /// Sends a packet, in pieces where it is longer than `mtu`.
    #[inline]
    fn send(&mut self, packet: Packet, mtu: usize, io: &mut Io<'_>) {
        if packet.len() > mtu {
            self.unsent += self.fragments.send(packet, mtu, io);
        } else {
            io.out.push(packet);
        }
    }

    /// The protocols that are not TCP or UDP.
    fn on_icmp(&mut self, mut packet: Packet, parsed: &Parsed, io: &mut Io<'_>) -> Outcome {
        let is_icmp = match parsed.family {
            Family::V4 => parsed.flow.protocol == wire::icmp::PROTOCOL_V4,
            Family::V6 => parsed.flow.protocol == wire::icmp::PROTOCOL_V6,
        };
        if !is_icmp {
            return drop_packet(packet, DropReason::UnsupportedProtocol, io);
        }
        if !transport_is_sound(packet.bytes(), parsed) {
            return drop_packet(packet, DropReason::BadChecksum, io);
        }
        if !self.local.has(parsed.flow.dst) {
            return drop_packet(packet, DropReason::NotForHost, io);
        }
        if wire::icmp::answer_echo(packet.bytes_mut(), parsed) {
            // The request ends here and the reply begins, in the same slot.
            packet.truncate(parsed.total_len);
            self.send(packet, self.mtu, io);
            return Outcome::Delivered;
        }
        if let Some(echo) = wire::icmp::echo(packet.bytes(), parsed)
            && !echo.request
        {
            return self.on_echo_reply(packet, parsed, echo, io);
        }
        if let Some(flow) = icmp::refused_datagram(packet.bytes(), parsed) {
            self.udp.on_refused(&flow);
        }
        if let Some((flow, mtu)) = icmp::too_big(packet.bytes(), parsed) {
            match flow.protocol {
                wire::tcp::PROTOCOL => self.tcp.on_too_big(&flow, mtu, io.now),
                wire::udp::PROTOCOL => self.udp.on_too_big(&flow, mtu, io.now),
                _ => {}
            }
        }
        io.pool.take_back(packet);
        Outcome::Delivered
    }
}

fn drop_packet(packet: Packet, reason: DropReason, io: &mut Io<'_>) -> Outcome {
    io.pool.take_back(packet);
    Outcome::Dropped(reason)
}

/// Whether the transport checksum holds (RFC 768, RFC 9293 §3.1, RFC 4443 §2.3).
#[inline]
fn transport_is_sound(bytes: &[u8], parsed: &Parsed) -> bool {
    let l4 = parsed.l4(bytes);
    let none_sent = parsed.flow.protocol == wire::udp::PROTOCOL && l4[6] == 0 && l4[7] == 0;
    if none_sent {
        return parsed.family == Family::V4;
    }
    checksum::transport(parsed.flow.src, parsed.flow.dst, parsed.flow.protocol, l4) == 0
}

/// Which addresses are the host's, and what may be bound.
struct LocalAddresses {
    own: Vec<Address>,
    foreign_sources: bool,
}

impl LocalAddresses {
    fn new(addresses: &[IpAddr], foreign_sources: bool) -> LocalAddresses {
        LocalAddresses {
            own: addresses.iter().map(|address| (*address).into()).collect(),
            foreign_sources,
        }
    }

    fn has(&self, address: Address) -> bool {
        self.own.contains(&address)
    }

    /// The host's first address of a family.
    fn first(&self, family: Family) -> Option<Address> {
        self.own
            .iter()
            .copied()
            .find(|address| address.family() == family)
    }

    /// Whether a socket may bind to `address`.
    fn check_bind(&self, address: Address) -> io::Result<()> {
        if address.is_unspecified()
            || self.has(address)
            || (self.foreign_sources && !address.is_multicast())
        {
            return Ok(());
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }

    /// The source of packets to `remote` from a socket bound to `bound`.
    fn source(&self, bound: Address, remote: Address) -> io::Result<Address> {
        if remote.is_unspecified() || remote.is_multicast() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if bound.family() != remote.family() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if !bound.is_unspecified() {
            return self.check_bind(bound).map(|()| bound);
        }
        self.first(remote.family())
            .ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
    }
}

/// `0.0.0.0` or `::`.
const fn unspecified(family: Family) -> Address {
    match family {
        Family::V4 => Address::v4([0; 4]),
        Family::V6 => Address::v6([0; 16]),
    }
}

fn socket_address(address: Address, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

#[cfg(test)]
mod tests;
