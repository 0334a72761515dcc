//! The vSwitch: the tunnel's end at a backend's host.
//!
//! The backend sees bare packets from the client's own address and knows of no tunnel. So the vSwitch remembers
//! which key each tuple came with, and answers to the CLB node that owns the key's slot now, not to the one that
//! sent: when a node dies, its flows go on through the slot's new owner.
//!
//! The two ways: `deliver` (tunnel to backend) and `answer` (backend to tunnel), `icmp` both for errors,
//! `fragments` for answers in pieces, `security` says who may open a flow; `tuple_table` is the memory between
//! them. Batches go through in four passes, as in [`crate::clb_node`].

mod answer;
mod deliver;
mod fragments;
mod icmp;
mod security;
mod tuple_table;

use std::sync::Arc;

use anyedge_ccn::exits::Exits;
use anyedge_ccn::probe::Prober;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Event;
use anyedge_net::forwarder::{BATCH_MAX, Forwarder, LocalEvent};
use anyedge_net::id::{NodeId, RegionId};
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::port::PortKind;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{NodeKind, RouteTable};
use anyedge_net::time::{Deadline, Instant};
use anyedge_net::token_bucket::TokenBucket;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::{Parsed, tcp, udp};

use crate::Limits;
use crate::clb_node::{ERRORS_BURST, ERRORS_PER_SECOND};
use crate::fragment_table::FragmentTable;
use crate::peer;
use security::Guard;
use tuple_table::TupleTable;

/// The vSwitch of one host.
pub struct VSwitch {
    own_name: String,
    routes: Arc<RouteTable>,
    region: Option<RegionId>,
    exits: Exits,
    prober: Prober,
    tuples: TupleTable,
    guard: Guard,
    errors: TokenBucket,
    fragments: FragmentTable<()>,
    packets: Vec<Packet>,
    stages: Vec<Stage>,
}

/// A packet and what its own bytes say.
struct Staged<'s> {
    packet: Packet,
    parsed: &'s Parsed,
    hash: u64,
    found: Option<u32>,
}

/// A staged packet without its packet.
struct Stage {
    parsed: Parsed,
    /// The keyed hash of the tuple from the target to the client, whichever way the packet goes.
    hash: u64,
    way: Way,
    /// Its tuple, as the batch began.
    found: Option<u32>,
}

impl Stage {
    #[inline]
    const fn with(&self, packet: Packet) -> Staged<'_> {
        Staged {
            packet,
            parsed: &self.parsed,
            hash: self.hash,
            found: self.found,
        }
    }
}

/// Which way a packet goes.
#[derive(Clone, Copy)]
enum Way {
    /// Out of a tunnel, with this key.
    ToBackend(GreKey),
    /// Into a tunnel.
    ToClbNode,
}

impl VSwitch {
    /// A vSwitch without routes: it drops everything until the first [`Forwarder::apply`]. `own_name` is the
    /// full name of its host in the routes; `seed` gives the jitter of its probes.
    pub fn new(own_name: &str, limits: Limits, seed: Seed) -> VSwitch {
        let routes = RouteTable::empty();
        VSwitch {
            own_name: own_name.to_owned(),
            region: None,
            exits: Exits::new(&routes, NodeId::UNKNOWN),
            prober: Prober::new(own_name, seed),
            tuples: TupleTable::new(limits),
            guard: Guard::default(),
            errors: TokenBucket::new(ERRORS_PER_SECOND, ERRORS_BURST),
            fragments: FragmentTable::new(),
            packets: Vec::with_capacity(BATCH_MAX),
            stages: Vec::with_capacity(BATCH_MAX),
            routes: Arc::new(routes),
        }
    }

    /// Tuples held, those included that are over but not yet collected.
    pub const fn flows(&self) -> usize {
        self.tuples.len()
    }

    #[inline]
    fn stage(&self, packet: &mut Packet) -> Result<Stage, DropReason> {
        match packet.meta.port.kind() {
            Some(PortKind::Tunnel) => self.stage_tunnelled(packet),
            Some(PortKind::Backend) => self.stage_answer(packet),
            Some(PortKind::Local | PortKind::Public | PortKind::Vpc) | None => {
                Err(DropReason::WrongPort)
            }
        }
    }

    /// Refuses what has no tuple, its own or that of its first fragment. `asks`: an echo of this direction is a request.
    #[inline]
    fn check_has_tuple(
        &self,
        packet: &Packet,
        parsed: &mut Parsed,
        asks: bool,
    ) -> Result<(), DropReason> {
        let carried = matches!(parsed.flow.protocol, tcp::PROTOCOL | udp::PROTOCOL)
            || self.takes_tuple_of_echo(packet.bytes(), parsed, asks);
        if parsed.fragment.is_some() && !(carried && self.routes.mechanisms.fragments) {
            return Err(DropReason::Fragment);
        }
        if !carried {
            return Err(DropReason::UnsupportedProtocol);
        }
        Ok(())
    }

