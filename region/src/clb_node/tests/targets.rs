//! Which target a new flow gets, and when it gets none.

use std::sync::Arc;

use anyedge_net::time::Instant;

use super::*;

/// The routes with another `web` listener on the main load balancer.
fn with_web(scheduler: Scheduler, targets: Vec<anyedge_net::route_table::Target>) -> RouteTable {
    let mut table = routes();
    table.revision = Revision(2);
    table.clbs[0].listeners[0] = listener("web", tcp::PROTOCOL, WEB, scheduler, targets);
    table
}

fn wrr(weights: [u8; 2]) -> RouteTable {
    with_web(Scheduler::WeightedRoundRobin, targets(weights))
}

#[test]
fn weights_are_shares_of_new_flows() {
    let mut node = node_with(wrr([30, 10]));
    for from in [0, 4, 8, 12] {
        assert_eq!(shares(&mut node, from..from + 4), [3, 1]);
    }
}

#[test]
fn a_new_version_of_the_routes_does_not_restart_the_round() {
    let mut node = node_with(wrr([10, 10]));
    let mut last = node.open(web_flow(0));
    for number in 1..20 {
        let applied = node.apply(wrr([10, 10]));
        assert_eq!(applied.events, [Event::TableApplied(Revision(2))]);
        let target = node.open(web_flow(number));
        assert_ne!(target, last, "they alternate");
        last = target;
    }
}

#[test]
fn nodes_of_other_names_start_their_rounds_elsewhere() {
    let first = |name: &str| {
        let mut table = wrr([99, 100]);
        table.nodes[CLB_NODE.index()].name = name.to_owned();
        let mut stage = Stage::new(ClbNode::new(name, Limits::of(128), Seed(7)), table);
        (0..40)
            .map(|number| stage.open(web_flow(number)))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        first("region.guangzhou.clb-1"),
        first("region.guangzhou.clb-1")
    );
    let sequences: std::collections::BTreeSet<_> = (1..6)
        .map(|n| first(&format!("region.guangzhou.clb-{n}")))
        .collect();
    assert!(sequences.len() > 1);
}

#[test]
fn weight_0_takes_no_new_flow_and_keeps_its_flows() {
    let mut node = node_with(wrr([10, 0]));
    let flow = web_flow(0);
    assert_eq!(node.establish(flow), backend(1, Family::V4));
    node.apply(wrr([0, 10]));
    assert_eq!(target_of(&node.say(flow, tcp::ACK)), backend(1, Family::V4));
    assert_eq!(shares(&mut node, 1..11), [0, 10]);
    node.answer(flow, backend(1, Family::V4), tcp::ACK)
        .only_sent();
}

#[test]
fn without_any_weight_there_is_no_target() {
    for table in [
        wrr([0, 0]),
        with_web(maglev(&targets([0, 0])), targets([0, 0])),
    ] {
        let mut node = node_with(table);
        let outcome = node.say(web_flow(0), tcp::SYN);
        assert_eq!(outcome.drops, [DropReason::NoTarget]);
        assert_eq!(node.forwarder.flows(), 0);
    }
}

#[test]
fn a_flow_takes_only_targets_of_its_own_family() {
    let v4_only: Vec<_> = targets([10, 10])
        .into_iter()
        .filter(|target| target.address.family() == Family::V4)
        .collect();
    let mut node = node_with(with_web(Scheduler::WeightedRoundRobin, v4_only));
    node.open(web_flow(0));
    let v6 = client_flow(Family::V6, tcp::PROTOCOL, WEB, 0);
    assert_eq!(node.say(v6, tcp::SYN).drops, [DropReason::NoTarget]);
}

#[test]
fn maglev_gives_the_target_that_its_table_holds_for_the_flow() {
    let table = with_web(maglev(&targets([10, 20])), targets([10, 20]));
    let Scheduler::Maglev { v4, .. } = &table.clbs[0].listeners[0].scheduler else {
        panic!("a Maglev listener");
    };
    let (places, hash_key) = (Arc::clone(v4), table.hash_key);
    let mut node = node_with(table);
    for number in 0..30 {
        let flow = web_flow(number);
        let index = places
            .lookup(flow.hash(&hash_key))
            .expect("two targets have weight");
        assert_eq!(
            node.open(flow),
            targets([10, 20])[usize::from(index)].address
        );
    }
}

#[test]
fn with_client_affinity_maglev_keeps_a_client_on_one_target() {
    let mut table = with_web(maglev(&targets([10, 10])), targets([10, 10]));
    table.clbs[0].client_affinity = true;
    let mut node = node_with(table);
    let of_port = |src_port| FlowKey {
        src_port,
        ..web_flow(9)
    };
    let target = node.open(of_port(50_000));
    for src_port in 50_001..50_030 {
        assert_eq!(node.open(of_port(src_port)), target);
    }
}

#[test]
fn a_port_without_a_listener_takes_nothing() {
    let mut node = node();
    let no_port = client_flow(Family::V4, tcp::PROTOCOL, 82, 1);
    assert_eq!(
        node.say(no_port, tcp::SYN).only_drop(),
        DropReason::NoListener
    );
    let other_protocol = client_flow(Family::V4, udp::PROTOCOL, WEB, 1);
    let outcome = node.client_sends(&other_protocol, &datagram(other_protocol, b"?"));
    assert_eq!(outcome.only_drop(), DropReason::NoListener);
}

