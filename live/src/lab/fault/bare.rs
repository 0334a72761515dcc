//! Wires as the kernel has them: one end is set down, and up again with what the kernel forgot meanwhile.
//!
//! The end is that of the router: the other one sees that there is no carrier and keeps its addresses and routes, as a
//! machine does whose cable is pulled. A link of the file goes down with a wire only if nothing else is on that wire.

use std::path::Path;

use anyedge_topologies::{Kind, Topology};
use anyhow::{Context as _, Result};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::lab::blueprint::{Blueprint, WireEndPlan, WirePlan};
use crate::lab::modelled::public_ends;
use crate::lab::name::LabName;
use crate::lab::plan::plain::host_of;
use crate::lab::plan::{self, UNDERLAY, management};
use crate::lab::refused::refuse;
use crate::lab::routers;
use crate::netlink::Netlink;
use crate::netns::Namespace;

/// The link between these two objects goes down, or comes up.
pub(super) fn set(lab: &LabName, topology: &Topology, ends: &[String; 2], up: bool) -> Result<()> {
    let blueprint = planned(lab, topology)?;
    let wire = wire_of(&blueprint, topology, ends)?;
    turn(&blueprint, wire, up)
}

/// The node's wire to the management network goes down, or comes up.
pub(super) fn set_managed(lab: &LabName, topology: &Topology, node: &str, up: bool) -> Result<()> {
    let blueprint = planned(lab, topology)?;
    let mut wires = blueprint.wires.iter();
    let is_it =
        |wire: &&WirePlan| wire.ends[0].node == management::NET && wire.ends[1].node == node;
    let Some(wire) = wires.find(is_it) else {
        refuse!("the lab `{lab}` has no management network that `{node}` is on");
    };
    turn(&blueprint, wire, up)
}

/// Brings up every wire that is down.
pub(super) fn set_all_up(lab: &LabName, topology: &Topology) -> Result<()> {
    let blueprint = planned(lab, topology)?;
    for wire in &blueprint.wires {
        let name = lab.namespace_of(&near_end(wire).0.node);
        let is_there = |interface| {
            let namespace = Namespace::open(&name)?;
            namespace.run(|| flags(interface))
        };
        // Where wires have the file's links, those of populations are others, which are never set down.
        if is_there(&near_end(wire).0.interface)?.is_some() {
            turn(&blueprint, wire, true)?;
        }
    }
    Ok(())
}

fn planned(lab: &LabName, topology: &Topology) -> Result<Blueprint> {
    let bird = routers::installed();
    // The file's path is what processes are told, and none is started here.
    plan::plan_with(topology, Path::new(""), lab, bird.as_deref())
}

/// The wire that carries what is between two objects, and nothing else.
fn wire_of<'a>(
    blueprint: &'a Blueprint,
    topology: &Topology,
    ends: &[String; 2],
) -> Result<&'a WirePlan> {
    let end_of = |kind: Kind| {
        let prefix = format!("{kind}.");
        let of_kind = |end: &&String| end.starts_with(&prefix) && !end.contains(".clb-");
        ends.iter().find(of_kind).map(String::as_str)
    };
    let own = match (end_of(Kind::Client), end_of(Kind::Pop), end_of(Kind::Host)) {
        (Some(client), Some(pop), _) => {
            let named = |wire: &&WirePlan| {
                let found = public_ends(wire);
                found.is_some_and(|(own, its)| {
                    Kind::Client.object(own) == client && Kind::Pop.object(its) == pop
                })
            };
            blueprint.wires.iter().find(named)
        }
        (None, Some(pop), _) => {
            let name = pop.split_once('.').map_or(pop, |(_, name)| name);
            let links = topology.links.values();
            let own = links.filter(|link| link.ends.has_pop(name));
            if own.count() > 1 {
                refuse!(
                    "other links are on the wire of {pop} as well; `anyedge lab up --links file` sets them apart"
                );
            }
            underlay_wire(blueprint, pop)
        }
        (_, None, Some(host)) => {
            let mut wires = blueprint.wires.iter();
            let plain = wires.find(|wire| host_of(wire) == host.strip_prefix("host."));
            plain.or_else(|| underlay_wire(blueprint, host))
        }
        _ => None,
    };
    let Some(wire) = own else {
        refuse!(
            "no wire of this lab is the link between {} and {} alone; `anyedge lab up --links file` sets links apart",
            ends[0],
            ends[1]
        );
    };
    Ok(wire)
}

fn underlay_wire<'a>(blueprint: &'a Blueprint, node: &str) -> Option<&'a WirePlan> {
    let mut wires = blueprint.wires.iter();
    wires.find(|wire| wire.ends[0].node == UNDERLAY && wire.ends[1].node == node)
}

/// The end that is set down, and the other.
fn near_end(wire: &WirePlan) -> (&WireEndPlan, &WireEndPlan) {
    let [first, second] = &wire.ends;
    if first.node.starts_with("client.") {
        (second, first)
    } else {
        (first, second)
    }
}

fn turn(blueprint: &Blueprint, wire: &WirePlan, up: bool) -> Result<()> {
    let (near, far) = near_end(wire);
    let namespace = Namespace::open(&blueprint.lab.namespace_of(&near.node))?;
    let routes = blueprint.namespaces.iter();
    let routes = routes.filter(|plan| plan.node == near.node);
    let lost = routes.flat_map(|plan| &plan.routes).filter(|route| {
        let by_far = |via| far.addresses.iter().any(|own| own.ip() == via);
        route.via.is_some_and(by_far)
    });
    let turned = namespace.run(|| {
        let netlink = Netlink::open()?;
        let is_up =
            flags(&near.interface)?.is_some_and(|flags| flags.contains(InterfaceFlags::IFF_UP));
        if is_up == up {
            return Ok(());
        }
        if !up {
            return netlink.set_down(&near.interface);
        }
        netlink.set_up(&near.interface)?;
        // The kernel keeps IPv4 addresses of an interface that goes down, and forgets everything else.
        for address in near.addresses.iter().filter(|own| own.ip().is_ipv6()) {
            netlink.add_address(&near.interface, *address)?;
            netlink.await_address(*address)?;
        }
        lost.into_iter()
            .try_for_each(|route| netlink.add_route(route))
    });
    turned.with_context(|| format!("the wire {} of {}", near.interface, near.node))
}

/// How an interface of the calling thread's namespace is; `None` where there is none.
fn flags(interface: &str) -> Result<Option<InterfaceFlags>> {
    let mut all = getifaddrs().context("cannot list interfaces")?;
    let own = all.find(|entry| entry.interface_name == interface);
    Ok(own.map(|entry| entry.flags))
}
