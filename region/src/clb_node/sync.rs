//! Sync: who else holds this node's flows, and what is on its way to them.
//!
//! Each slot has two owners, and a flow is to be known to both. What the other owner is to hear of is drafted
//! into one message for each node and sent at the end of the call, so that a batch of new flows costs one
//! packet. When slots move, `walk` sends all their flows to whoever has not got them, a little at a time, and
//! goes round from then on so that replicas do not run out.
//!
//! Derived from a route table when it is applied; what is under way goes on.

mod drafts;
mod hosts;
mod slots;
mod walk;

use std::sync::Arc;

use anyedge_ccn::exits::{Exit, Exits};
use anyedge_net::flow::Address;
use anyedge_net::id::{NodeId, RegionId};
use anyedge_net::outbox::Outbox;
use anyedge_net::route_table::{Mechanisms, Region, RouteTable};
use anyedge_net::slot::SlotMap;
use anyedge_net::time::Instant;

use super::entries::Item;
use super::pop_tags::PopTags;
use crate::edits::Edits;
use drafts::Drafts;
use hosts::Hosts;
use slots::{Missing, MovedLately};
pub(super) use walk::Walk;

pub use drafts::MESSAGE_LEN_MAX;
pub use walk::{
    ENTRIES_PER_STEP_MAX, REFRESH_EVERY, REFRESHES_PER_TIMEOUT, STEP_EVERY, VISITS_PER_STEP_MAX,
};

/// What a node told the others, and what it took from them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SyncCounts {
    /// Messages sent.
    pub messages: u64,
    /// Entries sent.
    pub entries: u64,
    /// States sent.
    pub states: u64,
    /// Loads of servers sent.
    pub loads: u64,
    /// Bytes of entries and states sent, without the headers around them.
    pub bytes: u64,
    /// Entries and states that were not sent, for want of a path or a packet slot.
    pub unsent: u64,
    /// Entries and states taken in.
    pub taken: u64,
    /// Entries whose VIP, target or slot the routes do not have, and states of flows not known, or not without
    /// doubt.
    pub unknown: u64,
    /// Entries that an own flow stands against.
    pub refused: u64,
    /// Entries beyond the share of the table that replicas may fill.
    pub full: u64,
    /// Messages that do not parse.
    pub malformed: u64,
    /// Messages whose checksum is wrong.
    pub corrupt: u64,
    /// Packets sent on to the slot's other owner.
    pub hops: u64,
}

/// What a node knows of the other nodes of its region.
pub(super) struct Sync {
    own: NodeId,
    slots: Option<Arc<SlotMap>>,
    mechanisms: Mechanisms,
    pub(super) pops: PopTags,
    hosts: Hosts,
    drafts: Drafts,
    missing: Missing,
    moved: MovedLately,
    was_known: bool,
    pub(super) walk: Walk,
    pub(super) counts: SyncCounts,
}

impl Sync {
    /// A node that knows of no other.
    pub(super) fn new() -> Sync {
        Sync {
            own: NodeId::UNKNOWN,
            slots: None,
            mechanisms: Mechanisms::ALL,
            pops: PopTags::default(),
            hosts: Hosts::default(),
            drafts: Drafts::default(),
            missing: Missing::default(),
            moved: MovedLately::default(),
            was_known: false,
            walk: Walk::default(),
            counts: SyncCounts::default(),
        }
    }

    /// Takes the routes of `table` for node `own`, which knew those of `old` before. `edits`: all in which their
    /// targets differ, if nothing else does.
    pub(super) fn apply(
        &mut self,
        now: Instant,
        (old, table): (&RouteTable, &RouteTable),
        (own, region): (NodeId, Option<RegionId>),
        edits: Option<&Edits<'_>>,
    ) {
        let was = core::mem::replace(&mut self.own, own);
        self.mechanisms = table.mechanisms;
        match (edits, region) {
            (Some(edits), Some(region)) => self.hosts.amend(table, region, edits),
            _ => self.hosts = Hosts::of(table, region),
        }
        let region = region.and_then(|region| table.regions.get(region.index()));
        let Some(region) = region else {
            self.pops = PopTags::of(table);
            self.slots = None;
            self.missing = Missing::default();
            self.moved = MovedLately::default();
            self.walk.stop();
            return;
        };
        let knows_ground = self.slots.is_some() && was == own && table.has_ground_of(old);
        if !knows_ground {
            self.pops = PopTags::of(table);
            self.take_slots(now, (old, table), region, was);
        }
        let refreshes = self.mechanisms.replication && self.mechanisms.bulk_sync;
        self.walk
            .refresh(now, refreshes && region.clb_nodes.len() > 1);
    }

