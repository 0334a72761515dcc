//! From the Internet into the backbone.
//!
//! Clients send the packets of this file. Expected packets are built from their descriptions and compared byte
//! by byte behind the GRE header; the figures of MTU and MSS are those of RFC 2784, RFC 2890 and RFC 8086.

use anyedge_net::packet::Offload;
use anyedge_net::slot;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::ip::header_len;
use anyedge_net::wire::outer::Encap;
use anyedge_net::wire::{self, tcp};

use super::world::{Outcome, SETUP, Setup, Shape, World};
use super::*;

fn dropped(reason: DropReason) -> Outcome {
    Outcome::Dropped(reason)
}

#[test]
fn a_packet_to_the_vip_goes_behind_gre_to_the_node_of_its_slot() {
    for (family, kind) in [(Family::V4, [0x08, 0x00]), (Family::V6, [0x86, 0xdd])] {
        let mut world = World::tokyo();
        let tick = Shape::tick(family);
        let (meta, bytes) = world.client_sends(&tick.bytes()).sent();

        let hash = tick.flow.hash(&world.table.hash_key);
        let slot = slot::of_hash(hash);
        let [high, low] = slot.to_be_bytes();
        assert_eq!(
            bytes[..8],
            [0x20, 0, kind[0], kind[1], 0, 0, high, low],
            "key: load balancer 0, slot"
        );
        let forwarded = Shape { ttl: 63, ..tick };
        assert_eq!(
            bytes[8..],
            forwarded.bytes(),
            "one hop further, checksum valid, else untouched"
        );
        assert_eq!(meta.peer, world.table.regions[0].slots.owners(slot).primary);
        assert_eq!(
            meta.port,
            world.tunnel("tokyo-guangzhou"),
            "52 ms, not the detour's 80 ms"
        );
        assert_eq!((meta.entropy, meta.tos), ((hash >> 48) as u16, 0));
    }
}

#[test]
fn two_pops_send_a_flow_to_the_same_node() {
    let mut tokyo = World::tokyo();
    let mut frankfurt = World::at("pop.frankfurt", &SETUP);
    let mut used = std::collections::BTreeSet::new();
    for family in FAMILIES {
        for src_port in 1_000..1_200 {
            let mut tick = Shape::tick(family);
            tick.flow.src_port = src_port;
            let (here, wrapped_here) = tokyo.client_sends(&tick.bytes()).sent();
            let (there, wrapped_there) = frankfurt.client_sends(&tick.bytes()).sent();
            assert_eq!((here.peer, here.entropy), (there.peer, there.entropy));
            assert_eq!(wrapped_here, wrapped_there, "the key, slot included, too");
            used.insert(here.peer);
        }
    }
    assert_eq!(used.len(), 3, "400 flows find all three nodes");
}

#[test]
fn with_client_affinity_all_flows_of_a_client_share_a_slot() {
    let slots = |client_affinity: bool| {
        let mut world = World::at(
            "pop.tokyo",
            &Setup {
                client_affinity,
                ..SETUP
            },
        );
        let mut slots = std::collections::BTreeSet::new();
        for src_port in 1_000..1_050 {
            let mut tick = Shape::tick(Family::V4);
            tick.flow.src_port = src_port;
            slots.insert(world.client_sends(&tick.bytes()).sent().1[6..8].to_vec());
        }
        slots.len()
    };
    assert_eq!(slots(true), 1);
    assert!(slots(false) > 40);
}

#[test]
fn the_outer_header_gets_dscp_and_ecn_of_the_inner_one() {
    let mut world = World::tokyo();
    for family in FAMILIES {
        let tick = Shape {
            tos: 46 << 2 | 0b10,
            ..Shape::tick(family)
        };
        let (meta, bytes) = world.client_sends(&tick.bytes()).sent();
        assert_eq!(meta.tos, 46 << 2 | 0b10);
        assert_eq!(
            wire::parse(&bytes[8..]).expect("an IP packet").tos,
            tick.tos
        );
    }
}

