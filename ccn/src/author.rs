//! The author of route tables, until controllers exist: from plans with names to one immutable table with ids.
//!
//! An id is a place in the order of names, so that it never depends on the order of a file. Heavy parts (slot
//! maps, Maglev tables) are built here, off every fast path, and what did not change since the last revision is
//! shared with it. `Clb::inner_mtu` is the minimum over all candidate paths, so that no failover meets a smaller
//! one. Whatever makes no sense is refused as a value that names the object, and the last table stays in force.
//!
//! Invariant: every reference in a published table points to something.

pub mod error;
pub mod plan;
pub mod watch;

mod balancers;
mod ground;
mod membership;
mod reach;
mod roll;
mod slot_book;

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use anyedge_net::flow::{Address, HashKey};
use anyedge_net::id::Revision;
use anyedge_net::route_table::{Announcing, Mechanisms, Probing, RouteTable};
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;

use error::AuthorError;
use ground::Ground;
use membership::Parts;
pub use membership::{Membership, NODE_WEIGHT};
use plan::{ClbPlan, HostPlan, ListenerPlan, NodePlan, PathPlan, RegionPlan, TargetPlan, VipPlan};
use slot_book::SlotBooks;

/// Nodes that have an id; the last number means "unknown".
pub const NODES_MAX: usize = u16::MAX as usize;
/// Regions that have an id.
pub const REGIONS_MAX: usize = u16::MAX as usize;
/// Paths that have a tunnel port.
pub const PATHS_MAX: usize = 65_519;
/// Load balancers that have an id of 15 bits.
pub const CLBS_MAX: usize = GreKey::CLB_ID_MAX as usize + 1;
/// VIPs of a table.
pub const VIPS_MAX: usize = 1_000_000;
/// Targets of a listener.
pub const TARGETS_MAX: usize = u16::MAX as usize;
/// The greatest weight of a target or a CLB node.
pub const WEIGHT_MAX: u8 = 100;
/// How long flows of unbound targets may go on.
pub const DRAIN_MAX: Duration = Duration::from_secs(86_400);
/// How long a slot stays where it is after a move, unless its node is lost or drained.
pub const SLOT_SETTLE: Duration = Duration::from_secs(15 * 60);
/// Places of a Maglev table for each of its members, at least.
pub const PLACES_PER_TARGET: u32 = 100;
/// What every path carries: the least that an IPv4 host must take (RFC 791 §3.1), in bytes.
pub const INNER_MTU_MIN_V4: u16 = 576;
/// What all paths to an IPv6 VIP carry (RFC 8200 §5), in bytes.
pub const INNER_MTU_MIN_V6: u16 = 1_280;

/// All that was added.
#[derive(Clone, Default, Debug)]
struct Plans {
    pops: Vec<NodePlan>,
    regions: Vec<RegionPlan>,
    hosts: Vec<HostPlan>,
    paths: Vec<PathPlan>,
    clbs: Vec<ClbPlan>,
    vips: Vec<VipPlan>,
}

/// A target's place: load balancer, listener, address and port.
type Place = (String, String, Address, u16);

/// Collects plans and publishes them as tables.
#[derive(Clone, Debug)]
pub struct TableAuthor {
    hash_key: HashKey,
    probing: Option<Probing>,
    announcing: Announcing,
    mechanisms: Mechanisms,
    plans: Plans,
    parts: Parts,
    draining: BTreeSet<String>,
    draining_paths: BTreeSet<String>,
    unbound: BTreeSet<Place>,
    slot_settle: Duration,
    slot_books: SlotBooks,
    last: Option<Arc<RouteTable>>,
}

impl TableAuthor {
    /// An author of tables whose flows are hashed with `hash_key`.
    pub fn new(hash_key: HashKey) -> TableAuthor {
        TableAuthor {
            hash_key,
            probing: None,
            announcing: Announcing::default(),
            mechanisms: Mechanisms::ALL,
            plans: Plans::default(),
            parts: Parts::default(),
            draining: BTreeSet::new(),
            draining_paths: BTreeSet::new(),
            unbound: BTreeSet::new(),
            slot_settle: SLOT_SETTLE,
            slot_books: SlotBooks::default(),
            last: None,
        }
    }

    /// Lets nodes watch their paths from the next publication on; they do not until told to.
    pub fn set_probing(&mut self, probing: Option<Probing>) {
        self.probing = probing;
    }

