//! Labs under stress: faults at random, a flood of SYNs, garbage on every socket. Nothing leaks, nothing is lost uncounted,
//! and whoever was there is served on.
//!
//! 30 s of faults, or as long as `ANYEDGE_STRESS` says (`ANYEDGE_STRESS=600s`). Needs root, curl and /dev/net/tun;
//! skipped loudly without.

#[path = "stress/doors.rs"]
mod doors;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use anyedge_live::lab::plan::METRICS;
use anyedge_live::netns;
use anyedge_net::rng::{Rng, Seed};
use anyedge_tests::binary::root;
use anyedge_tests::floods::{Flood, Garbage, Pace};
use anyedge_tests::labs::{FORWARDERS, Lab, Loading, TWO_POPS, text};
use anyedge_tests::processes::wait_for;
use anyedge_topologies::{AddressPair, Topology, units};
use serde_json::Value;

const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// What a node may grow by under faults: queues that filled once, tables, its allocator's reserves.
const GROWTH_KIB_MAX: u64 = 48 * 1024;
/// Descriptors that a node may have more of at the end: one that was just started has not opened its devices yet.
const MORE_FILES_MAX: usize = 64;
/// Packets that a node may hold, and that come between the counters that are read.
const HELD_MAX: f64 = 64.0;
/// After that long a download is on its way.
const ESTABLISHED: Duration = Duration::from_secs(1);
/// Within that a client that has not proved its address is served behind a shut gate, though one of its SYNs be lost.
const PROVED_IN: Duration = Duration::from_millis(1_500);

/// How long faults befall the lab.
fn duration() -> Duration {
    let told = std::env::var("ANYEDGE_STRESS").ok();
    let read = |text: String| units::duration_above_zero(&text).expect("such as 600s");
    told.map_or(Duration::from_secs(30), read)
}

/// What a process has: resident KiB, and descriptors.
fn holdings(pid: u32) -> Option<(u64, usize)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib = line.trim().strip_suffix(" kB")?.parse().ok()?;
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some((kib, files))
}

fn holdings_of(lab: &Lab) -> BTreeMap<(String, u32), (u64, usize)> {
    let status = lab.status();
    let processes = status.nodes.into_iter().flat_map(|node| node.processes);
    let held = processes.filter_map(|own| Some(((own.name, own.pid), holdings(own.pid)?)));
    held.collect()
}