#[test]
fn the_mss_of_a_syn_is_lowered_to_what_fits_through_every_path() {
    let cases = [
        (Encap::Gre, Family::V4, Family::V4, 1_432),
        (Encap::Gre, Family::V4, Family::V6, 1_412),
        (Encap::GreUdp, Family::V4, Family::V4, 1_424),
        (Encap::GreUdp, Family::V4, Family::V6, 1_404),
        (Encap::GreUdp, Family::V6, Family::V4, 1_404),
        (Encap::GreUdp, Family::V6, Family::V6, 1_384),
        (Encap::Quic, Family::V4, Family::V4, 1_386),
        (Encap::Quic, Family::V4, Family::V6, 1_366),
        (Encap::Quic, Family::V6, Family::V4, 1_366),
        (Encap::Quic, Family::V6, Family::V6, 1_346),
    ];
    for (encap, underlay, family, expected) in cases {
        let mut world = World::at(
            "pop.tokyo",
            &Setup {
                encap,
                underlay,
                ..SETUP
            },
        );
        let syn = Shape::segment(family, tcp::SYN);
        let (_, bytes) = world.client_sends(&syn.bytes()).sent();
        let [high, low] = u16::to_be_bytes(expected);
        let clamped = Shape {
            ttl: 63,
            options: vec![2, 4, high, low],
            ..syn
        };
        assert_eq!(
            bytes[8..],
            clamped.bytes(),
            "{encap:?} over {underlay:?}, inner {family:?}"
        );
    }
}

#[test]
fn an_mss_that_fits_and_segments_that_open_nothing_stay_as_they_are() {
    let mut world = World::tokyo();
    let small = Shape {
        options: vec![2, 4, 2, 0x18],
        ..Shape::segment(Family::V4, tcp::SYN)
    };
    let data = Shape {
        options: vec![2, 4, 0xff, 0xff],
        ..Shape::segment(Family::V4, tcp::ACK)
    };
    for shape in [small, data] {
        let (_, bytes) = world.client_sends(&shape.bytes()).sent();
        assert_eq!(bytes[8..], Shape { ttl: 63, ..shape }.bytes());
    }
}

#[test]
fn what_fits_the_tunnel_exactly_passes_and_one_byte_more_does_not() {
    let over = |encap, underlay| Setup {
        encap,
        underlay,
        ..SETUP
    };
    let cases = [
        (over(Encap::Gre, Family::V4), 1_472),
        (over(Encap::GreUdp, Family::V4), 1_464),
        (over(Encap::Gre, Family::V6), 1_452),
        (over(Encap::GreUdp, Family::V6), 1_444),
        (over(Encap::Quic, Family::V4), 1_426),
        (over(Encap::Quic, Family::V6), 1_406),
    ];
    for (setup, inner_mtu) in cases {
        let mut world = World::at("pop.tokyo", &setup);
        for family in FAMILIES {
            let fits = Shape::tick(family).of_len(inner_mtu);
            world.client_sends(&fits.bytes()).sent();
            let too_big = Shape::tick(family).of_len(inner_mtu + 1);
            let (reason, error) = world.refuses(&too_big.bytes());
            assert_eq!(reason, DropReason::TooBig);
            let error = error.expect("the client is told");
            let parsed = wire::parse(&error).expect("an IP packet");
            let mtu = wire::icmp::too_big_mtu(&error, &parsed);
            assert_eq!(mtu, Some(inner_mtu as u32));
        }
    }
}

#[test]
fn a_super_packet_passes_whole_as_long_as_its_segments_fit() {
    let mut world = World::tokyo();
    for family in FAMILIES {
        let whole = Shape::segment(family, tcp::ACK).of_len(40_000);
        let of = |segment_len| Meta {
            offload: Offload {
                segment_len,
                partial: true,
            },
            ..Meta::plain(PortId::PUBLIC)
        };
        let fits = of(1_472);
        let (meta, bytes) = world.arrives(&whole.bytes(), fits).sent();
        assert_eq!((meta.offload, bytes.len()), (fits.offload, 8 + 40_000));
        let too_big = world.arrives(&whole.bytes(), of(1_473));
        let Outcome::Sent(meta, error) = too_big else {
            panic!("the client is told");
        };
        let parsed = wire::parse(&error).expect("an IP packet");
        assert_eq!(wire::icmp::too_big_mtu(&error, &parsed), Some(1_472));
        assert_eq!(meta, Meta::plain(PortId::PUBLIC));
    }
}

