//! Whether service levels are of something that is there, and whether arithmetic alone leaves them a chance.
//!
//! A level is impossible that no measure can have (a share above the whole, a count below zero), that contradicts
//! another of the same subject (a median above a p99), or that the file's own figures rule out by more than a factor of
//! two: an answer in less time than the way there takes, twice as many requests as are sent. What is nearer is left to
//! the run, which measures.

use std::time::Duration;

use crate::book::Book;
use crate::client::Client;
use crate::diagnostic::Wrong;
use crate::link::LinkEnds;
use crate::load::{Load, LoadKind};
use crate::names::Kind;
use crate::nearest::{did_you_mean, listed};
use crate::slo::{Comparison, Expectation, Metric, Slo, SloOf, TargetOf, Threshold};
use crate::units::PPM_WHOLE;

use super::super::Topology;

/// Percentiles, each no lower than the one before.
const RISING: [Metric; 5] = [
    Metric::P50,
    Metric::P90,
    Metric::P99,
    Metric::P999,
    Metric::Max,
];

/// Of a file that was read badly, nothing is said that a value which is missing may have made so.
pub(super) fn check(book: &Book<'_>, topology: &Topology, read_badly: bool) {
    for (index, slo) in topology.slos.iter().enumerate() {
        let case = Case {
            book,
            topology,
            slo,
            object: format!("slo[{index}]"),
            read_badly,
        };
        case.listener();
        case.idle();
        case.expectations();
        case.contradictions();
    }
}

struct Case<'c> {
    book: &'c Book<'c>,
    topology: &'c Topology,
    slo: &'c Slo,
    object: String,
    read_badly: bool,
}

impl<'c> Case<'c> {
    fn report(&self, path: &str, wrong: Wrong) {
        let wrong = wrong.within(format_args!("`{path}`: "));
        self.book.report(&self.object, path, wrong);
    }

    /// Where the file has an expectation, whose list may be one text.
    fn path_of(&self, item: usize) -> String {
        let listed = format!("expect[{item}]");
        let whole = format!("{}.{listed}", self.object);
        match self.book.places.contains_key(&whole) {
            true => listed,
            false => "expect".to_owned(),
        }
    }

    /// The listener is there, and targets that are named are behind it.
    fn listener(&self) {
        let SloOf::Listener { clb, listener } = &self.slo.of else {
            return;
        };
        let Some(clb) = self.topology.clbs.get(clb) else {
            return;
        };
        let Some(listener) = clb.listeners.get(listener) else {
            let known = clb.listeners.keys().map(String::as_str);
            let reason = format!("clb.{} has no listener \"{listener}\"", clb.name);
            return self.report("of", Wrong::new(reason, did_you_mean(listener, known)));
        };
        let servers = || self.topology.servers_behind(&clb.name, listener);
        let is_there = |target: TargetOf| {
            let port_fits = |port| target.port.is_none_or(|own| own == port);
            servers().any(|server| {
                let mut addresses = server.address.iter();
                port_fits(server.port) && addresses.any(|ip| ip == target.ip)
            })
        };
        for (item, expectation) in self.slo.expect.iter().enumerate() {
            if let Metric::Share(target) = expectation.metric
                && !is_there(target)
                && !self.read_badly
            {
                let reason = format!("{target} is no target of {}/{}", clb.name, listener.name);
                let known = servers().flat_map(|server| {
                    let addresses = server.address.iter();
                    addresses.map(|ip| std::net::SocketAddr::new(ip, server.port).to_string())
                });
                let known: Vec<String> = known.collect();
                let hint = listed(known.iter().map(String::as_str));
                self.report(&self.path_of(item), Wrong::new(reason, hint));
            }
        }
    }

    /// The populations that the level is of.
    fn clients(&self) -> impl Iterator<Item = &'c Client> + use<'c> {
        let of = &self.slo.of;
        let clients = self.topology.clients.values();
        clients.filter(move |client| match of {
            SloOf::Client(name) => client.name == *name,
            SloOf::Clients => true,
            SloOf::Listener { .. } | SloOf::Fault(_) | SloOf::Faults => false,
        })
    }

