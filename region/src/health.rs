//! Health: which targets a node's own checks find alive.
//!
//! Every CLB node checks every target of its region's load balancers by a TCP handshake from the VIP, and
//! decides by its own view for its own flows. Listeners of one load balancer that check a server alike share
//! the check. Targets of the first table that a node gets are taken to be alive, so that a node that starts
//! forwards at once; targets that come later are probed before they get a flow.
//!
//! Invariant: each check has exactly one place among the timers, never later than when it is due.
//! The states are in `check`; why it is so: docs/health.md.

pub(crate) mod check;
pub(crate) mod probe;

use core::cmp::Reverse;
use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use anyedge_net::event::{Event, Health};
use anyedge_net::flow::{Address, Family, FlowKey};
use anyedge_net::id::{ClbId, NodeId, RegionId};
use anyedge_net::outbox::Outbox;
use anyedge_net::rng::Rng;
use anyedge_net::route_table::{HealthCheck, Region, RouteTable};
use anyedge_net::slot::SLOTS;
use anyedge_net::time::Instant;
use anyedge_net::wire::tcp;

use check::{Awaited, Check, Due};

/// Checks that are sent from one call of a node's `handle_timeout`; the rest follow in the next, asked for at
/// once.
pub const CHECKS_PER_CALL_MAX: usize = 64;
/// The first port that checks are sent from.
pub const PORT_MIN: u16 = 32_768;
/// How many ports the checks of a region's nodes share. No two nodes check from one port: the vSwitch would
/// have two checks in one tuple.
const PORTS: u16 = 32_768;

/// A target of a listener: load balancer, place among its listeners, place among the targets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Use {
    pub(crate) clb: ClbId,
    pub(crate) listener: u16,
    pub(crate) target: u16,
}

impl Use {
    pub(crate) const fn new(clb: ClbId, listener: u16, target: u16) -> Use {
        Use {
            clb,
            listener,
            target,
        }
    }
}

/// The checks of one node.
#[derive(Default)]
pub(crate) struct Checks {
    watched: Vec<Watched>,
    timers: BinaryHeap<Reverse<(Instant, u32)>>,
    /// Who is checked at an address and port, sorted.
    by_server: Vec<(Address, u16, u32)>,
    /// Who depends on which check, by check.
    uses: Vec<Use>,
    ports: Ports,
    /// The slot that checks are sent in.
    slot: Option<u16>,
    /// Whether a table was in force in which the node had a region.
    started: bool,
}

/// A server that is checked for the listeners of a load balancer.
struct Watched {
    clb: ClbId,
    /// Where its checks come from.
    vip: Address,
    target: Address,
    port: u16,
    host: NodeId,
    asked: HealthCheck,
    check: Check,
    /// Which of the node's ports the next check is sent from, in turn.
    turn: u16,
    sequence: u32,
    uses: Range<usize>,
}

/// The ports that one node sends its checks from.
#[derive(Clone, Copy, Default)]
struct Ports {
    first: u16,
    count: u16,
}

/// A new version of the routes, as seen by one node.
pub(crate) struct Change<'a> {
    pub(crate) old: &'a RouteTable,
    pub(crate) new: &'a RouteTable,
    pub(crate) region: Option<RegionId>,
    pub(crate) own: NodeId,
    pub(crate) now: Instant,
}

/// What identifies a check.
type Server = (ClbId, Address, u16, HealthCheck);

/// What the routes want of a check.
struct Wanted {
    host: NodeId,
    vip: Address,
    uses: Vec<Use>,
}

/// What is to be done for one check.
pub(crate) struct Turn {
    pub(crate) id: u32,
    /// The check that nobody answered, to be ended.
    pub(crate) given_up: Option<(Sending, Awaited)>,
    /// The check that begins; none while this node owns no slot that the answer would come back by.
    pub(crate) begun: Option<(Sending, Awaited)>,
    /// The health changed to this.
    pub(crate) change: Option<Health>,
}

