//! ICMP at the CLB node: errors that it makes, and errors that it relays with their quote translated.
//!
//! Expected packets are built whole, each checksum computed over all of its bytes, and compared byte by byte.

use super::*;
use crate::clb_node::{ERRORS_BURST, ERRORS_PER_SECOND};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const EXPIRED: [[u8; 8]; 2] = [[11, 0, 0, 0, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0, 0]];
/// "Too big" with the inner MTU of the testbed's paths, 1,464.
const TOO_BIG: [[u8; 8]; 2] = [[3, 4, 0, 0, 0, 0, 5, 184], [2, 0, 0, 0, 0, 0, 5, 184]];
/// "Too big" with 1,300, as a router far away says it.
const FAR_TOO_BIG: [[u8; 8]; 2] = [[3, 4, 0, 0, 0, 0, 5, 20], [2, 0, 0, 0, 0, 0, 5, 20]];

/// A router that is nobody's client or target.
fn router(family: Family) -> Address {
    address(if family == Family::V4 {
        "192.0.2.1"
    } else {
        "2001:db8:e::1"
    })
}

/// What of a packet an error of ours may quote.
fn room(family: Family) -> usize {
    if family == Family::V4 {
        576 - 28
    } else {
        1_280 - 48
    }
}

fn ip_len(family: Family) -> usize {
    wire::ip::header_len(family)
}

/// A packet of `flow`, `len` bytes long.
fn of_len(flow: FlowKey, len: usize) -> Vec<u8> {
    let payload = vec![7; len - ip_len(flow.family()) - tcp::HEADER_LEN];
    Segment {
        payload: &payload,
        ..Segment::new(flow, tcp::ACK)
    }
    .packet()
}

/// The head of a packet of either protocol, as a router quotes it.
fn quote(flow: FlowKey, len: usize) -> Vec<u8> {
    let mut packet = match flow.protocol {
        tcp::PROTOCOL => Segment {
            payload: &[7; 100],
            ..Segment::new(flow, tcp::ACK)
        }
        .packet(),
        _ => datagram(flow, &[7; 100]),
    };
    packet.truncate(ip_len(flow.family()) + len);
    packet
}

fn flow_of(family: Family, protocol: u8) -> FlowKey {
    let port = if protocol == tcp::PROTOCOL {
        WEB
    } else {
        TICK_PORT
    };
    client_flow(family, protocol, port, 1)
}

#[test]
fn a_client_whose_packet_does_not_fit_the_way_to_its_target_is_told_the_mtu() {
    for family in FAMILIES {
        let mut node = node();
        let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
        node.establish(flow);
        let packet = of_len(flow, usize::from(INNER_MTU) + 1);
        let outcome = node.client_sends(&flow, &packet);
        let (meta, bytes) = outcome.told(DropReason::TooBig);
        assert_eq!((meta.port, meta.peer), (PortId::tunnel(FROM_TOKYO), TOKYO));
        let error = icmp_error(flow.dst, flow.src, TOO_BIG, &packet[..room(family)]);
        assert_eq!(untunnelled(bytes), (key_of(&flow), &error[..]));
    }
}

#[test]
fn a_first_packet_that_fits_no_way_is_told_the_smallest_mtu_of_its_load_balancer() {
    let mut node = node();
    let flow = client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, 1);
    let packet = datagram(flow, &[7; 1_500]);
    let outcome = node.client_sends(&flow, &packet);
    let (_, bytes) = outcome.told(DropReason::TooBig);
    let (_, error) = untunnelled(bytes);
    let mtu = wire::icmp::too_big_mtu(error, &sound(error));
    assert_eq!(mtu, Some(1_400));
    assert_eq!(outcome.events, [], "no flow was opened");
}

#[test]
fn a_target_whose_packet_does_not_fit_the_way_back_is_told_by_the_vip() {
    for family in FAMILIES {
        let mut node = node();
        let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
        let target = node.establish(flow);
        let packet = of_len(
            answer_flow(&flow, target, 8_080),
            usize::from(INNER_MTU) + 1,
        );
        let outcome = node.target_sends(target, &flow, &packet);
        let (meta, bytes) = outcome.told(DropReason::TooBig);
        let host = if target == backend(1, family) {
            WEB_1
        } else {
            WEB_2
        };
        assert_eq!(meta.peer, host);
        let error = icmp_error(flow.dst, target, TOO_BIG, &packet[..room(family)]);
        assert_eq!(untunnelled(bytes), (key_of(&flow), &error[..]));
    }
}

