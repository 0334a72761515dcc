//! Who may send what, and what is refused before any flow is looked up.

use super::*;

#[test]
fn only_pops_and_hosts_of_the_region_may_send() {
    let mut node = node();
    let flow = web_flow(1);
    let syn = segment(flow, tcp::SYN);
    for peer in [
        NodeId::UNKNOWN,
        CLB_NODE,
        OTHER_CLB_NODE,
        OTHER_HOST,
        NodeId(99),
    ] {
        let outcome = node.tunnel(FROM_TOKYO, peer, key_of(&flow), &syn);
        assert_eq!(outcome.only_drop(), DropReason::UnknownPeer, "{peer:?}");
    }
    let from_host = node.tunnel(TO_WEB_1, WEB_1, key_of(&flow), &syn);
    assert_eq!(
        from_host.only_drop(),
        DropReason::NoFlow,
        "a host cannot open a flow"
    );
}

#[test]
fn the_key_names_a_load_balancer_of_this_region_and_the_destination_is_its_vip() {
    let mut node = node();
    let flow = web_flow(1);
    let syn = segment(flow, tcp::SYN);
    for clb in [OTHER, ClbId(3), ClbId(GreKey::CLB_ID_MAX)] {
        let outcome = node.tunnel(FROM_TOKYO, TOKYO, GreKey::new(clb.0, false, 0), &syn);
        assert_eq!(outcome.only_drop(), DropReason::UnknownClb, "{clb:?}");
    }
    let other_clb = node.tunnel(FROM_TOKYO, TOKYO, GreKey::new(ALT.0, false, 0), &syn);
    assert_eq!(other_clb.only_drop(), DropReason::NotVip);
    let stranger = FlowKey {
        dst: address("198.51.100.9"),
        ..flow
    };
    let outcome = node.tunnel(
        FROM_TOKYO,
        TOKYO,
        key_of(&flow),
        &segment(stranger, tcp::SYN),
    );
    assert_eq!(outcome.only_drop(), DropReason::NotVip);
    let elsewhere = FlowKey {
        dst: address("203.0.113.30"),
        ..flow
    };
    let outcome = node.bare(PortId::PUBLIC, &segment(elsewhere, tcp::SYN));
    assert_eq!(
        outcome.only_drop(),
        DropReason::NotVip,
        "a VIP of another region"
    );
}

#[test]
fn packets_come_by_tunnels_and_the_public_port_alone() {
    let mut node = node();
    let syn = segment(web_flow(1), tcp::SYN);
    for port in [PortId::LOCAL, PortId::BACKEND, PortId(9)] {
        assert_eq!(
            node.bare(port, &syn).only_drop(),
            DropReason::WrongPort,
            "{port:?}"
        );
    }
    let none_asked_for = node.bare(PortId::VPC, &syn);
    assert_eq!(none_asked_for.only_drop(), DropReason::NoFlow);
}

#[test]
fn a_node_without_routes_or_not_in_them_serves_nothing() {
    let flow = web_flow(1);
    let syn = segment(flow, tcp::SYN);
    let stranger = ClbNode::new("region.guangzhou.clb-9", Limits::of(4), Seed(7));
    let new = ClbNode::new(CLB_NODE_NAME, Limits::of(4), Seed(7));
    for (node, table) in [(stranger, routes()), (new, RouteTable::empty())] {
        let mut stage = Stage::new(node, table);
        assert_eq!(
            stage.client_sends(&flow, &syn).only_drop(),
            DropReason::UnknownPeer
        );
        assert_eq!(
            stage.bare(PortId::PUBLIC, &syn).only_drop(),
            DropReason::NotVip
        );
    }
}

#[test]
fn a_used_up_ttl_ends_a_packet_in_both_directions() {
    for family in [Family::V4, Family::V6] {
        let mut node = node();
        let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
        let target = node.establish(flow);
        let there = segment(flow, tcp::ACK);
        let back = segment(answer_flow(&flow, target, 8_080), tcp::ACK);
        for ttl in [0, 1] {
            let outcome = node.client_sends(&flow, &with_ttl(&there, ttl));
            assert_eq!(outcome.drops, [DropReason::TtlExpired]);
            let outcome = node.target_sends(target, &flow, &with_ttl(&back, ttl));
            assert_eq!(outcome.drops, [DropReason::TtlExpired]);
        }
        let outcome = node.client_sends(&flow, &with_ttl(&there, 2));
        assert_eq!(sound(untunnelled(outcome.only_sent().1).1).ttl, 1);
    }
}

