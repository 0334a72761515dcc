//! How long a group is without a leader when the one that it has is killed, in the simulator.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyedge_ccn::controller::Config;
use anyedge_ccn::raft::Role;
use anyedge_net::host::Host;
use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_sim::run::{Options, run_with};
use anyedge_sim::services::Services;
use anyedge_topologies::Topology;

use super::{ELECTION, Group};

/// Members of the group.
const MEMBERS: u64 = 5;
/// When its leader is killed.
const KILLED: Instant = Instant::from_nanos(2_000_000_000);
/// Five controllers of one place, 5 ms from each other and back. The leader does not return.
const NETWORK: &str = r#"
schema = 1
name = "election"
duration = "6s"
[defaults]
probe = false
routes = "static"
host.rtt = "5ms"
management.loss = "LOSS"
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
[controller.1]
at = "guangzhou"
[controller.2]
at = "guangzhou"
[controller.3]
at = "guangzhou"
[controller.4]
at = "guangzhou"
[controller.5]
at = "guangzhou"
[[fault]]
at = "2s"
down = "controller.leader"
"#;

/// From the kill of the leader to the next leader's election, of the run of that seed; timeouts are drawn from
/// [`ELECTION`] to twice that, and each way loses `loss` of its segments. `None`: there was no leader to kill, or no
/// other in 4 s.
pub fn time_to_a_new_leader(seed: Seed, loss: &str) -> Option<Duration> {
    let parsed = Topology::parse("election.toml", &NETWORK.replace("LOSS", loss));
    let topology = parsed.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let name = |id: u64| format!("controller.{id}");
    let address = |id: u64| {
        let nodes = topology.managed();
        let node = nodes.iter().find(|node| node.name == name(id));
        let v4 = node.expect("it is in the file").address.v4;
        let v4 = v4.expect("it has both families");
        (id, SocketAddr::new(v4.into(), 7_000))
    };
    let peers: BTreeMap<u64, SocketAddr> = (1..=MEMBERS).map(address).collect();
    let group = Group::default();
    let elected = Arc::new(Mutex::new(Vec::new()));
    let mut services = Services::new();
    for id in 1..=MEMBERS {
        let (group, peers, elected) = (group.clone(), peers.clone(), Arc::clone(&elected));
        services.on_boot(&name(id), move |host| {
            let (group, peers, elected) = (group.clone(), peers.clone(), Arc::clone(&elected));
            let own = host.clone();
            host.spawn(async move {
                let at = peers[&id];
                let config = Config::new(id, peers, ELECTION);
                let started = group.start(&own, config, at).await;
                started.expect("its disk is sound");
                let member = group.member(id).expect("it was started");
                let mut told = member.watch_status();
                let mut led = 0;
                loop {
                    let (role, term) = told.next(|status| (status.role, status.term)).await;
                    if role == Role::Leader && term > led {
                        led = term;
                        elected.lock().expect("sound").push(own.now());
                    }
                }
            });
        });
    }
    let asked = group.clone();
    services.set_leader(move || asked.leader().map(name));
    let options = Options {
        seed: Some(seed),
        ..Options::default()
    };
    let report = run_with(&topology, &options, &services, &mut |_| {});
    drop(report.expect("the network builds"));
    let elected = elected.lock().expect("sound");
    let had_leader = elected.iter().any(|at| *at < KILLED);
    let next = elected.iter().filter(|at| **at > KILLED).min()?;
    had_leader.then(|| next.since(KILLED))
}
