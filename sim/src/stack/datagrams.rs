//! UDP: sockets that keep the packets themselves until they are read.
//!
//! A datagram costs one look-up, one checksum and one copy, into the reader's buffer; its slot stays on loan
//! meanwhile. A full queue drops what comes next (`SocketFull`), as a kernel does. A port-unreachable that
//! comes back makes the next call on the socket fail, once. A datagram longer than its path's MTU is sent in
//! fragments, as a kernel does; the first that is too long for a path of IPv6 is lost and tells the MTU.
//! Reference: RFC 768, RFC 1122 §4.1.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::{Address, FlowKey};
use anyedge_net::host::DatagramMeta;
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::time::Instant;
use anyedge_net::wire::ip::{Header, header_len};
use anyedge_net::wire::{Parsed, udp};

use super::fragments::payload_len_max;
use super::path_mtus::PathMtus;
use super::port_range::PortRange;
use super::tuple::Bound;
use super::waiter::SeenWaiter;
use super::{HostConfig, HostStack, Io, Outcome, drop_packet, icmp, socket_address, unspecified};
use crate::executor::Waits;
use crate::lookup::Table;

/// A UDP socket of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UdpId {
    index: u32,
    generation: u32,
}

pub(super) struct Datagrams {
    sockets: Vec<Slot>,
    free: Vec<u32>,
    bound: Table<Bound, u32>,
    ports: PortRange,
    queue_max: usize,
    path_mtus: PathMtus,
}

struct Slot {
    generation: u32,
    socket: Option<Socket>,
}

struct Socket {
    local: Bound,
    queue: VecDeque<Received>,
    refused: bool,
    /// Whether datagrams that are too long are refused and not cut.
    whole: bool,
    reader: SeenWaiter,
}

/// A datagram in its packet, cut to the payload.
struct Received {
    payload: Packet,
    peer: Address,
    local: Address,
    peer_port: u16,
    ttl: u8,
    tos: u8,
}

impl Datagrams {
    pub(super) fn new(config: &HostConfig) -> Datagrams {
        let mut rng = config.seed.stream(&config.name, "udp-ports");
        Datagrams {
            sockets: Vec::new(),
            free: Vec::new(),
            bound: Table::default(),
            ports: PortRange::new(rng.bits()),
            queue_max: config.udp_queue_max,
            path_mtus: PathMtus::new(config.mtu),
        }
    }

    pub(super) fn forget_all(&mut self, pool: &mut Pool) {
        self.path_mtus.forget_all();
        for index in 0..self.sockets.len() {
            self.close(index as u32, pool);
        }
    }

    /// A datagram that we sent, or a part of it, was too long for its path.
    pub(super) fn on_too_big(&mut self, sent: &FlowKey, mtu: u32, now: Instant) {
        if self.find(sent.src, sent.src_port).is_some() {
            self.path_mtus.learn(sent.dst, mtu, now);
        }
    }

    /// A datagram that we sent found nobody.
    pub(super) fn on_refused(&mut self, sent: &FlowKey) {
        let Some(index) = self.find(sent.src, sent.src_port) else {
            return;
        };
        if let Some(socket) = &mut self.sockets[index as usize].socket {
            socket.refused = true;
            socket.reader.wake();
        }
    }

    fn find(&self, address: Address, port: u16) -> Option<u32> {
        let exact = self.bound.get(&Bound { address, port });
        exact
            .or_else(|| {
                self.bound.get(&Bound {
                    address: unspecified(address.family()),
                    port,
                })
            })
            .copied()
    }

