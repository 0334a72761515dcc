//! Faults side by side: when the router missed the POP, when clients went elsewhere, when another POP first answered, and
//! what flows went through.
//!
//! The simulator's times are medians over its runs. A part is near within 20 % of them; one as short as a machine's own
//! delays, within [`SLACK_S`]. Flows over TCP are told and not judged by their gaps, which are those of a TCP stack.

use anyedge_live::lab::play::Played;
use anyedge_live::load::Mark;
use anyedge_net::time::Instant;
use anyedge_sim::report::{FaultReport, LoadReport, Report};
use serde::Serialize;

use super::Worlds;
use super::loads::load_of;

/// How far apart a part may be, in per cent.
pub(super) const PART_PERCENT_MAX: f64 = 20.0;
/// How far apart a part may be however short it is, in seconds.
pub(super) const SLACK_S: f64 = 0.1;
/// How far apart the shares of flows that were kept may be.
const KEPT_SHARE_MAX: f64 = 0.05;
/// Kinds whose gaps do not depend on a TCP stack.
const ECHOED: [&str; 2] = ["tick", "ping"];

/// A fault, or its end, in both worlds.
#[derive(Serialize)]
pub(super) struct FaultPair {
    pub(super) at_s: f64,
    pub(super) what: String,
    /// The failover, from each part to the next, then all of it.
    pub(super) parts: Vec<Part>,
    pub(super) flows: Vec<FlowsPair>,
}

/// A part of the failover.
#[derive(Serialize)]
pub(super) struct Part {
    pub(super) name: &'static str,
    /// Median over the simulator's runs.
    pub(super) sim_s: Option<f64>,
    /// The least and the most of them.
    pub(super) sim_range_s: Option<[f64; 2]>,
    pub(super) lab_s: Option<f64>,
    /// None where neither world has it, or at the end of a fault.
    pub(super) near: Option<bool>,
}

/// The flows of one load that a fault met.
#[derive(Serialize)]
pub(super) struct FlowsPair {
    pub(super) client: String,
    pub(super) to: String,
    pub(super) kind: &'static str,
    /// In the simulator, in the lab.
    pub(super) established: [u64; 2],
    pub(super) kept: [u64; 2],
    /// The longest time that a kept flow wanted bytes and got none.
    pub(super) gap_s: [f64; 2],
    pub(super) near: Option<bool>,
}

impl FaultPair {
    /// Whether nothing that is judged is far.
    pub(super) fn is_near(&self) -> bool {
        let parts = self.parts.iter().map(|part| part.near);
        let flows = self.flows.iter().map(|flows| flows.near);
        parts.chain(flows).all(|near| near != Some(false))
    }
}

/// Seconds from a fault until the router missed the POP, until the last population went elsewhere, and until the last
/// of its echoes was answered again.
#[derive(Clone, Copy, Default)]
pub(super) struct Stamps(pub(super) [Option<f64>; 3]);

impl Stamps {
    /// What each adds to the one before, and the last.
    fn parts(self) -> [Option<f64>; 4] {
        let [missed, elsewhere, answered] = self.0;
        let after = |time: Option<f64>, before: Option<f64>| Some((time? - before?).max(0.0));
        [
            missed,
            after(elsewhere, missed),
            after(answered, elsewhere),
            answered.filter(|_| elsewhere.is_some()),
        ]
    }
}

const PARTS: [&str; 4] = ["detected", "converged", "answered", "all"];

/// Every fault that both worlds had.
pub(super) fn pairs(storm: &Worlds) -> Vec<FaultPair> {
    let Some(first) = storm.sim.first() else {
        return Vec::new();
    };
    let numbered = first.faults.iter().enumerate();
    let pairs = numbered.map(|(number, fault)| {
        let simulated = storm.sim.iter().filter_map(|report| {
            let fault = report.faults.get(number)?;
            Some(in_sim(report, fault).parts())
        });
        let simulated: Vec<_> = simulated.collect();
        let lab = in_lab(&storm.lab, first, number).parts();
        let parts = (0..PARTS.len()).map(|place| {
            let own = simulated.iter().filter_map(|parts| parts[place]).collect();
            part(PARTS[place], own, lab[place], begins(fault))
        });
        FaultPair {
            at_s: fault.at_s,
            what: fault.what.clone(),
            parts: parts.collect(),
            flows: flows(storm, fault),
        }
    });
    pairs.collect()
}

/// Whether an entry is a fault and not its end.
fn begins(fault: &FaultReport) -> bool {
    fault.what.starts_with("down ") || fault.what.starts_with("hang ")
}

fn part(name: &'static str, mut sim: Vec<f64>, lab_s: Option<f64>, judged: bool) -> Part {
    sim.sort_by(f64::total_cmp);
    let sim_s = sim.get(sim.len() / 2).copied();
    let near = match (sim_s, lab_s) {
        (Some(sim), Some(lab)) => Some(is_near(sim, lab)),
        (None, None) => None,
        _ => Some(false),
    };
    Part {
        name,
        sim_s,
        sim_range_s: sim
            .first()
            .zip(sim.last())
            .map(|(least, most)| [*least, *most]),
        lab_s,
        near: near.filter(|_| judged),
    }
}

