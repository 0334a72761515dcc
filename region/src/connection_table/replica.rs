//! Replicas: flows that another CLB node serves, held in case this one has to.
//!
//! A replica is an entry like any other, so that the packet that needs it finds it where it looks anyway. What
//! another node tells never costs a flow of this node its place: replicas fill a bounded share, take no tuple
//! that an own flow shows, and end without a word.
//!
//! Two nodes may both hold a flow for their own for a moment (their routes differ): the one that hears the
//! other's claim gives its own up, and the flow's end is then told by the other.

use anyedge_net::event::FlowEnd;
use anyedge_net::flow::{FlowKey, HashKey};
use anyedge_net::time::Instant;

use super::{ConnectionTable, Flow, Opening, Role};
use crate::expected::Expected;
use crate::flow_life::FlowLife;
use crate::loads::Counted;
use crate::tcp_state::TcpState;

/// What another node tells of a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) flow: Opening,
    /// Where it stands; `None` for UDP.
    pub(crate) tcp: Option<TcpState>,
    /// The client's initial sequence number.
    pub(crate) isn: u32,
    /// The teller serves it.
    pub(crate) claimed: bool,
    /// The teller is the slot's primary, whose choice of a target stands.
    pub(crate) by_primary: bool,
}

/// What became of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// It is a replica here.
    Held,
    /// An own flow became a replica, or ended as given: the teller has it.
    Yielded(FlowEnd),
    /// An own flow stands against it.
    Refused,
    /// Replicas fill their share, or the table is full.
    Full,
}

impl ConnectionTable {
    /// Takes an entry in. `hash_key` is that of the hashes given to `find`.
    pub(crate) fn take(&mut self, now: Instant, told: &Told, hash_key: &HashKey) -> Taken {
        let key = told.flow.key;
        let hash = key.hash(hash_key);
        let mut outcome = Taken::Held;
        if let Some(id) = self.find(hash, &key) {
            let flow = self.flows.entry(id);
            let own = flow.role == Role::Own && self.is_alive(id, now);
            if self.is_alive(id, now) && is_same(flow, told) {
                return self.hear(now, id, told);
            }
            if own && !(told.by_primary && told.claimed) {
                return Taken::Refused;
            }
            let closed = self.close(id);
            if closed.own {
                let end = if own { FlowEnd::Replaced } else { closed.end };
                outcome = Taken::Yielded(end);
            }
        }
        match self.hold(now, told, hash, hash_key) {
            Taken::Held => outcome,
            // The own flow is gone all the same.
            _ if outcome != Taken::Held => outcome,
            refused => refused,
        }
    }

    /// A flow that is known, told again.
    fn hear(&mut self, now: Instant, id: u32, told: &Told) -> Taken {
        let flow = self.flows.entry_mut(id);
        let yields = flow.role == Role::Own && told.claimed;
        if yields {
            self.loads.take_away(&flow.counted());
            flow.role = Role::HandedOver;
            self.replicas += 1;
        }
        if flow.role != Role::Own {
            (flow.pop, flow.clb, flow.slot) = (told.flow.pop, told.flow.clb, told.flow.slot);
            flow.synced_at = now;
        }
        self.on_word(id, now, told.tcp);
        if yields {
            return Taken::Yielded(FlowEnd::HandedOver);
        }
        Taken::Held
    }

    /// Makes a replica of what is not known.
    fn hold(&mut self, now: Instant, told: &Told, hash: u64, hash_key: &HashKey) -> Taken {
        let Opening {
            key,
            at_target,
            target_port,
            host,
            pop,
            clb,
            slot,
            listener,
            idle_s,
            telling,
        } = told.flow;
        let mut flow = Flow {
            key,
            at_target,
            target_port,
            host,
            pop,
            clb,
            slot,
            listener,
            role: Role::Replica,
            telling,
            life: FlowLife::told(now, told.tcp, told.isn).with_idle(idle_s),
            hash,
            reply_hash: 0,
            expected: Expected::default(),
            synced_at: now,
        };
        let reply = flow.reply_key();
        let reply_hash = reply.hash(hash_key);
        flow.reply_hash = reply_hash as u32;
        if let Some(other) = self.find_reply(reply_hash, &reply) {
            if self.flow(other).role == Role::Own {
                return Taken::Refused;
            }
            self.close(other);
        }
        if self.replicas >= self.replicas_max {
            return Taken::Full;
        }
        if self.insert(now, flow).is_none() {
            return Taken::Full;
        }
        self.replicas += 1;
        Taken::Held
    }

    /// Takes in where another node saw a flow stand.
    pub(crate) fn on_word(&mut self, id: u32, now: Instant, tcp: Option<TcpState>) {
        let flow = self.flows.entry_mut(id);
        let was_active = flow.counted().active;
        let step = flow.life.on_word(now, tcp);
        let counted = flow.counted();
        let ended = was_active && !counted.active;
        if (step.handshake_over || ended) && flow.role == Role::Own {
            self.loads.take_away(&Counted {
                half_open: step.handshake_over,
                active: ended,
                ..counted
            });
        }
        if step.shortened {
            self.flows.shortened(id);
        }
    }

    /// Makes a replica the node's own, and returns its tuple.
    pub(crate) fn take_over(&mut self, id: u32) -> FlowKey {
        let flow = self.flows.entry_mut(id);
        debug_assert_ne!(flow.role, Role::Own, "only a replica is taken over");
        flow.role = Role::Own;
        self.replicas -= 1;
        self.loads.add(&flow.counted());
        flow.key
    }

    /// Notes that the slot's other owner is told the entry.
    pub(crate) fn set_synced(&mut self, id: u32, now: Instant) {
        self.flows.entry_mut(id).synced_at = now;
    }
}

/// Whether an entry is of the very flow that is held.
fn is_same(flow: &Flow, told: &Told) -> bool {
    (flow.at_target, flow.target_port) == (told.flow.at_target, told.flow.target_port)
        && flow.life.isn() == told.isn
        && flow.life.tcp().is_some() == told.tcp.is_some()
}
