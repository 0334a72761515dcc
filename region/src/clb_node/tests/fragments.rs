//! Datagrams in pieces through two CLB nodes and a vSwitch, both ways and in any order.

use std::sync::{Arc, LazyLock};

use anyedge_net::route_table::{Node, PathEnds};
use anyedge_net::slot::SlotMap;
use anyedge_net::wire::fragment;
use proptest::prelude::*;

use super::*;
use crate::VSwitch;
use crate::fragment_table::FRAGMENT_TIMEOUT;

const SECOND: NodeId = NodeId(7);
const SECOND_NAME: &str = "region.guangzhou.clb-2";
const IDENTIFICATION: u32 = 4_242;

/// The testbed's routes with a second CLB node and the path between the two; web-1 is the only target.
fn two_nodes() -> RouteTable {
    // Filling slots takes longer than a test.
    static TABLE: LazyLock<RouteTable> = LazyLock::new(make_two_nodes);
    TABLE.clone()
}

fn make_two_nodes() -> RouteTable {
    let mut table = routes();
    let second = Node {
        name: SECOND_NAME.to_owned(),
        ..table.nodes[CLB_NODE.index()].clone()
    };
    table.nodes.push(second);
    table.regions[0].clb_nodes.push(SECOND);
    let members = [(CLB_NODE, CLB_NODE_NAME), (SECOND, SECOND_NAME)];
    table.regions[0].slots = Arc::new(SlotMap::fill(&members));
    let mut mesh = table.paths[0].clone();
    mesh.name = "region.guangzhou".to_owned();
    mesh.ends = PathEnds::Mesh {
        region: anyedge_net::id::RegionId(0),
    };
    table.paths.push(mesh);
    table.clbs[0].listeners[2] = listener(
        "tick",
        udp::PROTOCOL,
        TICK_PORT,
        Scheduler::WeightedRoundRobin,
        targets([10, 0]),
    );
    table
}

/// What left the region: to POPs and to the backend, inner packets.
#[derive(Default)]
struct Left {
    to_pops: Vec<Vec<u8>>,
    to_backend: Vec<Vec<u8>>,
    hops: usize,
    drops: Vec<DropReason>,
}

/// The region's nodes; what one sends to another arrives.
struct Region {
    nodes: [Stage<ClbNode>; 2],
    vswitch: Stage<VSwitch>,
}

impl Region {
    fn new(table: &RouteTable) -> Region {
        let limits = Limits::of(64);
        let node = |name| Stage::new(ClbNode::new(name, limits, Seed(7)), table.clone());
        Region {
            nodes: [node(CLB_NODE_NAME), node(SECOND_NAME)],
            vswitch: Stage::new(VSwitch::new(WEB_1_NAME, limits, Seed(7)), table.clone()),
        }
    }

    /// A packet arrives at a node, and what comes of it wherever it goes.
    fn arrive(&mut self, at: NodeId, from: NodeId, meta: Meta, bytes: Vec<u8>, left: &mut Left) {
        let meta = Meta {
            peer: from,
            ..Meta::plain(meta.port)
        };
        let batch = [(meta, bytes)];
        let outcome = match at {
            WEB_1 => self.vswitch.batch(&batch),
            CLB_NODE => self.nodes[0].batch(&batch),
            _ => self.nodes[1].batch(&batch),
        };
        let lost = outcome
            .drops
            .iter()
            .filter(|drop| **drop != DropReason::Entries);
        left.drops.extend(lost);
        for (meta, bytes) in outcome.sent {
            match meta.peer {
                TOKYO | FRANKFURT => left.to_pops.push(untunnelled(&bytes).1.to_vec()),
                _ if meta.port == PortId::BACKEND => left.to_backend.push(bytes),
                peer => {
                    let entries = bytes.get(2..4) == Some(&[0x88, 0xb6]);
                    left.hops += usize::from(at != WEB_1 && peer != WEB_1 && !entries);
                    self.arrive(peer, at, meta, bytes, left);
                }
            }
        }
    }

    /// A client's packet comes from tokyo with this slot, as a POP of the region's table would send it.
    fn client_sends(&mut self, slot: u16, packet: &[u8], left: &mut Left) {
        let owner = two_nodes().regions[0].slots.owners(slot).primary;
        let key = GreKey::new(MAIN.0, false, slot);
        let meta = Meta::plain(PortId::tunnel(FROM_TOKYO));
        self.arrive(owner, TOKYO, meta, tunnelled(packet, key), left);
    }

    fn backend_sends(&mut self, packet: &[u8], left: &mut Left) {
        let meta = Meta::plain(PortId::BACKEND);
        self.arrive(WEB_1, NodeId::UNKNOWN, meta, packet.to_vec(), left);
    }
}

/// The slot that a POP gives to all fragments of a packet.
fn fragments_slot(piece: &[u8]) -> u16 {
    let parsed = wire::parse(piece).expect("a sound fragment");
    let key = fragment::packet_key(&parsed).expect("a fragment");
    slot::of_hash(key.hash(&HASH_KEY.derived("fragments")))
}

/// Puts a packet together as a host would, its checksum included.
fn together(pieces: &[Vec<u8>]) -> (FlowKey, Vec<u8>) {
    let mut parts: Vec<_> = pieces
        .iter()
        .map(|bytes| (wire::parse(bytes).expect("a sound fragment"), bytes))
        .collect();
    parts.sort_by_key(|(parsed, _)| parsed.fragment.map(|fragment| fragment.offset));
    let first = parts[0].0;
    let mut l4 = Vec::new();
    for (parsed, bytes) in &parts {
        let fragment = parsed.fragment.expect("a fragment");
        assert_eq!(usize::from(fragment.offset), l4.len());
        assert_eq!(
            (parsed.flow.src, parsed.flow.dst),
            (first.flow.src, first.flow.dst)
        );
        l4.extend_from_slice(parsed.l4(bytes));
    }
    let sum = anyedge_net::checksum::transport(first.flow.src, first.flow.dst, udp::PROTOCOL, &l4);
    assert_eq!(sum, 0, "the checksum of the whole");
    (first.flow, l4[udp::HEADER_LEN..].to_vec())
}

