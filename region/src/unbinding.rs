//! Unbinding: the targets whose flows are to be cut, and when: those that left their listeners, and those from which
//! their listeners move flows away.
//!
//! Derived from two versions of the routes that follow one another: a target that the older one had in a listener
//! and the newer one has not is unbound, at once or after the load balancer's drain. One that is bound again in
//! the meantime is forgotten here, and its flows go on. A listener that is gone unbinds all its targets; a load
//! balancer that is gone as a whole unbinds nothing. Targets that lose their weight or their health, or have others beside
//! them that are new, lose flows where the listener says so (`reschedule_on`), and until that is over again.
//!
//! With a spread each flow is cut at a time of its own, by its hash: so that not all clients come back at once.
//!
//! Invariant: `due_at` is the earliest instant of all that are pending.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyedge_net::flow::Address;
use anyedge_net::id::{ClbId, RegionId};
use anyedge_net::route_table::{Clb, Listener, RouteTable, Target};
use anyedge_net::switch;
use anyedge_net::time::Instant;

use crate::connection_table::Flow;
use crate::edits::{Edits, Moved};

/// Targets pending at a time; the flows of one beyond it run out by themselves.
pub(crate) const PENDING_MAX: usize = 65_536;

/// A target in a listener.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Binding {
    clb: ClbId,
    protocol: u8,
    port: u16,
    target: Address,
    target_port: u16,
}

impl Binding {
    /// A server of a listener.
    const fn to(clb: ClbId, listener: &Listener, (target, port): (Address, u16)) -> Binding {
        Binding {
            clb,
            protocol: listener.protocol,
            port: listener.port,
            target,
            target_port: port,
        }
    }

    /// What a flow goes by.
    pub(crate) const fn of(flow: &Flow) -> Binding {
        Binding {
            clb: flow.clb,
            protocol: flow.key.protocol,
            port: flow.key.dst_port,
            target: flow.at_target.address(),
            target_port: flow.target_port,
        }
    }
}

/// Why flows of a target are to be cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// It left its listener.
    Unbound,
    /// It has no weight.
    Weightless,
    /// It is abnormal.
    Unhealthy,
    /// Others came.
    Outgrown,
}

/// How the flows of a target end.
#[derive(Clone, Copy, Debug)]
struct Cut {
    why: Why,
    at: Instant,
    /// Over how long, each at a time of its own.
    over: Duration,
    /// How many of them, of [`ALL`].
    share: u32,
    rst: bool,
}

/// All flows of a target.
const ALL: u32 = u32::MAX;
/// Walks over all flows while they are cut one after the other, at most so often.
const WALK_EVERY: Duration = Duration::from_millis(10);
/// Walks in the time that it takes.
const WALKS_PER_SPREAD: u32 = 100;

impl Cut {
    /// Of the targets that `clb` loses now; `at_once` whatever its drain.
    fn unbound(now: Instant, clb: &Clb, at_once: bool) -> Cut {
        let drain = clb.unbind_drain.filter(|_| !at_once);
        Cut {
            at: match drain {
                None if !switch::is_on("S-BE12") => now + Duration::from_secs(3_600),
                drain => now + drain.unwrap_or_default(),
            },
            ..Cut::moved(now, clb, (Why::Unbound, ALL))
        }
    }

    /// Of targets whose flows are to go elsewhere from now on.
    fn moved(now: Instant, clb: &Clb, (why, share): (Why, u32)) -> Cut {
        Cut {
            why,
            at: now,
            over: clb.unbind_spread,
            share,
            rst: clb.rst_on_unbind,
        }
    }

    /// When all that it concerns are cut.
    fn ends(&self) -> Instant {
        self.at + self.over
    }

    /// When the flow with that hash is; `None`: it stays.
    fn time_of(&self, hash: u64) -> Option<Instant> {
        let (turn, place) = (hash >> 32, hash as u32);
        let is_concerned = self.share == ALL || place < self.share;
        let nanos = (u128::from(turn) * self.over.as_nanos()) >> 32;
        is_concerned.then(|| self.at + Duration::from_nanos(nanos as u64))
    }
}

/// A walk over all flows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    /// The number of the flow to be looked at next.
    pub(crate) next: u32,
    /// It finds the flows of all that were due then.
    began: Instant,
    /// When it goes on.
    at: Instant,
}

/// The unbound targets that may still have flows.
#[derive(Debug)]
pub(crate) struct Unbinding {
    pending: BTreeMap<Binding, Cut>,
    due_at: Instant,
    walk: Option<Walk>,
}

impl Default for Unbinding {
    fn default() -> Unbinding {
        Unbinding {
            pending: BTreeMap::new(),
            due_at: Instant::FAR_FUTURE,
            walk: None,
        }
    }
}

impl Unbinding {
    /// Before this instant no flow is to be cut.
    #[inline]
    pub(crate) const fn due_at(&self) -> Instant {
        self.due_at
    }

