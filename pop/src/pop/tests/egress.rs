//! From the backbone out to the client.
//!
//! CLB nodes send the tunnelled packets of this file; each expected packet is built from its description and
//! compared byte by byte, so that checksums are checked too.

use anyedge_net::wire::ip::header_len;
use anyedge_net::wire::{self, tcp};

use super::world::{Outcome, SETUP, Shape, World};
use super::*;

fn dropped(reason: DropReason) -> Outcome {
    Outcome::Dropped(reason)
}

#[test]
fn an_answer_leaves_for_the_client_without_its_tunnel() {
    let mut world = World::tokyo();
    for family in FAMILIES {
        let answer = Shape::tick(family).answered();
        let (meta, bytes) = world.clb_node_sends(0, &answer.tunnelled()).sent();
        assert_eq!(bytes, Shape { ttl: 63, ..answer }.bytes());
        assert_eq!(meta, Meta::plain(PortId::PUBLIC));
    }
}

#[test]
fn a_pop_emits_answers_of_a_vip_that_it_does_not_announce() {
    let mut world = World::at("pop.seoul", &SETUP);
    let answer = Shape::tick(Family::V6).answered();
    world.clb_node_sends(0, &answer.tunnelled()).sent();
}

#[test]
fn a_congestion_mark_of_the_tunnel_reaches_the_client() {
    let mut world = World::tokyo();
    for family in FAMILIES {
        let answer = Shape {
            tos: 46 << 2 | 0b10,
            ..Shape::tick(family).answered()
        };
        let (_, bytes) = world.clb_node_sends(0b11, &answer.tunnelled()).sent();
        assert_eq!(
            bytes,
            Shape {
                ttl: 63,
                tos: 46 << 2 | 0b11,
                ..answer.clone()
            }
            .bytes(),
            "CE merged, DSCP kept"
        );
        let deaf = Shape { tos: 0, ..answer };
        assert_eq!(
            world.clb_node_sends(0b11, &deaf.tunnelled()),
            dropped(DropReason::EcnConflict)
        );
    }
}

#[test]
fn the_mss_of_a_syn_ack_is_lowered_too() {
    let mut world = World::tokyo();
    for (family, expected) in [(Family::V4, 1_432_u16), (Family::V6, 1_412)] {
        let syn_ack = Shape::segment(family, tcp::SYN | tcp::ACK).answered();
        let (_, bytes) = world.clb_node_sends(0, &syn_ack.tunnelled()).sent();
        let [high, low] = expected.to_be_bytes();
        assert_eq!(
            bytes,
            Shape {
                ttl: 63,
                options: vec![2, 4, high, low],
                ..syn_ack
            }
            .bytes()
        );
    }
}

#[test]
fn only_clb_nodes_may_send_here() {
    let mut world = World::tokyo();
    let answer = Shape::tick(Family::V4).answered().tunnelled();
    let strangers = [
        NodeId::UNKNOWN,
        NodeId(999),
        world.node("host.web-1"),
        world.node("pop.frankfurt"),
    ];
    for peer in strangers {
        assert_eq!(
            world.node_sends(peer, 0, &answer),
            dropped(DropReason::UnknownPeer)
        );
    }
}

#[test]
fn only_packets_from_a_vip_leave() {
    let mut world = World::tokyo();
    for family in FAMILIES {
        let spoofed = Shape::tick(family).tunnelled();
        assert_eq!(
            world.clb_node_sends(0, &spoofed),
            dropped(DropReason::NotFromVip)
        );
    }
}

#[test]
fn what_cannot_be_read_or_carried_ends_here() {
    let mut world = World::tokyo();
    let answer = Shape::tick(Family::V4).answered();
    assert_eq!(
        world.clb_node_sends(0, &answer.bytes()),
        dropped(DropReason::BadGre),
        "no GRE header"
    );
    let tunnelled = answer.tunnelled();
    let cut = &tunnelled[..tunnelled.len() - 1];
    assert_eq!(world.clb_node_sends(0, cut), dropped(DropReason::Malformed));
    let mut other = answer;
    other.flow.protocol = 132;
    assert_eq!(
        world.clb_node_sends(0, &other.tunnelled()),
        dropped(DropReason::UnsupportedProtocol)
    );
}

#[test]
fn an_answer_finds_the_way_back_that_the_question_came() {
    let mut world = World::tokyo();
    let tick = Shape::tick(Family::V6);
    let (meta, wrapped) = world.client_sends(&tick.bytes()).sent();
    let question = wire::parse(&wrapped[8..]).expect("an IP packet").flow;
    let answer = Shape {
        flow: question.reversed(),
        ..tick.clone()
    };
    let (_, bytes) = world.node_sends(meta.peer, 0, &answer.tunnelled()).sent();
    assert_eq!(
        wire::parse(&bytes).expect("an IP packet").flow,
        tick.flow.reversed()
    );
}

#[test]
fn fragments_of_an_answer_leave_for_the_client() {
    let mut world = World::tokyo();
    for family in FAMILIES {
        let mut tunnelled = Shape::tick(family).answered().of_len(1_000).tunnelled();
        let later = 8 + header_len(family);
        match family {
            Family::V4 => {
                tunnelled[8 + 6..8 + 8].copy_from_slice(&[0, 100]);
                tunnelled[8 + 10..8 + 12].fill(0);
                let check = anyedge_net::checksum::internet(&tunnelled[8..28]);
                tunnelled[8 + 10..8 + 12].copy_from_slice(&check.to_be_bytes());
            }
            Family::V6 => {
                tunnelled[8 + 6] = 44;
                tunnelled[later..later + 8].copy_from_slice(&[17, 0, 3, 32, 0, 0, 0, 9]);
            }
        }
        let (meta, bytes) = world.clb_node_sends(0, &tunnelled).sent();
        assert_eq!(meta, Meta::plain(PortId::PUBLIC));
        let parsed = wire::parse(&bytes).expect("a sound fragment");
        assert!(parsed.is_later_fragment() && parsed.ttl == 63);
    }
}
