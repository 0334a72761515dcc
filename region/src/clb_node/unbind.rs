//! Unbind: the end of the flows whose target left its listener.
//!
//! With a RST to both ends (`rst_on_unbind`) neither waits for the other; without, the flow is forgotten. A walk
//! over the table finds the flows, a bounded number at a time; a packet that comes before the walk has its flow cut
//! there and then, so that nothing is forwarded from the instant on that the routes say. A packet that would open
//! the flow opens one to another target. Replicas go without a word: the flow's own node cuts it.
//! Reference: RFC 5961 §3.2 (a RST is taken only with the exact number).

use core::time::Duration;

use anyedge_ccn::exits::Exit;
use anyedge_ccn::tunnel;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::FlowEnd;
use anyedge_net::flow::FlowKey;
use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::port::PortId;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::{self, tcp};

use super::ClbNode;
use super::entries::Item;
use super::replicate::tell_closed;
use super::staging::{Found, Staged};
use crate::connection_table::{Flow, Role};
use crate::flow_life::opens;
use crate::health::probe::Probe;
use crate::tcp_state::Side;
use crate::unbinding::Binding;

/// Flows cut in one step of the walk.
pub const CUTS_PER_STEP_MAX: u32 = 64;
/// Flows looked at in one step of the walk.
pub const LOOKS_PER_STEP_MAX: u32 = 4_096;
/// Time between the steps: 64,000 flows are cut in a second, 4,000,000 looked at.
pub const CUT_EVERY: Duration = Duration::from_millis(1);

/// Who hears of a cut by a RST.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Nobody,
    /// The client begins anew already.
    Target,
    Both,
}

impl ClbNode {
    /// A packet's flow, if it is not to be cut; else it is cut, and the packet has none or ends.
    #[inline]
    pub(super) fn bound(
        &mut self,
        now: Instant,
        staged: &Staged<'_>,
        side: Side,
        out: &mut Outbox,
    ) -> Result<Option<Found>, DropReason> {
        if now < self.unbinding.due_at() {
            return Ok(staged.found);
        }
        self.meet_unbound(now, staged, side, out)
    }

    #[cold]
    fn meet_unbound(
        &mut self,
        now: Instant,
        staged: &Staged<'_>,
        side: Side,
        out: &mut Outbox,
    ) -> Result<Option<Found>, DropReason> {
        let Staged { packet, parsed, .. } = staged;
        let cut = staged.found.and_then(|Found { id, .. }| {
            let rst = self.unbound(now, id)?;
            Some((id, rst))
        });
        let Some((id, rst)) = cut else {
            return Ok(staged.found);
        };
        let begins_anew = side == Side::Client && opens(parsed);
        if !begins_anew && let Some(numbers) = tcp::numbers(packet.bytes(), parsed) {
            self.connections.on_withheld(id, side, &numbers);
        }
        let told = match (rst, begins_anew) {
            (false, _) => Told::Nobody,
            (true, true) => Told::Target,
            (true, false) => Told::Both,
        };
        let own = self.connections.flow(id).role == Role::Own;
        self.cut(id, FlowEnd::Unbound, told, out);
        match side {
            Side::Client if begins_anew || !rst || !own => Ok(None),
            Side::Client | Side::Target => Err(DropReason::Unbound),
        }
    }

    /// Goes on with the walk that cuts the flows of unbound targets, when it is time.
    pub(super) fn cut_unbound(&mut self, now: Instant, out: &mut Outbox) {
        let Some(mut walk) = self.unbinding.walk(now) else {
            return;
        };
        let numbers = self.connections.numbers();
        let end = numbers.min(walk.next.saturating_add(LOOKS_PER_STEP_MAX));
        let mut cuts = 0;
        while walk.next < end && cuts < CUTS_PER_STEP_MAX {
            let id = walk.next;
            walk.next += 1;
            if let Some(rst) = self.unbound(now, id) {
                let told = if rst { Told::Both } else { Told::Nobody };
                self.cut(id, FlowEnd::Unbound, told, out);
                cuts += 1;
            }
        }
        if walk.next < numbers {
            self.unbinding.pause(walk, now + CUT_EVERY);
        } else {
            self.unbinding.end(walk, now);
        }
        self.sync.send(&self.exits, out);
    }

