//! Unbinding: the targets that left their listeners, and when the flows that they still have are to be cut.
//!
//! Derived from two versions of the routes that follow one another: a target that the older one had in a listener
//! and the newer one has not is unbound, at once or after the load balancer's drain. One that is bound again in
//! the meantime is forgotten here, and its flows go on. A listener that is gone unbinds all its targets; a load
//! balancer that is gone as a whole unbinds nothing.
//!
//! Invariant: `due_at` is the earliest instant of all that are pending.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyedge_net::flow::Address;
use anyedge_net::id::{ClbId, RegionId};
use anyedge_net::route_table::{Clb, Listener, RouteTable};
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
    /// What a flow goes by.
    pub(crate) const fn of(flow: &Flow) -> Binding {
        Binding {
            clb: flow.clb,
            protocol: flow.key.protocol,
            port: flow.key.dst_port,
            target: flow.target,
            target_port: flow.target_port,
        }
    }
}

/// How the flows of an unbound target end.
#[derive(Clone, Copy, Debug)]
struct Cut {
    at: Instant,
    rst: bool,
}

impl Cut {
    /// Of the targets that `clb` loses now.
    fn of(now: Instant, clb: &Clb) -> Cut {
        Cut {
            at: match clb.unbind_drain {
                None if !switch::is_on("S-BE12") => now + Duration::from_secs(3_600),
                drain => now + drain.unwrap_or_default(),
            },
            rst: clb.rst_on_unbind,
        }
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

    /// Whether flows of `binding` are to be cut, and then whether by RST.
    pub(crate) fn due(&self, now: Instant, binding: &Binding) -> Option<bool> {
        let cut = self.pending.get(binding)?;
        (cut.at <= now).then_some(cut.rst)
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
            if !binds(clb, &binding) {
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
            let cut = Cut::of(now, &new.clbs[edit.clb.index()]);
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
        if self.pending.len() < PENDING_MAX {
            let cut = self.pending.entry(binding).or_insert(cut);
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

    /// The walk has seen all flows.
    pub(crate) fn end(&mut self, walk: Walk) {
        self.pending.retain(|_, cut| cut.at > walk.began);
        self.walk = None;
        self.set_due_at();
    }

    /// When flows are to be cut next.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let due_at = (self.due_at < Instant::FAR_FUTURE).then_some(self.due_at);
        self.walk.map(|walk| walk.at).or(due_at)
    }

    fn unbind(&mut self, now: Instant, was: &Clb, clb: &Clb, id: ClbId) {
        let cut = Cut::of(now, clb);
        for before in &was.listeners {
            let after = listener(clb, before.protocol, before.port);
            if after.is_some_and(|after| Arc::ptr_eq(before, after)) {
                continue;
            }
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
