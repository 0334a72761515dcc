//! Controllers in both worlds: what was acknowledged stays, whoever crashes, and a run repeats to the bit.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyedge_ccn::controller::{Config, Disk};
use anyedge_ccn::follow;
use anyedge_ccn::rpc::Limits;
use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::host::LiveHost;
use anyedge_net::host::{Host, TcpListener as _};
use anyedge_net::rng::Seed;
use anyedge_sim::run::{Options, run_with};
use anyedge_sim::services::Services;
use anyedge_tests::controllers::catch_up::{RUN, time_to_catch_up};
use anyedge_tests::controllers::election::time_to_a_new_leader;
use anyedge_tests::controllers::{Acknowledged, ELECTION, Group, Ledger};
use anyedge_tests::two_machines::{Scratch, bounded};
use anyedge_topologies::Topology;
use tokio::runtime::Handle;

const IDS: [u64; 3] = [1, 2, 3];
const WRITES: usize = 100;

/// A free port for each member on loopback.
fn loopback(host: &LiveHost) -> BTreeMap<u64, SocketAddr> {
    let address = |id: u64| {
        let any = SocketAddr::from(([127, 0, 1, id as u8], 0));
        let listener = host.tcp_listen(any, 1).expect("loopback has a free port");
        (id, listener.local_addr())
    };
    IDS.map(address).into()
}

async fn start(group: &Group, host: &LiveHost, id: u64, peers: &BTreeMap<u64, SocketAddr>) {
    let mut config = Config::new(id, peers.clone(), ELECTION);
    // Short, so that who comes back late is sent a snapshot.
    config.entries_kept = 10;
    loop {
        let started = group.start(host, config.clone(), peers[&id]).await;
        match started {
            Ok(()) => return,
            // The life before may still close its files.
            Err(what) => assert!(what.contains("busy"), "{what}"),
        }
        host.sleep_until(host.now() + Duration::from_millis(10))
            .await;
    }
}

#[test]
fn on_loopback_no_acknowledged_write_is_lost_when_the_leader_stops_and_returns() {
    let found = bounded(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let folder = Scratch::new();
        runtime.block_on(async {
            let clock = MonotonicClock::start();
            let hosts = IDS.map(|id| {
                let name = format!("controller.{id}");
                let host = LiveHost::new(&name, clock, Seed(7), Handle::current());
                let host = host.with_files_in(&folder.path().join(name));
                (id, host.expect("a folder of its own"))
            });
            let hosts = BTreeMap::from(hosts);
            let peers = loopback(&hosts[&1]);
            let group = Group::default();
            for (id, host) in &hosts {
                start(&group, host, *id, &peers).await;
            }
            leader_stops_and_returns(&group, &hosts, &peers).await
        })
    });
    assert_eq!(found, Ok(()));
}

async fn leader_stops_and_returns(
    group: &Group,
    hosts: &BTreeMap<u64, LiveHost>,
    peers: &BTreeMap<u64, SocketAddr>,
) -> Result<(), String> {
    let acknowledged = Arc::new(Mutex::new(Acknowledged::new()));
    let host = &hosts[&1];
    let write = |name: &'static str, count| {
        let noted = Arc::clone(&acknowledged);
        let note = move |place, command| noted.lock().expect("sound").push((place, command));
        group.write_all(host, (name, count), Duration::ZERO, note)
    };
    write("before", WRITES / 2).await;
    let leader = group.leader().expect("somebody acknowledged");
    drop(group.stop(leader));
    write("without", WRITES / 4).await;
    start(group, &hosts[&leader], leader, peers).await;
    write("after", WRITES / 4).await;
    group.settled(host, &IDS).await;
    let acknowledged = acknowledged.lock().expect("sound").clone();
    assert_eq!(acknowledged.len(), WRITES);
    group.check(&IDS, &acknowledged)
}

/// Three controllers in two places, whichever of them leads crashes, and a place for who writes.
const NETWORK: &str = r#"
schema = 1
name = "controllers"
duration = "12s"
seed = 5

[defaults]
probe = false
routes = "static"

[vip.game]
address = "203.0.113.10"
publish = ["tokyo"]
clb = "main"

[pop.tokyo]
[region.guangzhou]
[link.tokyo-guangzhou]
between = ["pop.tokyo", "region.guangzhou"]
rtt = "52ms"

[clb.main]
region = "guangzhou"
listener.web = { port = "tcp/80", scheduler = "wrr", targets = "web" }

[targets.web]
port = 8080
servers = [{ ip = "10.0.0.11" }]

[controller.a]
at = "tokyo"
[controller.b]
at = "guangzhou"
[controller.c]
at = "guangzhou"
"#;
const LEADER_CRASHES: &str = r#"
[[fault]]
at = "3s"
for = "2s"
down = "controller.leader"
"#;
/// The longest timeout is 900 ms.
const DISKS_IN_TROUBLE: &str = r#"
[[fault]]
at = "2s"
for = "1s"
disk = "controller.a"
full = true

