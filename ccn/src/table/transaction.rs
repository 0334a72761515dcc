//! A command at work: objects change one by one, are checked as they come to be, and all of it can be undone.
//!
//! Every object that is set leaves what was there before in a log. A refusal plays the log back, so that it
//! leaves nothing changed; an item of a batch plays back its own part. Lists of changes are checked once, when
//! all of them are in, so that their order matters only to what they name.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_net::switch;
use anyedge_net::time::Instant;

use super::change::Change;
use super::delta::Failure;
use super::object::{Key, Kind, Kinded, Object, Settings};
use super::objects::{Entry, Objects};
use super::reach::Reach;
use super::refusal::{Reason, Refusal};

/// Changes that one command may hold.
pub const CHANGES_MAX: usize = 200_000;
/// How deep lists of changes may stand in each other.
const DEPTH_MAX: usize = 4;

/// The items of a batch: all of them, with the switch of its row on.
fn of_batch<'a>(row: &str, names: &'a [String]) -> &'a [String] {
    if switch::is_on(row) {
        names
    } else {
        &names[..names.len().min(1)]
    }
}

/// What was touched, and what was there before.
pub(super) type Touched = (Key, Option<Entry>);

/// One command on its way into the table.
pub(super) struct Transaction<'a> {
    pub(super) objects: &'a mut Objects,
    pub(super) reach: Arc<Reach>,
    pub(super) settings: Settings,
    pub(super) revision: u64,
    pub(super) at: Instant,
    /// What was there before each step, in their order.
    log: Vec<(Key, Option<Entry>)>,
    pub(super) failures: Vec<Failure>,
    depth: usize,
    changes: usize,
    places: u64,
    /// Nodes or paths are others: who reaches whom, too.
    ground_changed: bool,
    /// Whatever was there before is no reason to refuse what comes.
    is_new: bool,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(
        objects: &'a mut Objects,
        reach: Arc<Reach>,
        revision: u64,
        at: Instant,
    ) -> Transaction<'a> {
        let settings = objects.get::<Settings>(Settings::NAME).cloned();
        Transaction {
            objects,
            reach,
            settings: settings.unwrap_or_default(),
            revision,
            at,
            log: Vec::new(),
            failures: Vec::new(),
            depth: 0,
            changes: 0,
            places: 0,
            ground_changed: false,
            is_new: false,
        }
    }

    /// What comes need not follow from what was there.
    pub(super) fn checks_as_new(&mut self) {
        self.is_new = true;
        self.follow_ground();
    }

    /// Does all of `change` or nothing.
    pub(super) fn run(&mut self, change: &Change) -> Result<(), Refusal> {
        let done = self.step(change).and_then(|()| self.check_since(0));
        if done.is_err() {
            self.undo_to(0);
        }
        done
    }

    /// Does `change`; what it breaks is found by the check that follows.
    pub(super) fn step(&mut self, change: &Change) -> Result<(), Refusal> {
        self.changes += 1;
        if self.changes > CHANGES_MAX {
            return Err(
                Reason::Limit.because(format_args!("a command has at most {CHANGES_MAX} changes"))
            );
        }
        match change {
            Change::All(changes) => self.all(changes),
            Change::Put(object, mode) => self.put(object, *mode),
            Change::Remove(key) => self.remove(key),
            Change::RegisterTargets(targets) => self.register_targets(targets),
            Change::DeregisterTargets(names) => {
                self.each(names, |this, name| this.deregister_target(name))
            }
            Change::SetTargetWeight(names, weight) => {
                let names = of_batch("S-BE10", names);
                self.each(names, |this, name| this.set_target_weight(name, *weight))
            }
            Change::SetTargetPort(names, port) => {
                let names = of_batch("S-BE11", names);
                self.each(names, |this, name| this.set_target_port(name, *port))
            }
            Change::SetDraining(key, draining) => self.set_draining(key, *draining),
            Change::SetMember {
                clb_node,
                membership,
                weight,
            } => self.set_member(clb_node, *membership, *weight),
            Change::BindVip { vip, clb } => self.bind_vip(vip, clb),
            Change::SetPublishDomain { vip, publish } => {
                let mut vip = self.vip(vip)?;
                vip.publish.clone_from(publish);
                self.set(vip);
                Ok(())
            }
            Change::SetPublished { vip, published } => {
                let mut vip = self.vip(vip)?;
                vip.withdrawn = !published;
                self.set(vip);
                Ok(())
            }
            Change::LeaseSnat { clb, node, blocks } => self.lease_snat(clb, node, *blocks),
            Change::ReleaseSnat(names) => self.each(names, |this, name| this.release_snat(name)),
            Change::MoveEni { eni, host } => self.move_eni(eni, host),
            Change::EnableRoutes(names, enabled) => {
                self.each(names, |this, name| this.enable_route(name, *enabled))
            }
            Change::Stage(stage) => self.stage(stage),
            Change::ApplyStage(name) => self.apply_stage(name),
            Change::DiscardStage(name) => self.discard_stage(name),
            Change::SetSecurityGroups { key, groups } => self.set_security_groups(key, groups),
            Change::Scale {
                group,
                joins,
                leaves,
            } => self.scale(group, joins, leaves),
            Change::Settle => Ok(()),
            Change::Restore(objects) => self.restore(objects),
        }
    }

    /// Does all of `changes`; they are checked together, when the command is.
    pub(super) fn all(&mut self, changes: &[Change]) -> Result<(), Refusal> {
        if self.depth == DEPTH_MAX {
            return Err(Reason::Format.because(format_args!(
                "lists of changes stand in each other at most {DEPTH_MAX} deep"
            )));
        }
        self.whole(|this| changes.iter().try_for_each(|change| this.step(change)))
    }

    /// Has `run` done in a way that no item of a batch may fail.
    pub(super) fn whole(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.depth += 1;
        let done = run(self);
        self.depth -= 1;
        done
    }

    /// Does each of a batch's items by itself and keeps the refusals of those that fail; refuses when all do.
    /// Within a list of changes nothing may fail.
    pub(super) fn each<T>(
        &mut self,
        items: &[T],
        mut run: impl FnMut(&mut Self, &T) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        if items.is_empty() {
            return Err(Reason::Missing.because("a batch of nothing"));
        }
        if self.depth > 0 {
            self.changes += items.len();
            return items.iter().try_for_each(|item| run(self, item));
        }
        let most = self.settings.quotas.targets_per_call;
        if items.len() > most as usize {
            let count = items.len();
            return Err(Reason::Limit.because(format_args!(
                "{count} items in one call; at most {most} are allowed"
            )));
        }
        for (at, item) in items.iter().enumerate() {
            let mark = self.log.len();
            let done = run(self, item).and_then(|()| self.check_since(mark));
            if let Err(refusal) = done {
                self.undo_to(mark);
                let item = at as u32;
                self.failures.push(Failure { item, refusal });
            }
        }
        if self.failures.len() == items.len() {
            return Err(self.failures.swap_remove(0).refusal);
        }
        Ok(())
    }

    /// How much has been done so far.
    pub(super) fn mark(&self) -> usize {
        self.log.len()
    }

    /// Takes back all that was done after `mark`.
    pub(super) fn undo_to(&mut self, mark: usize) {
        while self.log.len() > mark
            && let Some((key, before)) = self.log.pop()
        {
            self.ground_changed |= key.kind.is_ground();
            self.objects.set(&key, before, self.revision);
        }
        self.follow();
    }

    /// Puts `object` there, whatever was.
    pub(super) fn set(&mut self, object: impl Kinded) {
        self.set_object(object.into_object());
    }

    pub(super) fn set_object(&mut self, object: Object) {
        let key = object.key();
        let known = self.objects.entry(key.kind, &key.name);
        if known.is_some_and(|known| *known.object == object) {
            return;
        }
        let entry = Entry {
            revision: self.revision,
            object: Arc::new(object),
        };
        let before = self.objects.set(&key, Some(entry), self.revision);
        self.note(key, before);
    }

    /// Takes the object away, if it is there.
    pub(super) fn unset(&mut self, key: &Key) {
        if self.objects.entry(key.kind, &key.name).is_some() {
            let before = self.objects.set(key, None, self.revision);
            self.note(key.clone(), before);
        }
    }

    fn note(&mut self, key: Key, before: Option<Entry>) {
        let (settings, ground) = (key.kind == Kind::Settings, key.kind.is_ground());
        if ground {
            let entry = self.objects.entry(key.kind, &key.name);
            let (before, after) = (before.as_ref(), entry);
            let same = match (before, after) {
                (Some(before), Some(after)) => same_ground(&before.object, &after.object),
                _ => false,
            };
            self.ground_changed |= !same;
        }
        self.log.push((key, before));
        if settings {
            self.follow();
        }
    }

    /// What follows from objects that are others.
    fn follow(&mut self) {
        let settings = self.objects.get::<Settings>(Settings::NAME).cloned();
        self.settings = settings.unwrap_or_default();
    }

    fn follow_ground(&mut self) {
        self.reach = Arc::new(Reach::new(self.objects));
    }

    /// A place behind those of all targets so far.
    pub(super) fn next_place(&mut self) -> u64 {
        self.places += 1;
        (self.revision << 20) + self.places
    }

    /// Checks what was set after `mark`, as it is by now.
    pub(super) fn check_since(&mut self, mark: usize) -> Result<(), Refusal> {
        if self.ground_changed {
            self.follow_ground();
            self.check_ground()?;
            self.ground_changed = false;
        }
        let touched: BTreeMap<&Key, Option<&Entry>> = self.log[mark..]
            .iter()
            .rev()
            .map(|(key, before)| (key, before.as_ref()))
            .collect();
        touched.iter().try_for_each(|(key, before)| {
            let before = before.filter(|_| !self.is_new);
            self.check(key, before.map(|entry| &*entry.object))
        })
    }

    /// Keys of all that is another, with what was there before.
    pub(super) fn finish(self) -> (Vec<Touched>, Vec<Failure>, Arc<Reach>) {
        let mut first: BTreeMap<Key, Option<Entry>> = BTreeMap::new();
        for (key, before) in self.log {
            first.entry(key).or_insert(before);
        }
        (first.into_iter().collect(), self.failures, self.reach)
    }
}

/// Whether two versions of an object of the ground lead and carry the same.
fn same_ground(before: &Object, after: &Object) -> bool {
    match (before, after) {
        (Object::Pop(before), Object::Pop(after)) => before.underlay == after.underlay,
        (Object::ClbNode(before), Object::ClbNode(after)) => {
            (&before.region, before.underlay) == (&after.region, after.underlay)
        }
        (Object::Host(before), Object::Host(after)) => {
            let mut before = before.clone();
            before.security_groups.clone_from(&after.security_groups);
            before == *after
        }
        (Object::Path(before), Object::Path(after)) => {
            let mut before = before.clone();
            before.draining = after.draining;
            before == *after
        }
        _ => false,
    }
}
