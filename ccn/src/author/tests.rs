//! A small world of plans and the tables that come of it.
//!
//! Two POPs publish a VIP of both families, whose load balancer has a region of two CLB nodes and one host.
//! Names and order of addition differ on purpose from the order of ids.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use anyedge_net::flow::Family;
use anyedge_net::id::{ClbId, NodeId, Revision};
use anyedge_net::maglev::is_prime;
use anyedge_net::route_table::{HealthCheck, NodeKind, RescheduleOn, Scheduler, SourceTold};
use anyedge_net::wire::outer::Encap;

use super::plan::{
    EndsPlan, ListenerPlan, Protocol, SchedulerKind, SecurityPlan, SnatPlan, TargetPlan,
};
use super::*;

mod parts;
mod refusals;
mod security;

/// All that is added.
#[derive(Clone, Default)]
struct Plans {
    pops: Vec<NodePlan>,
    regions: Vec<RegionPlan>,
    hosts: Vec<HostPlan>,
    paths: Vec<PathPlan>,
    clbs: Vec<ClbPlan>,
    vips: Vec<VipPlan>,
}

fn node(name: &str, number: u8) -> NodePlan {
    NodePlan {
        name: name.to_owned(),
        underlay_v4: Ipv4Addr::new(10, 255, 0, number),
        underlay_v6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()),
    }
}

fn path(name: &str, ends: EndsPlan, underlay: Family, mtu: u16) -> PathPlan {
    let rtt = Duration::from_millis(50);
    PathPlan {
        name: name.to_owned(),
        ends,
        encap: Encap::Gre,
        underlay,
        mtu,
        rtt,
    }
}

fn ccn(name: &str, pop: &str, underlay: Family, mtu: u16) -> PathPlan {
    path(
        name,
        EndsPlan::Ccn {
            pop: pop.to_owned(),
            region: "guangzhou".to_owned(),
        },
        underlay,
        mtu,
    )
}

fn fabric(name: &str, host: &str) -> PathPlan {
    path(
        name,
        EndsPlan::Fabric {
            host: host.to_owned(),
        },
        Family::V4,
        1_600,
    )
}

fn target(address: &str, port: u16, weight: u8) -> TargetPlan {
    let address = address.parse().expect("a literal address");
    TargetPlan {
        address,
        port,
        weight,
        host: "host.web-1".to_owned(),
    }
}

fn listener(
    name: &str,
    port: u16,
    scheduler: SchedulerKind,
    targets: &[TargetPlan],
) -> ListenerPlan {
    ListenerPlan {
        name: name.to_owned(),
        protocol: Protocol::Tcp,
        port,
        scheduler,
        session_expire: 0,
        limits: [0; 2],
        idle_timeout: 0,
        reschedule_on: RescheduleOn::default(),
        health: None,
        source: SourceTold::default(),
        targets: targets.to_vec(),
    }
}

fn plans() -> Plans {
    let targets = [
        target("10.0.0.11", 80, 10),
        target("10.0.0.12", 80, 20),
        target("fd00:1::11", 80, 10),
    ];
    let clb = |name: &str, listeners: Vec<ListenerPlan>| ClbPlan {
        name: name.to_owned(),
        region: "guangzhou".to_owned(),
        client_affinity: false,
        rst_on_unbind: true,
        unbind_drain: None,
        unbind_spread: Duration::ZERO,
        fail_open: true,
        shared: false,
        security: SecurityPlan::default(),
        snat: SnatPlan::default(),
        listeners,
    };
    let clbs = vec![
        clb("spare", vec![]),
        clb(
            "gz-main",
            vec![
                listener("web", 80, SchedulerKind::Wrr, &targets),
                listener("hash", 81, SchedulerKind::Maglev, &targets),
            ],
        ),
    ];
    let address = |text: &str| text.parse().expect("a literal address");
    let vip = VipPlan {
        name: "game".to_owned(),
        addresses: vec![address("203.0.113.10"), address("2001:db8:113::10")],
        clb: "gz-main".to_owned(),
        standby: Vec::new(),
        publishers_min: 1,
        publishers: vec!["pop.tokyo".to_owned(), "pop.frankfurt".to_owned()],
    };
    Plans {
        pops: vec![node("pop.tokyo", 1), node("pop.frankfurt", 2)],
        regions: vec![RegionPlan {
            name: "guangzhou".to_owned(),
            clb_nodes: vec![
                node("region.guangzhou.clb-2", 4),
                node("region.guangzhou.clb-1", 3),
            ],
        }],
        hosts: vec![HostPlan {
            node: node("host.web-1", 5),
            region: "guangzhou".to_owned(),
            zone: String::new(),
            security_groups: Vec::new(),
        }],
        paths: vec![
            ccn("tokyo-guangzhou", "pop.tokyo", Family::V4, 1_500),
            ccn("frankfurt-guangzhou", "pop.frankfurt", Family::V4, 1_500),
            fabric("guangzhou-web-1", "host.web-1"),
        ],
        clbs,
        vips: vec![vip],
    }
}

