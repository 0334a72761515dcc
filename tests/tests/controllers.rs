//! Controllers in both worlds: what was acknowledged stays, whoever crashes, and a run repeats to the bit.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyedge_ccn::controller::Config;
use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::host::LiveHost;
use anyedge_net::host::{Host, TcpListener as _};
use anyedge_net::rng::Seed;
use anyedge_tests::controllers::{Acknowledged, ELECTION, Group};
use anyedge_tests::two_machines::{Scratch, bounded};
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
