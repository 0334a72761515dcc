//! A TCP by smoltcp: Reno from 2 x 1,024 bytes, RTO at least 1 s, no SACK sender, delayed ACK 10 ms.
//!
//! Everything that knows smoltcp is in this file. A host has one [`Engine`] (smoltcp's `Interface`: clock, MTU, initial
//! sequence numbers); each connection is an [`Endpoint`] with a socket set of its own, since polling walks every socket of a
//! set. Which packet is whose, and whether its checksum holds, the caller has found out; the interface accepts any address.
//!
//! Reference: RFC 9293, RFC 5681, RFC 6298 as far as smoltcp implements them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use anyedge_net::fetch::Place;
use anyedge_net::flow::{Address, Family};
use anyedge_net::packet::Meta;
use anyedge_net::port::PortId;
use anyedge_net::time::Instant;
use anyedge_net::wire::{ip::header_len, tcp};
use self_cell::{MutBorrow, self_cell};
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::wire::{HardwareAddress, IpEndpoint, IpListenEndpoint};

use super::memory::Memory;
use super::{Phase, TcpBuffers};
use crate::stack::Io;
use crate::stack::tuple::Tuple;
use anyedge_net::checksum;

const CHECKSUM: std::ops::Range<usize> = 16..18;

/// What all connections of a host share.
pub(in crate::stack) struct Engine {
    interface: Interface,
    capabilities: DeviceCapabilities,
    /// One more for each smaller path MTU that was ever learned: smoltcp knows an MTU of interfaces only.
    narrower: BTreeMap<usize, Interface>,
    seed: u64,
    spare: Vec<u8>,
    buffers: TcpBuffers,
    unsent: u64,
}

/// One connection's protocol machine and its buffers, which are kept when it is used again.
pub(in crate::stack) struct Endpoint {
    machine: Machine,
    place: EndpointPlace,
}

/// Where an endpoint lies.
#[derive(Clone, Copy)]
pub(in crate::stack) struct EndpointPlace {
    set: Place<{ size_of::<Lone<'static>>() }>,
    socket: Place<{ size_of::<Socket<'static>>() }>,
}

impl EndpointPlace {
    /// Has it brought to the processor, but for its buffers.
    pub(super) fn fetch(self) {
        self.set.fetch();
        self.socket.fetch();
    }
}

/// A set of one socket, which is what smoltcp polls.
struct Lone<'a> {
    set: SocketSet<'a>,
    handle: SocketHandle,
}

impl Lone<'_> {
    /// Whether the segment that was just sent leaves nothing for another: no byte waits or is unacknowledged, and no FIN
    /// or RST is to be sent. Asking smoltcp for another would tell the same and cost more.
    fn has_said_all(&self) -> bool {
        let socket: &Socket<'_> = self.set.get(self.handle);
        let is_open = matches!(
            socket.state(),
            State::SynSent | State::SynReceived | State::Established | State::CloseWait
        );
        is_open && socket.send_queue() == 0
    }
}

self_cell! {
    /// A socket beside the memory that it buffers in.
    struct Machine {
        owner: MutBorrow<Memory>,
        #[not_covariant]
        dependent: Lone,
    }
}

impl Engine {
    pub(super) fn new(mtu: usize, seed: u64, buffers: TcpBuffers) -> Engine {
        let capabilities = capabilities(mtu);
        Engine {
            interface: interface(&capabilities, seed),
            capabilities,
            narrower: BTreeMap::new(),
            seed,
            spare: Vec::new(),
            buffers,
            unsent: 0,
        }
    }

