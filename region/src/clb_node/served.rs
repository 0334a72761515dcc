//! What a CLB node serves: the VIPs of its region and their listeners, each with its place in the rounds.
//!
//! Derived from a route table when it is applied, so that a packet asks one small hash table whether its
//! destination is a VIP. A listener that stays, by the names of its load balancer and its own, keeps its
//! schedule across versions.
//!
//! Invariant: `clbs` is indexed by `ClbId`; load balancers of other regions are there without listeners.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Event;
use anyedge_net::flow::{Address, Family, FlowKey};
use anyedge_net::id::{ClbId, RegionId};
use anyedge_net::outbox::Outbox;
use anyedge_net::rng::Rng;
use anyedge_net::route_table::{Clb, FlowLimits, Listener, RouteTable, Target};
use anyedge_net::switch;
use anyedge_net::time::Instant;
use anyedge_net::wire::toa::Toa;
use anyedge_net::wire::{ip, tcp};
use hashbrown::HashTable;

use super::gossip::ClbTag;
use super::slot_part::SlotPart;
use super::vip_tags::{VipTag, VipTags};
use crate::edits::{Edits, ListenerEdit};
use crate::health::{Checks, Watched};
use crate::loads::{Loads, Servers};
use crate::scheduler::{Newcomer, OpenTargets, Schedule};
use crate::telling::Telling;

/// The load balancers of a region.
#[derive(Default)]
pub(super) struct Served {
    vips: HashTable<(Address, ClbId)>,
    tags: VipTags,
    clbs: Vec<ServedClb>,
    /// By the number of the listener: its load balancer, its place there, and the number that it had before.
    places: Vec<(ClbId, u16, Option<u16>)>,
}

#[derive(Default)]
struct ServedClb {
    name: String,
    /// One of its VIPs.
    vip: Option<Address>,
    /// What the MSS is clamped to fit.
    inner_mtu: u16,
    fail_open: bool,
    limits: FlowLimits,
    opened: Opened,
    listeners: Vec<ServedListener>,
}

/// A listener and its place in the rounds.
pub(super) struct ServedListener {
    listener: Arc<Listener>,
    schedule: Schedule,
    open: OpenTargets,
    /// Whether it was told last that all targets are abnormal.
    told: bool,
    number: u16,
    opened: Opened,
}

/// The flows that a listener, or a load balancer, opened within a second.
#[derive(Clone, Copy, Default)]
struct Opened {
    second: u64,
    flows: u32,
}

/// What was served before, to be taken over by name.
struct Before(BTreeMap<String, BeforeClb>);

/// A load balancer that was served before; nothing, if there was none of that name.
#[derive(Default)]
struct BeforeClb {
    fail_open: Option<bool>,
    opened: Opened,
    listeners: Vec<Option<ServedListener>>,
}

impl Before {
    fn new(clbs: Vec<ServedClb>) -> Before {
        let named = clbs.into_iter().map(|clb| {
            let before = BeforeClb {
                fail_open: Some(clb.fail_open),
                opened: clb.opened,
                listeners: clb.listeners.into_iter().map(Some).collect(),
            };
            (clb.name, before)
        });
        Before(named.collect())
    }

    fn take(&mut self, clb: &str) -> BeforeClb {
        self.0.remove(clb).unwrap_or_default()
    }
}

impl BeforeClb {
    /// The listener of that name, which most often still is at that place.
    fn take(&mut self, place: usize, name: &str) -> Option<ServedListener> {
        let is_it = |listener: &Option<ServedListener>| {
            let listener = listener.as_ref();
            listener.is_some_and(|served| served.listener.name == name)
        };
        let place = match self.listeners.get(place) {
            Some(listener) if is_it(listener) => place,
            _ => self.listeners.iter().position(is_it)?,
        };
        self.listeners[place].take()
    }
}

