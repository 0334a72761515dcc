//! Every way in which plans make no table, and what the author says of it.
//!
//! Each case makes one change to plans that publish. The sentences are compared whole: an operator has nothing
//! but them to find the object by.

use super::*;
use crate::table::PATHS_MAX;

/// A change that makes no sense.
type Change = fn(&mut Plans);

/// What publishing says after `change`.
fn refused(change: impl FnOnce(&mut Plans)) -> String {
    let mut plans = plans();
    change(&mut plans);
    author(plans)
        .publish(Instant::ZERO)
        .expect_err("the change makes no sense")
        .to_string()
}

fn web(plans: &mut Plans) -> &mut ListenerPlan {
    &mut plans.clbs[1].listeners[0]
}

#[test]
fn a_name_that_is_nowhere_is_refused_with_who_wanted_it() {
    let cases: [(&str, Change); 7] = [
        ("VIP `game` refers to POP `pop.tokio`, which", |plans| {
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
            "path `guangzhou-web-1` refers to host `x`, which",
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
        ("POP `pop.tokyo` is there already", |plans| {
            plans.pops.push(node("pop.tokyo", 77))
        }),
        (
            "tunnel address 10.255.0.1 of node `pop.zug` is there twice: `pop.tokyo` has it",
            |plans| plans.pops.push(node("pop.zug", 1)),
        ),
        ("region `guangzhou` is there already", |plans| {
            plans.regions.push(plans.regions[0].clone())
        }),
        ("path `tokyo-guangzhou` is there already", |plans| {
            plans.paths.push(plans.paths[0].clone())
        }),
        ("load balancer `spare` is there already", |plans| {
            plans.clbs.push(plans.clbs[0].clone())
        }),
        ("listener `gz-main/web` is there already", |plans| {
            let twin = ListenerPlan {
                port: 82,
                ..web(plans).clone()
            };
            plans.clbs[1].listeners.push(twin);
        }),
        (
            "listener `gz-main/hash` has port 81 of TCP, which listener `gz-main/web` (TCP) has",
            |plans| web(plans).port = 81,
        ),
        (
            "target 10.0.0.11:80 of listener `gz-main/web` is there twice",
            |plans| {
                let twin = target("10.0.0.11", 80, 1);
                web(plans).targets.push(twin);
            },
        ),
        (
            "publisher `pop.tokyo` of VIP `game` is there twice",
            |plans| plans.vips[0].publishers.push("pop.tokyo".to_owned()),
        ),
        (
            "address 203.0.113.10 of VIP `game` is there twice",
            |plans| {
                let mut twin = plans.vips[0].clone();
                twin.name = "gold".to_owned();
                plans.vips.push(twin);
            },
        ),
    ];
    for (expected, change) in cases {
        assert_eq!(refused(change), expected);
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
        refused(|plans| plans.paths[0].mtu = 603),
        "path `tokyo-guangzhou` carries inner packets of 575 bytes; 576 are needed"
    );
    assert_eq!(
        refused(|plans| plans.paths[0].mtu = 1_307),
        "the way to address 2001:db8:113::10 of VIP `game` carries inner packets of 1279 bytes; 1280 are needed"
    );
}

#[test]
fn a_health_check_keeps_to_its_ranges_and_to_what_targets_speak() {
    let with = |change: fn(&mut HealthCheck)| {
        refused(move |plans| change(web(plans).health.insert(HealthCheck::default())))
    };
    let listener = "listener `gz-main/web` has a health check";
    assert_eq!(
        with(|check| check.interval = Duration::from_secs(1)),
        format!("{listener} with an interval of 1s; it is 2 to 300 s")
    );
    assert_eq!(
        with(|check| check.timeout = Duration::from_secs(5)),
        format!(
            "{listener} with a timeout of 5s and an interval of 5s; the timeout is the shorter one"
        )
    );
    assert_eq!(
        with(|check| check.unhealthy = 1),
        format!("{listener} with an unhealthy threshold of 1; it is 2 to 10 results")
    );
    assert_eq!(
        refused(|plans| {
            web(plans).protocol = Protocol::Udp;
            web(plans).health = Some(HealthCheck::default());
        }),
        format!("{listener} by TCP; its targets speak UDP")
    );
}

#[test]
fn unbound_targets_drain_for_a_day_at_most() {
    assert_eq!(
        refused(|plans| plans.clbs[0].unbind_drain = Some(Duration::from_secs(86_401))),
        "load balancer `spare` drains unbound targets for 86401s; 86400s is the most"
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
        refused(|plans| plans.vips[0].publishers_min = 3),
        "VIP `game` would have 2 POPs that do not drain; it needs 3"
    );
    assert_eq!(
        refused(|plans| plans.vips[0].standby = vec!["spare".to_owned()]),
        "region `guangzhou` among the home and the standbys of VIP `game` is there twice"
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
        "path `frankfurt-guangzhou` ends at `region.guangzhou.clb-2`, which has no tunnel address of the path's family (IPv4)"
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
    assert_eq!(
        refused(|plans| {
            let first = plans.paths[0].clone();
            let path = |number: usize| PathPlan {
                name: format!("path-{number}"),
                ..first.clone()
            };
            plans.paths.extend((0..=PATHS_MAX - 3).map(path));
        }),
        "65520 objects of kind path, and at most 65519 have an id"
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
    assert!(say("gz-main", "web", 81, 1).contains("target `gz-main/web/10.0.0.11:81`"));
    assert!(say("gz-main", "web", 80, 101).contains("has weight 101"));
}
