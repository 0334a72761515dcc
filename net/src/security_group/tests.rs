//! Filters by example, and against a walk over the rules.

use proptest::prelude::*;

use super::*;
use crate::flow::Address;
use crate::wire::{icmp, tcp, udp};

const A: &str = "203.0.113.1";
const B: &str = "203.0.113.2";
const C: &str = "198.51.100.3";

/// A packet of `client` to port `port`.
fn flow(client: &str, protocol: u8, port: u16) -> FlowKey {
    let src: Address = client.parse().expect("a literal address");
    let dst = if client.contains(':') {
        "fd00::1"
    } else {
        "10.0.0.1"
    };
    FlowKey {
        src,
        dst: dst.parse().expect("a literal address"),
        src_port: 40_000,
        dst_port: port,
        protocol,
    }
}

fn web(client: &str) -> FlowKey {
    flow(client, tcp::PROTOCOL, 8_080)
}

fn group(direction: Direction, rules: &[&str]) -> Vec<Rule> {
    let rule = |text: &&str| Rule::parse(direction, text).expect("a sound rule");
    rules.iter().map(rule).collect()
}

fn ingress(rules: &[&str]) -> Filter {
    Filter::compile(&[&group(Direction::Ingress, rules)], Precedence::First)
}

#[test]
fn the_first_rule_that_matches_wins() {
    let some = ingress(&[
        "203.0.113.1+8080 allow",
        "203.0.113.2+8080 allow",
        "0.0.0.0/0+8080 drop",
    ]);
    assert!(some.admits(&web(A)) && some.admits(&web(B)) && !some.admits(&web(C)));
    let none = ingress(&["203.0.113.1+8080 drop", "0.0.0.0/0+8080 accept"]);
    assert!(!none.admits(&web(A)) && none.admits(&web(C)));
    let reversed = ingress(&["0.0.0.0/0+8080 accept", "203.0.113.1+8080 drop"]);
    assert!(reversed.admits(&web(A)), "the blacklist stands behind it");
}

#[test]
fn groups_are_asked_in_the_order_of_their_binding() {
    let open = group(Direction::Ingress, &["any allow"]);
    let shut = group(Direction::Ingress, &["any drop"]);
    let of = |groups: &[&[Rule]]| Filter::compile(groups, Precedence::First);
    assert!(of(&[&open, &shut]).admits(&web(A)));
    assert!(!of(&[&shut, &open]).admits(&web(A)));
}

#[test]
fn without_a_match_nothing_comes_in_and_all_goes_out() {
    let filter = ingress(&["203.0.113.1+8080 allow"]);
    assert!(!filter.admits(&flow(A, tcp::PROTOCOL, 8_081)));
    assert!(filter.lets_out(&web(A).reversed()));
}

#[test]
fn a_group_without_rules_rejects_both_ways() {
    let empty = Filter::compile(&[&[]], Precedence::First);
    assert!(!empty.admits(&web(A)) && !empty.lets_out(&web(A)));
    let open = group(Direction::Ingress, &["any allow"]);
    let behind = Filter::compile(&[&open, &[]], Precedence::First);
    assert!(behind.admits(&web(A)), "a rule before it decides");
    assert!(!behind.lets_out(&web(A)), "nothing before it does");
}

#[test]
fn a_rule_with_ports_is_none_of_protocols_without() {
    let filter = ingress(&["any+8080 drop", "any accept"]);
    assert!(!filter.admits(&web(A)));
    assert!(!filter.admits(&flow(A, udp::PROTOCOL, 8_080)));
    assert!(filter.admits(&flow(A, icmp::PROTOCOL_V4, 0)));
    assert!(filter.admits(&flow(A, 47, 0)));
    let pings = ingress(&["any+icmp accept"]);
    assert!(pings.admits(&flow(A, icmp::PROTOCOL_V4, 0)));
    assert!(pings.admits(&flow("2001:db8::1", icmp::PROTOCOL_V6, 0)));
    assert!(!pings.admits(&web(A)));
}

#[test]
fn a_range_is_of_its_own_family_and_any_is_of_both() {
    let filter = ingress(&["0.0.0.0/0 accept"]);
    assert!(filter.admits(&web(A)) && !filter.admits(&web("2001:db8::1")));
    let filter = ingress(&["::/0+tcp accept"]);
    assert!(!filter.admits(&web(A)) && filter.admits(&web("2001:db8::1")));
    let filter = ingress(&["any accept"]);
    assert!(filter.admits(&web(A)) && filter.admits(&web("2001:db8::1")));
}

