//! Renewal: the checks that a new version of the routes asks for.
//!
//! A check that stays, by the name of its load balancer, its server and how it is asked for, goes on as if
//! nothing had happened. A server that is checked in another way keeps its health. A target that its listener
//! had before, but did not check, is alive; one that its listener did not have is new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyedge_net::event::Health;
use anyedge_net::flow::{Address, Family};
use anyedge_net::id::{ClbId, NodeId, RegionId};
use anyedge_net::outbox::Outbox;
use anyedge_net::rng::Rng;
use anyedge_net::route_table::{HealthCheck, Listener, RouteTable, Target};
use anyedge_net::time::Instant;

use super::check::Check;
use super::source::{Ports, own_slot};
use super::{Checks, Use, Watched, tell};

/// A new version of the routes, as seen by one node.
pub(crate) struct Change<'a> {
    pub(crate) old: &'a RouteTable,
    pub(crate) new: &'a RouteTable,
    pub(crate) region: Option<RegionId>,
    pub(crate) own: NodeId,
    pub(crate) now: Instant,
    /// The node has the number and the region that it had.
    pub(crate) in_place: bool,
}

/// What identifies a check.
type Server = (ClbId, Address, u16, HealthCheck);

/// What the routes want of a check.
struct Wanted {
    host: NodeId,
    vip: Address,
    uses: Vec<Use>,
}

impl Checks {
    /// Goes on with the same checks, if that is what a new version of the routes asks for: other weights are the
    /// change that comes most often, and 100,000 checks are not laid anew for one. Whether it did.
    pub(crate) fn go_on(&mut self, change: &Change<'_>) -> bool {
        let region = change
            .region
            .and_then(|region| change.new.regions.get(region.index()));
        let Some(region) = region.filter(|_| self.started && change.targets_alike()) else {
            return false;
        };
        self.ports = Ports::of(region, change.own);
        self.slot = own_slot(region, change.own, self.slot);
        true
    }

    /// The checks that a new version of the routes asks for; those that stay go on. `stream` gives the
    /// randomness of a check, named by its load balancer and its server.
    pub(crate) fn renewed(
        self,
        change: &Change<'_>,
        stream: impl Fn(&str) -> Rng,
        out: &mut Outbox,
    ) -> Checks {
        let Change { new, now, .. } = *change;
        let region = change
            .region
            .and_then(|region| new.regions.get(region.index()));
        let mut fresh = Checks {
            ports: region.map_or(Ports::default(), |region| Ports::of(region, change.own)),
            slot: region.and_then(|region| own_slot(region, change.own, self.slot)),
            started: self.started || region.is_some(),
            ..Checks::default()
        };
        let bound_before = bound(change.old);
        let is_known = |wanted: &Wanted| {
            let places = wanted.uses.iter();
            !self.started
                || places
                    .map(|place| place.names(new))
                    .any(|names| bound_before.contains(&names))
        };
        let mut before = by_name(self.watched, change.old);
        for ((clb, target, port, asked), wanted) in wanted(change) {
            let name = new.clbs[clb.index()].name.as_str();
            let server = (name.to_owned(), target, port);
            let mut rng = stream(&format!("health {name}/{target}:{port}"));
            let phase = rng.up_to(Check::phase_max(asked));
            let old = take_of(&mut before, &server, asked);
            let (turn, sequence) = match &old {
                Some(old) => (old.turn, old.sequence),
                None => (rng.bits() as u16, rng.bits() as u32),
            };
            let check = match old {
                Some(same) if same.asked == asked => same.check,
                Some(other) => other.check.asked_anew(asked, now, phase),
                None if is_known(&wanted) => Check::of_known(asked, now, phase),
                None => {
                    tell(target, port, Health::Detecting, out);
                    Check::of_new(asked, now, phase)
                }
            };
            let first_use = fresh.uses.len();
            fresh.uses.extend(wanted.uses);
            fresh.watched.push(Watched {
                clb,
                vip: wanted.vip,
                target,
                port,
                host: wanted.host,
                asked,
                check,
                turn,
                sequence,
                uses: first_use..fresh.uses.len(),
            });
        }
        fresh.tell_of_closed(before, new, out);
        fresh.index();
        fresh
    }

    /// Tells of servers that are no longer checked and yet still there.
    fn tell_of_closed(&self, before: ByName, new: &RouteTable, out: &mut Outbox) {
        let name = |watched: &Watched| new.clbs[watched.clb.index()].name.as_str();
        let checked: BTreeSet<(&str, Address, u16)> = self
            .watched
            .iter()
            .map(|watched| (name(watched), watched.target, watched.port))
            .collect();
        let bound: BTreeSet<(&str, Address, u16)> = bound(new)
            .into_iter()
            .map(|(clb, _, target, port)| (clb, target, port))
            .collect();
        for ((name, target, port), left) in before {
            let server = (name.as_str(), target, port);
            if !left.is_empty() && bound.contains(&server) && !checked.contains(&server) {
                tell(target, port, Health::Closed, out);
            }
        }
    }
}

