//! The vSwitch on the testbed, driven through its ledger.

use core::time::Duration;

use anyedge_net::flow::{Address, Family};
use anyedge_net::packet::Meta;
use anyedge_net::port::PortId;
use anyedge_net::slot::SlotMap;
use proptest::prelude::*;

use super::*;
use crate::flow_life::UDP_TIMEOUT;
use crate::tcp_state::{CLOSING_TIMEOUT, HALF_OPEN_TIMEOUT, IDLE_TIMEOUT};
use crate::testbed::stage::{Outcome, Stage};
use crate::testbed::*;
use anyedge_net::flow::FlowKey;

mod security;

const KEY: GreKey = GreKey::new(1, false, 4_711);

fn vswitch_with(table: RouteTable) -> Stage<VSwitch> {
    Stage::new(VSwitch::new(WEB_1_NAME, Limits::of(8), Seed(7)), table)
}

fn vswitch() -> Stage<VSwitch> {
    vswitch_with(routes())
}

/// A client's flow to the backend beside the vSwitch, as the CLB node has translated it.
fn inward(family: Family, protocol: u8, number: u32) -> FlowKey {
    FlowKey {
        dst: backend(1, family),
        ..client_flow(family, protocol, 8_080, number)
    }
}

fn web(number: u32) -> FlowKey {
    inward(Family::V4, tcp::PROTOCOL, number)
}

impl Stage<VSwitch> {
    fn clb_node_sends(&mut self, key: GreKey, packet: &[u8]) -> Outcome {
        self.tunnel(TO_WEB_1, CLB_NODE, key, packet)
    }

    fn backend_sends(&mut self, packet: &[u8]) -> Outcome {
        self.bare(PortId::BACKEND, packet)
    }

    fn establish(&mut self, flow: FlowKey) {
        self.clb_node_sends(KEY, &segment(flow, tcp::SYN))
            .only_sent();
        self.backend_sends(&segment(flow.reversed(), tcp::SYN | tcp::ACK))
            .only_sent();
        self.clb_node_sends(KEY, &segment(flow, tcp::ACK))
            .only_sent();
    }
}

fn packet(flow: FlowKey) -> Vec<u8> {
    if flow.protocol == tcp::PROTOCOL {
        segment(flow, tcp::SYN)
    } else {
        datagram(flow, b"tick")
    }
}

#[test]
fn the_backend_gets_the_inner_packet_byte_for_byte() {
    for family in [Family::V4, Family::V6] {
        for protocol in [tcp::PROTOCOL, udp::PROTOCOL] {
            let mut vswitch = vswitch();
            let packet = packet(inward(family, protocol, 1));
            let outcome = vswitch.clb_node_sends(KEY, &packet);
            assert_eq!(
                outcome.only_sent(),
                (Meta::plain(PortId::BACKEND), &packet[..])
            );
        }
    }
}

#[test]
fn an_answer_goes_to_the_slots_owner_with_the_key_it_was_asked_with() {
    for family in [Family::V4, Family::V6] {
        for protocol in [tcp::PROTOCOL, udp::PROTOCOL] {
            let mut vswitch = vswitch();
            let flow = inward(family, protocol, 1);
            vswitch
                .clb_node_sends(KEY.with_hop(true), &packet(flow))
                .only_sent();
            let answer = packet(flow.reversed());
            let outcome = vswitch.backend_sends(&answer);
            let (meta, bytes) = outcome.only_sent();
            assert_eq!((meta.port, meta.peer), (PortId::tunnel(TO_WEB_1), CLB_NODE));
            assert_eq!(bytes, tunnelled(&answer, KEY));
        }
    }
}

#[test]
fn an_answer_goes_to_the_slots_owner_of_now_not_to_the_sender() {
    let mut vswitch = vswitch();
    let flow = web(1);
    vswitch.establish(flow);
    let mut table = routes();
    let successor = NodeId(table.nodes.len() as u16);
    let node = anyedge_net::route_table::Node {
        name: "region.guangzhou.clb-2".to_owned(),
        ..table.nodes[CLB_NODE.index()].clone()
    };
    table.nodes.push(node);
    table.regions[0].clb_nodes.push(successor);
    table.regions[0].slots = Arc::new(SlotMap::fill(&[(successor, "region.guangzhou.clb-2")]));
    vswitch.apply(table);
    let outcome = vswitch.backend_sends(&segment(flow.reversed(), tcp::ACK));
    assert_eq!(outcome.only_sent().0.peer, successor);
}

