//! Connection table: which target a flow belongs to, for as long as the flow lives.
//!
//! A load balancer may choose anew only for a packet that opens a flow. Every later packet must reach the same
//! target, also while targets drain and routes change: this table keeps that promise. It is bounded. When it
//! is full, new flows are refused and none that lives is evicted, so a flood of SYNs cannot break what works.
//! Flows are found from both sides, each by the keyed hash of the tuple that the packet shows.
//!
//! Beside the node's own flows it holds replicas of flows that another node serves (`replica`), in a bounded
//! share.
//!
//! Invariant: a flow is in both indices or in none, and no two flows show the same tuple at a target.
//! Timeouts: [`crate::tcp_state`], [`crate::flow_life`]; when memory comes back: [`crate::expiry`].

mod replica;

use core::mem::offset_of;

use anyedge_net::event::FlowEnd;
use anyedge_net::flow::{Address, FlowKey, HashKey};
use anyedge_net::id::{ClbId, NodeId};
use anyedge_net::route_table::Target;
use anyedge_net::time::Instant;
use anyedge_net::wire::{Parsed, tcp};

use crate::Limits;
use crate::expected::Expected;
use crate::flow_index::FlowIndex;
use crate::flow_life::{FlowLife, Step};
use crate::flow_table::{EXPIRED_PER_CALL_MAX, Entry, FlowTable};
use crate::loads::{Counted, Loads};
use crate::snat::{AtTarget, Source};
use crate::tcp_state::Side;
use crate::telling::Telling;
pub(crate) use replica::{Taken, Told};

/// Flows that a node holds unless told otherwise.
pub const FLOWS_MAX: usize = 262_144;
/// Flows whose handshake has not completed: at most one in so many of the table, so that those which complete
/// find room during a flood.
pub const HALF_OPEN_SHARE_MAX: usize = 2;

/// The number of no listener: of a flow whose listener is gone.
pub(crate) const NO_LISTENER: u16 = u16::MAX;
/// The bits of a flow's hash that other nodes name it by: those of the index and 8 more.
pub(crate) const HASH_MARK: u64 = (1 << 40) - 1;

/// Replicas fill at most one in so many places of the table.
pub const REPLICAS_SHARE: usize = 2;

/// A flow and where it goes.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Flow {
    /// Client to VIP.
    pub(crate) key: FlowKey,
    /// Where its packets go, and from whom.
    pub(crate) at_target: AtTarget,
    pub(crate) target_port: u16,
    /// The host whose vSwitch delivers them.
    pub(crate) host: NodeId,
    /// The POP that it last entered by; `UNKNOWN` straight from the Internet.
    pub(crate) pop: NodeId,
    pub(crate) clb: ClbId,
    pub(crate) slot: u16,
    /// The number of its listener on this node, or [`NO_LISTENER`].
    pub(crate) listener: u16,
    pub(crate) role: Role,
    /// How its target is told who the client is.
    pub(crate) telling: Telling,
    life: FlowLife,
    hash: u64,
    reply_hash: u32,
    expected: Expected,
    /// When the slot's other owner was last told the entry, or told us; `ZERO`: never.
    synced_at: Instant,
}

// Two cache lines: a packet of a flow that is out of the caches waits for no third.
const _: () = assert!(size_of::<Flow>() == 128);
const _: () = assert!(line_of(offset_of!(Flow, hash)) != line_of(offset_of!(Flow, host)));

/// The cache line that a place in an entry is in.
const fn line_of(offset: usize) -> usize {
    offset / 64
}

/// Whose a flow is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// This node serves it, and tells of its end.
    Own,
    /// Another node serves it; this one would.
    Replica,
    /// A replica of a flow that was this node's own until another took it over.
    HandedOver,
}

impl Entry for Flow {
    fn life(&self) -> &FlowLife {
        &self.life
    }

    #[inline]
    fn of_each_line(&self) -> u32 {
        self.hash as u32 ^ u32::from(self.host.0)
    }
}

impl Flow {
    /// Where it stands.
    pub(crate) const fn life(&self) -> &FlowLife {
        &self.life
    }

    /// Whether it has begun and not ended.
    const fn is_under_way(&self) -> bool {
        !self.life.is_half_open() && !self.life.is_over()
    }

    /// What of it counts: nothing, if it is not one of the node's own.
    fn counted(&self) -> Counted {
        let own = self.role == Role::Own;
        Counted {
            listener: self.listener,
            server: self.server(),
            half_open: own && self.life.is_half_open(),
            active: own && !self.life.is_over(),
        }
    }

    /// Which sequence number each side waits for.
    pub(crate) const fn expected(&self) -> &Expected {
        &self.expected
    }

