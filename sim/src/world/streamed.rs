//! Packets that travel inside a stream: into it, out of it, and those of the stream's own TCP.

use anyedge_ccn::carry::Frame;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::packet::{Meta, Packet};
use anyedge_net::port::PortId;
use anyedge_net::wire::ip::destination;

use super::World;

impl World {
    /// A forwarder sends a packet through the stream to `peer`.
    pub(super) fn send_into_stream(
        &mut self,
        from: NodeId,
        path: PathId,
        peer: NodeId,
        packet: Packet,
    ) {
        let Some(inlet) = self.streams.inlet(from, path, peer) else {
            return self.lose(packet, DropReason::NoRoute);
        };
        inlet.send(self.now, Frame::copied(packet.bytes(), packet.meta.tos));
        self.out.pool_mut().take_back(packet);
    }

    /// A frame came out of the stream from `peer`: a packet at the tunnel port of `node`.
    pub(crate) fn came_out(&mut self, node: NodeId, path: PathId, peer: NodeId, frame: &Frame) {
        self.streams.came_out += 1;
        let meta = Meta {
            peer,
            tos: frame.tos,
            ..Meta::plain(PortId::tunnel(path))
        };
        match self.out.pool_mut().lend_copy(&frame.gre, meta) {
            Some(packet) => self.node_packet(node, packet),
            None => self.lost.add(DropReason::PoolEmpty),
        }
    }

    /// A packet of a stream's TCP came out of the path's link.
    pub(super) fn segment(&mut self, path: PathId, packet: Packet) {
        let node = destination(packet.bytes()).and_then(|to| self.neighbours.at(to.into()));
        let host = node.and_then(|node| self.streams.host(node, path));
        let Some(host) = host else {
            return self.lose(packet, DropReason::NoRoute);
        };
        match self.hosts[host.index()].down {
            Some(reason) => self.lose(packet, reason),
            None => self.host_packet(host, packet),
        }
    }

    /// A stream's host sends a packet onto the path's link.
    pub(super) fn send_segment(&mut self, node: NodeId, path: PathId, packet: Packet) {
        match self.nodes[node.index()].tunnel(path) {
            Some(link) => self.send_on(link, packet),
            None => self.lose(packet, DropReason::NoRoute),
        }
    }

    /// The node stops, and its ends of streams with it.
    pub(super) fn stop_streams(&mut self, node: NodeId, lost_as: DropReason) {
        let waited = self.streams.forget(node);
        self.lost.add_many(lost_as, waited);
        for host in self.streams.hosts_of(node) {
            self.stop_host(host, lost_as);
        }
    }

    /// The node starts, and its streams begin again.
    pub(super) fn start_streams(&mut self, node: NodeId) {
        for host in self.streams.hosts_of(node) {
            self.start_host(host);
        }
    }

    /// The run is over: what is inside of streams ends there.
    pub(super) fn close_streams(&mut self) {
        let (waiting, lost) = self.streams.close();
        self.lost.add_many(DropReason::RunEnded, waiting);
        self.lost.add_many(DropReason::StreamLost, lost);
    }
}
