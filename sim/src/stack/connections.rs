//! All TCP of one host: which connection a segment belongs to, and what becomes of connections.
//!
//! A segment finds its connection by its tuple, then the listener, then gets a RST. Connections that segments,
//! timers or calls touched are worked on once at the next flush. One timer per connection is outstanding with
//! the caller, or two when the second is earlier; one that comes too early is set anew. What timers and ids are compared
//! with stands by itself ([`Slot`]), since most are of connections that nothing else has in the caches.
//!
//! An end that stays silent for [`USER_TIMEOUT`] while we wait for it ends the connection (`TimedOut`); a
//! connection that its owner dropped and the other end never closes goes after [`ORPHAN_TIMEOUT`].

mod calls;

use std::io;
use std::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::fetch::fetch;
use anyedge_net::flow::FlowKey;
use anyedge_net::packet::Meta;
use anyedge_net::port::PortId;
use anyedge_net::time::Instant;
use anyedge_net::wire::{Parsed, tcp as wire_tcp, toa};

use super::flow::{Flow, FlowId, FlowTimer, Role};
use super::listeners::{ListenerId, Listeners};
use super::path_mtus::PathMtus;
use super::port_range::PortRange;
use super::tcp::{EndpointPlace, Phase, TcpEngine};
use super::time_wait::{Late, Segment, TimeWait, TimeWaits};
use super::tuple::Tuple;
use super::{HostConfig, Io, LocalAddresses, Outcome, StackStats};
use crate::lookup::Table;

/// How long an answer may be due before the connection is given up. Linux tries for 127 s (SYN) or 15 min.
pub(super) const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// The same while the other end's window is shut: probes come every 60 s at last, two may be lost.
const PERSIST_TIMEOUT: Duration = Duration::from_secs(150);
/// How long a connection that its owner dropped waits for the other end's FIN (Linux `tcp_fin_timeout`).
pub(super) const ORPHAN_TIMEOUT: Duration = Duration::from_secs(60);
/// Longer than any delayed acknowledgement: what is due later in TIME-WAIT is only its end.
const ACK_WAIT_MAX: Duration = Duration::from_secs(1);

/// What a connection's timers and ids are compared with.
#[derive(Clone, Copy)]
struct Slot {
    /// Connections that had the slot before.
    generation: u32,
    /// Due for the next flush.
    touched: bool,
    /// The earliest timer that the caller holds for it.
    armed: Instant,
    /// When it wants to be worked on again, as of the last flush.
    due: Instant,
}

impl Slot {
    const FREE: Slot = Slot {
        generation: 0,
        touched: false,
        armed: Instant::FAR_FUTURE,
        due: Instant::FAR_FUTURE,
    };

    /// Taken by another connection. Timers are told by the generation; a slot that is due for the next flush stays so.
    fn open(&mut self) {
        *self = Slot {
            generation: self.generation,
            touched: self.touched,
            ..Slot::FREE
        };
    }
}

/// What the table says of a tuple.
#[derive(Clone, Copy)]
struct Found {
    index: u32,
    /// Beside it, so that it need not be asked for where it lies.
    endpoint: EndpointPlace,
}

pub(super) struct Connections {
    engine: TcpEngine,
    flows: Vec<Flow>,
    /// Of the same numbers.
    slots: Vec<Slot>,
    free: Vec<u32>,
    table: Table<Tuple, Found>,
    listeners: Listeners,
    /// No tuple is here and in `table`.
    time_waits: TimeWaits,
    touched: Vec<u32>,
    ports: PortRange,
    flows_max: usize,
    path_mtus: PathMtus,
    stats: StackStats,
}

impl Connections {
    pub(super) fn new(config: &HostConfig) -> Connections {
        let draw = |purpose| config.seed.stream(&config.name, purpose).bits();
        Connections {
            engine: TcpEngine::new(config.tcp, config.mtu, draw("tcp"), config.buffers),
            flows: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            table: Table::default(),
            listeners: Listeners::default(),
            time_waits: TimeWaits::default(),
            touched: Vec::new(),
            ports: PortRange::new(draw("tcp-ports")),
            flows_max: config.flows_max,
            path_mtus: PathMtus::new(config.mtu),
            stats: StackStats::default(),
        }
    }

