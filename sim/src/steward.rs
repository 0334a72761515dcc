//! The steward: who writes the route tables of a run without controllers.
//!
//! It hears what nodes' own probes say of CLB nodes, believes a majority after a while, and gives out a new
//! revision without those that are lost; it takes back those that answer again. What the scenario orders (a
//! drain, a weight, a node that is added) it publishes at once. A revision takes to each node what that node's
//! way takes; one that is down or cut off from the steward gets the newest when it is back.
//!
//! Invariant: ids of nodes and paths are the same in all revisions of a run.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyedge_ccn::author::opinions::Opinions;
use anyedge_ccn::author::{Membership, TableAuthor};
use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::Change;
use anyedge_ccn::table::refusal::Refusal;
use anyedge_net::flow::Address;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::route_table::{NodeKind, RouteTable};
use anyedge_net::time::Instant;

/// What the scenario wants of the next table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// A CLB node's place among the members of its region.
    Member(String, Membership),
    /// A CLB node's share of the slots.
    NodeWeight(String, u8),
    /// Whether a POP sends its clients away.
    Draining(String, bool),
    /// Whether a path is to carry nothing while another can.
    PathDraining(String, bool),
    /// Weights of targets.
    Targets(Vec<TargetWeight>),
    /// Whether targets are in their listeners.
    Bound(Vec<TargetWeight>, bool),
    /// Any other change of the table.
    Change(Box<Change>),
}

/// The weight of one target of one listener.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TargetWeight {
    pub(crate) clb: String,
    pub(crate) listener: String,
    pub(crate) target: (Address, u16),
    pub(crate) weight: u8,
}

/// Writes tables and remembers who has yet to get them.
pub(crate) struct Steward {
    author: TableAuthor,
    /// What nodes' sessions say of CLB nodes.
    opinions: Opinions<PathId>,
    /// CLB nodes that the scenario wants as something other than members.
    wanted: BTreeMap<String, Membership>,
    /// CLB nodes that a majority finds dead.
    lost: BTreeSet<String>,
    /// The alarm that is set.
    alarm: Option<Instant>,
    /// The author refused the last table: that slots settle is no reason to ask again.
    refused: bool,
    table_delay: Duration,
}

impl Steward {
    /// The steward behind `author`; `absent` CLB nodes do not exist yet.
    ///
    /// # Errors
    /// When the author knows no such node.
    pub(crate) fn new(
        mut author: TableAuthor,
        confirm: Duration,
        table_delay: Duration,
        absent: impl Iterator<Item = String>,
    ) -> Result<Steward, Refusal> {
        let mut wanted = BTreeMap::new();
        for name in absent {
            author.set_membership(&name, Membership::Absent)?;
            wanted.insert(name, Membership::Absent);
        }
        Ok(Steward {
            author,
            opinions: Opinions::new(confirm),
            wanted,
            lost: BTreeSet::new(),
            alarm: None,
            refused: false,
            table_delay,
        })
    }

    /// What it begins with: the table as of the last publication.
    pub(crate) const fn table(&self) -> &Table {
        self.author.table()
    }

    /// All that the next publication changes.
    pub(crate) fn content(&self) -> Change {
        self.author.content()
    }

    /// How long a revision takes at most.
    pub(crate) const fn table_delay(&self) -> Duration {
        self.table_delay
    }

    /// A node's own probes of another changed their mind.
    pub(crate) fn hear(
        &mut self,
        now: Instant,
        table: &RouteTable,
        (reporter, subject): (NodeId, NodeId),
        path: PathId,
        up: bool,
    ) {
        let Some(about) = table.nodes.get(subject.index()) else {
            return;
        };
        if !matches!(about.kind, NodeKind::ClbNode(_)) {
            return;
        }
        let by = &table.nodes[reporter.index()].name;
        self.opinions.hear(now, (by, &about.name), path, up);
    }

    /// A node that is down says nothing any more.
    pub(crate) fn forget(&mut self, table: &RouteTable, reporter: NodeId) {
        self.opinions.forget(&table.nodes[reporter.index()].name);
    }

    /// Takes in what the scenario wants.
    ///
    /// # Errors
    /// When the author refuses it: then nothing changes.
    pub(crate) fn obey(&mut self, order: &Order) -> Result<(), Refusal> {
        match order {
            Order::Member(name, membership) => {
                self.wanted.insert(name.clone(), *membership);
                self.set_member(name)
            }
            Order::NodeWeight(name, weight) => self.author.set_node_weight(name, *weight),
            Order::Draining(name, draining) => self.author.set_draining(name, *draining),
            Order::PathDraining(path, draining) => self.author.set_path_draining(path, *draining),
            Order::Targets(weights) => weights.iter().try_for_each(|target| {
                let TargetWeight { clb, listener, .. } = target;
                self.author
                    .set_weight(clb, listener, target.target, target.weight)
            }),
            Order::Bound(targets, bound) => targets.iter().try_for_each(|target| {
                let TargetWeight { clb, listener, .. } = target;
                self.author.set_bound(clb, listener, target.target, *bound)
            }),
            Order::Change(change) => self.author.want(Change::clone(change)),
        }
    }

    /// Believes what has lasted long enough; whether that, or slots that have settled, ask for another table.
    pub(crate) fn look(&mut self, now: Instant) -> bool {
        if self.alarm.is_some_and(|alarm| alarm <= now) {
            self.alarm = None;
        }
        let found = self.opinions.poll(now);
        for (name, membership) in &found {
            if *membership == Membership::Lost {
                self.lost.insert(name.clone());
            } else {
                self.lost.remove(name);
            }
            self.set_member(name)
                .expect("who is reported on is a CLB node of the table");
        }
        let settled = self.settles_at().is_some_and(|at| at <= now);
        settled || !found.is_empty()
    }

    /// When to look next, if no alarm is set for that time or earlier; the caller then sets one.
    pub(crate) fn next_alarm(&mut self, now: Instant) -> Option<Instant> {
        let due = [self.opinions.wake_at(), self.settles_at()];
        let due = due.into_iter().flatten().min()?.max(now);
        if self.alarm.is_some_and(|alarm| alarm <= due) {
            return None;
        }
        self.alarm = Some(due);
        Some(due)
    }

    /// Writes the next revision.
    ///
    /// # Errors
    /// When the plans have come to make no sense: the last table stays in force.
    pub(crate) fn publish(&mut self, now: Instant) -> Result<Arc<RouteTable>, Refusal> {
        let table = self.author.publish(now);
        self.refused = table.is_err();
        table
    }

    fn settles_at(&self) -> Option<Instant> {
        self.author.settles_at().filter(|_| !self.refused)
    }

    fn set_member(&mut self, name: &str) -> Result<(), Refusal> {
        let wanted = self.wanted.get(name).copied().unwrap_or_default();
        let member = if wanted != Membership::Absent && self.lost.contains(name) {
            Membership::Lost
        } else {
            wanted
        };
        self.author.set_membership(name, member)
    }
}
