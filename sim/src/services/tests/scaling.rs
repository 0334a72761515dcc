//! Orders that change the table for good: servers that join and leave an auto-scaling group, interfaces that are moved.

use core::time::Duration;

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

/// Without checks, a server takes flows as soon as it is bound; with a drain, they end as they are.
fn unchecked(topology: &mut Topology) {
    for clb in topology.clbs.values_mut() {
        clb.unbind_drain = Some(Duration::from_secs(5));
        let listeners = clb.listeners.values_mut();
        listeners.for_each(|listener| listener.health = None);
    }
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

const INTERFACE: &str = r#"
[clb.ticks]
region = "guangzhou"
listener.tick = { port = "udp/7000", targets = "float" }

[targets.float]
port = 9000
servers = [{ eni = "float" }]

[eni.float]
address = "10.0.0.50"
host = "web-1"

[vip.ticks]
address = "203.0.113.11"
publish = ["tokyo", "singapore"]
clb = "ticks"

[host.web-1]
zone = "z-1"

[host.web-2]
zone = "z-1"

[client.kobe]
count = 4
public = { tokyo = "10ms" }
load = { kind = "tick", rate = "100/s", to = "ticks:tick" }

[[fault]]
at = "2s"
eni_move = "float"
to = "host.web-2"

[[fault]]
at = "3s"
down = "host.web-1"
"#;

/// The load of all other tests is left out: its target dies with the host.
fn ticks(more: &str) -> Report {
    let text = NETWORK.replace("rate = \"20/s\"", "rate = \"1/s\", stop = \"1s\"") + more;
    let topology = Topology::parse("interface.toml", &text).expect("a sound file");
    run(&topology, &Options::default(), &mut |_| {}).expect("it can be built")
}

#[test]
fn udp_flows_go_on_at_the_host_that_their_interface_was_moved_to() {
    let of = |report: &Report| {
        let kobe = report.clients.iter().find(|own| own.name.contains("kobe"));
        let ticks = &kobe.expect("it is there").service.requests;
        (ticks.sent, ticks.ok)
    };
    let report = ticks(INTERFACE);
    assert!(report.faults.iter().all(|fault| fault.refused.is_none()));
    let (sent, ok) = of(&report);
    assert!(sent > 500);
    assert_eq!(ok, sent, "also with the old host down");
    let stays = INTERFACE.replace("at = \"2s\"\neni_move", "at = \"5.9s\"\neni_move");
    let (sent, ok) = of(&ticks(&stays));
    assert!(
        ok * 10 < sent * 6,
        "{ok} of {sent}: it went down with its host"
    );
}
