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
mod renewal;
mod source;

use core::cmp::Reverse;
use core::ops::Range;
use std::collections::{BTreeSet, BinaryHeap};

use anyedge_net::event::{Event, Health};
use anyedge_net::flow::{Address, FlowKey};
use anyedge_net::id::{ClbId, NodeId};
use anyedge_net::outbox::Outbox;
use anyedge_net::route_table::HealthCheck;
use anyedge_net::time::Instant;
use anyedge_net::wire::tcp;

use check::{Awaited, Check, Due};
pub(crate) use renewal::Change;
pub use source::PORT_MIN;
use source::Ports;

/// Checks that are sent from one call of a node's `handle_timeout`; the rest follow in the next, asked for at
/// once.
pub const CHECKS_PER_CALL_MAX: usize = 64;
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