    pub(super) const fn stats(&self) -> StackStats {
        StackStats {
            unsent: self.stats.unsent + self.engine.unsent(),
            ..self.stats
        }
    }

    /// A segment that we sent was too long for its path. What is lost is sent again in its time, shorter.
    pub(super) fn on_too_big(&mut self, sent: &FlowKey, mtu: u32, now: Instant) {
        let tuple = Tuple::of_arrival(&sent.reversed());
        if self.table.contains_key(&tuple) {
            self.path_mtus.learn(sent.dst, mtu, now);
        }
    }

    pub(super) fn forget_all(&mut self) {
        self.path_mtus.forget_all();
        self.table.clear();
        self.time_waits.clear();
        self.listeners.forget_all();
        self.touched.clear();
        self.free.clear();
        for index in 0..self.flows.len() as u32 {
            self.flows[index as usize].attached = false;
            self.slots[index as usize].touched = false;
            self.end(index);
        }
    }

    pub(super) const fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    fn touch(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if self.flows[index as usize].attached && !slot.touched {
            slot.touched = true;
            self.touched.push(index);
        }
    }

    /// Has what a segment will need brought to the processor, whether the segment is sound or not.
    pub(super) fn expect(&self, flow: &FlowKey) {
        if let Some(found) = self.table.get(&Tuple::of_arrival(flow)) {
            found.endpoint.fetch();
            self.fetch(found.index);
        }
    }

    fn fetch(&self, index: u32) {
        fetch(&self.slots[index as usize]);
        fetch(&self.flows[index as usize]);
    }

    /// Takes in a sound TCP segment.
    pub(super) fn on_segment(
        &mut self,
        bytes: &[u8],
        parsed: &Parsed,
        local: &LocalAddresses,
        io: &mut Io<'_>,
    ) -> Outcome {
        let tuple = Tuple::of_arrival(&parsed.flow);
        if let Some(found) = self.table.get(&tuple) {
            self.on_flow_segment(found.index, bytes, parsed, io);
            return Outcome::Delivered;
        }
        if let Some(record) = self.time_waits.get(&tuple) {
            match record.on_segment(&Segment::of(bytes, parsed)) {
                Late::Ignore => return Outcome::Delivered,
                Late::Answer => {
                    match record.answer(&tuple, io.pool) {
                        Some(answer) => io.out.push(answer),
                        None => self.stats.unsent += 1,
                    }
                    return Outcome::Delivered;
                }
                Late::Forget => {
                    self.time_waits.forget(&tuple);
                    return Outcome::Delivered;
                }
                Late::Reopen => self.time_waits.forget(&tuple),
            }
        }
        self.on_stray(tuple, bytes, parsed, local, io)
    }

    fn on_flow_segment(&mut self, index: u32, bytes: &[u8], parsed: &Parsed, io: &mut Io<'_>) {
        let flow = &mut self.flows[index as usize];
        flow.heard(bytes, parsed, io.now);
        let before = io.out.len();
        self.engine.receive(&mut flow.endpoint, bytes, parsed, io);
        self.stats.retransmissions += flow.sends(&io.out[before..]);
        self.settle(index);
        self.touch(index);
    }

    /// A segment of no connection: opens one, or is refused.
    fn on_stray(
        &mut self,
        tuple: Tuple,
        bytes: &[u8],
        parsed: &Parsed,
        local: &LocalAddresses,
        io: &mut Io<'_>,
    ) -> Outcome {
        let own = local.has(tuple.local);
        let exact = self.listeners.exact(tuple.local, tuple.local_port);
        let listener = exact.or_else(|| {
            self.listeners
                .wildcard(tuple.local, tuple.local_port)
                .filter(|_| own)
        });
        let opens =
            parsed.tcp_flags & (wire_tcp::SYN | wire_tcp::ACK | wire_tcp::RST) == wire_tcp::SYN;
        match listener {
            Some(listener) if opens && tuple.remote_port != 0 => {
                self.on_syn(listener, tuple, bytes, parsed, io)
            }
            _ if own || listener.is_some() => {
                self.refuse(bytes, parsed, io);
                Outcome::Dropped(DropReason::NotForHost)
            }
            _ => Outcome::Dropped(DropReason::NotForHost),
        }
    }

