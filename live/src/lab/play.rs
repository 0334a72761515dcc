//! A topology's own clients in its lab: the loads of the file, sent by the hosts that the file names, while the faults
//! of the file happen.
//!
//! Each population is played by its first host, in its namespace, on a thread of its own; that host sends the whole rate,
//! at the very times at which the simulator's would. All clocks begin together, with the call. Beside the clients stand
//! watchers, which tell by which POP each population enters and when the router beside a POP came to miss it.

mod faults;
mod lateness;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_topologies::{Client, Kind, Topology};
use anyedge_traffic::clients;
use anyedge_traffic::load::{Load, Share};
use anyedge_traffic::stats::{SharedStats, Stats};
use anyhow::{Context as _, Result, anyhow};
use tokio::runtime::Builder;

pub use self::faults::unplayable;
pub use self::lateness::Lateness;
pub use super::catchment::Turn;
use super::catchment::Watch;
use super::fault::scenario::Scenario;
use super::name::LabName;
use super::{plan, routers};
use crate::dataplane::clock::{Clock as _, MonotonicClock};
use crate::host::LiveHost;
use crate::netns::Namespace;
use crate::processor::take_short_turns;

/// How often it is looked whether everything has its outcome.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What became of one load of one population.
#[derive(Clone)]
pub struct Account {
    /// The population's bare name.
    pub client: String,
    /// Which of its loads, counted from 0.
    pub number: usize,
    /// The account, closed, with a mark at the beginning and the end of each fault.
    pub stats: Stats,
}

/// Which way packets to VIPs took from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// The node: `client.osaka` or `router.tokyo`.
    pub node: String,
    /// The VIP's bare name.
    pub vip: String,
    /// The way at the beginning, and every turn.
    pub turns: Vec<Turn>,
}

/// What a lab showed.
#[derive(Clone, Default)]
pub struct Played {
    /// Every load.
    pub accounts: Vec<Account>,
    /// Every population and, where there are routers, every router beside a POP.
    pub courses: Vec<Course>,
    /// How late the machine woke a sleeper meanwhile.
    pub lateness: Lateness,
}

/// Sends the loads of `topology` for `duration`, with those of its faults that begin before, and waits until everything
/// has an outcome.
///
/// # Errors
/// When a namespace or a socket is missing, or a fault cannot be played ([`unplayable`] tells before).
pub fn play(topology: &Topology, lab: &LabName, duration: Duration) -> Result<Played> {
    let clock = MonotonicClock::start();
    let marks = faults::times(topology, duration);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = watchers(scope, (topology, lab), clock, &over);
        let sleeping = scope.spawn(|| Ok(lateness::observe(&over)));
        let struck = scope.spawn(move || {
            let started = clock.machine_instant(Instant::ZERO);
            Scenario::new(lab, topology).play(started, duration)
        });
        let running = topology.clients.values().map(|client| {
            let marks = &marks;
            scope.spawn(move || {
                // An answer that waits for its client would look like a longer way.
                take_short_turns();
                let name = Kind::Client.object(&client.name);
                let namespace = Namespace::open(&lab.namespace_of(&name))?;
                let own = Own {
                    topology,
                    client,
                    clock,
                    duration,
                    marks,
                };
                let accounts = namespace.run(|| own.play());
                accounts.with_context(|| format!("`{name}`"))
            })
        });
        let running: Vec<_> = running.collect();
        let accounts: Result<Vec<_>> = running.into_iter().map(end_of).collect();
        over.store(true, Ordering::Relaxed);
        let courses: Result<Vec<_>> = watching.into_iter().map(end_of).collect();
        end_of(struck)?;
        Ok(Played {
            accounts: accounts?.concat(),
            courses: courses?,
            lateness: end_of(sleeping)?,
        })
    })
}

fn end_of<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    let ended = thread.join();
    ended.map_err(|_| anyhow!("a thread of the play panicked"))?
}

