//! The scenario: what happens to the world from outside, at the times that the file says.
//!
//! A fault is a list of acts when it begins and a list when it ends. Acts strike nodes, machines and links
//! themselves; what follows of it (the Internet hears that a POP is gone, nodes find each other dead, the
//! steward writes another table) the world works out, in its own time. Orders to the steward are acts too: a
//! drain, a weight, a node that is added.

use std::sync::Arc;

use anyedge_ccn::author::{Membership, NODE_WEIGHT};
use anyedge_ccn::table::change::Change;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::id::NodeId;
use anyedge_net::route_table::RouteTable;
use anyedge_net::time::Instant;
use anyedge_topologies::{ClockFault, Degrade, DiskFault, Fault, FaultVerb};

use crate::executor::HostId;
use crate::internet::{News, SiteId};
use crate::management::Cut;
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
    HostDown(HostId, DropReason),
    /// The machine starts again, with the services that it had at first.
    HostUp(HostId),
    /// The machine, which is down, gets an empty disk.
    Wipe(HostId),
    /// The machine's clock runs wrong.
    Clock(HostId, ClockFault),
    /// The machine's clock runs right, from what it shows.
    ClockRight(HostId),
    /// The machine's disk gets worse.
    Disk(HostId, DiskFault),
    /// The machine's disk is what it was at first.
    DiskRight(HostId),
    /// Whoever leads stops, by the fault of that number, and whether the disk is lost with it.
    LeaderDown(usize, bool),
    /// Who led when that fault began starts again.
    LeaderUp(usize),
    /// Nodes cannot reach others.
    Partition(Box<Cut>),
    /// They can again, as far as the fault of that number kept them from it.
    Heal(usize),
    /// The machine's services stand still; its kernel goes on.
    Hang(HostId),
    /// The machine's services go on.
    Release(HostId),
    /// The link loses what is on it and takes nothing more.
    LinkDown(LinkId),
    /// The link carries again.
    LinkUp(LinkId),
    /// Whether the backbone link of that name carries what the management network puts on it.
    Backbone(String, bool),
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
        /// Its own host, for services.
        machine: HostId,
        site: SiteId,
    },
    ClbNode {
        node: NodeId,
        machine: HostId,
    },
    Host {
        node: NodeId,
        machine: HostId,
        /// The backend beside the vSwitch.
        host: HostId,
        /// Its targets as the file has them.
        targets: Vec<TargetWeight>,
    },
    /// The directions that the fault concerns.
    Link(Vec<LinkId>),
    Region {
        /// Each with its own host.
        clb_nodes: Vec<(NodeId, HostId)>,
        /// Each with its own host and the backend's.
        hosts: Vec<(NodeId, [HostId; 2])>,
    },
    Controller(HostId),
    /// Objects of the table alone.
    Table(Change),
    /// Whoever leads, by the number of the fault.
    Leader(usize),
    Partition(Cut),
}

impl Struck {
    /// The machines of the object.
    fn machines(&self) -> Vec<HostId> {
        match self {
            Struck::Pop { machine, .. }
            | Struck::ClbNode { machine, .. }
            | Struck::Controller(machine) => vec![*machine],
            Struck::Host { machine, host, .. } => vec![*host, *machine],
            Struck::Region { clb_nodes, hosts } => {
                let clb_nodes = clb_nodes.iter().map(|(_, machine)| *machine);
                let hosts = hosts.iter().flat_map(|(_, machines)| *machines);
                clb_nodes.chain(hosts).collect()
            }
            Struck::Link(_) | Struck::Leader(_) | Struck::Partition(_) | Struck::Table(_) => {
                Vec::new()
            }
        }
    }
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
    match &fault.verb {
        FaultVerb::Down { wipe } => {
            let (mut begin, end) = down(fault, struck, *wipe);
            if *wipe {
                begin.extend(struck.machines().into_iter().map(Act::Wipe));
            }
            (begin, end)
        }
        FaultVerb::Hang => each_machine(struck, Act::Hang, Act::Release),
        FaultVerb::Clock(change) => each_machine(
            struck,
            |machine| Act::Clock(machine, *change),
            Act::ClockRight,
        ),
        FaultVerb::Disk(change) => each_machine(
            struck,
            |machine| Act::Disk(machine, *change),
            Act::DiskRight,
        ),
        _ => ordered(fault, struck),
    }
}

fn each_machine(
    struck: &Struck,
    begin: impl Fn(HostId) -> Act,
    end: impl Fn(HostId) -> Act,
) -> (Vec<Act>, Vec<Act>) {
    let machines = struck.machines().into_iter();
    machines
        .map(|machine| (begin(machine), end(machine)))
        .unzip()
}

