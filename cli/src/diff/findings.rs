//! What two runs have in common, and what not, as data.

use std::collections::{BTreeMap, BTreeSet};

use anyedge_sim::report::{ClientReport, Report, Service};
use serde::Serialize;

/// Everything that is compared; each pair is before and after.
#[derive(Debug, Serialize)]
pub(super) struct Findings {
    pub(super) schema: u32,
    pub(super) seed: u64,
    /// The two runs.
    pub(super) runs: [Run; 2],
    /// Populations of either, by name.
    pub(super) clients: Vec<Client>,
    /// Targets of either, by listener and address.
    pub(super) targets: Vec<Target>,
    /// Established flows that died, of all clients.
    pub(super) broken_flows: [u64; 2],
    /// Packets that were lost, by cause.
    pub(super) drops: BTreeMap<&'static str, [u64; 2]>,
    /// Service levels of either.
    pub(super) slos: Vec<Slo>,
}

/// Which run it was.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    pub(super) topology: String,
    pub(super) topology_hash: String,
    pub(super) overrides: Vec<String>,
    pub(super) digest: String,
}

/// A population; `None` where it is not in the file.
#[derive(Debug, Serialize)]
pub(super) struct Client {
    pub(super) name: String,
    /// The POP that most of its packets entered by.
    pub(super) pop: [Option<String>; 2],
    /// What each load was like, in the file's order.
    pub(super) loads: Vec<Load>,
}

/// A load of a population.
#[derive(Debug, Serialize)]
pub(super) struct Load {
    pub(super) to: String,
    pub(super) p50_ms: [Option<f64>; 2],
    pub(super) p99_ms: [Option<f64>; 2],
    /// Answered requests of those that were due.
    pub(super) answered: [Option<f64>; 2],
    pub(super) broken_flows: [Option<u64>; 2],
    pub(super) gap_s: [Option<f64>; 2],
}

/// A target's part of the new flows of its listener.
#[derive(Debug, Serialize)]
pub(super) struct Target {
    pub(super) listener: String,
    pub(super) target: String,
    pub(super) share: [Option<f64>; 2],
}

/// A service level; `None` where the file has none.
#[derive(Debug, Serialize)]
pub(super) struct Slo {
    pub(super) of: String,
    pub(super) expect: String,
    pub(super) measured: [Option<String>; 2],
    pub(super) kept: [Option<bool>; 2],
}

impl Findings {
    pub(super) fn of(before: &Report, after: &Report) -> Findings {
        let both = [before, after];
        Findings {
            schema: 1,
            seed: before.seed,
            runs: both.map(|report| Run {
                topology: report.topology.clone(),
                topology_hash: report.topology_hash.clone(),
                overrides: report.overrides.clone(),
                digest: report.digest.clone(),
            }),
            clients: clients(both),
            targets: targets(both),
            broken_flows: both.map(|report| {
                let clients = report.clients.iter();
                clients.map(|client| client.broken_flows).sum()
            }),
            drops: drops(both),
            slos: slos(both),
        }
    }

    /// Whether a service level is broken that was kept, or is new and broken.
    pub(super) fn newly_broken(&self) -> bool {
        let mut slos = self.slos.iter();
        slos.any(|slo| slo.kept[1] == Some(false) && slo.kept[0] != Some(false))
    }
}

/// The names of either run, in their order.
fn names<'r, T: Ord + 'r>(both: [&'r Report; 2], of: impl Fn(&'r Report) -> Vec<T>) -> BTreeSet<T> {
    both.into_iter().flat_map(of).collect()
}

fn clients(both: [&Report; 2]) -> Vec<Client> {
    let named = |report: &'_ Report| -> Vec<String> {
        let clients = report.clients.iter();
        clients.map(|client| client.name.clone()).collect()
    };
    let client = |name: String| {
        let found = both.map(|report| report.clients.iter().find(|client| client.name == name));
        Client {
            pop: found.map(|client| client.and_then(|client| client.pop.clone())),
            loads: loads(found),
            name,
        }
    };
    names(both, named).into_iter().map(client).collect()
}

fn loads(found: [Option<&ClientReport>; 2]) -> Vec<Load> {
    let count = found.map(|client| client.map_or(0, |client| client.loads.len()));
    let load = |number: usize| {
        let own = found.map(|client| client.and_then(|client| client.loads.get(number)));
        let service = own.map(|load| load.map(|load| &load.service));
        let of = |share: f64| {
            let at = |service: &Service| {
                let latency = service.latency_ms.as_ref()?;
                Some(if share < 0.9 {
                    latency.p50
                } else {
                    latency.p99
                })
            };
            service.map(|service| service.and_then(at))
        };
        let named = own[1].or(own[0]);
        Load {
            to: named.map_or_else(String::new, |load| format!("{} {}", load.kind, load.to)),
            p50_ms: of(0.5),
            p99_ms: of(0.99),
            answered: service.map(|service| service.and_then(answered)),
            broken_flows: own.map(|load| load.map(|load| load.broken_flows)),
            gap_s: own.map(|load| load.map(|load| load.gap_s)),
        }
    };
    (0..count[0].max(count[1])).map(load).collect()
}