    fn on_syn(
        &mut self,
        listener: ListenerId,
        tuple: Tuple,
        bytes: &[u8],
        parsed: &Parsed,
        io: &mut Io<'_>,
    ) -> Outcome {
        let full = self
            .listeners
            .get(listener)
            .is_none_or(|listener| listener.is_full());
        if full || self.is_full() {
            return Outcome::Dropped(DropReason::SocketFull);
        }
        let index = self.open(tuple, Role::HalfOpen(listener), io.now);
        let flow = &mut self.flows[index as usize];
        flow.toa = toa::read(bytes, parsed);
        self.engine.listen(&mut flow.endpoint, &tuple, io.now);
        if let Some(listener) = self.listeners.get(listener) {
            listener.half_open += 1;
        }
        self.on_flow_segment(index, bytes, parsed, io);
        Outcome::Delivered
    }

    fn refuse(&mut self, bytes: &[u8], parsed: &Parsed, io: &mut Io<'_>) {
        let mut reset = [0; wire_tcp::RESET_LEN_MAX];
        let len = wire_tcp::write_reset(bytes, parsed, &mut reset);
        if len == 0 {
            return;
        }
        match io.pool.lend_copy(&reset[..len], Meta::plain(PortId::LOCAL)) {
            Some(packet) => io.out.push(packet),
            None => self.stats.unsent += 1,
        }
    }

    /// Draws the consequences of a segment for the connection's owner.
    fn settle(&mut self, index: u32) {
        let flow = &mut self.flows[index as usize];
        let phase = flow.endpoint.phase();
        if phase == Phase::Closed {
            if flow.last.flags & wire_tcp::RST != 0 && !flow.endpoint.is_finished() {
                let refused = flow.role == Role::Connecting;
                flow.failure = Some(if refused {
                    io::ErrorKind::ConnectionRefused
                } else {
                    io::ErrorKind::ConnectionReset
                });
            }
            // An endpoint that must still send its own RST stays until it has.
            if flow.endpoint.is_silent() || flow.failure.is_some() {
                self.detach(index);
            }
            return;
        }
        match flow.role {
            Role::Connecting if !matches!(phase, Phase::Opening | Phase::Accepting) => {
                flow.role = Role::Owned
            }
            Role::HalfOpen(listener) if phase != Phase::Accepting => {
                flow.role = Role::Waiting(listener);
                if let Some(listener) = self.listeners.get(listener) {
                    listener.half_open -= 1;
                    listener.waiting.push_back(index);
                    listener.acceptor.wake();
                }
            }
            // Nobody will read what came: the other end learns by RST (RFC 1122 §4.2.2.13).
            Role::Orphan if flow.endpoint.unread() > 0 => flow.endpoint.abort(),
            _ => {}
        }
        self.flows[index as usize].wake();
    }

    pub(super) fn on_timer(&mut self, timer: FlowTimer, io: &mut Io<'_>) {
        let slot = &mut self.slots[timer.index as usize];
        if slot.generation != timer.generation || io.now < slot.armed {
            return;
        }
        slot.armed = Instant::FAR_FUTURE;
        if slot.touched {
            return;
        }
        if slot.due <= io.now {
            self.fetch(timer.index);
            self.touch(timer.index);
        } else {
            self.arm(timer.index, io);
        }
    }

    /// Asks for a timer at the time that it is due, unless an earlier one is coming.
    fn arm(&mut self, index: u32, io: &mut Io<'_>) {
        let slot = &mut self.slots[index as usize];
        if slot.due < slot.armed {
            slot.armed = slot.due;
            let generation = slot.generation;
            io.timers.push((slot.due, FlowTimer { index, generation }));
        }
    }