#[test]
fn padding_of_the_link_does_not_enter_the_tunnel() {
    let mut world = World::tokyo();
    let tick = Shape::tick(Family::V4);
    let mut padded = tick.bytes();
    padded.extend([0; 14]);
    let (_, bytes) = world.client_sends(&padded).sent();
    assert_eq!(bytes.len(), 8 + tick.bytes().len());
}

#[test]
fn a_vip_is_served_only_where_it_is_announced() {
    let mut seoul = World::at("pop.seoul", &SETUP);
    let mut tokyo = World::tokyo();
    for family in FAMILIES {
        let tick = Shape::tick(family);
        assert_eq!(
            seoul.client_sends(&tick.bytes()),
            dropped(DropReason::NotVip)
        );
        assert_eq!(
            tokyo.client_sends(&tick.answered().bytes()),
            dropped(DropReason::NotVip)
        );
    }
}

#[test]
fn a_packet_at_its_last_hop_ends_here() {
    let mut world = World::tokyo();
    for family in FAMILIES {
        for (ttl, outcome) in [(0, false), (1, false), (2, true)] {
            let tick = Shape {
                ttl,
                ..Shape::tick(family)
            };
            if outcome {
                world.client_sends(&tick.bytes()).sent();
            } else {
                let (reason, _) = world.refuses(&tick.bytes());
                assert_eq!(reason, DropReason::TtlExpired, "ttl {ttl}");
            }
        }
    }
}

#[test]
fn only_tcp_and_udp_packets_are_carried_and_with_fragments_off_only_whole_ones() {
    let mut world = World::tokyo();
    let mut sctp = Shape::tick(Family::V6);
    sctp.flow.protocol = 132;
    assert_eq!(
        world.client_sends(&sctp.bytes()),
        dropped(DropReason::UnsupportedProtocol)
    );

    let mut fragment = Shape::tick(Family::V4).of_len(36).bytes();
    let mut table = RouteTable::clone(&world.table);
    table.mechanisms.fragments = false;
    world.apply(Arc::new(table));
    fragment[6] = 0x20;
    fragment[10..12].fill(0);
    let check = anyedge_net::checksum::internet(&fragment[..20]);
    fragment[10..12].copy_from_slice(&check.to_be_bytes());
    assert_eq!(world.client_sends(&fragment), dropped(DropReason::Fragment));

    let cut = &Shape::tick(Family::V4).bytes()[..27];
    assert_eq!(world.client_sends(cut), dropped(DropReason::Malformed));
    assert_eq!(world.client_sends(&[]), dropped(DropReason::Malformed));
}

#[test]
fn a_dead_path_is_gone_round_and_without_any_path_the_packet_ends() {
    let mut world = World::tokyo();
    let tick = Shape::tick(Family::V4).bytes();
    let direct = world
        .tunnel("tokyo-guangzhou")
        .path()
        .expect("the port of a path");
    let before = world.client_sends(&tick).sent();

    let news = world.path_state("tokyo-guangzhou", false);
    assert_eq!(
        news,
        [Event::PathState {
            path: direct,
            up: false
        }]
    );
    let detoured = world.client_sends(&tick).sent();
    assert_eq!(detoured.0.port, world.tunnel("tokyo-detour"));
    assert_eq!(
        (detoured.0.peer, &detoured.1),
        (before.0.peer, &before.1),
        "another path, the same node"
    );

    world.path_state("tokyo-detour", false);
    assert_eq!(world.client_sends(&tick), dropped(DropReason::NoPath));
    world.path_state("tokyo-guangzhou", true);
    assert_eq!(world.client_sends(&tick).sent(), before);
}

#[test]
fn a_path_state_that_is_known_or_of_another_pop_is_no_event() {
    let mut world = World::tokyo();
    assert_eq!(world.path_state("tokyo-guangzhou", true), []);
    assert_eq!(world.path_state("frankfurt-guangzhou", false), []);
}

#[test]
fn a_region_without_nodes_owns_no_slot() {
    let mut world = World::at(
        "pop.tokyo",
        &Setup {
            clb_nodes: 0,
            ..SETUP
        },
    );
    assert_eq!(
        world.client_sends(&Shape::tick(Family::V4).bytes()),
        dropped(DropReason::NoSlotOwner)
    );
}