/// A segment that a check sends: its tuple, and whom the tunnel leads to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    pub(crate) flow: FlowKey,
    pub(crate) clb: ClbId,
    pub(crate) slot: u16,
    pub(crate) host: NodeId,
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
        let region = change
            .region
            .and_then(|region| new.regions.get(region.index()));
        let mut fresh = Checks {
            ports: region.map_or(Ports::default(), |region| Ports::of(region, change.own)),
            slot: region.and_then(|region| own_slot(region, change.own, self.slot)),
            started: self.started || region.is_some(),
            ..Checks::default()
        };
        let bound = self.started.then(|| bound(change.old));
        let mut before = by_name(self.watched, change.old);
        for ((clb, target, port, asked), wanted) in wanted(change) {
            let name = new.clbs[clb.index()].name.as_str();
            let server = (name.to_owned(), target, port);
            let mut rng = stream(&format!("health {name}/{target}:{port}"));
            let phase = rng.up_to(Check::phase_max(asked));
            let (turn, sequence) = (rng.bits() as u16, rng.bits() as u32);
            let check = match take_of(&mut before, &server, asked) {
                Some(same) if same.asked == asked => same.check,
                Some(other) => other.check.asked_anew(asked, now, phase),
                None if bound
                    .as_ref()
                    .is_none_or(|bound| bound.contains(&(name, target, port))) =>
                {
                    Check::of_known(asked, now, phase)
                }
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

    /// When [`Checks::next_due`] has something to do.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    /// The next check with something due, and what; `None` when nothing more is.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<Turn> {
        let Reverse((at, id)) = self.timers.peek().copied()?;
        if at > now {
            return None;
        }
        self.timers.pop();
        let watched = &mut self.watched[id as usize];
        let Due {
            unanswered,
            send,
            change,
        } = watched.check.on_wake(now);
        let mut turn = Turn {
            id,
            given_up: None,
            begun: None,
            change,
        };
        if let Some(slot) = self.slot {
            let given_up = unanswered.map(|awaited| (watched.sending(slot, awaited.port), awaited));
            turn.given_up = given_up;
            turn.begun = send.then(|| watched.begin(now, slot, self.ports));
        }
        self.timers.push(Reverse((watched.check.wake_at(), id)));
        Some(turn)
    }

    /// The check that began could not be sent.
    pub(crate) fn on_unsent(&mut self, id: u32) {
        self.watched[id as usize].check.on_unsent();
    }

    /// What the segment is to be that ends a check which was sent from `port`.
    pub(crate) fn ending(&self, id: u32, port: u16) -> Option<Sending> {
        Some(self.watched[id as usize].sending(self.slot?, port))
    }

    /// The check under way that a target's packet, target to VIP, may be the answer to.
    pub(crate) fn awaited_by(&self, answer: &FlowKey) -> Option<(u32, Awaited)> {
        let server = (answer.src, answer.src_port);
        let from = self
            .by_server
            .partition_point(|(address, port, _)| (*address, *port) < server);
        let same_server = self.by_server[from..]
            .iter()
            .take_while(|(address, port, _)| (*address, *port) == server);
        let mut awaited = same_server.filter_map(|(_, _, id)| {
            let watched = &self.watched[*id as usize];
            let awaited = watched.check.awaited()?;
            let is_it = watched.vip == answer.dst && awaited.port == answer.dst_port;
            is_it.then_some((*id, awaited))
        });
        awaited.next()
    }

    /// The check under way was answered. Gives the health when it changed.
    pub(crate) fn on_answer(&mut self, id: u32, now: Instant, success: bool) -> Option<Health> {
        self.watched[id as usize].check.on_answer(now, success)
    }

    /// Whose targets depend on a check.
    pub(crate) fn uses(&self, id: u32) -> &[Use] {
        &self.uses[self.watched[id as usize].uses.clone()]
    }

    /// What is thought of the target of a check.
    pub(crate) fn health(&self, id: u32) -> Health {
        self.watched[id as usize].check.health()
    }

    /// Tells of the health of the target of a check.
    pub(crate) fn tell(&self, id: u32, out: &mut Outbox) {
        let watched = &self.watched[id as usize];
        tell(watched.target, watched.port, watched.check.health(), out);
    }

    /// The targets that may take no flow.
    pub(crate) fn shut(&self) -> BTreeSet<Use> {
        let shut = self
            .watched
            .iter()
            .filter(|watched| !is_open(watched.check.health()));
        shut.flat_map(|watched| &self.uses[watched.uses.clone()])
            .copied()
            .collect()
    }

    /// Tells of servers that are no longer checked and yet still there.
    fn tell_of_closed(&self, before: ByName, new: &RouteTable, out: &mut Outbox) {
        let name = |watched: &Watched| new.clbs[watched.clb.index()].name.as_str();
        let checked: BTreeSet<(&str, Address, u16)> = self
            .watched
            .iter()
            .map(|watched| (name(watched), watched.target, watched.port))
            .collect();
        let bound = bound(new);
        for ((name, target, port), left) in before {
            let server = (name.as_str(), target, port);
            if !left.is_empty() && bound.contains(&server) && !checked.contains(&server) {
                tell(target, port, Health::Closed, out);
            }
        }
    }

    fn index(&mut self) {
        let numbered = || self.watched.iter().zip(0_u32..);
        self.timers = numbered()
            .map(|(watched, id)| Reverse((watched.check.wake_at(), id)))
            .collect();
        self.by_server = numbered()
            .map(|(watched, id)| (watched.target, watched.port, id))
            .collect();
        self.by_server.sort_unstable();
    }
}