[[fault]]
at = "2s"
for = "3s"
disk = "controller.b"
sync = "1s"
"#;

/// What a simulated run came to.
struct Outcome {
    digest: String,
    acknowledged: Acknowledged,
    group: Group,
    leaders: Vec<u64>,
    followed: Vec<Ledger>,
    /// What each member told of its disk, each time that it was news.
    disks: BTreeMap<u64, Vec<Disk>>,
}

type Disks = Arc<Mutex<BTreeMap<u64, Vec<Disk>>>>;

/// A member, until its machine crashes, and what it tells of its disk.
async fn take_part<H: Host>(
    host: H,
    id: u64,
    peers: BTreeMap<u64, SocketAddr>,
    group: Group,
    disks: Disks,
) {
    let at = peers[&id];
    let mut config = Config::new(id, peers, 3 * ELECTION);
    config.entries_kept = 20;
    let started = group.start(&host, config, at).await;
    started.expect("its disk is sound");
    let mut told = group.member(id).expect("it was started").watch_status();
    loop {
        let disk = told.next(|status| status.disk.clone()).await;
        let mut disks = disks.lock().expect("sound");
        let known = disks.entry(id).or_default();
        if known.last() != Some(&disk) {
            known.push(disk);
        }
    }
}

fn simulate(seed: u64) -> Outcome {
    simulate_with(seed, LEADER_CRASHES)
}

fn simulate_with(seed: u64, faults: &str) -> Outcome {
    let parsed = Topology::parse("controllers.toml", &format!("{NETWORK}{faults}"));
    let topology = parsed.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let names = ["a", "b", "c"].map(|name| format!("controller.{name}"));
    let address = |name: &String| {
        let nodes = topology.managed();
        let node = nodes.iter().find(|node| node.name == *name);
        let v4 = node.expect("it is in the file").address.v4;
        SocketAddr::new(v4.expect("both families").into(), 7_000)
    };
    let peers = BTreeMap::from_iter(IDS.into_iter().zip(names.each_ref().map(address)));
    let group = Group::default();
    let mut services = Services::new();
    let disks = Disks::default();
    for (id, name) in IDS.into_iter().zip(&names) {
        let (group, peers, disks) = (group.clone(), peers.clone(), Arc::clone(&disks));
        services.on_boot(name, move |host| {
            let (group, peers, disks) = (group.clone(), peers.clone(), Arc::clone(&disks));
            host.spawn(take_part(host.clone(), id, peers, group, disks));
        });
    }
    let acknowledged = Arc::new(Mutex::new(Acknowledged::new()));
    let (writers, noted) = (group.clone(), Arc::clone(&acknowledged));
    services.on_boot("pop.tokyo", move |host| {
        let (group, noted, own) = (writers.clone(), Arc::clone(&noted), host.clone());
        host.spawn(async move {
            let gap = Duration::from_millis(30);
            let note = |place, command| noted.lock().expect("sound").push((place, command));
            group.write_all(&own, ("write", WRITES), gap, note).await;
        });
    });
    let followed = Arc::new(Mutex::new(Vec::new()));
    let (seen, controllers) = (Arc::clone(&followed), Vec::from_iter(peers.into_values()));
    services.on_boot("host.web-1", move |host| {
        let seen = Arc::clone(&seen);
        let publish = move |ledger: &Ledger| seen.lock().expect("sound").push(ledger.clone());
        let config = follow::Config::new(controllers.clone());
        host.spawn(follow::follow(host.clone(), config, publish));
    });
    let leaders = Arc::new(Mutex::new(Vec::new()));
    let (asked, struck) = (group.clone(), Arc::clone(&leaders));
    services.set_leader(move || {
        let leader = asked.leader()?;
        struck.lock().expect("sound").push(leader);
        Some(names[leader as usize - 1].clone())
    });
    let options = Options {
        seed: Some(Seed(seed)),
        ..Options::default()
    };
    let report = run_with(&topology, &options, &services, &mut |_| {});
    let acknowledged = acknowledged.lock().expect("sound").clone();
    let leaders = leaders.lock().expect("sound").clone();
    let followed = followed.lock().expect("sound").clone();
    let disks = disks.lock().expect("sound").clone();
    Outcome {
        followed,
        disks,
        digest: report.expect("the network builds").digest,
        acknowledged,
        group,
        leaders,
    }
}

