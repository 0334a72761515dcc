//! Counts of the typed events of a run: the flows' half of the conservation law.

use std::collections::BTreeMap;

use anyedge_net::event::{Event, FlowEnd};
use anyedge_net::flow::Address;
use anyedge_net::time::Instant;
use anyedge_traffic::stats::Span;

/// A listener, by VIP, protocol and port.
pub(crate) type AtListener = (Address, u8, u16);

/// New flows by listener and target.
pub(crate) type Opened = BTreeMap<AtListener, BTreeMap<(Address, u16), u64>>;

/// What became of the flows.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct EventTally {
    /// Flows given to a target.
    pub(crate) opened: u64,
    /// The same by listener and target.
    pub(crate) opened_at: Opened,
    /// The same within the times that service levels are about.
    pub(crate) opened_within: Vec<(Span, Opened)>,
    /// Flows that a node made its own that another had opened.
    pub(crate) taken_over: u64,
    /// TCP handshakes completed.
    pub(crate) established: u64,
    /// Flows that changed their POP.
    pub(crate) moved: u64,
    /// Flows that left the connection tables, by cause.
    pub(crate) closed: BTreeMap<FlowEnd, u64>,
    /// Flows in the tables of nodes that crashed.
    pub(crate) lost: u64,
    /// Route tables put in force.
    pub(crate) applied: u64,
}

impl EventTally {
    pub(crate) fn add(&mut self, now: Instant, event: &Event) {
        match event {
            Event::FlowOpened {
                flow,
                target,
                target_port,
                ..
            } => {
                self.opened += 1;
                let listener = (flow.dst, flow.protocol, flow.dst_port);
                let within = self.opened_within.iter_mut();
                let within = within.filter(|(span, _)| span.contains(now));
                let opened = within.map(|(_, opened)| opened);
                for opened in opened.chain([&mut self.opened_at]) {
                    let targets = opened.entry(listener).or_default();
                    *targets.entry((*target, *target_port)).or_default() += 1;
                }
            }
            Event::FlowEstablished { .. } => self.established += 1,
            Event::FlowMoved { .. } => self.moved += 1,
            Event::FlowClosed { end, .. } => *self.closed.entry(*end).or_default() += 1,
            Event::FlowTakenOver { .. } => self.taken_over += 1,
            Event::TableApplied(_) => self.applied += 1,
            Event::PathState { .. }
            | Event::PeerState { .. }
            | Event::PathGrey { .. }
            | Event::Announcement { .. }
            | Event::Drains { .. }
            | Event::TargetHealth { .. }
            | Event::AllTargetsAbnormal { .. }
            | Event::SynGate { .. }
            | Event::SlotsResynced { .. }
            | Event::SourceUntold { .. } => {}
        }
    }

    /// Flows that left the connection tables.
    pub(crate) fn closed_total(&self) -> u64 {
        self.closed.values().sum()
    }
}
