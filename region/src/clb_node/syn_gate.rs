//! SYN gate: during a flood of SYNs a client must prove its address before it costs anything.
//!
//! Each listener has a [`Gate`]. While it is shut, a SYN from an address that has not proved itself is answered
//! without keeping anything: a SYN-ACK whose acknowledgement number is a keyed cookie in the place of the one that
//! the client waits for. A sound client answers such a segment with a RST at that very number (RFC 9293
//! §3.10.7.3) and goes on waiting; the RST proves the address, and the client's next SYN passes. A sender that
//! spoofs its address never sees the cookie. docs/syn-flood.md has the choices.
//! References: RFC 4987 §3 (SYN floods and their cures), RFC 9293 §3.10.7.3.

mod cookie;
mod gate;
mod proved;

use std::collections::BTreeMap;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Event;
use anyedge_net::id::ClbId;
use anyedge_net::outbox::Outbox;
use anyedge_net::rng::Seed;
use anyedge_net::switch;
use anyedge_net::time::Instant;
use anyedge_net::token_bucket::TokenBucket;
use anyedge_net::wire::{Parsed, tcp};

use super::ClbNode;
use super::staging::{Entrance, Staged};
use crate::tcp_state::Segment;
use cookie::Cookies;
use proved::Proved;

pub(super) use gate::Gate;
pub use gate::{HALF_OPEN_MIN, HALF_OPEN_SHARE, SHUT_MIN, UNANSWERED_PER_SECOND, UNANSWERED_SHARE};
pub use proved::{PROVED_FOR, PROVED_MAX};

/// Cookies that a node sends in a second, in the long run. Generous: a client whose SYN is left unanswered is a second late each
/// time, and an answer is no larger than what asked for it.
pub const COOKIES_PER_SECOND: u32 = 1_000_000;
/// Cookies that a node sends at once after a second of none.
pub const COOKIES_BURST: u32 = 100_000;

/// What a node keeps for its gates: fixed memory, whatever comes.
pub(super) struct SynGates {
    on: bool,
    /// By the number of the listener.
    gates: Vec<Gate>,
    /// How many of them are shut.
    shut: usize,
    cookies: Cookies,
    proved: Proved,
    limit: TokenBucket,
}

impl SynGates {
    /// No listeners yet. `seed` gives the secret of the node named `own_name`.
    pub(super) fn new(own_name: &str, seed: Seed) -> SynGates {
        let mut rng = seed.stream(own_name, "syn gate");
        SynGates {
            on: true,
            gates: Vec::new(),
            shut: 0,
            cookies: Cookies::new(&mut rng),
            proved: Proved::new(&mut rng),
            limit: TokenBucket::new(COOKIES_PER_SECOND, COOKIES_BURST),
        }
    }

    /// Takes the gates of another version of the routes: `places` tells for each listener where it is and which
    /// number it had. With the mechanism off all gates are open and stay so.
    pub(super) fn renew(&mut self, on: bool, places: &[(ClbId, u16, Option<u16>)]) {
        let before = core::mem::take(&mut self.gates);
        let gate = |(clb, index, number): &(ClbId, u16, Option<u16>)| {
            let old = number
                .filter(|_| on)
                .and_then(|number| before.get(usize::from(number)));
            old.map_or_else(|| Gate::new(*clb, *index), |old| old.moved_to(*clb, *index))
        };
        self.gates = places.iter().map(gate).collect();
        self.shut = self.gates.iter().filter(|gate| gate.is_shut()).count();
        self.on = on;
    }

    /// Whether the listener of that number asks its clients for proof. Half-open flows of such a listener are
    /// not worth telling another node of.
    pub(super) fn is_shut(&self, listener: u16) -> bool {
        self.shut > 0
            && self
                .gates
                .get(usize::from(listener))
                .is_some_and(Gate::is_shut)
    }

    /// A handshake of the listener completed.
    pub(super) fn on_established(&mut self, listener: u16) {
        if let Some(gate) = self.gates.get_mut(usize::from(listener)) {
            gate.on_answered();
        }
    }

    /// When a shut gate is looked at next.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        if self.shut == 0 {
            return None;
        }
        self.gates.iter().filter_map(Gate::wake_at).min()
    }
}