#[test]
fn in_the_simulator_no_acknowledged_write_is_lost_when_the_leader_crashes_and_returns() {
    let outcome = simulate(1);
    assert_eq!(outcome.acknowledged.len(), WRITES);
    assert_eq!(outcome.leaders.len(), 1, "one leader crashed");
    assert_eq!(outcome.group.check(&IDS, &outcome.acknowledged), Ok(()));
    let before = outcome.leaders[0];
    let status = |id| outcome.group.member(id).expect("it runs").status();
    let elected = IDS.iter().map(|id| status(*id).elections).max();
    assert!(
        elected >= Some(2),
        "another was elected while {before} was down"
    );
    let snapshots = |id| {
        outcome
            .group
            .member(id)
            .expect("it runs")
            .status()
            .snapshots
    };
    assert!(IDS.iter().any(|id| snapshots(*id).made > 0));
    let sent = snapshots(before);
    assert!(
        sent.received > 0 && sent.index > 0 && sent.bytes > 0,
        "{sent:?}"
    );
}

#[test]
fn a_member_tells_that_its_disk_is_full_or_slow_and_that_it_works_again() {
    let outcome = simulate_with(1, DISKS_IN_TROUBLE);
    assert_eq!(outcome.acknowledged.len(), WRITES);
    assert_eq!(outcome.group.check(&IDS, &outcome.acknowledged), Ok(()));
    let full = &outcome.disks[&1];
    assert!(
        matches!(&full[..], [Disk::Well, Disk::Refuses(_), Disk::Well]),
        "{full:?}"
    );
    let slow = &outcome.disks[&2];
    assert!(
        slow.starts_with(&[Disk::Well, Disk::Slow]) && slow.ends_with(&[Disk::Well]),
        "{slow:?}"
    );
    assert_eq!(outcome.disks[&3], [Disk::Well]);
}

#[test]
fn a_simulated_group_repeats_to_the_bit() {
    let [once, again, other] = [1, 1, 2].map(simulate);
    assert_eq!(once.digest, again.digest);
    assert_eq!(once.acknowledged, again.acknowledged);
    assert_ne!(once.digest, other.digest);
    assert_eq!(other.group.check(&IDS, &other.acknowledged), Ok(()));
}

#[test]
fn a_node_follows_every_revision_in_order_whoever_crashes() {
    let outcome = simulate(3);
    let (last, before) = outcome.followed.split_last().expect("it follows");
    let mut next = before.iter().chain([last]).skip(1);
    for ledger in before {
        let later = next.next().expect("one follows each");
        assert!(
            ledger.len() < later.len(),
            "a state went back, or came twice"
        );
    }
    let member = outcome.group.member(1).expect("it runs");
    assert_eq!(member.read(Ledger::clone), *last);
    assert!(last.len() >= WRITES);
    assert!(outcome.followed.len() > WRITES / 2, "it is told as it goes");
}

#[test]
fn a_killed_leader_is_replaced_within_a_few_timeouts() {
    let found = (1..=20).map(|seed| time_to_a_new_leader(Seed(seed), "0%"));
    let mut times: Vec<Duration> = found
        .map(|time| time.expect("another is elected"))
        .collect();
    times.sort_unstable();
    // Nobody campaigns before its timeout, less the age of the last heartbeat.
    assert!(times[0] >= ELECTION - ELECTION / 2, "{times:?}");
    assert!(times[10] <= 3 * ELECTION, "{times:?}");
    assert!(times[19] <= 10 * ELECTION, "{times:?}");
}

/// A connection is given up later than TCP's repeats come. With one that is given up after four timeouts, 600 ms, nearly
/// every loss at the end of a flight costs the connection and all that was on its way.
#[test]
fn over_ways_that_lose_segments_a_member_catches_up_faster_when_connections_are_kept() {
    let times = |set: fn(&mut Limits)| -> Vec<Option<Duration>> {
        let seeds = (1..=8).map(Seed);
        seeds
            .map(|seed| time_to_catch_up(seed, "3%", set))
            .collect()
    };
    let patient = times(|_| {});
    let impatient = times(|limits| {
        limits.ping_wait = 4 * ELECTION;
        limits.stalled_max = 8 * ELECTION;
    });
    assert!(patient.iter().all(Option::is_some), "{patient:?}");
    let sum = |times: &[Option<Duration>]| {
        let times = times.iter().map(|time| time.unwrap_or(RUN));
        times.sum::<Duration>()
    };
    assert!(sum(&patient) < sum(&impatient), "{patient:?} {impatient:?}");
}

/// Nobody waits for a connection to be given up.
#[test]
fn over_ways_that_lose_segments_a_killed_leader_is_replaced_within_a_few_timeouts() {
    let found = (1..=20).map(|seed| time_to_a_new_leader(Seed(seed), "3%"));
    let mut times: Vec<Duration> = found
        .map(|time| time.expect("another is elected"))
        .collect();
    times.sort_unstable();
    assert!(times[10] <= 3 * ELECTION, "{times:?}");
    assert!(times[19] <= 10 * ELECTION, "{times:?}");
}