#[test]
fn outward_rules_name_the_destination() {
    let rules = group(Direction::Egress, &["203.0.113.10+80 allow", "any+80 drop"]);
    let filter = Filter::compile(&[&rules], Precedence::First);
    let to = |dst: &str| FlowKey {
        dst: dst.parse().expect("a literal address"),
        ..flow(C, tcp::PROTOCOL, 80)
    };
    assert!(filter.lets_out(&to("203.0.113.10")) && !filter.lets_out(&to("203.0.113.11")));
    assert!(
        !filter.admits(&to("203.0.113.10")),
        "none of them is of that way"
    );
}

#[test]
fn the_smaller_priority_goes_first_and_of_equals_the_one_that_drops() {
    let rules = group(
        Direction::Ingress,
        &[
            "5: any+80 allow",
            "5: any+80 drop",
            "4: any+81 allow",
            "5: any+81 drop",
        ],
    );
    let decide = |precedence, port| {
        let filter = Filter::compile(&[&rules], precedence);
        filter.admits(&flow(A, tcp::PROTOCOL, port))
    };
    assert!(!decide(Precedence::Drop, 80), "deny wins");
    assert!(decide(Precedence::First, 80), "the one that stands first");
    assert!(decide(Precedence::Drop, 81) && decide(Precedence::First, 81));
}

#[test]
fn a_rule_decides_unless_those_before_it_match_all_of_it() {
    let decides = |rules: &[&str]| deciding(&group(Direction::Ingress, rules), Precedence::First);
    assert_eq!(
        decides(&["any+8080 accept", "203.0.113.1+8080 drop", "any accept"]),
        [true, false, true]
    );
    let halves = [
        "0.0.0.0/1+tcp/80 accept",
        "128.0.0.0/1+tcp/80 drop",
        "0.0.0.0/0+tcp/80 drop",
    ];
    assert_eq!(decides(&halves), [true, true, false], "between them");
    let with_udp = [halves[0], halves[1], "0.0.0.0/0+80 drop"];
    assert_eq!(decides(&with_udp), [true, true, true]);
    assert_eq!(decides(&[]), [false; 0]);
    let rules = group(Direction::Ingress, &["5: any allow", "5: any drop"]);
    assert_eq!(deciding(&rules, Precedence::Drop), [false, true]);
}

#[test]
fn a_rule_covers_what_is_narrower_in_peer_protocol_and_ports() {
    let rule = |text: &str| Rule::parse(Direction::Ingress, text).expect("a sound rule");
    let covers = |one: &str, other: &str| rule(one).covers(&rule(other));
    assert!(covers("any drop", "203.0.113.1+tcp/80 accept"));
    assert!(covers("0.0.0.0/0+80-90 drop", "203.0.113.0/24+tcp/85 drop"));
    assert!(!covers("0.0.0.0/0 drop", "2001:db8::1 drop"));
    assert!(!covers("0.0.0.0/0 drop", "any drop"));
    assert!(!covers("any+tcp drop", "any drop"));
    assert!(!covers("any+80 drop", "any+tcp drop"));
    assert!(!rule("any drop").covers(&Rule::all(Direction::Egress, Action::Drop)));
}

#[test]
fn a_rule_reads_as_it_is_written() {
    for text in [
        "203.0.113.0/24+8080 accept",
        "203.0.113.7+tcp/8000-8099 drop",
        "2001:db8::/32+udp/53 accept",
        "any+icmp accept",
        "any drop",
        "7: 2001:db8::1+udp drop",
    ] {
        let rule = Rule::parse(Direction::Ingress, text).expect("it is one");
        assert_eq!(rule.to_string(), text);
    }
    let parse = |text| Rule::parse(Direction::Egress, text);
    assert_eq!(
        parse("0.0.0.0/0+8080 allow"),
        parse("0.0.0.0/0+8080  accept")
    );
    assert_eq!(parse("any deny"), parse("any+all drop"));
    for (text, error) in [
        ("203.0.113.7+8080", RuleError::Action),
        ("any permit", RuleError::Action),
        ("203.0.113+8080 allow", RuleError::Peer),
        ("203.0.113.7/24+8080 allow", RuleError::HostBits),
        ("any+sctp/8080 allow", RuleError::Protocol),
        ("any+sctp allow", RuleError::Protocol),
        ("any+tcp/80a allow", RuleError::Ports),
        ("any+65536 allow", RuleError::Ports),
        ("any+9-8 allow", RuleError::Ports),
        ("any+icmp/8 allow", RuleError::Ports),
        ("101: any drop", RuleError::Priority),
        ("first: any drop", RuleError::Priority),
    ] {
        assert_eq!(parse(text), Err(error), "{text}");
    }
    assert_eq!(Direction::named("downlink"), Some(Direction::Ingress));
    assert_eq!(Direction::named("uplink"), Some(Direction::Egress));
}

