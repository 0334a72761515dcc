//! A flow and the loss of its node, the return of it, and the second chance.

use super::*;

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const ALL: [usize; 3] = [A, B, C];

#[test]
fn a_flow_goes_on_through_its_secondary_when_its_primary_dies() {
    for family in [Family::V4, Family::V6] {
        let table = routes_of_three(1, &ALL);
        let mut region = Region::new(&table);
        let web = |number| client_flow(family, tcp::PROTOCOL, WEB, number);
        let flow = owned_by(&table, [A, B], web).next();
        let flow = flow.expect("a node owns a third of the slots");
        let target = region.establish(A, flow);
        assert_eq!((region.own(), region.replicas()), ([1, 0, 0], [0, 1, 0]));
        region.crash(A);
        let journey = region.client_says(B, flow, tcp::ACK | tcp::PSH);
        assert_eq!(journey.target(), target);
        assert_eq!(journey.taken_over(), [B]);
        let answer = region.target_says(B, flow, target, tcp::ACK);
        let (meta, bytes) = answer.only_left();
        assert_eq!((meta.peer, sound(bytes).flow), (TOKYO, flow.reversed()));
        assert_eq!(answer.events, [], "taken over once");
        region.check_sums();
    }
}

#[test]
fn an_answer_alone_finds_its_way_through_the_secondary() {
    let table = routes_of_three(1, &ALL);
    let mut region = Region::new(&table);
    let flow = flow_owned_by(&table, [A, B], 0);
    let target = region.establish(A, flow);
    region.crash(A);
    let journey = region.target_says(B, flow, target, tcp::ACK);
    let (meta, bytes) = journey.only_left();
    assert_eq!((meta.peer, sound(bytes).flow), (TOKYO, flow.reversed()));
    assert_eq!(journey.taken_over(), [B]);
}

#[test]
fn without_replication_a_flow_dies_with_its_node() {
    let table = without(routes_of_three(1, &ALL), |on| on.replication = false);
    let mut region = Region::new(&table);
    let flow = flow_owned_by(&table, [A, B], 0);
    let target = region.establish(A, flow);
    assert_eq!(region.replicas(), [0; 3]);
    region.pass(secs(60));
    assert_eq!(region.replicas(), [0; 3], "nor is it told later");
    region.crash(A);
    // Its peers know that it is down, or B would ask it.
    let table = without(routes_of_three(2, &[B, C]), |on| on.replication = false);
    region.apply(&table);
    assert!(region.client_says(B, flow, tcp::ACK).is_reset());
    assert!(region.target_says(B, flow, target, tcp::ACK).is_reset());
}

#[test]
fn the_secondary_knows_a_flow_from_its_first_packet() {
    let table = routes_of_three(1, &ALL);
    let mut region = Region::new(&table);
    let flow = flow_owned_by(&table, [A, B], 0);
    let journey = region.client_says(A, flow, tcp::SYN);
    let target = journey.target();
    assert_eq!((journey.messages, region.replicas()), (1, [0, 1, 0]));
    region.crash(A);
    let answer = region.target_says(B, flow, target, tcp::SYN | tcp::ACK);
    assert_eq!(sound(answer.only_left().1).flow, flow.reversed());
    let last = region.client_says(B, flow, tcp::ACK);
    assert_eq!(last.target(), target);
    assert_eq!(last.events, [(B, Event::FlowEstablished { flow })]);
}

#[test]
fn an_ordinary_flow_costs_an_entry_and_two_states() {
    let table = routes_of_three(1, &ALL);
    let mut region = Region::new(&table);
    let flow = flow_owned_by(&table, [A, B], 0);
    let target = region.establish(A, flow);
    for _ in 0..50 {
        region.client_says(A, flow, tcp::ACK);
        region.target_says(A, flow, target, tcp::ACK | tcp::PSH);
    }
    region.client_says(A, flow, tcp::FIN | tcp::ACK);
    region.target_says(A, flow, target, tcp::FIN | tcp::ACK);
    region.client_says(A, flow, tcp::ACK);
    region.pass(secs(30));
    let counts = *region.nodes[A].forwarder.sync_counts();
    assert_eq!((counts.entries, counts.states, counts.bytes), (1, 2, 39));
    assert_eq!((counts.messages, counts.unsent), (3, 0));
    assert_eq!((region.own(), region.replicas()), ([0; 3], [0; 3]));
    assert_eq!(region.nodes[B].forwarder.sync_counts().taken, 3);
    region.check_sums();
}