    /// Takes the nodes of this node's region and who of them owns what. `was`: this node's number before.
    fn take_slots(
        &mut self,
        now: Instant,
        (old, table): (&RouteTable, &RouteTable),
        region: &Region,
        was: NodeId,
    ) {
        let own = self.own;
        let others = region.clb_nodes.iter().copied();
        self.drafts.renew(others.filter(|node| *node != own));
        let before = slots::Before::of(old, table, &region.name);
        let slots = self.slots.as_ref();
        let stay = slots.is_some_and(|slots| Arc::ptr_eq(slots, &region.slots));
        // Then a walk that is under way goes on.
        if !(stay && was == own && before.are_numbers_alike) {
            self.moved
                .apply(now, &before, &region.slots, (own, table.revision));
            let misses = self.missing.apply(&before, &region.slots, own);
            self.slots = Some(Arc::clone(&region.slots));
            if misses && self.mechanisms.bulk_sync {
                self.walk.begin(now);
            }
        }
    }

    /// Whether entries are sent with a flow's first packet.
    #[inline]
    pub(super) const fn replicates(&self) -> bool {
        self.mechanisms.replication
    }

    /// Whether misses are answered with a RST.
    pub(super) const fn resets(&self) -> bool {
        self.mechanisms.reset_on_miss
    }

    /// Who is to hold a slot's flows beside this node: its secondary for the primary, the primary for all
    /// others.
    #[inline]
    pub(super) fn other_owner(&self, slot: u16) -> Option<NodeId> {
        let owners = self.slots.as_ref()?.owners(slot);
        let other = if owners.primary == self.own {
            owners.secondary
        } else {
            owners.primary
        };
        (other != NodeId::UNKNOWN && other != self.own).then_some(other)
    }

    /// Whether `node` is the primary of a slot.
    pub(super) fn is_primary(&self, slot: u16, node: NodeId) -> bool {
        let slots = self.slots.as_ref();
        slots.is_some_and(|slots| slots.owners(slot).primary == node)
    }

    /// The owners of a slot that may not have its flows yet, this node being the one to send them.
    pub(super) fn missing(&self, slot: u16) -> [Option<NodeId>; 2] {
        let Some(slots) = &self.slots else {
            return [None; 2];
        };
        let owners = slots.owners(slot);
        let [primary, secondary] = self.missing.of(slot);
        [
            primary.then_some(owners.primary),
            secondary.then_some(owners.secondary),
        ]
    }

    /// The node was there before it began: flows of its slots may be older than what it has in mind.
    pub(super) fn was_known(&mut self, now: Instant) {
        if let Some(slots) = &self.slots
            && !core::mem::replace(&mut self.was_known, true)
        {
            self.moved.add_all(now, slots, self.own);
        }
    }

    /// Has a node of the region told again of the flows of all slots that it shares with this one: it was silent, so
    /// that it has lost what it held, or what was told meanwhile.
    pub(super) fn send_again(&mut self, now: Instant, peer: NodeId) {
        let Some(slots) = &self.slots else {
            return;
        };
        if self.mechanisms.bulk_sync && self.missing.add(slots, self.own, peer) {
            self.walk.begin(now);
        }
    }

    /// The bulk sync is over: nobody misses anything.
    pub(super) fn end_bulk(&mut self) {
        self.missing.clear();
        self.walk.bulk = None;
    }

    /// The host of a target of this region.
    pub(super) fn host_of(&self, target: &Address, port: u16) -> Option<NodeId> {
        self.hosts.find(target, port)
    }

    /// The way of a packet that missed to the slot's other owner, if it may have one.
    pub(super) fn second_chance(&self, slot: u16, exits: &Exits) -> Option<Exit> {
        if !self.mechanisms.second_chance {
            return None;
        }
        straight_to(exits, self.other_owner(slot)?)
    }

    /// Whether the slot came to this node so lately that a flow without handshake may be older.
    pub(super) fn has_moved(&self, now: Instant, slot: u16) -> bool {
        self.moved.has_moved(now, slot)
    }

    /// Drafts an item for node `to`.
    pub(super) fn draft(&mut self, to: NodeId, item: &Item, exits: &Exits, out: &mut Outbox) {
        self.drafts.add(to, item, exits, &mut self.counts, out);
    }

    /// Sends all drafts.
    #[inline]
    pub(super) fn send(&mut self, exits: &Exits, out: &mut Outbox) {
        if !self.drafts.is_empty() {
            self.drafts.send(exits, &mut self.counts, out);
        }
    }
}

/// The way to a CLB node of the region that takes the packet out of the tunnel itself.
fn straight_to(exits: &Exits, node: NodeId) -> Option<Exit> {
    exits.to(node).filter(|exit| exit.peer == node)
}
