//! What the scenario does to the world: nodes, machines and links that stop, get worse and come back.
//!
//! A machine's tasks are the executor's, which the world cannot reach: the world stops or starts what it has
//! of the machine and notes it for the run's loop, which looks before any service runs again.

use core::time::Duration;
use std::sync::Arc;

use super::{Happening, LinkId, World};
use crate::clock::Clock;
use crate::disk::DiskSpec;
use crate::executor::HostId;
use crate::node::AnyForwarder;
use crate::order::Kind;
use crate::scenario::Act;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::id::NodeId;
use anyedge_net::packet::Packet;
use anyedge_net::time::Instant;

/// What became of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Power {
    Off,
    On,
    /// Its services stand still.
    Hangs,
    /// They go on.
    GoesOn,
}

impl World {
    pub(super) fn act(&mut self, act: Act) {
        match act {
            Act::NodeDown(node, reason) => self.stop_node(node, reason),
            Act::NodeUp(node) => self.start_node(node),
            Act::HostDown(host, reason) => self.stop_host(host, reason),
            Act::HostUp(host) => self.start_host(host),
            Act::Wipe(host) => self.hosts[host.index()].wipe_disk(),
            Act::Clock(host, change) => self.set_clock(host, change.drift_ppm, change.jump),
            Act::ClockRight(host) => self.set_clock(host, 0, Duration::ZERO),
            Act::Disk(host, change) => self.hosts[host.index()].worsen_disk(&change),
            Act::DiskRight(host) => self.hosts[host.index()].set_disk(DiskSpec::SOLID_STATE),
            Act::LeaderDown(fault, wipe) => self.stop_leader(fault, wipe),
            Act::LeaderUp(fault) => self.start_leader(fault),
            Act::Partition(cut) => self.partition(&cut),
            Act::Heal(fault) => self.heal(fault),
            Act::Hang(host) => self.power.push((host, Power::Hangs)),
            Act::Release(host) => self.power.push((host, Power::GoesOn)),
            Act::LinkDown(link) => self.links[link.index()].go_down(),
            Act::LinkUp(link) => self.links[link.index()].come_up(),
            Act::Backbone(link, carries) => self.set_backbone(&link, carries),
            Act::Degrade(link, change) => {
                self.links[link.index()].degrade(self.now, &change.change)
            }
            Act::Restore(link) => self.links[link.index()].restore(self.now),
            Act::Withhold(site, withheld) => self.withhold(site, withheld),
            Act::Stale(node, stale) => self.set_stale(node, stale),
            Act::Order(object, order) => self.order(&object, &order),
            Act::Hear(news) => self.hear(&news),
            Act::Look => self.look(),
            Act::Table(node, table) => self.table_reaches(node, table),
        }
    }

    /// Whether a machine stopped or started since [`World::take_power`].
    pub(crate) fn power_changed(&self) -> bool {
        !self.power.is_empty()
    }

    /// The machines that stopped or started, in the order in which they did.
    pub(crate) fn take_power(&mut self) -> Vec<(HostId, Power)> {
        std::mem::take(&mut self.power)
    }

    /// The clock of a machine drifts so from now on, after a jump; who waits there for a time looks again.
    fn set_clock(&mut self, host: HostId, drift_ppm: i32, jump: Duration) {
        let clock = &mut self.hosts[host.index()].clock;
        let clock = clock.get_or_insert_with(|| Box::new(Clock::RIGHT));
        clock.set(self.now, drift_ppm, jump);
        self.time.doubt_clocks();
        self.tasks.wake_sleepers(host);
    }

    /// The machine stops, unless it is down already.
    pub(super) fn stop_host(&mut self, host: HostId, lost_as: DropReason) {
        let entry = &mut self.hosts[host.index()];
        if entry.down.is_none() {
            entry.crash(lost_as, self.out.pool_mut());
            self.power.push((host, Power::Off));
        }
    }

    /// The machine starts, if it is down.
    pub(super) fn start_host(&mut self, host: HostId) {
        if self.hosts[host.index()].down.take().is_some() {
            self.power.push((host, Power::On));
        }
    }

    /// The node stops: what it knew is gone at once, and packets that it held end there.
    fn stop_node(&mut self, node: NodeId, lost_as: DropReason) {
        if let Some(control) = &mut self.control {
            // It is gone with the machine.
            control.agents.remove(&node);
        }
        let entry = &mut self.nodes[node.index()];
        if let AnyForwarder::ClbNode(clb_node) = &entry.forwarder {
            self.tally.lost += clb_node.flows() as u64;
        }
        entry.down = Some(lost_as);
        entry.in_force = None;
        entry
            .ledger
            .let_go(&mut entry.forwarder, lost_as, &mut self.out);
        let own = &self.table.nodes[node.index()];
        entry.forwarder = AnyForwarder::fresh(own.kind, &own.name, entry.limits, self.seed);
        self.forget(node);
        self.stop_streams(node, lost_as);
    }

    /// The node starts, with the newest table and nothing else; where there are controllers, with nothing.
    fn start_node(&mut self, node: NodeId) {
        let entry = &mut self.nodes[node.index()];
        entry.down = None;
        entry.revision = None;
        self.start_streams(node);
        self.peering_starts(node);
        if self.control.is_some() {
            return;
        }
        self.table_reaches(node, Arc::clone(&self.table));
    }

    /// A worn link damages the packet that it has just taken, or makes a second one of it.
    pub(super) fn spoil(&mut self, link: LinkId, arrival: Instant, mut packet: Packet) -> Packet {
        let entry = &mut self.links[link.index()];
        entry.corrupt(packet.bytes_mut());
        if entry.doubles() {
            match self.out.pool_mut().lend_copy(packet.bytes(), packet.meta) {
                Some(double) => {
                    let tie = entry.kept.next(Kind::Delivery);
                    let outages = entry.outages;
                    self.queue
                        .push(arrival, tie, Happening::Delivery(link, outages, double));
                }
                None => entry.cut_off(DropReason::PoolEmpty),
            }
        }
        packet
    }
}
