//! Renewal: the checks that a new version of the routes asks for, all of them laid anew.
//!
//! A check that stays, by the name of its load balancer, its server and how it is asked for, goes on as if
//! nothing had happened; `successor` has the rest. It is what a node does when names changed, and with them ids;
//! where only targets did, `amendment` comes to the same at less cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_net::flow::{Address, Family};
use anyedge_net::id::{ClbId, NodeId, RegionId};
use anyedge_net::outbox::Outbox;
use anyedge_net::rng::Rng;
use anyedge_net::route_table::{Clb, Listener, ProbeSource, RouteTable, Target};
use anyedge_net::switch;
use anyedge_net::time::Instant;

use super::Checks;
use super::roster::{Group, Roster, Use, Watched};
use super::source::{Ports, own_slot};
use super::successor::{Successor, WantedOfServer};
use crate::snat::is_nat64;

/// A new version of the routes, as seen by one node.
pub(crate) struct Change<'a> {
    pub(crate) old: &'a RouteTable,
    pub(crate) new: &'a RouteTable,
    pub(crate) region: Option<RegionId>,
    pub(crate) own: NodeId,
    pub(crate) now: Instant,
}

impl Checks {
    /// The checks that a new version of the routes asks for; those that stay go on. `stream` gives the
    /// randomness of a check, named by its load balancer and its server.
    pub(crate) fn renewed(
        self,
        change: &Change<'_>,
        stream: impl Fn(&str) -> Rng,
        out: &mut Outbox,
    ) -> Checks {
        let Change { new, now, .. } = *change;
        let mut fresh = Checks {
            vips: vips(new),
            slot: self.slot,
            started: self.started,
            ..Checks::default()
        };
        fresh.check_from(change);
        let mut before = by_group(self.roster, change);
        let successor = Successor { now, new, stream };
        for (group, wanted) in wanted(change, &fresh.vips, self.started) {
            let vip = fresh.vips[&(group.0, group.1.family())];
            let old = before.remove(&group).unwrap_or_default();
            successor.follow((group, vip), old, wanted, &mut fresh.roster, out);
        }
        let ended: Vec<Group> = before.into_keys().collect();
        successor.tell_of_closed(&ended, out);
        fresh
    }

    /// Chooses the slot and the ports that checks are sent from.
    pub(super) fn check_from(&mut self, change: &Change<'_>) {
        let region = change.region;
        let region = region.and_then(|region| change.new.regions.get(region.index()));
        self.ports = region.map_or(Ports::default(), |region| Ports::of(region, change.own));
        self.slot = region.and_then(|region| own_slot(region, change.own, self.slot));
        self.started |= region.is_some();
    }
}

/// The checks that the routes ask for, in the order of their servers. `started`: targets that nobody had are new.
fn wanted(
    change: &Change<'_>,
    vips: &BTreeMap<(ClbId, Family), Address>,
    started: bool,
) -> BTreeMap<Group, WantedOfServer> {
    let mut wanted: BTreeMap<Group, WantedOfServer> = BTreeMap::new();
    let Some(region) = change.region.filter(|_| change.new.mechanisms.health) else {
        return wanted;
    };
    let named = by_name(change.old);
    for (id, clb) in (0..).map(ClbId).zip(&change.new.clbs) {
        let old = named
            .get(&*clb.name)
            .map(|id| &*change.old.clbs[id.index()]);
        for (place, listener) in (0..).zip(&clb.listeners) {
            let Some(asked) = listener.health.as_ref().filter(|_| clb.region == region) else {
                continue;
            };
            let had = bound_before(old, listener);
            let numbered = (0..).zip(&listener.targets);
            for (near, target) in numbered.filter(|(_, target)| is_probed(target)) {
                // Without a VIP of its family a target gets no flow, and no check could come from one.
                if !vips.contains_key(&(id, target.address.family())) {
                    continue;
                }
                let group = (id, target.address, target.port);
                let of_server = wanted.entry(group).or_default();
                let wanted = of_server.entry(asked.clone()).or_default();
                let is_bound = had.binary_search(&(target.address, target.port)).is_ok();
                wanted.known |= !started || is_bound;
                wanted.uses.push(Use {
                    listener: place,
                    near,
                    host: target.host,
                });
            }
        }
    }
    wanted
}

/// Whether a target is checked: whatever its weight.
fn is_probed(target: &Target) -> bool {
    target.weight > 0 || switch::is_on("P-HC04")
}

/// The targets that a listener had, sorted; `clb` is its load balancer as it was.
fn bound_before(clb: Option<&Clb>, listener: &Arc<Listener>) -> Vec<(Address, u16)> {
    let listeners = clb.into_iter().flat_map(|clb| &clb.listeners);
    let same = listeners.filter(|before| before.name == listener.name);
    let mut had: Vec<_> = same.flat_map(|before| places(&before.targets)).collect();
    had.sort_unstable();
    had
}

/// Addresses and ports of targets.
pub(super) fn places(targets: &[Target]) -> impl Iterator<Item = (Address, u16)> {
    targets.iter().map(|target| (target.address, target.port))
}

/// The lowest VIP of each load balancer and family, which checks come from; of NAT64 what none has.
fn vips(table: &RouteTable) -> BTreeMap<(ClbId, Family), Address> {
    let mut vips = BTreeMap::new();
    for (address, vip) in &table.vips {
        vips.entry((vip.clb, address.family())).or_insert(*address);
    }
    for (id, clb) in (0..).map(ClbId).zip(&table.clbs) {
        if is_nat64(clb) && vips.contains_key(&(id, Family::V6)) {
            vips.entry((id, Family::V4)).or_insert(ProbeSource::BLOCK);
        }
    }
    vips
}

fn by_name(table: &RouteTable) -> BTreeMap<&str, ClbId> {
    let names = table.clbs.iter().map(|clb| clb.name.as_str());
    names.zip((0..).map(ClbId)).collect()
}

/// The checks of a roster by the new ids of their load balancers; those of load balancers that are gone are left out.
fn by_group(roster: Roster, change: &Change<'_>) -> BTreeMap<Group, Vec<Watched>> {
    let named = by_name(change.new);
    let ids: Vec<Option<ClbId>> = change
        .old
        .clbs
        .iter()
        .map(|clb| named.get(&*clb.name).copied())
        .collect();
    let mut groups: BTreeMap<Group, Vec<Watched>> = BTreeMap::new();
    for watched in roster.into_all() {
        if let Some(id) = ids.get(watched.clb.index()).copied().flatten() {
            let group = (id, watched.target, watched.port);
            groups.entry(group).or_default().push(watched);
        }
    }
    for of_server in groups.values_mut() {
        of_server.sort_by(|one, other| one.asked.cmp(&other.asked));
    }
    groups
}