    /// Segments that were not sent because the pool had no slot; their loss is repaired like any other.
    pub(super) const fn unsent(&self) -> u64 {
        self.unsent
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        let TcpBuffers { receive, send } = self.buffers;
        let memory = MutBorrow::new(Memory::zeroed(receive + send));
        let machine = Machine::new(memory, |memory| {
            let (receive, send) = memory.borrow_mut().split_at_mut(receive);
            let mut set = SocketSet::new(vec![SocketStorage::EMPTY]);
            let handle = set.add(Socket::new(
                SocketBuffer::new(receive),
                SocketBuffer::new(send),
            ));
            Lone { set, handle }
        });
        let place = machine.with_dependent(|_, lone| EndpointPlace {
            set: Place::of(lone),
            socket: Place::of(lone.set.get::<Socket<'_>>(lone.handle)),
        });
        Endpoint { machine, place }
    }

    /// Starts a connection; the SYN leaves with the next [`transmit`](Engine::transmit).
    pub(super) fn connect(&mut self, endpoint: &mut Endpoint, tuple: &Tuple) {
        let (context, remote, local) = (
            self.interface.context(),
            to_smoltcp(tuple.remote_addr()),
            to_smoltcp(tuple.local_addr()),
        );
        endpoint
            .fresh(|socket| socket.connect(context, remote, local))
            .expect("the socket is closed and both ends have an address and a port");
    }

    /// Waits for the SYN to `local` that is handed in next.
    pub(super) fn listen(&mut self, endpoint: &mut Endpoint, tuple: &Tuple) {
        let local = to_smoltcp(tuple.local_addr());
        let listen = IpListenEndpoint {
            addr: Some(local.addr),
            port: local.port,
        };
        endpoint
            .fresh(|socket| socket.listen(listen))
            .expect("the socket is closed and the port not zero");
    }

    /// Takes in one segment: a whole IP packet, verified and meant for this endpoint. Answers that cannot wait
    /// (to a gap, to a segment outside the window) leave at once.
    pub(super) fn receive(&mut self, endpoint: &mut Endpoint, packet: &[u8], io: &mut Io<'_>) {
        let now = to_micros(io.now);
        let mut port = Port {
            arrived: Some(packet),
            io: Some(io),
            capabilities: &self.capabilities,
            spare: &mut self.spare,
            unsent: &mut self.unsent,
        };
        endpoint.machine.with_dependent_mut(|_, lone| {
            self.interface
                .poll_ingress_single(now, &mut port, &mut lone.set)
        });
    }

    /// Sends all that the endpoint may send now, in packets of at most `mtu` bytes, and returns when it wants to
    /// be asked again.
    pub(super) fn transmit(
        &mut self,
        endpoint: &mut Endpoint,
        mtu: usize,
        io: &mut Io<'_>,
    ) -> Instant {
        let at = to_micros(io.now);
        let seed = self.seed;
        let interface = if mtu < self.capabilities.max_transmission_unit {
            let fresh = || interface(&capabilities(mtu), seed);
            self.narrower.entry(mtu).or_insert_with(fresh)
        } else {
            &mut self.interface
        };
        let mut port = Port {
            arrived: None,
            io: Some(io),
            capabilities: &self.capabilities,
            spare: &mut self.spare,
            unsent: &mut self.unsent,
        };
        let due = endpoint.machine.with_dependent_mut(|_, lone| {
            while interface.poll_egress(at, &mut port, &mut lone.set)
                == PollResult::SocketStateChanged
                && !lone.has_said_all()
            {}
            interface.poll_at(at, &lone.set)
        });
        match due {
            None => Instant::FAR_FUTURE,
            Some(due) => {
                let micros = due
                    .max(at + smoltcp::time::Duration::from_micros(1))
                    .total_micros();
                Instant::from_nanos(micros.unsigned_abs().saturating_mul(1_000))
            }
        }
    }
}

impl Endpoint {
    pub(super) const fn place(&self) -> EndpointPlace {
        self.place
    }

