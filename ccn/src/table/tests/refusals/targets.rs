//! Targets: where they are, of which kind, and what they weigh.

use super::*;

#[test]
fn what_a_target_says_of_itself_is_in_range_and_new() {
    let web = |change: fn(&mut Target)| register("gz-main/web", "10.0.0.99", 80, change);
    let names = || vec!["gz-main/web/10.0.0.11:8080".to_owned()];
    cases! {
        "weight -1": vec![], web(|it| it.weight = -1) => RANGE;
        "weight 101": vec![], web(|it| it.weight = 101) => RANGE;
        "weight 101 later": vec![], Change::SetTargetWeight(names(), 101) => RANGE;
        "port 0": vec![], web(|it| it.port = 0) => RANGE;
        "port 65536 later": vec![], Change::SetTargetPort(names(), 65_536) => RANGE;
        "there already": vec![], register("gz-main/web", "10.0.0.11", 8_080, |_| {}) => DUPLICATE;
        "a port that makes it another":
            vec![register("gz-main/web", "10.0.0.11", 81, |_| {})], Change::SetTargetPort(names(), 81) => DUPLICATE;
    }
}

#[test]
fn targets_are_bound_where_they_can_be_reached() {
    let web = |change: fn(&mut Target)| register("gz-main/web", "10.0.0.99", 80, change);
    let kr = |it: &mut Target| it.host = "host.kr-1".to_owned();
    let cross = |kind: CrossRegion| {
        vec![update(Clb {
            cross_region: kind,
            ..Clb::new("gz-main", "guangzhou")
        })]
    };
    let of_kind = |ip_version: IpVersion| {
        let new = clb(|it| it.ip_version = ip_version);
        vec![
            create(new),
            create(Listener::new("new", "web", Protocol::Tcp, 80)),
        ]
    };
    let mut elsewhere = cross(CrossRegion::V2);
    elsewhere.push(ensure(Settings {
        hybrid_regions: vec!["seoul".to_owned()],
        ..Settings::default()
    }));
    let new = clb(|it| {
        it.clb_type = ClbType::Public;
        it.cross_region = CrossRegion::V1;
        it.backend_region = "seoul".to_owned();
    });
    let web_of_new = Listener::new("new", "web", Protocol::Tcp, 80);
    let by_1_0 = vec![create(new), create(web_of_new)];
    cases! {
        "layer 7 without a rule": vec![], register("gz-main/site", "10.0.0.99", 80, |_| {}) => NO_RULE;
        "layer 4 with a rule": vec![], register("gz-main/web/shop", "10.0.0.99", 80, |_| {}) => PROTOCOL;
        "no such rule": vec![], register("gz-main/site/none", "10.0.0.99", 80, |_| {}) => NO_RULE;
        "none there":
            vec![], Change::DeregisterTargets(vec!["gz-main/web/10.0.0.9:80".to_owned()]) => NO_RESOURCE;
        "on no listener": vec![], register("gz-main/none", "10.0.0.9", 80, |_| {}) => NO_LISTENER;
        "another region": vec![], web(kr) => OTHER_REGION;
        "another network":
            vec![create(Host { network: "vpc-2".to_owned(), ..host("host.far", "guangzhou", 20) }), create(fabric("host.far"))],
            web(|it| it.host = "host.far".to_owned()) => OTHER_NETWORK;
        "no such host": vec![], web(|it| it.host = "host.none".to_owned()) => NO_RESOURCE;
        "a VIP": vec![], register("gz-main/web", "203.0.113.10", 80, |_| {}) => VALUE;
        "IPv4 behind IPv6":
            of_kind(IpVersion::V6), register("new/web", "10.0.0.9", 80, |_| {}) => PRECONDITION;
        "IPv6 behind NAT64":
            of_kind(IpVersion::Nat64), register("new/web", "fd00::9", 80, |_| {}) => PRECONDITION;
        "on premises, switch off": vec![], web(|it| it.kind = TargetKind::Idc) => CLB_STATUS;
        "on premises, no SNAT": cross(CrossRegion::V2), web(|it| it.kind = TargetKind::Idc) => PRECONDITION;
        "on premises, public":
            cross(CrossRegion::V2), register("gz-main/web", "8.8.8.8", 80, |it| it.kind = TargetKind::Idc) => VALUE;
        "2.0, not joined": cross(CrossRegion::V2), web(kr) => OTHER_NETWORK;
        "the 101st": vec![quotas(|it| it.targets_per_rule = 3)], web(|_| {}) => LIMIT;
        "21 in one call":
            vec![quotas(|it| it.targets_per_call = 1)],
            Change::RegisterTargets(vec![target("gz-main/web", "10.0.1.1", 1), target("gz-main/web", "10.0.1.2", 1)]) => LIMIT;
        "on premises where there is no hybrid cloud":
            elsewhere, web(|it| it.kind = TargetKind::Idc) => NO_REGION;
        "1.0, its own region as a second one": by_1_0, register("new/web", "10.0.0.9", 80, |_| {}) => OTHER_REGION;
        "behind two listeners, as the product has it":
            vec![tencent(), create(new_listener(Protocol::Tcp, 81, |_| {}))],
            register("gz-main/new", "10.0.0.11", 8_080, |_| {}) => DUPLICATE;
        "nothing": vec![], Change::RegisterTargets(vec![]) => MISSING;
    }
}