impl ServedClb {
    /// A load balancer of `table`, without its listeners.
    fn of(clb: &Clb, table: &RouteTable) -> ServedClb {
        ServedClb {
            name: clb.name.clone(),
            vip: None,
            inner_mtu: if table.mechanisms.mss_clamp {
                clb.inner_mtu
            } else {
                u16::MAX
            },
            fail_open: clb.fail_open && table.mechanisms.fail_open && switch::is_on("P-HC03"),
            limits: clb.limits,
            opened: Opened::default(),
            listeners: Vec::new(),
        }
    }
}

impl ServedListener {
    /// Whether it is that listener with those targets open.
    fn is(&self, listener: &Arc<Listener>, is_open: impl Fn(usize) -> bool) -> bool {
        let targets = 0..listener.targets.len();
        Arc::ptr_eq(&self.listener, listener)
            && targets
                .into_iter()
                .all(|at| self.open.is_open(at) == is_open(at))
    }

    /// Goes on as the listener after the edit.
    fn amend(
        &mut self,
        edit: &ListenerEdit<'_>,
        fail_open: bool,
        (checks, stream): (&Checks, impl FnOnce() -> Rng),
    ) {
        let same_checks = edit.old.health == edit.new.health;
        let targets = &edit.new.targets;
        let is_open = |at: usize| {
            let before = edit.place_before(at).filter(|_| same_checks);
            let asked = || checks.is_open(edit.clb, edit.new.health.as_ref(), &targets[at]);
            before.map_or_else(asked, |before| self.open.is_open(before))
        };
        let open = OpenTargets::new(targets, fail_open, is_open);
        let schedule = core::mem::replace(&mut self.schedule, Schedule::Table);
        self.schedule = Schedule::of(edit.new, &open, Some(schedule), stream);
        self.listener = Arc::clone(edit.new);
        self.open = open;
    }

    /// Its number among the listeners of this node, for as long as these routes are in force.
    pub(super) const fn number(&self) -> u16 {
        self.number
    }

    /// Seconds that its established flows may be silent; 0: as long as any.
    pub(super) fn idle_s(&self) -> u16 {
        let idle = self.listener.idle_timeout.map(|idle| idle.as_secs());
        idle.map_or(0, |seconds| u16::try_from(seconds).unwrap_or(0))
    }

    /// How the target of a flow is told who its client is.
    pub(super) fn telling(&self, flow: &FlowKey) -> Telling {
        Telling::of(self.listener.source, flow)
    }

    /// The option that its targets are told of clients by.
    pub(super) fn toa(&self) -> Option<Toa> {
        self.listener.source.toa
    }

    /// As the routes have it.
    pub(super) fn listener(&self) -> &Listener {
        &self.listener
    }

    /// The target of a new flow. `loads` are those of its targets, where they are counted.
    pub(super) fn pick(&mut self, newcomer: Newcomer, loads: Option<&Servers>) -> Option<Target> {
        self.schedule
            .pick(&self.listener, &self.open, newcomer, loads)
            .copied()
    }

    /// The target with that address and port, if it may take a new flow.
    pub(super) fn target_at(&self, server: (Address, u16)) -> Option<Target> {
        let at = place_of(&self.listener.targets, server, 0)?;
        let target = self.listener.targets[at];
        let takes = target.weight > 0 && self.open.takes(at, target.address.family());
        takes.then_some(target)
    }

    /// Whether the target at that place was found well.
    pub(super) fn is_well(&self, at: usize) -> bool {
        self.open.is_open(at)
    }

    /// Whether the target at that place, of that family, may take a new flow.
    pub(super) fn takes(&self, at: usize, family: Family) -> bool {
        self.open.takes(at, family)
    }

    /// Whether a client that this server refused may find another.
    pub(super) fn has_other_than(&self, server: (Address, u16)) -> bool {
        let family = server.0.family();
        let mut others = self.listener.targets.iter().enumerate();
        others.any(|(at, target)| {
            let is_other = (target.address, target.port) != server;
            let fits = target.weight > 0 && target.address.family() == family;
            is_other && fits && self.open.takes(at, family)
        })
    }

    /// Whether one flow more is within the listener's limits, of which this node has the part `part`. `active` are the
    /// flows that it has here.
    pub(super) fn has_room(
        &mut self,
        now: Instant,
        active: u32,
        part: SlotPart,
    ) -> Result<(), DropReason> {
        if !switch::is_on("P-LB09") {
            return Ok(());
        }
        has_room(self.listener.limits, &mut self.opened, now, active, part)
    }