    /// Whether the flow of `binding` with that hash is to be cut, and then whether by RST.
    pub(crate) fn due(&self, now: Instant, binding: &Binding, hash: u64) -> Option<bool> {
        let cut = self.pending.get(binding)?;
        (cut.time_of(hash)? <= now).then_some(cut.rst)
    }

    /// A target of a listener became abnormal, or is no longer so; `alone`: there is none that could have its flows.
    pub(crate) fn on_health(
        &mut self,
        now: Instant,
        (id, clb): (ClbId, &Clb),
        (listener, server): (&Listener, (Address, u16)),
        (is_open, alone): (bool, bool),
    ) {
        if !listener.reschedule_on.unhealthy || !switch::is_on("P-LB08") {
            return;
        }
        if alone {
            for place in places(listener) {
                self.forgive(&Binding::to(id, listener, place), Why::Unhealthy);
            }
        } else if is_open {
            self.forgive(&Binding::to(id, listener, server), Why::Unhealthy);
        } else {
            let cut = Cut::moved(now, clb, (Why::Unhealthy, ALL));
            self.pend(Binding::to(id, listener, server), cut);
        }
        self.begin_due(now);
    }

    /// What was to be cut for that reason is not.
    fn forgive(&mut self, binding: &Binding, why: Why) {
        if self.pending.get(binding).is_some_and(|cut| cut.why == why) {
            self.pending.remove(binding);
            self.set_due_at();
        }
    }

    /// What another version of a listener moves away from targets that it keeps.
    fn reschedule(
        &mut self,
        now: Instant,
        (id, clb): (ClbId, &Clb),
        (old, new): (&Listener, &Listener),
    ) {
        let on = new.reschedule_on;
        if !(on.weight_zero || on.scale_out) || !switch::is_on("P-LB08") {
            return;
        }
        let mut weights: Vec<(Address, u16, u8)> = old.targets.iter().map(weighted).collect();
        weights.sort_unstable();
        let weight_before = |target: &Target| {
            let key = (target.address, target.port);
            let at = weights.binary_search_by_key(&key, |(address, port, _)| (*address, *port));
            at.ok().map(|at| weights[at].2)
        };
        let all: u64 = new.targets.iter().map(|it| u64::from(it.weight)).sum();
        let fresh = new.targets.iter().filter(|it| weight_before(it).is_none());
        let fresh: u64 = fresh.map(|it| u64::from(it.weight)).sum();
        for target in &new.targets {
            let Some(before) = weight_before(target) else {
                continue;
            };
            let binding = Binding::to(id, new, (target.address, target.port));
            if on.weight_zero && target.weight == 0 && before > 0 {
                self.pend(binding, Cut::moved(now, clb, (Why::Weightless, ALL)));
            } else if target.weight > 0 {
                self.forgive(&binding, Why::Weightless);
            }
            if on.scale_out && fresh > 0 && target.weight > 0 {
                let share = (u64::from(ALL) * fresh / all) as u32;
                self.pend(binding, Cut::moved(now, clb, (Why::Outgrown, share)));
            }
        }
    }

    /// Takes in what `new` unbinds and binds again, of the load balancers of `region`.
    pub(crate) fn apply(
        &mut self,
        now: Instant,
        old: &RouteTable,
        new: &RouteTable,
        region: Option<RegionId>,
    ) {
        let numbers: BTreeMap<&str, ClbId> = names(new).map(|(id, clb)| (&*clb.name, id)).collect();
        for (mut binding, cut) in core::mem::take(&mut self.pending) {
            let was = old.clbs.get(binding.clb.index());
            let id = was.and_then(|clb| numbers.get(&*clb.name));
            let Some((id, clb)) = id.and_then(|id| Some((*id, new.clbs.get(id.index())?))) else {
                continue; // gone as a whole
            };
            if binds(clb, &binding) == (cut.why != Why::Unbound) {
                binding.clb = id;
                self.pending.insert(binding, cut);
            }
        }
        for (_, was) in names(old) {
            let id = numbers.get(&*was.name).copied();
            let clb = id.and_then(|id| new.clbs.get(id.index()));
            if let (Some(id), Some(clb)) = (id, clb)
                && Some(clb.region) == region
            {
                self.unbind(now, was, clb, id);
            }
        }
        self.set_due_at();
        self.begin_due(now);
    }

