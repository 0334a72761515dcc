//! Captured packets into every port of every forwarder, as they are and dressed up as traffic of the edge.

use std::sync::Arc;

use anyedge_net::flow::{Address, Family, HashKey};
use anyedge_net::forwarder::Forwarder;
use anyedge_net::id::NodeId;
use anyedge_net::ledger::Ledger;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Meta, Pool};
use anyedge_net::port::{PortId, PortKind};
use anyedge_net::rng::Seed;
use anyedge_net::route_table::RouteTable;
use anyedge_net::time::Instant;
use anyedge_net::wire::{self, gre, rewrite};
use anyedge_pop::pop::Pop;
use anyedge_region::Limits;
use anyedge_region::clb_node::ClbNode;
use anyedge_region::vswitch::VSwitch;
use anyedge_tests::binary::root;
use anyedge_tests::captures::{all, frames, network_layer};
use anyedge_topologies::Topology;

const LIMITS: Limits = Limits::of(10_000);

fn table() -> Arc<RouteTable> {
    let topology =
        Topology::load(root().join("topologies/two-pops.toml")).expect("the shipped file reads");
    let mut author =
        anyedge_topologies::author(&topology, HashKey::new([7; 16])).expect("it makes plans");
    author.publish(Instant::ZERO).expect("its table is sound")
}

struct Subject<F> {
    forwarder: F,
    ledger: Ledger,
    out: Outbox,
    now: Instant,
    forwarded: usize,
}

impl<F: Forwarder> Subject<F> {
    fn new(mut forwarder: F, table: &Arc<RouteTable>) -> Subject<F> {
        let mut out = Outbox::new(Pool::new(64));
        let mut ledger = Ledger::default();
        ledger.apply(&mut forwarder, Instant::ZERO, Arc::clone(table), &mut out);
        out.events_mut().clear();
        Subject {
            forwarder,
            ledger,
            out,
            now: Instant::ZERO,
            forwarded: 0,
        }
    }

    /// Hands `bytes` in by `port`; the ledger checks that they are accounted for, this that what comes out parses.
    fn feed(&mut self, bytes: &[u8], port: PortId, peer: NodeId, tos: u8) {
        let meta = Meta {
            peer,
            tos,
            ..Meta::plain(port)
        };
        let Some(packet) = self.out.pool_mut().lend_copy(bytes, meta) else {
            return;
        };
        self.now += core::time::Duration::from_millis(1);
        let mut batch = vec![packet];
        self.ledger
            .packets(&mut self.forwarder, self.now, &mut batch, &mut self.out);
        let mut sent = std::mem::take(self.out.sent_mut());
        sent.append(self.out.local_mut());
        for packet in sent {
            let inner = match packet.meta.port.kind() {
                Some(PortKind::Tunnel) => {
                    let gre =
                        gre::parse(packet.bytes()).expect("what enters a tunnel starts with GRE");
                    &packet.bytes()[gre.header_len..]
                }
                _ => packet.bytes(),
            };
            wire::parse(inner).expect("nothing malformed is forwarded");
            self.forwarded += 1;
            self.out.pool_mut().take_back(packet);
        }
        self.out.events_mut().clear();
        assert_eq!(
            self.out.pool().loaned(),
            0,
            "a packet is neither sent nor dropped"
        );
    }
}

/// `packet` with its destination, or its source, replaced by an address of the edge, so that it gets past the
/// first question a forwarder asks.
fn dressed(packet: &[u8], inward: bool) -> Option<Vec<u8>> {
    let parsed = wire::parse(packet).ok()?;
    let vip = match parsed.family {
        Family::V4 => Address::v4([203, 0, 113, 10]),
        Family::V6 => Address::from(std::net::IpAddr::V6(
            [0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0x10].into(),
        )),
    };
    let mut dressed = packet.to_vec();
    if inward {
        rewrite::set_destination(&mut dressed, &parsed, vip, 80);
    } else {
        rewrite::set_source(&mut dressed, &parsed, vip, 80);
    }
    Some(dressed)
}

/// `packet` behind a GRE header.
fn tunnelled(packet: &[u8]) -> Vec<u8> {
    let protocol = if packet.first().is_some_and(|byte| byte >> 4 == 6) {
        0x86dd
    } else {
        0x0800
    };
    let mut bytes = vec![0; gre::HEADER_LEN];
    gre::write(&mut bytes, protocol, gre::GreKey::new(0, false, 9));
    bytes.extend_from_slice(packet);
    bytes
}

/// Everything captured, by every port, from every peer. Packets that were forwarded.
fn feed_all<F: Forwarder>(forwarder: F) -> Option<usize> {
    let table = table();
    let mut subject = Subject::new(forwarder, &table);
    let mut ports = vec![
        PortId(9),
        PortId::LOCAL,
        PortId::PUBLIC,
        PortId::VPC,
        PortId::BACKEND,
    ];
    ports.extend(table.paths().map(|(path, _)| PortId::tunnel(path)));
    let mut peers = vec![NodeId::UNKNOWN];
    peers.extend((0..table.nodes.len()).map(|index| NodeId(index as u16)));
    for path in all()? {
        for (link, frame) in frames(&path) {
            let packet = network_layer(link, &frame);
            let mut shapes = vec![frame.clone(), packet.to_vec(), tunnelled(packet)];
            for inward in [true, false] {
                if let Some(dressed) = dressed(packet, inward) {
                    shapes.push(tunnelled(&dressed));
                    shapes.push(dressed);
                }
            }
            for bytes in &shapes {
                for port in &ports {
                    for peer in &peers {
                        subject.feed(bytes, *port, *peer, bytes.len() as u8);
                    }
                }
            }
        }
    }
    Some(subject.forwarded)
}

#[test]
fn no_capture_breaks_a_pop() {
    if let Some(forwarded) = feed_all(Pop::new("pop.tokyo", Seed(1))) {
        assert!(
            forwarded > 100,
            "only {forwarded} packets got through: the test tries nothing"
        );
    }
}

#[test]
fn no_capture_breaks_a_clb_node() {
    if let Some(forwarded) = feed_all(ClbNode::new("region.guangzhou.clb-1", LIMITS, Seed(1))) {
        assert!(
            forwarded > 10,
            "only {forwarded} packets got through: the test tries nothing"
        );
    }
}

#[test]
fn no_capture_breaks_a_vswitch() {
    if let Some(forwarded) = feed_all(VSwitch::new("host.web-1", LIMITS, Seed(1))) {
        assert!(
            forwarded > 10,
            "only {forwarded} packets got through: the test tries nothing"
        );
    }
}
