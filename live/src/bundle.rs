//! Bundles: what each machine needs to be a node or a controller of a topology, as a folder of its own.
//!
//! A folder holds the file, the machine's own certificate, the table that all begin with, a unit for systemd and a file for
//! compose; it needs nothing of the others. The authority that issued the certificates exists while the bundle is written
//! and is nobody's afterwards. The operator's folder is for whoever runs `anyedge ctl`. See docs/bundle.md.

mod compose;
mod folder;
mod unit;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyedge_topologies::Topology;
use anyhow::{Context, Result};

use self::folder::{Folder, copy, make, make_private, write};
use crate::entropy;
use crate::lab::blueprint::GroupPlan;
use crate::lab::identities;
use crate::lab::plan::management;
use crate::lab::refused::refuse;
use crate::node;

/// The folder of folders, one for each machine.
const HOSTS: &str = "hosts";
/// The folder of whoever runs `anyedge ctl`.
const OPERATOR: &str = "operator";
/// Names in a machine's folder.
const TOPOLOGY: &str = "topology.toml";
const IDENTITY: &str = "identity.json";
const FOUNDING: &str = "founding.table";

/// What a bundle is made of.
#[derive(Clone, Debug)]
pub struct BundlePlan<'a> {
    /// The topology's file.
    pub file: &'a Path,
    /// What it says.
    pub topology: &'a Topology,
    /// The folder to make.
    pub out: &'a Path,
    /// Where controllers listen, by name (`a`), where that is not their management address.
    pub controllers: BTreeMap<String, SocketAddr>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The machines' folders, by name.
    pub hosts: BTreeMap<String, PathBuf>,
    /// The operator's folder.
    pub operator: PathBuf,
}

/// What a machine of the bundle is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// A POP, a CLB node or a vSwitch.
    Node,
    /// A controller with its number and address.
    Controller(u64, SocketAddr),
}

/// Writes the bundle.
///
/// # Errors
/// When the folder is there already, or cannot be written; then what was written of it is removed.
pub fn write_bundle(plan: &BundlePlan<'_>) -> Result<Bundle> {
    if plan.out.exists() {
        let out = plan.out.display();
        refuse!(
            "{out} is there already: certificates are issued anew each time, so name another folder"
        );
    }
    let written = write_all(plan);
    if written.is_err() {
        let _ = fs::remove_dir_all(plan.out);
    }
    written
}

fn write_all(plan: &BundlePlan<'_>) -> Result<Bundle> {
    let members = members(plan)?;
    let hosts = plan.out.join(HOSTS);
    let operator = plan.out.join(OPERATOR);
    make(&hosts)?;
    make_private(&operator)?;
    let parts = parts(plan.topology, &members);
    let mut bundle = Bundle {
        hosts: BTreeMap::new(),
        operator: operator.clone(),
    };
    for name in parts.keys() {
        let folder = hosts.join(name);
        make_private(&folder)?;
        bundle.hosts.insert(name.clone(), folder);
    }
    equip(plan, &parts, &members, &bundle)?;
    for (name, part) in &parts {
        let folder = Folder {
            path: &bundle.hosts[name],
            name,
            part,
            members: &members,
            overrides: &plan.topology.overrides,
            beside: plan.topology.files_beside().collect(),
        };
        folder.fill(plan.file)?;
    }
    write(&plan.out.join("README.md"), &readme(plan, &parts), 0o644)?;
    Ok(bundle)
}

/// The controllers' addresses, by name.
fn members(plan: &BundlePlan<'_>) -> Result<BTreeMap<String, SocketAddr>> {
    let known: BTreeMap<String, SocketAddr> = management::members(plan.topology)
        .into_values()
        .zip(plan.topology.controllers.keys())
        .map(|(address, name)| (name.clone(), address))
        .collect();
    for name in plan.controllers.keys() {
        if !known.contains_key(name) {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            refuse!(
                "`{name}` is no controller of the file; it has {}",
                names.join(", ")
            );
        }
    }
    let mut members = known;
    members.extend(plan.controllers.clone());
    Ok(members)
}

