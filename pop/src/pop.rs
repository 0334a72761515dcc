//! The POP's forwarder: what it keeps of a route table, and which way a packet goes through it.
//!
//! Packets from the Internet take `ingress`, packets from tunnels `egress`. All state is derived from the
//! table and from path states when those change, into a few dense arrays; there is no state of any flow
//! and nothing held, so each packet that comes in leaves or is dropped within the same call.

use std::sync::Arc;

use anyedge_ccn::exits::Exits;
use anyedge_ccn::probe::Prober;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Event;
use anyedge_net::forwarder::{Forwarder, LocalEvent};
use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::port::PortKind;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{Mechanisms, NodeKind, RouteTable};
use anyedge_net::time::{Deadline, Instant};

use crate::announce::Announcer;
use crate::choose_clb_node::Chooser;
use crate::icmp::Limits;
use crate::vips::VipTable;

/// An edge node, or one shard of it.
pub struct Pop {
    name: String,
    pub(crate) vips: VipTable,
    pub(crate) chooser: Chooser,
    pub(crate) exits: Exits,
    pub(crate) prober: Prober,
    pub(crate) announcer: Announcer,
    /// Which nodes are CLB nodes, by [`NodeId`].
    pub(crate) clb_nodes: Vec<bool>,
    pub(crate) icmp: Limits,
    pub(crate) mechanisms: Mechanisms,
}

impl Pop {
    /// The POP of that full name, such as `pop.tokyo`. It drops all until a table is applied. `seed` gives the
    /// jitter of its probes.
    pub fn new(own_name: &str, seed: Seed) -> Pop {
        let table = RouteTable::empty();
        Pop {
            name: own_name.to_owned(),
            vips: VipTable::new(&table, NodeId::UNKNOWN),
            chooser: Chooser::new(&table),
            exits: Exits::default(),
            prober: Prober::new(own_name, seed),
            announcer: Announcer::default(),
            clb_nodes: Vec::new(),
            icmp: Limits::new(),
            mechanisms: Mechanisms::ALL,
        }
    }

    /// The paths as this POP sees them.
    pub const fn exits(&self) -> &Exits {
        &self.exits
    }
}

impl Forwarder for Pop {
    fn handle_packets(&mut self, now: Instant, batch: &mut Vec<Packet>, out: &mut Outbox) {
        for packet in batch.drain(..) {
            match packet.meta.port.kind() {
                Some(PortKind::Public) => self.on_public(now, packet, out),
                Some(PortKind::Tunnel) => self.on_tunnel(now, packet, out),
                Some(PortKind::Local | PortKind::Vpc | PortKind::Backend) | None => {
                    out.drop_packet(packet, DropReason::WrongPort);
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        self.prober.handle_timeout(now, &mut self.exits, out);
        self.announcer.poll(now, &self.exits, out);
    }

    fn handle_event(&mut self, now: Instant, event: LocalEvent, out: &mut Outbox) {
        self.exits.handle_event(now, event, out);
        self.announcer.poll(now, &self.exits, out);
    }

    fn apply(&mut self, now: Instant, table: Arc<RouteTable>, out: &mut Outbox) {
        let own = table.node_named(&self.name).unwrap_or(NodeId::UNKNOWN);
        self.vips = VipTable::new(&table, own);
        self.chooser = Chooser::new(&table);
        self.exits.renew(now, &table, own);
        self.prober.renew(now, &table, &mut self.exits);
        let is_clb_node = |kind: NodeKind| matches!(kind, NodeKind::ClbNode(_));
        self.clb_nodes = table
            .nodes
            .iter()
            .map(|node| is_clb_node(node.kind))
            .collect();
        self.mechanisms = table.mechanisms;
        out.event(Event::TableApplied(table.revision));
        self.announcer.renew(now, &table, own, &self.exits, out);
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let announcements = self.announcer.poll_timeout();
        Deadline::earlier(self.prober.poll_timeout(&self.exits), announcements)
    }

    fn held(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests;
