//! Health: which targets a node's own checks find alive.
//!
//! Every CLB node checks every target of its region's load balancers, by a TCP handshake, an echo, a datagram or an
//! exchange of bytes, and decides by its own view for its own flows. Listeners of one load balancer that check a server
//! alike share the check. Targets of the first table that a node gets are taken to be alive, so that a node that starts
//! forwards at once; targets that come later are probed before they get a flow.
//!
//! The states are in `check`, who is checked in `roster`; what a new version of the routes makes of it in `renewal`
//! when it changes much, and in `amendment` when it changes targets. Why it is so: docs/health.md.

mod amendment;
pub(crate) mod check;
pub(crate) mod probe;
mod renewal;
mod roster;
mod source;
mod successor;
mod timers;

use std::collections::BTreeMap;

use anyedge_net::event::{Event, Health};
use anyedge_net::flow::{Address, Family, FlowKey};
use anyedge_net::id::{ClbId, NodeId};
use anyedge_net::outbox::Outbox;
use anyedge_net::route_table::{HealthCheck, Method, Target};
use anyedge_net::switch;
use anyedge_net::time::Instant;
use anyedge_net::wire::{tcp, udp};

use check::{Awaited, Due, Talk};
pub(crate) use renewal::Change;
use roster::Roster;
pub(crate) use roster::Watched;
pub use source::PORT_MIN;
use source::Ports;

/// Checks that are sent from one call of a node's `handle_timeout`; the rest follow in the next, asked for at
/// once.
pub const CHECKS_PER_CALL_MAX: usize = 64;

/// The checks of one node.
#[derive(Default)]
pub(crate) struct Checks {
    roster: Roster,
    /// The lowest VIP of each load balancer and family.
    vips: BTreeMap<(ClbId, Family), Address>,
    ports: Ports,
    /// The slot that checks are sent in.
    slot: Option<u16>,
    /// Whether a table was in force in which the node had a region.
    started: bool,
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
    /// What it sends.
    pub(crate) method: Method,
}

