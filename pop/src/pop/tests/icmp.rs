//! ICMP at the POP: echoes, errors that it makes, errors that it relays.
//!
//! Expected packets are built whole from their description, checksums computed over all of their bytes, and
//! compared byte by byte.

use core::time::Duration;

use anyedge_net::wire::gre::{self, GreKey};
use anyedge_net::wire::icmp as messages;
use anyedge_net::wire::ip::{Header, header_len};
use anyedge_net::wire::{tcp, udp};

use super::world::{Outcome, SETUP, Shape, World, client, vip};
use super::*;
use crate::icmp::{ECHOES_BURST, ECHOES_PER_SECOND, ERRORS_BURST, ERRORS_PER_SECOND};

/// A router on the client's side.
fn router(family: Family) -> Address {
    let text = match family {
        Family::V4 => "192.0.2.1",
        Family::V6 => "2001:db8:e::1",
    };
    text.parse().expect("a literal address")
}

/// An ICMP packet: eight bytes of header, of which the checksum is computed, and a body.
fn message(src: Address, dst: Address, ttl: u8, head: [u8; 8], body: &[u8]) -> Vec<u8> {
    let family = src.family();
    let mut l4 = [&head[..], body].concat();
    messages::fill_checksum(&mut l4, src, dst);
    let protocol = match family {
        Family::V4 => messages::PROTOCOL_V4,
        Family::V6 => messages::PROTOCOL_V6,
    };
    let mut bytes = vec![0; header_len(family)];
    Header {
        src,
        dst,
        protocol,
        ttl,
        tos: 0,
        payload_len: l4.len(),
    }
    .write(&mut bytes);
    bytes.extend(l4);
    bytes
}

fn ping(family: Family, ttl: u8) -> Vec<u8> {
    let of = if family == Family::V4 { 8 } else { 128 };
    let head = [of, 0, 0, 0, 0x12, 0x34, 0, 7];
    message(client(family), vip(family), ttl, head, b"ping")
}

/// The header of "too big" with that MTU.
fn too_big(family: Family, mtu: u16) -> [u8; 8] {
    let [high, low] = mtu.to_be_bytes();
    match family {
        Family::V4 => [3, 4, 0, 0, 0, 0, high, low],
        Family::V6 => [2, 0, 0, 0, 0, 0, high, low],
    }
}

fn expired(family: Family) -> [u8; 8] {
    let of = if family == Family::V4 { 11 } else { 3 };
    [of, 0, 0, 0, 0, 0, 0, 0]
}

fn mtu_min(family: Family) -> usize {
    if family == Family::V4 { 576 } else { 1_280 }
}

#[test]
fn a_ping_to_a_vip_is_answered_from_it_whatever_its_ttl() {
    let mut world = World::tokyo();
    for family in FAMILIES {
        for ttl in [1, 64, 255] {
            let (meta, reply) = world.client_sends(&ping(family, ttl)).sent();
            let of = if family == Family::V4 { 0 } else { 129 };
            let head = [of, 0, 0, 0, 0x12, 0x34, 0, 7];
            let expected = message(vip(family), client(family), 64, head, b"ping");
            assert_eq!(reply, expected);
            assert_eq!(meta, Meta::plain(PortId::PUBLIC));
        }
    }
    assert_eq!(world.ledger.originated, 0, "the request becomes the reply");
}

#[test]
fn a_ping_is_answered_only_where_the_vip_is_announced() {
    let mut seoul = World::at("pop.seoul", &SETUP);
    for family in FAMILIES {
        let outcome = seoul.client_sends(&ping(family, 64));
        assert_eq!(outcome, Outcome::Dropped(DropReason::NotVip));
    }
}

#[test]
fn pings_above_the_limit_end_and_the_limit_comes_back() {
    let mut world = World::tokyo();
    world.now = Instant::from_nanos(5_000_000_000);
    let ping = ping(Family::V4, 64);
    for _ in 0..ECHOES_BURST {
        world.client_sends(&ping).sent();
    }
    let limited = Outcome::Dropped(DropReason::EchoLimited);
    assert_eq!(world.client_sends(&ping), limited);
    world.now += Duration::from_secs(1) / ECHOES_PER_SECOND;
    world.client_sends(&ping).sent();
    assert_eq!(world.client_sends(&ping), limited);
}

#[test]
fn other_icmp_to_a_vip_ends_here() {
    let mut world = World::tokyo();
    for family in FAMILIES {
        let of = if family == Family::V4 { 0 } else { 129 };
        let reply = message(
            client(family),
            vip(family),
            64,
            [of, 0, 0, 0, 0, 0, 0, 0],
            b"",
        );
        let outcome = world.client_sends(&reply);
        assert_eq!(outcome, Outcome::Dropped(DropReason::UnsupportedProtocol));
    }
}

