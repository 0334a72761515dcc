//! What a run found, as data: the JSON that tools read and the tables that people read come from it.
//!
//! Schema 1. Durations are in the unit that a field's name ends with; percentiles are of answered requests;
//! `latency_ms` counts from the intended time of a request, `actual_ms` from the time at which it was really
//! sent, `direct_ms` is intended latency of the same load over the public path. Counts of causes name only
//! those that occurred. docs/report.md describes every field.

use std::collections::BTreeMap;

use anyedge_net::drop_reason::DropCounts;
use anyedge_traffic::failure::Failure;
use anyedge_traffic::stats::Stats;
use hdrhistogram::Histogram;
use serde::Serialize;

/// Version of the JSON's shape; it grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// Everything a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of anyedge.
    pub version: &'static str,
    /// The topology's name.
    pub topology: String,
    /// Of its text, of what was set otherwise and of the round trips that it names: 16 hexadecimal digits.
    pub topology_hash: String,
    /// Keys of the file that were set otherwise, as given.
    pub overrides: Vec<String>,
    /// The root of all randomness.
    pub seed: u64,
    /// The trace digest, 16 hexadecimal digits.
    pub digest: String,
    /// Simulated seconds.
    pub virtual_s: f64,
    /// Seconds on the wall that the run took.
    pub wall_s: f64,
    /// Bytes of memory that the process had resident at its most; 0 where the system does not say.
    pub memory_peak_bytes: u64,
    /// Events that happened.
    pub events: u64,
    /// Packets that links delivered: the sum over `links`.
    pub packet_hops: u64,
    /// How clients find their POP.
    pub catchment: &'static str,
    /// The hosts' TCP.
    pub tcp_stack: &'static str,
    /// TCP segments that the hosts of clients and backends sent again.
    pub retransmissions: u64,
    /// Client populations, by name.
    pub clients: Vec<ClientReport>,
    /// All links, by name, one entry per direction.
    pub links: Vec<LinkReport>,
    /// Backbone links whose figures are assumed, not measured.
    pub assumed_links: Vec<AssumedLink>,
    /// What was done to the network, by time.
    pub faults: Vec<FaultReport>,
    /// Service levels and what was measured.
    pub slos: Vec<SloReport>,
    /// What became of the flows at the load balancers.
    pub flows: FlowReport,
    /// Who got the new flows of each listener that had some.
    pub listeners: Vec<ListenerReport>,
    /// How the controllers fared; absent where the tables are static.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<ControlReport>,
    /// Packets that were lost, by cause, everywhere.
    pub drops: BTreeMap<&'static str, u64>,
    /// The run over time.
    pub timeline: TimelineReport,
}

impl Report {
    /// Whether every service level was kept.
    pub fn kept(&self) -> bool {
        self.slos.iter().all(|slo| slo.kept)
    }
}

/// A client population and how it was served.
#[derive(Clone, Debug, Serialize)]
pub struct ClientReport {
    /// Bare name, such as `osaka`.
    pub name: String,
    /// The POP that most of its packets entered by; `None` when no packet was sent.
    pub pop: Option<String>,
    /// Packets by the POP that they entered by.
    pub pops: BTreeMap<String, u64>,
    /// All of its loads together.
    #[serde(flatten)]
    pub service: Service,
    /// The gain rests on a link whose figures are assumed.
    pub gain_assumed: bool,
    /// Connections that died after they were established.
    pub broken_flows: u64,
    /// Longest time without an answer; of long flows, without a byte that one of them wanted.
    pub gap_s: f64,
    /// When that began.
    pub gap_from_s: Option<f64>,
    /// Each of its loads, in the file's order.
    pub loads: Vec<LoadReport>,
}

/// One load of a population.
#[derive(Clone, Debug, Serialize)]
pub struct LoadReport {
    /// Where to: VIP and listener, such as `game:web`; of a ping the VIP alone.
    pub to: String,
    /// `request`, `keep-alive`, `tick`, `ping`, `download`, `upload`, `idle`, `half-closed` or `syn-flood`.
    pub kind: &'static str,
    /// Of a flood, SYNs sent, which are no requests; absent for other kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syns_sent: Option<u64>,
    /// How it was served.
    #[serde(flatten)]
    pub service: Service,
    /// Flows that died after they were established.
    pub broken_flows: u64,
    /// Longest time without an answer; of long flows, without a byte that one of them wanted.
    pub gap_s: f64,
    /// When that began.
    pub gap_from_s: Option<f64>,
    /// The whole account.
    #[serde(skip)]
    pub stats: Stats,
    /// Intended latency of the same load over the direct path, in ns.
    #[serde(skip)]
    pub direct_latencies: Option<Histogram<u64>>,
}

