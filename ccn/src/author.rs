//! A table and its route tables in one hand, for whoever has no controllers: plans in, route tables out.
//!
//! Plans become changes of a [`Table`], which checks them as it does those of the API; all that was asked for
//! since the last publication is applied as one command. Whatever makes no sense is refused as a value that names
//! the object, and the last route table stays in force.

pub mod opinions;
pub mod plan;
pub mod watch;

mod changes;

use core::time::Duration;
use std::sync::Arc;

use anyedge_net::flow::{Address, HashKey};
use anyedge_net::route_table::{Announcing, Mechanisms, Probing, RouteTable};
use anyedge_net::time::Instant;

pub use crate::table::SLOT_SETTLE;
pub use crate::table::membership::{Membership, NODE_WEIGHT};

use crate::assemble::Assembler;
use crate::table::Table;
use crate::table::change::{Change, Command, PutMode};
use crate::table::object::{
    ClbNode, Key, Kind, Kinded as _, Object, Profile, Secret, Settings, Target,
};
use crate::table::refusal::{Reason, Refusal};
use plan::{ClbPlan, HostPlan, NodePlan, PathPlan, RegionPlan, VipPlan};

/// Collects plans and publishes them as route tables.
#[derive(Clone, Debug)]
pub struct TableAuthor {
    table: Table,
    assembler: Assembler,
    hash_key: HashKey,
    settings: Settings,
    /// What the next publication changes.
    wanted: Vec<Change>,
    /// Targets that were taken out, to be put back where they were.
    unbound: Vec<Target>,
}

impl TableAuthor {
    /// An author of tables whose flows are hashed with `hash_key`.
    pub fn new(hash_key: HashKey) -> TableAuthor {
        TableAuthor {
            table: Table::new(),
            assembler: Assembler::new(),
            hash_key,
            settings: Settings::default(),
            wanted: Vec::new(),
            unbound: Vec::new(),
        }
    }

    /// The table as of the last publication.
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// Lets nodes watch their paths from the next publication on; they do not until told to.
    pub fn set_probing(&mut self, probing: Option<Probing>) {
        self.settings.probing = probing;
    }

    /// Tells POPs when to announce their VIPs, from the next publication on.
    pub fn set_announcing(&mut self, announcing: Announcing) {
        self.settings.announcing = announcing;
    }

    /// Turns mechanisms off, for tests that show what each is for.
    pub fn set_mechanisms(&mut self, mechanisms: Mechanisms) {
        self.settings.mechanisms = mechanisms;
    }

    /// How long a slot stays where it is after a move, from the next publication on.
    pub fn set_slot_settle(&mut self, slot_settle: Duration) {
        self.settings.slot_settle = slot_settle;
    }

    /// Whose limits and refusals hold.
    pub fn set_profile(&mut self, profile: Profile) {
        self.settings.profile = profile;
    }

    /// Whether flows that are there end when security groups no longer accept them.
    pub fn set_sg_flush_on_change(&mut self, flush: bool) {
        self.settings.sg_flush_on_change = flush;
    }

    /// Features in closed beta that are not approved.
    pub fn set_betas_off(&mut self, betas_off: Vec<String>) {
        self.settings.betas_off = betas_off;
    }

    /// Adds any changes to what the next publication does.
    pub fn add(&mut self, changes: impl IntoIterator<Item = Change>) {
        self.wanted.extend(changes);
    }

    /// Adds a POP.
    pub fn add_pop(&mut self, pop: NodePlan) {
        self.wanted.extend(changes::of_pop(pop));
    }

    /// Adds a region.
    pub fn add_region(&mut self, region: RegionPlan) {
        self.wanted.extend(changes::of_region(region));
    }

    /// Adds a host of backends.
    pub fn add_host(&mut self, host: HostPlan) {
        self.wanted.extend(changes::of_host(host));
    }

    /// Adds a path.
    pub fn add_path(&mut self, path: PathPlan) {
        self.wanted.extend(changes::of_path(path));
    }

    /// Adds a load balancer. Its SNAT ports are for the CLB nodes that its region has by then.
    pub fn add_clb(&mut self, clb: ClbPlan) {
        let nodes = self.wanted.iter().filter_map(|change| match change {
            Change::Put(object, _) => ClbNode::of(object),
            _ => None,
        });
        let nodes = nodes.filter(|node| node.region == clb.region);
        let nodes: Vec<String> = nodes.map(|node| node.name.clone()).collect();
        self.wanted.extend(changes::of_clb(clb, &nodes));
    }

    /// Adds a VIP.
    pub fn add_vip(&mut self, vip: VipPlan) {
        self.wanted.extend(changes::of_vip(vip));
    }

    /// Gives the target at `address` and `port` of a listener another weight, from the next publication on.
    ///
    /// # Errors
    /// When there is no such load balancer, listener or target, and when no target may have that weight.
    pub fn set_weight(
        &mut self,
        clb: &str,
        listener: &str,
        target: (Address, u16),
        weight: u8,
    ) -> Result<(), Refusal> {
        let names = vec![target_name(clb, listener, target)];
        if let Some(unbound) = self
            .unbound
            .iter_mut()
            .find(|it| it.full_name() == names[0])
        {
            unbound.weight = weight.into();
            return Ok(());
        }
        self.want(Change::SetTargetWeight(names, weight.into()))
    }