#[test]
fn a_batch_of_new_flows_is_told_in_one_message_for_each_node() {
    let table = routes_of_three(1, &ALL);
    let mut region = Region::new(&table);
    let meta = Meta {
        peer: TOKYO,
        ..Meta::plain(PortId::tunnel(FROM_TOKYO))
    };
    let flows = flows_owned_by(&table, [A, B])
        .take(9)
        .chain(flows_owned_by(&table, [A, C]).take(9));
    let batch: Vec<_> = flows
        .map(|flow| (meta, tunnelled(&segment(flow, tcp::SYN), key_of(&flow))))
        .collect();
    let outcome = region.nodes[A].batch(&batch);
    let mut journey = Journey::default();
    region.follow(A, outcome, &mut journey);
    assert_eq!((journey.messages, journey.left.len()), (2, 18));
    assert_eq!(region.replicas(), [0, 9, 9]);
}

#[test]
fn a_node_that_returns_empty_gets_its_flows_back_by_a_second_chance() {
    let table = routes_of_three(1, &ALL);
    let mut region = Region::new(&table);
    let [first, second] = [0, 1].map(|nth| flow_owned_by(&table, [A, B], nth));
    let targets = [first, second].map(|flow| region.establish(A, flow));
    region.crash(A);
    assert_eq!(region.client_says(B, first, tcp::ACK).taken_over(), [B]);
    region.restart(A, &table);

    let journey = region.client_says(A, first, tcp::ACK);
    assert_eq!((journey.hops, journey.target()), (1, targets[0]));
    let journey = region.client_says(A, first, tcp::ACK);
    assert_eq!((journey.hops, journey.target()), (0, targets[0]));
    assert_eq!(journey.taken_over(), [A]);
    let handed_over = ended(first, FlowEnd::HandedOver);
    assert!(journey.events.contains(&(B, handed_over)));

    let answer = region.target_says(A, second, targets[1], tcp::ACK);
    let (meta, bytes) = answer.only_left();
    assert_eq!((answer.hops, meta.peer), (1, TOKYO));
    assert_eq!(sound(bytes).flow, second.reversed());
    let answer = region.target_says(A, second, targets[1], tcp::ACK);
    assert_eq!((answer.hops, answer.taken_over()), (0, vec![A]));
    assert_eq!(region.own(), [2, 0, 0]);
    assert_eq!(region.replicas(), [0, 2, 0]);
    region.check_sums();
}

#[test]
fn without_a_second_chance_the_return_of_a_node_resets_its_flows() {
    let table = without(routes_of_three(1, &ALL), |on| on.second_chance = false);
    let mut region = Region::new(&table);
    let flow = flow_owned_by(&table, [A, B], 0);
    let target = region.establish(A, flow);
    region.crash(A);
    region.restart(A, &table);
    assert!(region.client_says(A, flow, tcp::ACK).is_reset());
    assert!(region.target_says(A, flow, target, tcp::ACK).is_reset());
}

#[test]
fn a_miss_at_both_owners_is_reset_after_one_hop() {
    let table = routes_of_three(1, &ALL);
    let mut region = Region::new(&table);
    let flow = flow_owned_by(&table, [A, B], 0);
    for place in ALL {
        let journey = region.client_says(place, flow, tcp::ACK);
        assert_eq!((journey.hops, journey.is_reset()), (1, true), "{place}");
        let journey = region.target_says(place, flow, backend(1, Family::V4), tcp::ACK);
        assert_eq!((journey.hops, journey.is_reset()), (1, true), "{place}");
    }
    let quiet = without(table, |on| on.reset_on_miss = false);
    region.apply(&quiet);
    let journey = region.client_says(A, flow, tcp::ACK);
    assert_eq!((journey.left.len(), journey.drops.len()), (0, 1));
}