/// Addresses that are near each other, so that ranges meet.
fn address() -> impl Strategy<Value = std::net::IpAddr> {
    let v4 = any::<[u8; 2]>().prop_map(|[a, b]| std::net::IpAddr::from([10, a & 3, b & 3, b >> 6]));
    let v6 = any::<[u8; 2]>().prop_map(|[a, b]| {
        let low = u128::from(a & 7) << 64 | u128::from(b & 7);
        std::net::IpAddr::from((0x2001_0db8_u128 << 96 | low).to_be_bytes())
    });
    prop_oneof![v4, v6]
}

fn rule() -> impl Strategy<Value = Rule> {
    let peer = prop::option::of((address(), 0_u8..=128));
    let protocol = prop::sample::select(vec![
        Protocol::All,
        Protocol::Tcp,
        Protocol::Udp,
        Protocol::Icmp,
    ]);
    let ports = prop_oneof![
        Just(ALL_PORTS),
        (0_u16..40, 0_u16..20).prop_map(|(a, b)| (a, a + b))
    ];
    let ways = (any::<bool>(), any::<bool>(), 0_u8..3);
    (peer, protocol, ports, ways).prop_map(
        |(peer, protocol, ports, (inward, accepts, priority))| {
            let net = |(address, length): (std::net::IpAddr, u8)| {
                let most = if address.is_ipv4() { 32 } else { 128 };
                IpNet::new(address, length.min(most))
                    .expect("a length of its family")
                    .trunc()
            };
            let direction = if inward {
                Direction::Ingress
            } else {
                Direction::Egress
            };
            let action = if accepts {
                Action::Accept
            } else {
                Action::Drop
            };
            Rule {
                peer: peer.map(net),
                protocol,
                ports,
                priority,
                ..Rule::all(direction, action)
            }
        },
    )
}

fn packet() -> impl Strategy<Value = FlowKey> {
    let protocol = prop::sample::select(vec![tcp::PROTOCOL, udp::PROTOCOL, 1, 58, 47]);
    (address(), address(), protocol, 0_u16..64).prop_map(|(src, dst, protocol, port)| FlowKey {
        src: src.into(),
        dst: dst.into(),
        src_port: 1_234,
        dst_port: if matches!(protocol, tcp::PROTOCOL | udp::PROTOCOL) {
            port
        } else {
            0
        },
        protocol,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_decides_as_a_walk_over_the_rules(
        groups in prop::collection::vec(prop::collection::vec(rule(), 0..90), 1..4),
        packets in prop::collection::vec(packet(), 1..40),
        precedence in prop::sample::select(vec![Precedence::First, Precedence::Drop]),
    ) {
        let lists: Vec<&[Rule]> = groups.iter().map(Vec::as_slice).collect();
        let filter = Filter::compile(&lists, precedence);
        let rules = in_order(&lists, precedence);
        let walk = |direction, peer: &Address, flow: &FlowKey, otherwise| {
            let own = rules.iter().filter(|rule| rule.direction == direction);
            let mut matching = own.filter(|rule| classifier::matches(rule, peer, flow));
            matching.next().map_or(otherwise, |rule| rule.action) == Action::Accept
        };
        let decides = deciding(&groups[0], precedence);
        let order = order(&groups[0], precedence);
        for flow in packets {
            for (direction, peer) in [(Direction::Ingress, &flow.src), (Direction::Egress, &flow.dst)] {
                let own = |place: &&usize| groups[0][**place].direction == direction;
                let mut own = order.iter().filter(own);
                let first = own.find(|place| classifier::matches(&groups[0][**place], peer, &flow));
                prop_assert!(first.is_none_or(|place| decides[*place]));
            }
            let inward = walk(Direction::Ingress, &flow.src, &flow, Action::Drop);
            prop_assert_eq!(filter.admits(&flow), inward);
            let outward = walk(Direction::Egress, &flow.dst, &flow, Action::Accept);
            prop_assert_eq!(filter.lets_out(&flow), outward);
        }
    }
}

#[test]
fn an_address_that_ends_in_colons_is_no_priority() {
    for (text, priority) in [
        ("2001:db8:: drop", 0),
        (":: drop", 0),
        ("7: 2001:db8:: drop", 7),
    ] {
        let rule = Rule::parse(Direction::Ingress, text).expect(text);
        assert_eq!(rule.priority, priority, "{text}");
        assert_eq!(Rule::parse(Direction::Ingress, &rule.to_string()), Ok(rule));
    }
    let refused = Rule::parse(Direction::Ingress, "x: any drop");
    assert_eq!(refused, Err(RuleError::Priority));
}
