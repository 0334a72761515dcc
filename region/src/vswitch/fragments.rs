//! Fragments of a backend's answers: they find the tuple of their first one.
//!
//! So all of them go to the CLB node of their flow, with its key. A packet that is too long for the tunnel and may
//! be cut is cut here. Fragments on their way to the backend need nothing of this: what has no ports is delivered
//! as it is.

use anyedge_net::drop_reason::DropReason;
use anyedge_net::outbox::Outbox;
use anyedge_net::time::Instant;
use anyedge_net::wire::{self, Parsed, fragment};

use super::{Stage, Staged, VSwitch, Way};
use crate::fragment_table::Piece;

impl VSwitch {
    /// Takes a fragment of the backend.
    #[cold]
    pub(super) fn answer_fragment(&mut self, now: Instant, staged: Staged<'_>, out: &mut Outbox) {
        let piece = Piece {
            packet: staged.packet,
            parsed: *staged.parsed,
            context: (),
        };
        let mut next = self.fragments.take(now, &self.routes.hash_key, piece, out);
        while let Some(Piece { packet, parsed, .. }) = next {
            self.answer(now, self.stage_again(parsed).with(packet), out);
            next = self.fragments.pop_released();
        }
    }

    /// Whether a packet that is too long may be cut.
    pub(super) fn may_split(&self, staged: &Staged<'_>) -> bool {
        self.routes.mechanisms.fragments && fragment::may_split(staged.parsed)
    }

    /// Cuts an answer to what fits its tunnel and sends the pieces.
    #[cold]
    pub(super) fn split(&mut self, now: Instant, staged: Staged<'_>, out: &mut Outbox) {
        let key = staged.found.map(|id| self.tuples.key(id));
        let exit = key.and_then(|key| self.exit_to_owner(key.slot()).ok());
        let mtu = exit.map_or(0, |exit| exit.inner_mtu);
        let flow = staged.parsed.flow;
        fragment::split(staged.packet, mtu, out, |packet, out| {
            match wire::parse(packet.bytes()) {
                Ok(mut parsed) if packet.wire_len() <= usize::from(mtu) => {
                    parsed.flow = flow;
                    self.answer(now, self.stage_again(parsed).with(packet), out);
                }
                Ok(_) | Err(_) => out.drop_packet(packet, DropReason::TooBig),
            }
        });
    }

    /// A packet of the backend, with the tuple that it belongs to now that its flow is known.
    fn stage_again(&self, parsed: Parsed) -> Stage {
        let mut stage = Stage {
            parsed,
            hash: parsed.flow.hash(&self.routes.hash_key),
            way: Way::ToClbNode,
            found: None,
        };
        stage.found = self.look_up(&stage);
        stage
    }
}
