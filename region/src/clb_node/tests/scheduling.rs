//! Schedulers at work: least connections with what peers have, hashed clients, clients that stay, and limits.

use std::sync::Arc;

use anyedge_net::route_table::{FlowLimits, Listener, Mechanisms};

use super::*;

/// The routes of a region with as many CLB nodes as wanted, whose `web` listener is changed.
fn with_web(nodes: usize, change: impl Fn(&mut Listener)) -> RouteTable {
    let mut table = match nodes {
        1 => routes(),
        _ => routes_of_three(1, &[0, 1, 2]),
    };
    change(Arc::make_mut(&mut table.clbs[0].listeners[0]));
    table
}

fn wlc(listener: &mut Listener) {
    listener.scheduler = Scheduler::WeightedLeastConnections;
    listener.targets = targets([10, 10]);
}

#[test]
fn least_connections_evens_out_what_ends_unevenly() {
    let mut node = node_with(with_web(1, wlc));
    let flows: Vec<(FlowKey, Address)> = (0..20)
        .map(|number| (web_flow(number), node.establish(web_flow(number))))
        .collect();
    let first = backend(1, Family::V4);
    let on_first = flows.iter().filter(|(_, target)| *target == first);
    let on_first: Vec<FlowKey> = on_first.map(|(flow, _)| *flow).collect();
    assert_eq!(on_first.len(), 10);
    for flow in &on_first[..6] {
        node.say(*flow, tcp::RST);
    }
    // 4 against 10: the next six make up for it, and then they take turns.
    assert_eq!(shares(&mut node, 20..26), [6, 0]);
    assert_eq!(shares(&mut node, 26..36), [5, 5]);
}

#[test]
fn a_flow_counts_until_both_sides_have_closed_and_not_while_it_lingers() {
    let mut node = node_with(with_web(1, wlc));
    let flow = web_flow(0);
    let target = node.establish(flow);
    node.say(flow, tcp::FIN | tcp::ACK);
    let other = node.open(web_flow(1));
    assert_ne!(other, target, "half-closed counts");
    node.answer(flow, target, tcp::FIN | tcp::ACK);
    assert_eq!(node.open(web_flow(2)), target, "closed does not");
}

#[test]
fn flows_count_that_were_there_before_the_scheduler_asked_for_them() {
    let wrr = with_web(1, |listener| listener.targets = targets([10, 0]));
    let mut node = node_with(wrr);
    assert_eq!(shares(&mut node, 0..5), [5, 0]);
    let mut table = with_web(1, wlc);
    table.revision = Revision(2);
    node.apply(table);
    assert_eq!(shares(&mut node, 5..10), [0, 5]);
    assert_eq!(shares(&mut node, 10..14), [2, 2]);
}

#[test]
fn a_server_that_comes_back_is_known_with_the_flows_that_it_kept() {
    let mut table = with_web(1, wlc);
    table.clbs[0].unbind_drain = Some(secs(600));
    let mut node = node_with(table.clone());
    assert_eq!(shares(&mut node, 0..8), [4, 4]);
    let mut alone = table.clone();
    Arc::make_mut(&mut alone.clbs[0].listeners[0])
        .targets
        .retain(|target| target.host == WEB_2);
    alone.revision = Revision(2);
    node.apply(alone);
    assert_eq!(shares(&mut node, 8..10), [0, 2]);
    table.revision = Revision(3);
    node.apply(table);
    assert_eq!(shares(&mut node, 10..12), [2, 0], "4 against 6");
}

/// Clients of one address differ by port.
fn of_client(number: u32, src_port: u16) -> FlowKey {
    FlowKey {
        src_port,
        ..web_flow(number)
    }
}

fn ip_hash(listener: &mut Listener) {
    listener.targets = targets([10, 30]);
    let Scheduler::Maglev { v4, v6 } = maglev(&listener.targets) else {
        panic!("the testbed makes Maglev tables");
    };
    listener.scheduler = Scheduler::IpHash { v4, v6 };
}

