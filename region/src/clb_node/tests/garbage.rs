//! Random packets, sound and not, on every port, with random steps of time: nothing panics, no packet is
//! forgotten, every flow that is opened is closed once, and in the end nothing is held.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Packets(Vec<(Meta, Vec<u8>)>),
    Pass(u64),
    Path(u16, bool),
    Apply { renamed: bool },
}

fn any_flags() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => Just(tcp::SYN),
        3 => Just(tcp::ACK),
        2 => Just(tcp::SYN | tcp::ACK),
        2 => Just(tcp::FIN | tcp::ACK),
        1 => Just(tcp::RST),
        1 => any::<u8>(),
    ]
}

/// A packet of one of few flows, in either direction.
fn any_sound_packet() -> impl Strategy<Value = Vec<u8>> {
    let family = prop_oneof![Just(Family::V4), Just(Family::V6)];
    let port = prop_oneof![Just(80_u16), Just(81), Just(7_000), Just(9)];
    let which = (
        family,
        port,
        0_u32..6,
        any::<bool>(),
        1_u8..3,
        any::<bool>(),
    );
    (which, any_flags(), 0_u32..3, 0_u8..5).prop_map(|(which, flags, sequence, ttl)| {
        let (family, port, number, is_answer, target, alt) = which;
        let protocol = if port == 7_000 {
            udp::PROTOCOL
        } else {
            tcp::PROTOCOL
        };
        let mut flow = client_flow(family, protocol, port, number);
        if alt && family == Family::V4 {
            flow.dst = alt_vip();
        }
        if is_answer {
            flow = answer_flow(&flow, backend(target, family), 8_080);
        }
        let packet = match protocol {
            tcp::PROTOCOL => Segment {
                sequence,
                mss: Some(1_460),
                ..Segment::new(flow, flags)
            }
            .packet(),
            _ => datagram(flow, b"tick"),
        };
        with_ttl(&packet, ttl)
    })
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let damaged = (
        any_sound_packet(),
        any::<prop::sample::Index>(),
        any::<u8>(),
    )
        .prop_map(|(mut packet, at, byte)| {
            let at = at.index(packet.len());
            packet[at] = byte;
            packet
        });
    let cut = (any_sound_packet(), any::<prop::sample::Index>()).prop_map(|(mut packet, at)| {
        packet.truncate(at.index(packet.len()));
        packet
    });
    let noise = proptest::collection::vec(any::<u8>(), 0..100);
    prop_oneof![8 => any_sound_packet(), 1 => damaged, 1 => cut, 1 => noise]
}

fn any_arrival() -> impl Strategy<Value = (Meta, Vec<u8>)> {
    let port = prop_oneof![8 => 16_u16..21, 3 => Just(1), 1 => 0_u16..25];
    let peer = prop_oneof![3 => Just(0), 3 => 3_u16..5, 1 => 0_u16..9, 1 => Just(u16::MAX)];
    let key = (0_u16..4, any::<bool>(), any::<u16>());
    (port, peer, key, any_bytes(), any::<u8>(), 0_u8..8).prop_map(
        |(port, peer, (clb, hop, slot), bytes, tos, odd)| {
            let port = PortId(port);
            let key = GreKey::new(if odd < 6 { 0 } else { clb }, hop, slot);
            let meta = Meta {
                peer: NodeId(peer),
                tos: if odd == 0 { tos } else { 0 },
                ..Meta::plain(port)
            };
            let bytes = if port.path().is_some() && odd != 1 {
                tunnelled(&bytes, key)
            } else {
                bytes
            };
            (meta, bytes)
        },
    )
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => proptest::collection::vec(any_arrival(), 1..32).prop_map(Act::Packets),
        3 => prop_oneof![0_u64..2_000, 0_u64..400_000].prop_map(Act::Pass),
        1 => (0_u16..5, any::<bool>()).prop_map(|(path, up)| Act::Path(path, up)),
        1 => any::<bool>().prop_map(|renamed| Act::Apply { renamed }),
    ]
}

/// Takes the events of flows into account; each flow opens and closes in turn.
fn follow(open: &mut BTreeSet<FlowKey>, outcome: &Outcome) {
    for event in &outcome.events {
        match event {
            Event::FlowOpened { flow, .. } => assert!(open.insert(*flow), "{flow} was open"),
            Event::FlowClosed { flow, .. } => assert!(open.remove(flow), "{flow} was not open"),
            Event::FlowEstablished { flow } | Event::FlowMoved { flow, .. } => {
                assert!(open.contains(flow))
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_left_behind(acts in proptest::collection::vec(any_act(), 1..60)) {
        let mut stage = Stage::new(ClbNode::new(CLB_NODE_NAME, Limits::of(12), Seed(7)), routes());
        let mut open = BTreeSet::new();
        for act in acts {
            let outcome = match act {
                Act::Packets(packets) => stage.batch(&packets),
                Act::Pass(millis) => stage.pass(Duration::from_millis(millis)),
                Act::Path(path, up) => {
                    stage.event(LocalEvent::PathState { path: anyedge_net::id::PathId(path), up })
                }
                Act::Apply { renamed } => {
                    let mut table = routes();
                    if renamed {
                        table.nodes[0].name = "pop.lagos".to_owned();
                        table.hash_key = anyedge_net::flow::HashKey::new([1; 16]);
                    }
                    stage.apply(table)
                }
            };
            for (meta, bytes) in &outcome.sent {
                let inner = if meta.port == PortId::PUBLIC { bytes } else { untunnelled(bytes).1 };
                prop_assert!(wire::parse(inner).is_ok_and(|parsed| parsed.ttl > 0));
            }
            follow(&mut open, &outcome);
            prop_assert_eq!(stage.forwarder.flows(), open.len());
        }
        follow(&mut open, &stage.pass(secs(3_000)));
        prop_assert!(open.is_empty());
        prop_assert_eq!(stage.forwarder.flows(), 0);
        prop_assert_eq!(stage.forwarder.poll_timeout(), None);
    }
}