#[test]
fn who_sends_too_much_at_once_is_told_the_mtu_of_the_tunnel() {
    let mut world = World::tokyo();
    for family in FAMILIES {
        let shape = Shape::tick(family).of_len(1_473);
        let (reason, error) = world.refuses(&shape.bytes());
        assert_eq!(reason, DropReason::TooBig);
        // The TTL was counted before the length was looked at (RFC 1812 §4.3.2.3).
        let seen = Shape { ttl: 63, ..shape }.bytes();
        let quote = &seen[..mtu_min(family) - header_len(family) - 8];
        let head = too_big(family, 1_472);
        let expected = message(vip(family), client(family), 64, head, quote);
        assert_eq!(error, Some(expected));
    }
    assert_eq!(world.ledger.originated, 2, "an error beside each drop");
}

#[test]
fn a_packet_that_may_be_fragmented_is_dropped_without_word_when_fragments_are_off() {
    let mut world = World::tokyo();
    let mut table = RouteTable::clone(&world.table);
    table.mechanisms.fragments = false;
    world.apply(Arc::new(table));
    let mut bytes = Shape::tick(Family::V4).of_len(1_473).bytes();
    bytes[6] = 0;
    bytes[10..12].fill(0);
    let check = anyedge_net::checksum::internet(&bytes[..20]);
    bytes[10..12].copy_from_slice(&check.to_be_bytes());
    assert_eq!(world.refuses(&bytes), (DropReason::TooBig, None));
}

#[test]
fn traceroute_sees_the_vip_at_the_pop() {
    let mut world = World::tokyo();
    for family in FAMILIES {
        for ttl in [0, 1] {
            let probe = Shape {
                ttl,
                ..Shape::tick(family)
            };
            let (reason, error) = world.refuses(&probe.bytes());
            assert_eq!(reason, DropReason::TtlExpired);
            let (from, to) = (vip(family), client(family));
            let expected = message(from, to, 64, expired(family), &probe.bytes());
            assert_eq!(error, Some(expected));
        }
    }
}

#[test]
fn errors_above_the_limit_are_not_made_and_the_limit_comes_back() {
    let mut world = World::tokyo();
    world.now = Instant::from_nanos(5_000_000_000);
    let probe = Shape {
        ttl: 1,
        ..Shape::tick(Family::V6)
    }
    .bytes();
    for _ in 0..ERRORS_BURST {
        assert!(world.refuses(&probe).1.is_some());
    }
    assert_eq!(world.refuses(&probe), (DropReason::TtlExpired, None));
    world.now += Duration::from_secs(1) / ERRORS_PER_SECOND;
    assert!(world.refuses(&probe).1.is_some());
    assert_eq!(world.refuses(&probe), (DropReason::TtlExpired, None));
}

#[test]
fn an_error_about_an_answer_goes_where_the_flow_goes_from_any_pop() {
    for family in FAMILIES {
        for protocol in [tcp::PROTOCOL, udp::PROTOCOL] {
            let mut question = Shape::segment(family, tcp::ACK);
            if protocol == udp::PROTOCOL {
                question = Shape::tick(family);
            }
            let lost = question.clone().answered().bytes();
            let mut nodes = Vec::new();
            for pop in ["pop.tokyo", "pop.frankfurt"] {
                let mut world = World::at(pop, &SETUP);
                let (way, wrapped) = world.client_sends(&question.bytes()).sent();
                let quote = &lost[..header_len(family) + 8];
                let error = |ttl| {
                    message(
                        router(family),
                        vip(family),
                        ttl,
                        too_big(family, 1_300),
                        quote,
                    )
                };
                let (meta, bytes) = world.client_sends(&error(64)).sent();
                assert_eq!((meta.port, meta.peer), (way.port, way.peer));
                assert_eq!(bytes[..8], wrapped[..8], "the same slot in the key");
                assert_eq!(bytes[8..], error(63));
                nodes.push((meta.peer, bytes));
            }
            assert_eq!(nodes[0], nodes[1]);
        }
    }
}

