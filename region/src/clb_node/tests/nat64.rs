//! NAT64: clients of IPv6 at targets of IPv4, from ports of the node's own.

use core::ops::Range;
use std::collections::BTreeSet;
use std::sync::Arc;

use anyedge_net::route_table::{HealthCheck, SourceTold};
use anyedge_net::wire::icmp;
use anyedge_net::wire::toa::Toa;

use super::*;

/// A client's flow of IPv6.
fn v6_flow(protocol: u8, number: u32) -> FlowKey {
    let port = if protocol == tcp::PROTOCOL {
        WEB
    } else {
        TICK_PORT
    };
    client_flow(Family::V6, protocol, port, number)
}

fn nat64() -> RouteTable {
    with_nat64(routes(), &[CLB_NODE])
}

/// The flow as a target knows it.
fn at_target(outcome: &Outcome) -> FlowKey {
    let (_, bytes) = outcome.only_sent();
    sound(untunnelled(bytes).1).flow
}

impl Stage<ClbNode> {
    fn opens_at(&mut self, flow: FlowKey) -> FlowKey {
        let packet = match flow.protocol {
            tcp::PROTOCOL => segment(flow, tcp::SYN),
            _ => datagram(flow, b"tick"),
        };
        at_target(&self.client_sends(&flow, &packet))
    }
}

#[test]
fn a_client_of_ipv6_is_served_by_a_target_of_ipv4_and_neither_sees_the_other_family() {
    for protocol in [tcp::PROTOCOL, udp::PROTOCOL] {
        let mut node = node_with(nat64());
        let flow = v6_flow(protocol, 1);
        let there = node.opens_at(flow);
        assert_eq!(there.src, SNAT.into());
        assert!(FIRST_BLOCK.contains(&there.src_port), "{there}");
        let targets = [1, 2].map(|number| backend(number, Family::V4));
        assert!(targets.contains(&there.dst), "{there}");
        let answer = match protocol {
            tcp::PROTOCOL => segment(there.reversed(), tcp::SYN | tcp::ACK),
            _ => datagram(there.reversed(), b"tock"),
        };
        let outcome = node.target_sends(there.dst, &flow, &answer);
        let (meta, bytes) = outcome.only_sent();
        assert_eq!(meta.peer, TOKYO);
        let (key, inner) = untunnelled(bytes);
        assert_eq!((key, sound(inner).flow), (key_of(&flow), flow.reversed()));
    }
}

#[test]
fn without_it_clients_have_targets_of_their_own_family() {
    let mut node = node();
    let there = node.opens_at(v6_flow(tcp::PROTOCOL, 1));
    assert_eq!(there.dst.family(), Family::V6);
}

#[test]
fn every_flow_has_a_port_of_its_own_of_this_nodes_blocks_in_turn() {
    let table = with_nat64(routes(), &[CLB_NODES[1], CLB_NODE]);
    let limits = Limits::of(1_024);
    let mut node = Stage::new(ClbNode::new(CLB_NODE_NAME, limits, Seed(7)), table);
    let ports: Vec<u16> = (0..250)
        .map(|number| node.opens_at(v6_flow(udp::PROTOCOL, number)).src_port)
        .collect();
    let in_turn = |pair: &[u16]| pair[1] == pair[0] + 1 || (pair[0], pair[1]) == (10_523, 10_274);
    assert!(ports.windows(2).all(in_turn), "{ports:?}");
    let all: BTreeSet<u16> = ports.into_iter().collect();
    assert!(
        all.into_iter().eq(SECOND_BLOCK),
        "the first block is another node's"
    );
    // Round again: a port is free towards the other target.
    let mut late = (0..100).map(|number| v6_flow(udp::PROTOCOL, 1_000 + number));
    assert!(late.all(|flow| node.opens_at(flow).src_port >= 10_274));
}

const FIRST_BLOCK: Range<u16> = 10_024..10_274;
const SECOND_BLOCK: Range<u16> = 10_274..10_524;

/// The routes with a single target of IPv4 and without a gate.
fn to_one_server(mut table: RouteTable) -> RouteTable {
    table.mechanisms.syn_gate = false;
    let web = Arc::make_mut(&mut table.clbs[0].listeners[0]);
    web.targets
        .retain(|target| target.address == backend(1, Family::V4));
    web.scheduler = Scheduler::WeightedRoundRobin;
    table
}