    /// Tells POPs when to announce their VIPs, from the next publication on.
    pub fn set_announcing(&mut self, announcing: Announcing) {
        self.announcing = announcing;
    }

    /// Turns mechanisms off, for tests that show what each is for.
    pub fn set_mechanisms(&mut self, mechanisms: Mechanisms) {
        self.mechanisms = mechanisms;
    }

    /// How long a slot stays where it is after a move, from the next publication on.
    pub fn set_slot_settle(&mut self, slot_settle: Duration) {
        self.slot_settle = slot_settle;
    }

    /// Adds a POP.
    pub fn add_pop(&mut self, pop: NodePlan) {
        self.plans.pops.push(pop);
    }

    /// Adds a region.
    pub fn add_region(&mut self, region: RegionPlan) {
        self.plans.regions.push(region);
    }

    /// Adds a host of backends.
    pub fn add_host(&mut self, host: HostPlan) {
        self.plans.hosts.push(host);
    }

    /// Adds a path.
    pub fn add_path(&mut self, path: PathPlan) {
        self.plans.paths.push(path);
    }

    /// Adds a load balancer.
    pub fn add_clb(&mut self, clb: ClbPlan) {
        self.plans.clbs.push(clb);
    }

    /// Adds a VIP.
    pub fn add_vip(&mut self, vip: VipPlan) {
        self.plans.vips.push(vip);
    }

    /// Gives the target at `address` and `port` of a listener another weight, from the next publication on.
    ///
    /// # Errors
    /// [`AuthorError::Unknown`] when there is no such load balancer, listener or target, and
    /// [`AuthorError::WeightTooHigh`] above 100.
    pub fn set_weight(
        &mut self,
        clb: &str,
        listener: &str,
        (address, port): (Address, u16),
        weight: u8,
    ) -> Result<(), AuthorError> {
        let target = self.target_mut(clb, listener, address, port)?;
        if weight > WEIGHT_MAX {
            let target = format!("target {address} port {port} of listener `{clb}/{listener}`");
            return Err(AuthorError::WeightTooHigh { target, weight });
        }
        target.weight = weight;
        Ok(())
    }

    /// Takes the target at `address` and `port` out of a listener or puts it back, from the next publication on.
    ///
    /// # Errors
    /// [`AuthorError::Unknown`] when there is no such load balancer, listener or target.
    pub fn set_bound(
        &mut self,
        clb: &str,
        listener: &str,
        (address, port): (Address, u16),
        bound: bool,
    ) -> Result<(), AuthorError> {
        self.target_mut(clb, listener, address, port)?;
        let place = (clb.to_owned(), listener.to_owned(), address, port);
        if bound {
            self.unbound.remove(&place);
        } else {
            self.unbound.insert(place);
        }
        Ok(())
    }

    /// Says whether a CLB node takes part in its region's slots, from the next publication on. All are in
    /// until told otherwise. Ids do not change by it.
    ///
    /// # Errors
    /// [`AuthorError::Unknown`] when there is no such CLB node.
    pub fn set_membership(
        &mut self,
        clb_node: &str,
        membership: Membership,
    ) -> Result<(), AuthorError> {
        self.check_clb_node(clb_node, "a change of membership")?;
        self.parts.of_mut(clb_node).membership = membership;
        Ok(())
    }

    /// Gives a CLB node another share of its region's slots, from the next publication on; [`NODE_WEIGHT`]
    /// until then. A node of weight 0 is in and gets no slots.
    ///
    /// # Errors
    /// [`AuthorError::Unknown`] when there is no such CLB node, and [`AuthorError::WeightTooHigh`] above 100.
    pub fn set_node_weight(&mut self, clb_node: &str, weight: u8) -> Result<(), AuthorError> {
        self.check_clb_node(clb_node, "a change of weight")?;
        if weight > WEIGHT_MAX {
            let target = format!("CLB node `{clb_node}`");
            return Err(AuthorError::WeightTooHigh { target, weight });
        }
        self.parts.of_mut(clb_node).weight = weight;
        Ok(())
    }

