//! Routes of a CCN: what is learned, what is on, and where a packet goes.

use super::*;

/// Attaches a network to the CCN `backbone`, with these prefixes and lengths of AS paths.
pub(super) fn attach(name: &str, kind: AttachmentKind, routes: &[(&str, u32)]) -> Change {
    let learned = |(prefix, as_path_len): &(&str, u32)| LearnedRoute {
        network: network(prefix),
        as_path_len: *as_path_len,
    };
    ensure(Attachment {
        ccn: "backbone".to_owned(),
        name: name.to_owned(),
        kind,
        routes: routes.iter().map(learned).collect(),
    })
}

fn network(prefix: &str) -> Network {
    let (first, length) = prefix.split_once('/').expect("a prefix has a length");
    Network {
        address: address(first),
        length: length.parse().expect("a length is a number"),
    }
}

fn with(attachments: impl IntoIterator<Item = Change>) -> Table {
    let ccn = create(Ccn {
        name: "backbone".to_owned(),
    });
    after([ccn].into_iter().chain(attachments))
}

/// Over what a packet to `ip` goes.
fn ways(table: &Table, ip: &str) -> Vec<String> {
    let routes = table.ccn_routes_to("backbone", &address(ip)).into_iter();
    routes
        .map(|route| format!("{} {}", route.network, route.attachment))
        .collect()
}

fn switch(route: &str, enabled: bool) -> Change {
    Change::EnableRoutes(vec![format!("backbone/{route}")], enabled)
}

use AttachmentKind::{DirectConnect, Vpc};

#[test]
fn a_route_that_overlaps_comes_in_off_and_the_longest_prefix_leads() {
    let mut table = with([
        attach("a", Vpc, &[("10.0.0.0/20", 0)]),
        attach("b", Vpc, &[("10.0.1.0/24", 0)]),
    ]);
    assert_eq!(
        ways(&table, "10.0.1.5"),
        ["10.0.0.0/20 a"],
        "the later one lost"
    );
    table
        .take(switch("10.0.1.0/24/b", true))
        .expect("an operator may");
    assert_eq!(ways(&table, "10.0.1.5"), ["10.0.1.0/24 b"]);
    assert_eq!(ways(&table, "10.0.2.5"), ["10.0.0.0/20 a"]);
    assert_eq!(ways(&table, "10.1.0.1"), [""; 0]);
}

#[test]
fn of_one_prefix_over_two_networks_one_is_on() {
    let same = [("10.0.0.0/16", 0)];
    let mut table = with([attach("a", Vpc, &same), attach("b", Vpc, &same)]);
    assert_eq!(ways(&table, "10.0.0.1"), ["10.0.0.0/16 a"]);
    let refusal = table
        .take(switch("10.0.0.0/16/b", true))
        .expect_err("a's is on");
    assert_eq!(
        (refusal.code, refusal.reason),
        (Code::FailedPrecondition, Reason::Operation)
    );
    table
        .take(switch("10.0.0.0/16/a", false))
        .expect("it is on");
    table
        .take(switch("10.0.0.0/16/b", true))
        .expect("a's is off");
    assert_eq!(ways(&table, "10.0.0.1"), ["10.0.0.0/16 b"]);
}

#[test]
fn direct_connect_gateways_share_a_prefix_while_their_as_paths_are_equally_long() {
    let route = |len| [("10.0.0.0/16", len)];
    let equal = with([
        attach("a", DirectConnect, &route(3)),
        attach("b", DirectConnect, &route(3)),
    ]);
    assert_eq!(ways(&equal, "10.0.0.1"), ["10.0.0.0/16 a", "10.0.0.0/16 b"]);
    let shorter = with([
        attach("a", DirectConnect, &route(3)),
        attach("b", DirectConnect, &route(2)),
    ]);
    assert_eq!(ways(&shorter, "10.0.0.1"), ["10.0.0.0/16 b"]);
    let longer = with([
        attach("a", DirectConnect, &route(3)),
        attach("b", DirectConnect, &route(4)),
    ]);
    assert_eq!(ways(&longer, "10.0.0.1"), ["10.0.0.0/16 a"]);
    let cut = with([attach("a", DirectConnect, &route(31))]);
    let route = cut.all::<CcnRoute>().next().expect("it was learned");
    assert_eq!(route.as_path_len, 30);
}

