//! Flows across versions of the routes.

use super::*;
use std::sync::Arc;

#[test]
fn flows_survive_routes_with_other_numbers_for_the_same_names() {
    let mut node = node();
    let flow = web_flow(1);
    let target = node.establish(flow);

    // A new POP and a new load balancer come first: every node and clb moves by one.
    let mut table = routes();
    let shift = |node: NodeId| NodeId(node.0 + 1);
    let newcomer = anyedge_net::route_table::Node {
        name: "pop.lagos".to_owned(),
        ..table.nodes[0].clone()
    };
    table.nodes.insert(0, newcomer);
    let mut fresh = table.clbs[1].clone();
    fresh.name = "gz-new".to_owned();
    table.clbs.insert(0, fresh);
    for path in &mut table.paths {
        use anyedge_net::route_table::PathEnds;
        match &mut path.ends {
            PathEnds::Ccn { pop, .. } => *pop = shift(*pop),
            PathEnds::Fabric { host, .. } => *host = shift(*host),
            PathEnds::Mesh { .. } | PathEnds::Backbone { .. } => {}
        }
    }
    for region in &mut table.regions {
        region
            .clb_nodes
            .iter_mut()
            .for_each(|node| *node = shift(*node));
    }
    for vip in table.vips.values_mut() {
        let vip = Arc::make_mut(vip);
        vip.clb = ClbId(vip.clb.0 + 1);
        vip.publishers
            .iter_mut()
            .for_each(|node| *node = shift(*node));
    }
    for clb in &mut table.clbs {
        for listener in &mut clb.listeners {
            let targets = &mut Arc::make_mut(listener).targets;
            targets.iter_mut().for_each(|it| it.host = shift(it.host));
        }
    }
    node.apply(table);

    let answer = segment(answer_flow(&flow, target, 8_080), tcp::ACK);
    let outcome = node.tunnel(TO_WEB_1, shift(WEB_1), key_of(&flow), &answer);
    let (meta, bytes) = outcome.only_sent();
    assert_eq!(
        (meta.port, meta.peer),
        (PortId::tunnel(FROM_TOKYO), shift(TOKYO))
    );
    assert_eq!(untunnelled(bytes).0.clb_id(), MAIN.0 + 1);
    let key = GreKey::new(MAIN.0 + 1, false, key_of(&flow).slot());
    let outcome = node.tunnel(FROM_TOKYO, shift(TOKYO), key, &segment(flow, tcp::ACK));
    assert_eq!(target_of(&outcome), target);
    assert_eq!(outcome.events, [], "it did not move");
}

#[test]
fn a_flow_whose_pop_left_the_routes_is_answered_through_another() {
    let mut node = node();
    let flow = web_flow(1);
    let target = node.establish(flow);
    let mut table = routes();
    table.nodes[TOKYO.index()].name = "pop.seoul".to_owned();
    table.paths[usize::from(FROM_TOKYO.0)].name = "seoul-guangzhou".to_owned();
    node.apply(table);
    let outcome = node.answer(flow, target, tcp::ACK);
    assert_eq!(
        outcome.only_sent().0.peer,
        TOKYO,
        "number 0 is seoul, the nearest publisher"
    );
    let moved = node.client_sends(&flow, &segment(flow, tcp::ACK));
    assert_eq!(moved.events, [Event::FlowMoved { flow, pop: TOKYO }]);
}

#[test]
fn flows_of_a_load_balancer_that_is_gone_get_no_answer_and_run_out() {
    let mut node = node();
    let flow = web_flow(1);
    let target = node.establish(flow);
    let mut table = routes();
    table.clbs[0].name = "gz-other".to_owned();
    node.apply(table);
    assert_eq!(
        node.answer(flow, target, tcp::ACK).only_drop(),
        DropReason::UnknownClb
    );
    assert_eq!(
        node.pass(secs(901)).events,
        [ended(flow, FlowEnd::IdleTimeout)]
    );
}

#[test]
fn flows_survive_another_hash_key() {
    let mut node = node();
    let flows: Vec<FlowKey> = (0..40).map(web_flow).collect();
    let targets: Vec<Address> = flows.iter().map(|flow| node.establish(*flow)).collect();
    let mut table = routes();
    table.hash_key = anyedge_net::flow::HashKey::new([9; 16]);
    node.apply(table);
    for (flow, target) in flows.iter().zip(targets) {
        assert_eq!(target_of(&node.say(*flow, tcp::ACK)), target);
        node.answer(*flow, target, tcp::ACK).only_sent();
    }
    node.pass(secs(901));
    assert_eq!(node.forwarder.flows(), 0);
}

#[test]
fn paths_known_to_be_down_stay_down_in_new_routes() {
    let mut node = node();
    let flow = web_flow(1);
    let target = node.establish(flow);
    node.event(LocalEvent::PathState {
        path: FROM_TOKYO,
        up: false,
    });
    node.apply(routes());
    assert_eq!(
        node.answer(flow, target, tcp::ACK).only_sent().0.peer,
        FRANKFURT
    );
}