#[test]
fn only_clb_nodes_of_the_region_may_send() {
    let mut vswitch = vswitch();
    let syn = segment(web(1), tcp::SYN);
    for peer in [
        NodeId::UNKNOWN,
        TOKYO,
        WEB_1,
        WEB_2,
        OTHER_CLB_NODE,
        NodeId(99),
    ] {
        assert_eq!(
            vswitch.tunnel(TO_WEB_1, peer, KEY, &syn).only_drop(),
            DropReason::UnknownPeer,
            "{peer:?}"
        );
    }
    for port in [PortId::LOCAL, PortId::PUBLIC, PortId::VPC, PortId(9)] {
        assert_eq!(
            vswitch.bare(port, &syn).only_drop(),
            DropReason::WrongPort,
            "{port:?}"
        );
    }
}

#[test]
fn a_vswitch_not_in_the_routes_serves_nobody() {
    let mut stranger = Stage::new(VSwitch::new("host.web-9", Limits::of(8), Seed(7)), routes());
    assert_eq!(
        stranger
            .clb_node_sends(KEY, &segment(web(1), tcp::SYN))
            .only_drop(),
        DropReason::UnknownPeer
    );
}

#[test]
fn a_packet_of_the_backend_that_answers_nobody_is_dropped() {
    let mut vswitch = vswitch();
    vswitch.establish(web(1));
    for flags in [tcp::SYN, tcp::ACK] {
        let outcome = vswitch.backend_sends(&segment(web(2).reversed(), flags));
        assert_eq!(outcome.only_drop(), DropReason::NoFlow);
    }
}

#[test]
fn the_echo_of_a_health_check_comes_back_to_the_node_that_sent_it_and_no_other_passes() {
    let packet = |src: Address, dst: Address, kind: u8, ident: u8| {
        let flow = FlowKey {
            src,
            dst,
            src_port: 0,
            dst_port: 0,
            protocol: 1,
        };
        let mut message = [kind, 0, 0, 0, 0x80, ident, 0, 1];
        anyedge_net::wire::icmp::fill_checksum(&mut message, src, dst);
        ip_packet(&flow, 64, &message)
    };
    let (target, from) = (backend(1, Family::V4), vip(Family::V4));
    let shared = Address::v4([100, 64, 0, 1]);
    for (ident, from) in [(1, from), (2, shared)] {
        let mut vswitch = vswitch();
        let outcome = vswitch.clb_node_sends(KEY, &packet(from, target, 8, ident));
        assert_eq!(outcome.only_sent().0.port, PortId::BACKEND);
        let stray = vswitch.backend_sends(&packet(target, from, 0, 9));
        assert_eq!(stray.only_drop(), DropReason::NoFlow, "nobody asked for it");
        let outcome = vswitch.backend_sends(&packet(target, from, 0, ident));
        let (_, bytes) = outcome.only_sent();
        let (key, inner) = untunnelled(bytes);
        assert_eq!((key, sound(inner).flow.dst), (KEY, from));
    }
}

#[test]
fn what_has_no_whole_tuple_is_refused_on_both_sides() {
    let mut vswitch = vswitch();
    let flow = web(1);
    let echo = ip_packet(
        &FlowKey {
            protocol: 1,
            src_port: 0,
            dst_port: 0,
            ..flow
        },
        64,
        &[8, 0, 0xf7, 0xff, 0, 0, 0, 0],
    );
    assert_eq!(
        vswitch.clb_node_sends(KEY, &echo).only_drop(),
        DropReason::UnsupportedProtocol
    );
    assert_eq!(
        vswitch.backend_sends(&echo).only_drop(),
        DropReason::UnsupportedProtocol
    );
    let mut fragment = datagram(inward(Family::V4, udp::PROTOCOL, 1), &[0; 16]);
    let mut table = routes();
    table.mechanisms.fragments = false;
    vswitch.apply(table);
    fragment[6] = 0x20; // more fragments
    fragment[10..12].fill(0);
    let check = anyedge_net::checksum::internet(&fragment[..20]);
    fragment[10..12].copy_from_slice(&check.to_be_bytes());
    assert_eq!(
        vswitch.clb_node_sends(KEY, &fragment).only_drop(),
        DropReason::Fragment
    );
    assert_eq!(
        vswitch.backend_sends(&fragment).only_drop(),
        DropReason::Fragment
    );
    let syn = segment(flow, tcp::SYN);
    for len in 0..syn.len() {
        assert_eq!(
            vswitch.backend_sends(&syn[..len]).only_drop(),
            DropReason::Malformed
        );
        assert_eq!(vswitch.clb_node_sends(KEY, &syn[..len]).drops.len(), 1);
    }
}

