//! L09: a `gap` that arithmetic rules out when a fault of the file strikes.
//!
//! A POP that goes down is missed by its router (BFD's detection time, or the hold time), and then the Internet has to
//! forget it. A POP that loses its only line finds out by its probes, waits `withdraw_after`, withdraws, and the same
//! begins. Until then nobody answers the clients that enter there, and no service level can be shorter than that. Where
//! `convergence` is a spread, the time is that of half of the Internet.
//!
//! Only the first fault of a POP counts: whom an earlier one has moved away, a later one does not strike.

use std::time::Duration;

use anyedge_net::route_table::Probing;

use crate::client::Client;
use crate::diagnostic::Wrong;
use crate::fault::{Fault, FaultVerb};
use crate::load::{Load, LoadKind};
use crate::names::Kind;
use crate::slo::{Comparison, Expectation, Metric, SloOf, Threshold};

use super::lines::lines;
use super::{Case, Rule};

/// The share of the Internet whose time counts.
const HALF_PPM: u32 = 500_000;

pub(super) fn find(case: &Case<'_>, rule: &'static Rule) {
    for (place, slo) in case.topology.slos.iter().enumerate() {
        let of = |client: &&Client| match &slo.of {
            SloOf::Client(name) => client.name == *name,
            SloOf::Clients => true,
            SloOf::Listener { .. } | SloOf::Fault(_) | SloOf::Faults => false,
        };
        // A silence may lie outside of the time that counts.
        if slo.window.is_some() {
            continue;
        }
        let clients = || case.topology.clients.values().filter(of);
        let object = format!("slo[{place}]");
        for (item, expectation) in slo.expect.iter().enumerate() {
            let longest = clients().flat_map(|client| silences(case, client));
            let Some(longest) = longest.max_by_key(|silence| silence.lasts) else {
                continue;
            };
            if is_ruled_out(expectation, longest.lasts) {
                let listed = format!("expect[{item}]");
                let path = if case.has(&object, &listed) {
                    &listed
                } else {
                    "expect"
                };
                case.found(rule, &object, path, longest.wrong(&expectation.text));
            }
        }
    }
}

/// Whether a gap of that length breaks the service level.
fn is_ruled_out(expectation: &Expectation, gap: Duration) -> bool {
    let Threshold::Duration(allowed) = expectation.value else {
        return false;
    };
    let allows = match expectation.comparison {
        Comparison::Below => gap < allowed,
        Comparison::AtMost | Comparison::Equal => gap <= allowed,
        Comparison::Above | Comparison::AtLeast => true,
    };
    expectation.metric == Metric::Gap && !allows
}

/// A time in which a population gets no answer.
struct Silence<'c> {
    client: &'c str,
    fault: &'c Fault,
    /// At least so long.
    lasts: Duration,
    /// What it consists of.
    parts: String,
}

impl Silence<'_> {
    fn wrong(&self, expected: &str) -> Wrong {
        let reason = format!(
            "`{expected}` cannot be kept by {}: {} goes down at {:?}, {}: {:?} without an answer",
            Kind::Client.object(self.client),
            self.fault.object,
            self.fault.at,
            self.parts,
            self.lasts
        );
        let hint = "a longer gap; or faster: `bfd` of [defaults] bgp, `probe`, `withdraw_after`; or a second line for the POP";
        Wrong::new(reason, hint)
    }
}

/// The silences that faults of the file mean for a population.
fn silences<'c>(case: &Case<'c>, client: &'c Client) -> Vec<Silence<'c>> {
    let faults = case.topology.faults.iter();
    let down = faults.filter(|fault| matches!(fault.verb, FaultVerb::Down { .. }));
    let of = |fault: &'c Fault| {
        let mut loads = client.loads.iter();
        loads.find_map(|load| silence(case, client, load, fault))
    };
    down.filter_map(of).collect()
}

/// The silence that a fault means for a load, if it strikes where the load enters.
fn silence<'c>(
    case: &Case<'c>,
    client: &'c Client,
    load: &Load,
    fault: &'c Fault,
) -> Option<Silence<'c>> {
    // An idle flow may not notice, and a flood waits for nothing.
    if matches!(load.kind, LoadKind::Idle { .. } | LoadKind::SynFlood) {
        return None;
    }
    let topology = case.topology;
    let vip = topology.vips.get(&load.vip)?;
    let reached = vip.publish.iter();
    let reached = reached.filter_map(|pop| Some((client.preference(pop)?, pop)));
    let (_, entry) = reached.min()?;
    let region = &topology.clbs.get(&vip.clb)?.region;
    let ways: Vec<String> = lines(topology, entry, region)
        .map(|link| Kind::Link.object(&link.name))
        .collect();
    let pop = Kind::Pop.object(entry);
    let is_first = !topology.faults.iter().any(|other| {
        other.at <= fault.at
            && other.place != fault.place
            && (other.object == pop || ways.contains(&other.object))
    });
    let until_noticed = if fault.object == pop {
        missed_by_router(case, entry)
    } else if ways == [fault.object.as_str()] && vip.standby.is_empty() {
        withdrawn(case, entry)?
    } else {
        return None;
    };
    let whole = until_noticed.0 + topology.convergence.withdraw.time_at(HALF_PPM);
    let end = load
        .stop
        .unwrap_or(topology.duration)
        .min(topology.duration);
    let begin = fault.at.max(load.start);
    let over = (fault.at + fault.lasts.unwrap_or(whole).min(whole)).min(end);
    let lasts = over.checked_sub(begin).filter(|lasts| !lasts.is_zero())?;
    let parts = if lasts < whole {
        format!(
            "clients enter elsewhere only after {whole:?}, and the fault or the load is over before"
        )
    } else {
        format!("{}, and {}", until_noticed.1, followed(case))
    };
    is_first.then_some(Silence {
        client: &client.name,
        fault,
        lasts,
        parts,
    })
}

/// When the router of a POP misses it, and how.
fn missed_by_router(case: &Case<'_>, pop: &str) -> (Duration, String) {
    let Some(router) = case.topology.routers.get(pop) else {
        return (Duration::ZERO, "it is withdrawn at once".to_owned());
    };
    let (time, by) = match router.bfd {
        Some(bfd) => (bfd.interval * u32::from(bfd.multiplier), "BFD"),
        None => {
            let own = case
                .topology
                .defaults
                .bgp
                .map_or(router.hold, |bgp| bgp.hold);
            (router.hold.min(own), "the hold time")
        }
    };
    (time, format!("its router misses it after {time:?} ({by})"))
}

/// When a POP without its only line has withdrawn its VIPs; `None`: it never does.
fn withdrawn(case: &Case<'_>, pop: &str) -> Option<(Duration, String)> {
    let Probing {
        interval,
        multiplier,
        ..
    } = case.topology.probing?;
    let announcing = case.topology.announcing;
    if announcing.blackhole {
        return None;
    }
    let noticed = interval * u32::from(multiplier);
    let text = format!(
        "pop.{pop}, which has no other line, notices after {noticed:?} and withdraws {:?} later",
        announcing.withdraw_after
    );
    Some((noticed + announcing.withdraw_after, text))
}

fn followed(case: &Case<'_>) -> String {
    let withdraw = &case.topology.convergence.withdraw;
    let half = withdraw.time_at(HALF_PPM);
    if half == withdraw.longest() {
        format!("the Internet forgets it {half:?} later")
    } else {
        format!("half of the Internet has forgotten it {half:?} later")
    }
}