    #[inline(always)]
    fn look_up(&self, stage: &Stage) -> Option<u32> {
        let flow = &stage.parsed.flow;
        match stage.way {
            Way::ToBackend(_) => self.tuples.find(stage.hash, &flow.reversed()),
            Way::ToClbNode => self.tuples.find(stage.hash, flow),
        }
    }

    /// The living tuple that `found` names. One that is over is removed: it must not be used again.
    #[inline]
    fn living(&mut self, now: Instant, found: Option<u32>) -> Option<u32> {
        let id = found?;
        if self.tuples.is_alive(id, now) {
            return Some(id);
        }
        self.tuples.remove(id);
        None
    }

    /// A packet alone, as in the simulator: nothing to be fetched side by side.
    #[inline]
    fn handle_one(&mut self, now: Instant, mut packet: Packet, out: &mut Outbox) {
        // It stays where it is written: a move right behind its many small writes would wait for them.
        match &mut self.stage(&mut packet) {
            Ok(stage) => {
                stage.found = self.look_up(stage);
                self.pass(now, (stage.way, stage.with(packet)), out);
            }
            Err(reason) => self.refuse(now, packet, *reason, out),
        }
    }

    fn handle_many(&mut self, now: Instant, batch: &mut Vec<Packet>, out: &mut Outbox) {
        let mut packets = core::mem::take(&mut self.packets);
        let mut stages = core::mem::take(&mut self.stages);
        for mut packet in batch.drain(..) {
            match self.stage(&mut packet) {
                Ok(stage) => {
                    stages.push(stage);
                    packets.push(packet);
                }
                Err(reason) => self.refuse(now, packet, reason, out),
            }
        }
        self.tuples.fetch(stages.iter().map(|stage| stage.hash));
        for stage in &mut stages {
            stage.found = self.look_up(stage);
        }
        let generation = self.tuples.generation();
        for (packet, stage) in packets.drain(..).zip(&mut stages) {
            if self.tuples.generation() != generation {
                stage.found = self.look_up(stage);
            }
            self.pass(now, (stage.way, stage.with(packet)), out);
        }
        stages.clear();
        (self.packets, self.stages) = (packets, stages);
    }

    #[inline(always)]
    fn pass(&mut self, now: Instant, (way, staged): (Way, Staged<'_>), out: &mut Outbox) {
        match way {
            Way::ToBackend(key) => self.deliver(now, staged, key, out),
            Way::ToClbNode if staged.parsed.fragment.is_some() => {
                self.answer_fragment(now, staged, out);
            }
            Way::ToClbNode => self.answer(now, staged, out),
        }
    }
}

impl Forwarder for VSwitch {
    fn handle_packets(&mut self, now: Instant, batch: &mut Vec<Packet>, out: &mut Outbox) {
        if batch.len() == 1
            && let Some(packet) = batch.pop()
        {
            self.handle_one(now, packet, out);
        } else {
            self.handle_many(now, batch, out);
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        self.prober.handle_timeout(now, &mut self.exits, out);
        self.tuples.expire(now);
        self.fragments.expire(now, out);
    }

    fn handle_event(&mut self, now: Instant, event: LocalEvent, out: &mut Outbox) {
        self.exits.handle_event(now, event, out);
    }

    fn apply(&mut self, now: Instant, table: Arc<RouteTable>, out: &mut Outbox) {
        let own = table.node_named(&self.own_name).unwrap_or(NodeId::UNKNOWN);
        self.region = match peer::kind_of(&table, own) {
            Some(NodeKind::Host(region)) => Some(region),
            Some(NodeKind::Pop | NodeKind::ClbNode(_)) | None => None,
        };
        self.exits.renew(now, &table, own);
        self.prober.renew(now, &table, &mut self.exits);
        if self.routes.hash_key != table.hash_key {
            self.tuples.rekey(&table.hash_key);
            self.fragments.clear(DropReason::FragmentTimeout, out);
        }
        out.event(Event::TableApplied(table.revision));
        self.routes = table;
        self.renew_guard(own);
    }

    #[inline]
    fn poll_timeout(&self) -> Option<Deadline> {
        let tuples = Deadline::or_due(None, self.tuples.wake_at(), "tuples expire");
        let fragments = self.fragments.wake_at();
        let first = Deadline::or_due(tuples, fragments, "fragments wait in vain");
        Deadline::earlier(first, self.prober.poll_timeout(&self.exits))
    }

    fn held(&self) -> usize {
        self.fragments.held()
    }

    fn let_go(&mut self, reason: DropReason, out: &mut Outbox) {
        self.fragments.clear(reason, out);
    }
}

#[cfg(test)]
mod tests;
