//! The ground of a route table: nodes, regions with their slot maps, and the paths between them.
//!
//! Everything is sorted by name, and its place is its id.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_net::id::{ClbId, NodeId, RegionId};
use anyedge_net::route_table::{Node, NodeKind, Path, PathEnds, Region, Shared};
use anyedge_net::slot::{Owners, SlotMap};

use super::Slots;
use crate::table::Table;
use crate::table::object::Underlay;
use crate::table::object::{ClbNode, Ends, Host, Path as PathObject, Pop, Region as RegionObject};

/// Nodes, regions and paths with their ids.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) nodes: Shared<Vec<Node>>,
    pub(super) paths: Shared<Vec<Path>>,
    region_names: Vec<String>,
    /// The CLB nodes of each region, by id.
    clb_nodes: Vec<Vec<NodeId>>,
}

impl Ground {
    /// Lays the ground of a table; nodes and paths that are what they were are those of `before`.
    pub(super) fn lay(table: &Table, before: Option<&Ground>) -> Ground {
        let regions = table.all::<RegionObject>();
        let region_names: Vec<String> = regions.map(|region| region.name.clone()).collect();
        let region = |name: &str| region_id(&region_names, name);
        let node = |name: &str, kind: NodeKind, underlay: Underlay, draining: bool| Node {
            name: name.to_owned(),
            kind,
            underlay_v4: underlay.v4,
            underlay_v6: underlay.v6,
            draining,
        };
        let pops = table.all::<Pop>();
        let pops = pops.map(|pop| node(&pop.name, NodeKind::Pop, pop.underlay, pop.draining));
        let clb_nodes = table.all::<ClbNode>().map(|it| {
            node(
                &it.name,
                NodeKind::ClbNode(region(&it.region)),
                it.underlay,
                false,
            )
        });
        let hosts = table.all::<Host>();
        let hosts = hosts.map(|it| {
            node(
                &it.name,
                NodeKind::Host(region(&it.region)),
                it.underlay,
                false,
            )
        });
        let mut nodes: Vec<Node> = pops.chain(clb_nodes).chain(hosts).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let mut clb_nodes = vec![Vec::new(); region_names.len()];
        for (id, node) in nodes.iter().enumerate() {
            if let NodeKind::ClbNode(region) = node.kind {
                clb_nodes[region.index()].push(NodeId(id as u16));
            }
        }
        let mut ground = Ground {
            nodes: kept(nodes, before.map(|before| &before.nodes)),
            paths: Shared::default(),
            region_names,
            clb_nodes,
        };
        let paths = table.all::<PathObject>();
        let paths = paths.map(|path| ground.path(path)).collect();
        ground.paths = kept(paths, before.map(|before| &before.paths));
        ground
    }

    /// The region of that name.
    pub(super) fn region(&self, name: &str) -> RegionId {
        region_id(&self.region_names, name)
    }

    /// The node of that full name.
    pub(super) fn node(&self, name: &str) -> Option<NodeId> {
        let found = self
            .nodes
            .binary_search_by(|node| node.name.as_str().cmp(name));
        found.ok().map(|id| NodeId(id as u16))
    }

    fn path(&self, path: &PathObject) -> Path {
        let node = |name: &str| self.node(name).expect("a path of the table ends at a node");
        let ends = match &path.ends {
            Ends::Ccn { pop, region } => PathEnds::Ccn {
                pop: node(pop),
                region: self.region(region),
            },
            Ends::Fabric { host } => {
                let host = node(host);
                let NodeKind::Host(region) = self.nodes[host.index()].kind else {
                    unreachable!("names of nodes are unique in a table, and this is a host's")
                };
                PathEnds::Fabric { region, host }
            }
            Ends::Mesh { region } => PathEnds::Mesh {
                region: self.region(region),
            },
            Ends::Backbone { regions: [a, b] } => {
                let mut regions = [self.region(a), self.region(b)];
                regions.sort_unstable();
                PathEnds::Backbone { regions }
            }
        };
        Path {
            name: path.name.clone(),
            ends,
            encap: path.encap,
            underlay: path.underlay,
            mtu: u16::try_from(path.mtu).unwrap_or(u16::MAX),
            rtt: path.rtt,
            draining: path.draining,
        }
    }

    /// The slots of all regions by ids; those that are what they were are shared.
    pub(super) fn slots(
        &self,
        table: &Table,
        before: Option<&BTreeMap<String, Slots>>,
    ) -> BTreeMap<String, Slots> {
        let mut all = BTreeMap::new();
        for (name, nodes) in self.region_names.iter().zip(&self.clb_nodes) {
            let places = table.slot_places(name);
            let same = before
                .and_then(|before| before.get(name))
                .filter(|slots| slots.nodes == *nodes && (Arc::ptr_eq(&slots.places, &places)));
            let slots = same.cloned().unwrap_or_else(|| Slots {
                map: Arc::new(with_ids(&places, nodes)),
                nodes: nodes.clone(),
                places,
            });
            all.insert(name.clone(), slots);
        }
        all
    }

    /// The regions with their slots; those of `before` if they are the same.
    pub(super) fn regions(
        &self,
        slots: &BTreeMap<String, Slots>,
        before: Option<&Shared<Vec<Region>>>,
    ) -> Shared<Vec<Region>> {
        let names = self.region_names.iter().zip(&self.clb_nodes);
        let region = |(name, clb_nodes): (&String, &Vec<NodeId>)| Region {
            name: name.clone(),
            clb_nodes: clb_nodes.clone(),
            slots: Arc::clone(&slots[name].map),
        };
        let regions: Vec<Region> = names.map(region).collect();
        let is_same = |(old, new): (&Region, &Region)| {
            old.name == new.name
                && old.clb_nodes == new.clb_nodes
                && Arc::ptr_eq(&old.slots, &new.slots)
        };
        let same = before.filter(|before| {
            before.len() == regions.len() && before.iter().zip(&regions).all(is_same)
        });
        same.cloned().unwrap_or_else(|| regions.into())
    }
}

/// What was there before, if it is the same.
fn kept<T: PartialEq>(fresh: T, before: Option<&Shared<T>>) -> Shared<T> {
    let same = before.filter(|before| ***before == fresh);
    same.cloned().unwrap_or_else(|| fresh.into())
}

fn region_id(names: &[String], name: &str) -> RegionId {
    let found = names.binary_search_by(|known| known.as_str().cmp(name));
    RegionId(found.expect("what is in a region of the table refers to one that is there") as u16)
}

/// The place of a load balancer among all, by name.
pub(super) fn clb_id(names: &[&str], name: &str) -> ClbId {
    let found = names.binary_search_by(|known| (*known).cmp(name));
    ClbId(found.expect("a VIP of the table refers to a load balancer that is there") as u16)
}

/// The map with ids instead of places.
fn with_ids(places: &SlotMap, nodes: &[NodeId]) -> SlotMap {
    let id = |place: NodeId| {
        let found = nodes.get(place.index());
        found.copied().unwrap_or(NodeId::UNKNOWN)
    };
    SlotMap::from_fn(|slot| {
        let owners = places.owners(slot);
        Owners {
            primary: id(owners.primary),
            secondary: id(owners.secondary),
        }
    })
}