/// What a crash, or a link that carries nothing, begins and ends with.
fn down(fault: &Fault, struck: &Struck, wipe: bool) -> (Vec<Act>, Vec<Act>) {
    let lost_as = match struck {
        Struck::Pop { .. } => DropReason::PopDown,
        Struck::ClbNode { .. } => DropReason::ClbNodeDown,
        Struck::Host { .. } => DropReason::HostDown,
        _ => DropReason::ControllerDown,
    };
    match struck {
        Struck::Pop { node, .. } | Struck::ClbNode { node, .. } | Struck::Host { node, .. } => {
            node_down(*node, &struck.machines(), lost_as)
        }
        Struck::Controller(machine) => machines_down(&[*machine], lost_as),
        Struck::Leader(number) => (
            vec![Act::LeaderDown(*number, wipe)],
            vec![Act::LeaderUp(*number)],
        ),
        Struck::Region { clb_nodes, hosts } => region_down(clb_nodes, hosts),
        Struck::Link(ways) => {
            let name = fault.object.strip_prefix("link.").unwrap_or(&fault.object);
            let each = |act: fn(LinkId) -> Act, carries| {
                let acts = ways.iter().copied().map(act);
                let managed = Act::Backbone(name.to_owned(), carries);
                acts.chain([managed]).collect()
            };
            (each(Act::LinkDown, false), each(Act::LinkUp, true))
        }
        Struck::Partition(_) | Struck::Table(_) => {
            unreachable!("they have verbs of their own")
        }
    }
}

/// What degrades links, parts nodes, or is an order to who writes the tables.
fn ordered(fault: &Fault, struck: &Struck) -> (Vec<Act>, Vec<Act>) {
    let order = |begin: Order, end: Order| {
        let of = |order| vec![Act::Order(fault.object.clone(), order)];
        (of(begin), of(end))
    };
    let member = |membership| Order::Member(fault.object.clone(), membership);
    match (struck, &fault.verb) {
        (Struck::Partition(cut), FaultVerb::Partition(_)) => (
            vec![Act::Partition(Box::new(cut.clone()))],
            vec![Act::Heal(cut.fault)],
        ),
        (Struck::Table(change), _) => {
            let order = Order::Change(Box::new(change.clone()));
            (vec![Act::Order(fault.object.clone(), order)], Vec::new())
        }
        (Struck::Link(ways), FaultVerb::Degrade(degrade)) => {
            let worse = |way: &LinkId| Act::Degrade(*way, Box::new(degrade.clone()));
            let restored = ways.iter().copied().map(Act::Restore);
            (ways.iter().map(worse).collect(), restored.collect())
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
        (Struck::ClbNode { .. }, FaultVerb::Drain) => {
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
        (Struck::ClbNode { .. }, FaultVerb::Weight(weight)) => {
            let of = |weight| Order::NodeWeight(fault.object.clone(), weight);
            order(of(*weight), of(NODE_WEIGHT))
        }
        (Struck::ClbNode { node, machine }, FaultVerb::Add) => {
            let joins = Act::Order(fault.object.clone(), member(Membership::In));
            let up = vec![Act::NodeUp(*node), Act::HostUp(*machine), joins];
            (up, Vec::new())
        }
        (Struck::Pop { site, .. }, FaultVerb::Withdraw) => (
            vec![Act::Withhold(*site, true)],
            vec![Act::Withhold(*site, false)],
        ),
        (
            Struck::Pop { node, .. } | Struck::ClbNode { node, .. } | Struck::Host { node, .. },
            FaultVerb::Stale,
        ) => (
            vec![Act::Stale(*node, true)],
            vec![Act::Stale(*node, false)],
        ),
        (_, verb) => unreachable!("the file's reader gives no {verb:?} to {}", fault.object),
    }
}

/// A node with its machines: its own, and that of the backend beside it.
fn node_down(node: NodeId, machines: &[HostId], lost_as: DropReason) -> (Vec<Act>, Vec<Act>) {
    let (mut begin, mut end) = machines_down(machines, lost_as);
    begin.insert(0, Act::NodeDown(node, lost_as));
    end.insert(0, Act::NodeUp(node));
    (begin, end)
}

fn machines_down(machines: &[HostId], lost_as: DropReason) -> (Vec<Act>, Vec<Act>) {
    let machines = machines.iter();
    let acts = machines.map(|machine| (Act::HostDown(*machine, lost_as), Act::HostUp(*machine)));
    acts.unzip()
}

fn region_down(
    clb_nodes: &[(NodeId, HostId)],
    hosts: &[(NodeId, [HostId; 2])],
) -> (Vec<Act>, Vec<Act>) {
    let lost_as = DropReason::RegionDown;
    let clb_nodes = clb_nodes.iter();
    let clb_nodes = clb_nodes.map(|(node, machine)| node_down(*node, &[*machine], lost_as));
    let hosts = hosts.iter();
    let hosts = hosts.map(|(node, machines)| node_down(*node, machines, lost_as));
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

#[cfg(test)]
mod tests;
