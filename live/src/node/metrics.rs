//! What a node tells a Prometheus server: read when it is asked for, so that counting costs the data plane nothing more.
//!
//! Names and units are by Prometheus' conventions; docs/metrics.md explains each. The labels are names of the table and
//! reasons of the program, never something that a stranger chooses.

use std::fmt::Error;
use std::sync::Arc;

use anyedge_ccn::agent::AgentHandle;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Health;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::events::Flows;
use super::standing::{Known, Standing};
use crate::dataplane::totals::Totals;

/// Where a node's figures come from.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) node: String,
    pub(super) totals: Arc<Totals>,
    pub(super) standing: Standing,
    pub(super) flows: Arc<Flows>,
    pub(super) agent: Option<AgentHandle>,
}

/// A node's own registry, with one collector.
pub(super) fn registry(figures: Figures) -> Registry {
    let mut registry = Registry::with_prefix("anyedge");
    registry.register_collector(Box::new(figures));
    registry
}

/// All figures as text.
pub(super) fn text(registry: &Registry) -> String {
    let mut text = String::new();
    // A String takes whatever is written.
    let _ = encode(&mut text, registry);
    text
}

/// The labels of a series.
type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Writes families one after the other.
struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn counters<'a>(
        &mut self,
        (name, help): (&str, &str),
        series: impl IntoIterator<Item = (Labels<'a>, u64)>,
    ) -> Result<(), Error> {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in series {
            let one = family.encode_family(&labels)?;
            ConstCounter::new(count).encode(one)?;
        }
        Ok(())
    }

    fn counter(&mut self, (name, help): (&str, &str), count: u64) -> Result<(), Error> {
        let one = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(one)
    }

    fn gauges<'a>(
        &mut self,
        (name, help, unit): (&str, &str, Option<&Unit>),
        series: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) -> Result<(), Error> {
        let mut family = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in series {
            let one = family.encode_family(&labels)?;
            ConstGauge::new(value).encode(one)?;
        }
        Ok(())
    }

    fn gauge(
        &mut self,
        (name, help, unit): (&str, &str, Option<&Unit>),
        value: f64,
    ) -> Result<(), Error> {
        let one = self
            .0
            .encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(one)
    }
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut writer = Writer(encoder);
        let version = env!("CARGO_PKG_VERSION");
        let own = vec![("node", self.node.as_str()), ("version", version)];
        writer.gauges(("node_info", "Who this is", None), [(own, 1.0)])?;
        self.packets(&mut writer)?;
        self.flows(&mut writer)?;
        let known = self.standing.lock().clone();
        table(&known, &mut writer)?;
        found_out(&known, &mut writer)?;
        let Some(agent) = &self.agent else {
            return Ok(());
        };
        let is_heard = f64::from(u8::from(agent.is_heard()));
        let told = (
            "controller_connected",
            "Whether the controller that leads took the last report",
            None,
        );
        writer.gauge(told, is_heard)?;
        let told = ("controller_reports", "Reports that controllers took");
        writer.counter(told, agent.taken())?;
        let told = (
            "controller_reports_ignored",
            "News that were too many to be reported",
        );
        writer.counter(told, agent.ignored())
    }
}

impl Figures {
    fn packets(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        let totals = &self.totals;
        let [received, originated, transmitted, delivered] = totals.flow();
        for (told, count) in [
            (("packets_received", "Packets that arrived"), received),
            (
                ("packets_originated", "Packets that the node made itself"),
                originated,
            ),
            (
                ("packets_transmitted", "Packets that were sent by a port"),
                transmitted,
            ),
            (
                (
                    "packets_delivered",
                    "Packets that were handed to the node's own machine",
                ),
                delivered,
            ),
        ] {
            writer.counter(told, count)?;
        }
        let reasons = || DropReason::ALL.iter().copied();
        let dropped =
            reasons().map(|reason| (vec![("reason", reason.name())], totals.dropped(reason)));
        let told = ("packets_dropped", "Packets that the forwarder dropped");
        writer.counters(told, dropped)?;
        let refused =
            reasons().map(|reason| (vec![("reason", reason.name())], totals.refused(reason)));
        let refused = refused.filter(|(_, count)| *count > 0);
        let told = (
            "packets_refused",
            "Packets that a device, a queue or a socket did not take or had no room for",
        );
        writer.counters(told, refused)?;
        let callers = totals.callers_refused().into_iter();
        let callers = callers.map(|((door, cause), count)| {
            let labels = vec![("door", door), ("cause", cause)];
            (labels, count)
        });
        let told = (
            "callers_refused",
            "Callers at the doors of gRPC and QUIC tunnels that were not let in",
        );
        writer.counters(told, callers)
    }