fn author(plans: Plans) -> TableAuthor {
    let mut author = TableAuthor::new(HashKey::new([7; 16]));
    plans.pops.into_iter().for_each(|it| author.add_pop(it));
    plans
        .regions
        .into_iter()
        .for_each(|it| author.add_region(it));
    plans.hosts.into_iter().for_each(|it| author.add_host(it));
    plans.paths.into_iter().for_each(|it| author.add_path(it));
    plans.clbs.into_iter().for_each(|it| author.add_clb(it));
    plans.vips.into_iter().for_each(|it| author.add_vip(it));
    author
}

fn published(plans: Plans) -> Arc<RouteTable> {
    author(plans)
        .publish(Instant::ZERO)
        .expect("the plans make sense")
}

#[test]
fn ids_follow_names() {
    let table = published(plans());
    let names: Vec<&str> = table.nodes.iter().map(|node| node.name.as_str()).collect();
    let expected = [
        "host.web-1",
        "pop.frankfurt",
        "pop.tokyo",
        "region.guangzhou.clb-1",
        "region.guangzhou.clb-2",
    ];
    assert_eq!(names, expected);
    assert_eq!(table.regions[0].clb_nodes, [NodeId(3), NodeId(4)]);
    assert!(matches!(table.nodes[3].kind, NodeKind::ClbNode(region) if region.index() == 0));
    let vip = table.vips.values().next().expect("one VIP");
    assert_eq!(
        (vip.clb, &vip.publishers[..]),
        (ClbId(0), &[NodeId(1), NodeId(2)][..])
    );
    assert_eq!(table.vips.len(), 2, "one entry for each address");
}

#[test]
fn the_order_of_additions_does_not_show() {
    let mut mirrored = plans();
    mirrored.pops.reverse();
    mirrored.regions[0].clb_nodes.reverse();
    mirrored.paths.reverse();
    mirrored.clbs.reverse();
    mirrored.clbs[0].listeners.reverse();
    mirrored.vips[0].publishers.reverse();
    assert_eq!(
        format!("{:?}", published(mirrored)),
        format!("{:?}", published(plans()))
    );
}

#[test]
fn the_inner_mtu_is_the_least_of_all_candidate_paths() {
    let inner_mtu = |change: &dyn Fn(&mut Plans)| {
        let mut plans = plans();
        change(&mut plans);
        published(plans).clbs[0].inner_mtu
    };
    assert_eq!(
        inner_mtu(&|_| {}),
        1_472,
        "GRE with key over IPv4 takes 28 bytes"
    );
    let detour = |plans: &mut Plans| {
        plans
            .paths
            .push(ccn("detour", "pop.tokyo", Family::V6, 1_500))
    };
    assert_eq!(inner_mtu(&detour), 1_452, "one path over IPv6 is enough");
    assert_eq!(
        inner_mtu(&|plans| plans.paths[2].mtu = 1_400),
        1_372,
        "the fabric counts"
    );
    let bystander = |plans: &mut Plans| {
        plans.pops.push(node("pop.seoul", 9));
        plans
            .paths
            .push(ccn("seoul-guangzhou", "pop.seoul", Family::V4, 1_400));
    };
    assert_eq!(
        inner_mtu(&bystander),
        1_472,
        "a POP that does not publish the VIP is no candidate"
    );
}

