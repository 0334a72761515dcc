//! How long a member that was down takes to have what the others have, over ways that lose segments, in the simulator.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyedge_ccn::controller::Config;
use anyedge_ccn::rpc::Limits;
use anyedge_net::host::Host;
use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_sim::run::{Options, run_with};
use anyedge_sim::services::Services;
use anyedge_topologies::Topology;

use super::{ELECTION, Group};
use crate::ground::ground;

/// Members of the group; the last is down for a while.
const IDS: [u64; 3] = [1, 2, 3];
/// How long a run goes on after the last one is back.
pub const RUN: Duration = Duration::from_secs(50);
/// When the last one is back.
const BACK: Instant = Instant::from_nanos(30_000_000_000);
/// Commands that it has missed, and the bytes of each.
const MISSED: usize = 40;
const COMMAND_BYTES: usize = 16 << 10;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Three controllers of which one is away for a while.
const CONTROLLERS: &str = r#"
[controller.1]
at = "tokyo"
[controller.2]
at = "guangzhou"
[controller.3]
at = "osaka"
[[fault]]
at = "1s"
for = "29s"
down = "controller.3"
"#;

/// From the return of the member to when it has all that was acknowledged, in the run of that seed, where ways lose
/// `loss` of their segments and connections have the limits that `set` leaves. `None`: it does not come to it.
pub fn time_to_catch_up(seed: Seed, loss: &str, set: fn(&mut Limits)) -> Option<Duration> {
    let text = format!(
        "schema = 1\nname = \"catch-up\"\nduration = \"80s\"\n\
         [defaults]\nprobe = false\nroutes = \"static\"\nmanagement.loss = \"{loss}\"\n{}{CONTROLLERS}",
        ground(["8ms", "8ms"], 1, 1)
    );
    let parsed = Topology::parse("catch-up.toml", &text);
    let topology = parsed.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let name = |id: u64| format!("controller.{id}");
    let address = |id: u64| {
        let nodes = topology.managed();
        let node = nodes.iter().find(|node| node.name == name(id));
        let v4 = node.expect("it is in the file").address.v4;
        let v4 = v4.expect("it has both families");
        (id, SocketAddr::new(v4.into(), 7_000))
    };
    let peers: BTreeMap<u64, SocketAddr> = IDS.map(address).into();
    let group = Group::default();
    let mut services = Services::new();
    for id in IDS {
        let (group, peers) = (group.clone(), peers.clone());
        services.on_boot(&name(id), move |host| {
            let (group, peers, own) = (group.clone(), peers.clone(), host.clone());
            host.spawn(async move {
                let at = peers[&id];
                let mut config = Config::new(id, peers, ELECTION);
                set(&mut config.limits);
                let started = group.start(&own, config, at).await;
                started.expect("its disk is sound");
            });
        });
    }
    let caught_up = Arc::new(Mutex::new(None));
    let found = Arc::clone(&caught_up);
    services.on_boot("pop.tokyo", move |host| {
        let (group, own, found) = (group.clone(), host.clone(), Arc::clone(&found));
        host.spawn(async move {
            own.sleep_until(Instant::from_nanos(1_500_000_000)).await;
            let mut last = 0;
            for number in 0..MISSED {
                let command = format!("{number:0width$}", width = COMMAND_BYTES);
                last = group.write(&own, &command).await;
            }
            own.sleep_until(BACK).await;
            let has_all = || {
                let member = group.member(IDS[2]);
                member.is_some_and(|member| member.status().applied >= last)
            };
            while !has_all() {
                own.sleep_until(own.now() + LOOK_EVERY).await;
            }
            *found.lock().expect("sound") = Some(own.now().since(BACK));
        });
    });
    let options = Options {
        seed: Some(seed),
        ..Options::default()
    };
    let report = run_with(&topology, &options, &services, &mut |_| {});
    drop(report.expect("the network builds"));
    *caught_up.lock().expect("sound")
}