    fn ask<R>(&self, of: impl FnOnce(&Socket<'_>) -> R) -> R {
        self.machine
            .with_dependent(|_, lone| of(lone.set.get(lone.handle)))
    }

    fn act<R>(&mut self, on: impl FnOnce(&mut Socket<'_>) -> R) -> R {
        self.machine
            .with_dependent_mut(|_, lone| on(lone.set.get_mut(lone.handle)))
    }

    /// Acts on the socket, closed and with nothing left of an earlier connection.
    fn fresh<R>(&mut self, on: impl FnOnce(&mut Socket<'_>) -> R) -> R {
        self.act(|socket| {
            socket.abort();
            // smoltcp's own reset leaves the congestion window as it was.
            socket.set_congestion_control(CongestionControl::Reno);
            socket.set_nagle_enabled(false);
            on(socket)
        })
    }

    pub(super) fn phase(&self) -> Phase {
        match self.ask(|socket| socket.state()) {
            State::SynSent => Phase::Opening,
            State::SynReceived => Phase::Accepting,
            State::Established | State::CloseWait => Phase::Open,
            State::FinWait1 | State::Closing | State::LastAck => Phase::Closing,
            State::FinWait2 => Phase::HalfClosed,
            State::TimeWait => Phase::TimeWait,
            // A RST during a passive handshake puts smoltcp back into LISTEN.
            State::Closed | State::Listen => Phase::Closed,
        }
    }

    /// Whether nothing will ever be sent again, a RST included.
    pub(super) fn is_silent(&self) -> bool {
        self.phase() == Phase::Closed && self.ask(|socket| socket.remote_endpoint().is_none())
    }

    /// Written and not acknowledged.
    pub(super) fn has_unacknowledged(&self) -> bool {
        self.ask(|socket| socket.send_queue()) > 0
    }

    /// Whether the other end may still send, or has sent what is not read.
    pub(super) fn may_receive(&self) -> bool {
        self.ask(|socket| socket.may_recv())
    }

    pub(super) fn may_send(&self) -> bool {
        self.ask(|socket| socket.may_send())
    }

    /// Room for what is written, and how much there is in all.
    pub(super) fn room(&self) -> (usize, usize) {
        let capacity = self.ask(|socket| socket.send_capacity());
        (capacity - self.ask(|socket| socket.send_queue()), capacity)
    }

    /// Received bytes that nobody has read.
    pub(super) fn unread(&self) -> usize {
        self.ask(|socket| socket.recv_queue())
    }

    /// Moves received bytes out.
    pub(super) fn read(&mut self, into: &mut [u8]) -> usize {
        // The error says that no more will come.
        self.act(|socket| socket.recv_slice(into)).unwrap_or(0)
    }

    /// Moves bytes in, as many as there is room for; `None` when our direction is closed.
    pub(super) fn write(&mut self, data: &[u8]) -> Option<usize> {
        self.act(|socket| socket.send_slice(data)).ok()
    }

    /// Whether the other end's FIN has come and all before it.
    pub(super) fn is_finished(&mut self) -> bool {
        let error = self.act(|socket| socket.peek(1).err());
        matches!(error, Some(smoltcp::socket::tcp::RecvError::Finished))
    }

    /// Sends FIN behind what was written.
    pub(super) fn close(&mut self) {
        self.act(|socket| socket.close());
    }

    /// Sends RST with the next pass and forgets the rest.
    pub(super) fn abort(&mut self) {
        self.act(|socket| socket.abort());
    }
}

fn capabilities(mtu: usize) -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ip;
    capabilities.max_transmission_unit = mtu;
    // The stack in front has verified what came in; what leaves is summed below, at a third of the cost.
    capabilities.checksum.ipv4 = Checksum::Tx;
    capabilities.checksum.tcp = Checksum::None;
    capabilities
}

fn interface(capabilities: &DeviceCapabilities, seed: u64) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut interface = Interface::new(
        config,
        &mut Port {
            arrived: None,
            io: None,
            capabilities,
            spare: &mut Vec::new(),
            unsent: &mut 0,
        },
        smoltcp::time::Instant::ZERO,
    );
    interface.set_any_ip(true);
    interface
}

fn to_smoltcp(address: SocketAddr) -> IpEndpoint {
    match address.ip() {
        IpAddr::V4(ip) => IpEndpoint::new(ip.into(), address.port()),
        IpAddr::V6(ip) => IpEndpoint::new(ip.into(), address.port()),
    }
}

fn to_micros(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros((now.as_nanos() / 1_000).cast_signed())
}

/// smoltcp's view of the wire: at most one packet that arrives, and slots of the pool for those that leave.
struct Port<'a, 'b> {
    arrived: Option<&'a [u8]>,
    io: Option<&'a mut Io<'b>>,
    capabilities: &'a DeviceCapabilities,
    spare: &'a mut Vec<u8>,
    unsent: &'a mut u64,
}

struct Arrived<'a>(&'a [u8]);

struct Departing<'p, 'a, 'b>(&'p mut Port<'a, 'b>);

impl<'a, 'b> Device for Port<'a, 'b> {
    type RxToken<'t>
        = Arrived<'a>
    where
        Self: 't;
    type TxToken<'t>
        = Departing<'t, 'a, 'b>
    where
        Self: 't;

    fn receive(
        &mut self,
        _: smoltcp::time::Instant,
    ) -> Option<(Arrived<'a>, Departing<'_, 'a, 'b>)> {
        let arrived = Arrived(self.arrived.take()?);
        Some((arrived, Departing(self)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Departing<'_, 'a, 'b>> {
        Some(Departing(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.clone()
    }
}

/// Sums a segment that smoltcp wrote: IPv4 without options or IPv6 without extension headers.
fn fill_checksum(bytes: &mut [u8]) {
    let (src, dst, at) = if bytes[0] >> 4 == 4 {
        let address = |from: usize| {
            Address::v4([
                bytes[from],
                bytes[from + 1],
                bytes[from + 2],
                bytes[from + 3],
            ])
        };
        (address(12), address(16), header_len(Family::V4))
    } else {
        let address = |from: usize| Address::v6(std::array::from_fn(|octet| bytes[from + octet]));
        (address(8), address(24), header_len(Family::V6))
    };
    let segment = &mut bytes[at..];
    segment[CHECKSUM].fill(0);
    let check = checksum::transport(src, dst, tcp::PROTOCOL, segment);
    segment[CHECKSUM].copy_from_slice(&check.to_be_bytes());
}

impl RxToken for Arrived<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Departing<'_, '_, '_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let port = self.0;
        if let Some(io) = &mut port.io
            && let Some(mut packet) = io.pool.lend(len, Meta::plain(PortId::LOCAL))
        {
            // Behind one segment others leave as a rule.
            io.pool.fetch_next(len);
            let result = f(packet.bytes_mut());
            fill_checksum(packet.bytes_mut());
            io.out.push(packet);
            return result;
        }
        *port.unsent += 1;
        port.spare.resize(len, 0);
        f(port.spare)
    }
}
