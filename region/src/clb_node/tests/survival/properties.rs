//! Whatever is sent to whichever node, in whichever revision: no packet hops twice, and the sums hold.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Client {
        place: usize,
        number: u32,
        flags: u8,
        hop: bool,
    },
    Target {
        place: usize,
        number: u32,
        target: u8,
        flags: u8,
        hop: bool,
    },
    Tick {
        place: usize,
        number: u32,
    },
    Pass {
        millis: u64,
    },
    Apply {
        place: usize,
        members: u8,
    },
    Mesh {
        up: bool,
    },
    Crash {
        place: usize,
    },
}

fn any_act() -> impl Strategy<Value = Act> {
    let flags = || {
        prop_oneof![
            3 => Just(tcp::SYN),
            4 => Just(tcp::ACK),
            2 => Just(tcp::SYN | tcp::ACK),
            2 => Just(tcp::FIN | tcp::ACK),
            1 => Just(tcp::RST),
        ]
    };
    let hop = || prop_oneof![9 => Just(false), 1 => Just(true)];
    let millis = prop_oneof![0_u64..5, 0_u64..2_000, 0_u64..400_000];
    prop_oneof![
        8 => (0..3_usize, 0_u32..6, flags(), hop())
            .prop_map(|(place, number, flags, hop)| Act::Client { place, number, flags, hop }),
        6 => (0..3_usize, 0_u32..6, 1_u8..3, flags(), hop())
            .prop_map(|(place, number, target, flags, hop)| Act::Target { place, number, target, flags, hop }),
        3 => (0..3_usize, 0_u32..4).prop_map(|(place, number)| Act::Tick { place, number }),
        3 => millis.prop_map(|millis| Act::Pass { millis }),
        2 => (0..3_usize, 1_u8..8).prop_map(|(place, members)| Act::Apply { place, members }),
        1 => any::<bool>().prop_map(|up| Act::Mesh { up }),
        1 => (0..3_usize).prop_map(|place| Act::Crash { place }),
    ]
}

fn play(region: &mut Region, revision: &mut u64, act: &Act) -> Journey {
    match *act {
        Act::Client {
            place,
            number,
            flags,
            hop,
        } => {
            let flow = web_flow(number);
            let key = key_of(&flow).with_hop(hop);
            region.arrives(place, (FROM_TOKYO, TOKYO), key, &segment(flow, flags))
        }
        Act::Target {
            place,
            number,
            target,
            flags,
            hop,
        } => {
            let flow = web_flow(number);
            let key = key_of(&flow).with_hop(hop);
            let from = [(TO_WEB_1, WEB_1), (TO_WEB_2, WEB_2)][usize::from(target) - 1];
            let answer = answer_flow(&flow, backend(target, Family::V4), 8_080);
            region.arrives(place, from, key, &segment(answer, flags))
        }
        Act::Tick { place, number } => {
            let flow = client_flow(Family::V6, udp::PROTOCOL, TICK_PORT, number);
            region.client(place, &flow, &datagram(flow, b"tick"))
        }
        Act::Pass { millis } => region.pass(Duration::from_millis(millis)),
        Act::Apply { place, members } => {
            *revision += 1;
            let members: Vec<usize> = (0..3).filter(|place| members & 1 << place != 0).collect();
            let mut journey = Journey::default();
            region.apply_at(place, &routes_of_three(*revision, &members), &mut journey);
            journey
        }
        Act::Mesh { up } => {
            region.mesh = up;
            Journey::default()
        }
        Act::Crash { place } => {
            region.crash(place);
            region.restart(place, &routes_of_three(*revision, &[0, 1, 2]));
            Journey::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The ledger of each node asserts the conservation of packets beside it.
    #[test]
    fn a_packet_makes_at_most_one_hop_and_every_flow_ends_once(acts in proptest::collection::vec(any_act(), 1..80)) {
        let mut revision = 1;
        let mut region = Region::new(&routes_of_three(1, &[0, 1, 2]));
        for act in &acts {
            let journey = play(&mut region, &mut revision, act);
            let hop_sent = matches!(act, Act::Client { hop: true, .. } | Act::Target { hop: true, .. });
            prop_assert!(journey.hops <= usize::from(!hop_sent), "{act:?}");
            region.check_sums();
        }
        region.mesh = true;
        region.pass(secs(4_000));
        region.check_sums();
        prop_assert_eq!((region.own(), region.replicas()), ([0; 3], [0; 3]));
    }
}