#[test]
fn traceroute_sees_the_vip_at_the_clb_node_with_or_without_a_flow() {
    for family in FAMILIES {
        for protocol in [tcp::PROTOCOL, udp::PROTOCOL] {
            let mut node = node();
            let flow = flow_of(family, protocol);
            let probe = with_ttl(&quote(flow, 200), 1);
            let outcome = node.client_sends(&flow, &probe);
            let (meta, bytes) = outcome.told(DropReason::TtlExpired);
            assert_eq!(meta.peer, TOKYO);
            let error = icmp_error(flow.dst, flow.src, EXPIRED, &probe);
            assert_eq!(untunnelled(bytes), (key_of(&flow), &error[..]));
        }
    }
}

#[test]
fn a_target_learns_of_a_used_up_ttl_only_about_a_flow() {
    for family in FAMILIES {
        let mut node = node();
        let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
        let target = node.establish(flow);
        let late = with_ttl(&quote(answer_flow(&flow, target, 8_080), 200), 1);
        let outcome = node.target_sends(target, &flow, &late);
        let (_, bytes) = outcome.told(DropReason::TtlExpired);
        let error = icmp_error(flow.dst, target, EXPIRED, &late);
        assert_eq!(untunnelled(bytes).1, error);

        let stray = with_ttl(&quote(answer_flow(&flow, target, 8_081), 200), 1);
        let outcome = node.target_sends(target, &flow, &stray);
        assert_eq!(outcome.only_drop(), DropReason::TtlExpired);
    }
}

#[test]
fn errors_are_limited_and_the_limit_is_exact() {
    let mut node = node();
    let flow = web_flow(1);
    let probe = with_ttl(&segment(flow, tcp::ACK), 1);
    let sent = |node: &mut Stage<ClbNode>, count: u32| {
        (0..count)
            .map(|_| node.client_sends(&flow, &probe).sent.len() as u32)
            .sum::<u32>()
    };
    assert_eq!(sent(&mut node, ERRORS_BURST + 500), ERRORS_BURST);
    node.pass(secs(1) / 2);
    assert_eq!(sent(&mut node, ERRORS_BURST), ERRORS_PER_SECOND / 2);
}

#[test]
fn an_error_about_an_answer_reaches_the_target_as_one_about_what_it_sent() {
    for family in FAMILIES {
        for protocol in [tcp::PROTOCOL, udp::PROTOCOL] {
            for len in [8, 60] {
                let mut node = node();
                let flow = flow_of(family, protocol);
                let target = node.open(flow);
                let far = router(family);
                let lost = quote(flow.reversed(), len);
                let error = icmp_error(far, flow.dst, FAR_TOO_BIG, &lost);
                // By the other POP: what matters is the quoted flow.
                let outcome = node.tunnel(FROM_FRANKFURT, FRANKFURT, key_of(&flow), &error);
                let (meta, bytes) = outcome.only_sent();
                let host = if target == backend(1, family) {
                    WEB_1
                } else {
                    WEB_2
                };
                assert_eq!(meta.peer, host);
                let as_sent = quote(answer_flow(&flow, target, 8_080), len);
                let expected = with_ttl(&icmp_error(far, target, FAR_TOO_BIG, &as_sent), 63);
                assert_eq!(untunnelled(bytes), (key_of(&flow), &expected[..]));
                assert_eq!(outcome.events, [], "an error moves no flow to another POP");
            }
        }
    }
}

#[test]
fn an_error_about_a_clients_packet_reaches_the_client_from_the_vip() {
    for family in FAMILIES {
        for protocol in [tcp::PROTOCOL, udp::PROTOCOL] {
            let mut node = node();
            let flow = flow_of(family, protocol);
            let target = node.open(flow);
            for from in [target, router(family)] {
                let lost = quote(answer_flow(&flow, target, 8_080).reversed(), 60);
                let error = icmp_error(from, flow.src, FAR_TOO_BIG, &lost);
                let outcome = node.target_sends(target, &flow, &error);
                let (meta, bytes) = outcome.only_sent();
                assert_eq!((meta.port, meta.peer), (PortId::tunnel(FROM_TOKYO), TOKYO));
                let as_sent = quote(flow, 60);
                let told = icmp_error(flow.dst, flow.src, FAR_TOO_BIG, &as_sent);
                let expected = with_ttl(&told, 63);
                assert_eq!(untunnelled(bytes), (key_of(&flow), &expected[..]));
            }
        }
    }
}