/// The oracle: one address has 55,000 connections to one target's port, and the next one has none.
#[test]
fn an_address_has_55_000_flows_to_one_server_and_refuses_the_next() {
    let table = to_one_server(with_nat64(routes(), &[CLB_NODE; 220]));
    let limits = Limits::of(131_072);
    let mut node = Stage::new(ClbNode::new(CLB_NODE_NAME, limits, Seed(7)), table);
    let ports: Vec<u16> = (0..55_000)
        .map(|number| node.opens_at(v6_flow(tcp::PROTOCOL, number)).src_port)
        .collect();
    let all: BTreeSet<u16> = ports.iter().copied().collect();
    assert!(all.into_iter().eq(10_024..=65_023));
    let refused = node.say(v6_flow(tcp::PROTOCOL, 55_000), tcp::SYN);
    assert_eq!(refused.only_drop(), DropReason::SnatPorts);
    // One that ends gives its port back.
    node.say(v6_flow(tcp::PROTOCOL, 0), tcp::RST);
    node.pass(secs(20));
    let mut tries = (0..250).map(|_| node.say(v6_flow(tcp::PROTOCOL, 55_001), tcp::SYN));
    let opened = tries.find(|outcome| outcome.drops.is_empty());
    assert_eq!(
        at_target(&opened.expect("a port is free")).src_port,
        ports[0]
    );
}

#[test]
fn a_target_reads_the_client_from_toa_in_its_form_of_ipv6() {
    let mut table = nat64();
    let web = Arc::make_mut(&mut table.clbs[0].listeners[0]);
    web.source = SourceTold {
        toa: Some(Toa::Kind254),
        ..SourceTold::default()
    };
    let mut node = node_with(table);
    let flow = v6_flow(tcp::PROTOCOL, 1);
    let outcome = node.say(flow, tcp::SYN);
    let (_, bytes) = outcome.only_sent();
    let (_, inner) = untunnelled(bytes);
    let parsed = sound(inner);
    let mut wanted = vec![253, 20];
    wanted.extend(flow.src_port.to_be_bytes());
    wanted.extend(flow.src.octets());
    let options = &parsed.l4(inner)[tcp::HEADER_LEN..];
    assert!(
        options.windows(20).any(|option| option == wanted),
        "{options:02x?}"
    );
}

/// An error of `family` about a packet of `sent`, which went on to its receiver or a router before it.
fn error(head: [u8; 8], from: Address, sent: &FlowKey) -> Vec<u8> {
    let packet = match sent.protocol {
        tcp::PROTOCOL => segment(*sent, tcp::ACK),
        _ => datagram(*sent, b"tick"),
    };
    icmp_error(from, sent.src, [head; 2], &packet)
}

#[test]
fn errors_reach_the_other_end_in_its_own_family() {
    let mut node = node_with(nat64());
    let flow = v6_flow(udp::PROTOCOL, 1);
    let there = node.opens_at(flow);
    let closed = error([3, 3, 0, 0, 0, 0, 0, 0], there.dst, &there);
    let outcome = node.target_sends(there.dst, &flow, &closed);
    let (_, bytes) = outcome.only_sent();
    let inner = untunnelled(bytes).1;
    let parsed = sound(inner);
    assert_eq!((parsed.flow.src, parsed.flow.dst), (flow.dst, flow.src));
    assert_eq!(icmp::kind(inner, &parsed), Some((1, 4)), "port unreachable");
    let quote = icmp::quoted(inner, &parsed).and_then(icmp::quoted_flow);
    assert_eq!(quote, Some(flow));

    let router = address("2001:db8:e::1");
    let too_big = error([2, 0, 0, 0, 0, 0, 5, 20], router, &flow.reversed());
    let outcome = node.client_sends(&flow, &too_big);
    let (_, bytes) = outcome.only_sent();
    let inner = untunnelled(bytes).1;
    let parsed = sound(inner);
    assert_eq!((parsed.flow.src, parsed.flow.dst), (SNAT.into(), there.dst));
    assert_eq!(icmp::too_big_mtu(inner, &parsed), Some(1_280));
    let quote = icmp::quoted(inner, &parsed).and_then(icmp::quoted_flow);
    assert_eq!(quote, Some(there.reversed()));

    let no_counterpart = error([12, 0, 0, 0, 0, 0, 0, 0], there.dst, &there);
    let outcome = node.target_sends(there.dst, &flow, &no_counterpart);
    assert_eq!(outcome.only_drop(), DropReason::Untranslatable);
}

#[test]
fn what_fits_is_measured_in_the_family_that_the_next_tunnel_carries() {
    let mut node = node_with(nat64());
    let flow = v6_flow(tcp::PROTOCOL, 1);
    let there = node.opens_at(flow);
    node.target_sends(
        there.dst,
        &flow,
        &segment(there.reversed(), tcp::SYN | tcp::ACK),
    );
    let of = |flow: FlowKey, payload: usize| {
        Segment {
            payload: &vec![7; payload],
            ..Segment::new(flow, tcp::ACK)
        }
        .packet()
    };
    // 1,464 bytes are 40 of headers in IPv4, and 60 in IPv6.
    node.client_sends(&flow, &of(flow, 1_424)).only_sent();
    let outcome = node.client_sends(&flow, &of(flow, 1_425));
    let (_, bytes) = outcome.told(DropReason::TooBig);
    let inner = untunnelled(bytes).1;
    assert_eq!(icmp::too_big_mtu(inner, &sound(inner)), Some(1_484));
    let back = there.reversed();
    node.target_sends(there.dst, &flow, &of(back, 1_404))
        .only_sent();
    let outcome = node.target_sends(there.dst, &flow, &of(back, 1_405));
    let (_, bytes) = outcome.told(DropReason::TooBig);
    let inner = untunnelled(bytes).1;
    let parsed = sound(inner);
    assert_eq!(icmp::too_big_mtu(inner, &parsed), Some(1_444));
    assert_eq!((parsed.flow.src, parsed.flow.dst), (SNAT.into(), there.dst));
}

