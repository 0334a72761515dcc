//! The replicated table: objects by name, changed by commands alone.
//!
//! [`Table::apply`] is a pure function of the table, a revision and a command: every member of the control plane
//! that applies the same commands has the same table, bit for bit. A command comes through as a whole or is
//! refused with a reason, and a refusal leaves nothing changed. Whoever only follows replays deltas and knows
//! no rule. Time comes with the command: nothing here reads a clock.
//!
//! Invariant: every reference points to something, every number is in its range, every limit is kept.

pub mod change;
pub mod delta;
pub mod membership;
pub mod object;
pub mod refusal;
pub mod snat;

pub(crate) mod objects;
pub(crate) mod reach;
pub(crate) mod slot_book;

mod autoscaling;
mod ccn_routes;
mod check;
mod convert;
mod requests;
mod restoring;
mod security;
mod snapshot;
mod stages;
mod transaction;
mod verbs;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use anyedge_net::flow::{Address, HashKey};
use anyedge_net::slot::SlotMap;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;

use change::{Change, Command};
use delta::{Delta, Outcome};
use object::{CcnRoute, Key, Kind, Kinded, Object, Secret, Settings};
pub use objects::Entry;
use objects::Objects;
use reach::Reach;
use refusal::{Reason, Refusal};
pub use requests::REQUESTS_MAX;
use requests::Requests;
use slot_book::SlotBooks;
pub use snapshot::SnapshotError;
pub use stages::{STAGED_MAX, STAGES_MAX};
pub use transaction::CHANGES_MAX;
use transaction::Transaction;

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
pub const WEIGHT_MAX: i32 = 100;
/// Seconds that a client may stay with its target after its last new flow.
pub const SESSION_S: core::ops::RangeInclusive<u32> = 30..=3_600;
/// How long flows of unbound targets may go on.
pub const DRAIN_MAX: Duration = Duration::from_secs(86_400);
/// How long a slot stays where it is after a move, unless its node is lost or drained.
pub const SLOT_SETTLE: Duration = Duration::from_secs(15 * 60);
/// What every path carries: the least that an IPv4 host must take (RFC 791 §3.1), in bytes.
pub const INNER_MTU_MIN_V4: u16 = 576;
/// What all paths to an IPv6 VIP carry (RFC 8200 §5), in bytes.
pub const INNER_MTU_MIN_V6: u16 = 1_280;
/// Security groups of a table.
pub const SECURITY_GROUPS_MAX: usize = 1_000;
/// Auto-scaling groups of a table.
pub const SCALING_GROUPS_MAX: usize = 1_000;
/// Listeners of an auto-scaling group.
pub const SCALING_LISTENERS_MAX: usize = 100;
/// Servers of an auto-scaling group.
pub const SCALING_SERVERS_MAX: usize = 2_000;
/// Bytes of a request id.
pub const REQUEST_ID_MAX: usize = 128;
/// The network that is no VPC.
pub const BASIC_NETWORK: &str = "basic";

/// The objects, the slots and the last requests, as of one revision.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Table {
    revision: u64,
    at: Instant,
    objects: Objects,
    slot_books: SlotBooks,
    requests: Requests,
    reach: Arc<Reach>,
}

/// One object before a change and after it; `None`: it is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Which object.
    pub key: Key,
    /// As it is.
    pub before: Option<Arc<Object>>,
    /// As it would be.
    pub after: Option<Arc<Object>>,
}

impl Table {
    /// A table of nothing, at revision 0.
    pub fn new() -> Table {
        Table::default()
    }

    /// The revision of the last accepted command.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The time of the table: the latest that a command brought.
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// The object of that kind and name.
    pub fn get<T: Kinded>(&self, name: &str) -> Option<&T> {
        self.objects.get(name)
    }

    /// An object with its revision.
    pub fn entry(&self, key: &Key) -> Option<&Entry> {
        self.objects.entry(key.kind, &key.name)
    }

    /// All objects of a kind, by name.
    pub fn all<T: Kinded>(&self) -> impl Iterator<Item = &T> {
        self.objects.all()
    }