    /// A flow was opened.
    pub(super) fn count_opened(&mut self) {
        self.opened.count();
    }

    /// Tells when all targets became abnormal, or no longer are.
    fn tell(&mut self, clb: ClbId, listener: u16, out: &mut Outbox) {
        let begins = self.open.is_all_shut();
        if self.told != begins {
            self.told = begins;
            out.event(Event::AllTargetsAbnormal {
                clb,
                listener,
                begins,
            });
        }
    }
}

impl Opened {
    fn count(&mut self) {
        self.flows = self.flows.saturating_add(1);
    }
}

impl Served {
    /// Whether one flow more is within the limits of the load balancer over all of its listeners, of which this node
    /// has the part `part`.
    pub(super) fn has_room(
        &mut self,
        now: Instant,
        clb: ClbId,
        loads: &Loads,
        part: SlotPart,
    ) -> Result<(), DropReason> {
        let Some(clb) = self.clbs.get_mut(clb.index()) else {
            return Ok(());
        };
        if clb.limits == FlowLimits::default() || !switch::is_on("P-LB10") {
            return Ok(());
        }
        let listeners = clb.listeners.iter();
        let active = listeners.map(|served| loads.active_of(served.number)).sum();
        has_room(clb.limits, &mut clb.opened, now, active, part)
    }

    /// A flow was opened at a listener of the load balancer.
    pub(super) fn count_opened(&mut self, clb: ClbId) {
        if let Some(clb) = self.clbs.get_mut(clb.index()) {
            clb.opened.count();
        }
    }

    /// What `table` says that `region` serves. Schedules go on, among the targets that `checks` find open; a listener
    /// that is the same, with the same targets open, goes on as if nothing had happened. `stream` gives the
    /// randomness of a listener, named by its load balancer and itself.
    pub(super) fn renewed(
        self,
        table: &RouteTable,
        region: Option<RegionId>,
        checks: &Checks,
        stream: impl Fn(&str, &str) -> Rng,
    ) -> Served {
        let mut before = Before::new(self.clbs);
        let mut fresh = Served::default();
        for (id, clb) in (0..).map(ClbId).zip(&table.clbs) {
            let mut served = ServedClb::of(clb, table);
            let here = Some(clb.region) == region;
            let mut old_clb = before.take(&clb.name);
            served.opened = old_clb.opened;
            let same_clb = old_clb.fail_open == Some(served.fail_open);
            for (index, listener) in clb.listeners.iter().enumerate().filter(|_| here) {
                let old = old_clb.take(index, &listener.name);
                let number = fresh.places.len() as u16;
                let old_number = old.as_ref().map(|old| old.number);
                fresh.places.push((id, index as u16, old_number));
                let is_open =
                    |at: usize| checks.is_open(id, listener.health.as_ref(), &listener.targets[at]);
                let next = match old {
                    Some(same) if same_clb && same.is(listener, is_open) => {
                        ServedListener { number, ..same }
                    }
                    old => {
                        let open = OpenTargets::new(&listener.targets, served.fail_open, is_open);
                        let told = old.as_ref().is_some_and(|old| old.told);
                        let opened = old.as_ref().map(|old| old.opened);
                        let schedule = old.map(|old| old.schedule);
                        let stream = || stream(&clb.name, &listener.name);
                        let schedule = Schedule::of(listener, &open, schedule, stream);
                        ServedListener {
                            listener: Arc::clone(listener),
                            schedule,
                            open,
                            told,
                            number,
                            opened: opened.unwrap_or_default(),
                        }
                    }
                };
                served.listeners.push(next);
            }
            fresh.clbs.push(served);
        }
        fresh.take_vips(table, region);
        fresh
    }

