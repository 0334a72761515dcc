//! Makes what a blueprint says: namespaces first, then wires, addresses, routes, and the processes last.
//!
//! Every step is bounded in time. The first error ends the work; what stands by then is the caller's to take down
//! ([`super::teardown`]), since a half-built lab is found by its namespaces' names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::blueprint::{Blueprint, NamespacePlan, WirePlan};
use super::identities;
use super::process;
use super::routers;
use super::state::{LabState, NodeState, ProcessState, WireState, log_of};
use crate::netlink::{Netlink, WireEnd, set_sysctl};
use crate::netns::Namespace;
use crate::offloads;

/// Set in every namespace before it has an interface. Asymmetric routes are normal here (a POP answers for a VIP), so
/// reverse-path checks are off; addresses are usable at once, without duplicate detection; and everybody may ping.
const SYSCTLS: [(&str, &str); 10] = [
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/all/disable_ipv6", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv4/ping_group_range", "0 2147483647"),
];

/// Builds namespaces, wires and routes, then starts the processes and writes the lab's state.
pub fn build(blueprint: &Blueprint) -> Result<LabState> {
    let namespaces = make_namespaces(blueprint)?;
    lay_wires(&blueprint.wires, &namespaces)?;
    let plans = blueprint.namespaces.iter();
    for plan in plans.clone() {
        let namespace = &namespaces[plan.node.as_str()];
        namespace
            .run(|| bring_up(plan, &blueprint.wires))
            .with_context(|| format!("node `{}`", plan.node))?;
    }
    for plan in plans {
        let namespace = &namespaces[plan.node.as_str()];
        namespace
            .run(|| add_routes(plan, &blueprint.wires))
            .with_context(|| format!("node `{}`", plan.node))?;
    }
    for port in &blueprint.between.ports {
        let Some((namespace, interface)) = &port.far else {
            continue;
        };
        Namespace::open(namespace)?.run(|| offloads::turn_off(interface))?;
    }
    let mut state = LabState::new(blueprint.lab.clone(), blueprint.topology.clone());
    state.overrides.clone_from(&blueprint.overrides);
    state.entered_by.clone_from(&blueprint.entered_by);
    for plan in &blueprint.namespaces {
        state.nodes.push(NodeState {
            node: plan.node.clone(),
            namespace: namespaces[plan.node.as_str()].name().to_owned(),
            processes: Vec::new(),
        });
    }
    state.wires = blueprint.wires.iter().map(remembered).collect();
    identities::issue(&blueprint.identities, blueprint.group.as_ref())?;
    routers::write(&blueprint.lab, &blueprint.routers)?;
    for file in &blueprint.files {
        let written = fs::write(&file.path, &file.text);
        written.with_context(|| format!("cannot write {}", file.path.display()))?;
    }
    start_processes(blueprint, &namespaces, &mut state)?;
    state.write()?;
    Ok(state)
}

fn remembered(wire: &WirePlan) -> WireState {
    let end = |index: usize| {
        let end = &wire.ends[index];
        (end.node.clone(), end.interface.clone())
    };
    WireState {
        ends: [end(0), end(1)],
    }
}

fn make_namespaces(blueprint: &Blueprint) -> Result<BTreeMap<&str, Namespace>> {
    let mut namespaces = BTreeMap::new();
    for plan in &blueprint.namespaces {
        let namespace = Namespace::create(&blueprint.lab.namespace_of(&plan.node))?;
        namespace
            .run(|| set_sysctls(plan.forwards))
            .with_context(|| format!("node `{}`", plan.node))?;
        namespaces.insert(plan.node.as_str(), namespace);
    }
    Ok(namespaces)
}

fn set_sysctls(forwards: bool) -> Result<()> {
    for (key, value) in SYSCTLS {
        set_sysctl(key, value)?;
    }
    let forwarding = if forwards { "1" } else { "0" };
    set_sysctl("ipv4/ip_forward", forwarding)?;
    set_sysctl("ipv6/conf/all/forwarding", forwarding)
}

fn lay_wires(wires: &[WirePlan], namespaces: &BTreeMap<&str, Namespace>) -> Result<()> {
    // Any of the lab's namespaces will do to ask from; the machine's own stays untouched.
    let Some(anywhere) = namespaces.values().next() else {
        return Ok(());
    };
    anywhere.run(|| {
        let netlink = Netlink::open()?;
        for WirePlan {
            ends: [near, far],
            mtu,
        } in wires
        {
            let near = WireEnd {
                namespace: &namespaces[near.node.as_str()],
                interface: &near.interface,
            };
            let far = WireEnd {
                namespace: &namespaces[far.node.as_str()],
                interface: &far.interface,
            };
            netlink.add_wire(near, far, *mtu)?;
        }
        Ok(())
    })
}

fn bring_up(plan: &NamespacePlan, wires: &[WirePlan]) -> Result<()> {
    let netlink = Netlink::open()?;
    let ends = wires
        .iter()
        .flat_map(|wire| &wire.ends)
        .filter(|end| end.node == plan.node);
    let own = plan.addresses.iter().map(|address| ("lo", *address));
    let on_wires = ends.clone().flat_map(|end| {
        end.addresses
            .iter()
            .map(|address| (end.interface.as_str(), *address))
    });
    for (interface, address) in own.chain(on_wires) {
        netlink.add_address(interface, address)?;
    }
    netlink.set_up("lo")?;
    ends.into_iter()
        .try_for_each(|end| netlink.set_up(&end.interface))
}

/// Waits until every address takes packets, then adds the routes.
fn add_routes(plan: &NamespacePlan, wires: &[WirePlan]) -> Result<()> {
    let netlink = Netlink::open()?;
    let ends = wires
        .iter()
        .flat_map(|wire| &wire.ends)
        .filter(|end| end.node == plan.node);
    let addresses = plan
        .addresses
        .iter()
        .chain(ends.flat_map(|end| &end.addresses));
    addresses
        .copied()
        .try_for_each(|address| netlink.await_address(address))?;
    plan.routes
        .iter()
        .try_for_each(|route| netlink.add_route(route))
}

fn start_processes(
    blueprint: &Blueprint,
    namespaces: &BTreeMap<&str, Namespace>,
    state: &mut LabState,
) -> Result<()> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    for plan in &blueprint.processes {
        let log: PathBuf = log_of(&blueprint.lab, &plan.name);
        let program: &Path = plan.program.as_deref().unwrap_or(&own);
        let process = process::start(
            &namespaces[plan.node.as_str()],
            program,
            &plan.arguments,
            &log,
        )?;
        let started = ProcessState {
            name: plan.name.clone(),
            process,
            log,
            control: plan.control.clone(),
            program: Some(program.to_owned()),
            arguments: plan.arguments.clone(),
        };
        let node = state.nodes.iter_mut().find(|node| node.node == plan.node);
        node.expect("the blueprint was checked: processes live in nodes")
            .processes
            .push(started);
    }
    Ok(())
}
