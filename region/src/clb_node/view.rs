//! View: what a CLB node would go by for a flow, for people who ask where it goes and why.
//!
//! Read from the very state that decides, and changes none of it: the listener as it is served, its targets with their
//! health and loads, where the client stays, and the flow's entry if there is one.

use anyedge_net::flow::{Address, FlowKey};
use anyedge_net::id::NodeId;
use anyedge_net::route_table::{Scheduler, Target};
use anyedge_net::time::Instant;

use super::ClbNode;
use crate::connection_table::Role;

/// What a node goes by for a flow.
#[derive(Clone, Debug)]
pub struct FlowView {
    /// Load balancer and listener, such as `gz-main/web`.
    pub listener: String,
    /// How the listener chooses: `wrr`, `wlc`, `ip-hash` or `maglev`.
    pub scheduler: &'static str,
    /// Where the client of the flow stays.
    pub stays_with: Option<(Address, u16)>,
    /// The flow's entry, if it is known.
    pub known: Option<KnownFlow>,
    /// The targets of the flow's family, in the listener's order.
    pub targets: Vec<TargetView>,
}

/// A flow's entry.
#[derive(Clone, Copy, Debug)]
pub struct KnownFlow {
    /// Its target.
    pub target: (Address, u16),
    /// Another node serves it.
    pub is_replica: bool,
    /// The POP that it entered by last; `UNKNOWN` straight from the Internet.
    pub pop: NodeId,
}

/// A target as a node sees it.
#[derive(Clone, Copy, Debug)]
pub struct TargetView {
    /// Address, port and weight.
    pub target: Target,
    /// Its checks find it well, or it has none.
    pub is_well: bool,
    /// It may take a new flow, if its weight is above 0.
    pub takes: bool,
    /// Flows that it has from all nodes, where the listener counts them.
    pub load: Option<u32>,
}

impl ClbNode {
    /// What this node goes by for `flow` at `now`; `None` when it has no listener for it.
    pub fn view(&self, now: Instant, flow: &FlowKey) -> Option<FlowView> {
        let clb = self.served.clb_of(&flow.dst)?;
        let is_it = |own: &&super::served::ServedListener| {
            let listener = own.listener();
            (listener.protocol, listener.port) == (flow.protocol, flow.dst_port)
        };
        let mut listeners = (0..).map_while(|place| self.served.listener_at(clb, place));
        let served = listeners.find(is_it)?;
        let listener = served.listener();
        let hash_key = &self.routes.hash_key;
        let family = self.target_family(flow, clb);
        let loads = self.connections.loads().servers(served.number());
        let targets = listener.targets.iter().enumerate();
        let targets = targets.filter(|(_, target)| target.address.family() == family);
        let seen = targets.map(|(at, target)| TargetView {
            target: *target,
            is_well: served.is_well(at),
            takes: served.takes(at, family),
            load: loads.map(|loads| loads.load_of(at as u16)),
        });
        let staying = listener.session_expire.and_then(|_| {
            let client = (served.number(), &flow.src);
            self.persistence.target_of(now, client, hash_key)
        });
        let found = self.connections.find(flow.hash(hash_key), flow);
        let known = found.filter(|id| self.connections.is_alive(*id, now));
        Some(FlowView {
            listener: format!("{}/{}", self.routes.clbs[clb.index()].name, listener.name),
            scheduler: name_of(&listener.scheduler),
            stays_with: staying,
            known: known.map(|id| {
                let flow = self.connections.flow(id);
                KnownFlow {
                    target: flow.server(),
                    is_replica: flow.role != Role::Own,
                    pop: flow.pop,
                }
            }),
            targets: seen.collect(),
        })
    }
}

const fn name_of(scheduler: &Scheduler) -> &'static str {
    match scheduler {
        Scheduler::WeightedRoundRobin => "wrr",
        Scheduler::WeightedLeastConnections => "wlc",
        Scheduler::IpHash { .. } => "ip-hash",
        Scheduler::Maglev { .. } => "maglev",
    }
}
