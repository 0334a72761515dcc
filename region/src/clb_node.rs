//! The CLB node: gives each new flow a target, and each later packet the target its flow has.
//!
//! Packets of clients come from POPs by tunnel, or straight from the Internet; they leave for the target's host
//! with the destination translated and the client's source kept. Answers come from hosts by tunnel and leave
//! for the POP that the flow entered by last. A batch goes through in four passes: read and hash all packets
//! (`staging`), fetch what their look-ups will touch, look all flows up, then decide one after the other. The loads of
//! the second pass wait for nothing, so that a batch waits for memory about once: docs/benchmarks.md has what it saves.
//!
//! The mechanisms: `ingress` (towards targets), `reply` (towards clients), `choose_target`, `check_targets`,
//! `reset`, `unbind`, `icmp`, `snat`, `syn_gate`, `security`, `tell_source`, `served` (what the routes say), `renumber` (when ids
//! change); `replicate` and `second_chance` keep flows when slots change hands, by `sync`, in the format of `entries`;
//! `gossip` tells loads; `view` shows what it goes by.

mod check_targets;
mod choose_target;
mod entries;
mod fragments;
mod gossip;
mod icmp;
mod ingress;
mod passive;
mod pop_tags;
mod relocate;
mod renumber;
mod replicate;
mod reply;
mod reset;
mod second_chance;
mod security;
mod served;
mod slot_part;
mod snat;
mod staging;
mod syn_gate;
mod sync;
mod tell_source;
mod transit;
mod unbind;
mod view;
mod vip_tags;

use std::sync::Arc;

use anyedge_ccn::exits::Exits;
use anyedge_ccn::probe::Prober;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Event;
use anyedge_net::forwarder::{Forwarder, LocalEvent};
use anyedge_net::id::{ClbId, NodeId, RegionId};
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::rng::{Rng, Seed};
use anyedge_net::route_table::{NodeKind, RouteTable};
use anyedge_net::time::{Deadline, Instant};
use anyedge_net::token_bucket::TokenBucket;

use crate::Limits;
use crate::connection_table::ConnectionTable;
use crate::edits::Edits;
use crate::fragment_table::FragmentTable;
use crate::health::{Change, Checks};
use crate::peer;
use crate::persistence::Persistence;
use crate::scheduler::counts_loads;
use crate::snat::SnatPorts;
use crate::tcp_state::Side;
use crate::unbinding::Unbinding;
use fragments::Waiting;
use gossip::Gossip;
pub(crate) use icmp::quoted_flow;
use relocate::Relocation;
use served::Served;
use slot_part::SlotPart;
use snat::SnatWalk;
use staging::{Found, Stage, Staged, Stages, Way};
use syn_gate::SynGates;
use sync::Sync;

pub use gossip::{LOADS_EVERY, LOADS_GOOD_FOR, LOADS_REFRESH};
pub use icmp::{ERRORS_BURST, ERRORS_PER_SECOND};
pub use replicate::GUEST_FOR;
pub use reset::{RESETS_BURST, RESETS_PER_SECOND};
pub use syn_gate::{
    COOKIES_BURST, COOKIES_PER_SECOND, HALF_OPEN_MIN, HALF_OPEN_SHARE, PROVED_FOR, PROVED_MAX,
    SHUT_MIN, UNANSWERED_PER_SECOND, UNANSWERED_SHARE,
};
pub use sync::{
    ENTRIES_PER_STEP_MAX, MESSAGE_LEN_MAX, REFRESH_EVERY, REFRESHES_PER_TIMEOUT, STEP_EVERY,
    SyncCounts, VISITS_PER_STEP_MAX,
};
pub use unbind::{CUT_EVERY, CUTS_PER_STEP_MAX, LOOKS_PER_STEP_MAX};
pub use view::{FlowView, KnownFlow, TargetView};

/// One load-balancing node of a region.
pub struct ClbNode {
    own_name: String,
    seed: Seed,
    routes: Arc<RouteTable>,
    own: NodeId,
    region: Option<RegionId>,
    exits: Exits,
    prober: Prober,
    served: Served,
    checks: Checks,
    unbinding: Unbinding,
    connections: ConnectionTable,
    persistence: Persistence,
    gossip: Gossip,
    /// Of the limits of listeners.
    part: SlotPart,
    sync: Sync,
    relocation: Relocation,
    snat: SnatPorts,
    snat_walk: SnatWalk,
    resets: TokenBucket,
    errors: TokenBucket,
    gates: SynGates,
    fragments: FragmentTable<Waiting>,
    staged: Stages,
}