    /// Entries of a kind by name, those after `after`; of secrets nothing is listed.
    pub fn list<'a>(
        &'a self,
        kind: Kind,
        name_prefix: &'a str,
        after: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        let shown = self.objects.entries_from(kind, name_prefix.max(after));
        shown
            .take_while(move |(name, _)| name.starts_with(name_prefix))
            .filter(move |(name, _)| *name > after && kind != Kind::Secret)
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.objects.count(kind)
    }

    /// The key that gives flows their slots; `None` before there is one.
    pub fn hash_key(&self) -> Option<HashKey> {
        let secret = self.get::<Secret>(Secret::SLOT_HASH_KEY)?;
        let bytes = <[u8; 16]>::try_from(secret.value.as_slice()).ok()?;
        Some(HashKey::new(bytes))
    }

    /// What holds for the whole table.
    pub fn settings(&self) -> Settings {
        self.get::<Settings>(Settings::NAME)
            .cloned()
            .unwrap_or_default()
    }

    /// What came of the request of that id, if it is among the last [`REQUESTS_MAX`].
    pub fn outcome(&self, request_id: &str) -> Option<&Outcome> {
        self.requests.get(request_id)
    }

    /// The routes of a CCN that a packet to `address` may take.
    pub fn ccn_routes_to(&self, ccn: &str, address: &Address) -> Vec<&CcnRoute> {
        ccn_routes::look_up(&self.objects, ccn, address)
    }

    /// When slots settle that are wanted elsewhere: then [`Change::Settle`] is due.
    pub fn settles_at(&self) -> Option<Instant> {
        self.slot_books.settles_at()
    }

    /// Makes `revision` of the table by `command`. A request that was applied before changes nothing and gives
    /// what came of it then.
    ///
    /// # Errors
    /// Why it is refused; then nothing has changed.
    pub fn apply(&mut self, revision: u64, command: &Command) -> Result<Delta, Refusal> {
        if revision <= self.revision {
            return Err(Reason::Internal.because(format_args!(
                "revision {revision} after {}: a log does not go back",
                self.revision
            )));
        }
        let id = &command.request_id;
        if id.len() > REQUEST_ID_MAX {
            return Err(Reason::Length.because(format_args!(
                "a request id of {} bytes; {REQUEST_ID_MAX} are the most",
                id.len()
            )));
        }
        let fingerprint = convert::fingerprint(&command.change);
        if let Some(known) = self.requests.get(id) {
            return self.again(known, fingerprint);
        }
        self.check_conditions(command)?;
        let at = self.at.max(command.at);
        let reach = Arc::clone(&self.reach);
        let mut transaction = Transaction::new(&mut self.objects, reach, revision, at);
        transaction.run(&command.change)?;
        let (touched, failures, reach) = transaction.finish();
        let mut changes = Vec::with_capacity(touched.len());
        let mut created = Vec::new();
        // Whoever restores has the list, and the table would remember all of it with the request.
        let lists_created = !matches!(command.change, Change::Restore(_));
        for (key, before) in touched {
            let after = self.objects.entry(key.kind, &key.name).cloned();
            if before.as_ref().map(|entry| &entry.object) == after.as_ref().map(|it| &it.object) {
                self.objects.set(&key, before, revision);
                continue;
            }
            if before.is_none() && lists_created {
                created.push(key.clone());
            }
            changes.push((key, after.map(|entry| entry.object)));
        }
        let outcome = Outcome {
            request_id: id.clone(),
            fingerprint,
            revision,
            failures,
            created,
        };
        let delta = Delta {
            revision,
            at,
            changes,
            outcome,
            repeated: false,
        };
        self.reach = reach;
        self.follow(&delta);
        Ok(delta)
    }

    /// Takes in what an accepted command changed; knows no rule.
    ///
    /// # Errors
    /// When the delta is not newer than the table, which then has not changed.
    pub fn replay(&mut self, delta: &Delta) -> Result<(), Refusal> {
        if delta.repeated {
            return Ok(());
        }
        if delta.revision <= self.revision {
            return Err(Reason::Internal.because(format_args!(
                "a delta of revision {} for a table of revision {}",
                delta.revision, self.revision
            )));
        }
        let revision = delta.revision;
        for (key, object) in &delta.changes {
            let entry = object.as_ref().map(|object| Entry {
                revision,
                object: Arc::clone(object),
            });
            self.objects.set(key, entry, revision);
        }
        if delta.changes.iter().any(|(key, _)| key.kind.is_ground()) {
            self.reach = Arc::new(Reach::new(&self.objects));
        }
        self.follow(delta);
        Ok(())
    }

    /// The objects, for whoever assembles them.
    pub(crate) const fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Who reaches whom.
    pub(crate) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Who owns a region's slots, by places of its CLB nodes among themselves.
    pub(crate) fn slot_places(&self, region: &str) -> Arc<SlotMap> {
        let map = self.slot_books.map(region);
        map.map_or_else(|| Arc::new(SlotMap::fill(&[])), Arc::clone)
    }

    /// What would change if the stage were applied as the table stands.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn pending(&self, stage: &str) -> Result<Vec<Difference>, Refusal> {
        let mut trial = self.clone();
        let change = Change::ApplyStage(stage.to_owned());
        let delta = trial.apply(self.revision + 1, &Command::new(self.at, change))?;
        let changes = delta.changes.into_iter();
        let difference = |(key, after): (Key, Option<Arc<Object>>)| Difference {
            before: self.entry(&key).map(|entry| Arc::clone(&entry.object)),
            key,
            after,
        };
        let objects = changes.filter(|(key, _)| key.kind != Kind::Stage);
        Ok(objects.map(difference).collect())
    }

    /// The answer to a request that was applied before.
    fn again(&self, known: &Outcome, fingerprint: u64) -> Result<Delta, Refusal> {
        if known.fingerprint != fingerprint {
            return Err(Reason::RequestReused.because(format_args!(
                "request id `{}` was used for another change",
                known.request_id
            )));
        }
        Ok(Delta {
            revision: self.revision,
            at: self.at,
            changes: Vec::new(),
            outcome: known.clone(),
            repeated: true,
        })
    }

    fn check_conditions(&self, command: &Command) -> Result<(), Refusal> {
        for condition in &command.conditions {
            let found = self.entry(&condition.key).map_or(0, |entry| entry.revision);
            if found != condition.revision {
                return Err(Reason::Revision.because(format_args!(
                    "{} is of revision {found}, and {} was wanted",
                    condition.key, condition.revision
                )));
            }
        }
        Ok(())
    }

    /// What follows from a delta at everybody: time, slots, and the memory of requests.
    fn follow(&mut self, delta: &Delta) {
        self.revision = delta.revision;
        self.at = delta.at;
        let parts = [Kind::Region, Kind::ClbNode, Kind::Settings];
        let moved = |(key, _): &(Key, Option<Arc<Object>>)| parts.contains(&key.kind);
        let settled = self.settles_at().is_some_and(|at| at <= delta.at);
        if settled || delta.changes.iter().any(moved) {
            let settings = self.settings();
            self.slot_books.advance(&self.objects, &settings, delta.at);
        }
        self.requests.remember(&delta.outcome);
    }
}

/// The refusal of something that is not there.
fn not_found(key: &Key) -> Refusal {
    let reason = match key.kind {
        Kind::Region => Reason::NoRegion,
        Kind::Clb => Reason::NoClb,
        Kind::Listener => Reason::NoListener,
        Kind::Rule => Reason::NoRule,
        _ => Reason::NoResource,
    };
    reason.because(format_args!("{key} does not exist"))
}

fn refers(reason: Reason, by: impl fmt::Display, kind: &str, name: impl fmt::Display) -> Refusal {
    reason.because(format_args!(
        "{by} refers to {kind} `{name}`, which does not exist"
    ))
}

/// The refusal of a reference to nothing.
fn unknown(by: impl fmt::Display, kind: &str, name: impl fmt::Display) -> Refusal {
    refers(Reason::NoResource, by, kind, name)
}

fn unknown_region(by: &Key, name: &str) -> Refusal {
    refers(Reason::NoRegion, by, "region", name)
}

fn unknown_clb(by: &Key, name: &str) -> Refusal {
    refers(Reason::NoClb, by, "load balancer", name)
}

#[cfg(test)]
pub(crate) mod tests;
