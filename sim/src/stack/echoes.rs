//! ICMP echoes that a host sends: one series for each identifier, and the replies that wait to be read.
//!
//! A reply is given to the series of its identifier and the family that it came by; one that nobody asked for ends
//! here. A full queue drops what comes next (`SocketFull`). Identifiers are handed out in turn, so that a late reply
//! seldom meets another series. Reference: RFC 1122 §3.2.2.6.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll};

use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::{Address, Family};
use anyedge_net::host::EchoMeta;
use anyedge_net::packet::{Meta, Packet};
use anyedge_net::port::PortId;
use anyedge_net::wire::Parsed;
use anyedge_net::wire::icmp::{Echo, HEADER_LEN, PROTOCOL_V4, PROTOCOL_V6, fill_checksum};
use anyedge_net::wire::ip::{DEFAULT_TTL, Header, header_len};

use super::fragments::payload_len_max;
use super::waiter::Waiter;
use super::{HostConfig, HostStack, Io, Outcome, drop_packet};

/// Series of a host at a time.
const SERIES_MAX: usize = 1_024;

/// A series of echoes of a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EchoId {
    ident: u16,
    serial: u64,
}

pub(super) struct Echoes {
    series: BTreeMap<u16, Series>,
    next_ident: u16,
    serial: u64,
    queue_max: usize,
}

struct Series {
    serial: u64,
    local: Address,
    queue: VecDeque<(Vec<u8>, EchoMeta)>,
    reader: Waiter,
}

impl Echoes {
    pub(super) const fn new(config: &HostConfig) -> Echoes {
        Echoes {
            series: BTreeMap::new(),
            next_ident: 1,
            serial: 0,
            queue_max: config.udp_queue_max,
        }
    }

    pub(super) fn forget_all(&mut self) {
        self.series.clear();
    }

    fn open(&mut self, local: Address) -> io::Result<EchoId> {
        if self.series.len() >= SERIES_MAX {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        while self.series.contains_key(&self.next_ident) {
            self.next_ident = self.next_ident.wrapping_add(1);
        }
        self.serial += 1;
        let id = EchoId {
            ident: self.next_ident,
            serial: self.serial,
        };
        self.next_ident = self.next_ident.wrapping_add(1);
        let series = Series {
            serial: id.serial,
            local,
            queue: VecDeque::new(),
            reader: Waiter::default(),
        };
        self.series.insert(id.ident, series);
        Ok(id)
    }

    fn of(&mut self, id: EchoId) -> io::Result<&mut Series> {
        let series = self.series.get_mut(&id.ident);
        series
            .filter(|series| series.serial == id.serial)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl HostStack {
    /// Begins a series of echoes.
    ///
    /// # Errors
    /// `AddrNotAvailable` for an address that is not the host's, or when it has too many series.
    pub fn echo_bind(&mut self, local: IpAddr) -> io::Result<EchoId> {
        self.local.check_bind(local.into())?;
        self.echoes.open(local.into())
    }

    /// Ends a series.
    pub fn echo_close(&mut self, id: EchoId) {
        if self.echoes.of(id).is_ok() {
            self.echoes.series.remove(&id.ident);
        }
    }

    /// Sends a request of this number and these bytes. Without a free slot in the pool it is lost silently.
    ///
    /// # Errors
    /// `InvalidInput` for more than an echo holds or a peer of another family; `NotConnected` when the host crashed.
    pub fn echo_send(
        &mut self,
        id: EchoId,
        to: IpAddr,
        (sequence, payload): (u16, &[u8]),
        io: &mut Io<'_>,
    ) -> io::Result<()> {
        let dst = Address::from(to);
        let src = self.local.source(self.echoes.of(id)?.local, dst)?;
        let (at, payload_len) = (header_len(dst.family()), HEADER_LEN + payload.len());
        if payload_len > payload_len_max(dst.family()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let meta = Meta::plain(PortId::LOCAL);
        let Some(mut packet) = io.pool.lend(at + payload_len, meta) else {
            self.unsent += 1;
            return Ok(());
        };
        let out = packet.bytes_mut();
        let protocol = match dst.family() {
            Family::V4 => PROTOCOL_V4,
            Family::V6 => PROTOCOL_V6,
        };
        let header = Header {
            src,
            dst,
            protocol,
            ttl: DEFAULT_TTL,
            tos: 0,
            payload_len,
        };
        header.write(out);
        let request = Echo {
            request: true,
            ident: id.ident,
            sequence,
        };
        let message = &mut out[at..];
        message[..HEADER_LEN].copy_from_slice(&request.header(dst.family()));
        message[HEADER_LEN..].copy_from_slice(payload);
        fill_checksum(message, src, dst);
        self.send(packet, self.mtu, io);
        Ok(())
    }

    /// The next reply, cut to `into`, and its whole length.
    ///
    /// # Errors
    /// `NotConnected` when the host crashed.
    pub fn echo_poll_recv(
        &mut self,
        id: EchoId,
        context: &Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<(usize, EchoMeta)>> {
        let series = self.echoes.of(id)?;
        let Some((payload, meta)) = series.queue.pop_front() else {
            series.reader.wait(context.waker());
            return Poll::Pending;
        };
        let len = payload.len().min(into.len());
        into[..len].copy_from_slice(&payload[..len]);
        Poll::Ready(Ok((payload.len(), meta)))
    }

    pub(super) fn on_echo_reply(
        &mut self,
        packet: Packet,
        parsed: &Parsed,
        echo: Echo,
        io: &mut Io<'_>,
    ) -> Outcome {
        let family = parsed.family;
        let series = self.echoes.series.get_mut(&echo.ident);
        if let Some(series) = series.filter(|series| series.local.family() == family) {
            if series.queue.len() >= self.echoes.queue_max {
                return drop_packet(packet, DropReason::SocketFull, io);
            }
            let meta = EchoMeta {
                peer: parsed.flow.src.into(),
                sequence: echo.sequence,
                ttl: parsed.ttl,
            };
            let payload = parsed.l4(packet.bytes())[HEADER_LEN..].to_vec();
            series.queue.push_back((payload, meta));
            series.reader.wake();
        }
        io.pool.take_back(packet);
        Outcome::Delivered
    }
}