impl Watched {
    fn begin(&mut self, now: Instant, slot: u16, ports: Ports) -> (Sending, Awaited) {
        self.turn = self.turn.wrapping_add(1);
        // Another number each time, far from the last.
        self.sequence = self.sequence.wrapping_add(0x9e37_79b9);
        let port = ports.of_turn(self.turn);
        let awaited = self.check.on_sent(now, port, self.sequence);
        (self.sending(slot, port), awaited)
    }

    fn sending(&self, slot: u16, port: u16) -> Sending {
        let flow = FlowKey {
            src: self.vip,
            dst: self.target,
            src_port: port,
            dst_port: self.port,
            protocol: tcp::PROTOCOL,
        };
        Sending {
            flow,
            clb: self.clb,
            slot,
            host: self.host,
        }
    }
}

impl Ports {
    /// The share of a node of `region`.
    fn of(region: &Region, own: NodeId) -> Ports {
        let nodes = u16::try_from(region.clb_nodes.len()).unwrap_or(PORTS);
        let count = (PORTS / nodes.clamp(1, PORTS)).max(1);
        let place = region.clb_nodes.iter().position(|node| *node == own);
        let place = (place.unwrap_or(0) % usize::from(PORTS / count)) as u16;
        Ports {
            first: PORT_MIN + place * count,
            count,
        }
    }

    const fn of_turn(self, turn: u16) -> u16 {
        match turn.checked_rem(self.count) {
            Some(offset) => self.first + offset,
            None => self.first,
        }
    }
}

/// Whether a target of that health gets new flows.
pub(crate) const fn is_open(health: Health) -> bool {
    match health {
        Health::Healthy | Health::Closed => true,
        Health::Detecting | Health::Abnormal => false,
    }
}

fn tell(target: Address, target_port: u16, health: Health, out: &mut Outbox) {
    out.event(Event::TargetHealth {
        target,
        target_port,
        health,
    });
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

/// The targets of a table: load balancer, address, port.
fn bound(table: &RouteTable) -> BTreeSet<(&str, Address, u16)> {
    let clbs = table.clbs.iter();
    clbs.flat_map(|clb| {
        let targets = clb.listeners.iter().flat_map(|listener| &listener.targets);
        targets.map(|target| (clb.name.as_str(), target.address, target.port))
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

/// A slot by whose key the answers of targets come back to `own`: `before` when it still does, else the first
/// that it owns, as its secondary only when it is primary of none.
fn own_slot(region: &Region, own: NodeId, before: Option<u16>) -> Option<u16> {
    let is_primary = |slot: &u16| region.slots.owners(*slot).primary == own;
    let is_secondary = |slot: &u16| region.slots.owners(*slot).secondary == own;
    let slots = || 0..SLOTS as u16;
    before
        .filter(is_primary)
        .or_else(|| slots().find(is_primary))
        .or_else(|| slots().find(is_secondary))
}