#[test]
fn by_ip_hash_a_client_has_one_target_and_clients_are_spread_by_weight() {
    let mut node = Stage::new(
        ClbNode::new(CLB_NODE_NAME, Limits::of(4_096), Seed(7)),
        with_web(1, ip_hash),
    );
    let mut clients = [0, 0];
    let mut open = |flow: FlowKey| {
        let target = node.establish(flow);
        node.say(flow, tcp::RST);
        target
    };
    for number in 0..400 {
        let first = open(of_client(number, 1_000));
        for port in 1_001..1_004 {
            assert_eq!(open(of_client(number, port)), first);
        }
        clients[usize::from(first == backend(2, Family::V4))] += 1;
    }
    assert!(
        (250..350).contains(&clients[1]),
        "{clients:?} of weights 10, 30"
    );
}

fn stays(listener: &mut Listener) {
    listener.targets = targets([10, 10]);
    listener.session_expire = Some(secs(30));
}

#[test]
fn a_client_stays_with_its_target_until_no_new_flow_came_for_the_time() {
    let mut node = node_with(with_web(1, stays));
    let first = node.open(of_client(0, 1));
    let others: Vec<Address> = (1..4)
        .map(|number| node.open(of_client(number, 1)))
        .collect();
    assert!(others.contains(&backend(1, Family::V4)) && others.contains(&backend(2, Family::V4)));
    for port in 2..8 {
        node.pass(secs(29));
        assert_eq!(
            node.open(of_client(0, port)),
            first,
            "each new flow begins the time anew"
        );
    }
    // Others have been gone for longer: the round goes on for them.
    node.pass(secs(30));
    let fresh: Vec<Address> = (8..16)
        .map(|port| {
            node.pass(secs(30));
            node.open(of_client(0, port))
        })
        .collect();
    assert!(fresh.iter().any(|target| *target != first), "not for ever");
}

#[test]
fn a_target_of_weight_0_keeps_no_client() {
    let mut node = node_with(with_web(1, stays));
    let first = node.open(of_client(0, 1));
    let weights = if first == backend(1, Family::V4) {
        [0, 10]
    } else {
        [10, 0]
    };
    let mut table = with_web(1, |listener| {
        stays(listener);
        listener.targets = targets(weights);
    });
    table.revision = Revision(2);
    node.apply(table);
    let next = node.open(of_client(0, 2));
    assert_ne!(next, first);
    assert_eq!(node.open(of_client(0, 3)), next, "it stays there");
}

/// The reasons for which `count` SYNs of new flows are dropped.
fn refused(node: &mut Stage<ClbNode>, numbers: core::ops::Range<u32>) -> Vec<DropReason> {
    let syns = numbers.map(|number| node.say(web_flow(number), tcp::SYN).drops);
    syns.flatten().collect()
}

#[test]
fn no_more_flows_at_a_time_than_the_listener_may_have() {
    let mut node = node_with(with_web(1, |listener| {
        listener.limits.connections_max = Some(3);
    }));
    assert_eq!(refused(&mut node, 0..3), []);
    assert_eq!(refused(&mut node, 3..5), [DropReason::ConnectionsMax; 2]);
    node.say(web_flow(0), tcp::RST);
    assert_eq!(refused(&mut node, 5..7), [DropReason::ConnectionsMax]);
    node.say(web_flow(1), tcp::ACK).only_sent();
}

#[test]
fn no_more_new_flows_within_a_second_than_the_listener_may_have() {
    let mut node = node_with(with_web(1, |listener| {
        listener.limits.per_second_max = Some(4);
    }));
    for second in 0..3 {
        let numbers = second * 6..second * 6 + 6;
        assert_eq!(refused(&mut node, numbers), [DropReason::PerSecondMax; 2]);
        node.pass(secs(1));
    }
}

#[test]
fn each_node_has_its_part_of_a_limit() {
    let limits = FlowLimits {
        connections_max: Some(30),
        per_second_max: None,
    };
    let table = with_web(3, |listener| listener.limits = limits);
    let mut all = 0;
    for name in CLB_NODE_NAMES {
        let node = ClbNode::new(name, Limits::of(64), Seed(7));
        let mut node = Stage::new(node, table.clone());
        let refused = refused(&mut node, 0..40).len();
        let own = 40 - refused;
        assert!((8..=12).contains(&own), "{own} of about a third of 30");
        all += own;
    }
    assert_eq!(all, 30);
}

/// How many UDP flows of `count` new ones are taken.
fn ticks(node: &mut Stage<ClbNode>, numbers: core::ops::Range<u32>) -> usize {
    let flows = numbers.map(|number| client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, number));
    let sent = flows.map(|flow| node.client_sends(&flow, &datagram(flow, b"tick")).drops);
    sent.filter(Vec::is_empty).count()
}

