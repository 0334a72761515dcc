//! One run: from a topology to a report.
//!
//! The loop: run the services that are ready, let the hosts send what that left, and only when nobody is
//! ready take the next event. The world is open while an event happens and free while services run.
//! The run ends when the load has stopped and every request has its outcome, at the latest `drain` after
//! `duration`.

mod machines;
mod routers;
mod streams;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_net::rng::Seed;
use anyedge_net::route_table::Mechanisms;
use anyedge_net::time::Instant;
use anyedge_topologies::{Question, Topology};
use anyedge_traffic::clients;
use anyedge_traffic::load::{Load, Share};
use anyedge_traffic::stats::SharedStats;

use crate::build::{self, BuildError, Built, LoadHost};
use crate::digest::{Cover, Perturbation};
use crate::executor::Executor;
use crate::explain::{self, FOLLOWED_FOR};
use crate::findings;
use crate::host::{Shared, SimHost};
use crate::report::Report;
use crate::services::{Services, control_plane};
use crate::tally::Opened;
use crate::verdict;
use crate::watch::Watcher;
use crate::world::World;
use machines::Machines;
use routers::RouterServices;
use streams::StreamServices;

/// How often, in virtual time, the run looks whether every request has its outcome.
const OUTCOME_CHECK: Duration = Duration::from_millis(10);

/// What a run may be asked beside its topology.
#[derive(Clone, Copy, Default, Debug)]
pub struct Options {
    /// Root of all randomness; `None`: the topology's.
    pub seed: Option<Seed>,
    /// How long clients send; `None`: the topology's.
    pub duration: Option<Duration>,
    /// What the digest covers.
    pub cover: Cover,
    /// Events between two calls of the progress callback; 0: the default.
    pub progress_every: u64,
    /// What of the forwarders' mechanisms is on: all of it, except in tests that show what each is for.
    pub mechanisms: Mechanisms,
    /// For tests of the digest.
    #[doc(hidden)]
    pub perturbation: Option<Perturbation>,
}

/// Events between two calls of the progress callback.
const PROGRESS_EVERY: u64 = 1 << 16;

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Simulated time so far.
    pub at: Duration,
    /// When clients stop sending.
    pub end: Duration,
    /// Packets that links delivered so far.
    pub packet_hops: u64,
}

/// The account of one load of one population.
pub(crate) struct LoadAccount {
    pub(crate) client: String,
    /// Which of the client's loads, counted from 0.
    pub(crate) number: usize,
    pub(crate) direct: bool,
    pub(crate) stats: SharedStats,
    pub(crate) stop: Instant,
}