    fn take_vips(&mut self, table: &RouteTable, region: Option<RegionId>) {
        for (address, vip) in &table.vips {
            let clb = table.clbs.get(vip.clb.index());
            if clb.is_some_and(|clb| Some(clb.region) == region) {
                let place = (*address, vip.clb);
                let hasher = |(address, _): &(Address, ClbId)| spread(address);
                self.vips.insert_unique(spread(address), place, hasher);
                if let Some(served) = self.clbs.get_mut(vip.clb.index()) {
                    served.vip.get_or_insert(*address);
                }
            }
        }
        self.tags = VipTags::of(self.vips.iter().map(|(vip, _)| *vip));
    }

    /// Takes over what `old` and `table`, which differ by `edits`, have not in common; tells of listeners whose targets
    /// are all abnormal from here on, or no longer so.
    pub(super) fn amend(
        &mut self,
        (old, table): (&RouteTable, &RouteTable),
        edits: &Edits<'_>,
        (checks, stream): (&Checks, impl Fn(&str, &str) -> Rng),
        out: &mut Outbox,
    ) {
        for (served, (was, clb)) in self.clbs.iter_mut().zip(old.clbs.iter().zip(&table.clbs)) {
            if !was.is(clb) {
                let listeners = core::mem::take(&mut served.listeners);
                *served = ServedClb {
                    listeners,
                    vip: served.vip,
                    opened: served.opened,
                    ..ServedClb::of(clb, table)
                };
            }
        }
        for edit in &edits.listeners {
            let clb = &mut self.clbs[edit.clb.index()];
            let served = &mut clb.listeners[usize::from(edit.place)];
            let stream = || stream(&clb.name, &edit.new.name);
            served.amend(edit, clb.fail_open, (checks, stream));
            served.tell(edit.clb, edit.place, out);
        }
    }

    /// The target of a check may take new flows, or no longer, by its health. `told` hears of each listener that has
    /// it, with whether all targets of a family are shut there.
    pub(super) fn set_open(
        &mut self,
        watched: &Watched,
        open: bool,
        mut told: impl FnMut(&Listener, bool),
        out: &mut Outbox,
    ) {
        let Some(clb) = self.clbs.get_mut(watched.clb.index()) else {
            return;
        };
        for used in &watched.uses {
            let Some(served) = clb.listeners.get_mut(usize::from(used.listener)) else {
                continue;
            };
            let targets = &served.listener.targets;
            let server = (watched.target, watched.port);
            if let Some(at) = place_of(targets, server, usize::from(used.near)) {
                served.open.set(at, &targets[at], open);
                told(&served.listener, served.open.is_all_shut());
                served.tell(watched.clb, used.listener, out);
            }
        }
    }

    /// Tells of every listener whose targets all became abnormal with a new version of the routes, or of
    /// which that no longer holds.
    pub(super) fn tell(&mut self, out: &mut Outbox) {
        for (clb, id) in self.clbs.iter_mut().zip(0..) {
            for (served, place) in clb.listeners.iter_mut().zip(0..) {
                served.tell(ClbId(id), place, out);
            }
        }
    }

    /// The load balancer behind a VIP of this region.
    #[inline]
    pub(super) fn clb_of(&self, vip: &Address) -> Option<ClbId> {
        self.vips
            .find(spread(vip), |(address, _)| address == vip)
            .map(|(_, clb)| *clb)
    }

    /// Whether `vip` is one of this load balancer's, which as a rule has one.
    #[inline]
    pub(super) fn is_vip_of(&self, vip: &Address, clb: ClbId) -> bool {
        let first = self.clbs.get(clb.index()).and_then(|clb| clb.vip);
        first == Some(*vip) || self.clb_of(vip) == Some(clb)
    }

    /// The VIP of this region that a tag in an entry means.
    pub(super) fn vip_of(&self, tag: VipTag, family: Family) -> Option<Address> {
        self.tags.vip(tag, family)
    }

    /// The listener of a load balancer on a port.
    pub(super) fn listener(
        &mut self,
        clb: ClbId,
        protocol: u8,
        port: u16,
    ) -> Option<&mut ServedListener> {
        let clb = self.clbs.get_mut(clb.index())?;
        let is_it = |served: &&mut ServedListener| {
            served.listener.protocol == protocol && served.listener.port == port
        };
        clb.listeners.iter_mut().find(is_it)
    }