#[test]
fn the_ttl_is_left_alone() {
    let mut vswitch = vswitch();
    let flow = web(1);
    let last_hop = with_ttl(&segment(flow, tcp::SYN), 1);
    assert_eq!(
        vswitch.clb_node_sends(KEY, &last_hop).only_sent().1,
        last_hop
    );
}

#[test]
fn a_backend_is_told_of_an_answer_too_large_for_its_tunnel_and_one_without_a_way_is_dropped() {
    let mut vswitch = vswitch();
    let flow = web(1);
    vswitch.establish(flow);
    let of_len = |len: u16| {
        let payload = vec![7; usize::from(len) - 40];
        Segment {
            payload: &payload,
            ..Segment::new(flow.reversed(), tcp::ACK)
        }
        .packet()
    };
    vswitch.backend_sends(&of_len(INNER_MTU)).only_sent();
    let too_long = of_len(INNER_MTU + 1);
    let outcome = vswitch.backend_sends(&too_long);
    let (meta, error) = outcome.told(DropReason::TooBig);
    assert_eq!(meta, Meta::plain(PortId::BACKEND));
    let [high, low] = INNER_MTU.to_be_bytes();
    let heads = [[3, 4, 0, 0, 0, 0, high, low]; 2];
    assert_eq!(
        error,
        icmp_error(alt_vip(), flow.dst, heads, &too_long[..548])
    );
    let mut silent = routes();
    silent.mechanisms.icmp_errors = false;
    vswitch.apply(silent);
    assert_eq!(
        vswitch.backend_sends(&too_long).only_drop(),
        DropReason::TooBig
    );
    vswitch.event(LocalEvent::PathState {
        path: TO_WEB_1,
        up: false,
    });
    assert_eq!(
        vswitch.backend_sends(&of_len(100)).only_drop(),
        DropReason::NoPath
    );
    vswitch.event(LocalEvent::PathState {
        path: TO_WEB_1,
        up: true,
    });
    let mut table = routes();
    table.regions[0].slots = Arc::new(SlotMap::fill(&[]));
    vswitch.apply(table);
    assert_eq!(
        vswitch.backend_sends(&of_len(100)).only_drop(),
        DropReason::NoSlotOwner
    );
}

#[test]
fn a_second_syn_for_a_tuple_in_use_is_refused_when_it_has_another_key() {
    let other = GreKey::new(2, false, 99);
    let flow = web(1);
    let syn = segment(flow, tcp::SYN);

    let mut busy = vswitch();
    busy.establish(flow);
    assert_eq!(
        busy.clb_node_sends(other, &syn).only_drop(),
        DropReason::TupleTaken
    );
    busy.clb_node_sends(KEY, &syn).only_sent();
    let outcome = busy.backend_sends(&segment(flow.reversed(), tcp::ACK));
    assert_eq!(
        untunnelled(outcome.only_sent().1).0,
        KEY,
        "the first keeps its tuple"
    );

    let mut over = vswitch();
    over.establish(flow);
    over.clb_node_sends(KEY, &segment(flow, tcp::RST))
        .only_sent();
    over.clb_node_sends(other, &syn).only_sent();
    let outcome = over.backend_sends(&segment(flow.reversed(), tcp::SYN | tcp::ACK));
    assert_eq!(untunnelled(outcome.only_sent().1).0, other);
}