    /// Takes in what the edits that lead to `new` unbind and bind again.
    pub(crate) fn amend(&mut self, now: Instant, new: &RouteTable, edits: &Edits<'_>) {
        let mut is_stale = false;
        for edit in &edits.listeners {
            let binding = |moved: &Moved| Binding {
                clb: edit.clb,
                protocol: edit.new.protocol,
                port: edit.new.port,
                target: moved.target,
                target_port: moved.port,
            };
            for come in edit.come.iter().map(binding) {
                let known = self.pending.remove(&come);
                is_stale |= known.is_some_and(|cut| cut.at == self.due_at);
            }
            let clb = &new.clbs[edit.clb.index()];
            self.reschedule(now, (edit.clb, clb), (edit.old, edit.new));
            let cut = Cut::unbound(now, clb, edit.new.reschedule_on.unbind);
            for gone in edit.gone.iter().filter(|gone| !gone.stays).map(binding) {
                self.pend(gone, cut);
            }
        }
        if is_stale {
            self.set_due_at();
        }
        self.begin_due(now);
    }

    /// Flows that are due are looked for. A walk under way goes on: what it did not know of is left for the next one,
    /// so that it ends however often targets are unbound.
    fn begin_due(&mut self, now: Instant) {
        let under_way = self.walk.is_some_and(|walk| walk.began < now);
        if self.due_at <= now && !under_way {
            self.walk = Some(Walk::begin(now));
        }
    }

    fn pend(&mut self, binding: Binding, cut: Cut) {
        let known = self.pending.get(&binding);
        let stands = known.is_some_and(|known| known.why == Why::Unbound);
        if !stands && (known.is_some() || self.pending.len() < PENDING_MAX) {
            self.pending.insert(binding, cut);
            self.due_at = self.due_at.min(cut.at);
        }
    }

    /// The walk over all flows that is to go on now.
    pub(crate) fn walk(&mut self, now: Instant) -> Option<Walk> {
        if self.walk.is_none() && self.due_at <= now {
            self.walk = Some(Walk::begin(now));
        }
        self.walk.filter(|walk| walk.at <= now)
    }

    /// The walk pauses until `at`.
    pub(crate) fn pause(&mut self, walk: Walk, at: Instant) {
        self.walk = Some(Walk { at, ..walk });
    }

    /// The walk has seen all flows. Another follows while some are still to be cut.
    pub(crate) fn end(&mut self, walk: Walk, now: Instant) {
        self.pending.retain(|_, cut| cut.ends() > walk.began);
        let under_way = self.pending.values().filter(|cut| cut.at <= walk.began);
        let next = under_way.map(|cut| {
            let pause = (cut.over / WALKS_PER_SPREAD).max(WALK_EVERY);
            cut.ends()
                .min(now + pause)
                .max(now + Duration::from_nanos(1))
        });
        self.walk = next.min().map(Walk::begin);
        self.set_due_at();
    }

    /// When flows are to be cut next.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let due_at = (self.due_at < Instant::FAR_FUTURE).then_some(self.due_at);
        self.walk.map(|walk| walk.at).or(due_at)
    }

    fn unbind(&mut self, now: Instant, was: &Clb, clb: &Clb, id: ClbId) {
        for before in &was.listeners {
            let after = listener(clb, before.protocol, before.port);
            if after.is_some_and(|after| Arc::ptr_eq(before, after)) {
                continue;
            }
            if let Some(after) = after {
                self.reschedule(now, (id, clb), (before, after));
            }
            let at_once = after.is_some_and(|after| after.reschedule_on.unbind);
            let cut = Cut::unbound(now, clb, at_once);
            let after = after.into_iter().flat_map(|after| places(after));
            let bound: BTreeSet<(Address, u16)> = after.collect();
            for (target, target_port) in places(before).filter(|place| !bound.contains(place)) {
                let binding = Binding {
                    clb: id,
                    protocol: before.protocol,
                    port: before.port,
                    target,
                    target_port,
                };
                self.pend(binding, cut);
            }
        }
    }

    fn set_due_at(&mut self) {
        let earliest = self.pending.values().map(|cut| cut.at).min();
        self.due_at = earliest.unwrap_or(Instant::FAR_FUTURE);
    }
}

impl Walk {
    const fn begin(now: Instant) -> Walk {
        Walk {
            next: 0,
            began: now,
            at: now,
        }
    }
}

const fn weighted(target: &Target) -> (Address, u16, u8) {
    (target.address, target.port, target.weight)
}

fn names(table: &RouteTable) -> impl Iterator<Item = (ClbId, &Clb)> {
    (0..).map(ClbId).zip(table.clbs.iter().map(|clb| &**clb))
}

fn listener(clb: &Clb, protocol: u8, port: u16) -> Option<&Arc<Listener>> {
    let is_it = |listener: &&Arc<Listener>| (listener.protocol, listener.port) == (protocol, port);
    clb.listeners.iter().find(is_it)
}

fn places(listener: &Listener) -> impl Iterator<Item = (Address, u16)> {
    let targets = listener.targets.iter();
    targets.map(|target| (target.address, target.port))
}

fn binds(clb: &Clb, binding: &Binding) -> bool {
    let listener = listener(clb, binding.protocol, binding.port);
    let is_it = |place| place == (binding.target, binding.target_port);
    listener.is_some_and(|listener| places(listener).any(is_it))
}
