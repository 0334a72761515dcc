//! Packets at nodes: out of tunnels' links, through forwarders, and by their ports onward.
//!
//! A forwarder's call leaves packets, events and deadlines in the outbox; all of it is carried out before the next event.

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Event;
use anyedge_net::forwarder::Forwarder as _;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::packet::{Meta, Packet};
use anyedge_net::port::{PortId, PortKind};
use anyedge_net::wire::ip::destination;
use anyedge_net::wire::outer::Encap;

use super::steering::matters_to_others;
use super::{Happening, World};
use crate::order::Kind;
use crate::underlay;

impl World {
    /// A packet came out of a tunnel's link: the port takes off the outer headers.
    #[inline]
    pub(super) fn tunnel_packet(&mut self, at: Option<NodeId>, path: PathId, mut packet: Packet) {
        match self.table.paths[path.index()].encap {
            Encap::Grpc | Encap::Quic => return self.segment(path, packet),
            Encap::Plain => return self.vpc_packet(at, path, packet),
            Encap::Gre | Encap::GreUdp => {}
        }
        let Some(outer) = underlay::unwrap(packet.bytes(), self.table.paths[path.index()].encap)
        else {
            return self.lose(packet, DropReason::Malformed);
        };
        let Some(node) = self.neighbours.at(outer.destination) else {
            return self.lose(packet, DropReason::NoRoute);
        };
        if at.is_some_and(|at| at != node) {
            return self.lose(packet, DropReason::NoRoute);
        }
        let peer = self.neighbours.at(outer.source).unwrap_or(NodeId::UNKNOWN);
        packet.pop_front(outer.len);
        packet.meta = Meta {
            peer,
            tos: outer.tos,
            ..Meta::plain(PortId::tunnel(path))
        };
        self.node_packet(node, packet);
    }

    #[inline]
    pub(super) fn node_packet(&mut self, node: NodeId, packet: Packet) {
        if self.watch.is_none() {
            return self.handle_at(node, packet);
        }
        self.handle_watched(node, packet);
    }

    #[cold]
    fn handle_watched(&mut self, node: NodeId, packet: Packet) {
        self.begin_at_node(node, &packet);
        self.handle_at(node, packet);
        self.end_handling();
    }

    #[inline]
    pub(super) fn handle_at(&mut self, node: NodeId, packet: Packet) {
        let entry = &mut self.nodes[node.index()];
        if let Some(reason) = entry.down {
            return self.lose(packet, reason);
        }
        self.batch.push(packet);
        entry.ledger.packets(
            &mut entry.forwarder,
            self.now,
            &mut self.batch,
            &mut self.out,
        );
        self.after_node(node.index());
    }

    pub(super) fn node_timer(&mut self, node: NodeId) {
        let entry = &mut self.nodes[node.index()];
        if entry.timer_at != Some(self.now) {
            return;
        }
        entry.timer_at = None;
        if entry.down.is_some() {
            return;
        }
        if entry
            .forwarder
            .poll_timeout()
            .is_some_and(|deadline| deadline.at <= self.now)
        {
            entry
                .ledger
                .timeout(&mut entry.forwarder, self.now, &mut self.out);
        }
        self.after_node(node.index());
    }

    /// Carries out what a forwarder's call left in the outbox.
    #[inline]
    pub(super) fn after_node(&mut self, index: usize) {
        if !self.out.events_mut().is_empty() {
            self.take_events(index);
        }
        if self.out.sent_mut().len() > 1 {
            let mut sent = core::mem::take(self.out.sent_mut());
            for packet in sent.drain(..) {
                self.send_from(index, packet);
            }
            *self.out.sent_mut() = sent;
        } else if let Some(only) = self.out.sent_mut().pop() {
            self.send_from(index, only);
        }
        // No node of this world has services of its own yet: nothing can be meant for one.
        while let Some(packet) = self.out.local_mut().pop() {
            self.lose(packet, DropReason::NotForHost);
        }
        let node = &mut self.nodes[index];
        if let Some(deadline) = node.forwarder.poll_timeout() {
            let at = deadline.at.max(self.now);
            if node.timer_at.is_none_or(|pending| at < pending) {
                node.timer_at = Some(at);
                let tie = node.source.next(Kind::NodeTimer);
                self.queue.push(at, tie, Happening::NodeTimer(node.id));
            }
        }
    }

    pub(super) fn take_events(&mut self, index: usize) {
        let rank = self.nodes[index].source.rank();
        let mut events: Vec<Event> = core::mem::take(self.out.events_mut());
        for event in events.drain(..) {
            self.digest.event(self.now, rank, &event);
            self.tally.add(self.now, &event);
            if self.watch.is_some() {
                self.note_event(&event);
            }
            if matters_to_others(&event) {
                self.notice(index, &event);
            }
            if let Some(recorder) = &mut self.recorder {
                recorder.tell(self.now, index, event);
            }
        }
        *self.out.events_mut() = events;
    }

    #[inline(always)]
    pub(super) fn send_from(&mut self, index: usize, mut packet: Packet) {
        if self.watch.is_some() {
            self.note_sent(index, &packet);
        }
        let node = &self.nodes[index];
        match packet.meta.port.kind() {
            Some(PortKind::Tunnel) => {
                let path = packet.meta.port.path().expect("a tunnel port has a path");
                let peer = packet.meta.peer;
                let (Some(link), Some(peer)) =
                    (node.tunnel(path), self.table.nodes.get(peer.index()))
                else {
                    return self.lose(packet, DropReason::NoRoute);
                };
                let own = &self.table.nodes[node.id.index()];
                let over = &self.table.paths[path.index()];
                if over.encap.is_connection() {
                    let (from, to) = (node.id, packet.meta.peer);
                    return self.send_into_stream(from, path, to, packet);
                }
                match underlay::wrap(&mut packet, over.encap, over.underlay, own, peer) {
                    Some(()) => self.send_on(link, packet),
                    None => self.lose(packet, DropReason::NoHeadroom),
                }
            }
            Some(PortKind::Public) => {
                let to = destination(packet.bytes());
                match to
                    .zip(node.site)
                    .and_then(|(to, site)| self.internet.back(site, to))
                {
                    Some(link) => self.send_on(link, packet),
                    None => self.lose(packet, DropReason::NoRoute),
                }
            }
            Some(PortKind::Backend) => match node.backend {
                Some(host) => self.host_packet(host, packet),
                None => self.lose(packet, DropReason::NoRoute),
            },
            Some(PortKind::Vpc) => self.send_to_vpc(index, packet),
            Some(PortKind::Local) | None => self.lose(packet, DropReason::NoRoute),
        }
    }
}