#[test]
fn a_flow_older_than_the_vswitch_is_learned_from_any_packet() {
    let mut vswitch = vswitch();
    let flow = web(1);
    vswitch
        .clb_node_sends(KEY, &segment(flow, tcp::ACK))
        .only_sent();
    vswitch.pass(Duration::from_secs(899));
    vswitch
        .backend_sends(&segment(flow.reversed(), tcp::ACK))
        .only_sent();
}

#[test]
fn tuples_are_forgotten_at_exact_times() {
    let tick = inward(Family::V4, udp::PROTOCOL, 1);
    let closed = |vswitch: &mut Stage<VSwitch>| {
        vswitch.establish(web(1));
        vswitch
            .clb_node_sends(KEY, &segment(web(1), tcp::FIN | tcp::ACK))
            .only_sent();
        vswitch
            .backend_sends(&segment(web(1).reversed(), tcp::FIN | tcp::ACK))
            .only_sent();
    };
    type Begin<'a> = &'a dyn Fn(&mut Stage<VSwitch>);
    let half_open: Begin<'_> = &|vswitch| {
        vswitch
            .clb_node_sends(KEY, &segment(web(1), tcp::SYN))
            .only_sent();
    };
    let idle: Begin<'_> = &|vswitch| vswitch.establish(web(1));
    let udp: Begin<'_> = &|vswitch| {
        vswitch
            .clb_node_sends(KEY, &datagram(tick, b"?"))
            .only_sent();
    };
    let cases = [
        (half_open, HALF_OPEN_TIMEOUT),
        (idle, IDLE_TIMEOUT),
        (&closed, CLOSING_TIMEOUT),
        (udp, UDP_TIMEOUT),
    ];
    for (begin, timeout) in cases {
        let answer = if timeout == UDP_TIMEOUT {
            datagram(tick.reversed(), b"!")
        } else {
            segment(web(1).reversed(), tcp::ACK)
        };
        let mut alive = vswitch();
        begin(&mut alive);
        alive.pass(timeout - Duration::from_nanos(1));
        alive.backend_sends(&answer).only_sent();
        let mut gone = vswitch();
        begin(&mut gone);
        gone.pass(timeout);
        assert_eq!(gone.backend_sends(&answer).only_drop(), DropReason::NoFlow);
        gone.pass(Duration::from_secs(1));
        assert_eq!(
            (gone.forwarder.flows(), gone.forwarder.poll_timeout()),
            (0, None)
        );
    }
}

#[test]
fn a_full_table_takes_no_new_tuple_and_keeps_the_old() {
    let mut vswitch = vswitch();
    for number in 0..8 {
        vswitch.establish(web(number));
    }
    assert_eq!(
        vswitch
            .clb_node_sends(KEY, &segment(web(8), tcp::SYN))
            .only_drop(),
        DropReason::TableFull
    );
    for number in 0..8 {
        vswitch
            .backend_sends(&segment(web(number).reversed(), tcp::ACK))
            .only_sent();
    }
}

#[test]
fn tuples_survive_another_hash_key() {
    let mut vswitch = vswitch();
    for number in 0..8 {
        vswitch.establish(web(number));
    }
    let mut table = routes();
    table.hash_key = anyedge_net::flow::HashKey::new([9; 16]);
    vswitch.apply(table);
    for number in 0..8 {
        vswitch
            .backend_sends(&segment(web(number).reversed(), tcp::ACK))
            .only_sent();
    }
    vswitch.pass(Duration::from_secs(901));
    assert_eq!(vswitch.forwarder.flows(), 0);
}