#[test]
fn in_profile_aws_weights_reach_to_255() {
    let aws = || {
        ensure(Settings {
            profile: Profile::Aws,
            ..Settings::default()
        })
    };
    let weighing = |weight: i32| {
        let names = vec!["gz-main/web/10.0.0.11:8080".to_owned()];
        Change::SetTargetWeight(names, weight)
    };
    after([aws(), weighing(255)]);
    cases! {
        "101 elsewhere": vec![], weighing(101) => RANGE;
        "256": vec![aws()], weighing(256) => RANGE;
    }
}

#[test]
fn a_server_that_is_not_eligible_is_refused_with_a_reason_of_its_own() {
    let unbind = || {
        let names = [
            "web/10.0.0.11",
            "web/10.0.0.12",
            "tick/10.0.0.11",
            "site/shop/10.0.0.11",
            "web/[fd00:1::11]",
        ];
        Change::DeregisterTargets(names.map(|name| format!("gz-main/{name}:8080")).to_vec())
    };
    let with = |state: HostState| vec![unbind(), with_host(|host| host.state = state)];
    let bind = || register("gz-main/web", "10.0.0.99", 80, |_| {});
    cases! {
        "isolated":
            with(HostState::Isolated), bind() => (FailedPrecondition, "FailedOperation.TargetIsolated");
        "expired": with(HostState::Expired), bind() => (FailedPrecondition, "FailedOperation.TargetExpired");
        "no bandwidth":
            with(HostState::NoBandwidth), bind() => (FailedPrecondition, "FailedOperation.TargetBandwidth");
    }
}

/// The primary interface of the first server, and its second one, with two addresses each.
fn two_interfaces() -> Vec<Change> {
    let eni = |name: &str, primary, addresses: [&str; 2]| {
        create(Eni {
            name: name.to_owned(),
            zone: "z-1".to_owned(),
            network: String::new(),
            host: "host.web-1".to_owned(),
            primary,
            addresses: addresses.map(address).to_vec(),
        })
    };
    vec![
        eni("eni-1", true, ["10.0.0.11", "10.0.0.31"]),
        eni("eni-2", false, ["10.0.0.41", "10.0.0.42"]),
    ]
}

#[test]
fn addresses_of_interfaces_are_targets_beside_that_of_their_server() {
    let mut changes = two_interfaces();
    for address in ["10.0.0.31", "10.0.0.41", "10.0.0.42"] {
        changes.push(register("gz-main/web", address, 80, |it| {
            it.kind = TargetKind::Eni;
        }));
    }
    let table = after(changes);
    let of_host = table.all::<Target>().filter(|it| {
        it.host == "host.web-1" && it.listener == "web" && it.address.v4_octets().is_some()
    });
    let kinds: Vec<TargetKind> = of_host.map(|it| it.kind).collect();
    let enis = kinds.iter().filter(|kind| **kind == TargetKind::Eni);
    assert_eq!(
        (kinds.len(), enis.count()),
        (5, 3),
        "five addresses of one host"
    );
}

#[test]
fn a_server_is_bound_by_the_primary_address_of_its_primary_interface_alone() {
    let bind = |address: &str| register("gz-main/web", address, 80, |_| {});
    let mut changes = two_interfaces();
    changes.push(bind("10.0.0.11"));
    after(changes);
    cases! {
        "a secondary address of the primary interface": two_interfaces(), bind("10.0.0.31") => VALUE;
        "the first address of a second interface": two_interfaces(), bind("10.0.0.41") => VALUE;
    }
}

#[test]
fn interfaces_are_bound_when_attached_and_move_within_their_zone() {
    let eni = |change: fn(&mut Eni)| {
        let mut eni = Eni {
            name: "eni-1".to_owned(),
            zone: "z-1".to_owned(),
            network: String::new(),
            host: "host.web-1".to_owned(),
            primary: false,
            addresses: vec![address("10.0.0.99"), address("10.0.0.98")],
        };
        change(&mut eni);
        create(eni)
    };
    let bind = || {
        register("gz-main/web", "10.0.0.99", 80, |it| {
            it.kind = TargetKind::Eni
        })
    };
    let to = |host: &str| Change::MoveEni {
        eni: "eni-1".to_owned(),
        host: host.to_owned(),
    };
    let other = |zone: &str| {
        let zone = zone.to_owned();
        create(Host {
            zone,
            ..host("host.web-2", "guangzhou", 21)
        })
    };
    cases! {
        "not there": vec![], bind() => NO_RESOURCE;
        "not attached": vec![eni(|it| it.host.clear())], bind() => PRECONDITION;
        "primary of primary": vec![eni(|it| it.primary = true)], bind() => VALUE;
        "to another zone": vec![eni(|_| {}), other("z-2")], to("host.web-2") => PRECONDITION;
        "detached while bound": vec![eni(|_| {}), bind()], to("") => IN_USE;
    }
    let moved = after([
        eni(|_| {}),
        bind(),
        other("z-1"),
        create(fabric("host.web-2")),
        to("host.web-2"),
    ]);
    let target = moved
        .get::<Target>("gz-main/web/10.0.0.99:80")
        .expect("it is bound on");
    assert_eq!(target.host, "host.web-2", "a target follows its interface");
}