impl Use {
    /// The target's names in the table that the places are of.
    fn names(self, table: &RouteTable) -> Names<'_> {
        let clb = &table.clbs[self.clb.index()];
        let listener = &clb.listeners[usize::from(self.listener)];
        let target = &listener.targets[usize::from(self.target)];
        (&clb.name, &listener.name, target.address, target.port)
    }
}

impl Change<'_> {
    /// Whether both versions have the same nodes, VIPs and targets at the same places, checked in the same way.
    pub(crate) fn targets_alike(&self) -> bool {
        let Change { old, new, .. } = *self;
        let nodes = old.nodes.iter().map(|node| &node.name);
        let regions = old.regions.iter().map(|region| &region.name);
        let vips = old.vips.iter().map(|(address, vip)| (address, vip.clb));
        self.in_place
            && old.mechanisms.health == new.mechanisms.health
            && nodes.eq(new.nodes.iter().map(|node| &node.name))
            && regions.eq(new.regions.iter().map(|region| &region.name))
            && vips.eq(new.vips.iter().map(|(address, vip)| (address, vip.clb)))
            && old.clbs.len() == new.clbs.len()
            && old.clbs.iter().zip(&new.clbs).all(|(old, new)| {
                (&old.name, old.region) == (&new.name, new.region)
                    && old.listeners.len() == new.listeners.len()
                    && old.listeners.iter().zip(&new.listeners).all(checks_alike)
            })
    }
}

fn checks_alike((old, new): (&Arc<Listener>, &Arc<Listener>)) -> bool {
    let are_alike = || {
        let names = [&old.name, &new.name];
        names[0] == names[1] && old.health == new.health && servers(old).eq(servers(new))
    };
    Arc::ptr_eq(old, new) || are_alike()
}

fn servers(listener: &Listener) -> impl Iterator<Item = (Address, u16, NodeId)> {
    let targets = listener.targets.iter();
    targets.map(|target| (target.address, target.port, target.host))
}

/// The checks that the routes ask for, in the order of their servers.
fn wanted(change: &Change<'_>) -> BTreeMap<Server, Wanted> {
    let mut wanted = BTreeMap::new();
    let Some(region) = change.region.filter(|_| change.new.mechanisms.health) else {
        return wanted;
    };
    let vips = vips(change.new);
    for (clb, id) in change
        .new
        .clbs
        .iter()
        .zip(0..)
        .map(|(clb, id)| (clb, ClbId(id)))
    {
        for (listener, place) in clb.listeners.iter().zip(0_u16..) {
            let Some(asked) = listener.health.filter(|_| clb.region == region) else {
                continue;
            };
            for (target, at) in listener.targets.iter().zip(0_u16..) {
                // Without a VIP of its family a target gets no flow, and no check could come from one.
                let Some(vip) = vips.get(&(id, target.address.family())) else {
                    continue;
                };
                let server = (id, target.address, target.port, asked);
                let used = Use::new(id, place, at);
                let entry = wanted.entry(server).or_insert_with(|| Wanted {
                    host: target.host,
                    vip: *vip,
                    uses: Vec::new(),
                });
                entry.uses.push(used);
            }
        }
    }
    wanted
}

/// The lowest VIP of each load balancer and family.
fn vips(table: &RouteTable) -> BTreeMap<(ClbId, Family), Address> {
    let mut vips = BTreeMap::new();
    for (address, vip) in &table.vips {
        vips.entry((vip.clb, address.family())).or_insert(*address);
    }
    vips
}

/// A target by names that hold beyond a table: load balancer, listener, address, port.
type Names<'a> = (&'a str, &'a str, Address, u16);

/// The targets of a table.
fn bound(table: &RouteTable) -> BTreeSet<Names<'_>> {
    let listeners = table
        .clbs
        .iter()
        .flat_map(|clb| clb.listeners.iter().map(move |listener| (clb, listener)));
    listeners
        .flat_map(|(clb, listener)| {
            let names = |target: &Target| {
                (
                    clb.name.as_str(),
                    listener.name.as_str(),
                    target.address,
                    target.port,
                )
            };
            listener.targets.iter().map(names)
        })
        .collect()
}

/// Checks by the names of their load balancers, which hold beyond a table.
type ByName = BTreeMap<(String, Address, u16), Vec<Watched>>;

fn by_name(watched: Vec<Watched>, table: &RouteTable) -> ByName {
    let mut by_name = ByName::new();
    for watched in watched {
        let name = table.clbs[watched.clb.index()].name.clone();
        let server = (name, watched.target, watched.port);
        by_name.entry(server).or_default().push(watched);
    }
    by_name
}

/// The check of that server which was asked for in the same way, else in another.
fn take_of(
    before: &mut ByName,
    server: &(String, Address, u16),
    asked: HealthCheck,
) -> Option<Watched> {
    let checks = before.get_mut(server)?;
    let same = checks.iter().position(|watched| watched.asked == asked);
    let at = same.or_else(|| checks.len().checked_sub(1))?;
    Some(checks.swap_remove(at))
}