impl ClbNode {
    /// A node without routes: it drops everything until the first [`Forwarder::apply`]. `own_name` is its full
    /// name in the routes; `seed` gives the places where its round robins start and the jitter of its probes.
    pub fn new(own_name: &str, limits: Limits, seed: Seed) -> ClbNode {
        let routes = RouteTable::empty();
        ClbNode {
            own_name: own_name.to_owned(),
            seed,
            own: NodeId::UNKNOWN,
            region: None,
            exits: Exits::new(&routes, NodeId::UNKNOWN),
            prober: Prober::new(own_name, seed),
            served: Served::default(),
            checks: Checks::default(),
            unbinding: Unbinding::default(),
            connections: ConnectionTable::new(limits),
            persistence: Persistence::default(),
            gossip: Gossip::default(),
            part: SlotPart::default(),
            sync: Sync::new(),
            relocation: Relocation::default(),
            snat: SnatPorts::default(),
            snat_walk: SnatWalk::default(),
            resets: TokenBucket::new(RESETS_PER_SECOND, RESETS_BURST),
            errors: TokenBucket::new(ERRORS_PER_SECOND, ERRORS_BURST),
            gates: SynGates::new(own_name, seed),
            fragments: FragmentTable::new(),
            staged: Stages::default(),
            routes: Arc::new(routes),
        }
    }

    /// The node's own flows, those included that are over but not yet collected.
    pub const fn flows(&self) -> usize {
        self.connections.len()
    }

    /// Those of them whose handshake has not completed.
    pub fn half_open(&self) -> usize {
        self.connections.loads().half_open()
    }

    /// Flows of other nodes, held in case this one has to serve them.
    pub const fn replicas(&self) -> usize {
        self.connections.replicas()
    }

    /// What this node told the other nodes of its region, and took from them.
    pub const fn sync_counts(&self) -> &SyncCounts {
        &self.sync.counts
    }

    /// The living flow that `found` names. One that is over is closed: it must not be used again.
    fn living(&mut self, now: Instant, found: Option<Found>, out: &mut Outbox) -> Option<Found> {
        let found = found?;
        let id = found.id;
        if self.connections.is_alive(id, now) {
            return Some(found);
        }
        let over = self.connections.close(id);
        replicate::tell_closed(&over, out);
        None
    }