/// One fault, drawn, for up to a second and a half.
fn strike(lab: &Lab, rng: &mut Rng) {
    let time = format!("{}ms", 100 + rng.below(1_400));
    let of = |rng: &mut Rng, words: &[&'static str]| words[rng.below(words.len() as u64) as usize];
    let link = of(
        rng,
        &[
            "tokyo-guangzhou",
            "frankfurt-guangzhou",
            "client.osaka--pop.tokyo",
            "host.web-1",
        ],
    );
    let process = of(
        rng,
        &[
            "pop.tokyo",
            "pop.frankfurt",
            "region.guangzhou.clb-1",
            "host.web-2",
            "backend.web-1",
            "controller.a",
            "controller.b",
        ],
    );
    let fault: &[&str] = match rng.below(6) {
        0 => &["crash", process],
        1 => &["hang", process],
        2 => &["link", link, "down"],
        3 => &[
            "link",
            link,
            "loss",
            "20%",
            "reorder",
            "5%",
            "duplicate",
            "5%",
        ],
        4 => &["link", link, "corrupt", "2%", "jitter", "5ms"],
        _ => &["link", link, "rate", "2Mbps", "delay", "30ms"],
    };
    lab.fault(&[fault, &["--for", &time]].concat());
}

/// Every packet that a node took in or made ended once: sent, delivered or dropped for a cause.
fn assert_counted(lab: &Lab, node: &str) {
    let mut missing = f64::NAN;
    let mut all = BTreeMap::new();
    wait_for("counters that agree", || {
        all = lab.metrics(node);
        let of = |name: &str| all[&format!("anyedge_packets_{name}_total")];
        let dropped = all
            .iter()
            .filter(|(name, _)| name.starts_with("anyedge_packets_dropped_total{"));
        let dropped: f64 = dropped.map(|(_, count)| count).sum();
        missing = of("received") + of("originated") - of("transmitted") - of("delivered") - dropped;
        (0.0..=HELD_MAX).contains(&missing)
    });
    assert!(
        all["anyedge_packets_received_total"] > 0.0,
        "{node} did nothing"
    );
    let _ = missing;
}

/// Whether every request of a load has its one outcome; gives how many were answered.
fn answered(told: &Value) -> u64 {
    let requests = &told["requests"];
    let count = |value: &Value| value.as_u64().expect("a count");
    let failed = requests["failed"].as_object().expect("causes");
    let failed: u64 = failed.values().map(count).sum();
    assert_eq!(
        count(&requests["sent"]),
        count(&requests["ok"]) + failed,
        "{told}"
    );
    count(&requests["ok"])
}

/// Requests, kept connections and ticks of both populations.
fn loads(lab: &Lab, time: Duration) -> [Loading; 4] {
    let lasts = format!("{}s", time.as_secs());
    let osaka = ["203.0.113.10:80", "203.0.113.10:7000"];
    let berlin = ["[2001:db8:113::10]:80", "[2001:db8:113::10]:7000"];
    let sent = [
        ("client.osaka", "request", osaka[0], "40/s"),
        ("client.osaka", "tick", osaka[1], "200/s"),
        ("client.berlin", "keep-alive", berlin[0], "20/s"),
        ("client.berlin", "tick", berlin[1], "100/s"),
    ];
    sent.map(|(client, kind, to, rate)| {
        let what = ["--kind", kind, "--to", to, "--rate", rate];
        let words = [&what[..], &["--duration", &lasts, "--timeout", "5s"]];
        lab.begin_load(client, &words.concat())
    })
}

/// Nobody who was there then has much more than it had.
#[expect(clippy::print_stderr, reason = "a long run leaves its figures")]
fn assert_flat(lab: &Lab, first: &BTreeMap<(String, u32), (u64, usize)>) {
    for (who, (kib, files)) in holdings_of(lab) {
        let Some((kib_first, files_first)) = first.get(&who) else {
            continue;
        };
        let name = &who.0;
        eprintln!("{name}: {kib_first} KiB, {files_first} files; then {kib} KiB, {files} files");
        assert!(
            kib <= kib_first + GROWTH_KIB_MAX,
            "{name}: {kib_first} KiB became {kib}"
        );
        assert!(
            files <= files_first + MORE_FILES_MAX,
            "{name}: {files_first} files became {files}"
        );
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a long run leaves its figures")]
fn faults_at_random_leak_nothing_and_every_packet_has_its_cause() {
    let Some(lab) = Lab::up("sfaults", &["--links", "file"]) else {
        return;
    };
    wait_for("service", || lab.who_answers().is_some());
    let time = duration();
    let loads = loads(&lab, time);
    let namespaces = netns::list().expect("the folder of namespaces");
    let own = |all: Vec<String>| {
        all.into_iter()
            .filter(|name| name.contains(lab.name()))
            .count()
    };
    let namespaces = own(namespaces);
    let mut rng = Seed(1).stream("stress", "faults");
    let started = Instant::now();
    let mut first = holdings_of(&lab);
    let mut faults = 0;
    while started.elapsed() < time {
        strike(&lab, &mut rng);
        faults += 1;
        // Who was started anew counts from then on.
        for (who, held) in holdings_of(&lab) {
            first.entry(who).or_insert(held);
        }
    }
    lab.fault(&["clear"]);
    let outcomes = loads.map(|load| answered(&load.finish()));
    assert!(
        outcomes.iter().all(|answered| *answered > 0),
        "{outcomes:?}"
    );
    wait_for("service", || lab.who_answers().is_some());
    assert!(lab.status().is_healthy(), "{:?}", lab.status());
    FORWARDERS
        .iter()
        .for_each(|node| assert_counted(&lab, node));
    assert_flat(&lab, &first);
    eprintln!("{faults} faults in {time:?}; answered {outcomes:?}");
    assert_eq!(
        own(netns::list().expect("the folder of namespaces")),
        namespaces
    );
    assert_eq!(lab.down().status.code(), Some(0));
    assert!(!lab.has_traces());
}

/// Seconds that a paced download of six takes.
fn paced_download(lab: &Lab) -> f64 {
    let url = "http://203.0.113.10/bytes/6000000?pace=1000000";
    let told = [
        "-sS",
        "--fail",
        "--max-time",
        "30",
        "-o",
        "/dev/null",
        "-w",
        "%{time_total}",
        url,
    ];
    let curl = lab.exec("client.osaka", &[&["curl"], &told[..]].concat());
    assert_eq!(curl.status.code(), Some(0), "{}", text(&curl.stderr));
    text(&curl.stdout).trim().parse().expect("seconds")
}

/// A flow that was there goes on; clients connect, the first without having proved its address.
#[test]
#[expect(clippy::print_stderr, reason = "a flood leaves its figures")]
fn a_flood_of_spoofed_syns_leaves_flows_their_goodput_and_lets_clients_connect() {
    let Some(lab) = Lab::up("sflood", &[]) else {
        return;
    };
    wait_for("service", || lab.who_answers().is_some());
    let before = paced_download(&lab);
    let refused = || {
        let all = lab.metrics("region.guangzhou.clb-1");
        all["anyedge_packets_dropped_total{reason=\"SynGate\"}"]
    };
    let (lead, meanwhile, first, connected, rate) = thread::scope(|scope| {
        let asked = Instant::now();
        let download = scope.spawn(|| paced_download(&lab));
        thread::sleep(ESTABLISHED);
        let flood = Flood::of_syns(lab.name(), "client.berlin", (VIP, 80));
        let (began, lead) = (Instant::now(), asked.elapsed());
        wait_for("a gate that shuts", || refused() > 0.0);
        let shut = Instant::now();
        let answered = lab.who_answers().is_some();
        let first = shut.elapsed();
        let others = (1..10).filter(|_| lab.who_answers().is_some()).count();
        let meanwhile = download.join().expect("a download");
        let rate = flood.sent() as f64 / began.elapsed().as_secs_f64();
        let connected = others + usize::from(answered);
        (lead.as_secs_f64(), meanwhile, first, connected, rate)
    });
    let goodput = (before - lead) / (meanwhile - lead);
    eprintln!(
        "{rate:.0} SYNs a second; a download of {before:.2} s took {meanwhile:.2} s, {lead:.2} s of it before them: \
         {goodput:.3} of its goodput; {connected} of 10 connect, the first in {first:?}"
    );
    assert!(goodput >= 0.9, "{goodput}");
    assert!(connected >= 9, "{connected} of 10 new connections");
    assert!(first < PROVED_IN, "{first:?}");
    assert!(lab.status().is_healthy(), "{:?}", lab.status());
    FORWARDERS
        .iter()
        .for_each(|node| assert_counted(&lab, node));
}

/// Garbage to every socket of a lab, from where it can be reached.
fn garbage(lab: &Lab, pace: Pace) -> Vec<Flood> {
    let topology = Topology::load(root().join(TWO_POPS)).expect("a shipped file");
    let v4 = |pair: AddressPair| pair.v4.expect("both families are always there");
    let [tokyo, clb] = nodes_of(["pop.tokyo", "region.guangzhou.clb-1"]);
    let edge = v4(topology.routers["tokyo"].pop);
    let at = |ip: Ipv4Addr, port| SocketAddr::new(ip.into(), port);
    let raw = |protocol, from, to| Garbage::Raw { protocol, from, to };
    let controllers = topology.controllers.values();
    let controllers = controllers.map(|own| Garbage::Tcp(at(v4(own.management), 7_300)));
    let sent = [
        (
            "ccn.underlay",
            vec![
                Garbage::Udp(at(tokyo, 4_754)),
                Garbage::Udp(at(clb, 4_754)),
                // Tunnels over connections, which this file has not: closed ports.
                Garbage::Tcp(at(clb, 4_755)),
                Garbage::Udp(at(clb, 4_756)),
                raw(47, tokyo, clb),
                raw(17, tokyo, clb),
                raw(50, clb, tokyo),
            ],
        ),
        (
            "router.tokyo",
            vec![
                Garbage::Tcp(at(edge, 179)),
                Garbage::Udp(at(edge, 3_784)),
                raw(6, edge, edge),
            ],
        ),
        ("management.net", controllers.collect()),
        (
            "client.osaka",
            vec![
                Garbage::Udp(at(VIP, 80)),
                raw(6, VIP, VIP),
                raw(132, VIP, VIP),
                Garbage::Tcp(at(VIP, 80)),
            ],
        ),
        // From a peer's own address, and to what only its own machine reaches.
        (
            "pop.tokyo",
            vec![Garbage::Udp(at(clb, 4_754)), Garbage::Tcp(METRICS)],
        ),
    ];
    let flood = |(node, to)| Flood::of_garbage(lab.name(), node, to, pace);
    sent.into_iter().map(flood).collect()
}

#[test]
#[expect(clippy::print_stderr, reason = "a flood leaves its figures")]
fn garbage_on_every_socket_is_counted_and_nothing_else() {
    let Some(lab) = Lab::up("sgarbage", &[]) else {
        return;
    };
    wait_for("service", || lab.who_answers().is_some());
    let (before, counted) = (pids(&lab), FORWARDERS.map(|node| dropped(&lab, node)));
    let last = |floods: &[Flood]| {
        let since = Instant::now();
        wait_for("a few seconds of it", || {
            since.elapsed() > Duration::from_secs(4) && floods.iter().all(|flood| flood.sent() > 20)
        });
    };
    let floods = garbage(&lab, Pace::Rested);
    last(&floods);
    assert!(lab.who_answers().is_some(), "clients are served meanwhile");
    drop(floods);
    let floods = garbage(&lab, Pace::Full);
    last(&floods);
    let sent: Vec<u64> = floods.iter().map(Flood::sent).collect();
    drop(floods);
    assert_eq!(pids(&lab), before, "nobody was started anew");
    lab.await_health();
    let more: Vec<f64> = FORWARDERS
        .iter()
        .zip(counted)
        .map(|(node, own)| dropped(&lab, node) - own)
        .collect();
    eprintln!("sent {sent:?}; dropped {more:?}");
    assert!(
        more[0] > 100.0 && more[2] > 100.0,
        "pop.tokyo and the CLB node count it: {more:?}"
    );
    FORWARDERS
        .iter()
        .for_each(|node| assert_counted(&lab, node));
    wait_for("service", || lab.who_answers().is_some());
}

/// The processes of a lab.
fn pids(lab: &Lab) -> Vec<u32> {
    let nodes = lab.status().nodes.into_iter();
    let processes = nodes.flat_map(|node| node.processes);
    processes.map(|own| own.pid).collect()
}

/// The tunnel addresses of nodes.
fn nodes_of<const N: usize>(names: [&str; N]) -> [Ipv4Addr; N] {
    let topology = Topology::load(root().join(TWO_POPS)).expect("a shipped file");
    names.map(|name| {
        let pop = name
            .strip_prefix("pop.")
            .and_then(|pop| topology.pops.get(pop));
        let nodes = topology
            .regions
            .values()
            .flat_map(|region| &region.clb_nodes);
        let mut nodes = nodes.filter(|node| node.name == name);
        let pair = pop.map(|pop| pop.underlay);
        let pair = pair.or_else(|| nodes.next().map(|node| node.underlay));
        let pair = pair.unwrap_or_else(|| panic!("no node {name}"));
        pair.v4.expect("both families are always there")
    })
}

/// Packets that a node dropped for being what they are.
fn dropped(lab: &Lab, node: &str) -> f64 {
    let all = lab.metrics(node);
    let reasons = [
        "Malformed",
        "BadGre",
        "UnknownPeer",
        "UnsupportedProtocol",
        "NotVip",
        "NoListener",
        "WrongPort",
    ];
    let of = |reason| all[&format!("anyedge_packets_dropped_total{{reason=\"{reason}\"}}")];
    reasons.map(of).iter().sum()
}