fn parts(topology: &Topology, members: &BTreeMap<String, SocketAddr>) -> BTreeMap<String, Part> {
    let mut parts = BTreeMap::new();
    for node in management::managed(topology) {
        parts.insert(node.name, Part::Node);
    }
    for (number, (name, address)) in (1..).zip(members) {
        let name = topology.controllers[name].object();
        parts.insert(name, Part::Controller(number, *address));
    }
    parts
}

/// Issues certificates and the first table, and puts each where it belongs.
fn equip(
    plan: &BundlePlan<'_>,
    parts: &BTreeMap<String, Part>,
    members: &BTreeMap<String, SocketAddr>,
    bundle: &Bundle,
) -> Result<()> {
    let nodes = parts.iter().filter(|(_, part)| **part == Part::Node);
    let nodes = nodes.map(|(name, _)| (name.clone(), bundle.hosts[name].join(IDENTITY)));
    let nodes: Vec<(String, PathBuf)> = nodes.collect();
    let table = node::founding_table(plan.topology, entropy::secret()?);
    let group = GroupPlan {
        servers: members.values().copied().collect(),
        founding: table.context("the file makes no table")?.snapshot(),
        folder: bundle.operator.clone(),
    };
    identities::issue(&nodes, Some(&group))?;
    let files = GroupPlan::files(&bundle.operator);
    for (name, part) in parts {
        let folder = &bundle.hosts[name];
        copy(&files.founding, &folder.join(FOUNDING))?;
        if matches!(part, Part::Controller(..)) {
            for file in [&files.controller, &files.controller_key, &files.authority] {
                let own = file.file_name().expect("files have names");
                copy(file, &folder.join(own))?;
            }
        }
    }
    // What an operator has no use for.
    for file in [&files.controller, &files.controller_key, &files.founding] {
        fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}

fn readme(plan: &BundlePlan<'_>, parts: &BTreeMap<String, Part>) -> String {
    let name = &plan.topology.name;
    let mut text = format!(
        "# Bundle of `{name}`\n\n\
         A folder of `hosts/` for each machine. They hold keys: copy each to its machine alone, then remove it here.\n\n\
         ```\n\
         scp -r hosts/NAME/. root@MACHINE:/etc/anyedge/        # and the command itself to /usr/local/bin/anyedge\n\
         ssh root@MACHINE anyedge doctor /etc/anyedge/topology.toml --name NAME\n\
         ssh root@MACHINE 'ln -s /etc/anyedge/anyedge.service /etc/systemd/system/ && systemctl enable --now anyedge'\n\
         ```\n\n\
         or, with containers: `docker compose up -d` in /etc/anyedge. Controllers first, though the order does not matter.\n\n\
         `operator/` is for whoever runs `anyedge ctl`, in the folder that has it as `.anyedge`.\n\
         The authority that issued the certificates is nobody's: a new bundle has new certificates for all.\n\n\
         | machine | tunnel address | management address |\n|---|---|---|\n"
    );
    let managed = plan.topology.managed();
    for name in parts.keys() {
        let own = managed.iter().find(|node| node.name == *name);
        let joined = |pair: anyedge_topologies::AddressPair| {
            let all: Vec<String> = pair.iter().map(|ip| ip.to_string()).collect();
            all.join(" ")
        };
        let management = match &parts[name] {
            Part::Controller(_, address) => address.to_string(),
            Part::Node => own.map(|own| joined(own.address)).unwrap_or_default(),
        };
        let tunnel = folder::underlay(plan.topology, name).map(joined);
        let tunnel = tunnel.unwrap_or_default();
        text += &format!("| {name} | {tunnel} | {management} |\n");
    }
    text += "\nEach machine must have its tunnel address, and reach those of its neighbours; nodes must reach the controllers.\n";
    text
}