fn answered(service: &Service) -> Option<f64> {
    let requests = &service.requests;
    (requests.sent > 0).then(|| requests.ok as f64 / requests.sent as f64)
}

fn targets(both: [&Report; 2]) -> Vec<Target> {
    let named = |report: &'_ Report| -> Vec<(String, String)> {
        let listeners = report.listeners.iter();
        let each = listeners.flat_map(|listener| {
            let targets = listener.targets.iter();
            targets.map(|target| (listener.listener.clone(), target.target.clone()))
        });
        each.collect()
    };
    let share = |report: &Report, listener: &str, target: &str| {
        let mut listeners = report.listeners.iter();
        let found = listeners.find(|one| one.listener == listener)?;
        let own = found.targets.iter().find(|one| one.target == target)?;
        (found.opened > 0).then(|| own.opened as f64 / found.opened as f64)
    };
    let all = names(both, named).into_iter();
    all.map(|(listener, target)| Target {
        share: both.map(|report| share(report, &listener, &target)),
        listener,
        target,
    })
    .collect()
}

fn drops(both: [&Report; 2]) -> BTreeMap<&'static str, [u64; 2]> {
    let mut drops = BTreeMap::new();
    for (which, report) in both.iter().enumerate() {
        for (cause, count) in &report.drops {
            drops.entry(*cause).or_insert([0; 2])[which] = *count;
        }
    }
    drops
}

fn slos(both: [&Report; 2]) -> Vec<Slo> {
    let named = |report: &'_ Report| -> Vec<(String, String)> {
        let slos = report.slos.iter();
        slos.map(|slo| (slo.of.clone(), slo.expect.clone()))
            .collect()
    };
    let slo = |(of, expect): (String, String)| {
        let found = both.map(|report| {
            let mut slos = report.slos.iter();
            slos.find(|slo| slo.of == of && slo.expect == expect)
        });
        Slo {
            measured: found.map(|slo| slo.map(|slo| slo.measured.clone())),
            kept: found.map(|slo| slo.map(|slo| slo.kept)),
            of,
            expect,
        }
    };
    names(both, named).into_iter().map(slo).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyedge_sim::run::{Options, run};
    use anyedge_topologies::Topology;
    use std::time::Duration;

    fn played(overrides: &[&str]) -> Report {
        let text = include_str!("../../../topologies/two-pops.toml");
        let overrides: Vec<String> = overrides.iter().map(|set| (*set).to_owned()).collect();
        let topology =
            Topology::parse_with("two-pops.toml", text, &overrides).expect("it is sound");
        let options = Options {
            duration: Some(Duration::from_secs(2)),
            ..Options::default()
        };
        run(&topology, &options, &mut |_| {}).expect("it builds")
    }

    #[test]
    fn a_run_differs_from_itself_in_nothing_and_from_another_by_its_change_alone() {
        let wanted = "slo.0.expect=[\"p50 < 300ms\"]";
        let plain = played(&[wanted]);
        let same = Findings::of(&plain, &played(&[wanted]));
        for client in &same.clients {
            assert_eq!(client.pop[0], client.pop[1]);
            for load in &client.loads {
                assert_eq!(load.p99_ms[0], load.p99_ms[1], "{}", client.name);
            }
        }
        assert!(!same.newly_broken());

        // Osaka's way to Tokyo is long: it enters by Frankfurt, and nothing changes for Berlin.
        let far = "client.osaka.public.tokyo=300ms";
        let moved = Findings::of(&plain, &played(&[wanted, far]));
        let client = |name: &str| {
            let mut clients = moved.clients.iter();
            clients.find(|client| client.name == name).expect("of both")
        };
        let osaka = client("osaka");
        assert_eq!(osaka.pop[0].as_deref(), Some("tokyo"));
        assert_eq!(osaka.pop[1].as_deref(), Some("frankfurt"));
        assert!(osaka.loads[0].p50_ms[1] > osaka.loads[0].p50_ms[0]);
        let berlin = client("berlin");
        assert_eq!(berlin.loads[0].p50_ms[0], berlin.loads[0].p50_ms[1]);
        assert!(moved.newly_broken(), "{:?}", moved.slos);
    }
}
