//! The scenario: what happens to the world from outside, at the times that the file says.
//!
//! A fault is a list of acts when it begins and a list when it ends. Acts strike nodes, machines and links
//! themselves; what follows of it (the Internet hears that a POP is gone, nodes find each other dead, the
//! steward writes another table) the world works out, in its own time. Orders to the steward are acts too: a
//! drain, a weight, a node that is added.

use std::sync::Arc;

use anyedge_ccn::author::{Membership, NODE_WEIGHT};
use anyedge_net::drop_reason::DropReason;
use anyedge_net::id::NodeId;
use anyedge_net::route_table::RouteTable;
use anyedge_net::time::Instant;
use anyedge_topologies::{Degrade, Fault, FaultVerb};

use crate::executor::HostId;
use crate::internet::{News, SiteId};
use crate::steward::{Order, TargetWeight};
use crate::world::LinkId;

/// One act of the scenario, or what follows of one later.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// The node stops: packets to it are lost as that, its state is gone.
    NodeDown(NodeId, DropReason),
    /// The node starts again, knowing only the route table.
    NodeUp(NodeId),
    /// The machine behind a vSwitch stops: sockets and services are gone.
    HostDown(HostId),
    /// The machine starts again, with the services that it had at first.
    HostUp(HostId),
    /// The machine's services stand still; its kernel goes on.
    Hang(HostId),
    /// The machine's services go on.
    Release(HostId),
    /// The link loses what is on it and takes nothing more.
    LinkDown(LinkId),
    /// The link carries again.
    LinkUp(LinkId),
    /// The link gets worse.
    Degrade(LinkId, Box<Degrade>),
    /// The link is what it was before it got worse.
    Restore(LinkId),
    /// Whether the site withholds its announcements.
    Withhold(SiteId, bool),
    /// Whether the node is cut off from the steward.
    Stale(NodeId, bool),
    /// The steward is told something about the object.
    Order(String, Order),
    /// A population hears of a site.
    Hear(News),
    /// The steward looks what it believes by now.
    Look,
    /// A table reaches a node.
    Table(NodeId, Arc<RouteTable>),
}

/// What the object of a fault is in the world.
pub(crate) enum Struck {
    Pop {
        node: NodeId,
        site: SiteId,
    },
    ClbNode(NodeId),
    Host {
        node: NodeId,
        host: HostId,
        /// Its targets as the file has them.
        targets: Vec<TargetWeight>,
    },
    /// The directions that the fault concerns.
    Link(Vec<LinkId>),
    Region {
        clb_nodes: Vec<NodeId>,
        hosts: Vec<(NodeId, HostId)>,
    },
}

/// When each act of `fault` is due.
pub(crate) fn acts_of(fault: &Fault, struck: &Struck) -> Vec<(Instant, Act)> {
    let (begin, end) = acts(fault, struck);
    let begins = begin.into_iter().map(|act| (Instant::ZERO + fault.at, act));
    let mut all: Vec<(Instant, Act)> = begins.collect();
    if let Some(over) = fault.end() {
        all.extend(end.into_iter().map(|act| (Instant::ZERO + over, act)));
    }
    all
}

