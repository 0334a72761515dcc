//! Replication: each flow is known to both owners of its slot from its first packet on.
//!
//! Who serves a flow tells the slot's other owner: the entry when it opens the flow or takes it over, a state
//! when the handshake completes, when both sides have closed, and when it forgets a flow that fell silent. The
//! other holds a replica, and the first packet that finds it there makes the flow its own. docs/flows.md has
//! the choices, and what is not covered.
//!
//! Invariant: flows opened and taken over here = flows that ended here, by whatever cause, and those still own.

use core::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Event;
use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::route_table::SourceTold;
use anyedge_net::slot::SLOTS;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre;

use super::ClbNode;
use super::entries::{FlowEntry, Item, Items, MessageError};
use super::staging::Staged;
use super::sync::{
    ENTRIES_PER_STEP_MAX, REFRESH_EVERY, REFRESHES_PER_TIMEOUT, STEP_EVERY, VISITS_PER_STEP_MAX,
};
use super::vip_tags::VipTag;
use crate::connection_table::{Closed, Flow, NO_LISTENER, Opening, Role, Taken, Told};
use crate::flow_life::Step;
use crate::snat::AtTarget;
use crate::tcp_state::TcpState;
use crate::telling::{Header, Telling};

/// For so long a node that has handed a flow over serves it as the other's, should packets still come: two
/// nodes whose senders do not agree would else take it from each other with every packet.
pub const GUEST_FOR: Duration = Duration::from_secs(1);

impl ClbNode {
    /// Whether a listener's flows are told of with their first packet: during a flood of SYNs only once the
    /// handshake completes.
    fn replicates_half_open(&self, listener: u16) -> bool {
        !self.gates.is_shut(listener)
    }

    /// Tells the slot's other owner of a flow that this node has opened.
    pub(super) fn tell_opened(&mut self, now: Instant, id: u32, out: &mut Outbox) {
        let flow = self.connections.flow(id);
        if !flow.life().is_half_open() || self.replicates_half_open(flow.listener) {
            self.tell_entry(now, id, out);
        }
    }