impl ClbNode {
    /// Whether a SYN may open a flow: always while its listener's gate is open.
    ///
    /// # Errors
    /// [`DropReason::SynGate`]: its client must prove its address first.
    #[inline]
    pub(super) fn pass_gate(
        &mut self,
        now: Instant,
        parsed: &Parsed,
        clb: ClbId,
    ) -> Result<(), DropReason> {
        if self.gates.shut == 0 || parsed.flow.protocol != tcp::PROTOCOL {
            return Ok(());
        }
        let flow = parsed.flow;
        let Some(listener) = self.served.listener(clb, flow.protocol, flow.dst_port) else {
            return Ok(());
        };
        let number = listener.number();
        if !self.gates.is_shut(number) || self.gates.proved.has(now, &flow.src) {
            return Ok(());
        }
        let flows_max = self.connections.flows_max();
        self.gates.gates[usize::from(number)].on_syn(now, flows_max);
        Err(DropReason::SynGate)
    }

    /// Takes a SYN into account that opened a flow of the listener; shuts its gate when there are too many.
    pub(super) fn count_syn(&mut self, now: Instant, listener: u16, out: &mut Outbox) {
        if !self.gates.on {
            return;
        }
        let Some(gate) = self.gates.gates.get_mut(usize::from(listener)) else {
            return;
        };
        let flows_max = self.connections.flows_max();
        gate.on_syn(now, flows_max);
        let half_open = self.connections.loads().half_open_of(listener);
        if !gate.is_shut() && gate.is_flooded(now, half_open, flows_max) {
            self.gates.shut += 1;
            out.event(gate.shut(now));
        }
    }

    /// Opens the gates whose flood is over.
    pub(super) fn open_gates(&mut self, now: Instant, out: &mut Outbox) {
        if self.gates.shut == 0 {
            return;
        }
        let flows_max = self.connections.flows_max();
        for (number, gate) in self.gates.gates.iter_mut().enumerate() {
            let half_open = self.connections.loads().half_open_of(number as u16);
            if let Some(opened) = gate.look(now, half_open, flows_max) {
                self.gates.shut -= 1;
                out.event(opened);
            }
        }
    }

    /// Whether a client's segment is the RST that a cookie was answered with. Its address is then proved.
    #[inline]
    pub(super) fn takes_proof(
        &mut self,
        now: Instant,
        parsed: &Parsed,
        bytes: &[u8],
        clb: ClbId,
    ) -> bool {
        if self.gates.shut == 0 || Segment::of(parsed.tcp_flags) != Segment::Rst {
            return false;
        }
        let sequence = tcp::sequence(bytes, parsed);
        if !self.gates.cookies.is_ours(now, &parsed.flow, sequence) {
            return false;
        }
        self.gates.proved.add(now, &parsed.flow.src);
        let flow = parsed.flow;
        if let Some(listener) = self.served.listener(clb, flow.protocol, flow.dst_port) {
            self.gates.on_established(listener.number());
        }
        true
    }

    /// Answers a SYN that was refused at the gate with a cookie, within the limit.
    #[cold]
    pub(super) fn send_cookie(
        &mut self,
        now: Instant,
        staged: &Staged<'_>,
        entrance: Entrance,
        out: &mut Outbox,
    ) {
        let (bytes, parsed) = (staged.packet.bytes(), &staged.parsed);
        if Segment::of(parsed.tcp_flags) != Segment::Syn {
            return;
        }
        let cookie = self.gates.cookies.of(now, &parsed.flow);
        let mut challenge = [0; tcp::RESET_LEN_MAX];
        let len = tcp::write_challenge(bytes, parsed, cookie, &mut challenge);
        if len == 0 || !self.gates.limit.take(now) {
            return;
        }
        self.send_back(&challenge[..len], staged, entrance, out);
    }

    /// Takes the gates over to the listeners that are served now; one that is gone, or whose mechanism was turned
    /// off, is told to be open.
    pub(super) fn renew_gates(&mut self, out: &mut Outbox) {
        let on = self.routes.mechanisms.syn_gate && switch::is_on("P-LB14");
        let places = self.served.places();
        for (number, gate) in self.gates.gates.iter().enumerate() {
            let stays = || places.iter().any(|(_, _, old)| *old == Some(number as u16));
            if gate.is_shut() && !(on && stays()) {
                let (clb, listener) = gate.place();
                out.event(Event::SynGate {
                    clb,
                    listener,
                    shut: false,
                });
            }
        }
        self.gates.renew(on, places);
        let numbers: BTreeMap<u16, u16> = places
            .iter()
            .zip(0..)
            .filter_map(|((_, _, old), new)| Some(((*old)?, new)))
            .collect();
        let stay = numbers.len() == places.len() && numbers.iter().all(|(old, new)| old == new);
        if stay && self.connections.counts_listeners(places.len()) {
            return;
        }
        self.connections
            .renumber_listeners(places.len(), |flow| numbers.get(&flow.listener).copied());
        self.persistence
            .renumber(&self.routes.hash_key, |old| numbers.get(&old).copied());
    }
}
