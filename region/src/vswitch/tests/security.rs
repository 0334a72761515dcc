//! Security groups at the backend: who opens flows, and what becomes of those that are there.

use std::collections::BTreeMap;

use anyedge_net::id::Revision;
use anyedge_net::route_table::{HealthCheck, ProbeSource, Security, Shared};
use anyedge_net::security_group::{Direction, Filter, Precedence, Rule};

use super::*;

/// The routes with these rules inward, in one group of host web-1.
fn guarded(rules: &[&str]) -> RouteTable {
    with_groups(&[(rules, &[])])
}

/// The routes with groups of host web-1: their rules inward and outward.
fn with_groups(groups: &[(&[&str], &[&str])]) -> RouteTable {
    let group = |(inward, outward): &(&[&str], &[&str])| -> Vec<Rule> {
        let rule =
            |direction| move |text: &&str| Rule::parse(direction, text).expect("a sound rule");
        let inward = inward.iter().map(rule(Direction::Ingress));
        inward
            .chain(outward.iter().map(rule(Direction::Egress)))
            .collect()
    };
    let groups: Vec<Vec<Rule>> = groups.iter().map(group).collect();
    let groups: Vec<&[Rule]> = groups.iter().map(Vec::as_slice).collect();
    let filter = Filter::compile(&groups, Precedence::First);
    let mut table = routes();
    table.revision = Revision(2);
    table.security = Shared::from(Security {
        hosts: BTreeMap::from([(WEB_1, Arc::new(filter))]),
        flush_on_change: false,
    });
    table
}

fn flushing(mut table: RouteTable) -> RouteTable {
    table.security.flush_on_change = true;
    table
}

/// Clients 1 and 2 may reach port 8080, and nobody else.
const ONLY_A_AND_B: [&str; 3] = [
    "192.0.0.1+8080 allow",
    "192.0.0.2+8080 allow",
    "0.0.0.0/0+8080 drop",
];

impl Stage<VSwitch> {
    /// Whether a SYN of the flow reaches the backend.
    fn opens(&mut self, flow: FlowKey) -> bool {
        let outcome = self.clb_node_sends(KEY, &segment(flow, tcp::SYN));
        if outcome.sent.is_empty() {
            assert_eq!(outcome.drops, [DropReason::TargetSecurityGroup]);
            return false;
        }
        outcome.only_sent();
        true
    }
}

#[test]
fn a_backend_may_have_several_groups_and_a_change_holds_from_the_next_packet_on() {
    let mut vswitch = vswitch();
    assert!(vswitch.opens(web(1)), "without a group there is no filter");
    vswitch.apply(with_groups(&[
        (&["192.0.0.2+8080 allow"], &[]),
        (&["192.0.0.3+8080 allow"], &[]),
    ]));
    assert!(vswitch.opens(web(2)) && vswitch.opens(web(3)) && !vswitch.opens(web(4)));
    vswitch.apply(guarded(&["192.0.0.4+8080 allow"]));
    assert!(vswitch.opens(web(4)) && !vswitch.opens(web(5)));
    vswitch.apply(routes());
    assert!(vswitch.opens(web(5)), "unbound");
}

#[test]
fn a_group_without_rules_lets_nobody_in() {
    let mut vswitch = vswitch_with(guarded(&[]));
    assert!(!vswitch.opens(web(1)));
}

#[test]
fn replies_and_flows_that_are_there_need_no_rule() {
    let stateless = with_groups(&[(&["192.0.0.1+8080 allow"], &["any drop"])]);
    let mut vswitch = vswitch_with(stateless);
    vswitch.establish(web(1));
    vswitch.apply(guarded(&["any drop"]));
    assert!(!vswitch.opens(web(2)), "new flows are refused");
    let data = segment(web(1), tcp::ACK);
    vswitch.clb_node_sends(KEY, &data).only_sent();
    vswitch
        .backend_sends(&segment(web(1).reversed(), tcp::ACK))
        .only_sent();
}

#[test]
fn a_flow_that_is_refused_after_a_change_ends_at_once_when_the_table_says_so() {
    let mut vswitch = vswitch_with(flushing(guarded(&["any allow"])));
    vswitch.establish(web(1));
    vswitch.establish(web(2));
    vswitch.apply(flushing(guarded(&["192.0.0.2+8080 allow"])));
    let refused = vswitch.clb_node_sends(KEY, &segment(web(1), tcp::ACK));
    assert_eq!(refused.only_drop(), DropReason::TargetSecurityGroup);
    let answer = vswitch.backend_sends(&segment(web(1).reversed(), tcp::ACK));
    assert_eq!(answer.only_drop(), DropReason::NoFlow);
    let answer = segment(web(2).reversed(), tcp::ACK);
    vswitch.backend_sends(&answer).only_sent();
}