    fn loads(&self) -> impl Iterator<Item = (&'c Client, &'c Load)> + use<'c> {
        self.clients()
            .flat_map(|client| client.loads.iter().map(move |load| (client, load)))
    }

    /// Clients that send nothing have no service.
    fn idle(&self) {
        let of_clients = matches!(self.slo.of, SloOf::Client(_) | SloOf::Clients);
        if !of_clients || self.loads().next().is_some() || self.read_badly {
            return;
        }
        let clients = self.topology.clients.values();
        let with_load = clients.filter(|client| !client.loads.is_empty());
        let names = with_load.map(|client| client.name.as_str());
        let hint = did_you_mean(&self.slo.of.to_string(), names);
        let reason = format!("{} has no load", self.slo.of);
        self.report("of", Wrong::new(reason, hint));
    }

    fn expectations(&self) {
        for (item, expectation) in self.slo.expect.iter().enumerate() {
            let known = || (!self.read_badly).then(|| self.by_figures(expectation))?;
            if let Some(wrong) = by_itself(expectation).or_else(known) {
                let told = format_args!("\"{}\" cannot be: ", expectation.text);
                self.report(&self.path_of(item), wrong.within(told));
            }
        }
    }

    /// What the file's own figures rule out by more than a factor of two.
    fn by_figures(&self, expectation: &Expectation) -> Option<Wrong> {
        match expectation.value {
            Threshold::Duration(wanted) if RISING.contains(&expectation.metric) => {
                let (way, over) = self.shortest_way()?;
                (is_upper(expectation) && wanted < way).then(|| {
                    let reason = format!("the way there alone takes {way:?}, {over}");
                    Wrong::new(
                        reason,
                        format!("a time above {:?}, there and back", way * 2),
                    )
                })
            }
            Threshold::Duration(wanted) if expectation.metric == Metric::Gap => {
                let pause = self.loads().map(|(_, load)| self.pause(load)).max()?;
                (is_upper(expectation) && wanted < pause / 2).then(|| {
                    let reason = format!("a request is due every {pause:?}");
                    Wrong::new(
                        reason,
                        format!("a time above {pause:?}, or a higher `rate`"),
                    )
                })
            }
            Threshold::Count(wanted) if expectation.metric == Metric::Sent => {
                let due: u64 = self.loads().map(|(_, load)| self.due(load)).sum();
                (is_lower(expectation) && wanted / 2 > due + 5).then(|| {
                    let reason = format!("about {due} are due by `rate`");
                    Wrong::new(reason, format!("at most {due}, or a higher `rate`"))
                })
            }
            _ => None,
        }
    }

    /// The time within which a load's requests count.
    fn time_of(&self, load: &Load) -> Duration {
        let duration = self.topology.duration;
        let window = self.slo.window;
        let from = load
            .start
            .max(window.map_or(Duration::ZERO, |window| window.from));
        let stop = load.stop.unwrap_or(duration).min(duration);
        let to = window.map_or(stop, |window| window.to.min(stop));
        to.saturating_sub(from)
    }

    /// How many requests of a load are due, on average.
    fn due(&self, load: &Load) -> u64 {
        let time = self.time_of(load).as_nanos();
        let due = time * u128::from(load.rate.count) / load.rate.per.as_nanos().max(1);
        u64::try_from(due).unwrap_or(u64::MAX)
    }

    /// The time between two requests of a load, on average; none of long flows, whose gaps are within them.
    fn pause(&self, load: &Load) -> Duration {
        match load.kind {
            LoadKind::Request { .. }
            | LoadKind::KeepAlive { .. }
            | LoadKind::Tick { .. }
            | LoadKind::Ping { .. } => {
                let between = u32::try_from(self.due(load) + 1).unwrap_or(u32::MAX);
                self.time_of(load) / between
            }
            _ => Duration::ZERO,
        }
    }

    /// The shortest way of any load to who answers it, and over which POP.
    fn shortest_way(&self) -> Option<(Duration, String)> {
        let ways = self.loads().filter_map(|(client, load)| {
            let vip = self.topology.vips.get(&load.vip)?;
            let pops = vip.publish.iter();
            let ways = pops.filter_map(|pop| {
                let public = *client.pop_rtts.get(pop)?;
                let inner = match load.kind {
                    LoadKind::Ping { .. } => Duration::ZERO,
                    LoadKind::SynFlood => return None,
                    _ => self.behind(pop, load)?,
                };
                let own = Kind::Client.object(&client.name);
                let over = format!("from {own} over pop.{pop}");
                Some(((public + inner) * trips(load.kind) / 2, over))
            });
            ways.min()
        });
        // Halves of round trips are whole nanoseconds.
        let (way, over) = ways.min()?;
        Some((way.saturating_sub(Duration::from_micros(1)), over))
    }

    /// The round trip from a POP to the nearest target of a load.
    fn behind(&self, pop: &str, load: &Load) -> Option<Duration> {
        let vip = self.topology.vips.get(&load.vip)?;
        let names = std::iter::once(&vip.clb).chain(&vip.standby);
        let clbs = names.filter_map(|name| self.topology.clbs.get(name));
        let ways = clbs.filter_map(|clb| {
            let to_region = self.to_region(pop, &clb.region)?;
            let hosts = self.topology.hosts.values();
            let hosts = hosts.filter(|host| host.region == clb.region);
            Some(to_region + hosts.map(|host| host.rtt).min().unwrap_or_default())
        });
        ways.min()
    }

    /// The round trip from a POP to a region, if need be over another one.
    fn to_region(&self, pop: &str, region: &str) -> Option<Duration> {
        let links = || self.topology.links.values();
        let from_pop = links().filter(|link| link.ends.has_pop(pop));
        let ways = from_pop.filter_map(|link| {
            let LinkEnds::Ccn { region: near, .. } = &link.ends else {
                return None;
            };
            if near == region {
                return Some(link.rtt);
            }
            let further = links().filter(|further| {
                matches!(further.ends, LinkEnds::Backbone { .. })
                    && further.ends.has_region(near)
                    && further.ends.has_region(region)
            });
            further.map(|further| link.rtt + further.rtt).min()
        });
        ways.min()
    }

    /// Levels of one subject that contradict each other.
    fn contradictions(&self) {
        let all = &self.slo.expect;
        for (item, upper) in all.iter().enumerate().filter(|(_, it)| is_upper(it)) {
            let against = all.iter().filter(|lower| is_lower(lower));
            let mut against = against.filter(|lower| {
                is_no_higher(lower.metric, upper.metric) && leave_nothing(lower, upper)
            });
            if let Some(lower) = against.next() {
                let reason = format!("\"{}\" contradicts \"{}\"", upper.text, lower.text);
                let wrong = Wrong::new(reason, "one of the two");
                self.report(&self.path_of(item), wrong);
            }
        }
    }
}