    pub(super) fn flush(&mut self, io: &mut Io<'_>) {
        let mut touched = std::mem::take(&mut self.touched);
        for index in touched.drain(..) {
            self.slots[index as usize].touched = false;
            if self.flows[index as usize].attached {
                self.poll_flow(index, io);
            }
        }
        self.touched = touched;
    }

    fn poll_flow(&mut self, index: u32, io: &mut Io<'_>) {
        self.stats.flow_polls += 1;
        let flow = &mut self.flows[index as usize];
        if flow.gives_up_at() <= io.now {
            flow.failure = Some(io::ErrorKind::TimedOut);
            self.detach(index);
            return;
        }
        let before = io.out.len();
        let mtu = self.path_mtus.to(flow.tuple.remote, io.now);
        let asked = self.engine.transmit(&mut flow.endpoint, mtu, io);
        self.stats.retransmissions += flow.sends(&io.out[before..]);
        if flow.endpoint.is_silent() {
            self.detach(index);
            return;
        }
        if flow.endpoint.phase() == Phase::TimeWait && asked > io.now + ACK_WAIT_MAX {
            self.enter_time_wait(index, io.now);
            return;
        }
        self.slots[index as usize].due = asked.min(flow.gives_up_at());
        self.arm(index, io);
    }

    /// Leaves a record; the stream, if one is left, reads to its end.
    fn enter_time_wait(&mut self, index: u32, now: Instant) {
        let flow = &self.flows[index as usize];
        let (tuple, record) = (flow.tuple, TimeWait::after(&flow.last, now));
        self.detach(index);
        self.time_waits.add(tuple, record);
    }

    /// Takes a connection off the wire and tells its owner; without one its slot is free.
    fn detach(&mut self, index: u32) {
        let flow = &mut self.flows[index as usize];
        flow.attached = false;
        self.slots[index as usize].due = Instant::FAR_FUTURE;
        self.table.remove(&flow.tuple);
        match flow.role {
            Role::Connecting | Role::Owned | Role::Waiting(_) => flow.wake(),
            Role::HalfOpen(listener) => {
                if let Some(listener) = self.listeners.get(listener) {
                    listener.half_open -= 1;
                }
                self.end(index);
            }
            Role::Orphan => self.end(index),
        }
    }

    fn is_full(&self) -> bool {
        self.flows.len() - self.free.len() >= self.flows_max
    }

    /// A slot for a connection, in the table.
    fn open(&mut self, tuple: Tuple, role: Role, now: Instant) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.flows.push(Flow::new(self.engine.endpoint(), tuple));
            self.slots.push(Slot::FREE);
            u32::try_from(self.flows.len() - 1).expect("flows_max is below 2^32")
        });
        self.flows[index as usize].open(tuple, role, now);
        self.slots[index as usize].open();
        self.time_waits.forget(&tuple);
        let endpoint = self.flows[index as usize].endpoint.place();
        self.table.insert(tuple, Found { index, endpoint });
        self.stats.flows_opened += 1;
        index
    }

    /// Frees a slot; ids and timers of its connection mean nothing any more.
    fn end(&mut self, index: u32) {
        self.flows[index as usize].end();
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
    }

    /// The name of the connection that has the slot now.
    fn id_of(&self, index: u32) -> FlowId {
        FlowId {
            index,
            generation: self.slots[index as usize].generation,
        }
    }

    fn flow(&mut self, id: FlowId) -> io::Result<&mut Flow> {
        if id == self.id_of(id.index) {
            Ok(&mut self.flows[id.index as usize])
        } else {
            Err(io::ErrorKind::NotConnected.into())
        }
    }
}

impl Flow {
    /// When waiting for the other end is over.
    fn gives_up_at(&self) -> Instant {
        if self.endpoint.is_outstanding() {
            let shut = self.last.window == 0 && self.last.flags != 0;
            self.heard_at + if shut { PERSIST_TIMEOUT } else { USER_TIMEOUT }
        } else if self.role == Role::Orphan && self.endpoint.phase() == Phase::HalfClosed {
            self.heard_at + ORPHAN_TIMEOUT
        } else {
            Instant::FAR_FUTURE
        }
    }
}
