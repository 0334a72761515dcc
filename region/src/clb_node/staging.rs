//! Staging: what one packet is, decided by its own bytes and the routes alone.
//!
//! Everything before the connection table: port, peer, tunnel header, parsing, VIP, TTL, and the hash of the
//! tuple. It changes nothing but the packet, so that a whole batch can be staged before the first flow is
//! looked up.
//!
//! Invariant: a staged packet is TCP or UDP, or a fragment of it, with a TTL to spare, its bytes exactly the inner
//! packet; in transit (`transit`) it may be any IP packet.

use anyedge_ccn::exits::Exit;
use anyedge_ccn::tunnel;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::id::{ClbId, NodeId, RegionId};
use anyedge_net::packet::Packet;
use anyedge_net::port::PortKind;
use anyedge_net::route_table::NodeKind;
use anyedge_net::slot;
use anyedge_net::wire::gre::{self, GreKey};
use anyedge_net::wire::{self, Parsed, tcp, udp};

use super::ClbNode;
use super::renumber::GONE_NODE;
use crate::peer;

/// A packet and what is known about it.
///
/// The parsed packet stays where it was written: a move right behind its many small writes would wait for them.
pub(super) struct Staged<'s> {
    pub(super) packet: Packet,
    pub(super) parsed: &'s mut Parsed,
    /// The keyed hash of the packet's own tuple.
    pub(super) hash: u64,
    pub(super) way: Way,
    /// It has made its hop between CLB nodes.
    pub(super) hop: bool,
    /// The CLB node that sent it on; `UNKNOWN` when none did.
    pub(super) asker: NodeId,
    /// Its flow, as the batch began.
    pub(super) found: Option<Found>,
}

/// An entry of the connection table. Good for the batch as long as no entry comes or goes.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) id: u32,
    /// Where its target is.
    pub(super) host: NodeId,
}

/// Which way a packet goes.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// From a client.
    ToTarget(Entrance),
    /// From a target, with this key.
    ToClient(GreKey),
    /// Of another region's flow, with this key, by this exit.
    Onward(GreKey, Exit),
}

/// Where a client's packet came in, and for whom.
#[derive(Clone, Copy)]
pub(super) struct Entrance {
    pub(super) clb: ClbId,
    pub(super) slot: u16,
    /// `UNKNOWN` straight from the Internet, `GONE_NODE` when a hop hides it.
    pub(super) pop: NodeId,
}

/// A staged packet without its packet.
pub(super) struct Stage {
    pub(super) parsed: Parsed,
    pub(super) hash: u64,
    pub(super) way: Way,
    pub(super) hop: bool,
    pub(super) asker: NodeId,
    pub(super) found: Option<Found>,
}

impl Stage {
    #[inline]
    pub(super) const fn with(&mut self, packet: Packet) -> Staged<'_> {
        Staged {
            packet,
            parsed: &mut self.parsed,
            hash: self.hash,
            way: self.way,
            hop: self.hop,
            asker: self.asker,
            found: self.found,
        }
    }
}

/// The packets of a batch that are staged, each beside its stage.
#[derive(Default)]
pub(super) struct Stages {
    pub(super) packets: Vec<Packet>,
    pub(super) stages: Vec<Stage>,
}

impl ClbNode {
    /// Understands `packet` and takes it out of its tunnel.
    #[inline(always)]
    pub(super) fn stage(&self, packet: &mut Packet) -> Result<Stage, DropReason> {
        match packet.meta.port.kind() {
            Some(PortKind::Tunnel) => {}
            Some(PortKind::Public) => return self.stage_public(packet),
            Some(PortKind::Vpc) => return self.stage_vpc(packet),
            Some(PortKind::Local | PortKind::Backend) | None => {
                return Err(DropReason::WrongPort);
            }
        }
        let region = self.region.ok_or(DropReason::UnknownPeer)?;
        let peer = packet.meta.peer;
        let from_pop = match peer::kind_of(&self.routes, peer) {
            Some(NodeKind::Pop) => true,
            Some(NodeKind::Host(of)) if of == region => false,
            Some(NodeKind::ClbNode(of)) if of == region && peer != self.own => {
                return self.stage_hopped(packet, region);
            }
            Some(NodeKind::ClbNode(of)) if of != region => {
                return self.stage_from_abroad(packet, of, region);
            }
            Some(NodeKind::Host(_) | NodeKind::ClbNode(_)) | None => {
                return Err(DropReason::UnknownPeer);
            }
        };
        let inner = tunnel::decapsulate(packet).map_err(|reason| not_entries(packet, reason))?;
        let checked = self.check_forwardable(&inner.parsed);
        let way = if from_pop {
            let entrance =
                checked.and_then(|()| self.entrance(inner.key, &inner.parsed, peer, region));
            match entrance {
                Ok(entrance) => Way::ToTarget(entrance),
                Err(reason) => self.outward(&inner, region, reason)?,
            }
        } else {
            checked?;
            Way::ToClient(inner.key)
        };
        Ok(self.staged_as(&inner, way))
    }