#[test]
fn a_client_straight_from_the_internet_gets_and_gives_errors_too() {
    let mut node = node();
    let flow = web_flow(1);
    let target = target_of(&node.bare(PortId::PUBLIC, &segment(flow, tcp::SYN)));
    let far = router(Family::V4);
    let error = icmp_error(far, flow.dst, FAR_TOO_BIG, &quote(flow.reversed(), 8));
    let outcome = node.bare(PortId::PUBLIC, &error);
    let told = sound(untunnelled(outcome.only_sent().1).1);
    assert_eq!(told.flow.dst, target);

    let lost = quote(answer_flow(&flow, target, 8_080).reversed(), 8);
    let error = icmp_error(target, flow.src, FAR_TOO_BIG, &lost);
    let outcome = node.target_sends(target, &flow, &error);
    let (meta, bytes) = outcome.only_sent();
    assert_eq!(meta, Meta::plain(PortId::PUBLIC));
    assert_eq!(sound(bytes).flow.src, flow.dst);

    let outcome = node.bare(PortId::PUBLIC, &with_ttl(&segment(flow, tcp::ACK), 1));
    let (meta, bytes) = outcome.told(DropReason::TtlExpired);
    assert_eq!(meta, Meta::plain(PortId::PUBLIC));
    assert_eq!(sound(bytes).flow.src, flow.dst);
}

#[test]
fn an_error_about_no_flow_is_dropped() {
    for family in FAMILIES {
        let mut node = node();
        let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
        let target = node.establish(flow);
        let other = FlowKey {
            src_port: 1,
            ..flow
        };
        let (far, vip) = (router(family), flow.dst);
        let good = quote(flow.reversed(), 8);
        let cut = &good[..ip_len(family) + 3];
        for lost in [
            &quote(other.reversed(), 8)[..],
            &quote(flow, 8)[..],
            cut,
            &[],
        ] {
            let error = icmp_error(far, vip, EXPIRED, lost);
            let outcome = node.client_sends(&flow, &error);
            assert_eq!(outcome.only_drop(), DropReason::NoFlow);
            let error = icmp_error(target, flow.src, EXPIRED, lost);
            let outcome = node.target_sends(target, &flow, &error);
            assert_eq!(outcome.only_drop(), DropReason::NoFlow);
        }
        let last = with_ttl(&icmp_error(far, vip, EXPIRED, &good), 1);
        let outcome = node.client_sends(&flow, &last);
        assert_eq!(
            outcome.only_drop(),
            DropReason::TtlExpired,
            "no error about an error"
        );
        let long = icmp_error(far, vip, EXPIRED, &[&good[..], &[0; 1_500]].concat());
        let outcome = node.client_sends(&flow, &long);
        assert_eq!(outcome.only_drop(), DropReason::TooBig);
    }
}

#[test]
fn an_error_keeps_no_flow_alive() {
    let mut node = node();
    let flow = client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, 1);
    node.open(flow);
    let lost = quote(flow.reversed(), 8);
    let error = icmp_error(router(Family::V4), flow.dst, FAR_TOO_BIG, &lost);
    node.pass(secs(119));
    node.client_sends(&flow, &error).only_sent();
    let outcome = node.pass(secs(30));
    assert_eq!(outcome.events, [ended(flow, FlowEnd::Finished)]);
    let outcome = node.client_sends(&flow, &error);
    assert_eq!(outcome.only_drop(), DropReason::NoFlow);
}

#[test]
fn with_errors_off_nothing_is_said_and_with_the_clamp_off_the_mss_stays() {
    let mut table = routes();
    table.mechanisms.icmp_errors = false;
    table.mechanisms.mss_clamp = false;
    let mut node = node_with(table);
    let flow = web_flow(1);
    let syn = Segment {
        mss: Some(8_960),
        ..Segment::new(flow, tcp::SYN)
    }
    .packet();
    let outcome = node.client_sends(&flow, &syn);
    let inner = untunnelled(outcome.only_sent().1).1;
    assert_eq!(tcp::mss(inner, &sound(inner)), Some(8_960));
    let payload = vec![7; usize::from(INNER_MTU)];
    let long = Segment {
        payload: &payload,
        ..Segment::new(flow, tcp::ACK)
    }
    .packet();
    let too_big = node.client_sends(&flow, &long);
    assert_eq!(too_big.only_drop(), DropReason::TooBig);
    let last_hop = with_ttl(&segment(flow, tcp::ACK), 1);
    let expired = node.client_sends(&flow, &last_hop);
    assert_eq!(expired.only_drop(), DropReason::TtlExpired);
}