#[test]
fn what_is_no_whole_tcp_or_udp_is_refused() {
    let mut node = node();
    let flow = web_flow(1);
    let icmp = FlowKey {
        protocol: 1,
        src_port: 0,
        dst_port: 0,
        ..flow
    };
    let echo = ip_packet(&icmp, 64, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
    assert_eq!(
        node.client_sends(&flow, &echo).only_drop(),
        DropReason::UnsupportedProtocol
    );
    let esp = ip_packet(
        &FlowKey {
            protocol: 50,
            ..icmp
        },
        64,
        &[0; 40],
    );
    assert_eq!(
        node.bare(PortId::PUBLIC, &esp).only_drop(),
        DropReason::UnsupportedProtocol
    );

    let mut fragment = datagram(
        client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, 1),
        &[0; 16],
    );
    let mut table = routes();
    table.mechanisms.fragments = false;
    node.apply(table);
    fragment[6] = 0x20; // more fragments
    fragment[10..12].fill(0);
    let check = anyedge_net::checksum::internet(&fragment[..20]);
    fragment[10..12].copy_from_slice(&check.to_be_bytes());
    assert_eq!(
        node.client_sends(&flow, &fragment).only_drop(),
        DropReason::Fragment
    );
}

#[test]
fn malformed_packets_and_tunnel_headers_are_refused() {
    let mut node = node();
    let flow = web_flow(1);
    let syn = segment(flow, tcp::SYN);
    for len in 0..syn.len() {
        assert_eq!(
            node.client_sends(&flow, &syn[..len]).drops.len(),
            1,
            "cut to {len} bytes"
        );
        assert_eq!(
            node.bare(PortId::PUBLIC, &syn[..len]).only_drop(),
            DropReason::Malformed
        );
    }
    let meta = Meta {
        peer: TOKYO,
        ..Meta::plain(PortId::tunnel(FROM_TOKYO))
    };
    let without_key = [&[0, 0, 8, 0][..], &syn].concat();
    assert_eq!(
        node.batch(&[(meta, without_key)]).only_drop(),
        DropReason::BadGre
    );
    let congested = Meta {
        tos: wire::ecn::CE,
        ..meta
    };
    let outcome = node.batch(&[(congested, tunnelled(&syn, key_of(&flow)))]);
    assert_eq!(outcome.only_drop(), DropReason::EcnConflict);
}

#[test]
fn link_padding_is_cut_off() {
    let mut node = node();
    let flow = web_flow(1);
    let padded = [&segment(flow, tcp::SYN)[..], &[0xee; 9]].concat();
    target_of(&node.client_sends(&flow, &padded));
    let public = [&segment(web_flow(2), tcp::SYN)[..], &[0xee; 9]].concat();
    target_of(&node.bare(PortId::PUBLIC, &public));
}

#[test]
fn a_packet_too_large_for_the_way_to_its_target_is_dropped() {
    let mut node = node();
    let flow = web_flow(1);
    node.establish(flow);
    let of_len = |len: u16| {
        let payload = vec![7; usize::from(len) - 40];
        Segment {
            payload: &payload,
            ..Segment::new(flow, tcp::ACK)
        }
        .packet()
    };
    node.client_sends(&flow, &of_len(INNER_MTU)).only_sent();
    let too_big = node.client_sends(&flow, &of_len(INNER_MTU + 1));
    assert_eq!(too_big.drops, [DropReason::TooBig]);
}

#[test]
fn congestion_on_one_tunnel_is_carried_into_the_next() {
    let mut node = node();
    let flow = web_flow(1);
    node.establish(flow);
    let mut capable = segment(flow, tcp::ACK);
    let parsed = sound(&capable);
    wire::rewrite::set_tos(&mut capable, &parsed, wire::ecn::ECT_0);
    let meta = Meta {
        peer: TOKYO,
        tos: wire::ecn::CE,
        ..Meta::plain(PortId::tunnel(FROM_TOKYO))
    };
    let outcome = node.batch(&[(meta, tunnelled(&capable, key_of(&flow)))]);
    let (meta, bytes) = outcome.only_sent();
    assert_eq!(meta.tos, wire::ecn::CE);
    assert_eq!(sound(untunnelled(bytes).1).tos, wire::ecn::CE);
}