fn is_near(sim: f64, lab: f64) -> bool {
    (lab - sim).abs() <= (sim * PART_PERCENT_MAX / 100.0).max(SLACK_S)
}

/// The stamps of a fault in a run of the simulator.
pub(super) fn in_sim(report: &Report, fault: &FaultReport) -> Stamps {
    let loads = report.clients.iter().flat_map(|client| &client.loads);
    let loads = loads.map(|load| (load.kind, load.stats.marks()));
    Stamps([
        fault.router_s,
        fault.withdrawn_s,
        answered(loads, fault.at_s),
    ])
}

/// The stamps of the fault of that number in the lab, whose times are those of the simulator's report.
pub(super) fn in_lab(lab: &Played, report: &Report, number: usize) -> Stamps {
    let Some(fault) = report.faults.get(number) else {
        return Stamps::default();
    };
    let mut later = report.faults[number + 1..].iter();
    let until = later.next().map_or(f64::INFINITY, |next| next.at_s);
    let turns = |is_it: &dyn Fn(&str) -> bool| {
        let courses = lab.courses.iter().filter(|course| is_it(&course.node));
        // Each begins with where it was at first.
        let turns = courses.flat_map(|course| course.turns.iter().skip(1));
        let after = turns.map(|turn| turn.at.as_secs_f64());
        let after: Vec<f64> = after
            .filter(|at| (fault.at_s..until).contains(at))
            .map(|at| at - fault.at_s)
            .collect();
        after
    };
    let router = fault.what.split_once(" pop.");
    let router = router.map(|(_, pop)| format!("router.{pop}"));
    let missed = turns(&|node| Some(node) == router.as_deref());
    let elsewhere = turns(&|node| node.starts_with("client."));
    let loads = lab.accounts.iter().filter_map(|account| {
        let load = load_of(report, &account.client, account.number)?;
        Some((load.kind, account.stats.marks()))
    });
    Stamps([
        missed.into_iter().reduce(f64::min),
        elsewhere.into_iter().reduce(f64::max),
        answered(loads, fault.at_s),
    ])
}

/// Seconds from the fault at `at_s` to the end of the longest silence of any echoes.
fn answered<'a>(loads: impl Iterator<Item = (&'static str, &'a [Mark])>, at_s: f64) -> Option<f64> {
    let echoed = loads.filter(|(kind, _)| ECHOED.contains(kind));
    let marks = echoed.filter_map(|(_, marks)| mark_at(marks, at_s));
    let longest = marks.max_by_key(|mark| (mark.gap_max, mark.recovered_at))?;
    let recovered: Instant = longest.recovered_at?;
    Some(recovered.as_secs_f64() - at_s)
}

fn mark_at(marks: &[Mark], at_s: f64) -> Option<&Mark> {
    let mut marks = marks.iter();
    marks.find(|mark| (mark.at.as_secs_f64() - at_s).abs() < 1e-6)
}

/// What became of the flows of every load.
fn flows(storm: &Worlds, fault: &FaultReport) -> Vec<FlowsPair> {
    let Some(first) = storm.sim.first() else {
        return Vec::new();
    };
    let accounts = storm.lab.accounts.iter();
    let pairs = accounts.filter_map(|account| {
        let load = load_of(first, &account.client, account.number)?;
        let own = mark_at(load.stats.marks(), fault.at_s)?;
        let lab = mark_at(account.stats.marks(), fault.at_s)?;
        let gaps = storm.sim.iter().filter_map(|report| {
            let load = load_of(report, &account.client, account.number)?;
            Some(
                mark_at(load.stats.marks(), fault.at_s)?
                    .gap_max
                    .as_secs_f64(),
            )
        });
        let mut gaps: Vec<f64> = gaps.collect();
        gaps.sort_by(f64::total_cmp);
        let gap_s = [
            gaps.get(gaps.len() / 2).copied()?,
            lab.gap_max.as_secs_f64(),
        ];
        Some(flows_pair(account.client.clone(), load, [own, lab], gap_s))
            .filter(|pair| pair.established != [0, 0])
            .map(|pair| FlowsPair {
                near: pair.near.filter(|_| begins(fault)),
                ..pair
            })
    });
    pairs.collect()
}

fn flows_pair(client: String, load: &LoadReport, marks: [&Mark; 2], gap_s: [f64; 2]) -> FlowsPair {
    let established = marks.map(|mark| mark.established);
    let kept = marks.map(|mark| mark.kept);
    let share = |world: usize| kept[world] as f64 / established[world].max(1) as f64;
    let same =
        established.iter().all(|count| *count > 0) && (share(0) - share(1)).abs() <= KEPT_SHARE_MAX;
    let gaps_are_near = !ECHOED.contains(&load.kind) || is_near(gap_s[0], gap_s[1]);
    FlowsPair {
        client,
        to: load.to.clone(),
        kind: load.kind,
        established,
        kept,
        gap_s,
        near: Some(same && gaps_are_near),
    }
}