    /// Drains a POP or takes it back, from the next publication on.
    ///
    /// # Errors
    /// [`AuthorError::Unknown`] when there is no such POP, and [`AuthorError::TooFewPublishers`] when a VIP
    /// would be left with fewer than its `publishers_min` POPs that do not drain.
    pub fn set_draining(&mut self, pop: &str, draining: bool) -> Result<(), AuthorError> {
        if !self.plans.pops.iter().any(|plan| plan.name == pop) {
            return Err(unknown("a drain", "POP", &pop));
        }
        if !draining {
            self.draining.remove(pop);
            return Ok(());
        }
        let mut wanted = self.draining.clone();
        wanted.insert(pop.to_owned());
        for vip in &self.plans.vips {
            if vip.publishers.iter().any(|publisher| publisher == pop) {
                balancers::check_publishers(vip, &wanted)?;
            }
        }
        self.draining = wanted;
        Ok(())
    }

    /// Empties a path or takes it back, from the next publication on: meanwhile it is used only where nothing
    /// else leads.
    ///
    /// # Errors
    /// [`AuthorError::Unknown`] when there is no such path.
    pub fn set_path_draining(&mut self, path: &str, draining: bool) -> Result<(), AuthorError> {
        if !self.plans.paths.iter().any(|plan| plan.name == path) {
            return Err(unknown("a drain", "path", &path));
        }
        if draining {
            self.draining_paths.insert(path.to_owned());
        } else {
            self.draining_paths.remove(path);
        }
        Ok(())
    }

    /// Writes the next revision; the first one is 1. The last table stays valid for those who hold it. `now` is
    /// the time by which slots settle, and never goes back.
    ///
    /// # Errors
    /// The first [`AuthorError`] found; then neither the revision nor any slot moves.
    pub fn publish(&mut self, now: Instant) -> Result<Arc<RouteTable>, AuthorError> {
        let last = self.last.as_deref();
        let mut ground = Ground::lay(self)?;
        let (clbs, vips) = balancers::balance(self, &ground)?;
        let mut slot_books = core::mem::take(&mut self.slot_books);
        slot_books.advance(&mut ground, self, now);
        self.slot_books = slot_books;
        let table = Arc::new(RouteTable {
            revision: Revision(last.map_or(0, |table| table.revision.0) + 1),
            hash_key: self.hash_key,
            regions: ground.regions,
            paths: ground.paths,
            nodes: ground.nodes.into_entries(),
            clbs,
            vips,
            probing: self.probing,
            announcing: self.announcing,
            mechanisms: self.mechanisms,
        });
        self.last = Some(Arc::clone(&table));
        Ok(table)
    }

    /// When the author would like to publish again, because slots settle that are wanted elsewhere or have an
    /// old primary as their secondary. `None` when nothing waits.
    pub fn settles_at(&self) -> Option<Instant> {
        self.slot_books.settles_at()
    }

    fn check_clb_node(&self, clb_node: &str, by: &str) -> Result<(), AuthorError> {
        let mut all = self
            .plans
            .regions
            .iter()
            .flat_map(|region| &region.clb_nodes);
        let found = all.any(|plan| plan.name == clb_node);
        found
            .then_some(())
            .ok_or_else(|| unknown(by, "CLB node", &clb_node))
    }

    fn target_mut(
        &mut self,
        clb: &str,
        listener: &str,
        address: Address,
        port: u16,
    ) -> Result<&mut TargetPlan, AuthorError> {
        let unknown = |kind: &'static str, name: &dyn core::fmt::Display| {
            unknown("a change of a target", kind, name)
        };
        let has_name = |plan: &&mut ClbPlan| plan.name == clb;
        let plan = self
            .plans
            .clbs
            .iter_mut()
            .find(has_name)
            .ok_or_else(|| unknown("load balancer", &clb))?;
        let has_name = |plan: &&mut ListenerPlan| plan.name == listener;
        let found = plan.listeners.iter_mut().find(has_name);
        let plan = found.ok_or_else(|| unknown("listener", &format_args!("{clb}/{listener}")))?;
        let is_it = |plan: &&mut TargetPlan| plan.address == address && plan.port == port;
        let found = plan.targets.iter_mut().find(is_it);
        found.ok_or_else(|| unknown("target", &std::net::SocketAddr::new(address.into(), port)))
    }
}

fn unknown(by: &str, kind: &'static str, name: &dyn core::fmt::Display) -> AuthorError {
    AuthorError::Unknown {
        by: by.to_owned(),
        kind,
        name: name.to_string(),
    }
}

#[cfg(test)]
mod tests;