/// How requests were served: through the edge and, where the file asks for it, over the direct path.
#[derive(Clone, Debug, Serialize)]
pub struct Service {
    /// Requests by their end.
    pub requests: Requests,
    /// From intended time to answer.
    pub latency_ms: Option<Latency>,
    /// From real start to answer.
    pub actual_ms: Option<Latency>,
    /// The same load over the public path.
    pub direct_ms: Option<Latency>,
    /// Its requests by their end.
    pub direct_requests: Option<Requests>,
    /// Median of the direct path less median of the anycast path.
    pub gain_ms: Option<f64>,
}

impl Service {
    /// What `stats` says; `direct` is the account of the same load over the direct path.
    pub fn of(stats: &Stats, direct: Option<&Stats>) -> Service {
        let latency_ms = Latency::of(stats.intended());
        let direct_ms = direct.and_then(|stats| Latency::of(stats.intended()));
        let both = latency_ms.zip(direct_ms);
        Service {
            requests: Requests::of(stats),
            latency_ms,
            actual_ms: Latency::of(stats.actual()),
            direct_ms,
            direct_requests: direct.map(Requests::of),
            gain_ms: both.map(|(here, direct)| ((direct.p50 - here.p50) * 1e3).round() / 1e3),
        }
    }
}

/// Requests by their end: `sent = ok + sum(failed)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Requests that were due.
    pub sent: u64,
    /// Answered in time and right.
    pub ok: u64,
    /// The others, by cause.
    pub failed: BTreeMap<&'static str, u64>,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Largest.
    pub max: f64,
}

/// One direction of a link.
#[derive(Clone, Debug, Serialize)]
pub struct LinkReport {
    /// Name with direction, such as `client.osaka>pop.tokyo`.
    pub name: String,
    /// Packets delivered.
    pub delivered: u64,
    /// Their bytes, outer headers included.
    pub delivered_bytes: u64,
    /// Packets lost, by cause.
    pub dropped: BTreeMap<&'static str, u64>,
}

/// A backbone link whose figures are assumed.
#[derive(Clone, Debug, Serialize)]
pub struct AssumedLink {
    /// Bare name, such as `moscow-guangzhou`.
    pub name: String,
    /// Round-trip time.
    pub rtt_ms: f64,
    /// What the figure rests on.
    pub source: Option<String>,
}

/// One thing done to the network, and what came of it. The times count from it, and none is earlier than the one
/// before: their differences are the failover budget.
#[derive(Clone, Debug, Serialize)]
pub struct FaultReport {
    /// Which fault of the file it is of, from 0.
    #[serde(skip)]
    pub fault: usize,
    /// It is the fault's beginning, not its end.
    #[serde(skip)]
    pub begins: bool,
    /// When.
    pub at_s: f64,
    /// `<verb> <object>`, such as `down pop.tokyo`.
    pub what: String,
    /// Seconds until a node noticed; `None` when none did, or nothing was to be noticed.
    pub detected_s: Option<f64>,
    /// Seconds until the router of the POP that the fault is about missed it, or spoke with it again.
    pub router_s: Option<f64>,
    /// Seconds until the last population whose packets went elsewhere by it had heard of a withdrawal.
    pub withdrawn_s: Option<f64>,
    /// Seconds until the last flow had moved to another POP or CLB node.
    pub moved_s: Option<f64>,
    /// Seconds until the last flow that survived went on.
    pub recovered_s: Option<f64>,
    /// Flows that were in handshake, which nobody judges.
    pub flows_handshaking: u64,
    /// Flows that were established and not over: `flows_kept + sum(flows_broken)`.
    pub flows_established: u64,
    /// Those of them that went on to their end.
    pub flows_kept: u64,
    /// Those of them that did not, by cause.
    pub flows_broken: BTreeMap<&'static str, u64>,
    /// The longest time that a kept flow wanted bytes and got none.
    pub gap_max_s: Option<f64>,
    /// Why what it asked for was refused; absent when it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The run over time, in intervals from its beginning on; each list has an entry for each of them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TimelineReport {
    /// How long each interval is: 0.1 s, or that times a power of two.
    pub every_s: f64,
    /// Requests that became due.
    pub due: Vec<u64>,
    /// Those of them that were answered, whenever that was.
    pub ok: Vec<u64>,
    /// Bytes that came to POPs from clients.
    pub from_clients_bytes: Vec<u64>,
    /// Bytes that came to clients from POPs.
    pub to_clients_bytes: Vec<u64>,
    /// Packets that entered, by POP.
    pub pops: BTreeMap<String, Vec<u64>>,
    /// Packets that were lost, by cause; what ended only because the run did is in none.
    pub drops: BTreeMap<&'static str, Vec<u64>>,
}