    fn socket(&mut self, id: UdpId) -> io::Result<&mut Socket> {
        let slot = &mut self.sockets[id.index as usize];
        match &mut slot.socket {
            Some(socket) if slot.generation == id.generation => Ok(socket),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Whether a socket on `local` would share its port and an address with another one.
    fn is_taken(&self, local: Bound) -> bool {
        if local.address.is_unspecified() {
            let others = self.sockets.iter().filter_map(|slot| slot.socket.as_ref());
            let family = local.address.family();
            return others
                .map(|socket| socket.local)
                .any(|other| other.port == local.port && other.address.family() == family);
        }
        self.find(local.address, local.port).is_some()
    }

    fn bind(&mut self, local: SocketAddr) -> io::Result<(UdpId, SocketAddr)> {
        let address = Address::from(local.ip());
        let taken = |port| self.is_taken(Bound { address, port });
        let port = match local.port() {
            0 => {
                // The rotation moves while the table is looked at.
                let mut ports = std::mem::replace(&mut self.ports, PortRange::new(0));
                let port = ports.take(|port| self.is_taken(Bound { address, port }));
                self.ports = ports;
                port.ok_or(io::ErrorKind::AddrNotAvailable)?
            }
            port if taken(port) => return Err(io::ErrorKind::AddrInUse.into()),
            port => port,
        };
        let local = Bound { address, port };
        let index = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(Slot {
                generation: 0,
                socket: None,
            });
            u32::try_from(self.sockets.len() - 1).expect("at most 65,536 ports per address")
        });
        let slot = &mut self.sockets[index as usize];
        slot.socket = Some(Socket {
            local,
            queue: VecDeque::new(),
            refused: false,
            whole: false,
            reader: SeenWaiter::default(),
        });
        self.bound.insert(local, index);
        Ok((
            UdpId {
                index,
                generation: slot.generation,
            },
            socket_address(address, port),
        ))
    }

    fn close(&mut self, index: u32, pool: &mut Pool) {
        let slot = &mut self.sockets[index as usize];
        let Some(socket) = slot.socket.take() else {
            return;
        };
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        self.bound.remove(&socket.local);
        for received in socket.queue {
            pool.take_back(received.payload);
        }
    }
}

impl HostStack {
    #[inline]
    pub(super) fn on_datagram(
        &mut self,
        mut packet: Packet,
        parsed: &Parsed,
        io: &mut Io<'_>,
    ) -> Outcome {
        let flow = &parsed.flow;
        let Some(index) = self
            .udp
            .bound
            .get(&Bound {
                address: flow.dst,
                port: flow.dst_port,
            })
            .copied()
            .or_else(|| {
                let any = Bound {
                    address: unspecified(parsed.family),
                    port: flow.dst_port,
                };
                self.udp
                    .bound
                    .get(&any)
                    .copied()
                    .filter(|_| self.local.has(flow.dst))
            })
        else {
            return self.refuse_datagram(packet, parsed, io);
        };
        let socket = self.udp.sockets[index as usize]
            .socket
            .as_mut()
            .expect("what is bound is open");
        if socket.queue.len() >= self.udp.queue_max {
            return drop_packet(packet, DropReason::SocketFull, io);
        }
        packet.truncate(parsed.total_len);
        packet.pop_front(usize::from(parsed.l4_offset) + udp::HEADER_LEN);
        socket.queue.push_back(Received {
            payload: packet,
            peer: flow.src,
            local: flow.dst,
            peer_port: flow.src_port,
            ttl: parsed.ttl,
            tos: parsed.tos,
        });
        socket.reader.wake();
        Outcome::Delivered
    }

    fn refuse_datagram(&mut self, packet: Packet, parsed: &Parsed, io: &mut Io<'_>) -> Outcome {
        if self.local.has(parsed.flow.dst)
            && self.errors.take(io.now)
            && let Some(error) = icmp::port_unreachable(packet.bytes(), parsed, io.pool)
        {
            io.out.push(error);
        }
        drop_packet(packet, DropReason::NotForHost, io)
    }

    /// Binds a socket; port 0 takes a free one. `0.0.0.0` and `::` stand for the host's addresses of that
    /// family alone.
    ///
    /// # Errors
    /// `AddrInUse`, or `AddrNotAvailable` for an address that is not the host's or when all ports are taken.
    pub fn udp_bind(&mut self, local: SocketAddr) -> io::Result<(UdpId, SocketAddr)> {
        self.local.check_bind(local.ip().into())?;
        self.udp.bind(local)
    }

