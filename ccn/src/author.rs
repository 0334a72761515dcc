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

mod balancers;
mod ground;
mod roll;

use core::time::Duration;
use std::sync::Arc;

use anyedge_net::flow::{Address, HashKey};
use anyedge_net::id::Revision;
use anyedge_net::route_table::{Mechanisms, Probing, RouteTable};
use anyedge_net::wire::gre::GreKey;

use error::AuthorError;
use ground::Ground;
use plan::{ClbPlan, HostPlan, ListenerPlan, NodePlan, PathPlan, RegionPlan, TargetPlan, VipPlan};

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
/// The greatest weight of a target.
pub const WEIGHT_MAX: u8 = 100;
/// How long flows of unbound targets may go on.
pub const DRAIN_MAX: Duration = Duration::from_secs(86_400);
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

/// Collects plans and publishes them as tables.
#[derive(Clone, Debug)]
pub struct TableAuthor {
    hash_key: HashKey,
    probing: Option<Probing>,
    mechanisms: Mechanisms,
    plans: Plans,
    last: Option<Arc<RouteTable>>,
}

impl TableAuthor {
    /// An author of tables whose flows are hashed with `hash_key`.
    pub fn new(hash_key: HashKey) -> TableAuthor {
        TableAuthor {
            hash_key,
            probing: None,
            mechanisms: Mechanisms::ALL,
            plans: Plans::default(),
            last: None,
        }
    }

    /// Lets nodes watch their paths from the next publication on; they do not until told to.
    pub fn set_probing(&mut self, probing: Option<Probing>) {
        self.probing = probing;
    }

    /// Turns mechanisms off, for tests that show what each is for.
    pub fn set_mechanisms(&mut self, mechanisms: Mechanisms) {
        self.mechanisms = mechanisms;
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

    /// Writes the next revision; the first one is 1. The last table stays valid for those who hold it.
    ///
    /// # Errors
    /// The first [`AuthorError`] found; then the revision does not move.
    pub fn publish(&mut self) -> Result<Arc<RouteTable>, AuthorError> {
        let last = self.last.as_deref();
        let ground = Ground::lay(&self.plans, last)?;
        let (clbs, vips) = balancers::balance(&self.plans, &ground, last)?;
        let table = Arc::new(RouteTable {
            revision: Revision(last.map_or(0, |table| table.revision.0) + 1),
            hash_key: self.hash_key,
            regions: ground.regions,
            paths: ground.paths,
            nodes: ground.nodes.into_entries(),
            clbs,
            vips,
            probing: self.probing,
            mechanisms: self.mechanisms,
        });
        self.last = Some(Arc::clone(&table));
        Ok(table)
    }

    fn target_mut(
        &mut self,
        clb: &str,
        listener: &str,
        address: Address,
        port: u16,
    ) -> Result<&mut TargetPlan, AuthorError> {
        let unknown = |kind: &'static str, name: &dyn core::fmt::Display| AuthorError::Unknown {
            by: "a change of weight".to_owned(),
            kind,
            name: name.to_string(),
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

#[cfg(test)]
mod tests;
