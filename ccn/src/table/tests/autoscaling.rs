//! Auto-scaling groups: who joins one is bound to its listeners, who leaves it is unbound, all of it or nothing.

use super::*;

pub(super) fn server(ip: &str) -> ScalingServer {
    ScalingServer {
        address: address(ip),
        host: "host.web-1".to_owned(),
    }
}

pub(super) fn group(listeners: &[&str]) -> AutoScalingGroup {
    AutoScalingGroup {
        name: "as".to_owned(),
        listeners: listeners.iter().map(|name| (*name).to_owned()).collect(),
        port: 8_080,
        weight: 20,
        servers: Vec::new(),
    }
}

fn scale(joins: &[&str], leaves: &[&str]) -> Change {
    Change::Scale {
        group: "as".to_owned(),
        joins: joins.iter().map(|ip| server(ip)).collect(),
        leaves: leaves.iter().map(|ip| address(ip)).collect(),
    }
}

/// Targets of 10.0.1.0/24, the servers of the group.
fn scaled(table: &Table) -> Vec<String> {
    let targets = table.all::<Target>().map(Target::full_name);
    targets.filter(|name| name.contains("/10.0.1.")).collect()
}

/// The small world with a group of that many servers, at a TCP and a UDP listener.
fn with_group(servers: &[&str]) -> Table {
    let listeners = ["gz-main/web", "gz-main/tick"];
    let mut table = after([create(group(&listeners))]);
    if !servers.is_empty() {
        table.take(scale(servers, &[])).expect("they are eligible");
    }
    table
}

#[test]
fn servers_of_a_group_are_bound_and_unbound_by_themselves() {
    let mut table = with_group(&[]);
    let delta = table
        .take(scale(&["10.0.1.1", "10.0.1.2"], &[]))
        .expect("they are eligible");
    assert_eq!(
        scaled(&table),
        [
            "gz-main/tick/10.0.1.1:8080",
            "gz-main/tick/10.0.1.2:8080",
            "gz-main/web/10.0.1.1:8080",
            "gz-main/web/10.0.1.2:8080",
        ]
    );
    assert_eq!(delta.changes.len(), 5, "the group and its targets at once");
    let target = table.get::<Target>("gz-main/web/10.0.1.2:8080");
    assert_eq!(target.map(|target| target.weight), Some(20));
    table
        .take(scale(&["10.0.1.3"], &["10.0.1.1"]))
        .expect("one for another");
    assert_eq!(
        scaled(&table),
        [
            "gz-main/tick/10.0.1.2:8080",
            "gz-main/tick/10.0.1.3:8080",
            "gz-main/web/10.0.1.2:8080",
            "gz-main/web/10.0.1.3:8080",
        ]
    );
    let old = "gz-main/web/10.0.0.11:8080";
    assert!(table.get::<Target>(old).is_some(), "it is no group's");
    let key = Key::new(Kind::AutoScalingGroup, "as");
    table.take(Change::Remove(key)).expect("nothing needs it");
    assert!(scaled(&table).is_empty());
}

#[test]
fn a_scaling_of_which_one_part_is_refused_does_nothing() {
    let mut table = with_group(&["10.0.1.1"]);
    let refused = |table: &mut Table, change| table.take(change).expect_err("it is refused").reason;
    let mut elsewhere = scale(&["10.0.1.2", "10.0.1.3"], &["10.0.1.1"]);
    if let Change::Scale { joins, .. } = &mut elsewhere {
        joins[1].host = "host.kr-1".to_owned();
    }
    assert_eq!(refused(&mut table, elsewhere), Reason::TargetRegion);
    let isolated = Host {
        state: HostState::Isolated,
        ..host("host.new", "guangzhou", 9)
    };
    table.take(create(isolated)).expect("a host");
    let mut join = scale(&["10.0.1.2"], &[]);
    if let Change::Scale { joins, .. } = &mut join {
        joins[0].host = "host.new".to_owned();
    }
    assert_eq!(refused(&mut table, join), Reason::TargetIsolated);
    let twice = scale(&["10.0.1.1"], &[]);
    assert_eq!(refused(&mut table, twice), Reason::Duplicate);
    let bound = scale(&["10.0.0.11"], &[]);
    assert_eq!(refused(&mut table, bound), Reason::Duplicate, "by hand");
    let absent = scale(&[], &["10.0.1.9"]);
    assert_eq!(refused(&mut table, absent), Reason::NoResource);
    assert_eq!(refused(&mut table, scale(&[], &[])), Reason::Missing);
    let mut settings = Settings::default();
    settings.quotas.targets_per_rule = 4;
    table.take(ensure(settings)).expect("there are 4 at most");
    let fifth = scale(&["10.0.1.2"], &[]);
    assert_eq!(refused(&mut table, fifth), Reason::Limit);
    assert_eq!(scaled(&table).len(), 2);
}

