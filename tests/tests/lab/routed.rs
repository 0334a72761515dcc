//! Labs whose hosts have no vSwitch (`return = "route"`): they answer clients by themselves, by way of their CLB node.

use std::net::IpAddr;
use std::process::Command;

use anyedge_live::lab::status::ProcessStatus;
use anyedge_tests::labs::{Lab, TWO_POPS, text};
use anyedge_tests::processes::wait_for;
use anyedge_topologies::Topology;

const ROUTED: [&str; 2] = ["--set", "clb.gz-main.return=route"];
const VIPS: [&str; 2] = ["http://203.0.113.10", "http://[2001:db8:113::10]"];

/// A body that a client of Osaka's gets.
fn fetched(lab: &Lab, url: &str) -> Vec<u8> {
    let curl = ["curl", "-gs", "--max-time", "5", url];
    lab.exec("client.osaka", &curl).stdout
}

/// Requests of both families are answered, and backends see clients' own addresses.
fn sees_clients(lab: &Lab) {
    let file = anyedge_tests::binary::root().join(TWO_POPS);
    let topology = Topology::load(&file).expect("a topology that is shipped");
    let (v4, v6) = topology.clients["osaka"].address(0);
    let logs = || {
        let status = lab.status();
        let all = status.nodes.into_iter().flat_map(|node| node.processes);
        let backends = all.filter(|own| own.name.starts_with("backend."));
        let read = |own: ProcessStatus| std::fs::read_to_string(own.log).unwrap_or_default();
        backends.map(read).collect::<String>()
    };
    for (url, own) in VIPS.iter().zip([IpAddr::from(v4), IpAddr::from(v6)]) {
        wait_for("an answer", || !fetched(lab, url).is_empty());
        let answer = text(&fetched(lab, url));
        let client = answer.lines().find_map(|line| line.strip_prefix("client "));
        let (address, _) = client
            .and_then(|client| client.rsplit_once(':'))
            .unwrap_or_else(|| panic!("{answer}"));
        let address = address.trim_matches(['[', ']']);
        assert_eq!(address.parse(), Ok(own));
        wait_for("its line in a log", || logs().contains(&own.to_string()));
    }
}

#[test]
fn hosts_that_answer_by_plain_routing_serve_both_families_and_see_their_clients() {
    let Some(lab) = Lab::up("sroute", &ROUTED) else {
        return;
    };
    sees_clients(&lab);
    let status = lab.status();
    let mut names = status.nodes.iter().flat_map(|node| &node.processes);
    assert!(names.all(|own| own.name != "host.web-1"), "{status:?}");
    for url in VIPS {
        let body = fetched(&lab, &format!("{url}/bytes/3000000"));
        assert_eq!(body.len(), 3_000_000, "{url}");
    }
    // No vSwitch, no tunnel: what leaves the host is the target's own packet to the client.
    let counted = lab.metrics("region.guangzhou.clb-1");
    let dropped: Vec<_> = (counted.iter())
        .filter(|(name, count)| {
            name.contains("dropped") && name.contains("NoFlow") && **count > 0.0
        })
        .collect();
    assert!(dropped.is_empty(), "{dropped:?}");
    // The node's device goes with it, and the way of answers by it.
    lab.fault(&["crash", "region.guangzhou.clb-1", "--for", "100ms"]);
    for url in VIPS {
        wait_for("service after a crash", || !fetched(&lab, url).is_empty());
    }
}

#[test]
fn with_the_files_links_a_host_that_answers_by_plain_routing_has_the_link_of_its_own() {
    let links = [
        "--links",
        "file",
        "--set",
        "host.web-1.rtt=30ms",
        "--set",
        "host.web-2.rtt=30ms",
    ];
    let Some(lab) = Lab::up("sroutel", &[&ROUTED[..], &links].concat()) else {
        return;
    };
    sees_clients(&lab);
    lab.fault(&["link", "host.web-1", "down", "--for", "100ms"]);
    let name = lab.name().parse().expect("a lab's name");
    let told = anyedge_live::lab::fault::links::list(&name).expect("they have the file's");
    assert!(
        told.iter().any(|link| link.name.contains("host.web-1")),
        "{told:?}"
    );
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn nginx_answers_by_plain_routing_too() {
    if Command::new("nginx").arg("-v").output().is_err() {
        eprintln!("SKIPPED: nginx is not installed");
        return;
    }
    let Some(lab) = Lab::up("sngx", &[&ROUTED[..], &["--backend", "nginx"]].concat()) else {
        return;
    };
    sees_clients(&lab);
}