fn payload(salt: u8) -> Vec<u8> {
    (0..4_000_u32).map(|at| (at * 31) as u8 ^ salt).collect()
}

proptest! {
    #[test]
    fn a_datagram_of_4000_bytes_arrives_intact_both_ways_in_any_order(
        number in 0_u32..1_000,
        is_v6: bool,
        there in Just((0..4).collect::<Vec<usize>>()).prop_shuffle(),
        back in Just((0..4).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let family = if is_v6 { Family::V6 } else { Family::V4 };
        let mut region = Region::new(&two_nodes());
        let flow = client_flow(family, udp::PROTOCOL, TICK_PORT, number);
        let sent = fragments(&datagram(flow, &payload(1)), 1_280, IDENTIFICATION);
        let mut left = Left::default();
        for index in there {
            region.client_sends(fragments_slot(&sent[index]), &sent[index], &mut left);
        }
        prop_assert_eq!(&left.drops, &[]);
        let (arrived, bytes) = together(&left.to_backend);
        prop_assert_eq!((arrived.src, arrived.src_port), (flow.src, flow.src_port));
        prop_assert_eq!((arrived.dst, arrived.dst_port), (backend(1, family), 8_080));
        prop_assert_eq!(bytes, payload(1));

        let own_slot = slot::of_hash(flow.hash(&HASH_KEY));
        let owners = |slot| two_nodes().regions[0].slots.owners(slot).primary;
        let foreign = owners(own_slot) != owners(fragments_slot(&sent[0]));
        prop_assert_eq!(left.hops, if foreign { 4 } else { 0 }, "one hop each, or none");

        let answer = datagram(arrived.reversed(), &payload(2));
        let sent = fragments(&answer, 1_280, IDENTIFICATION + 1);
        let mut left = Left::default();
        for index in back {
            region.backend_sends(&sent[index], &mut left);
        }
        prop_assert_eq!(&left.drops, &[]);
        let (arrived, bytes) = together(&left.to_pops);
        prop_assert_eq!(arrived, flow.reversed());
        prop_assert_eq!(bytes, payload(2));
    }
}

#[test]
fn pieces_too_long_for_a_tunnel_are_cut_again_on_the_way() {
    let mut table = two_nodes();
    for path in &mut table.paths {
        path.mtu = match path.ends {
            PathEnds::Fabric { .. } => 1_300,
            _ => 1_400,
        };
    }
    table.clbs[MAIN.index()].inner_mtu = 1_264;
    let mut region = Region::new(&table);
    let flow = client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, 1);
    let whole = datagram(flow, &payload(3));
    let mut left = Left::default();
    for piece in fragments(&whole, 1_300, IDENTIFICATION) {
        region.client_sends(fragments_slot(&piece), &piece, &mut left);
    }
    assert_eq!(left.drops, []);
    assert!(left.to_backend.iter().all(|piece| piece.len() <= 1_264));
    let (arrived, bytes) = together(&left.to_backend);
    assert_eq!(bytes, payload(3));
    let mut left = Left::default();
    for piece in fragments(
        &datagram(arrived.reversed(), &payload(4)),
        1_500,
        IDENTIFICATION,
    ) {
        region.backend_sends(&piece, &mut left);
    }
    assert_eq!(together(&left.to_pops).1, payload(4));
}

#[test]
fn fragments_whose_first_never_comes_end_after_their_time() {
    let mut region = Region::new(&two_nodes());
    let flow = client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, 1);
    let sent = fragments(&datagram(flow, &payload(1)), 1_280, IDENTIFICATION);
    let node = &mut region.nodes[0];
    let meta = Meta {
        peer: TOKYO,
        ..Meta::plain(PortId::tunnel(FROM_TOKYO))
    };
    let key = key_of(&flow);
    for piece in &sent[1..] {
        node.batch(&[(meta, tunnelled(piece, key))]);
    }
    assert_eq!(node.forwarder.held(), 3);
    let until = node.now + FRAGMENT_TIMEOUT;
    let due = node.forwarder.poll_timeout().expect("fragments wait");
    assert_eq!(due.at, until);
    node.now = until;
    node.ledger
        .timeout(&mut node.forwarder, until, &mut node.out);
    assert_eq!(node.forwarder.held(), 0);
    assert_eq!(node.out.pool().loaned(), 0);
    assert_eq!(node.ledger.dropped.of(DropReason::FragmentTimeout), 3);
}

#[test]
fn a_crash_ends_what_is_held() {
    let mut region = Region::new(&two_nodes());
    let flow = client_flow(Family::V6, udp::PROTOCOL, TICK_PORT, 1);
    let sent = fragments(&datagram(flow, &payload(1)), 1_280, IDENTIFICATION);
    let node = &mut region.nodes[0];
    let meta = Meta {
        peer: TOKYO,
        ..Meta::plain(PortId::tunnel(FROM_TOKYO))
    };
    node.batch(&[(meta, tunnelled(&sent[2], key_of(&flow)))]);
    node.ledger
        .let_go(&mut node.forwarder, DropReason::ClbNodeDown, &mut node.out);
    assert_eq!(node.ledger.dropped.of(DropReason::ClbNodeDown), 1);
    assert_eq!(node.out.pool().loaned(), 0);
}