    /// The keyed hash of its tuple.
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// When the slot's other owner was last told the entry, or told us; `ZERO`: never.
    pub(crate) const fn synced_at(&self) -> Instant {
        self.synced_at
    }

    /// Its target's address and port.
    #[inline]
    pub(crate) const fn server(&self) -> (Address, u16) {
        (self.at_target.address(), self.target_port)
    }

    /// Whom its target takes for its client, if not the client itself.
    #[inline]
    pub(crate) const fn source(&self) -> Option<Source> {
        self.at_target.source()
    }

    /// The tuple of the target's answers: target to client, or to whom it takes for that.
    #[inline]
    pub(crate) const fn reply_key(&self) -> FlowKey {
        let (dst, dst_port) = match self.source() {
            None => (self.key.src, self.key.src_port),
            Some(source) => (source.address(), source.port()),
        };
        FlowKey {
            src: self.at_target.address(),
            dst,
            src_port: self.target_port,
            dst_port,
            protocol: self.key.protocol,
        }
    }
}

/// What a new flow is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) key: FlowKey,
    pub(crate) at_target: AtTarget,
    pub(crate) target_port: u16,
    pub(crate) host: NodeId,
    pub(crate) pop: NodeId,
    pub(crate) clb: ClbId,
    pub(crate) slot: u16,
    pub(crate) listener: u16,
    /// Seconds that it may be silent when it is established; 0: as long as any.
    pub(crate) idle_s: u16,
    pub(crate) telling: Telling,
}

/// Why a flow cannot be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// `flows_max` flows are held, or for one that is half-open the share that such flows may have.
    TableFull,
    /// A living flow already shows this tuple at the target.
    TupleTaken,
}

/// A flow that left the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) key: FlowKey,
    /// How it would have ended by itself.
    pub(crate) end: FlowEnd,
    /// Whether it was the node's own: the end of a replica is no flow's end.
    pub(crate) own: bool,
    pub(crate) hash: u64,
    pub(crate) slot: u16,
    /// Whether it was under way, and the slot's other owner knows of it: its replica would outlive it.
    pub(crate) outlived: bool,
}

/// The flows of one CLB node.
pub(crate) struct ConnectionTable {
    flows: FlowTable<Flow>,
    by_key: FlowIndex,
    by_reply: FlowIndex,
    replicas: usize,
    replicas_max: usize,
    loads: Loads,
}

impl ConnectionTable {
    /// An empty table.
    pub(crate) fn new(limits: Limits) -> ConnectionTable {
        let Limits {
            flows_max,
            flows_indexed,
        } = limits;
        ConnectionTable {
            flows: FlowTable::new(flows_max),
            by_key: FlowIndex::new(flows_indexed),
            by_reply: FlowIndex::new(flows_indexed),
            replicas: 0,
            replicas_max: flows_max / REPLICAS_SHARE,
            loads: Loads::default(),
        }
    }

    /// Flows that it may hold.
    pub(crate) const fn flows_max(&self) -> usize {
        self.flows.flows_max()
    }

    /// How many of the node's own flows each listener has.
    pub(crate) const fn loads(&self) -> &Loads {
        &self.loads
    }

    /// The same, to be told of other nodes' flows.
    pub(crate) const fn loads_mut(&mut self) -> &mut Loads {
        &mut self.loads
    }

    /// The node's own flows, those included that are over but not yet collected.
    pub(crate) const fn len(&self) -> usize {
        self.flows.len() - self.replicas
    }

    /// Flows held for another node.
    pub(crate) const fn replicas(&self) -> usize {
        self.replicas
    }

    /// Numbers that were ever used: all flows have one below.
    pub(crate) const fn numbers(&self) -> u32 {
        self.flows.numbers()
    }

    /// The flow of that number, if there is one.
    pub(crate) fn held(&self, id: u32) -> Option<&Flow> {
        self.flows.is_in_use(id).then(|| self.flows.entry(id))
    }

    /// Whether a new flow would be refused.
    pub(crate) const fn is_full(&self) -> bool {
        self.flows.is_full()
    }

    /// Numbers found stay good while this stays the same.
    pub(crate) const fn generation(&self) -> u64 {
        self.flows.generation()
    }

    /// Brings what [`ConnectionTable::find`] (of `Side::Client`) and [`ConnectionTable::find_reply`] will look at
    /// into the caches, for a whole batch.
    #[inline]
    pub(crate) fn fetch(&self, packets: impl Iterator<Item = (Side, u64)> + Clone) {
        for (side, index) in [(Side::Client, &self.by_key), (Side::Target, &self.by_reply)] {
            let from_side = packets.clone().filter(|(from, _)| *from == side);
            let hashes = from_side.map(|(_, hash)| hash as u32);
            index.fetch(hashes.clone());
            self.flows
                .fetch(hashes.filter_map(|hash| index.guess(hash)));
        }
    }