/// Sound packets of few flows, damaged ones and noise, as (port, peer, key, bytes).
fn any_arrival() -> impl Strategy<Value = (Meta, Vec<u8>)> {
    let sound = (
        0_u32..12,
        any::<bool>(),
        any::<bool>(),
        any::<u8>(),
        0_u32..2,
    )
        .prop_map(|(number, is_answer, is_tcp, flags, sequence)| {
            let protocol = if is_tcp { tcp::PROTOCOL } else { udp::PROTOCOL };
            let family = if number % 2 == 0 {
                Family::V4
            } else {
                Family::V6
            };
            let flow = inward(family, protocol, number);
            let flow = if is_answer { flow.reversed() } else { flow };
            let segment = Segment {
                sequence,
                ..Segment::new(flow, flags & 0x17)
            };
            if is_tcp {
                segment.packet()
            } else {
                datagram(flow, b"tick")
            }
        });
    let damaged = (sound.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(mut packet, at, byte)| {
            let at = at.index(packet.len());
            packet[at] = byte;
            packet.truncate(packet.len() - usize::from(byte % 3));
            packet
        },
    );
    let noise = proptest::collection::vec(any::<u8>(), 0..80);
    let bytes = prop_oneof![6 => sound, 1 => damaged, 1 => noise];
    let port = prop_oneof![4 => Just(PortId::tunnel(TO_WEB_1)), 4 => Just(PortId::BACKEND), 1 => (0_u16..22).prop_map(PortId)];
    let peer = prop_oneof![6 => Just(CLB_NODE), 1 => (0_u16..9).prop_map(NodeId)];
    (port, peer, 0_u16..3, bytes).prop_map(|(port, peer, clb, bytes)| {
        let key = GreKey::new(clb, false, 7);
        let bytes = if port.path().is_some() {
            tunnelled(&bytes, key)
        } else {
            bytes
        };
        (
            Meta {
                peer,
                ..Meta::plain(port)
            },
            bytes,
        )
    })
}

proptest! {
    #[test]
    fn nothing_is_lost_or_left_behind(steps in proptest::collection::vec((proptest::collection::vec(any_arrival(), 0..32), 0_u64..200_000), 1..30)) {
        let mut vswitch = vswitch();
        for (packets, millis) in steps {
            let outcome = vswitch.batch(&packets);
            prop_assert_eq!(outcome.sent.len() + outcome.drops.len(), packets.len());
            prop_assert!(vswitch.forwarder.flows() <= 8);
            vswitch.pass(Duration::from_millis(millis));
        }
        vswitch.pass(Duration::from_secs(1_000));
        prop_assert_eq!(vswitch.forwarder.flows(), 0);
        prop_assert_eq!(vswitch.forwarder.poll_timeout(), None);
    }
}

const TOO_BIG: [[u8; 8]; 2] = [[3, 4, 0, 0, 0, 0, 5, 20], [2, 0, 0, 0, 0, 0, 5, 20]];

#[test]
fn an_error_about_the_backends_packet_reaches_the_backend_byte_for_byte() {
    for family in [Family::V4, Family::V6] {
        for protocol in [tcp::PROTOCOL, udp::PROTOCOL] {
            let mut vswitch = vswitch();
            let flow = inward(family, protocol, 1);
            vswitch.clb_node_sends(KEY, &packet(flow)).only_sent();
            let error = icmp_error(vip(family), flow.dst, TOO_BIG, &packet(flow.reversed()));
            let outcome = vswitch.clb_node_sends(KEY, &error);
            let expected = (Meta::plain(PortId::BACKEND), &error[..]);
            assert_eq!(outcome.only_sent(), expected);

            let stray = packet(inward(family, protocol, 2).reversed());
            let error = icmp_error(vip(family), flow.dst, TOO_BIG, &stray);
            let outcome = vswitch.clb_node_sends(KEY, &error);
            assert_eq!(outcome.only_drop(), DropReason::NoFlow);
        }
    }
}

#[test]
fn an_error_about_a_clients_packet_goes_the_way_of_the_flows_answers() {
    for family in [Family::V4, Family::V6] {
        for protocol in [tcp::PROTOCOL, udp::PROTOCOL] {
            let mut vswitch = vswitch();
            let flow = inward(family, protocol, 1);
            vswitch.clb_node_sends(KEY, &packet(flow)).only_sent();
            let error = icmp_error(flow.dst, flow.src, TOO_BIG, &packet(flow));
            let outcome = vswitch.backend_sends(&error);
            let (meta, bytes) = outcome.only_sent();
            assert_eq!((meta.port, meta.peer), (PortId::tunnel(TO_WEB_1), CLB_NODE));
            assert_eq!(bytes, tunnelled(&error, KEY));

            let stray = icmp_error(flow.dst, flow.src, TOO_BIG, &packet(flow.reversed()));
            let outcome = vswitch.backend_sends(&stray);
            assert_eq!(outcome.only_drop(), DropReason::NoFlow);
        }
    }
}