    /// Tells whom it concerns of a packet that changed where its flow stands, came by a hop, or met a flow that
    /// is not this node's own.
    #[cold]
    pub(super) fn tell_packet(
        &mut self,
        now: Instant,
        id: u32,
        (step, staged): (Step, &Staged<'_>),
        out: &mut Outbox,
    ) {
        if staged.asker != NodeId::UNKNOWN {
            self.hand_back(id, staged.asker, out);
        }
        let takes_over = !staged.hop && self.connections.flow(id).role != Role::Own;
        if !(takes_over && self.take_over(now, id, out)) {
            self.tell_step(now, id, step, out);
        }
    }

    /// Tells the slot's other owner where a flow stands.
    fn tell_step(&mut self, now: Instant, id: u32, step: Step, out: &mut Outbox) {
        let flow = self.connections.flow(id);
        // What a guest sees, the flow's owner does not.
        let is_news = step.established || step.over || (step.changed && flow.role != Role::Own);
        if !self.sync.replicates() || !is_news {
            return;
        }
        if flow.synced_at() == Instant::ZERO {
            if step.established {
                self.tell_entry(now, id, out);
            }
            return;
        }
        if let Some(other) = self.sync.other_owner(flow.slot) {
            let (hash, stand) = (flow.hash(), flow.life().tcp());
            let state = Item::State { hash, stand };
            self.sync.draft(other, &state, &self.exits, out);
        }
    }

    /// Makes a flow this node's own that another served; false while this one is the other's guest.
    fn take_over(&mut self, now: Instant, id: u32, out: &mut Outbox) -> bool {
        let flow = self.connections.flow(id);
        if flow.role == Role::HandedOver && now < flow.synced_at() + GUEST_FOR {
            return false;
        }
        let flow = self.connections.take_over(id);
        out.event(Event::FlowTakenOver { flow });
        self.tell_entry(now, id, out);
        true
    }

    /// Gives a flow to the node that asked for it by a hop, so that its next packet needs none.
    pub(super) fn hand_back(&mut self, id: u32, asker: NodeId, out: &mut Outbox) {
        let item = self.item_of(self.connections.flow(id));
        self.sync.draft(asker, &item, &self.exits, out);
    }

    /// Sends a flow's entry to its slot's other owner.
    fn tell_entry(&mut self, now: Instant, id: u32, out: &mut Outbox) {
        let flow = self.connections.flow(id);
        if !self.sync.replicates() {
            return;
        }
        let Some(other) = self.sync.other_owner(flow.slot) else {
            return;
        };
        let item = self.item_of(flow);
        self.sync.draft(other, &item, &self.exits, out);
        self.connections.set_synced(id, now);
    }

    fn item_of(&self, flow: &Flow) -> Item {
        Item::Entry(FlowEntry {
            client: flow.key.src,
            client_port: flow.key.src_port,
            vip: VipTag::of(&flow.key.dst),
            vip_port: flow.key.dst_port,
            target: flow.at_target.address(),
            target_port: flow.target_port,
            source: flow.source(),
            slot: flow.slot,
            isn: flow.life().isn(),
            pop: self.sync.pops.tag(flow.pop),
            tcp: flow.life().tcp(),
            claimed: flow.role == Role::Own,
            proxy: flow.telling.proxy,
        })
    }

    /// Takes in a message of another CLB node, which is the packet's end.
    #[cold]
    pub(super) fn take_entries(&mut self, now: Instant, packet: Packet, out: &mut Outbox) {
        let from = packet.meta.peer;
        let header_len = gre::parse(packet.bytes()).map_or(0, |header| header.header_len);
        let message = packet.bytes().get(header_len..).unwrap_or(&[]);
        match self.take_items(now, from, message, out) {
            Ok(()) => {}
            Err(MessageError::Checksum) => self.sync.counts.corrupt += 1,
            Err(MessageError::Length | MessageError::Version | MessageError::Item) => {
                self.sync.counts.malformed += 1;
            }
        }
        out.drop_packet(packet, DropReason::Entries);
    }

    fn take_items(
        &mut self,
        now: Instant,
        from: NodeId,
        message: &[u8],
        out: &mut Outbox,
    ) -> Result<(), MessageError> {
        for item in Items::of(message)? {
            match item? {
                Item::Entry(entry) => self.take_entry(now, from, &entry, out),
                Item::State { hash, stand } => self.take_state(now, hash, stand),
                Item::Load(load) => self.take_load(now, from, &load),
            }
        }
        Ok(())
    }

    fn take_entry(&mut self, now: Instant, from: NodeId, entry: &FlowEntry, out: &mut Outbox) {
        let Some(told) = self.understand(from, entry) else {
            self.sync.counts.unknown += 1;
            return;
        };
        let counts = &mut self.sync.counts;
        match self.connections.take(now, &told, &self.routes.hash_key) {
            Taken::Held => {
                counts.taken += 1;
                self.take_client(now, &told);
            }
            Taken::Yielded(end) => {
                counts.taken += 1;
                let flow = told.flow.key;
                out.event(Event::FlowClosed { flow, end });
            }
            Taken::Refused => counts.refused += 1,
            Taken::Full => counts.full += 1,
        }
    }

    /// The client of a flow that another node has opened stays with its target here, too.
    fn take_client(&mut self, now: Instant, told: &Told) {
        let Opening { key, clb, .. } = told.flow;
        let listener = self.served.listener(clb, key.protocol, key.dst_port);
        let Some((number, expire)) = listener.and_then(|listener| {
            let expire = listener.listener().session_expire?;
            Some((listener.number(), expire))
        }) else {
            return;
        };
        // What is told again later says nothing of new flows.
        let is_new = told.tcp.is_none_or(TcpState::is_half_open);
        let hash_key = &self.routes.hash_key;
        let client = (number, &key.src);
        if is_new || self.persistence.target_of(now, client, hash_key).is_none() {
            let server = (told.flow.at_target.address(), told.flow.target_port);
            let client = (number, key.src);
            self.persistence.stay(now, client, server, expire, hash_key);
        }
    }

    /// What an entry means by this node's routes; `None` for a VIP, a target or a slot that they do not have.
    fn understand(&mut self, from: NodeId, entry: &FlowEntry) -> Option<Told> {
        let vip = self.served.vip_of(entry.vip, entry.client.family())?;
        let clb = self.served.clb_of(&vip)?;
        let host = self.sync.host_of(&entry.target, entry.target_port)?;
        let key = entry.key(vip);
        let listener = self.served.listener(clb, key.protocol, key.dst_port);
        let toa = listener.as_ref().and_then(|listener| listener.toa());
        let (listener, idle_s) = listener.map_or((NO_LISTENER, 0), |listener| {
            (listener.number(), listener.idle_s())
        });
        let source = SourceTold {
            toa,
            proxy: entry.proxy,
        };
        let mut telling = Telling::of(source, &key);
        if entry.tcp.is_some_and(|tcp| !tcp.is_half_open()) {
            telling.header_is(Header::Sent);
        }
        (u32::from(entry.slot) < SLOTS).then_some(Told {
            flow: Opening {
                key,
                at_target: AtTarget::new(entry.target, entry.source),
                target_port: entry.target_port,
                host,
                pop: self.sync.pops.node(entry.pop),
                clb,
                slot: entry.slot,
                listener,
                idle_s,
                telling,
            },
            tcp: entry.tcp.map(seen_elsewhere),
            isn: entry.isn,
            claimed: entry.claimed,
            by_primary: self.sync.is_primary(entry.slot, from),
        })
    }

    fn take_state(&mut self, now: Instant, hash: u64, stand: Option<TcpState>) {
        let found = self.connections.find_mark(hash);
        let Some(id) = found.filter(|id| self.connections.is_alive(*id, now)) else {
            self.sync.counts.unknown += 1;
            return;
        };
        self.sync.counts.taken += 1;
        match stand {
            Some(_) => self.connections.on_word(id, now, stand),
            None if self.connections.flow(id).role != Role::Own => {
                self.connections.close(id);
            }
            None => {}
        }
    }

    /// Tells of flows that are over and collected, and the slot's other owner of those that fell silent: its
    /// replica, told again from time to time, would outlive them.
    pub(super) fn expire(&mut self, now: Instant, out: &mut Outbox) {
        let (sync, exits) = (&mut self.sync, &self.exits);
        self.connections.expire(now, |over| {
            tell_closed(over, out);
            if !(over.own && over.outlived && sync.replicates()) {
                return;
            }
            if let Some(other) = sync.other_owner(over.slot) {
                let (hash, stand) = (over.hash, None);
                sync.draft(other, &Item::State { hash, stand }, exits, out);
            }
        });
    }

    /// Goes on with the bulk sync, when it is time.
    pub(super) fn step_bulk(&mut self, now: Instant, out: &mut Outbox) {
        let Some(mut bulk) = self.sync.walk.bulk.filter(|bulk| bulk.at <= now) else {
            return;
        };
        let numbers = self.connections.numbers();
        let end = numbers.min(bulk.next + VISITS_PER_STEP_MAX as u32);
        let mut sent = 0;
        while bulk.next < end && sent < ENTRIES_PER_STEP_MAX {
            let id = bulk.next;
            bulk.next += 1;
            let Some((slot, item)) = self.worth_telling(now, id) else {
                continue;
            };
            for to in self.sync.missing(slot).into_iter().flatten() {
                self.sync.draft(to, &item, &self.exits, out);
                sent += 1;
                if self.sync.other_owner(slot) == Some(to) {
                    self.connections.set_synced(id, now);
                }
            }
        }
        bulk.flows += sent as u64;
        bulk.at = now + STEP_EVERY;
        if bulk.next < numbers {
            self.sync.walk.bulk = Some(bulk);
            return;
        }
        self.sync.end_bulk();
        out.event(Event::SlotsResynced {
            flows: bulk.flows,
            took: now.since(bulk.began),
        });
    }

    /// Goes on with the refresh, when it is time.
    pub(super) fn step_refresh(&mut self, now: Instant, out: &mut Outbox) {
        let due = self.sync.walk.refresh.filter(|(_, at)| *at <= now);
        let Some((mut next, _)) = due else {
            return;
        };
        let numbers = self.connections.numbers();
        let end = numbers.min(next + VISITS_PER_STEP_MAX as u32);
        let mut sent = 0;
        while next < end && sent < ENTRIES_PER_STEP_MAX {
            let id = next;
            next += 1;
            let Some(flow) = self.connections.held(id) else {
                continue;
            };
            let (age, life) = (now.since(flow.synced_at()), flow.life());
            let is_recent = age < life.timeout() / REFRESHES_PER_TIMEOUT;
            // A handshake is over long before its replica runs out, one way or the other.
            if flow.role != Role::Own || life.is_half_open() || is_recent {
                continue;
            }
            if self.worth_telling(now, id).is_some() {
                self.tell_entry(now, id, out);
                sent += 1;
            }
        }
        self.sync.walk.refresh = Some(if next < numbers {
            (next, now + STEP_EVERY)
        } else {
            (0, now + REFRESH_EVERY)
        });
    }

    /// The entry of a flow that another node could go on with.
    fn worth_telling(&self, now: Instant, id: u32) -> Option<(u16, Item)> {
        let flow = self.connections.held(id)?;
        let life = flow.life();
        let is_on = now < life.deadline() && !life.is_over();
        let waits = life.is_half_open() && !self.replicates_half_open(flow.listener);
        (is_on && !waits).then(|| (flow.slot, self.item_of(flow)))
    }
}

/// Where a flow may stand by now that another node told of: the target's SYN-ACK may have passed there.
const fn seen_elsewhere(told: TcpState) -> TcpState {
    match told {
        TcpState::SynSent => TcpState::SynReceived,
        told => told,
    }
}

/// Tells of a flow that left the table; the end of a replica is no flow's end.
pub(super) fn tell_closed(over: &Closed, out: &mut Outbox) {
    if over.own {
        out.event(Event::FlowClosed {
            flow: over.key,
            end: over.end,
        });
    }
}