/// Routes whose `web` listeners, and `web-too`, have web-1 as their only target.
fn one_target_for_all() -> RouteTable {
    let mut table = wrr([10, 0]);
    let only = |name, port| {
        listener(
            name,
            tcp::PROTOCOL,
            port,
            Scheduler::WeightedRoundRobin,
            targets([10, 0]),
        )
    };
    table.clbs[0].listeners[1] = only("web-too", 81);
    table.clbs[1].listeners[0] = only("web", WEB);
    table
}

const ALT_KEY: GreKey = GreKey::new(ALT.0, false, 9);

#[test]
fn a_tuple_in_use_at_the_target_is_not_given_twice() {
    let mut node = node_with(one_target_for_all());
    let flow = web_flow(1);
    node.establish(flow);
    let other_listener = FlowKey {
        dst_port: 81,
        ..flow
    };
    let other_vip = segment(
        FlowKey {
            dst: alt_vip(),
            ..flow
        },
        tcp::SYN,
    );
    for _ in 0..2 {
        assert_eq!(
            node.say(other_listener, tcp::SYN).only_drop(),
            DropReason::TupleTaken
        );
        let outcome = node.tunnel(FROM_TOKYO, TOKYO, ALT_KEY, &other_vip);
        assert_eq!(outcome.only_drop(), DropReason::TupleTaken);
    }
    node.say(flow, tcp::ACK).only_sent();
    assert_eq!(node.forwarder.flows(), 1);
}

#[test]
fn a_tuple_is_free_again_at_the_moment_its_flow_is_over() {
    let mut node = node_with(one_target_for_all());
    let flow = web_flow(1);
    node.establish(flow);
    let other = segment(
        FlowKey {
            dst: alt_vip(),
            ..flow
        },
        tcp::SYN,
    );
    let over = node.now + secs(900);
    node.now = Instant::from_nanos(over.as_nanos() - 1);
    let early = node.tunnel(FROM_TOKYO, TOKYO, ALT_KEY, &other);
    assert_eq!(early.only_drop(), DropReason::TupleTaken);
    node.now = over;
    let outcome = node.tunnel(FROM_TOKYO, TOKYO, ALT_KEY, &other);
    outcome.only_sent();
    assert_eq!(outcome.events[0], ended(flow, FlowEnd::IdleTimeout));
}

#[test]
fn a_target_behind_a_dead_path_gets_no_flow_and_its_client_tries_the_next() {
    let mut node = node();
    node.event(LocalEvent::PathState {
        path: TO_WEB_1,
        up: false,
    });
    let flow = web_flow(1);
    let outcomes = [node.say(flow, tcp::SYN), node.say(flow, tcp::SYN)];
    let lost = outcomes
        .iter()
        .filter(|outcome| outcome.drops == [DropReason::NoPath])
        .count();
    assert_eq!(lost, 1);
    assert_eq!(node.forwarder.flows(), 1);
}

#[test]
fn flows_follow_their_target_to_another_host() {
    let moved = |mut table: RouteTable| {
        table.revision = Revision(3);
        let listener = Arc::make_mut(&mut table.clbs[0].listeners[0]);
        listener.targets[0].host = WEB_2;
        table
    };
    let renamed = |mut table: RouteTable| {
        // More than targets changes: all is laid anew.
        table.clbs[1].name = "renamed".to_owned();
        table
    };
    let one = || wrr([10, 0]);
    for after in [moved(one()), renamed(moved(one()))] {
        let mut node = node_with(one());
        let flow = web_flow(1);
        assert_eq!(node.establish(flow), backend(1, Family::V4));
        let way = |outcome: &Outcome| outcome.only_sent().0.peer;
        assert_eq!(way(&node.say(flow, tcp::ACK)), WEB_1);
        node.apply(after);
        node.pass(Duration::from_millis(1));
        let outcome = node.say(flow, tcp::ACK);
        assert_eq!(way(&outcome), WEB_2, "S-EN03");
        assert_eq!(target_of(&outcome), backend(1, Family::V4));
        let fresh = node.client_sends(&web_flow(2), &segment(web_flow(2), tcp::SYN));
        assert_eq!(way(&fresh), WEB_2);
    }
}

#[test]
fn clients_with_private_ipv6_addresses_are_kept_out() {
    let mut node = node();
    for (src, opens) in [
        ("2001:db8:1::5", true),
        ("fd00::11", false),
        ("fc12:3::1", false),
    ] {
        let flow = FlowKey {
            src: address(src),
            ..client_flow(Family::V6, tcp::PROTOCOL, WEB, 5)
        };
        let outcome = node.client_sends(&flow, &segment(flow, tcp::SYN));
        if opens {
            outcome.only_sent();
        } else {
            assert_eq!(
                outcome.only_drop(),
                DropReason::PrivateClient,
                "S-V605: {src}"
            );
            assert!(outcome.sent.is_empty(), "and no word of it");
        }
    }
}
