//! The ground of a table: nodes, regions with their slot maps, and the paths between them.
//!
//! Load balancers and VIPs stand on it. Everything here is sorted by name, and every end of a path is
//! checked: it exists, is of the right kind, and has a tunnel address of the path's family.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyedge_net::flow::Family;
use anyedge_net::id::{NodeId, RegionId};
use anyedge_net::route_table::{Node, NodeKind, Path, PathEnds, Region};
use anyedge_net::slot::SlotMap;

use super::error::AuthorError;
use super::plan::{EndsPlan, NodePlan, PathPlan, RegionPlan};
use super::reach::Reach;
use super::roll::{Named, Object, Roll};
use super::{INNER_MTU_MIN_V4, NODES_MAX, PATHS_MAX, Plans, REGIONS_MAX, TableAuthor};

impl Named for RegionPlan {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for PathPlan {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for Node {
    fn name(&self) -> &str {
        &self.name
    }
}

/// Nodes, regions and paths with their ids.
pub(super) struct Ground {
    pub(super) nodes: Roll<Node>,
    pub(super) regions: Vec<Region>,
    pub(super) paths: Vec<Path>,
    region_names: Vec<String>,
    reach: Reach,
}

impl Ground {
    /// Lays the ground of `author`'s plans; regions have no slots yet.
    pub(super) fn lay(author: &TableAuthor) -> Result<Ground, AuthorError> {
        let plans = &author.plans;
        let regions = Roll::new("region", plans.regions.iter().collect(), REGIONS_MAX)?;
        let nodes = nodes(author, &regions)?;
        let mut paths = paths(plans, &regions, &nodes)?;
        for path in &mut paths {
            path.draining = author.draining_paths.contains(&path.name);
        }
        let region_names = regions
            .entries()
            .iter()
            .map(|region| region.name.clone())
            .collect();
        let members = |id: usize| members(&nodes, RegionId(id as u16));
        let no_slots = Arc::new(SlotMap::fill(&[]));
        let bare = |(id, region): (usize, &&RegionPlan)| Region {
            name: region.name.clone(),
            clb_nodes: members(id).iter().map(|(node, _)| *node).collect(),
            slots: Arc::clone(&no_slots),
        };
        let regions = regions.entries().iter().enumerate().map(bare).collect();
        Ok(Ground {
            nodes,
            regions,
            reach: Reach::new(&paths),
            paths,
            region_names,
        })
    }

    /// The region of that name, which `by` refers to.
    pub(super) fn region(&self, name: &str, by: &Object<'_>) -> Result<RegionId, AuthorError> {
        let found = self
            .region_names
            .binary_search_by(|region| region.as_str().cmp(name));
        found
            .map(|at| RegionId(at as u16))
            .map_err(|_| AuthorError::Unknown {
                by: by.to_string(),
                kind: "region",
                name: name.to_owned(),
            })
    }

    /// The full names of a region's CLB nodes.
    pub(super) fn clb_nodes(&self, region: RegionId) -> impl Iterator<Item = &str> {
        let nodes = self.regions[region.index()].clb_nodes.iter();
        nodes.map(|node| self.nodes.get(node.0).name.as_str())
    }

