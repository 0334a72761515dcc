//! Slots that change hands: nodes added, drained, lost for good; routes of different ages; UDP.

use super::*;
use crate::flow_life::UDP_TIMEOUT;

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

/// Flows of [A, B] that belong to C once it is there, and those that do not.
fn flows_that_move(before: &RouteTable, after: &RouteTable) -> (Vec<FlowKey>, Vec<FlowKey>) {
    let slots = Arc::clone(&after.regions[0].slots);
    flows_owned_by(before, [A, B])
        .take(40)
        .partition(|flow| slots.owners(key_of(flow).slot()).primary == CLB_NODES[C])
}

#[test]
fn a_node_that_is_added_gets_the_flows_of_its_slots_before_it_needs_them() {
    let before = routes_of_three(1, &[A, B]);
    let after = routes_of_three(2, &[A, B, C]);
    let mut region = Region::new(&before);
    let (moving, staying) = flows_that_move(&before, &after);
    assert!(moving.len() > 5 && staying.len() > 5);
    let targets: Vec<Address> = moving
        .iter()
        .map(|flow| region.establish(A, *flow))
        .collect();
    for flow in &staying[..5] {
        region.establish(A, *flow);
    }
    region.apply(&after);
    let journey = region.pass(Duration::from_millis(1));
    let resynced = journey.events.iter().find_map(|event| match event {
        (A, Event::SlotsResynced { flows, took }) => Some((*flows, *took)),
        _ => None,
    });
    let (flows, took) = resynced.expect("A had flows of slots that are C's");
    assert!(flows >= moving.len() as u64 && took <= Duration::from_millis(1));
    assert!(region.replicas()[C] >= moving.len());
    for (flow, target) in moving.iter().zip(&targets) {
        let journey = region.client_says(C, *flow, tcp::ACK);
        assert_eq!((journey.hops, journey.target()), (0, *target));
        assert_eq!(journey.taken_over(), [C]);
        assert_eq!(
            journey.places(|event| matches!(event, Event::FlowClosed { .. })),
            [A]
        );
        let back = region.target_says(C, *flow, *target, tcp::ACK);
        assert_eq!(sound(back.only_left().1).flow, flow.reversed());
    }
    region.check_sums();
}

#[test]
fn without_bulk_sync_a_second_chance_finds_the_flows_of_slots_that_moved() {
    let off = |on: &mut Mechanisms| on.bulk_sync = false;
    let before = without(routes_of_three(1, &[A, B]), off);
    let after = without(routes_of_three(2, &[A, B, C]), off);
    let mut region = Region::new(&before);
    let flow = flows_that_move(&before, &after).0[0];
    let target = region.establish(A, flow);
    region.apply(&after);
    let journey = region.pass(secs(20));
    assert_eq!((journey.messages, region.replicas()[C]), (0, 0));
    let journey = region.client_says(C, flow, tcp::ACK);
    assert_eq!((journey.hops, journey.target()), (1, target));
}

#[test]
fn a_drained_nodes_flows_go_on_at_the_nodes_that_stay() {
    let before = routes_of_three(1, &[A, B, C]);
    let after = routes_of_three(2, &[B, C]);
    let mut region = Region::new(&before);
    let flows: Vec<FlowKey> = flows_owned_by(&before, [A, B])
        .take(6)
        .chain(flows_owned_by(&before, [A, C]).take(6))
        .collect();
    let targets: Vec<Address> = flows
        .iter()
        .map(|flow| region.establish(A, *flow))
        .collect();
    region.apply(&after);
    for (flow, target) in flows.iter().zip(&targets) {
        let primary = after.regions[0].slots.owners(key_of(flow).slot()).primary;
        let place = usize::from(primary == CLB_NODES[C]) + 1;
        let journey = region.client_says(place, *flow, tcp::ACK);
        assert_eq!((journey.hops, journey.target()), (0, *target));
    }
    region.pass(Duration::from_millis(10));
    // Both that stay have them now: one more may go.
    region.crash(B);
    for (flow, target) in flows.iter().zip(&targets) {
        let journey = region.client_says(C, *flow, tcp::ACK);
        assert_eq!((journey.hops, journey.target()), (0, *target));
    }
    region.check_sums();
}

#[test]
fn when_a_node_is_lost_for_good_its_flows_get_a_second_owner_again() {
    let before = routes_of_three(1, &[A, B, C]);
    let after = routes_of_three(2, &[B, C]);
    let mut region = Region::new(&before);
    let flow = flow_owned_by(&before, [A, B], 0);
    let target = region.establish(A, flow);
    region.crash(A);
    assert_eq!(region.client_says(B, flow, tcp::ACK).target(), target);
    assert_eq!(region.replicas()[C], 0);
    region.apply(&after);
    let journey = region.pass(Duration::from_millis(1));
    let resynced = |event: &Event| matches!(event, Event::SlotsResynced { flows: 1, .. });
    assert_eq!(journey.places(resynced), [B]);
    assert_eq!(region.replicas()[C], 1);
    region.crash(B);
    let journey = region.client_says(C, flow, tcp::ACK);
    assert_eq!((journey.target(), journey.taken_over()), (target, vec![C]));
}

