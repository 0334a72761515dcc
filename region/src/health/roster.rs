//! Roster: the servers that a node checks, to be found by number, by name and by who is due.
//!
//! A check has a number for as long as it is in the roster, whatever comes and goes beside it: to add or to take out
//! one costs the logarithm of how many there are, and moves no other.
//!
//! Invariant: each check has exactly one entry by server, one by where it is answered from, and one timer, never later
//! than when it is due.

use std::collections::{BTreeMap, BTreeSet};

use anyedge_net::flow::Address;
use anyedge_net::id::{ClbId, NodeId};
use anyedge_net::route_table::{HealthCheck, Method, ProbeSource};
use anyedge_net::switch;
use anyedge_net::time::Instant;

use super::check::Check;
use super::timers::Timers;

/// A listener that depends on a check, by its place in its load balancer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Use {
    pub(crate) listener: u16,
    /// Where the target stood among the listener's when the check was laid; it is not far from there.
    pub(crate) near: u16,
    /// Where the listener has the server.
    pub(super) host: NodeId,
}

/// A server that is checked for the listeners of a load balancer.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    pub(crate) clb: ClbId,
    /// The VIP that stands for its load balancer.
    pub(super) vip: Address,
    /// Where its last check came from.
    pub(super) from: Address,
    pub(crate) target: Address,
    pub(crate) port: u16,
    pub(super) asked: HealthCheck,
    pub(super) check: Check,
    /// Which of the node's ports the next check is sent from, in turn.
    pub(super) turn: u16,
    pub(super) sequence: u32,
    /// Who depends on it, by place; somebody does.
    pub(crate) uses: Vec<Use>,
}

impl Watched {
    /// Where its checks are sent to.
    pub(super) fn host(&self) -> NodeId {
        self.uses.first().map_or(NodeId::UNKNOWN, |used| used.host)
    }

    /// The order of checks: of those that are due at once the first is sent first.
    pub(super) fn order(&self) -> (ClbId, Address, u16, &HealthCheck) {
        (self.clb, self.target, self.port, &self.asked)
    }

    fn server(&self) -> Server {
        (self.target, self.port, self.clb, self.asked.clone())
    }

    /// Where its answers come from.
    fn answers(&self, id: u32) -> (Address, u16, u32) {
        (self.target, self.checked_port(), id)
    }

    /// The port that is checked.
    pub(super) fn checked_port(&self) -> u16 {
        let own = self.asked.port.filter(|_| switch::is_on("P-HC13"));
        own.unwrap_or(self.port)
    }
}

/// An address and port, who checks it, and how.
type Server = (Address, u16, ClbId, HealthCheck);

/// All checks of a node.
#[derive(Default)]
pub(super) struct Roster {
    /// Each apart, so that a list that grows moves pointers.
    by_id: Vec<Option<Box<Watched>>>,
    free: Vec<u32>,
    by_server: BTreeMap<Server, u32>,
    /// By the address and port that answers come from.
    by_answer: BTreeSet<(Address, u16, u32)>,
    timers: Timers,
}

impl Roster {
    /// The check that is due first, and when.
    pub(super) fn first_due(&self) -> Option<(Instant, u32)> {
        self.timers.first()
    }

    /// Sets the timer of a check by what it waits for.
    pub(super) fn arm(&mut self, id: u32) {
        let at = self.get(id).check.wake_at();
        let by_id = &self.by_id;
        self.timers.set(id, at, |a, b| precedes(by_id, a, b));
    }

    /// The check of that number.
    pub(super) fn get(&self, id: u32) -> &Watched {
        at(&self.by_id, id)
    }

    /// The check of that number, to be changed in what its timer does not know.
    pub(super) fn get_mut(&mut self, id: u32) -> &mut Watched {
        let watched = self.by_id[id as usize].as_mut();
        watched.expect("a number is used only while its check is there")
    }

    /// The check of that server for that load balancer which is asked for so.
    pub(super) fn find(&self, (clb, target, port): Group, asked: &HealthCheck) -> Option<u32> {
        let known = self.by_server.range((target, port, clb, LEAST)..);
        let mut same = known.take_while(|((address, number, id, _), _)| {
            (*id, *address, *number) == (clb, target, port)
        });
        let found = same.find(|((.., way), _)| way == asked);
        found.map(|(_, id)| *id)
    }

    /// The check of that number, if there is one.
    pub(super) fn known(&self, id: u32) -> Option<&Watched> {
        self.by_id.get(id as usize)?.as_deref()
    }

    /// The checks that are answered from that address and port, for whichever load balancer.
    pub(super) fn answered_from(
        &self,
        target: Address,
        port: u16,
    ) -> impl Iterator<Item = (u32, &Watched)> {
        let same = self
            .by_answer
            .range((target, port, 0)..=(target, port, u32::MAX));
        same.map(|(_, _, id)| (*id, self.get(*id)))
    }

    /// Adds a check.
    pub(super) fn add(&mut self, watched: Watched) {
        let id = self.free.pop().unwrap_or_else(|| {
            self.by_id.push(None);
            self.by_id.len() as u32 - 1
        });
        let server = watched.server();
        self.by_answer.insert(watched.answers(id));
        self.by_id[id as usize] = Some(Box::new(watched));
        let before = self.by_server.insert(server, id);
        debug_assert!(before.is_none(), "a server is checked in one way once");
        self.arm(id);
    }

    /// Takes out the checks of a server for a load balancer, in the order of how they are asked for.
    pub(super) fn take(&mut self, (clb, target, port): Group) -> Vec<Watched> {
        let known = self.by_server.range((target, port, clb, LEAST)..);
        let same = known.take_while(|((address, number, id, _), _)| {
            (*id, *address, *number) == (clb, target, port)
        });
        let numbers: Vec<u32> = same.map(|(_, id)| *id).collect();
        let taken = numbers.into_iter().filter_map(|id| self.remove(id));
        taken.collect()
    }

    fn remove(&mut self, id: u32) -> Option<Watched> {
        let by_id = &self.by_id;
        self.timers.remove(id, |a, b| precedes(by_id, a, b));
        let watched = self.by_id[id as usize].take()?;
        self.free.push(id);
        self.by_server.remove(&watched.server());
        self.by_answer.remove(&watched.answers(id));
        Some(*watched)
    }

    /// All checks, in no order that means anything.
    pub(super) fn into_all(self) -> impl Iterator<Item = Watched> {
        self.by_id.into_iter().flatten().map(|watched| *watched)
    }

    /// All checks.
    #[cfg(test)]
    pub(super) fn all(&self) -> impl Iterator<Item = &Watched> {
        self.by_server.values().map(|id| self.get(*id))
    }
}

/// The checks of one server for one load balancer: there is more than one where listeners ask differently.
pub(super) type Group = (ClbId, Address, u16);

/// Less than any way to ask.
const LEAST: HealthCheck = HealthCheck {
    interval: core::time::Duration::ZERO,
    timeout: core::time::Duration::ZERO,
    unhealthy: 0,
    healthy: 0,
    method: Method::Tcp,
    port: None,
    source: ProbeSource::Vip,
    passive: false,
    damping: None,
};

fn at(by_id: &[Option<Box<Watched>>], id: u32) -> &Watched {
    let watched = by_id[id as usize].as_deref();
    watched.expect("a number is used only while its check is there")
}

fn precedes(by_id: &[Option<Box<Watched>>], one: u32, other: u32) -> bool {
    at(by_id, one).order() < at(by_id, other).order()
}