#[test]
fn an_error_that_quotes_nothing_of_ours_ends_here() {
    let mut world = World::tokyo();
    for family in FAMILIES {
        let cut = header_len(family) + 3;
        let answer = Shape::tick(family).answered().bytes();
        let strange = Shape::tick(family).bytes();
        let mut sctp = Shape::tick(family).answered();
        sctp.flow.protocol = 132;
        for quote in [&[], &answer[..cut], &strange[..], &sctp.bytes()[..]] {
            let head = too_big(family, 1_300);
            let error = message(router(family), vip(family), 64, head, quote);
            let outcome = world.client_sends(&error);
            assert_eq!(outcome, Outcome::Dropped(DropReason::NoFlow));
        }
        let last = message(
            router(family),
            vip(family),
            1,
            too_big(family, 1_300),
            &answer,
        );
        assert_eq!(
            world.refuses(&last),
            (DropReason::TtlExpired, None),
            "no error about an error"
        );
        let long = [&answer[..], &[0; 1_500]].concat();
        let long = message(router(family), vip(family), 64, expired(family), &long);
        assert_eq!(world.refuses(&long), (DropReason::TooBig, None));
    }
}

#[test]
fn an_error_from_a_vip_leaves_for_the_client_and_nothing_else_of_icmp_does() {
    let mut world = World::tokyo();
    for family in FAMILIES {
        let quote = Shape::tick(family).bytes();
        let protocol = match family {
            Family::V4 => gre::PROTOCOL_IPV4,
            Family::V6 => gre::PROTOCOL_IPV6,
        };
        let tunnelled = |inner: &[u8]| {
            let mut bytes = vec![0; gre::HEADER_LEN];
            gre::write(&mut bytes, protocol, GreKey::new(0, false, 7));
            [&bytes, inner].concat()
        };
        let (from, to) = (vip(family), client(family));
        let error = |ttl| message(from, to, ttl, expired(family), &quote);
        let (meta, bytes) = world.clb_node_sends(0, &tunnelled(&error(64))).sent();
        assert_eq!((meta, bytes), (Meta::plain(PortId::PUBLIC), error(63)));
        let outcome = world.clb_node_sends(0, &tunnelled(&error(1)));
        assert_eq!(outcome, Outcome::Dropped(DropReason::TtlExpired));

        let spoofed = message(router(family), to, 64, expired(family), &quote);
        let outcome = world.clb_node_sends(0, &tunnelled(&spoofed));
        assert_eq!(outcome, Outcome::Dropped(DropReason::NotFromVip));
        let of = if family == Family::V4 { 8 } else { 128 };
        let ping = message(from, to, 64, [of, 0, 0, 0, 0, 0, 0, 0], b"");
        let outcome = world.clb_node_sends(0, &tunnelled(&ping));
        assert_eq!(outcome, Outcome::Dropped(DropReason::UnsupportedProtocol));
    }
}

#[test]
fn a_target_whose_answer_used_up_its_ttl_is_told_by_way_of_its_flow() {
    for family in FAMILIES {
        let mut world = World::tokyo();
        let tick = Shape::tick(family);
        let (asked, wrapped) = world.client_sends(&tick.bytes()).sent();
        let last_hop = Shape {
            ttl: 1,
            ..tick.answered()
        };
        let (meta, bytes) = world.clb_node_sends(0, &last_hop.tunnelled()).sent();
        assert_eq!((meta.port, meta.peer), (asked.port, asked.peer));
        assert_eq!(bytes[..8], wrapped[..8], "the key of the flow");
        let quote = last_hop.bytes();
        let vip = vip(family);
        let expected = message(vip, vip, 63, expired(family), &quote);
        assert_eq!(bytes[8..], expected);
        assert_eq!(world.ledger.dropped.of(DropReason::TtlExpired), 1);
    }
}

#[test]
fn with_errors_off_nothing_is_said_and_with_the_clamp_off_the_mss_stays() {
    let mut world = World::tokyo();
    let mut table = RouteTable::clone(&world.table);
    table.mechanisms.icmp_errors = false;
    table.mechanisms.mss_clamp = false;
    world.apply(Arc::new(table));
    for family in FAMILIES {
        let long = Shape::tick(family).of_len(1_500).bytes();
        assert_eq!(world.refuses(&long), (DropReason::TooBig, None));
        let expiring = Shape {
            ttl: 1,
            ..Shape::tick(family)
        };
        let outcome = world.refuses(&expiring.bytes());
        assert_eq!(outcome, (DropReason::TtlExpired, None));
        let answer = expiring.answered();
        let outcome = world.clb_node_sends(0, &answer.tunnelled());
        assert_eq!(outcome, Outcome::Dropped(DropReason::TtlExpired));
        let syn = Shape::segment(family, tcp::SYN);
        let (_, bytes) = world.client_sends(&syn.bytes()).sent();
        assert_eq!(bytes[8..], Shape { ttl: 63, ..syn }.bytes());
    }
}