#[test]
fn rules_name_the_client_and_the_backends_port() {
    let by_listener = vswitch_with(guarded(&["192.0.0.1+80 allow"])).opens(web(1));
    let by_backend = vswitch_with(guarded(&["192.0.0.1+8080 allow"])).opens(web(1));
    assert_eq!((by_listener, by_backend), (false, true));
}

#[test]
fn whoever_is_refused_hears_nothing() {
    let mut vswitch = vswitch_with(guarded(&ONLY_A_AND_B));
    assert!(vswitch.opens(web(1)) && vswitch.opens(web(2)));
    let outcome = vswitch.clb_node_sends(KEY, &segment(web(3), tcp::SYN));
    assert!(outcome.events.is_empty(), "{:?}", outcome.events);
    assert_eq!(outcome.only_drop(), DropReason::TargetSecurityGroup);
    let tick = inward(Family::V4, udp::PROTOCOL, 3);
    let outcome = vswitch.clb_node_sends(KEY, &datagram(tick, b"tick"));
    assert_eq!(outcome.only_drop(), DropReason::TargetSecurityGroup);
}

#[test]
fn a_refused_syn_leaves_the_flow_whose_tuple_it_has() {
    let mut vswitch = vswitch_with(guarded(&["192.0.0.1+8080 allow"]));
    assert!(vswitch.opens(web(1)));
    vswitch.apply(guarded(&["any drop"]));
    let other = Segment {
        sequence: 77,
        ..Segment::new(web(1), tcp::SYN)
    };
    let refused = vswitch.clb_node_sends(KEY, &other.packet());
    assert_eq!(refused.only_drop(), DropReason::TargetSecurityGroup);
    vswitch
        .backend_sends(&segment(web(1).reversed(), tcp::SYN | tcp::ACK))
        .only_sent();
}

/// A health check, as the CLB node sends it.
fn check() -> FlowKey {
    FlowKey {
        src: vip(Family::V4),
        ..web(1)
    }
}

/// The key of load balancer `gz-main`.
const OF_MAIN: GreKey = GreKey::new(MAIN.0, false, 4_711);

fn probed(table: RouteTable) -> bool {
    let mut vswitch = vswitch_with(table);
    let outcome = vswitch.clb_node_sends(OF_MAIN, &segment(check(), tcp::SYN));
    !outcome.sent.is_empty()
}

#[test]
fn health_checks_come_from_the_vip_and_need_a_rule() {
    assert!(!probed(guarded(&ONLY_A_AND_B)), "targets become abnormal");
    assert!(probed(guarded(&["203.0.113.10+8080 allow", "any drop"])));
    assert!(probed(routes()));
}

#[test]
fn health_checks_of_some_internal_load_balancers_need_none() {
    let mut table = guarded(&ONLY_A_AND_B);
    table.clbs[MAIN.index()].security.probes_exempt = true;
    assert!(probed(table.clone()));
    let mut vswitch = vswitch_with(table);
    let outcome = vswitch.clb_node_sends(OF_MAIN, &segment(web(3), tcp::SYN));
    assert_eq!(
        outcome.only_drop(),
        DropReason::TargetSecurityGroup,
        "no client is exempt"
    );
    let mut of_another = check();
    of_another.src = alt_vip();
    let outcome = vswitch.clb_node_sends(OF_MAIN, &segment(of_another, tcp::SYN));
    assert_eq!(outcome.only_drop(), DropReason::TargetSecurityGroup);
}

#[test]
fn a_source_of_the_shared_block_is_excused_only_where_checks_come_from_it() {
    let exempt = |source: Option<ProbeSource>| {
        let mut table = guarded(&ONLY_A_AND_B);
        let clb = &mut table.clbs[MAIN.index()];
        clb.security.probes_exempt = true;
        Arc::make_mut(&mut clb.listeners[0]).health = source.map(|source| HealthCheck {
            source,
            ..HealthCheck::default()
        });
        let shared = FlowKey {
            src: Address::v4([100, 64, 0, 9]),
            ..web(1)
        };
        let mut vswitch = vswitch_with(table);
        let outcome = vswitch.clb_node_sends(OF_MAIN, &segment(shared, tcp::SYN));
        !outcome.sent.is_empty()
    };
    assert!(exempt(Some(ProbeSource::Shared)));
    assert!(!exempt(Some(ProbeSource::Vip)), "a client's, then");
    assert!(!exempt(None));
}

#[test]
fn with_allow_by_default_only_the_load_balancers_own_groups_are_asked() {
    let mut table = guarded(&["any drop"]);
    table.clbs[MAIN.index()].security.passes_by_default = true;
    let mut vswitch = vswitch_with(table);
    let outcome = vswitch.clb_node_sends(OF_MAIN, &segment(web(1), tcp::SYN));
    outcome.only_sent();
    assert!(!vswitch.opens(web(2)), "of another load balancer they are");
}