    /// What a new version of the routes changes, if that is listeners alone and this node is where it was.
    fn edits<'t>(
        &self,
        old: &'t RouteTable,
        table: &'t RouteTable,
        was: (NodeId, Option<RegionId>),
    ) -> Option<Edits<'t>> {
        let in_place = was == (self.own, self.region);
        let region = self.region.filter(|_| in_place)?;
        Edits::between(old, table, region)
    }

    /// Takes over what another version of the routes says of listeners and their targets, as far as it is new.
    fn amend_served(&mut self, change: &Change<'_>, edits: &Edits<'_>, out: &mut Outbox) {
        let (seed, own_name) = (self.seed, self.own_name.as_str());
        let stream = |check: &str| seed.stream(own_name, check);
        self.checks.amend(change, edits, stream, out);
        let stream = |clb: &str, listener: &str| wrr_stream(seed, own_name, clb, listener);
        let tables = (change.old, change.new);
        self.served
            .amend(tables, edits, (&self.checks, stream), out);
    }

    /// The same from the beginning, by names.
    fn renew_served(&mut self, change: &Change<'_>, out: &mut Outbox) {
        let (seed, own_name) = (self.seed, self.own_name.as_str());
        let checks = core::mem::take(&mut self.checks);
        self.checks = checks.renewed(change, |check| seed.stream(own_name, check), out);
        let served = core::mem::take(&mut self.served);
        let stream = |clb: &str, listener: &str| wrr_stream(seed, own_name, clb, listener);
        self.served = served.renewed(change.new, self.region, &self.checks, stream);
        self.served.tell(out);
        renumber::renumber(&mut self.connections, change.old, change.new);
    }

    /// This node's part of all limits, where the slots are others.
    fn take_part(&mut self, old: &RouteTable) {
        let region = self
            .region
            .and_then(|id| self.routes.regions.get(id.index()));
        if self.routes.has_ground_of(old) {
            return;
        }
        let part = region.map(|region| SlotPart::of_node(region, self.own));
        self.part = part.unwrap_or_default();
        self.forget_loads();
    }

    /// Counts the flows of the targets of every listener whose scheduler asks for it.
    fn count_loads(&mut self) {
        for served in self.served.listeners() {
            let listener = served.listener();
            let counts = counts_loads(listener);
            self.connections
                .set_targets(served.number(), &listener.targets, counts);
        }
    }

    /// The same for the listener at a place of a load balancer.
    fn count_loads_at(&mut self, (clb, place): (ClbId, u16)) {
        if let Some(served) = self.served.listener_at(clb, place) {
            let listener = served.listener();
            let counts = counts_loads(listener);
            self.connections
                .set_targets(served.number(), &listener.targets, counts);
        }
    }

    /// The flow of a staged packet.
    #[inline(always)]
    fn look_up(&self, stage: &Stage) -> Option<Found> {
        let tuple = &stage.parsed.flow;
        let id = match stage.way {
            Way::ToTarget(_) => self.connections.find(stage.hash, tuple),
            Way::ToClient(_) => self.connections.find_reply(stage.hash, tuple),
            Way::Onward(..) => None,
        }?;
        let host = self.connections.flow(id).host;
        Some(Found { id, host })
    }

    /// A packet alone, as in the simulator: nothing to be fetched side by side.
    #[inline]
    fn handle_one(&mut self, now: Instant, mut packet: Packet, out: &mut Outbox) {
        // It stays where it is written, as in `Staged`.
        match &mut self.stage(&mut packet) {
            Ok(stage) => {
                stage.found = self.look_up(stage);
                self.pass(now, stage.with(packet), out);
            }
            Err(reason) => self.pass_unstaged(now, packet, *reason, out),
        }
    }

    fn handle_many(&mut self, now: Instant, batch: &mut Vec<Packet>, out: &mut Outbox) {
        let mut staged = core::mem::take(&mut self.staged);
        let Stages { packets, stages } = &mut staged;
        for mut packet in batch.drain(..) {
            match self.stage(&mut packet) {
                Ok(stage) => {
                    stages.push(stage);
                    packets.push(packet);
                }
                Err(reason) => self.pass_unstaged(now, packet, reason, out),
            }
        }
        self.connections
            .fetch(stages.iter().filter_map(|stage| match stage.way {
                Way::ToTarget(_) => Some((Side::Client, stage.hash)),
                Way::ToClient(_) => Some((Side::Target, stage.hash)),
                Way::Onward(..) => None,
            }));
        for stage in &mut *stages {
            stage.found = self.look_up(stage);
        }
        let generation = self.connections.generation();
        for (packet, stage) in packets.drain(..).zip(&mut *stages) {
            if self.connections.generation() != generation {
                stage.found = self.look_up(stage);
            }
            self.pass(now, stage.with(packet), out);
        }
        stages.clear();
        self.staged = staged;
    }

    /// What `stage` did not understand as a packet of a flow.
    fn pass_unstaged(
        &mut self,
        now: Instant,
        packet: Packet,
        reason: DropReason,
        out: &mut Outbox,
    ) {
        match reason {
            DropReason::Entries => self.take_entries(now, packet, out),
            reason => self.refuse(now, packet, reason, out),
        }
    }

    #[inline]
    fn pass(&mut self, now: Instant, staged: Staged<'_>, out: &mut Outbox) {
        match staged.way {
            Way::Onward(key, exit) => self.pass_on(staged, (key, exit), out),
            _ if staged.parsed.fragment.is_some() => self.on_fragment(now, staged, out),
            Way::ToTarget(entrance) => self.pass_to_target(now, staged, entrance, out),
            Way::ToClient(key) => self.pass_to_client(now, staged, key, out),
        }
    }
}