#[test]
fn a_shared_instance_has_its_limits_over_all_of_its_listeners() {
    let shared = |limits: FlowLimits| {
        let mut table = with_web(3, |_| {});
        table.clbs[0].limits = limits;
        let node = ClbNode::new(CLB_NODE_NAMES[0], Limits::of(64), Seed(7));
        Stage::new(node, table)
    };
    let at_a_time = FlowLimits {
        connections_max: Some(30),
        per_second_max: None,
    };
    let mut node = shared(at_a_time);
    let web = 40 - refused(&mut node, 0..40).len();
    assert!((8..=12).contains(&web), "{web} of about a third of 30");
    assert_eq!(
        ticks(&mut node, 0..8),
        0,
        "another listener of the same one"
    );
    let in_a_second = FlowLimits {
        connections_max: None,
        per_second_max: Some(30),
    };
    let mut node = shared(in_a_second);
    assert_eq!(40 - refused(&mut node, 0..40).len(), web);
    assert_eq!(ticks(&mut node, 0..8), 0);
    node.pass(secs(1));
    assert_eq!(ticks(&mut node, 8..16), 8, "in the next second");
}

/// A node with two others in its region, and what it tells them.
fn node_of_three(place: usize) -> Stage<ClbNode> {
    let mut table = with_web(3, wlc);
    table.mechanisms = Mechanisms {
        replication: false,
        ..Mechanisms::ALL
    };
    let node = ClbNode::new(CLB_NODE_NAMES[place], Limits::of(64), Seed(7));
    Stage::new(node, table)
}

/// Brings what a node says within a time to another.
fn tell(
    from: (usize, &mut Stage<ClbNode>),
    to: (usize, &mut Stage<ClbNode>),
    time: Duration,
) -> usize {
    let outcome = from.1.pass(time);
    to.1.pass(time);
    let mut told = 0;
    for (meta, bytes) in outcome.sent {
        if meta.peer == CLB_NODES[to.0] {
            let peer = CLB_NODES[from.0];
            to.1.batch(&[(Meta { peer, ..meta }, bytes)]);
            told += 1;
        }
    }
    told
}

#[test]
fn least_connections_counts_what_the_other_nodes_have() {
    let (mut one, mut other) = (node_of_three(0), node_of_three(1));
    // All but two of the first node's flows end on the first target.
    let flows: Vec<(FlowKey, Address)> = (0..16)
        .map(|number| (web_flow(number), one.establish(web_flow(number))))
        .collect();
    let first = backend(1, Family::V4);
    for (flow, _) in flows.iter().filter(|(_, target)| *target == first).skip(2) {
        one.say(*flow, tcp::RST);
    }
    assert!(tell((0, &mut one), (1, &mut other), Duration::from_millis(150)) > 0);
    assert_eq!(shares(&mut other, 100..106), [6, 0], "2 against 8");
    assert_eq!(shares(&mut other, 106..110), [2, 2]);
}

#[test]
fn a_node_that_says_nothing_is_taken_to_have_no_flows() {
    let (mut one, mut other) = (node_of_three(0), node_of_three(1));
    let first = backend(1, Family::V4);
    let flows = (0..6).map(web_flow).map(|flow| (flow, one.establish(flow)));
    let flows: Vec<(FlowKey, Address)> = flows.collect();
    for (flow, _) in flows.iter().filter(|(_, target)| *target == first) {
        one.say(*flow, tcp::RST);
    }
    tell((0, &mut one), (1, &mut other), Duration::from_millis(150));
    assert_eq!(
        shares(&mut other, 100..102),
        [2, 0],
        "3 on the second one there"
    );
    other.pass(secs(5));
    assert_eq!(shares(&mut other, 102..104), [0, 2], "as it is silent");
}

#[test]
fn nobody_tells_anything_while_there_are_no_flows() {
    let mut node = node_of_three(0);
    assert!(
        node.forwarder
            .poll_timeout()
            .is_none_or(|due| due.reason != "loads are told")
    );
    let flow = web_flow(0);
    node.open(flow);
    node.say(flow, tcp::RST);
    node.pass(secs(2));
    assert!(
        node.forwarder
            .poll_timeout()
            .is_none_or(|due| due.reason != "loads are told")
    );
}
