//! From the table with its names to one immutable route table with ids, for forwarders.
//!
//! An id is a place in the order of names, so that everybody who assembles the same table writes the same ids.
//! Heavy parts (slot maps, Maglev tables) are built here, off every fast path, and what did not change since the
//! last revision is shared with it: a delta of one target makes one listener anew, and of the other load balancers not
//! even their listeners are gone through. `Clb::inner_mtu` is the minimum over all candidate paths, so that no failover
//! meets a smaller one.
//!
//! Invariant: every reference in a route table points to something; the table has checked that already.

mod balancers;
mod ground;
mod security;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_net::flow::HashKey;
use anyedge_net::id::{NodeId, Revision};
use anyedge_net::route_table::{Clb, Listener, RouteTable, Shared};
use anyedge_net::slot::SlotMap;

use crate::table::Table;
use crate::table::object::Kind;
use ground::Ground;
use security::Filters;

/// Places of a Maglev table for each of its members, at least.
pub const PLACES_PER_TARGET: u32 = 100;

/// Assembles one table after the other, and shares between them what stays.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    last: Option<Last>,
}

/// What the next route table may share.
#[derive(Clone, Debug)]
struct Last {
    /// The revision of the table that it was made of.
    revision: u64,
    route_table: Arc<RouteTable>,
    ground: Arc<Ground>,
    /// Region to the map by places, the ids of the places, and the map by ids.
    slots: BTreeMap<String, Slots>,
    /// Load balancer by name.
    clbs: BTreeMap<String, BuiltClb>,
    /// What the backbone carries of each load balancer, by id.
    backbone_mtus: Vec<u16>,
    filters: Filters,
}

/// A load balancer and what it was made of.
#[derive(Clone, Debug)]
struct BuiltClb {
    /// When it or anything of it last changed.
    revision: u64,
    /// The least that the backbone carries of it.
    backbone_mtu: u16,
    clb: Shared<Clb>,
    /// Listener by full name.
    listeners: BTreeMap<String, Built>,
}

/// A region's slots in both forms.
#[derive(Clone, Debug)]
struct Slots {
    places: Arc<SlotMap>,
    nodes: Vec<NodeId>,
    map: Arc<SlotMap>,
}

/// A listener and what it was made of.
#[derive(Clone, Debug)]
struct Built {
    /// Revisions of the listener and of its targets.
    revisions: (u64, u64),
    listener: Arc<Listener>,
    /// The least that the ways to its targets carry.
    inner_mtu: u16,
}

impl Assembler {
    /// An assembler that has made nothing yet.
    pub fn new() -> Assembler {
        Assembler::default()
    }

    /// The route table of `table`, which is the one of the last call or follows it.
    pub fn assemble(&mut self, table: &Table) -> Arc<RouteTable> {
        let mut last = self.last.take();
        let since = last.as_ref().map_or(0, |last| last.revision);
        let same = |kinds: &[Kind]| {
            let changed = |kind: &Kind| table.objects().changed(*kind) > since;
            last.is_some() && !kinds.iter().any(changed)
        };
        let is_ground: Vec<Kind> = Kind::ALL
            .iter()
            .copied()
            .filter(|kind| kind.is_ground())
            .collect();
        let same_ground = same(&is_ground);
        let ground = match &last {
            Some(last) if same_ground => Arc::clone(&last.ground),
            _ => {
                let before = last.as_ref().map(|last| &*last.ground);
                Arc::new(Ground::lay(table, before))
            }
        };
        let slots = ground.slots(table, last.as_ref().map(|last| &last.slots));
        let same_vips = same_ground && same(&[Kind::Vip, Kind::Clb]);
        let same_hosts = same_ground && same(&[Kind::SecurityGroup, Kind::Settings]);
        let same = (same_ground, same_vips);
        let filters = last.as_mut().map(|last| core::mem::take(&mut last.filters));
        let mut filters = Filters::begin(table, filters);
        let security = filters.of_hosts(table, &ground);
        let kept = last.as_ref().map(|last| &last.route_table.security);
        let security = match kept {
            Some(kept) if same_hosts || kept.is_as(&security) => kept.clone(),
            _ => security.into(),
        };
        let balanced = balancers::balance(table, &ground, last.as_mut(), same, &mut filters);
        let settings = table.settings();
        let regions = last.as_ref().map(|last| &last.route_table.regions);
        let regions = ground.regions(&slots, regions);
        let route_table = Arc::new(RouteTable {
            revision: Revision(table.revision()),
            hash_key: table.hash_key().unwrap_or(HashKey::new([0; 16])),
            regions,
            paths: ground.paths.clone(),
            nodes: ground.nodes.clone(),
            clbs: balanced
                .clbs
                .values()
                .map(|built| built.clb.clone())
                .collect(),
            vips: balanced.vips,
            probing: settings.probing,
            announcing: settings.announcing,
            mechanisms: settings.mechanisms,
            security,
        });
        self.last = Some(Last {
            revision: table.revision(),
            route_table: Arc::clone(&route_table),
            ground,
            slots,
            clbs: balanced.clbs,
            backbone_mtus: balanced.backbone_mtus,
            filters: filters.end(),
        });
        route_table
    }
}
