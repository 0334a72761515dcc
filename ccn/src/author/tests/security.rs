//! Security groups in the route table: who has which filter, and what of it stays.

use anyedge_net::flow::FlowKey;
use anyedge_net::security_group::{Direction, Filter, Rule};
use anyedge_net::wire::tcp;

use super::*;
use crate::table::object::{Clb, Host, Profile, SecurityGroup, SecurityRule};

fn group(name: &str, ingress: &[&str]) -> Change {
    let rule = |text: &&str| {
        let rule = Rule::parse(Direction::Ingress, text).expect("a sound rule");
        SecurityRule::from(&rule)
    };
    let group = SecurityGroup {
        name: name.to_owned(),
        rules: ingress.iter().map(rule).collect(),
    };
    Change::Put(group.into_object(), PutMode::Ensure)
}

fn bind(kind: Kind, name: &str, groups: &[&str]) -> Change {
    Change::SetSecurityGroups {
        key: Key::new(kind, name),
        groups: groups.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn publish(author: &mut TableAuthor, changes: impl IntoIterator<Item = Change>) -> Arc<RouteTable> {
    author.add(changes);
    author
        .publish(Instant::ZERO)
        .expect("the changes make sense")
}

fn of_host(table: &RouteTable) -> Option<&Arc<Filter>> {
    let host = table.node_named("host.web-1").expect("a host of the table");
    table.security.hosts.get(&host)
}

fn of_clb(table: &RouteTable) -> Option<&Arc<Filter>> {
    let main = table.clbs.iter().find(|clb| clb.name == "gz-main");
    main.expect("it is there").security.filter.as_ref()
}

fn admits(filter: Option<&Arc<Filter>>, client: &str) -> bool {
    let flow = FlowKey {
        src: client.parse().expect("a literal address"),
        dst: "10.0.0.11".parse().expect("a literal address"),
        src_port: 40_000,
        dst_port: 8_080,
        protocol: tcp::PROTOCOL,
    };
    filter.is_none_or(|filter| filter.admits(&flow))
}

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";

#[test]
fn several_groups_of_a_host_are_one_filter_in_their_order() {
    let mut author = author(plans());
    let open = publish(&mut author, []);
    assert!(of_host(&open).is_none() && of_clb(&open).is_none());
    let groups = [
        group("deny-a", &["192.0.2.1+8080 drop"]),
        group("web", &["0.0.0.0/0+8080 allow"]),
    ];
    let bound = bind(Kind::Host, "host.web-1", &["deny-a", "web"]);
    let table = publish(&mut author, groups.into_iter().chain([bound]));
    assert!(!admits(of_host(&table), A) && admits(of_host(&table), B));
    let turned = publish(
        &mut author,
        [bind(Kind::Host, "host.web-1", &["web", "deny-a"])],
    );
    assert!(admits(of_host(&turned), A), "the order of binding decides");
    let unbound = publish(&mut author, [bind(Kind::Host, "host.web-1", &[])]);
    assert!(of_host(&unbound).is_none());
}

#[test]
fn binding_is_seen_at_load_balancers_and_hosts() {
    let mut author = author(plans());
    let changes = [
        group("web", &["192.0.2.2+8080 allow"]),
        bind(Kind::Host, "host.web-1", &["web"]),
        bind(Kind::Clb, "gz-main", &["web"]),
    ];
    let table = publish(&mut author, changes);
    let (host, clb) = (of_host(&table), of_clb(&table));
    assert!(host.is_some() && clb.is_some(), "bound");
    assert!(
        Arc::ptr_eq(host.expect("it is"), clb.expect("it is")),
        "made once"
    );
    assert!(!admits(host, A) && admits(host, B));
    let (host, clb) = (
        Key::new(Kind::Host, "host.web-1"),
        Key::new(Kind::Clb, "gz-main"),
    );
    let kept = |key: &Key| {
        author
            .table()
            .entry(key)
            .map(|entry| Arc::clone(&entry.object))
    };
    let of_host = kept(&host).and_then(|it| Host::of(&it).map(|it| it.security_groups.clone()));
    let of_clb = kept(&clb).and_then(|it| Clb::of(&it).map(|it| it.security_groups.clone()));
    assert_eq!(
        (of_host, of_clb),
        (Some(vec!["web".to_owned()]), Some(vec!["web".to_owned()]))
    );
}

#[test]
fn a_filter_stays_the_same_while_its_groups_do_and_changes_with_a_rule() {
    let mut author = author(plans());
    let changes = [
        group("web", &["192.0.2.2+8080 allow"]),
        bind(Kind::Host, "host.web-1", &["web"]),
        bind(Kind::Clb, "gz-main", &["web"]),
    ];
    let first = publish(&mut author, changes);
    let address: Address = "10.0.0.12".parse().expect("a literal address");
    author
        .set_weight("gz-main", "hash", (address, 80), 0)
        .expect("there is such a target");
    let second = publish(&mut author, []);
    let same = |one: &RouteTable, other: &RouteTable| {
        let filters = of_clb(one).zip(of_clb(other));
        let filters = filters.is_some_and(|(one, other)| Arc::ptr_eq(one, other));
        (one.security.is(&other.security), filters)
    };
    assert_eq!(same(&first, &second), (true, true));
    let third = publish(&mut author, [group("web", &["any drop"])]);
    assert_eq!(same(&second, &third), (false, false));
    assert!(!admits(of_host(&third), B) && !admits(of_clb(&third), B));
    let listeners = second.clbs[0]
        .listeners
        .iter()
        .zip(&third.clbs[0].listeners);
    assert!(
        listeners
            .into_iter()
            .all(|(one, other)| Arc::ptr_eq(one, other))
    );
}

#[test]
fn an_anycast_address_bypasses_the_groups_of_its_load_balancer_only_with_the_fault_of_old() {
    let mut plans = plans();
    for clb in &mut plans.clbs {
        clb.security.groups = vec!["web".to_owned()];
    }
    let filter = |bypasses: bool| {
        let mut plans = plans.clone();
        for clb in &mut plans.clbs {
            clb.security.eip_bypasses = bypasses;
        }
        let mut author = author(plans);
        let table = publish(&mut author, [group("web", &["192.0.2.2+8080 allow"])]);
        of_clb(&table).map(Arc::clone)
    };
    assert!(!admits(filter(false).as_ref(), A), "they take effect");
    assert!(admits(filter(true).as_ref(), A), "they do not");
}

#[test]
fn in_profile_qingcloud_the_rule_that_drops_wins_among_equals() {
    let accepts = |profile| {
        let mut author = author(plans());
        author.settings.profile = profile;
        let rules = ["192.0.2.1+8080 allow", "192.0.2.1+8080 drop"];
        let changes = [
            group("web", &rules),
            bind(Kind::Host, "host.web-1", &["web"]),
        ];
        admits(of_host(&publish(&mut author, changes)), A)
    };
    assert!(accepts(Profile::Default));
    assert!(!accepts(Profile::Qingcloud));
}
