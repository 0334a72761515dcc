//! Detours over this node, and to it.

use anyedge_net::id::{PathId, RegionId};
use anyedge_net::route_table::{Path, PathEnds};

use super::*;

/// The id of the path that [`routes_abroad`] adds.
const BACKBONE: PathId = PathId(5);

/// The testbed's routes with a path between guangzhou and frankfurt.
fn routes_abroad() -> RouteTable {
    let mut table = routes();
    assert_eq!(table.paths.len(), BACKBONE.index());
    let backbone = Path {
        name: "backbone".to_owned(),
        ends: PathEnds::Backbone {
            regions: [RegionId(0), RegionId(1)],
        },
        rtt: Duration::from_millis(180),
        ..table.paths[0].clone()
    };
    table.paths.push(backbone);
    table
}

/// A client's flow to the VIP of frankfurt.
fn abroad(number: u32) -> FlowKey {
    FlowKey {
        dst: address("203.0.113.30"),
        ..web_flow(number)
    }
}

fn key_abroad(flow: &FlowKey) -> GreKey {
    GreKey::new(OTHER.0, false, slot::of_hash(flow.hash(&HASH_KEY)))
}

impl Stage<ClbNode> {
    fn path_is(&mut self, path: PathId, up: bool) {
        self.event(LocalEvent::PathState { path, up });
    }
}

#[test]
fn a_clients_packet_for_another_region_goes_on_to_its_slots_owner_as_it_came() {
    let mut node = node_with(routes_abroad());
    let flow = abroad(1);
    let mut last_hop = with_ttl(&segment(flow, tcp::ACK), 1);
    let outcome = node.tunnel(FROM_TOKYO, TOKYO, key_abroad(&flow), &last_hop);
    let (meta, bytes) = outcome.only_sent();
    assert_eq!(
        (meta.port, meta.peer),
        (PortId::tunnel(BACKBONE), OTHER_CLB_NODE)
    );
    assert_eq!(untunnelled(bytes), (key_abroad(&flow), &last_hop[..]));
    assert_eq!(node.forwarder.flows(), 0, "nothing is remembered");

    // An echo reply to the VIP: the home region judges what it is.
    last_hop = ip_packet(
        &FlowKey {
            protocol: 1,
            ..flow
        },
        64,
        &[0; 8],
    );
    let outcome = node.tunnel(FROM_TOKYO, TOKYO, key_abroad(&flow), &last_hop);
    assert_eq!(untunnelled(outcome.only_sent().1).1, last_hop);

    node.path_is(BACKBONE, false);
    let outcome = node.tunnel(FROM_TOKYO, TOKYO, key_abroad(&flow), &last_hop);
    assert_eq!(outcome.only_drop(), DropReason::NoPath);
}

#[test]
fn an_answer_of_another_region_goes_to_the_publisher_that_is_reached_at_least_cost() {
    let mut node = node_with(routes_abroad());
    let flow = abroad(1);
    let answer = segment(flow.reversed(), tcp::ACK);
    let key = key_abroad(&flow);
    let outcome = node.tunnel(BACKBONE, OTHER_CLB_NODE, key, &answer);
    let (meta, bytes) = outcome.only_sent();
    assert_eq!((meta.port, meta.peer), (PortId::tunnel(FROM_TOKYO), TOKYO));
    assert_eq!(untunnelled(bytes), (key, &answer[..]));

    let mut draining = routes_abroad();
    draining.nodes[TOKYO.index()].draining = true;
    node.apply(draining);
    let outcome = node.tunnel(BACKBONE, OTHER_CLB_NODE, key, &answer);
    assert_eq!(outcome.only_sent().0.peer, FRANKFURT, "tokyo drains");
    node.path_is(FROM_FRANKFURT, false);
    let outcome = node.tunnel(BACKBONE, OTHER_CLB_NODE, key, &answer);
    assert_eq!(outcome.only_sent().0.peer, TOKYO, "better than nobody");
    node.path_is(FROM_TOKYO, false);
    let outcome = node.tunnel(BACKBONE, OTHER_CLB_NODE, key, &answer);
    assert_eq!(
        outcome.only_drop(),
        DropReason::NoPath,
        "and not back again"
    );
}

#[test]
fn what_has_been_in_transit_goes_to_no_third_region_and_comes_from_no_other_path() {
    let mut table = routes_abroad();
    let mut third = table.clbs[OTHER.index()].clone();
    (third.name, third.region) = ("osa-main".to_owned(), RegionId(2));
    table.clbs.push(third);
    let mut node = node_with(table);
    let flow = abroad(1);
    let syn = segment(flow, tcp::SYN);
    let cases = [
        (BACKBONE, key_abroad(&flow), DropReason::NotFromVip),
        (BACKBONE, GreKey::new(3, false, 7), DropReason::UnknownClb),
        (BACKBONE, GreKey::new(9, false, 7), DropReason::UnknownClb),
        (BACKBONE, key_of(&flow), DropReason::NotVip),
        (FROM_TOKYO, key_abroad(&flow), DropReason::UnknownPeer),
    ];
    for (path, key, reason) in cases {
        let outcome = node.tunnel(path, OTHER_CLB_NODE, key, &syn);
        assert_eq!(outcome.only_drop(), reason, "{path:?} {key:?}");
    }
    let mine = segment(web_flow(1), tcp::SYN);
    let outcome = node.tunnel(FROM_TOKYO, TOKYO, key_abroad(&flow), &mine);
    assert_eq!(
        outcome.only_drop(),
        DropReason::UnknownClb,
        "a key of frankfurt on a packet to guangzhou's VIP"
    );
}

#[test]
fn a_flow_that_came_by_a_detour_is_answered_the_way_it_came() {
    let mut node = node_with(routes_abroad());
    let flow = web_flow(1);
    let syn = segment(flow, tcp::SYN);
    let target = target_of(&node.tunnel(BACKBONE, OTHER_CLB_NODE, key_of(&flow), &syn));
    let answer = |node: &mut Stage<ClbNode>| {
        let answer = segment(answer_flow(&flow, target, 8_080), tcp::SYN | tcp::ACK);
        let outcome = node.target_sends(target, &flow, &answer);
        let (meta, bytes) = outcome.only_sent();
        assert_eq!(untunnelled(bytes).0, key_of(&flow));
        (meta.port, meta.peer)
    };
    assert_eq!(
        answer(&mut node),
        (PortId::tunnel(BACKBONE), OTHER_CLB_NODE)
    );
    node.path_is(BACKBONE, false);
    assert_eq!(answer(&mut node), (PortId::tunnel(FROM_TOKYO), TOKYO));
    node.path_is(BACKBONE, true);
    node.client_sends(&flow, &segment(flow, tcp::ACK));
    assert_eq!(answer(&mut node), (PortId::tunnel(FROM_TOKYO), TOKYO));
}

#[test]
fn with_the_return_pop_off_an_answer_waits_for_its_own_pop() {
    let mut table = routes();
    table.mechanisms.return_pop = false;
    let mut node = node_with(table);
    let flow = web_flow(1);
    let target = node.open(flow);
    node.path_is(FROM_TOKYO, false);
    let answer = segment(answer_flow(&flow, target, 8_080), tcp::SYN | tcp::ACK);
    let outcome = node.target_sends(target, &flow, &answer);
    assert_eq!(outcome.only_drop(), DropReason::NoPath);
}