#[test]
fn the_key_of_a_client_packet_has_no_hop() {
    let mut world = World::tokyo();
    let (_, bytes) = world.client_sends(&Shape::tick(Family::V6).bytes()).sent();
    let key = wire::gre::parse(&bytes)
        .expect("a GRE packet")
        .key
        .expect("with a key");
    assert_eq!(key, GreKey::new(0, false, key.slot()));
}

/// Cuts a packet as its sender would: an IPv4 or IPv6 datagram of the client.
fn pieces(packet: &[u8], room: usize, id: u8) -> Vec<Vec<u8>> {
    let parsed = wire::parse(packet).expect("a sound packet");
    let header = header_len(parsed.family);
    let l4 = parsed.l4(packet);
    let count = l4.len().div_ceil(room);
    let piece = |(number, part): (usize, &[u8])| {
        let more = number + 1 < count;
        let mut bytes = packet[..header].to_vec();
        let offset = number * room;
        if parsed.family == Family::V4 {
            bytes[2..4].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            bytes[4..6].copy_from_slice(&[0, id]);
            let position = (offset / 8) as u16 | u16::from(more) << 13;
            bytes[6..8].copy_from_slice(&position.to_be_bytes());
            bytes[10..12].fill(0);
            let check = anyedge_net::checksum::internet(&bytes[..20]);
            bytes[10..12].copy_from_slice(&check.to_be_bytes());
        } else {
            bytes[4..6].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
            bytes[6] = 44;
            bytes.extend([parsed.flow.protocol, 0]);
            bytes.extend((offset as u16 | u16::from(more)).to_be_bytes());
            bytes.extend([0, 0, 0, id]);
        }
        bytes.extend_from_slice(part);
        bytes
    };
    l4.chunks(room).enumerate().map(piece).collect()
}

#[test]
fn fragments_of_one_packet_go_to_one_node_and_packets_spread() {
    let mut world = World::tokyo();
    for family in FAMILIES {
        let mut peers = std::collections::BTreeSet::new();
        for id in 0..40 {
            let whole = Shape::tick(family).of_len(4_028).bytes();
            let mut keys = std::collections::BTreeSet::new();
            for piece in pieces(&whole, 1_360, id) {
                let (meta, wrapped) = world.client_sends(&piece).sent();
                keys.insert((meta.port, meta.peer, wrapped[..8].to_vec()));
                let parsed = wire::parse(&wrapped[8..]).expect("a sound fragment");
                let sent = wire::parse(&piece).expect("a sound fragment");
                assert_eq!(parsed.l4(&wrapped[8..]), sent.l4(&piece));
                assert_eq!((parsed.fragment, parsed.ttl), (sent.fragment, 63));
            }
            assert_eq!(keys.len(), 1, "one slot for all of a packet");
            peers.extend(keys.into_iter().map(|(_, peer, _)| peer));
        }
        assert_eq!(peers.len(), 3, "all nodes of the region");
    }
}

#[test]
fn a_fragment_longer_than_the_tunnel_is_cut_again() {
    let mut world = World::tokyo();
    let whole = Shape::tick(Family::V4).of_len(4_028).bytes();
    let sent = pieces(&whole, 1_480, 7);
    let mut l4 = Vec::new();
    for piece in &sent {
        let packet = world
            .out
            .pool_mut()
            .lend_copy(piece, Meta::plain(PortId::PUBLIC))
            .expect("a slot is free");
        let World {
            ledger, pop, out, ..
        } = &mut world;
        ledger.packets(pop, Instant::ZERO, &mut vec![packet], out);
        for packet in core::mem::take(world.out.sent_mut()) {
            assert!(packet.len() <= 1_472 + 8, "fits the tunnel");
            let parsed = wire::parse(&packet.bytes()[8..]).expect("a sound piece");
            let fragment = parsed.fragment.expect("a piece");
            assert_eq!(usize::from(fragment.offset), l4.len());
            l4.extend_from_slice(parsed.l4(&packet.bytes()[8..]));
            world.out.pool_mut().take_back(packet);
        }
    }
    assert_eq!(l4, whole[20..]);
}
