//! Security groups of a load balancer: who may open a flow to its listeners.

use std::sync::Arc;

use anyedge_net::security_group::{Direction, Filter, Precedence, Rule};

use super::*;

/// The routes with these rules inward, in a group of load balancer `gz-main`.
fn guarded(revision: u64, rules: &[&str]) -> RouteTable {
    let rule = |text: &&str| Rule::parse(Direction::Ingress, text).expect("a sound rule");
    let rules: Vec<Rule> = rules.iter().map(rule).collect();
    let filter = Filter::compile(&[&rules], Precedence::First);
    let mut table = routes();
    table.revision = Revision(revision);
    table.clbs[MAIN.index()].security.filter = Some(Arc::new(filter));
    table
}

fn flushing(mut table: RouteTable) -> RouteTable {
    table.security.flush_on_change = true;
    table
}

#[test]
fn a_load_balancers_groups_are_asked_by_client_and_listen_port_before_a_target_is_chosen() {
    let mut node = node_with(guarded(1, &["192.0.0.1+80 allow", "any+8080 allow"]));
    node.establish(web_flow(1));
    let outcome = node.say(web_flow(2), tcp::SYN);
    assert!(
        outcome.events.is_empty(),
        "nothing was opened: {:?}",
        outcome.events
    );
    assert_eq!(outcome.only_drop(), DropReason::ClbSecurityGroup);
    let tick = client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, 1);
    let outcome = node.client_sends(&tick, &datagram(tick, b"tick"));
    assert_eq!(outcome.only_drop(), DropReason::ClbSecurityGroup);
    assert_eq!(node.forwarder.flows(), 1);
}

#[test]
fn whoever_is_refused_is_not_reset_either() {
    let mut node = node_with(guarded(1, &["192.0.0.1+80 allow"]));
    let outcome = node.say(web_flow(2), tcp::ACK);
    assert_eq!(outcome.only_drop(), DropReason::NoFlow);
    let outcome = node.say(web_flow(1), tcp::ACK);
    outcome.told(DropReason::NoFlow);
}

#[test]
fn flows_that_are_there_outlive_a_change_unless_the_table_says_otherwise() {
    let open = |revision| guarded(revision, &["any allow"]);
    let shut = |revision| guarded(revision, &["192.0.0.2+80 allow"]);
    let mut node = node_with(open(1));
    node.establish(web_flow(1));
    node.establish(web_flow(2));
    node.apply(shut(2));
    node.say(web_flow(1), tcp::ACK).only_sent();
    node.apply(flushing(open(3)));
    let outcome = node.apply(flushing(shut(4)));
    let refused = ended(web_flow(1), FlowEnd::Refused);
    assert!(outcome.events.contains(&refused), "{:?}", outcome.events);
    assert_eq!(node.forwarder.flows(), 1);
    let outcome = node.say(web_flow(1), tcp::ACK);
    assert_eq!(outcome.only_drop(), DropReason::NoFlow);
    node.say(web_flow(2), tcp::ACK).only_sent();
}

#[test]
fn another_load_balancer_of_the_node_is_not_concerned() {
    let mut node = node_with(guarded(1, &["any drop"]));
    let flow = FlowKey {
        dst: alt_vip(),
        ..web_flow(1)
    };
    let slot = slot::of_hash(flow.hash(&HASH_KEY));
    let key = GreKey::new(ALT.0, false, slot);
    node.tunnel(FROM_TOKYO, TOKYO, key, &segment(flow, tcp::SYN))
        .only_sent();
}