    /// The flow of a client's packet, whether it is alive or only not yet collected. `hash` is that of `key`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &FlowKey) -> Option<u32> {
        self.by_key
            .find(hash as u32, |id| self.flows.entry(id).key == *key)
    }

    /// The only flow whose tuple's hash agrees with `mark` in the bits of [`HASH_MARK`].
    pub(crate) fn find_mark(&self, mark: u64) -> Option<u32> {
        let is_it = |id: u32| (self.flows.entry(id).hash ^ mark) & HASH_MARK == 0;
        let found = self.by_key.find(mark as u32, is_it)?;
        let other = self.by_key.find(mark as u32, |id| id != found && is_it(id));
        other.is_none().then_some(found)
    }

    /// The flow of a target's packet, target to client.
    #[inline]
    pub(crate) fn find_reply(&self, hash: u64, reply: &FlowKey) -> Option<u32> {
        self.by_reply
            .find(hash as u32, |id| self.flows.entry(id).reply_key() == *reply)
    }

    /// Whether a flow that lives shows this tuple at its target, be it the node's own or another's.
    pub(crate) fn is_shown(&self, now: Instant, hash: u64, reply: &FlowKey) -> bool {
        let shown = self.find_reply(hash, reply);
        shown.is_some_and(|id| self.is_alive(id, now))
    }

    /// Whether a flow's deadline is still to come. One that is over is to be closed, not used.
    #[inline]
    pub(crate) fn is_alive(&self, id: u32, now: Instant) -> bool {
        self.flows.is_alive(id, now)
    }

    /// The flow of that number.
    #[inline]
    pub(crate) fn flow(&self, id: u32) -> &Flow {
        self.flows.entry(id)
    }

    /// Whether this packet of the client opens a connection in the place of the flow.
    #[inline]
    pub(crate) fn is_replaced_by(&self, id: u32, parsed: &Parsed, bytes: &[u8]) -> bool {
        self.flow(id).life.is_replaced_by(parsed, bytes)
    }

    /// Opens a flow with its first packet. `hash_key` is that of the hashes given to `find`.
    /// A flow that is over and in the way is closed first and told to `closed`.
    pub(crate) fn open(
        &mut self,
        now: Instant,
        opening: &Opening,
        (parsed, bytes): (&Parsed, &[u8]),
        (hash, hash_key): (u64, &HashKey),
        mut closed: impl FnMut(&Closed),
    ) -> Result<u32, Refusal> {
        let mut flow = Flow {
            key: opening.key,
            at_target: opening.at_target,
            target_port: opening.target_port,
            host: opening.host,
            pop: opening.pop,
            clb: opening.clb,
            slot: opening.slot,
            listener: opening.listener,
            role: Role::Own,
            telling: opening.telling,
            life: FlowLife::begin(now, parsed, bytes).with_idle(opening.idle_s),
            hash,
            reply_hash: 0,
            expected: Expected::default(),
            synced_at: Instant::ZERO,
        };
        if let Some(numbers) = tcp::numbers(bytes, parsed) {
            flow.expected.on_segment(Side::Client, &numbers);
        }
        let reply = flow.reply_key();
        let reply_hash = reply.hash(hash_key);
        flow.reply_hash = reply_hash as u32;
        if let Some(other) = self.find_reply(reply_hash, &reply) {
            if self.is_alive(other, now) && self.flow(other).role == Role::Own {
                return Err(Refusal::TupleTaken);
            }
            let over = self.close(other);
            closed(&over);
        }
        let share = self.flows_max() / HALF_OPEN_SHARE_MAX;
        if flow.life.is_half_open() && self.loads.half_open() >= share {
            return Err(Refusal::TableFull);
        }
        self.insert(now, flow).ok_or(Refusal::TableFull)
    }

    fn insert(&mut self, now: Instant, flow: Flow) -> Option<u32> {
        let id = self.flows.insert(now, flow)?;
        self.loads.add(&flow.counted());
        self.by_key.insert(flow.hash as u32, id);
        self.by_reply.insert(flow.reply_hash, id);
        Some(id)
    }

    /// Takes a packet of a living flow into account.
    #[inline]
    pub(crate) fn on_packet(
        &mut self,
        id: u32,
        now: Instant,
        side: Side,
        (parsed, bytes): (&Parsed, &[u8]),
    ) -> Step {
        let flow = self.flows.entry_mut(id);
        let step = flow.life.on_packet(now, side, parsed.tcp_flags);
        if let Some(numbers) = tcp::numbers(bytes, parsed) {
            flow.expected.on_segment(side, &numbers);
        }
        if (step.handshake_over || step.over) && flow.role == Role::Own {
            self.loads.take_away(&Counted {
                half_open: step.handshake_over,
                active: step.over,
                ..flow.counted()
            });
        }
        if step.shortened {
            self.flows.shortened(id);
        }
        step
    }

    /// Takes a packet into account, of a flow that is about to be cut, which does not go on.
    pub(crate) fn on_withheld(&mut self, id: u32, side: Side, numbers: &tcp::Numbers) {
        self.flows.entry_mut(id).expected.on_withheld(side, numbers);
    }

    /// How a flow's target is told who the client is, to be brought forward.
    pub(crate) fn telling_mut(&mut self, id: u32) -> &mut Telling {
        &mut self.flows.entry_mut(id).telling
    }

    /// Notes where a flow's packets enter now; true when that is another POP than before.
    #[inline]
    pub(crate) fn enter_by(&mut self, id: u32, pop: NodeId, clb: ClbId, slot: u16) -> bool {
        let flow = self.flows.entry_mut(id);
        let moved = flow.pop != pop;
        (flow.pop, flow.clb, flow.slot) = (pop, clb, slot);
        moved
    }

    /// Its target is at another host.
    pub(crate) fn set_host(&mut self, id: u32, host: NodeId) {
        self.flows.entry_mut(id).host = host;
    }

    /// Removes a flow. Returns what it was and how it would have ended by itself.
    pub(crate) fn close(&mut self, id: u32) -> Closed {
        let flow = self.flows.remove(id);
        self.loads.take_away(&flow.counted());
        self.by_key.remove(flow.hash as u32, id);
        self.by_reply.remove(flow.reply_hash, id);
        if flow.role != Role::Own {
            self.replicas -= 1;
        }
        Closed {
            key: flow.key,
            end: flow.life.end(),
            own: flow.role == Role::Own,
            hash: flow.hash,
            slot: flow.slot,
            outlived: flow.is_under_way() && flow.synced_at != Instant::ZERO,
        }
    }

    /// Collects flows that are over, at most [`EXPIRED_PER_CALL_MAX`], and tells each to `closed`.
    pub(crate) fn expire(&mut self, now: Instant, mut closed: impl FnMut(&Closed)) {
        let mut looks = EXPIRED_PER_CALL_MAX;
        while let Some(id) = self.flows.next_expired(now, &mut looks) {
            let over = self.close(id);
            closed(&over);
        }
    }

    /// When to call [`ConnectionTable::expire`] next.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.flows.wake_at()
    }

    /// Rewrites the ids that flows hold, for a revision of the routes with other numbers.
    pub(crate) fn renumber(&mut self, rewrite: impl Fn(&mut Flow)) {
        let ids: Vec<u32> = self.flows.in_use().collect();
        for id in ids {
            rewrite(self.flows.entry_mut(id));
        }
    }

    /// Whether flows are counted for that many listeners.
    pub(crate) fn counts_listeners(&self, listeners: usize) -> bool {
        self.loads.len() == listeners
    }

    /// Counts flows by listeners with other numbers: `number` gives the one of a flow.
    pub(crate) fn renumber_listeners(
        &mut self,
        listeners: usize,
        number: impl Fn(&Flow) -> Option<u16>,
    ) {
        self.loads = Loads::new(listeners);
        let ids: Vec<u32> = self.flows.in_use().collect();
        for id in ids {
            let flow = self.flows.entry_mut(id);
            flow.listener = number(flow).unwrap_or(NO_LISTENER);
            self.loads.add(&flow.counted());
        }
    }

    /// A listener's targets are these from here on; their flows are counted if `counts`.
    pub(crate) fn set_targets(&mut self, listener: u16, targets: &[Target], counts: bool) {
        if !self.loads.set_targets(listener, targets, counts) {
            return;
        }
        for id in self.flows.in_use() {
            let flow = self.flows.entry(id).counted();
            if flow.listener == listener && flow.active {
                self.loads.count(&flow);
            }
        }
    }

    /// Files all flows anew under another hash key.
    pub(crate) fn rekey(&mut self, hash_key: &HashKey) {
        self.by_key.clear();
        self.by_reply.clear();
        let ids: Vec<u32> = self.flows.in_use().collect();
        for id in ids {
            let flow = self.flows.entry_mut(id);
            flow.hash = flow.key.hash(hash_key);
            flow.reply_hash = flow.reply_key().hash(hash_key) as u32;
            let (hash, reply_hash) = (flow.hash as u32, flow.reply_hash);
            self.by_key.insert(hash, id);
            self.by_reply.insert(reply_hash, id);
        }
    }
}

#[cfg(test)]
mod tests;