/// Round trips that an answer takes at least; an answer of a kept connection needs no handshake.
const fn trips(kind: LoadKind) -> u32 {
    match kind {
        LoadKind::KeepAlive { .. } | LoadKind::Tick { .. } | LoadKind::Ping { .. } => 1,
        _ => 2,
    }
}

const fn is_upper(expectation: &Expectation) -> bool {
    matches!(
        expectation.comparison,
        Comparison::Below | Comparison::AtMost | Comparison::Equal
    )
}

const fn is_lower(expectation: &Expectation) -> bool {
    matches!(
        expectation.comparison,
        Comparison::Above | Comparison::AtLeast | Comparison::Equal
    )
}

/// Whether `one` never measures more than `other`.
fn is_no_higher(one: Metric, other: Metric) -> bool {
    let place = |metric| RISING.iter().position(|own| *own == metric);
    match (place(one), place(other)) {
        (Some(one), Some(other)) => one <= other,
        _ => one == other,
    }
}

/// Whether nothing is both as high as `lower` asks and as low as `upper` does.
fn leave_nothing(lower: &Expectation, upper: &Expectation) -> bool {
    let (Some(least), Some(most)) = (figure(lower), figure(upper)) else {
        return false;
    };
    let strict = matches!(lower.comparison, Comparison::Above)
        || matches!(upper.comparison, Comparison::Below);
    least > most || strict && least == most
}

/// A threshold as a number, comparable with others of its metric.
fn figure(expectation: &Expectation) -> Option<u128> {
    Some(match expectation.value {
        Threshold::Duration(time) => time.as_nanos(),
        Threshold::SharePpm(share) => u128::from(share),
        Threshold::Count(count) => u128::from(count),
    })
}

/// What no measure of that metric can be.
fn by_itself(expectation: &Expectation) -> Option<Wrong> {
    let figure = figure(expectation)?;
    let whole = matches!(expectation.value, Threshold::SharePpm(_));
    let whole = whole && expectation.metric != Metric::Imbalance;
    match expectation.comparison {
        Comparison::Below if figure == 0 => {
            Some(Wrong::new("nothing is below zero", "`== 0`, or more"))
        }
        Comparison::Above if whole && figure == u128::from(PPM_WHOLE) => Some(Wrong::new(
            "nothing is more than the whole",
            "`== 100%`, or less",
        )),
        _ => None,
    }
}