#[test]
fn nodes_and_senders_two_revisions_apart_break_no_flow() {
    let tables = [
        routes_of_three(1, &[A, B]),
        routes_of_three(2, &[A, B, C]),
        routes_of_three(3, &[B, C]),
    ];
    // Whichever revision each node has, and whichever node a sender takes for the owner.
    for ages in 0..27 {
        let ages = [ages % 3, ages / 3 % 3, ages / 9];
        let mut region = Region::new(&tables[0]);
        let flow = flows_that_move(&tables[0], &tables[1]).0[0];
        let target = region.establish(A, flow);
        for (place, age) in ages.into_iter().enumerate() {
            for table in &tables[1..=age] {
                region.apply_at(place, table, &mut Journey::default());
            }
        }
        for step in 0..6 {
            for place in [A, B, C] {
                let there = region.client_says(place, flow, tcp::ACK);
                assert_eq!(there.target(), target, "{ages:?} at {place}");
                let back = region.target_says(place, flow, target, tcp::ACK);
                let (_, bytes) = back.only_left();
                assert_eq!(sound(bytes).flow, flow.reversed(), "{ages:?} at {place}");
            }
            region.pass(Duration::from_millis(if step == 3 { 2_000 } else { 1 }));
        }
        region.check_sums();
    }
}

/// Routes whose UDP listener goes round its targets, so that a flow opened twice goes astray.
fn round_robin(mut table: RouteTable) -> RouteTable {
    for listener in &mut table.clbs[0].listeners {
        Arc::make_mut(listener).scheduler = Scheduler::WeightedRoundRobin;
    }
    table
}

#[test]
fn udp_on_a_slot_that_moved_asks_before_it_opens() {
    let before = round_robin(routes_of_three(1, &[A, B]));
    let after = round_robin(routes_of_three(2, &[A, B, C]));
    let slots = Arc::clone(&after.regions[0].slots);
    let moves = |flow: &FlowKey| slots.owners(key_of(flow).slot());
    let flows = (0..).map(|number| client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, number));
    let wanted = Owners {
        primary: CLB_NODES[C],
        secondary: CLB_NODES[A],
    };
    let moving: Vec<FlowKey> = flows.filter(|flow| moves(flow) == wanted).take(9).collect();
    let mut region = Region::new(&before);
    let old: Vec<(FlowKey, Address)> = moving[..6]
        .iter()
        .map(|flow| {
            (
                *flow,
                region.client(A, flow, &datagram(*flow, b"1")).target(),
            )
        })
        .collect();
    // C is told of the slots before A sends it what it has.
    region.apply_at(C, &after, &mut Journey::default());
    for (flow, target) in &old {
        let journey = region.client(C, flow, &datagram(*flow, b"2"));
        assert_eq!((journey.hops, journey.target()), (1, *target));
        let journey = region.client(C, flow, &datagram(*flow, b"3"));
        assert_eq!((journey.hops, journey.target()), (0, *target));
    }
    // What nobody knows is opened by the node that was asked, once.
    let flow = moving[6];
    let first = region.client(C, &flow, &datagram(flow, b"1"));
    let opened = |event: &Event| matches!(event, Event::FlowOpened { .. });
    assert_eq!((first.hops, first.places(opened)), (1, vec![A]));
    let second = region.client(C, &flow, &datagram(flow, b"2"));
    assert_eq!((second.hops, second.target()), (0, first.target()));
    let back = datagram(answer_flow(&flow, first.target(), 8_080), b"answer");
    let answer = region.target(C, &flow, first.target(), &back);
    assert_eq!(answer.only_left().0.peer, TOKYO);
    // With nobody to ask it is opened where it came.
    region.crash(A);
    region.nodes[C].event(LocalEvent::PathState {
        path: MESH,
        up: false,
    });
    let flow = moving[7];
    let journey = region.client(C, &flow, &datagram(flow, b"1"));
    assert_eq!((journey.hops, journey.places(opened)), (0, vec![C]));
    region.nodes[C].event(LocalEvent::PathState {
        path: MESH,
        up: true,
    });
    // When all that is older has run out, nobody needs to be asked.
    region.pass(UDP_TIMEOUT);
    let flow = moving[8];
    let journey = region.client(C, &flow, &datagram(flow, b"1"));
    assert_eq!((journey.hops, journey.places(opened)), (0, vec![C]));
    region.check_sums();
}

#[test]
fn flows_and_replicas_survive_new_numbers_and_a_new_hash_key() {
    let before = routes_of_three(1, &[A, B, C]);
    let mut region = Region::new(&before);
    let flow = flow_owned_by(&before, [A, B], 0);
    let target = region.establish(A, flow);
    let mut after = routes_of_three(2, &[A, B, C]);
    after.hash_key = anyedge_net::flow::HashKey::new([9; 16]);
    after.clbs.swap(0, 1);
    for vip in after.vips.values_mut() {
        let vip = Arc::make_mut(vip);
        vip.clb = match vip.clb {
            MAIN => ALT,
            ALT => MAIN,
            other => other,
        };
    }
    region.apply(&after);
    region.crash(A);
    let key = GreKey::new(ALT.0, false, key_of(&flow).slot());
    let packet = segment(flow, tcp::ACK);
    let journey = region.arrives(B, (FROM_TOKYO, TOKYO), key, &packet);
    assert_eq!(journey.target(), target);
}
