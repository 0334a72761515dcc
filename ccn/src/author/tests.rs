//! A small world of plans, and each way in which plans make no table.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use anyedge_net::flow::Family;
use anyedge_net::id::{ClbId, NodeId};
use anyedge_net::maglev::is_prime;
use anyedge_net::route_table::{NodeKind, Scheduler};
use anyedge_net::wire::outer::Encap;

use super::plan::{EndsPlan, SchedulerPlan};
use super::*;

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
    scheduler: SchedulerPlan,
    targets: &[TargetPlan],
) -> ListenerPlan {
    ListenerPlan {
        name: name.to_owned(),
        protocol: 6,
        port,
        scheduler,
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
        listeners,
    };
    let clbs = vec![
        clb("spare", vec![]),
        clb(
            "gz-main",
            vec![
                listener("web", 80, SchedulerPlan::WeightedRoundRobin, &targets),
                listener("hash", 81, SchedulerPlan::Maglev, &targets),
            ],
        ),
    ];
    let address = |text: &str| text.parse().expect("a literal address");
    let vip = VipPlan {
        name: "game".to_owned(),
        addresses: vec![address("203.0.113.10"), address("2001:db8:113::10")],
        clb: "gz-main".to_owned(),
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
    TableAuthor {
        plans,
        ..TableAuthor::new(HashKey::new([7; 16]))
    }
}

/// A change that makes no sense.
type Change = fn(&mut Plans);

/// What publishing says after `change`.
fn refused(change: impl FnOnce(&mut Plans)) -> String {
    let mut plans = plans();
    change(&mut plans);
    author(plans)
        .publish()
        .expect_err("the change makes no sense")
        .to_string()
}

fn web(plans: &mut Plans) -> &mut ListenerPlan {
    &mut plans.clbs[1].listeners[0]
}

fn published(plans: Plans) -> Arc<RouteTable> {
    author(plans).publish().expect("the plans make sense")
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
    let first = author.publish().expect("the plans make sense");
    let address: Address = "10.0.0.12".parse().expect("a literal address");
    author
        .set_weight("gz-main", "hash", (address, 80), 0)
        .expect("there is such a target");
    let second = author.publish().expect("weight 0 is allowed");

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
    let tables = |table: &RouteTable| match &table.clbs[0].listeners[0].scheduler {
        Scheduler::Maglev { v4, v6 } => (Arc::clone(v4), Arc::clone(v6)),
        Scheduler::WeightedRoundRobin => panic!("`hash` is a Maglev listener"),
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
    let first = author.publish().expect("the plans make sense");
    author.plans.regions[0]
        .clb_nodes
        .push(node("region.guangzhou.clb-3", 8));
    let second = author.publish().expect("a third node is fine");
    assert_ne!(first.regions[0].slots, second.regions[0].slots);
}

#[test]
fn a_refused_table_leaves_the_revision_where_it_was() {
    let mut author = author(plans());
    author.publish().expect("the plans make sense");
    let publishers = core::mem::take(&mut author.plans.vips[0].publishers);
    author.publish().expect_err("nobody publishes the VIP");
    author.plans.vips[0].publishers = publishers;
    assert_eq!(author.publish().expect("mended").revision, Revision(2));
}

#[test]
fn a_name_that_is_nowhere_is_refused_with_who_wanted_it() {
    let cases: [(&str, Change); 7] = [
        ("VIP `game` refers to node `pop.tokio`, which", |plans| {
            plans.vips[0].publishers[0] = "pop.tokio".to_owned()
        }),
        ("VIP `game` refers to POP `host.web-1`, which", |plans| {
            plans.vips[0].publishers[0] = "host.web-1".to_owned()
        }),
        ("VIP `game` refers to load balancer `gz`, which", |plans| {
            plans.vips[0].clb = "gz".to_owned()
        }),
        (
            "load balancer `spare` refers to region `gz`, which",
            |plans| plans.clbs[0].region = "gz".to_owned(),
        ),
        ("host `host.web-1` refers to region `gz`, which", |plans| {
            plans.hosts[0].region = "gz".to_owned()
        }),
        (
            "listener `gz-main/web` refers to host `pop.tokyo`, which",
            |plans| {
                web(plans).targets[0].host = "pop.tokyo".to_owned();
            },
        ),
        (
            "path `guangzhou-web-1` refers to node `x`, which",
            |plans| {
                plans.paths[2].ends = EndsPlan::Fabric {
                    host: "x".to_owned(),
                };
            },
        ),
    ];
    for (expected, change) in cases {
        assert_eq!(refused(change), format!("{expected} does not exist"));
    }
}

#[test]
fn what_is_there_twice_is_refused() {
    let cases: [(&str, Change); 10] = [
        ("node `pop.tokyo`", |plans| {
            plans.pops.push(node("pop.tokyo", 77))
        }),
        ("tunnel address 10.255.0.1 of node `pop.zug`", |plans| {
            plans.pops.push(node("pop.zug", 1))
        }),
        ("region `guangzhou`", |plans| {
            plans.regions.push(plans.regions[0].clone())
        }),
        ("path `tokyo-guangzhou`", |plans| {
            plans.paths.push(plans.paths[0].clone())
        }),
        ("load balancer `spare`", |plans| {
            plans.clbs.push(plans.clbs[0].clone())
        }),
        ("listener `web`", |plans| {
            let twin = ListenerPlan {
                port: 82,
                ..web(plans).clone()
            };
            plans.clbs[1].listeners.push(twin);
        }),
        ("protocol 6 port 81 of load balancer `gz-main`", |plans| {
            web(plans).port = 81
        }),
        ("target 10.0.0.11:80 of listener `gz-main/web`", |plans| {
            let twin = target("10.0.0.11", 80, 1);
            web(plans).targets.push(twin);
        }),
        ("publisher `pop.tokyo` of VIP `game`", |plans| {
            plans.vips[0].publishers.push("pop.tokyo".to_owned())
        }),
        ("address 203.0.113.10 of VIP `gold`", |plans| {
            let mut twin = plans.vips[0].clone();
            twin.name = "gold".to_owned();
            plans.vips.push(twin);
        }),
    ];
    for (expected, change) in cases {
        assert_eq!(refused(change), format!("{expected} is there twice"));
    }
}

#[test]
fn values_out_of_range_are_refused() {
    let target = "target 10.0.0.11:80 of listener `gz-main/web`";
    assert_eq!(
        refused(|plans| web(plans).targets[0].weight = 101),
        format!("{target} has weight 101; a weight is 0 to 100")
    );
    assert_eq!(
        refused(|plans| web(plans).targets[0].port = 0),
        "target 10.0.0.11:0 of listener `gz-main/web` has port 0; a port is 1 to 65535"
    );
    assert_eq!(
        refused(|plans| web(plans).port = 0),
        "listener `gz-main/web` has port 0; a port is 1 to 65535"
    );
    assert_eq!(
        refused(|plans| web(plans).protocol = 132),
        "listener `gz-main/web` has IP protocol 132; a listener has 6 (TCP) or 17 (UDP)"
    );
    assert_eq!(
        refused(|plans| plans.paths[0].mtu = 603),
        "path `tokyo-guangzhou` carries inner packets of 575 bytes; 576 are needed"
    );
    assert_eq!(
        refused(|plans| plans.paths[0].mtu = 1_307),
        "the way to address 2001:db8:113::10 of VIP `game` carries inner packets of 1279 bytes; 1280 are needed"
    );
}

#[test]
fn a_vip_needs_an_address_a_publisher_and_paths() {
    assert_eq!(
        refused(|plans| plans.vips[0].addresses.clear()),
        "VIP `game` has no address"
    );
    assert_eq!(
        refused(|plans| plans.vips[0].publishers.clear()),
        "VIP `game` is published by no POP"
    );
    assert_eq!(
        refused(|plans| drop(plans.paths.remove(1))),
        "VIP `game` is published by `pop.frankfurt`, which has no path to region `guangzhou`"
    );
    assert_eq!(
        refused(|plans| drop(plans.paths.remove(2))),
        "target 10.0.0.11:80 of listener `gz-main/hash` is on `host.web-1`, to which its region has no path"
    );
    assert_eq!(
        refused(|plans| plans.regions[0].clb_nodes[0].underlay_v4 = Ipv4Addr::UNSPECIFIED),
        "path `frankfurt-guangzhou` ends at `region.guangzhou.clb-2`, which has no tunnel address of the path's family"
    );
    let elsewhere = |plans: &mut Plans| {
        plans.regions.push(RegionPlan {
            name: "seoul".to_owned(),
            clb_nodes: Vec::new(),
        });
        plans.hosts[0].region = "seoul".to_owned();
    };
    assert_eq!(
        refused(elsewhere),
        "target 10.0.0.11:80 of listener `gz-main/hash` is on `host.web-1`, which is not in region `guangzhou`"
    );
}

#[test]
fn more_objects_than_ids_are_refused() {
    let too_many = |count: usize, kind: &str, most: usize| {
        format!("{count} objects of kind {kind}, and at most {most} have an id")
    };
    assert_eq!(
        refused(|plans| plans.paths = vec![plans.paths[0].clone(); PATHS_MAX + 1]),
        too_many(65_520, "path", 65_519)
    );
    assert_eq!(
        refused(|plans| plans.clbs = vec![plans.clbs[0].clone(); CLBS_MAX + 1]),
        too_many(32_769, "load balancer", 32_768)
    );
    assert_eq!(
        refused(|plans| plans.pops = vec![node("pop.tokyo", 1); NODES_MAX]),
        too_many(65_538, "node", 65_535)
    );
}

#[test]
fn a_weight_is_only_changed_where_there_is_one() {
    let mut author = author(plans());
    let address: Address = "10.0.0.11".parse().expect("a literal address");
    let mut say = |clb: &str, listener: &str, port: u16, weight: u8| {
        author
            .set_weight(clb, listener, (address, port), weight)
            .expect_err("no such thing")
            .to_string()
    };
    assert!(say("gz", "web", 80, 1).contains("load balancer `gz`"));
    assert!(say("gz-main", "wob", 80, 1).contains("listener `gz-main/wob`"));
    assert!(say("gz-main", "web", 81, 1).contains("target `10.0.0.11:81`"));
    assert!(say("gz-main", "web", 80, 101).contains("has weight 101"));
}