    /// Who reaches whom, and with how large packets.
    pub(super) const fn reach(&self) -> &Reach {
        &self.reach
    }
}

/// The POP of that name.
pub(super) fn find_pop(
    nodes: &Roll<Node>,
    name: &str,
    by: &Object<'_>,
) -> Result<NodeId, AuthorError> {
    let id = nodes.find(name, by)?;
    match nodes.get(id).kind {
        NodeKind::Pop => Ok(NodeId(id)),
        NodeKind::ClbNode(_) | NodeKind::Host(_) => Err(unknown("POP", name, by)),
    }
}

/// The host of that name and its region.
pub(super) fn find_host(
    nodes: &Roll<Node>,
    name: &str,
    by: &Object<'_>,
) -> Result<(NodeId, RegionId), AuthorError> {
    let id = nodes.find(name, by)?;
    match nodes.get(id).kind {
        NodeKind::Host(region) => Ok((NodeId(id), region)),
        NodeKind::ClbNode(_) | NodeKind::Pop => Err(unknown("host", name, by)),
    }
}

fn unknown(kind: &'static str, name: &str, by: &Object<'_>) -> AuthorError {
    AuthorError::Unknown {
        by: by.to_string(),
        kind,
        name: name.to_owned(),
    }
}

fn nodes(author: &TableAuthor, regions: &Roll<&RegionPlan>) -> Result<Roll<Node>, AuthorError> {
    let plans = &author.plans;
    let node = |plan: &NodePlan, kind: NodeKind| Node {
        name: plan.name.clone(),
        kind,
        underlay_v4: plan.underlay_v4,
        underlay_v6: plan.underlay_v6,
        draining: kind == NodeKind::Pop && author.draining.contains(&plan.name),
    };
    let mut nodes: Vec<Node> = plans
        .pops
        .iter()
        .map(|pop| node(pop, NodeKind::Pop))
        .collect();
    for (id, region) in regions.entries().iter().enumerate() {
        let kind = NodeKind::ClbNode(RegionId(id as u16));
        nodes.extend(region.clb_nodes.iter().map(|plan| node(plan, kind)));
    }
    for host in &plans.hosts {
        let region = regions.find(&host.region, &Object("host", &host.node.name))?;
        nodes.push(node(&host.node, NodeKind::Host(RegionId(region))));
    }
    let nodes = Roll::new("node", nodes, NODES_MAX)?;
    refuse_shared_underlays(&nodes)?;
    Ok(nodes)
}

/// A tunnel address says who sent a packet, so it has one owner.
fn refuse_shared_underlays(nodes: &Roll<Node>) -> Result<(), AuthorError> {
    let (mut v4, mut v6) = (BTreeSet::new(), BTreeSet::new());
    for node in nodes.entries() {
        let twice = |address: String| AuthorError::Duplicate {
            object: format!("tunnel address {address} of node `{}`", node.name),
        };
        if !node.underlay_v4.is_unspecified() && !v4.insert(node.underlay_v4) {
            return Err(twice(node.underlay_v4.to_string()));
        }
        if !node.underlay_v6.is_unspecified() && !v6.insert(node.underlay_v6) {
            return Err(twice(node.underlay_v6.to_string()));
        }
    }
    Ok(())
}

fn paths(
    plans: &Plans,
    regions: &Roll<&RegionPlan>,
    nodes: &Roll<Node>,
) -> Result<Vec<Path>, AuthorError> {
    let roll = Roll::new("path", plans.paths.iter().collect(), PATHS_MAX)?;
    roll.entries()
        .iter()
        .map(|plan| path(plan, regions, nodes))
        .collect()
}

fn path(
    plan: &PathPlan,
    regions: &Roll<&RegionPlan>,
    nodes: &Roll<Node>,
) -> Result<Path, AuthorError> {
    let object = Object("path", &plan.name);
    let region_of = |name: &str| regions.find(name, &object).map(RegionId);
    let (ends, end, far) = match &plan.ends {
        EndsPlan::Ccn { pop, region } => {
            let pop = find_pop(nodes, pop, &object)?;
            let region = region_of(region)?;
            (PathEnds::Ccn { pop, region }, Some(pop), vec![region])
        }
        EndsPlan::Fabric { host } => {
            let (host, region) = find_host(nodes, host, &object)?;
            (PathEnds::Fabric { region, host }, Some(host), vec![region])
        }
        EndsPlan::Mesh { region } => {
            let region = region_of(region)?;
            (PathEnds::Mesh { region }, None, vec![region])
        }
        EndsPlan::Backbone { regions: [a, b] } => {
            let mut regions = [region_of(a)?, region_of(b)?];
            regions.sort_unstable();
            (PathEnds::Backbone { regions }, None, regions.to_vec())
        }
    };
    let far = far.into_iter();
    let far_ends = far.flat_map(|region| members(nodes, region));
    let far_ends = far_ends.map(|(node, _)| node);
    for node in far_ends.chain(end).map(|id| nodes.get(id.0)) {
        let missing = match plan.underlay {
            Family::V4 => node.underlay_v4.is_unspecified(),
            Family::V6 => node.underlay_v6.is_unspecified(),
        };
        if missing {
            return Err(AuthorError::NoUnderlay {
                path: object.to_string(),
                node: node.name.clone(),
            });
        }
    }
    let path = Path {
        name: plan.name.clone(),
        ends,
        encap: plan.encap,
        underlay: plan.underlay,
        mtu: plan.mtu,
        rtt: plan.rtt,
        draining: false,
    };
    let inner_mtu = path.inner_mtu();
    if inner_mtu < INNER_MTU_MIN_V4 {
        let object = object.to_string();
        return Err(AuthorError::MtuTooSmall {
            object,
            inner_mtu,
            inner_mtu_min: INNER_MTU_MIN_V4,
        });
    }
    Ok(path)
}

/// The CLB nodes of `region` with their names, by id.
fn members(nodes: &Roll<Node>, region: RegionId) -> Vec<(NodeId, &str)> {
    let entries = nodes.entries().iter().enumerate();
    let of_region = entries.filter(|(_, node)| node.kind == NodeKind::ClbNode(region));
    of_region
        .map(|(id, node)| (NodeId(id as u16), node.name.as_str()))
        .collect()
}
