//! What a leader knows of its nodes in one term, and what it would change by itself.
//!
//! A term begins with nothing but the table. Nothing is decided before a majority of the table's nodes have
//! reported, or `grace` is over, so that controllers that were away do not take their own absence for that of nodes. From
//! then on a node that says nothing for `silence_max` has no say. A change names the revision of what it changes: what an
//! operator wants meanwhile comes first.
//!
//! Invariant: a pure function of reports, tables and times; one report per node is kept.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use anyedge_net::time::Instant;
use anyedge_proto::control::v1::{HealthStatusDetail as Detail, NodeReport, NodeReportReply};

use super::health::Health;
use crate::author::opinions::Opinions;
use crate::table::Table;
use crate::table::change::{Change, Command, Condition};
use crate::table::membership::Membership;
use crate::table::object::{ClbNode, Host, Key, Kind, Path, Pop, Target};

/// What the keeper waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// How long a majority has to last until it is believed.
    pub confirm: Duration,
    /// A new leader that has not heard a majority of the nodes goes by those that it has, after this time.
    pub grace: Duration,
    /// A node that says nothing for so long has no say.
    pub silence_max: Duration,
    /// After a change that did not come through.
    pub retry: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            confirm: Duration::from_secs(1),
            grace: Duration::from_secs(10),
            silence_max: Duration::from_secs(3),
            retry: Duration::from_millis(200),
        }
    }
}

/// What is known of one node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeStanding {
    /// The revision that its forwarder acts upon.
    pub in_force: u64,
    /// When its last report came, by the leader's own clock.
    pub heard: Instant,
    /// It has said nothing for too long.
    pub is_silent: bool,
    series: u64,
    next: u64,
}

/// What is known in one term.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) term: u64,
    patience: Patience,
    since: Instant,
    pub(super) nodes: BTreeMap<String, NodeStanding>,
    opinions: Opinions<String>,
    pub(super) health: Health,
    /// Whether opinions count yet.
    is_watching: bool,
    /// What was found, and is not in the table yet.
    found: BTreeMap<String, Membership>,
    /// The revision that the table had when it was looked at last.
    seen: Option<u64>,
    /// CLB nodes that were absent then: that nobody reached them says nothing of what they are once they are put in.
    absent: BTreeSet<String>,
    /// Before this time nobody can have fallen silent.
    silence_at: Instant,
    /// A change that did not come through is not made again before.
    retry_at: Instant,
}

/// A report of a node that is not in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct UnknownNode;

impl Standing {
    pub(super) fn new(term: u64, now: Instant, patience: Patience) -> Standing {
        Standing {
            term,
            patience,
            since: now,
            nodes: BTreeMap::new(),
            opinions: Opinions::new(patience.confirm),
            health: Health::default(),
            is_watching: false,
            found: BTreeMap::new(),
            seen: None,
            absent: BTreeSet::new(),
            silence_at: now + patience.silence_max,
            retry_at: Instant::ZERO,
        }
    }

    /// Takes a report. What it says of things that the table does not know is left out.
    ///
    /// # Errors
    /// When the table does not know the node.
    pub(super) fn take(
        &mut self,
        now: Instant,
        table: &Table,
        report: &NodeReport,
    ) -> Result<NodeReportReply, UnknownNode> {
        let name = report.node.as_str();
        if !is_node(table, name) {
            return Err(UnknownNode);
        }
        let reply = |wants_all| NodeReportReply {
            revision: table.revision(),
            wants_all,
        };
        // The answer to a report may be lost, and the report come again. Who was silent was forgotten.
        let follows = self.nodes.get(name).is_some_and(|known| {
            let is_next = report.number == known.next;
            let is_again = report.number.saturating_add(1) == known.next;
            !known.is_silent && report.series == known.series && (is_next || is_again)
        });
        if report.number > 0 && !follows {
            return Ok(reply(true));
        }
        if report.number == 0 {
            self.begin_node(now, report);
        }
        let standing = NodeStanding {
            in_force: report.in_force,
            heard: now,
            is_silent: false,
            series: report.series,
            next: report.number.saturating_add(1),
        };
        self.nodes.insert(name.to_owned(), standing);
        self.hear(now, table, report);
        Ok(reply(false))
    }

    /// What was said before and is not said again does not hold.
    fn begin_node(&mut self, now: Instant, report: &NodeReport) {
        let said = report.paths.iter().filter(|session| !session.gone);
        let said: BTreeSet<_> = said
            .map(|session| (session.node.as_str(), session.path.as_str()))
            .collect();
        let stays = |subject: &str, path: &String| said.contains(&(subject, path.as_str()));
        self.opinions.retain(now, &report.node, stays);
        self.health.forget(&report.node);
    }

    fn hear(&mut self, now: Instant, table: &Table, report: &NodeReport) {
        let name = report.node.as_str();
        for session in &report.paths {
            let subject = session.node.as_str();
            if session.gone {
                let gone = (subject, session.path.as_str());
                let stays = |subject: &str, path: &String| (subject, path.as_str()) != gone;
                self.opinions.retain(now, name, stays);
                continue;
            }
            let is_known = table.get::<ClbNode>(subject).is_some()
                && table.get::<Path>(&session.path).is_some();
            if is_known && subject != name {
                let path = session.path.clone();
                self.opinions.hear(now, (name, subject), path, session.up);
            }
        }
        let checks = table.get::<ClbNode>(name).is_some();
        for target in report.targets.iter().filter(|_| checks) {
            let detail = target.detail();
            if detail == Detail::Unknown || table.get::<Target>(&target.target).is_some() {
                self.health.hear(name, &target.target, detail);
            }
        }
    }