impl Forwarder for ClbNode {
    fn handle_packets(&mut self, now: Instant, batch: &mut Vec<Packet>, out: &mut Outbox) {
        if batch.len() == 1
            && let Some(packet) = batch.pop()
        {
            self.handle_one(now, packet, out);
        } else {
            self.handle_many(now, batch, out);
        }
        self.sync.send(&self.exits, out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        self.prober.handle_timeout(now, &mut self.exits, out);
        self.expire(now, out);
        self.step_bulk(now, out);
        self.step_refresh(now, out);
        self.step_gossip(now, out);
        self.sync.send(&self.exits, out);
        self.open_gates(now, out);
        self.check_targets(now, out);
        self.cut_unbound(now, out);
        self.cut_sourceless(now, out);
        self.relocate(now);
        self.fragments.expire(now, out);
    }

    fn handle_event(&mut self, now: Instant, event: LocalEvent, out: &mut Outbox) {
        self.exits.handle_event(now, event, out);
    }

    fn apply(&mut self, now: Instant, table: Arc<RouteTable>, out: &mut Outbox) {
        let was = (self.own, self.region);
        let old = Arc::clone(&self.routes);
        if !table.nodes.is(&old.nodes) {
            self.own = table.node_named(&self.own_name).unwrap_or(NodeId::UNKNOWN);
        }
        self.region = match peer::kind_of(&table, self.own) {
            Some(NodeKind::ClbNode(region)) => Some(region),
            Some(NodeKind::Pop | NodeKind::Host(_)) | None => None,
        };
        let place = (self.own, self.region);
        self.exits.renew(now, &table, self.own);
        self.prober.renew(now, &table, &mut self.exits);
        out.event(Event::TableApplied(table.revision));
        let edits = self.edits(&old, &table, was);
        let change = Change {
            old: &old,
            new: &table,
            region: self.region,
            own: self.own,
            now,
        };
        match &edits {
            Some(edits) => self.amend_served(&change, edits, out),
            None => self.renew_served(&change, out),
        }
        if old.hash_key != table.hash_key {
            self.connections.rekey(&table.hash_key);
            self.persistence.renumber(&table.hash_key, Some);
            self.fragments.clear(DropReason::FragmentTimeout, out);
        }
        self.sync.apply(now, (&old, &table), place, edits.as_ref());
        self.relocation.apply(now, (&old, &table), edits.as_ref());
        self.snat.apply(now, (&old, &table), place);
        self.snat_walk.apply(now, (&old, &table));
        match &edits {
            Some(edits) => self.unbinding.amend(now, &table, edits),
            None => self.unbinding.apply(now, &old, &table, self.region),
        }
        let amended: Option<Vec<(ClbId, u16)>> = edits.map(|edits| {
            let listeners = edits.listeners.iter();
            listeners.map(|edit| (edit.clb, edit.place)).collect()
        });
        self.routes = table;
        self.take_part(&old);
        self.flush_refused(&old, out);
        match amended {
            Some(places) => places.iter().for_each(|place| self.count_loads_at(*place)),
            None => {
                self.renew_gates(out);
                self.count_loads();
            }
        }
        self.cut_unbound(now, out);
        self.cut_sourceless(now, out);
        self.relocate(now);
    }

    #[inline]
    fn poll_timeout(&self) -> Option<Deadline> {
        let holds_any = self.connections.len() + self.connections.replicas() > 0;
        let refresh = self.sync.walk.refresh_at().filter(|_| holds_any);
        // One after the other and no list of them: this is asked after each packet of a simulated run.
        let mut first = Deadline::or_due(None, self.connections.wake_at(), "flows expire");
        let mut or = |at, reason| first = Deadline::or_due(first, at, reason);
        or(self.gates.wake_at(), "a SYN gate is looked at");
        or(self.sync.walk.bulk_at(), "flows are sent to another node");
        or(refresh, "flows are told again");
        or(self.gossip.wake_at(), "loads are told");
        or(self.checks.wake_at(), "targets are checked");
        or(self.unbinding.wake_at(), "flows of unbound targets are cut");
        or(self.relocation.wake_at(), "flows follow their target");
        or(self.snat_walk.wake_at(), "flows of lost addresses are cut");
        or(self.fragments.wake_at(), "fragments wait in vain");
        Deadline::earlier(first, self.prober.poll_timeout(&self.exits))
    }

    fn held(&self) -> usize {
        self.fragments.held()
    }

    fn let_go(&mut self, reason: DropReason, out: &mut Outbox) {
        self.fragments.clear(reason, out);
    }
}

/// The randomness of a listener's round robin.
fn wrr_stream(seed: Seed, own_name: &str, clb: &str, listener: &str) -> Rng {
    seed.stream(own_name, &format!("wrr {clb}/{listener}"))
}

#[cfg(test)]
mod tests;