/// What begins a fault and what ends it.
fn acts(fault: &Fault, struck: &Struck) -> (Vec<Act>, Vec<Act>) {
    let order = |begin: Order, end: Order| {
        let of = |order| vec![Act::Order(fault.object.clone(), order)];
        (of(begin), of(end))
    };
    let member = |membership| Order::Member(fault.object.clone(), membership);
    match (struck, &fault.verb) {
        (Struck::Pop { node, .. }, FaultVerb::Down) => node_down(*node, DropReason::PopDown),
        (Struck::ClbNode(node), FaultVerb::Down) => node_down(*node, DropReason::ClbNodeDown),
        (Struck::Host { node, host, .. }, FaultVerb::Down) => {
            host_down(*node, *host, DropReason::HostDown)
        }
        (Struck::Region { clb_nodes, hosts }, FaultVerb::Down) => region_down(clb_nodes, hosts),
        (Struck::Link(ways), FaultVerb::Down) => {
            let each = |act: fn(LinkId) -> Act| ways.iter().copied().map(act).collect();
            (each(Act::LinkDown), each(Act::LinkUp))
        }
        (Struck::Link(ways), FaultVerb::Degrade(degrade)) => {
            let worse = |way: &LinkId| Act::Degrade(*way, Box::new(degrade.clone()));
            let restored = ways.iter().copied().map(Act::Restore);
            (ways.iter().map(worse).collect(), restored.collect())
        }
        (Struck::Host { host, .. }, FaultVerb::Hang) => {
            (vec![Act::Hang(*host)], vec![Act::Release(*host)])
        }
        (Struck::Pop { .. }, FaultVerb::Drain) => {
            let draining = |draining| Order::Draining(fault.object.clone(), draining);
            order(draining(true), draining(false))
        }
        (Struck::Link(_), FaultVerb::Drain) => {
            let path = fault.object.strip_prefix("link.").unwrap_or(&fault.object);
            let draining = |draining| Order::PathDraining(path.to_owned(), draining);
            order(draining(true), draining(false))
        }
        (Struck::ClbNode(_), FaultVerb::Drain) => {
            order(member(Membership::Drained), member(Membership::In))
        }
        (Struck::Host { targets, .. }, FaultVerb::Drain) => {
            order(weighing(targets, 0), Order::Targets(targets.clone()))
        }
        (Struck::Host { targets, .. }, FaultVerb::Weight(weight)) => {
            order(weighing(targets, *weight), Order::Targets(targets.clone()))
        }
        (Struck::Host { targets, .. }, FaultVerb::Unbind) => order(
            Order::Bound(targets.clone(), false),
            Order::Bound(targets.clone(), true),
        ),
        (Struck::ClbNode(_), FaultVerb::Weight(weight)) => {
            let of = |weight| Order::NodeWeight(fault.object.clone(), weight);
            order(of(*weight), of(NODE_WEIGHT))
        }
        (Struck::ClbNode(node), FaultVerb::Add) => {
            let joins = Act::Order(fault.object.clone(), member(Membership::In));
            (vec![Act::NodeUp(*node), joins], Vec::new())
        }
        (Struck::Pop { site, .. }, FaultVerb::Withdraw) => (
            vec![Act::Withhold(*site, true)],
            vec![Act::Withhold(*site, false)],
        ),
        (
            Struck::Pop { node, .. } | Struck::ClbNode(node) | Struck::Host { node, .. },
            FaultVerb::Stale,
        ) => (
            vec![Act::Stale(*node, true)],
            vec![Act::Stale(*node, false)],
        ),
        (_, verb) => unreachable!("the file's reader gives no {verb:?} to {}", fault.object),
    }
}

fn node_down(node: NodeId, lost_as: DropReason) -> (Vec<Act>, Vec<Act>) {
    (vec![Act::NodeDown(node, lost_as)], vec![Act::NodeUp(node)])
}

fn host_down(node: NodeId, host: HostId, lost_as: DropReason) -> (Vec<Act>, Vec<Act>) {
    (
        vec![Act::NodeDown(node, lost_as), Act::HostDown(host)],
        vec![Act::NodeUp(node), Act::HostUp(host)],
    )
}

fn region_down(clb_nodes: &[NodeId], hosts: &[(NodeId, HostId)]) -> (Vec<Act>, Vec<Act>) {
    let clb_nodes = clb_nodes.iter();
    let clb_nodes = clb_nodes.map(|node| node_down(*node, DropReason::RegionDown));
    let hosts = hosts
        .iter()
        .map(|(node, host)| host_down(*node, *host, DropReason::RegionDown));
    let (begin, end): (Vec<_>, Vec<_>) = clb_nodes.chain(hosts).unzip();
    (begin.concat(), end.concat())
}

/// `targets` with another weight.
fn weighing(targets: &[TargetWeight], weight: u8) -> Order {
    let other = targets.iter().cloned();
    Order::Targets(
        other
            .map(|target| TargetWeight { weight, ..target })
            .collect(),
    )
}