    /// What to change at `now`, which is `stamp` to the table.
    pub(super) fn look(&mut self, now: Instant, stamp: Instant, table: &Table) -> Option<Command> {
        self.expire(now, table);
        self.begin_watching(now, table);
        if self.is_watching {
            self.found.extend(self.opinions.poll(now));
        }
        self.compare(table);
        if now < self.retry_at {
            return None;
        }
        if let Some(command) = self.membership(stamp, table) {
            return Some(command);
        }
        let settles = table.settles_at().is_some_and(|at| at <= stamp);
        settles.then(|| Command::new(stamp, Change::Settle))
    }

    /// What was left out of reports because a table was full.
    pub(super) const fn ignored(&self) -> u64 {
        self.opinions.ignored() + self.health.ignored
    }

    /// A change did not come through.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.retry_at = now + self.patience.retry;
    }

    /// When to look again if no report comes before and the table stays as it is.
    pub(super) fn wake_at(&self, now: Instant, stamp: Instant, table: &Table) -> Option<Instant> {
        let settles = table.settles_at().map(|at| now + at.since(stamp));
        let change = if self.found.is_empty() {
            settles
        } else {
            Some(now)
        };
        let change = change.map(|at| at.max(self.retry_at));
        let watch = if self.is_watching {
            self.opinions.wake_at()
        } else {
            Some(self.since + self.patience.grace)
        };
        let silence = (!self.nodes.is_empty()).then_some(self.silence_at);
        [change, watch, silence].into_iter().flatten().min()
    }

    /// Drops what those said that are silent, or not in the table any more.
    fn expire(&mut self, now: Instant, table: &Table) {
        if now < self.silence_at && self.seen == Some(table.revision()) {
            return;
        }
        let silence_max = self.patience.silence_max;
        let (opinions, health) = (&mut self.opinions, &mut self.health);
        self.nodes.retain(|name, node| {
            let is_known = is_node(table, name);
            let is_silent = node.heard + silence_max <= now;
            if !is_known || is_silent && !node.is_silent {
                node.is_silent = true;
                opinions.forget(name);
                health.forget(name);
            }
            is_known
        });
        let heard = self.nodes.values().filter(|node| !node.is_silent);
        let first = heard.map(|node| node.heard).min().unwrap_or(now);
        self.silence_at = first + silence_max;
    }

    /// Opinions count from when a majority of nodes has been heard, or the grace is over.
    fn begin_watching(&mut self, now: Instant, table: &Table) {
        if self.is_watching {
            return;
        }
        let serves = |node: &&ClbNode| node.membership.is_alive();
        let clb_nodes = table.all::<ClbNode>().filter(serves).count();
        let all = table.count(Kind::Pop) + table.count(Kind::Host) + clb_nodes;
        let heard = self.nodes.values().filter(|node| !node.is_silent).count();
        if heard * 2 > all || self.since + self.patience.grace <= now {
            self.is_watching = true;
            let is_lost = |node: &&ClbNode| node.membership == Membership::Lost;
            let lost = table.all::<ClbNode>().filter(is_lost);
            self.opinions
                .begin(now, lost.map(|node| node.name.as_str()));
        }
    }

    /// Sees what of that which was found is in the table, and what of the table was never found.
    fn compare(&mut self, table: &Table) {
        if !self.is_watching || self.seen == Some(table.revision()) && self.found.is_empty() {
            return;
        }
        self.seen = Some(table.revision());
        self.found
            .retain(|name, _| table.get::<ClbNode>(name).is_some());
        for node in table.all::<ClbNode>() {
            let is_lost = node.membership == Membership::Lost;
            if node.membership == Membership::Absent {
                self.found.remove(&node.name);
                self.absent.insert(node.name.clone());
                continue;
            }
            if self.absent.remove(&node.name) {
                self.found.remove(&node.name);
                self.opinions.assume(&node.name, false);
            }
            let found = self.found.get(&node.name).copied();
            match (node.membership, found) {
                (_, Some(found)) if (found == Membership::Lost) == is_lost => {
                    self.found.remove(&node.name);
                }
                (_, Some(_)) => {}
                // An operator put it in; a majority still finds it dead.
                (Membership::In | Membership::Drained, None)
                    if self.opinions.is_lost(&node.name) =>
                {
                    self.found.insert(node.name.clone(), Membership::Lost);
                }
                (Membership::Lost, None) => self.opinions.assume(&node.name, true),
                (Membership::In | Membership::Drained | Membership::Absent, None) => {}
            }
        }
    }

    /// All that was found, as one command.
    fn membership(&self, stamp: Instant, table: &Table) -> Option<Command> {
        let mut changes = Vec::new();
        let mut conditions = Vec::new();
        for (name, found) in &self.found {
            let Some(node) = table.get::<ClbNode>(name) else {
                continue;
            };
            let membership = match found {
                Membership::Lost => Membership::Lost,
                _ if node.returns_drained => Membership::Drained,
                _ => Membership::In,
            };
            let key = Key::new(Kind::ClbNode, name);
            let revision = table.entry(&key).map_or(0, |entry| entry.revision);
            conditions.push(Condition { key, revision });
            changes.push(Change::SetMember {
                clb_node: name.clone(),
                membership: Some(membership),
                weight: None,
            });
        }
        let mut command = Command::new(stamp, Change::All(changes));
        command.conditions = conditions;
        (!command.conditions.is_empty()).then_some(command)
    }
}

fn is_node(table: &Table, name: &str) -> bool {
    table.get::<Pop>(name).is_some()
        || table.get::<ClbNode>(name).is_some()
        || table.get::<Host>(name).is_some()
}

#[cfg(test)]
mod tests;