/// A service level.
#[derive(Clone, Debug, Serialize)]
pub struct SloReport {
    /// Whose, such as `client.osaka`, `clients`, `gz-main/web` or `fault.0`; with the time that counts, if not all does.
    pub of: String,
    /// As the file has it.
    pub expect: String,
    /// What was measured, in the metric's own unit.
    pub measured: String,
    /// Whether it was kept.
    pub kept: bool,
}

/// How the controllers fared, and what they wrote came into force.
#[derive(Clone, Debug, Serialize)]
pub struct ControlReport {
    /// How many there are.
    pub controllers: usize,
    /// Terms in which one of them led.
    pub elections: u64,
    /// The newest term.
    pub term: u64,
    /// Commands that came through, those included that the table refused.
    pub commands: u64,
    /// From a command's arrival at the leader until it was durable at a majority and applied.
    pub commit_ms: Option<Latency>,
    /// Revisions that they made.
    pub revisions: u64,
    /// From a command's arrival at the leader until its revision, or a later one, was in force on every POP that was
    /// up.
    pub in_force_ms: Option<Latency>,
    /// Revisions that were not when the run ended.
    pub not_in_force: u64,
    /// How often a node's forwarder could not be given a table, since nodes or paths in it are others.
    pub tables_refused: u64,
    /// Controllers that stopped by themselves, and why.
    pub stopped: BTreeMap<String, String>,
}

/// Who got the new flows of a listener.
#[derive(Clone, Debug, Serialize)]
pub struct ListenerReport {
    /// Load balancer and listener.
    pub listener: String,
    /// New flows.
    pub opened: u64,
    /// How much more than its share by weight the target got that got most of it: 0 when all have theirs, 1 when one has
    /// twice as much. Weights are those at the end of the run; targets without weight are left out.
    pub imbalance: f64,
    /// Its targets, in the order of their addresses.
    pub targets: Vec<TargetReport>,
}

/// A target's part of the new flows of a listener.
#[derive(Clone, Debug, Serialize)]
pub struct TargetReport {
    /// Address and port.
    pub target: String,
    /// At the end of the run.
    pub weight: u8,
    /// New flows.
    pub opened: u64,
}

/// What became of the flows: `opened + taken_over = sum(closed) + lost + still_open`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct FlowReport {
    /// Given to a target.
    pub opened: u64,
    /// TCP handshakes completed.
    pub established: u64,
    /// Changes of a flow's POP.
    pub moved: u64,
    /// Flows of another CLB node that one went on with.
    pub taken_over: u64,
    /// In the connection table of a CLB node that crashed.
    pub lost: u64,
    /// Left the connection tables, by cause.
    pub closed: BTreeMap<String, u64>,
    /// In a connection table when the run ended.
    pub still_open: u64,
}

impl Requests {
    pub(crate) fn of(stats: &Stats) -> Requests {
        Requests {
            sent: stats.sent(),
            ok: stats.ok(),
            failed: Failure::ALL
                .iter()
                .map(|cause| (cause.name(), stats.failed(*cause)))
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }
}

impl Latency {
    /// The percentiles of a histogram of nanoseconds; `None` when it is empty.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Latency> {
        if histogram.is_empty() {
            return None;
        }
        let at = |quantile| millis(histogram.value_at_quantile(quantile));
        Some(Latency {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: millis(histogram.max()),
        })
    }
}

pub(crate) fn causes(drops: &DropCounts) -> BTreeMap<&'static str, u64> {
    drops
        .iter()
        .map(|(reason, count)| (reason.name(), count))
        .collect()
}

/// Nanoseconds as milliseconds with three decimals, which is what the histograms' three digits carry.
pub(crate) fn millis(nanos: u64) -> f64 {
    (nanos as f64 / 1e3).round() / 1e3
}