    /// Whether the flow of that number is to be cut, and then whether by RST. One that is over only lingers.
    fn unbound(&self, now: Instant, id: u32) -> Option<bool> {
        let flow = self.connections.held(id)?;
        if flow.life().is_over() || !self.connections.is_alive(id, now) {
            return None;
        }
        self.unbinding.due(now, &Binding::of(flow), flow.hash())
    }

    /// Forgets a half-open flow that its target refused, without a word to either end: the client tries again.
    pub(super) fn forget_refused(&mut self, id: u32, out: &mut Outbox) {
        self.cut(id, FlowEnd::Reset, Told::Nobody, out);
        self.sync.send(&self.exits, out);
    }

    /// Ends a flow, and tells whom it concerns.
    pub(super) fn cut(&mut self, id: u32, end: FlowEnd, told: Told, out: &mut Outbox) {
        let flow = *self.connections.flow(id);
        let mut over = self.connections.close(id);
        over.end = end;
        tell_closed(&over, out);
        if !over.own {
            return;
        }
        if flow.synced_at() != Instant::ZERO
            && self.sync.replicates()
            && let Some(other) = self.sync.other_owner(flow.slot)
        {
            let gone = Item::State {
                hash: over.hash,
                stand: None,
            };
            self.sync.draft(other, &gone, &self.exits, out);
        }
        if flow.life().tcp().is_none() {
            return;
        }
        if told == Told::Both {
            self.cut_client(&flow, out);
        }
        if told != Told::Nobody {
            self.cut_target(&flow, out);
        }
    }

    fn cut_client(&self, flow: &Flow, out: &mut Outbox) {
        let acknowledged = flow.expected().by(Side::Target);
        let sequence = flow.expected().by(Side::Client);
        // A SYN is reset by the number acknowledged, whatever the other one.
        let by_syn = acknowledged
            .filter(|_| flow.life().is_half_open())
            .map(|_| 0);
        let Some(sequence) = sequence.or(by_syn) else {
            return; // the client's next segment is reset by what it acknowledges
        };
        let way = match flow.pop {
            NodeId::UNKNOWN => None,
            pop => match self.way_to_client(pop, &flow.key.dst) {
                None => return,
                Some((_, exit)) => Some(exit),
            },
        };
        let numbers = (sequence, acknowledged.unwrap_or(0));
        self.send_cut(flow, (&flow.key.reversed(), numbers), way, out);
    }

    fn cut_target(&self, flow: &Flow, out: &mut Outbox) {
        let expected = flow.expected();
        let (Some(sequence), Some(exit)) = (expected.by(Side::Target), self.exits.to(flow.host))
        else {
            return;
        };
        let sequence = flow.telling.expected(sequence, flow.life().isn());
        let numbers = (sequence, expected.by(Side::Client).unwrap_or(0));
        let key = flow.reply_key().reversed();
        self.send_cut(flow, (&key, numbers), Some(exit), out);
    }

    /// Sends a RST the way that the flow's packets went; with none, straight to the Internet.
    fn send_cut(
        &self,
        flow: &Flow,
        (key, numbers): (&FlowKey, (u32, u32)),
        way: Option<Exit>,
        out: &mut Outbox,
    ) {
        let reset = Probe::reset(key, numbers);
        let bytes = reset.bytes();
        let Ok(parsed) = wire::parse(bytes) else {
            return;
        };
        let Some(mut packet) = out.originate(bytes.len()) else {
            return;
        };
        packet.bytes_mut().copy_from_slice(bytes);
        let Some(exit) = way else {
            return out.transmit(packet, PortId::PUBLIC);
        };
        // That of the flow's own packets, so that the reset does not overtake them.
        let hashed = if key.src == flow.key.dst {
            flow.reply_key()
        } else {
            flow.key
        };
        let entropy = (hashed.hash(&self.routes.hash_key) >> 48) as u16;
        let gre_key = GreKey::new(flow.clb.0, false, flow.slot);
        tunnel::send(packet, &parsed, gre_key, (exit, entropy), out);
    }
}