/// A packet that a check sends: its tuple, and whom the tunnel leads to.
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
        self.roster.first_due().map(|(at, _)| at)
    }

    /// The next check with something due, and what; `None` when nothing more is.
    pub(crate) fn next_due(&mut self, now: Instant) -> Option<Turn> {
        let (at, id) = self.roster.first_due()?;
        if at > now {
            return None;
        }
        let watched = self.roster.get_mut(id);
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
            method: watched.asked.method.clone(),
        };
        if let Some(slot) = self.slot {
            let cut = unanswered.filter(|_| watched.is_tcp());
            turn.given_up = cut.map(|awaited| (watched.sending(slot, awaited.port), awaited));
            turn.begun = send.then(|| watched.begin(now, slot, self.ports));
        }
        self.roster.arm(id);
        Some(turn)
    }

    /// The check that began could not be sent.
    pub(crate) fn on_unsent(&mut self, id: u32) {
        self.roster.get_mut(id).check.on_unsent();
    }

    /// What the segment is to be that ends a check which was sent from `port`.
    pub(crate) fn ending(&self, id: u32, port: u16) -> Option<Sending> {
        Some(self.roster.get(id).sending(self.slot?, port))
    }

    /// The check under way that a target's packet may be the answer to, or an error's quote, turned round.
    pub(crate) fn awaited_by(&self, answer: &FlowKey) -> Option<(u32, Awaited, &Method)> {
        let same_server = self.roster.answered_from(answer.src, answer.src_port);
        let awaited = same_server.filter(|(_, watched)| {
            let port = watched.check.awaited().map(|awaited| awaited.port);
            let is_it = watched.from == answer.dst && port == Some(answer.dst_port);
            is_it && watched.protocol() == answer.protocol
        });
        // Of several the same one, whichever numbers they have.
        let (id, watched) =
            awaited.min_by(|(_, one), (_, other)| one.order().cmp(&other.order()))?;
        Some((id, watched.check.awaited()?, &watched.asked.method))
    }

    /// The check under way whose echo `target` answers to `from`, with what the echo carried.
    pub(crate) fn echoed_by(
        &self,
        (target, from): (Address, Address),
        (id, sequence): (u32, u32),
    ) -> Option<u32> {
        let watched = self.roster.known(id)?;
        let awaited = watched.check.awaited()?;
        let is_it = watched.target == target && watched.from == from;
        (is_it && awaited.sequence == sequence).then_some(id)
    }

    /// The echo of the check under way was answered. Gives the health when it changed.
    pub(crate) fn on_echo(&mut self, id: u32, now: Instant) -> Option<Health> {
        let change = self.roster.get_mut(id).check.on_echo(now);
        if change.is_some() {
            self.roster.arm(id);
        }
        change
    }

    /// The exchange of the check under way has come so far.
    pub(crate) fn on_talk(&mut self, id: u32, talk: Talk) {
        self.roster.get_mut(id).check.on_talk(talk);
    }

    /// A target refused a client of a listener that asks for its checks so. Gives the check whose health changed.
    pub(crate) fn on_refused(
        &mut self,
        now: Instant,
        (clb, target, port): (ClbId, Address, u16),
        asked: &HealthCheck,
    ) -> Option<u32> {
        let id = self.roster.find((clb, target, port), asked)?;
        self.roster.get_mut(id).check.on_refused(now)?;
        self.roster.arm(id);
        Some(id)
    }

    /// The check under way was answered. Gives the health when it changed.
    pub(crate) fn on_answer(&mut self, id: u32, now: Instant, success: bool) -> Option<Health> {
        self.roster.get_mut(id).check.on_answer(now, success)
    }

    /// Who is checked, and whose targets depend on it.
    pub(crate) fn watched(&self, id: u32) -> &Watched {
        self.roster.get(id)
    }

    /// What is thought of the target of a check.
    pub(crate) fn health(&self, id: u32) -> Health {
        self.roster.get(id).check.health()
    }

    /// Tells of the health of the target of a check.
    pub(crate) fn tell(&self, id: u32, out: &mut Outbox) {
        let watched = self.roster.get(id);
        tell(watched.target, watched.port, watched.check.health(), out);
    }

    /// Where every check stands, in an order that does not depend on their numbers.
    #[cfg(test)]
    pub(crate) fn shown(&self) -> Vec<String> {
        let mut all = vec![format!(
            "{:?} {:?} {:?}",
            self.vips, self.slot, self.started
        )];
        all.extend(self.roster.all().map(|watched| {
            let near = |used: &roster::Use| roster::Use { near: 0, ..*used };
            let uses = watched.uses.iter().map(near).collect();
            format!(
                "{:?}",
                Watched {
                    uses,
                    ..watched.clone()
                }
            )
        }));
        all
    }

    /// Whether a target of a load balancer may take new flows, whose listener asks for its checks so.
    pub(crate) fn is_open(&self, clb: ClbId, asked: Option<&HealthCheck>, target: &Target) -> bool {
        let group = (clb, target.address, target.port);
        let watched = asked.and_then(|asked| self.roster.find(group, asked));
        watched.is_none_or(|id| is_open(self.health(id)))
    }
}

impl Watched {
    fn begin(&mut self, now: Instant, slot: u16, ports: Ports) -> (Sending, Awaited) {
        self.turn = self.turn.wrapping_add(1);
        // Another number each time, far from the last.
        self.sequence = self.sequence.wrapping_add(0x9e37_79b9);
        let port = ports.of_turn(self.turn);
        self.from = ports.source(self.asked.source, self.vip);
        let awaited = self.check.on_sent(now, port, self.sequence);
        (self.sending(slot, port), awaited)
    }

    fn sending(&self, slot: u16, port: u16) -> Sending {
        let flow = FlowKey {
            src: self.from,
            dst: self.target,
            src_port: port,
            dst_port: self.checked_port(),
            protocol: self.protocol(),
        };
        Sending {
            flow,
            clb: self.clb,
            slot,
            host: self.host(),
        }
    }

    fn is_tcp(&self) -> bool {
        matches!(self.asked.method, Method::Tcp | Method::TcpExchange(_))
    }

    /// The IP protocol of what it sends beside echoes.
    fn protocol(&self) -> u8 {
        if self.is_tcp() {
            tcp::PROTOCOL
        } else {
            udp::PROTOCOL
        }
    }
}

/// Whether a target of that health gets new flows.
pub(crate) fn is_open(health: Health) -> bool {
    match health {
        Health::Healthy | Health::Closed => true,
        Health::Detecting | Health::Blocked => false,
        Health::Abnormal => !switch::is_on("S-BE16"),
    }
}

fn tell(target: Address, target_port: u16, health: Health, out: &mut Outbox) {
    out.event(Event::TargetHealth {
        target,
        target_port,
        health,
    });
}
