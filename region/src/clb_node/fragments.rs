//! Fragments at the CLB node: they find the flow of their first one, by one more hop if it is another node's.
//!
//! A POP cannot know the flow of a later fragment: it sends all fragments of a packet to the owner of a slot that
//! they share. Here the first one tells the ports, the others wait for it. The owner of the flow's own slot takes
//! them as packets of the flow, with the addresses translated in each and ports and checksum in the first; another
//! node sends them there with the hop bit set, and that node sends nothing on. Answers come to the owner at once,
//! since the vSwitch knows their flow. A packet too long for the next tunnel that may be cut is cut here.

use anyedge_ccn::exits::Exit;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::slot;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::{self, fragment};

use super::ClbNode;
use super::staging::{Entrance, Stage, Staged, Way};
use crate::fragment_table::Piece;

/// What is remembered of a fragment that waits.
#[derive(Clone, Copy)]
pub(super) struct Waiting {
    way: Way,
    hop: bool,
}

/// Who serves a flow.
enum Owner {
    This,
    Other(Exit),
}

impl ClbNode {
    /// Takes a fragment of a client or of a target.
    #[cold]
    pub(super) fn on_fragment(&mut self, now: Instant, staged: Staged<'_>, out: &mut Outbox) {
        let Staged {
            packet,
            parsed,
            way,
            hop,
            ..
        } = staged;
        let piece = Piece {
            packet,
            parsed: *parsed,
            context: Waiting { way, hop },
        };
        let mut next = self.fragments.take(now, &self.routes.hash_key, piece, out);
        while let Some(piece) = next {
            self.pass_fragment(now, piece, out);
            next = self.fragments.pop_released();
        }
    }

    /// Sends a fragment whose ports are known where whole packets of its flow go.
    fn pass_fragment(&mut self, now: Instant, piece: Piece<Waiting>, out: &mut Outbox) {
        let Piece {
            packet,
            parsed,
            context: Waiting { way, hop },
        } = piece;
        let mut stage = Stage {
            parsed,
            hash: parsed.flow.hash(&self.routes.hash_key),
            way,
            hop,
            // Only packets that missed ask for a flow.
            asker: NodeId::UNKNOWN,
            found: None,
        };
        let entrance = match way {
            Way::ToClient(key) => {
                stage.found = self.look_up(&stage);
                return self.pass_to_client(now, stage.with(packet), key, out);
            }
            Way::Onward(key, exit) => return self.pass_on(stage.with(packet), (key, exit), out),
            Way::ToTarget(entrance) => Entrance {
                slot: slot::of_hash(self.spread_hash(entrance.clb, &parsed, stage.hash)),
                ..entrance
            },
        };
        stage.way = Way::ToTarget(entrance);
        match self.owner_of(entrance, hop) {
            Ok(Owner::This) => {
                stage.found = self.look_up(&stage);
                self.pass_to_target(now, stage.with(packet), entrance, out);
            }
            Ok(Owner::Other(exit)) if packet.wire_len() <= usize::from(exit.inner_mtu) => {
                let key = GreKey::new(entrance.clb.0, false, entrance.slot);
                let entropy = (stage.hash >> 48) as u16;
                self.hop(packet, &parsed, (key, entropy), exit, out);
            }
            Ok(Owner::Other(_)) => out.drop_packet(packet, DropReason::TooBig),
            Err(reason) => out.drop_packet(packet, reason),
        }
    }

    /// Who serves the flow of a fragment: after a hop always this node.
    fn owner_of(&self, entrance: Entrance, hop: bool) -> Result<Owner, DropReason> {
        let region = self
            .region
            .and_then(|region| self.routes.regions.get(region.index()))
            .ok_or(DropReason::NoSlotOwner)?;
        let owners = region.slots.owners(entrance.slot);
        if hop || owners.primary == self.own {
            return Ok(Owner::This);
        }
        if entrance.pop == NodeId::UNKNOWN || owners.primary == NodeId::UNKNOWN {
            return Err(DropReason::NoSlotOwner);
        }
        match self.exits.to(owners.primary) {
            Some(exit) => Ok(Owner::Other(exit)),
            None if owners.secondary == self.own => Ok(Owner::This),
            None => {
                let exit = self.exits.to(owners.secondary);
                exit.map(Owner::Other).ok_or(DropReason::NoPath)
            }
        }
    }

    /// Whether a packet that is too long may be cut.
    pub(super) fn may_split(&self, staged: &Staged<'_>) -> bool {
        self.routes.mechanisms.fragments && fragment::may_split(staged.parsed)
    }

    /// Cuts a packet to `mtu` and sends the pieces the way of the whole.
    #[cold]
    pub(super) fn split(&mut self, now: Instant, staged: Staged<'_>, mtu: u16, out: &mut Outbox) {
        let Staged {
            packet,
            parsed,
            hash,
            way,
            hop,
            asker,
            ..
        } = staged;
        fragment::split(packet, mtu, out, |packet, out| {
            let Ok(mut piece) = wire::parse(packet.bytes()) else {
                return out.drop_packet(packet, DropReason::Malformed);
            };
            piece.flow = parsed.flow;
            if packet.wire_len() > usize::from(mtu) {
                return out.drop_packet(packet, DropReason::TooBig);
            }
            let mut stage = Stage {
                parsed: piece,
                hash,
                way,
                hop,
                asker,
                found: None,
            };
            stage.found = self.look_up(&stage);
            let staged = stage.with(packet);
            match way {
                Way::ToTarget(entrance) => self.pass_to_target(now, staged, entrance, out),
                Way::ToClient(key) => self.pass_to_client(now, staged, key, out),
                Way::Onward(key, exit) => self.pass_on(staged, (key, exit), out),
            }
        });
    }
}