/// Where to look, and after what.
struct Watched<'a> {
    node: String,
    vip: &'a str,
    address: IpAddr,
    /// Interfaces, and the POP behind each.
    exits: Vec<(String, String)>,
}

/// One watcher for each VIP that a population goes to, and for each router and VIP of its POP.
fn watchers<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    (topology, lab): (&'env Topology, &'env LabName),
    clock: MonotonicClock,
    over: &'env AtomicBool,
) -> Vec<ScopedJoinHandle<'scope, Result<Course>>> {
    let mut watched: Vec<Watched<'env>> = Vec::new();
    for client in topology.clients.values() {
        let pops = plan::pops_of(client).into_iter().enumerate();
        let exits: Vec<_> = pops
            .map(|(number, pop)| (format!("pop{number}"), pop.to_owned()))
            .collect();
        for vip in topology.vips.values() {
            let is_asked = client.loads.iter().any(|load| load.vip == vip.name);
            let v6 = client.uses_v6(0);
            let address = vip.address.iter().find(|ip| ip.is_ipv6() == v6);
            if let Some(address) = address.filter(|_| is_asked) {
                let name = Kind::Client.object(&client.name);
                watched.push(Watched {
                    node: name,
                    vip: &vip.name,
                    address,
                    exits: exits.clone(),
                });
            }
        }
    }
    let routed = topology.routers.values();
    for router in routed.filter(|_| routers::installed().is_some()) {
        let published = topology.vips.values();
        for vip in published.filter(|vip| vip.publish.contains(&router.name)) {
            let exits = vec![("pop0".to_owned(), router.name.clone())];
            if let Some(address) = vip.address.iter().next() {
                watched.push(Watched {
                    node: router.object(),
                    vip: &vip.name,
                    address,
                    exits,
                });
            }
        }
    }
    let watching = watched.into_iter().map(|watched| {
        scope.spawn(move || {
            let node = watched.node;
            let watch = Watch {
                namespace: Namespace::open(&lab.namespace_of(&node))?,
                exits: watched.exits,
                vip: watched.address,
            };
            let turns = watch.look(clock, over);
            Ok(Course {
                turns: turns.with_context(|| format!("routes of `{node}`"))?,
                node,
                vip: watched.vip.to_owned(),
            })
        })
    });
    watching.collect()
}

/// One population at work.
struct Own<'a> {
    topology: &'a Topology,
    client: &'a Client,
    clock: MonotonicClock,
    duration: Duration,
    marks: &'a [Instant],
}

impl Own<'_> {
    fn play(&self) -> Result<Vec<Account>> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start a runtime")?;
        // As the simulator calls the first host, whose arrivals it shall have.
        let name = format!("{}/1", Kind::Client.object(&self.client.name));
        let seed = Seed(self.topology.seed);
        let host = LiveHost::new(&name, self.clock, seed, runtime.handle().clone());
        let mut running = Vec::new();
        let _inside = runtime.enter();
        for (number, load) in self.client.loads.iter().enumerate() {
            let v6 = self.client.uses_v6(0);
            let Some(load) = Load::from_file(self.topology, load, v6, self.duration) else {
                continue;
            };
            let stats = SharedStats::with_marks(self.marks.to_vec());
            clients::start(&host, &load, Share::WHOLE, &stats)
                .with_context(|| format!("its load {number}"))?;
            running.push((number, load, stats));
        }
        runtime.block_on(async {
            while !self.is_over(&running) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        let now = self.clock.now();
        let close = |(number, load, stats): (usize, Load, SharedStats)| {
            let mut stats = stats.lock();
            stats.close(now, load.stop);
            Account {
                client: self.client.name.clone(),
                number,
                stats: stats.clone(),
            }
        };
        Ok(running.into_iter().map(close).collect())
    }

    fn is_over(&self, running: &[(usize, Load, SharedStats)]) -> bool {
        let now = self.clock.now();
        running.iter().all(|(_, load, stats)| {
            let settled = now >= load.stop && stats.lock().unfinished() == 0;
            settled || now >= load.stop + load.timeout
        })
    }
}
