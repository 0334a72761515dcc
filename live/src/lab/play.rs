//! A topology's own clients in its lab: the loads of the file, sent by the hosts that the file names.
//!
//! Each population is played by its first host, in its namespace, on a thread of its own; that host sends the whole rate,
//! at the very times at which the simulator's would. All clocks begin together, with the call.

use std::time::Duration;

use anyedge_net::rng::Seed;
use anyedge_topologies::{Client, Kind, Topology};
use anyedge_traffic::clients;
use anyedge_traffic::load::{Load, Share};
use anyedge_traffic::stats::{SharedStats, Stats};
use anyhow::{Context as _, Result, anyhow};
use tokio::runtime::Builder;

use super::name::LabName;
use crate::dataplane::clock::{Clock as _, MonotonicClock};
use crate::host::LiveHost;
use crate::netns::Namespace;

/// How often it is looked whether everything has its outcome.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What became of one load of one population.
#[derive(Clone)]
pub struct Account {
    /// The population's bare name.
    pub client: String,
    /// Which of its loads, counted from 0.
    pub number: usize,
    /// The account, closed.
    pub stats: Stats,
}

/// Sends the loads of `topology` for `duration` and waits until everything has an outcome.
///
/// # Errors
/// When a namespace or a socket is missing.
pub fn play(topology: &Topology, lab: &LabName, duration: Duration) -> Result<Vec<Account>> {
    let clock = MonotonicClock::start();
    std::thread::scope(|scope| {
        let running: Vec<_> = topology
            .clients
            .values()
            .map(|client| {
                scope.spawn(move || {
                    let name = Kind::Client.object(&client.name);
                    let namespace = Namespace::open(&lab.namespace_of(&name))?;
                    let own = Own {
                        topology,
                        client,
                        clock,
                        duration,
                    };
                    let accounts = namespace.run(|| own.play());
                    accounts.with_context(|| format!("`{name}`"))
                })
            })
            .collect();
        let mut accounts = Vec::new();
        for thread in running {
            let played = thread.join().map_err(|_| anyhow!("a client panicked"))?;
            accounts.extend(played?);
        }
        Ok(accounts)
    })
}

/// One population at work.
struct Own<'a> {
    topology: &'a Topology,
    client: &'a Client,
    clock: MonotonicClock,
    duration: Duration,
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
            let stats = SharedStats::default();
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