#[test]
fn a_node_that_owns_nothing_of_a_slot_asks_its_primary() {
    let table = routes_of_three(1, &ALL);
    let mut region = Region::new(&table);
    let flow = flow_owned_by(&table, [A, B], 0);
    let target = region.establish(A, flow);
    let journey = region.client_says(C, flow, tcp::ACK);
    assert_eq!((journey.hops, journey.target()), (1, target));
    assert_eq!(region.replicas(), [0, 1, 1], "so that the next packet hits");
    let journey = region.client_says(C, flow, tcp::ACK);
    assert_eq!((journey.hops, journey.target()), (0, target));
    assert_eq!(journey.taken_over(), [C]);
    region.check_sums();
}

#[test]
fn nodes_whose_senders_disagree_do_not_fight_over_a_flow() {
    let table = routes_of_three(1, &ALL);
    let mut region = Region::new(&table);
    let flow = flow_owned_by(&table, [A, B], 0);
    let target = region.client_says(A, flow, tcp::SYN).target();
    // The POP sends to A, the vSwitch answers to B.
    region
        .target_says(B, flow, target, tcp::SYN | tcp::ACK)
        .only_left();
    let last = region.client_says(A, flow, tcp::ACK);
    assert_eq!(last.events, [(A, Event::FlowEstablished { flow })]);
    let before = region.taken_over;
    let mut messages = 0;
    for _ in 0..100 {
        let there = region.client_says(A, flow, tcp::ACK);
        assert_eq!(there.target(), target);
        let back = region.target_says(B, flow, target, tcp::ACK);
        assert_eq!(sound(back.only_left().1).flow, flow.reversed());
        messages += there.messages + back.messages;
        region.pass(Duration::from_millis(10));
    }
    assert!(messages <= 4, "{messages} in a second");
    assert!(region.taken_over - before <= 2);
    region.client_says(A, flow, tcp::FIN | tcp::ACK);
    region.target_says(B, flow, target, tcp::FIN | tcp::ACK);
    region.pass(secs(300));
    assert_eq!((region.own(), region.replicas()), ([0; 3], [0; 3]));
    region.check_sums();
}

#[test]
fn a_replica_of_a_flow_that_lives_does_not_run_out_and_goes_when_the_flow_goes() {
    let table = routes_of_three(1, &ALL);
    let mut region = Region::new(&table);
    let flow = flow_owned_by(&table, [A, B], 0);
    let target = region.establish(A, flow);
    for _ in 0..10 {
        region.pass(secs(400));
        region.client_says(A, flow, tcp::ACK).only_left();
        assert_eq!(region.replicas(), [0, 1, 0]);
    }
    let entries = region.nodes[A].forwarder.sync_counts().entries;
    assert!((10..=15).contains(&entries), "{entries} in 4,000 s");
    region.pass(secs(880));
    assert_eq!(region.replicas(), [0, 1, 0]);
    let over = region.pass(secs(30));
    assert_eq!(over.events, [(A, ended(flow, FlowEnd::IdleTimeout))]);
    assert_eq!(region.replicas(), [0; 3]);
    assert!(region.client_says(B, flow, tcp::ACK).is_reset());
    assert!(region.target_says(B, flow, target, tcp::ACK).is_reset());
}

#[test]
fn a_replica_that_nobody_needed_ends_without_a_word() {
    let table = routes_of_three(1, &ALL);
    let mut region = Region::new(&table);
    region.establish(A, flow_owned_by(&table, [A, B], 0));
    region.crash(A);
    let journey = region.pass(secs(1_000));
    assert_eq!((journey.events, region.replicas()), (vec![], [0; 3]));
    region.check_sums();
}