/// Runs `topology`. `progress` is called now and then; what it does cannot change the run. The report's
/// `wall_s` and `memory_peak_bytes` are zero: only the caller has a clock, and a process.
///
/// # Errors
/// When the topology reads well but cannot be built.
pub fn run(
    topology: &Topology,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, BuildError> {
    run_with(topology, options, &Services::new(), progress)
}

/// As [`run`], with services on the nodes' own machines.
///
/// # Errors
/// As [`run`], and when a service is for a machine that is not there.
pub fn run_with(
    topology: &Topology,
    options: &Options,
    services: &Services,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, BuildError> {
    run_as(topology, options, services, Watched::default(), progress)
}

/// As [`run`], with somebody who is told what happens, and cannot change it.
///
/// # Errors
/// As [`run`].
pub fn run_watched(
    topology: &Topology,
    options: &Options,
    watcher: Box<dyn Watcher>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, BuildError> {
    let watched = Watched {
        watcher: Some(watcher),
        questions: &[],
    };
    run_as(topology, options, &Services::new(), watched, progress)
}

/// Who watches a run, and the flows that it is about.
#[derive(Default)]
pub(crate) struct Watched<'q> {
    pub(crate) watcher: Option<Box<dyn Watcher>>,
    pub(crate) questions: &'q [Question],
}

pub(crate) fn run_as(
    topology: &Topology,
    options: &Options,
    services: &Services,
    watched: Watched<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, BuildError> {
    let seed = options.seed.unwrap_or(Seed(topology.seed));
    let duration = options.duration.unwrap_or(topology.duration);
    let mut executor = Executor::new();
    let built = build::build(topology, seed, options, executor.handle().clone())?;
    let Built {
        mut world,
        loads,
        backends,
        managed,
        streams,
        peerings,
        beginning,
        site_names,
    } = built;
    let streams = StreamServices::new(streams);
    let routers = RouterServices::new(peerings);
    let own = beginning.map(|begins| control_plane(topology, begins));
    let own = own.unwrap_or_default();
    let machines = Machines::new(backends, managed, (streams, routers), own, services)?;
    world.leader = services.leader();
    let is_watched = watched.watcher.is_some();
    if let Some(watcher) = watched.watcher {
        world.set_watcher(watcher);
    }
    let shared = Shared::new(world, executor.handle().clone());
    machines.start_all(&shared);
    let accounts = start_loads(topology, duration, &shared, &loads);
    explain::start(&shared, &loads, watched.questions);
    let last = watched.questions.iter().map(|question| question.at).max();
    let until = last.map(|at| Instant::ZERO + at + FOLLOWED_FOR);
    let end = Instant::ZERO + duration;
    let mut course = Course {
        end,
        latest: end + topology.drain,
        check_at: until.unwrap_or(end),
        until,
        is_watched,
        report_at: 0,
        report_every: if options.progress_every == 0 {
            PROGRESS_EVERY
        } else {
            options.progress_every
        },
    };
    loop {
        match course.go_on(&mut executor, &shared, &accounts, progress) {
            Standing::Over => break,
            Standing::Goes => {}
            Standing::PowerChanged => machines.follow_power(&mut executor, &shared),
        }
    }
    let now = shared.world().now();
    for account in &accounts {
        account.stats.lock().close(now, account.stop);
    }
    let digest = shared.world().digest.value();
    executor.finish();
    let mut world = shared.world();
    world.close();
    Ok(findings::report(
        topology,
        seed,
        digest,
        now,
        &world,
        &accounts,
        &site_names,
    ))
}

/// How a run stands.
enum Standing {
    Over,
    Goes,
    /// Machines stopped or started.
    PowerChanged,
}

/// Where a run is and how far it goes.
struct Course {
    end: Instant,
    latest: Instant,
    check_at: Instant,
    /// The end of it, where it is for questions.
    until: Option<Instant>,
    is_watched: bool,
    report_at: u64,
    report_every: u64,
}

impl Course {
    /// Lets things happen until services are ready again or a machine stops or starts.
    fn go_on(
        &mut self,
        executor: &mut Executor,
        shared: &Arc<Shared>,
        accounts: &[LoadAccount],
        progress: &mut dyn FnMut(Progress),
    ) -> Standing {
        executor.run_ready();
        let mut world = shared.world();
        world.flush();
        while executor.handle().is_idle() {
            let Some(next) = world.next() else {
                return Standing::Over;
            };
            if next.at() >= self.check_at && self.is_over(next.at(), accounts) {
                return Standing::Over;
            }
            if self.is_watched && world.is_watched_out() {
                return Standing::Over;
            }
            world.step(next);
            world.flush();
            if world.power_changed() {
                break;
            }
            if world.steps() >= self.report_at {
                self.tell(&world, progress);
            }
        }
        if world.power_changed() {
            Standing::PowerChanged
        } else {
            Standing::Goes
        }
    }

    fn is_over(&mut self, at: Instant, accounts: &[LoadAccount]) -> bool {
        self.check_at = at + OUTCOME_CHECK;
        if let Some(until) = self.until {
            return at > until;
        }
        at > self.latest
            || accounts
                .iter()
                .all(|account| account.stats.lock().unfinished() == 0)
    }

    fn tell(&mut self, world: &World, progress: &mut dyn FnMut(Progress)) {
        self.report_at = world.steps() + self.report_every;
        progress(Progress {
            at: world.now().since(Instant::ZERO),
            end: self.end.since(Instant::ZERO),
            packet_hops: world.packet_hops(),
        });
    }
}

fn start_loads(
    topology: &Topology,
    duration: Duration,
    shared: &Arc<Shared>,
    hosts: &[LoadHost],
) -> Vec<LoadAccount> {
    let marks: Vec<Instant> = shared.world().budget.times().collect();
    let spans = verdict::spans(topology);
    let opened = spans.iter().map(|span| (*span, Opened::new()));
    shared.world().tally.opened_within = opened.collect();
    let mut accounts: BTreeMap<(String, usize, bool), LoadAccount> = BTreeMap::new();
    for host in hosts {
        let client = &topology.clients[&host.client];
        for (number, load) in client.loads.iter().enumerate() {
            if let Some(region) = &host.direct
                && !(load.direct && *region == build::home(topology, load))
            {
                continue;
            }
            let Some(plan) = Load::from_file(topology, load, host.v6, duration) else {
                continue;
            };
            let key = (host.client.clone(), number, host.direct.is_some());
            let account = accounts.entry(key).or_insert_with(|| LoadAccount {
                client: host.client.clone(),
                number,
                direct: host.direct.is_some(),
                stats: SharedStats::watching(marks.clone(), spans.clone()),
                stop: plan.stop,
            });
            let share = Share {
                index: host.index,
                of: host.of,
            };
            let handle = SimHost::new(shared, host.host, &host.name);
            clients::start_raw(&handle, &plan, share, &account.stats)
                .expect("the file's reader checked the load");
        }
    }
    accounts.into_values().collect()
}

#[cfg(test)]
mod tests;