    /// All listeners.
    pub(super) fn listeners(&self) -> impl Iterator<Item = &ServedListener> {
        self.clbs.iter().flat_map(|clb| &clb.listeners)
    }

    /// All listeners, each with the name of its load balancer.
    pub(super) fn listeners_by_clb(&self) -> impl Iterator<Item = (&str, &ServedListener)> {
        let clbs = self.clbs.iter();
        clbs.flat_map(|clb| clb.listeners.iter().map(|served| (&*clb.name, served)))
    }

    /// The load balancer that a tag means, the first if several share it.
    pub(super) fn clb_tagged(&self, tag: ClbTag) -> Option<ClbId> {
        let is_it = |clb: &ServedClb| ClbTag::of(&clb.name) == tag;
        let at = self.clbs.iter().position(is_it)?;
        Some(ClbId(at as u16))
    }

    /// The listener at a place of a load balancer.
    pub(super) fn listener_at(&self, clb: ClbId, place: u16) -> Option<&ServedListener> {
        let clb = self.clbs.get(clb.index())?;
        clb.listeners.get(usize::from(place))
    }

    /// Where each listener is, by its number, and the number that it had in the version before.
    pub(super) fn places(&self) -> &[(ClbId, u16, Option<u16>)] {
        &self.places
    }

    /// The largest TCP segment, in bytes, that every path of the load balancer's flows carries.
    #[inline]
    pub(super) fn mss_max(&self, clb: ClbId, family: Family) -> Option<u16> {
        let clb = self.clbs.get(clb.index())?;
        let headers = ip::header_len(family) + tcp::HEADER_LEN;
        Some(clb.inner_mtu.saturating_sub(headers as u16))
    }
}

/// Whether one flow more is within this node's part of `limits`, beside those that are `active` and were `opened`.
fn has_room(
    limits: FlowLimits,
    opened: &mut Opened,
    now: Instant,
    active: u32,
    part: SlotPart,
) -> Result<(), DropReason> {
    let is_reached =
        |most: Option<u32>, flows: u32| most.is_some_and(|most| flows >= part.of(most));
    if is_reached(limits.connections_max, active) {
        return Err(DropReason::ConnectionsMax);
    }
    if limits.per_second_max.is_none() {
        return Ok(());
    }
    let second = now.as_nanos() / 1_000_000_000;
    if opened.second != second {
        *opened = Opened { second, flows: 0 };
    }
    if is_reached(limits.per_second_max, opened.flows) {
        return Err(DropReason::PerSecondMax);
    }
    Ok(())
}

/// The place of a server among targets, which is not far from `near`.
fn place_of(targets: &[Target], server: (Address, u16), near: usize) -> Option<usize> {
    let by_port = switch::is_on("S-BE15");
    let is_it =
        |target: &Target| target.address == server.0 && (target.port == server.1 || !by_port);
    let near = if by_port { near } else { usize::MAX }.min(targets.len());
    let (before, after) = targets.split_at(near);
    let mut ahead = after.iter().zip(near..);
    let mut behind = before.iter().rev().zip((0..near).rev());
    loop {
        let (next, previous) = (ahead.next(), behind.next());
        if next.is_none() && previous.is_none() {
            return None;
        }
        let mut both = next.into_iter().chain(previous);
        if let Some((_, at)) = both.find(|(target, _)| is_it(target)) {
            return Some(at);
        }
    }
}

/// Spreads VIPs over the table. They are the operator's, so no secret is needed; equal on every platform.
#[inline]
fn spread(address: &Address) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |bits: u64| {
        let wide = u128::from(bits) * u128::from(ODD);
        (wide >> 64) as u64 ^ wide as u64
    };
    match (address.v4_octets(), address.v6_octets()) {
        (Some(octets), _) => fold(u64::from(u32::from_be_bytes(octets))),
        (_, octets) => {
            let wide = u128::from_be_bytes(octets.unwrap_or_default());
            fold((wide >> 64) as u64).wrapping_add(fold(wide as u64))
        }
    }
}