#[test]
fn routes_come_and_go_with_their_attachment_and_by_no_other_way() {
    let mut table = with([attach("a", Vpc, &[("10.0.0.0/16", 0), ("10.1.0.0/16", 0)])]);
    table
        .take(attach("a", Vpc, &[("10.1.0.0/16", 0)]))
        .expect("a subnet was deleted");
    assert_eq!(table.count(Kind::CcnRoute), 1);
    let key = Key::new(Kind::CcnRoute, "backbone/10.1.0.0/16/a");
    let own = table
        .get::<CcnRoute>(&key.name)
        .expect("it is there")
        .clone();
    for change in [Change::Remove(key), ensure(own)] {
        assert_eq!(
            table.take(change).expect_err("it is learned").reason,
            Reason::Operation
        );
    }
    let attachment = Key::new(Kind::Attachment, "backbone/a");
    table
        .take(Change::Remove(Key::new(Kind::Ccn, "backbone")))
        .expect_err("a is attached");
    table
        .take(Change::Remove(attachment))
        .expect("it may be detached");
    assert_eq!(table.count(Kind::CcnRoute), 0);
}

#[test]
fn what_is_no_network_and_what_is_too_much_is_refused() {
    let mut table = with([]);
    for prefix in ["10.0.0.1/24", "10.0.0.0/33"] {
        let refusal = table
            .take(attach("a", Vpc, &[(prefix, 0)]))
            .expect_err("no network");
        assert_eq!(
            (refusal.code, refusal.reason),
            (Code::InvalidArgument, Reason::Value)
        );
    }
    for number in 0..25 {
        table
            .take(attach(&format!("n-{number}"), Vpc, &[]))
            .expect("25 may be attached");
    }
    let refusal = table
        .take(attach("n-25", Vpc, &[]))
        .expect_err("one too many");
    assert_eq!(refusal.reason, Reason::Limit);
    let none = ensure(Attachment {
        ccn: "none".to_owned(),
        name: "a".to_owned(),
        kind: Vpc,
        routes: vec![],
    });
    assert_eq!(
        table.take(none).expect_err("no such CCN").reason,
        Reason::NoResource
    );
}

#[test]
fn targets_on_premises_and_in_joined_networks_are_bound_by_2_0() {
    let mut table = with([
        attach("guangzhou", Vpc, &[]),
        attach("seoul", Vpc, &[]),
        update(Clb {
            cross_region: CrossRegion::V2,
            ..Clb::new("gz-main", "guangzhou")
        }),
        create(SnatIp {
            clb: "gz-main".to_owned(),
            address: address("10.0.9.9"),
        }),
    ]);
    let far = Target {
        host: "host.kr-1".to_owned(),
        ..target("gz-main/web", "10.8.0.1", 80)
    };
    let idc = Target {
        kind: TargetKind::Idc,
        host: String::new(),
        ..target("gz-main/web", "192.168.0.1", 80)
    };
    table
        .take(Change::RegisterTargets(vec![far, idc]))
        .expect("both can be reached");
    let snat = Change::Remove(Key::new(Kind::SnatIp, "gz-main/10.0.9.9"));
    let refusal = table.take(snat).expect_err("a target on premises needs it");
    assert_eq!(refusal.reason, Reason::Operation);
    let detach = Change::Remove(Key::new(Kind::Attachment, "backbone/seoul"));
    assert_eq!(
        table.take(detach).expect_err("a target needs it").reason,
        Reason::TargetNetwork
    );
}
