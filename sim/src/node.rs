//! A forwarder in the simulated world: its accounts, its timer, and what its ports are joined to.
//!
//! The forwarder is the one that runs live; only its driver is here. A node takes packets one at a time,
//! in event order, and asks for at most one timer event at a time.

use core::time::Duration;
use std::sync::Arc;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::forwarder::{Forwarder, LocalEvent};
use anyedge_net::id::{NodeId, PathId, Revision};
use anyedge_net::ledger::Ledger;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{NodeKind, RouteTable};
use anyedge_net::time::{Deadline, Instant};
use anyedge_pop::pop::Pop;
use anyedge_region::Limits;
use anyedge_region::clb_node::ClbNode;
use anyedge_region::vswitch::VSwitch;

use crate::executor::HostId;
use crate::internet::SiteId;
use crate::order::Source;
use crate::world::LinkId;

/// The forwarders there are, dispatched by a match.
pub(crate) enum AnyForwarder {
    Pop(Box<Pop>),
    ClbNode(Box<ClbNode>),
    VSwitch(Box<VSwitch>),
}

impl AnyForwarder {
    /// A forwarder that knows nothing but its name.
    pub(crate) fn fresh(kind: NodeKind, name: &str, limits: Limits, seed: Seed) -> AnyForwarder {
        match kind {
            NodeKind::Pop => AnyForwarder::Pop(Box::new(Pop::new(name, seed))),
            NodeKind::ClbNode(_) => {
                AnyForwarder::ClbNode(Box::new(ClbNode::new(name, limits, seed)))
            }
            NodeKind::Host(_) => AnyForwarder::VSwitch(Box::new(VSwitch::new(name, limits, seed))),
        }
    }
}

macro_rules! each {
    ($self:expr, $forwarder:ident => $call:expr) => {
        match $self {
            AnyForwarder::Pop($forwarder) => $call,
            AnyForwarder::ClbNode($forwarder) => $call,
            AnyForwarder::VSwitch($forwarder) => $call,
        }
    };
}

impl Forwarder for AnyForwarder {
    fn handle_packets(&mut self, now: Instant, batch: &mut Vec<Packet>, out: &mut Outbox) {
        each!(self, forwarder => forwarder.handle_packets(now, batch, out));
    }
    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        each!(self, forwarder => forwarder.handle_timeout(now, out));
    }
    fn handle_event(&mut self, now: Instant, event: LocalEvent, out: &mut Outbox) {
        each!(self, forwarder => forwarder.handle_event(now, event, out));
    }
    fn apply(&mut self, now: Instant, table: Arc<RouteTable>, out: &mut Outbox) {
        each!(self, forwarder => forwarder.apply(now, table, out));
    }
    fn poll_timeout(&self) -> Option<Deadline> {
        each!(self, forwarder => forwarder.poll_timeout())
    }
    fn held(&self) -> usize {
        each!(self, forwarder => forwarder.held())
    }
    fn let_go(&mut self, reason: DropReason, out: &mut Outbox) {
        each!(self, forwarder => forwarder.let_go(reason, out));
    }
}

/// How far a node is from who writes the tables: a share, in millionths, of the longest way there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TableShare(u32);

impl TableShare {
    const WHOLE: u32 = 1_000_000;

    /// That of the node of that name: between half of the longest way and all of it.
    pub(crate) fn draw(seed: Seed, node: &str) -> TableShare {
        let half = u64::from(Self::WHOLE / 2);
        let more = seed.stream(node, "way of tables").below(half + 1);
        TableShare((half + more) as u32)
    }

    /// Its part of `longest`.
    pub(crate) fn of(self, longest: Duration) -> Duration {
        longest * self.0 / Self::WHOLE
    }
}

/// A forwarder and its place in the world.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) forwarder: AnyForwarder,
    pub(crate) ledger: Ledger,
    pub(crate) source: Source,
    /// `None` while it runs; else what packets to it are lost as.
    pub(crate) down: Option<DropReason>,
    /// Cut off from who writes the tables.
    pub(crate) stale: bool,
    /// Of the table in force.
    pub(crate) revision: Option<Revision>,
    /// The table in force.
    pub(crate) in_force: Option<Arc<RouteTable>>,
    /// What share of the longest way of a table its own is.
    pub(crate) table_share: TableShare,
    pub(crate) limits: Limits,
    /// The earliest timer event that is pending for this node.
    pub(crate) timer_at: Option<Instant>,
    /// The link behind each tunnel port, by path.
    pub(crate) tunnels: Vec<Option<LinkId>>,
    /// Where this node meets the Internet: behind its public port.
    pub(crate) site: Option<SiteId>,
    /// The host behind a vSwitch's backend port.
    pub(crate) backend: Option<HostId>,
}

impl Node {
    pub(crate) fn tunnel(&self, path: PathId) -> Option<LinkId> {
        self.tunnels.get(path.index()).copied().flatten()
    }
}