    /// Takes the target at `address` and `port` of a listener out or puts it back where it was, from the next
    /// publication on.
    ///
    /// # Errors
    /// When there is no such load balancer, listener or target.
    pub fn set_bound(
        &mut self,
        clb: &str,
        listener: &str,
        target: (Address, u16),
        bound: bool,
    ) -> Result<(), Refusal> {
        let name = target_name(clb, listener, target);
        let known = self.unbound.iter().position(|it| it.full_name() == name);
        match (bound, known) {
            (true, Some(known)) => {
                let target = self.unbound[known].clone();
                self.want(Change::RegisterTargets(vec![target]))?;
                self.unbound.remove(known);
                Ok(())
            }
            (false, None) => {
                let target = self.trial()?.get::<Target>(&name).cloned();
                self.want(Change::DeregisterTargets(vec![name]))?;
                self.unbound.extend(target);
                Ok(())
            }
            (true, None) => match self.trial()?.get::<Target>(&name) {
                Some(_) => Ok(()),
                None => {
                    Err(Reason::NoResource.because(format_args!("target `{name}` does not exist")))
                }
            },
            (false, Some(_)) => Ok(()),
        }
    }

    /// Says whether a CLB node takes part in its region's slots, from the next publication on. All are in
    /// until told otherwise. Ids do not change by it.
    ///
    /// # Errors
    /// When there is no such CLB node.
    pub fn set_membership(
        &mut self,
        clb_node: &str,
        membership: Membership,
    ) -> Result<(), Refusal> {
        self.want(Change::SetMember {
            clb_node: clb_node.to_owned(),
            membership: Some(membership),
            weight: None,
        })
    }

    /// Gives a CLB node another share of its region's slots, from the next publication on; [`NODE_WEIGHT`]
    /// until then. A node of weight 0 is in and gets no slots.
    ///
    /// # Errors
    /// When there is no such CLB node, and when none may have that weight.
    pub fn set_node_weight(&mut self, clb_node: &str, weight: u8) -> Result<(), Refusal> {
        self.want(Change::SetMember {
            clb_node: clb_node.to_owned(),
            membership: None,
            weight: Some(weight.into()),
        })
    }

    /// Drains a POP or takes it back, from the next publication on.
    ///
    /// # Errors
    /// When there is no such POP, and when a VIP would be left with fewer than its `publishers_min` POPs that do
    /// not drain.
    pub fn set_draining(&mut self, pop: &str, draining: bool) -> Result<(), Refusal> {
        self.want(Change::SetDraining(Key::new(Kind::Pop, pop), draining))
    }

    /// Empties a path or takes it back, from the next publication on: meanwhile it is used only where nothing
    /// else leads.
    ///
    /// # Errors
    /// When there is no such path.
    pub fn set_path_draining(&mut self, path: &str, draining: bool) -> Result<(), Refusal> {
        self.want(Change::SetDraining(Key::new(Kind::Path, path), draining))
    }

    /// Writes the next revision; the first one is 1. The last table stays valid for those who hold it. `now` is
    /// the time by which slots settle, and never goes back.
    ///
    /// # Errors
    /// The first [`Refusal`] found; then neither the revision nor any slot moves, and what was wanted is wanted
    /// on.
    pub fn publish(&mut self, now: Instant) -> Result<Arc<RouteTable>, Refusal> {
        let command = Command::new(now, self.content());
        let revision = self.table.revision() + 1;
        self.table.apply(revision, &command)?;
        self.wanted.clear();
        Ok(self.assembler.assemble(&self.table))
    }

    /// When the author would like to publish again, because slots settle that are wanted elsewhere or have an
    /// old primary as their secondary. `None` when nothing waits.
    pub fn settles_at(&self) -> Option<Instant> {
        self.table.settles_at()
    }

    /// Adds a change, unless the table would refuse it.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn want(&mut self, change: Change) -> Result<(), Refusal> {
        self.wanted.push(change);
        let tried = self.trial();
        if tried.is_err() {
            self.wanted.pop();
        }
        tried.map(drop)
    }

    /// The table as the next publication would make it.
    fn trial(&self) -> Result<Table, Refusal> {
        let mut trial = self.table.clone();
        let command = Command::new(trial.at(), self.content());
        trial.apply(trial.revision() + 1, &command)?;
        Ok(trial)
    }

    /// All that the next publication does, as one change: at first, all that there is to be.
    pub fn content(&self) -> Change {
        let secret = Secret {
            name: Secret::SLOT_HASH_KEY.to_owned(),
            value: self.hash_key.to_bytes().to_vec(),
        };
        let ensure = |object: Object| Change::Put(object, PutMode::Ensure);
        let first = [
            ensure(Object::Settings(self.settings.clone())),
            ensure(Object::Secret(secret)),
        ];
        let changes = first.into_iter().chain(self.wanted.iter().cloned());
        Change::All(changes.collect())
    }
}

/// The full name of a target of a listener without rules.
fn target_name(clb: &str, listener: &str, (address, port): (Address, u16)) -> String {
    let own = core::net::SocketAddr::new(address.into(), port);
    format!("{clb}/{listener}/{own}")
}

#[cfg(test)]
mod tests;