    /// Who waits for a datagram of it, to ask without the world.
    ///
    /// # Errors
    /// `NotConnected` when the host crashed.
    pub fn udp_waits(&mut self, id: UdpId) -> io::Result<Arc<Waits>> {
        Ok(Arc::clone(self.udp.socket(id)?.reader.seen()))
    }

    /// Closes a socket; what was not read is lost.
    pub fn udp_close(&mut self, id: UdpId, pool: &mut Pool) {
        if self.udp.socket(id).is_ok() {
            self.udp.close(id.index, pool);
        }
    }

    /// From here on datagrams that are longer than their path takes are refused.
    ///
    /// # Errors
    /// `NotConnected` when the host crashed.
    pub fn udp_never_fragment(&mut self, id: UdpId) -> io::Result<()> {
        self.udp.socket(id)?.whole = true;
        Ok(())
    }

    /// Sends one datagram. Without a free slot in the pool it is lost silently.
    ///
    /// # Errors
    /// `ConnectionRefused` once after a port-unreachable; `InvalidInput` for a payload longer than any datagram, or than
    /// its path takes where none may be cut, or a peer of another family; `AddrNotAvailable` for a source that is not ours.
    #[inline]
    pub fn udp_send(
        &mut self,
        id: UdpId,
        payload: &[u8],
        meta: &DatagramMeta,
        io: &mut Io<'_>,
    ) -> io::Result<()> {
        let socket = self.udp.socket(id)?;
        if std::mem::take(&mut socket.refused) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let dst = Address::from(meta.peer.ip());
        let bound = match meta.local {
            Some(local) if socket.local.address.is_unspecified() => local.into(),
            _ => socket.local.address,
        };
        let (src_port, whole) = (socket.local.port, socket.whole);
        let src = self.local.source(bound, dst)?;
        let flow = FlowKey {
            src,
            dst,
            src_port,
            dst_port: meta.peer.port(),
            protocol: udp::PROTOCOL,
        };
        let at = header_len(dst.family());
        let len = at + udp::HEADER_LEN + payload.len();
        if flow.dst_port == 0 || len - at > payload_len_max(dst.family()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mtu = self.udp.path_mtus.to(dst, io.now);
        if whole && len > mtu {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let Some(mut packet) = io.pool.lend(len, Meta::plain(PortId::LOCAL)) else {
            self.unsent += 1;
            return Ok(());
        };
        let out = packet.bytes_mut();
        let payload_len = len - at;
        Header {
            src,
            dst,
            protocol: udp::PROTOCOL,
            ttl: meta.ttl,
            tos: meta.tos,
            payload_len,
        }
        .write(out);
        let datagram = &mut out[at..];
        udp::write_header_over(datagram, &flow, payload);
        datagram[udp::HEADER_LEN..].copy_from_slice(payload);
        self.send(packet, mtu, io);
        Ok(())
    }

    /// The next datagram, cut to `into`, and its whole length. One task at a time waits for it; who took the last one that
    /// is there waits already.
    ///
    /// # Errors
    /// `ConnectionRefused` once after a port-unreachable; `NotConnected` when the host crashed.
    pub fn udp_poll_recv(
        &mut self,
        id: UdpId,
        context: &Context<'_>,
        into: &mut [u8],
        pool: &mut Pool,
    ) -> Poll<io::Result<(usize, DatagramMeta)>> {
        let socket = self.udp.socket(id)?;
        if std::mem::take(&mut socket.refused) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        let Some(received) = socket.queue.pop_front() else {
            socket.reader.wait(context.waker());
            return Poll::Pending;
        };
        let payload = received.payload.bytes();
        let (whole, len) = (payload.len(), payload.len().min(into.len()));
        into[..len].copy_from_slice(&payload[..len]);
        let meta = DatagramMeta {
            peer: socket_address(received.peer, received.peer_port),
            local: Some(received.local.into()),
            ttl: received.ttl,
            tos: received.tos,
        };
        pool.take_back(received.payload);
        if socket.queue.is_empty() {
            socket.reader.wait(context.waker());
        }
        Poll::Ready(Ok((whole, meta)))
    }
}