#[test]
fn fragments_are_fragments_in_the_other_family() {
    let mut node = node_with(nat64());
    let flow = v6_flow(udp::PROTOCOL, 1);
    let whole = datagram(flow, &[7; 2_000]);
    let (mut l4, mut there) = (Vec::new(), None);
    for piece in fragments(&whole, 1_280, 4_711) {
        let outcome = node.client_sends(&flow, &piece);
        for (_, bytes) in &outcome.sent {
            let inner = untunnelled(bytes).1;
            let parsed = wire::parse(inner).expect("a sound fragment");
            let place = parsed.fragment.expect("it is one");
            assert_eq!(
                (parsed.family, usize::from(place.offset)),
                (Family::V4, l4.len())
            );
            there = there.or(Some(parsed.flow));
            l4.extend_from_slice(parsed.l4(inner));
        }
    }
    let there = there.expect("the first one tells");
    assert_eq!(there.src, SNAT.into());
    sound(&ip_packet(&there, 64, &l4));
}

#[test]
fn the_flows_of_an_address_that_is_taken_away_are_reset_at_both_ends() {
    let mut node = node_with(nat64());
    let flow = v6_flow(tcp::PROTOCOL, 1);
    let there = node.opens_at(flow);
    node.target_sends(
        there.dst,
        &flow,
        &segment(there.reversed(), tcp::SYN | tcp::ACK),
    );
    node.say(flow, tcp::ACK);
    let mut other = nat64();
    other.revision = Revision(2);
    other.clbs[0].snat.addresses = vec![[10, 0, 9, 2].into()];
    other.clbs[0].snat.blocks.clear();
    let outcome = node.apply(other);
    let ended = ended(flow, FlowEnd::Unbound);
    assert!(outcome.events.contains(&ended), "{:?}", outcome.events);
    let resets: Vec<FlowKey> = outcome
        .sent
        .iter()
        .map(|(_, bytes)| sound(untunnelled(bytes).1))
        .filter(|parsed| parsed.tcp_flags & tcp::RST != 0)
        .map(|parsed| parsed.flow)
        .collect();
    assert_eq!(resets, [flow.reversed(), there]);
    let refused = node.say(v6_flow(tcp::PROTOCOL, 2), tcp::SYN);
    assert_eq!(refused.only_drop(), DropReason::SnatPorts);
}

#[test]
fn a_block_that_was_another_nodes_is_the_last_choice_for_half_an_hour() {
    let with = |revision, owners: &[NodeId]| {
        let mut table = to_one_server(with_nat64(routes(), owners));
        table.revision = Revision(revision);
        table
    };
    let limits = Limits::of(1_024);
    let table = with(1, &[CLB_NODES[1], CLB_NODE]);
    let mut node = Stage::new(ClbNode::new(CLB_NODE_NAME, limits, Seed(7)), table);
    node.apply(with(2, &[CLB_NODE, CLB_NODE]));
    let mut ports = (0..251).map(|number| {
        let flow = v6_flow(tcp::PROTOCOL, number);
        node.opens_at(flow).src_port
    });
    assert!(
        ports
            .by_ref()
            .take(250)
            .all(|port| SECOND_BLOCK.contains(&port))
    );
    assert!(
        ports.all(|port| FIRST_BLOCK.contains(&port)),
        "nothing else is left"
    );
    node.pass(secs(1_800));
    let ports = (300..800).map(|number| node.opens_at(v6_flow(tcp::PROTOCOL, number)).src_port);
    let first = ports.filter(|port| FIRST_BLOCK.contains(port)).count();
    assert_eq!(first, 250, "both in turn");
}

#[test]
fn targets_are_checked_from_the_block_that_no_vip_is_in() {
    let mut table = nat64();
    let web = Arc::make_mut(&mut table.clbs[0].listeners[0]);
    web.targets
        .retain(|target| target.address.family() == Family::V4);
    web.health = Some(HealthCheck::default());
    let vips: Vec<Address> = table.vips.keys().copied().collect();
    for vip in vips.iter().filter(|vip| vip.family() == Family::V4) {
        table.vips.remove(vip);
    }
    let mut node = node_with(table);
    let outcome = node.pass(secs(30));
    let checks = outcome
        .sent
        .iter()
        .map(|(_, bytes)| sound(untunnelled(bytes).1).flow);
    let sources: BTreeSet<Address> = checks.map(|flow| flow.src).collect();
    assert_eq!(
        sources.into_iter().collect::<Vec<_>>(),
        [address("100.64.0.1")]
    );
}
