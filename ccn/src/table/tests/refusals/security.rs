//! Security groups: how many, which rules, who has them.

use super::*;
use anyedge_net::security_group::{Direction, Rule as SgRule};

fn rules(count: usize) -> Vec<SecurityRule> {
    let rule = SgRule::parse(Direction::Ingress, "0.0.0.0/0+8080 allow").expect("a sound rule");
    vec![SecurityRule::from(&rule); count]
}

fn group(name: &str, rules: Vec<SecurityRule>) -> SecurityGroup {
    let name = name.to_owned();
    SecurityGroup { name, rules }
}

fn with_rule(change: impl FnOnce(&mut SecurityRule)) -> Change {
    let mut rules = rules(2);
    change(&mut rules[1]);
    create(group("sg", rules))
}

/// Groups of these names, one rule each.
fn groups(count: usize) -> Vec<Change> {
    let name = |number| format!("sg-{number}");
    (1..=count)
        .map(|it| create(group(&name(it), rules(1))))
        .collect()
}

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("sg-{number}")).collect()
}

fn bind(kind: Kind, name: &str, groups: Vec<String>) -> Change {
    let key = Key::new(kind, name);
    Change::SetSecurityGroups { key, groups }
}

#[test]
fn the_sixth_group_and_the_513th_rule_are_refused() {
    let mut table = after(groups(6));
    table
        .take(bind(Kind::Clb, "gz-main", names(5)))
        .expect("five are fine");
    table
        .take(bind(Kind::Host, "host.web-1", names(5)))
        .expect("five are fine");
    table
        .take(create(group("full", rules(512))))
        .expect("512 are fine");
    cases! {
        "a sixth of a load balancer": groups(6), bind(Kind::Clb, "gz-main", names(6)) => LIMIT;
        "a sixth of a host": groups(6), bind(Kind::Host, "host.web-1", names(6)) => LIMIT;
        "the 513th rule": vec![], create(group("sg", rules(513))) => LIMIT;
        "the second, where one is allowed":
            vec![quotas(|it| it.rules_per_security_group = 1)], create(group("sg", rules(2))) => LIMIT;
    }
}

#[test]
fn groups_are_bound_by_names_that_exist_and_stay_while_they_are() {
    let bound = |kind, name: &str| {
        let mut changes = groups(2);
        changes.push(bind(kind, name, names(1)));
        changes
    };
    let gone = || Change::Remove(Key::new(Kind::SecurityGroup, "sg-1"));
    let twice = vec!["sg-1".to_owned(); 2];
    cases! {
        "no such group": vec![], bind(Kind::Clb, "gz-main", names(1)) => NO_RESOURCE;
        "no such load balancer": groups(1), bind(Kind::Clb, "none", names(1)) => NO_CLB;
        "no such host": groups(1), bind(Kind::Host, "host.none", names(1)) => NO_RESOURCE;
        "twice the same": groups(1), bind(Kind::Clb, "gz-main", twice) => DUPLICATE;
        "of a POP": groups(1), bind(Kind::Pop, "pop.tokyo", names(1)) => PRECONDITION;
        "used by a load balancer": bound(Kind::Clb, "gz-main"), gone() => IN_USE;
        "used by a host": bound(Kind::Host, "host.web-1"), gone() => IN_USE;
        "gone already": groups(0), gone() => NO_RESOURCE;
    }
    let mut table = after(bound(Kind::Host, "host.web-1"));
    table
        .take(bind(Kind::Host, "host.web-1", vec![]))
        .expect("it is unbound");
    table.take(gone()).expect("nobody has it");
}

#[test]
fn rules_are_in_range() {
    let outside = Network {
        address: address("203.0.113.7"),
        length: 24,
    };
    cases! {
        "a port too great": vec![], with_rule(|it| it.last_port = 65_536) => RANGE;
        "ports from behind": vec![], with_rule(|it| it.last_port = 1) => RANGE;
        "a priority too great": vec![], with_rule(|it| it.priority = 101) => RANGE;
        "a range that begins elsewhere": vec![], with_rule(|it| it.peer = Some(outside)) => VALUE;
        "ports of ICMP":
            vec![],
            with_rule(|it| it.protocol = anyedge_net::security_group::Protocol::Icmp) => PROTOCOL;
        "no name": vec![], create(group("A b", rules(1))) => FORMAT;
    }
}

#[test]
fn whose_groups_are_asked_is_fixed_for_ipv6_and_with_binding_2_0() {
    let v6 = |passes: bool| {
        create(clb(|it| {
            it.ip_version = IpVersion::V6;
            it.clb_type = ClbType::Public;
            it.sg_pass_by_default = passes;
        }))
    };
    let mut table = after([tencent()]);
    table.take(v6(true)).expect("on it is, and stays");
    after([]).take(v6(false)).expect("elsewhere it may be off");
    cases! {
        "off for IPv6": vec![tencent()], v6(false) => PRECONDITION;
        "on with 2.0":
            vec![],
            create(clb(|it| { it.cross_region = CrossRegion::V2; it.sg_pass_by_default = true; })) => PRECONDITION;
    }
    let given = |ip_version| {
        let mut asked = anyedge_proto::table::v1::Clb::from(&clb(|it| it.ip_version = ip_version));
        (asked.sg_pass_by_default, asked.sg_probes_exempt) = (None, None);
        Clb::try_from(&asked)
            .expect("it has a shape")
            .sg_pass_by_default
    };
    assert!(given(IpVersion::V6) && !given(IpVersion::Dual) && !given(IpVersion::V4));
}
