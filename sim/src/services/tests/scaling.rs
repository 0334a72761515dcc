//! Orders that change the table for good: servers that join and leave an auto-scaling group.

use super::*;

const GROUP: &str = r#"
[autoscaling.rush]
listeners = ["main/web"]
port = 8080
weight = 40
servers = [{ ip = "10.0.0.21" }, { ip = "10.0.0.22", host = "spare" }]
"#;

fn scaled(at: &str, what: &str) -> String {
    format!("[[fault]]\nat = \"{at}\"\nautoscale = \"rush\"\n{what}\n")
}

/// Without checks, a server takes flows as soon as it is bound.
fn unchecked(topology: &mut Topology) {
    let listeners = topology.clbs.values_mut();
    let listeners = listeners.flat_map(|clb| clb.listeners.values_mut());
    listeners.for_each(|listener| listener.health = None);
}

/// How many flows each target got.
fn opened(report: &Report) -> Vec<(&str, u64)> {
    let targets = report.listeners[0].targets.iter();
    let shares = targets.map(|own| (own.target.as_str(), own.opened));
    shares.collect()
}

#[test]
fn servers_join_a_group_and_leave_it_in_mid_run_without_a_request_lost() {
    for routes in ["raft", "static"] {
        let times = scaled("3s", "out = \"spare\"") + &scaled("8s", "in = 1");
        let mut topology = network((0, 12), &format!("{GROUP}{times}"));
        unchecked(&mut topology);
        if routes == "static" {
            topology.defaults.routes = anyedge_topologies::Routes::Static;
        }
        let report = run(&topology, &Options::default(), &mut |_| {}).expect("it can be built");
        assert_all_served(&report);
        assert!(report.faults.iter().all(|fault| fault.refused.is_none()));
        let shares = opened(&report);
        let of = |target: &str| shares.iter().find(|share| share.0 == target).map(|it| it.1);
        assert_eq!(of("10.0.0.21:8080"), None, "{routes}: it never joined");
        let joined = of("10.0.0.22:8080").expect("it got flows");
        // About 5 of 12 s, in which it has two thirds of the weight.
        let sent = report.clients[0].service.requests.sent;
        let share = joined as f64 / sent as f64;
        assert!((0.15..0.40).contains(&share), "{routes}: {shares:?}");
        if let Some(control) = &report.control {
            assert_eq!((control.revisions, control.not_in_force), (2, 0));
        }
    }
}

#[test]
fn a_group_begins_with_as_many_servers_as_it_says() {
    let group = GROUP.replace("weight = 40", "weight = 10\nsize = 2");
    let report = run(&network((0, 4), &group), &Options::default(), &mut |_| {});
    let report = report.expect("it can be built");
    assert_all_served(&report);
    assert_eq!(report.control.as_ref().map(|it| it.revisions), Some(0));
    let shares = opened(&report);
    assert_eq!(shares.len(), 4, "{shares:?}");
    let even = |share: &(&str, u64)| share.1.abs_diff(shares[0].1) <= 1;
    assert!(shares.iter().all(even), "{shares:?}");
}