#[test]
fn a_maglev_listener_has_a_prime_table_of_100_places_for_each_target_of_a_family() {
    let table = published(plans());
    let Scheduler::Maglev { v4, v6 } = &table.clbs[0].listeners[0].scheduler else {
        panic!("listeners are sorted, `hash` is first")
    };
    for (maglev, targets, indices) in [(v4, 2, &[0, 1][..]), (v6, 1, &[2])] {
        let places = maglev.places();
        assert!(places.len() >= 100 * targets && is_prime(places.len() as u32));
        assert!(
            places.iter().all(|place| indices.contains(place)),
            "values are indices into the targets"
        );
    }
    let heavy = v4.places().iter().filter(|place| **place == 1).count() * 100 / v4.places().len();
    assert!((65..=68).contains(&heavy), "weight 20 of 30: {heavy} %");
}

#[test]
fn a_changed_weight_leaves_all_else_shared_with_the_last_revision() {
    let mut author = author(plans());
    let first = author.publish(Instant::ZERO).expect("the plans make sense");
    let address: Address = "10.0.0.12".parse().expect("a literal address");
    author
        .set_weight("gz-main", "hash", (address, 80), 0)
        .expect("there is such a target");
    let second = author.publish(Instant::ZERO).expect("weight 0 is allowed");

    assert_eq!(
        (first.revision, second.revision),
        (Revision(1), Revision(2))
    );
    assert_eq!(
        first.clbs[0].listeners[0].targets[1].weight, 20,
        "the first table is as it was"
    );
    assert_eq!(second.clbs[0].listeners[0].targets[1].weight, 0);
    assert!(Arc::ptr_eq(
        &first.regions[0].slots,
        &second.regions[0].slots
    ));
    assert!(Arc::ptr_eq(
        &first.clbs[0].listeners[1],
        &second.clbs[0].listeners[1]
    ));
    assert!(
        first
            .vips
            .values()
            .zip(second.vips.values())
            .all(|(old, new)| Arc::ptr_eq(old, new))
    );
    let tables = |table: &RouteTable| {
        let tables = table.clbs[0].listeners[0].scheduler.tables();
        let (v4, v6) = tables.expect("`hash` is a Maglev listener");
        (Arc::clone(v4), Arc::clone(v6))
    };
    let ((old_v4, old_v6), (new_v4, new_v6)) = (tables(&first), tables(&second));
    assert!(
        Arc::ptr_eq(&old_v6, &new_v6),
        "the IPv6 targets did not change"
    );
    assert!(new_v4.places().iter().all(|place| *place == 0) && old_v4 != new_v4);
}

#[test]
fn a_slot_map_is_made_anew_when_a_node_joins() {
    let mut author = author(plans());
    let first = author.publish(Instant::ZERO).expect("the plans make sense");
    let joins = changes::of_region(RegionPlan {
        name: "guangzhou".to_owned(),
        clb_nodes: vec![node("region.guangzhou.clb-3", 8)],
    });
    author.add(joins.into_iter().skip(1));
    let second = author.publish(Instant::ZERO).expect("a third node is fine");
    assert_ne!(first.regions[0].slots, second.regions[0].slots);
}

#[test]
fn a_refused_table_leaves_the_revision_where_it_was() {
    let mut plans = plans();
    let mut author = author(plans.clone());
    author.publish(Instant::ZERO).expect("the plans make sense");
    plans.vips[0].name = "gold".to_owned();
    author.add_vip(plans.vips.remove(0));
    author
        .publish(Instant::ZERO)
        .expect_err("its addresses are another VIP's");
    author.add([Change::Remove(Key::new(Kind::Vip, "game"))]);
    assert_eq!(
        author.publish(Instant::ZERO).expect("mended").revision,
        Revision(2)
    );
}