    fn flows(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
        let (opened, closed, taken_over) = self.flows.counts();
        writer.counter(("flows_opened", "Flows that were given a target"), opened)?;
        writer.counter(("flows_closed", "Flows that left the table"), closed)?;
        let told = (
            "flows_taken_over",
            "Flows that another node opened and this one forwards",
        );
        writer.counter(told, taken_over)?;
        let told = ("event_queue_length", "Events that wait to be told of", None);
        writer.gauge(told, self.flows.waiting() as f64)?;
        let told = ("events_lost", "Events that found no room in the queue");
        writer.counter(told, self.flows.lost())
    }
}

fn table(known: &Known, writer: &mut Writer<'_>) -> Result<(), Error> {
    let (revision, age) = known.in_force.map_or((0, 0.0), |(revision, since)| {
        (revision, since.elapsed().as_secs_f64())
    });
    let told = (
        "table_revision",
        "The revision that the node acts upon",
        None,
    );
    writer.gauge(told, revision as f64)?;
    let told = (
        "table_revision_told",
        "The newest revision that the node was told of",
        None,
    );
    writer.gauge(told, known.told as f64)?;
    let told = (
        "table_age",
        "How long that revision has been in force",
        Some(&Unit::Seconds),
    );
    writer.gauge(told, age)
}

fn found_out(known: &Known, writer: &mut Writer<'_>) -> Result<(), Error> {
    let sessions = known.sessions.iter().map(|((path, peer), up)| {
        let labels = vec![("path", path.as_str()), ("peer", peer.as_str())];
        (labels, f64::from(u8::from(*up)))
    });
    let told = ("session_up", "Whether a session of probes is up", None);
    writer.gauges(told, sessions)?;
    let told = ("vips_announced", "VIPs that are to be announced", None);
    writer.gauge(told, known.announced.len() as f64)?;
    let health = [
        (Health::Healthy, "healthy"),
        (Health::Abnormal, "abnormal"),
        (Health::Detecting, "detecting"),
        (Health::Closed, "closed"),
        (Health::Blocked, "blocked"),
    ];
    let targets = health.map(|(health, name)| {
        let count = known.targets.values().filter(|own| **own == health);
        (vec![("health", name)], count.count() as f64)
    });
    let told = ("targets", "Targets by what the node's own checks say", None);
    writer.gauges(told, targets)?;
    let events = known.events.iter();
    let events = events.map(|(event, count)| (vec![("event", *event)], *count));
    writer.counters(("events", "Events that were told of"), events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_explained_in_the_documents() {
        let standing = Standing::default();
        let figures = Figures {
            node: "pop.tokyo".to_owned(),
            totals: Arc::new(Totals::default()),
            standing: standing.clone(),
            flows: Arc::default(),
            agent: None,
        };
        standing.lock().put_in_force(7);
        let text = text(&registry(figures));
        assert!(text.contains("anyedge_table_revision 7.0"), "{text}");
        assert!(text.contains("anyedge_packets_dropped_total{reason=\"NotVip\"} 0"));
        let page = include_str!("../../../docs/metrics.md");
        let named = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        for line in named {
            let name = line.split(' ').next().unwrap_or_default();
            assert!(page.contains(&format!("`{name}")), "{name} has no line");
        }
    }
}