    /// What another CLB node of the region sends: a packet with the hop bit, of a client or of a target, or
    /// entries ([`DropReason::Entries`], and the packet is left as it was).
    #[cold]
    fn stage_hopped(&self, packet: &mut Packet, region: RegionId) -> Result<Stage, DropReason> {
        let header = gre::parse(packet.bytes()).map_err(|_| DropReason::BadGre)?;
        if header.protocol == gre::PROTOCOL_ENTRIES {
            return Err(DropReason::Entries);
        }
        let inner = tunnel::decapsulate(packet)?;
        if !inner.key.hop() {
            return Err(DropReason::UnknownPeer);
        }
        self.check_forwardable(&inner.parsed)?;
        let to_vip = self.served.clb_of(&inner.parsed.flow.dst).is_some();
        let way = if to_vip {
            Way::ToTarget(self.entrance(inner.key, &inner.parsed, GONE_NODE, region)?)
        } else {
            Way::ToClient(inner.key)
        };
        Ok(Stage {
            hash: inner.parsed.flow.hash(&self.routes.hash_key),
            parsed: inner.parsed,
            way,
            hop: true,
            asker: packet.meta.peer,
            found: None,
        })
    }

    /// A client that came straight over the Internet: what a POP does is done here.
    fn stage_public(&self, packet: &mut Packet) -> Result<Stage, DropReason> {
        let parsed = wire::parse(packet.bytes()).map_err(|_| DropReason::Malformed)?;
        packet.truncate(parsed.total_len);
        self.check_forwardable(&parsed)?;
        let clb = self
            .served
            .clb_of(&parsed.flow.dst)
            .ok_or(DropReason::NotVip)?;
        let hash = parsed.flow.hash(&self.routes.hash_key);
        let slot = slot::of_hash(self.spread_hash(clb, &parsed, hash));
        let region = self
            .region
            .and_then(|region| self.routes.regions.get(region.index()));
        // The vSwitch answers to the slot's owner: on another node the flow would be half a flow.
        let owned = region.is_some_and(|region| region.slots.owners(slot).primary == self.own);
        if !owned && parsed.fragment.is_none() {
            return Err(DropReason::NoSlotOwner);
        }
        let way = Way::ToTarget(Entrance {
            clb,
            slot,
            pop: NodeId::UNKNOWN,
        });
        Ok(Stage {
            parsed,
            hash,
            way,
            hop: false,
            asker: NodeId::UNKNOWN,
            found: None,
        })
    }

    /// What the region's own network routes here: the answer of a target without a vSwitch. It has no key, so
    /// that only its flow says whose it is.
    fn stage_vpc(&self, packet: &mut Packet) -> Result<Stage, DropReason> {
        let parsed = wire::parse(packet.bytes()).map_err(|_| DropReason::Malformed)?;
        packet.truncate(parsed.total_len);
        self.check_forwardable(&parsed)?;
        Ok(Stage {
            hash: parsed.flow.hash(&self.routes.hash_key),
            parsed,
            way: Way::ToClient(GreKey::new(0, false, 0)),
            hop: false,
            asker: NodeId::UNKNOWN,
            found: None,
        })
    }

    #[inline]
    pub(super) fn entrance(
        &self,
        key: GreKey,
        parsed: &Parsed,
        pop: NodeId,
        region: RegionId,
    ) -> Result<Entrance, DropReason> {
        let clb = ClbId(key.clb_id());
        if self
            .routes
            .clbs
            .get(clb.index())
            .is_none_or(|clb| clb.region != region)
        {
            return Err(DropReason::UnknownClb);
        }
        if !self.served.is_vip_of(&parsed.flow.dst, clb) {
            return Err(DropReason::NotVip);
        }
        Ok(Entrance {
            clb,
            slot: key.slot(),
            pop,
        })
    }

    #[inline]
    pub(super) fn check_forwardable(&self, parsed: &Parsed) -> Result<(), DropReason> {
        let carried = matches!(parsed.flow.protocol, tcp::PROTOCOL | udp::PROTOCOL);
        if parsed.fragment.is_some() && !(carried && self.routes.mechanisms.fragments) {
            return Err(DropReason::Fragment);
        }
        if !carried {
            return Err(DropReason::UnsupportedProtocol);
        }
        if parsed.ttl <= 1 {
            return Err(DropReason::TtlExpired);
        }
        Ok(())
    }

    /// The hash that flows are spread by, over slots and by Maglev: of the tuple, or with client affinity of
    /// its two addresses.
    pub(super) fn spread_hash(&self, clb: ClbId, parsed: &Parsed, hash: u64) -> u64 {
        let affinity = self
            .routes
            .clbs
            .get(clb.index())
            .is_some_and(|clb| clb.client_affinity);
        if affinity {
            parsed.flow.hash_two_tuple(&self.routes.hash_key)
        } else {
            hash
        }
    }
}

/// Flow entries are for CLB nodes of one region among themselves.
#[cold]
fn not_entries(packet: &Packet, reason: DropReason) -> DropReason {
    match gre::parse(packet.bytes()) {
        Ok(header) if header.protocol == gre::PROTOCOL_ENTRIES => DropReason::UnknownPeer,
        Ok(_) | Err(_) => reason,
    }
}