#[test]
fn a_group_is_in_range_and_refers_to_what_is_there() {
    let refused = |change: fn(&mut AutoScalingGroup)| {
        let mut group = group(&["gz-main/web"]);
        change(&mut group);
        let refusal = table().take(create(group));
        refusal.expect_err("it is refused").reason
    };
    assert_eq!(refused(|it| it.port = 0), Reason::Range);
    assert_eq!(refused(|it| it.weight = 101), Reason::Range);
    assert_eq!(refused(|it| it.name = "A".to_owned()), Reason::Format);
    let none = |it: &mut AutoScalingGroup| it.listeners[0] = "gz-main/none".to_owned();
    assert_eq!(refused(none), Reason::NoListener);
    let none = |it: &mut AutoScalingGroup| it.listeners[0] = "gz-main/site/none".to_owned();
    assert_eq!(refused(none), Reason::NoRule);
    let twice = |it: &mut AutoScalingGroup| it.listeners.push("gz-main/web".to_owned());
    assert_eq!(refused(twice), Reason::Duplicate);
    let host = |it: &mut AutoScalingGroup| {
        let host = "host.none".to_owned();
        let address = address("10.0.1.1");
        it.listeners.clear();
        it.servers.push(ScalingServer { address, host });
    };
    assert_eq!(refused(host), Reason::NoResource);
    let many = |it: &mut AutoScalingGroup| {
        it.listeners.clear();
        let address = |number: usize| Address::v4([10, 9, (number >> 8) as u8, number as u8]);
        let server = |number| ScalingServer {
            address: address(number),
            host: "host.web-1".to_owned(),
        };
        it.servers = (0..=SCALING_SERVERS_MAX).map(server).collect();
    };
    assert_eq!(refused(many), Reason::Limit);
    let rule = group(&["gz-main/site/shop"]);
    table().take(create(rule)).expect("a rule of layer 7");
}

#[test]
fn a_group_follows_its_listeners_and_its_hosts() {
    let mut table = with_group(&["10.0.1.1", "10.0.1.2"]);
    let unbound = vec!["gz-main/web/10.0.1.1:8080".to_owned()];
    table
        .take(Change::DeregisterTargets(unbound))
        .expect("by hand");
    let mut group = table
        .get::<AutoScalingGroup>("as")
        .expect("it is there")
        .clone();
    group.listeners.pop();
    group.weight = 30;
    table.take(update(group)).expect("one listener less");
    assert_eq!(scaled(&table), ["gz-main/web/10.0.1.2:8080"]);
    let target = table.get::<Target>("gz-main/web/10.0.1.2:8080");
    let weight = target.map(|target| target.weight);
    assert_eq!(weight, Some(20), "a weight is for those who join");
    for (kind, name) in [(Kind::Listener, "gz-main/web"), (Kind::Clb, "gz-main")] {
        let key = Key::new(kind, name);
        let unbind = Change::BindVip {
            vip: "game".to_owned(),
            clb: String::new(),
        };
        let mut table = table.clone();
        table.take(unbind).expect("it is bound");
        let refusal = table.take(Change::Remove(key)).expect_err("it has a group");
        assert_eq!(refusal.reason, Reason::InUse);
    }
    let host = Key::new(Kind::Host, "host.web-1");
    table.take(Change::Remove(host)).expect("hosts may go");
    assert!(scaled(&table).is_empty());
    let group = table.get::<AutoScalingGroup>("as");
    assert_eq!(group.map(|group| group.servers.len()), Some(0));
    let backup = table.restorable();
    let again = table.take(Change::Restore(backup));
    assert!(again.is_ok_and(|delta| delta.changes.is_empty()));
}
