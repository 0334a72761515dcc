//! Routers of the public Internet: in front of a public path that takes less, one tells a packet's sender.
//!
//! A client's packet is answered at once, since that router is its own first one. The router that refuses an
//! answer of a VIP stands near the clients: its error enters where their packets to this VIP enter now, which
//! need not be the POP that the answer came from. With ICMP errors turned off nobody says anything.
//! References: RFC 1191 §4, RFC 4443 §3.2.

use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::{Address, Family};
use anyedge_net::id::{NodeId, RegionId};
use anyedge_net::packet::{Meta, Packet};
use anyedge_net::port::PortId;
use anyedge_net::slot;
use anyedge_net::wire::icmp::{self, Complaint};
use anyedge_net::wire::{self, Parsed};

use super::{LinkEnd, LinkId, World};

/// Every router's address; they send nothing but errors, and nobody answers these.
const ROUTER_V4: Address = Address::v4([198, 18, 255, 254]);
const ROUTER_V6: Address = Address::v6([
    0x20, 0x01, 0x00, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe,
]);

impl World {
    /// `link` takes no packet as long as `packet`, which ends there.
    pub(super) fn refuse_too_big(&mut self, link: LinkId, packet: Packet) {
        let is_public = matches!(
            self.ends[link.index()],
            LinkEnd::PopPublic(_) | LinkEnd::RegionPublic(_) | LinkEnd::Clients
        );
        if is_public
            && self.recorder.is_none()
            && self.table.mechanisms.icmp_errors
            && let Ok(parsed) = wire::parse(packet.bytes())
        {
            self.tell_too_big(link, packet.bytes(), &parsed);
        }
        self.out.pool_mut().take_back(packet);
    }

    /// What a region's own routers do with a packet from the Internet: the slot's node gets it.
    pub(super) fn slot_owner(&self, region: RegionId, bytes: &[u8]) -> Result<NodeId, DropReason> {
        let parsed = wire::parse(bytes).map_err(|_| DropReason::Malformed)?;
        let region = &self.table.regions[region.index()];
        let slot = slot::of_hash(parsed.flow.hash(&self.table.hash_key));
        let owners = region.slots.owners(slot);
        let is_up = |node: &&NodeId| {
            let node = self.nodes.get(node.index());
            node.is_some_and(|node| node.down.is_none())
        };
        match [owners.primary, owners.secondary].iter().find(is_up) {
            Some(node) => Ok(*node),
            None if owners.primary == NodeId::UNKNOWN => Err(DropReason::NoSlotOwner),
            // It is lost there, as what that node is down for.
            None => Ok(owners.primary),
        }
    }

    fn tell_too_big(&mut self, link: LinkId, bytes: &[u8], parsed: &Parsed) {
        let mtu = u16::try_from(self.links[link.index()].spec.mtu).unwrap_or(u16::MAX);
        let from = match parsed.family {
            Family::V4 => ROUTER_V4,
            Family::V6 => ROUTER_V6,
        };
        let mut error = [0; icmp::ERROR_LEN_MAX];
        let len = icmp::write_error(bytes, parsed, Complaint::TooBig { mtu }, from, &mut error);
        if len == 0 {
            return;
        }
        let pool = self.out.pool_mut();
        let Some(error) = pool.lend_copy(&error[..len], Meta::plain(PortId::PUBLIC)) else {
            return;
        };
        self.routers_sent += 1;
        let (sender, receiver) = (parsed.flow.src, parsed.flow.dst);
        if self.ends[link.index()] != LinkEnd::Clients {
            return match self.internet.host(sender) {
                Some(host) => self.host_packet(host, error),
                None => self.lose(error, DropReason::NoRoute),
            };
        }
        match self.internet.near(receiver, sender) {
            Some(link) => self.send_on(link, error),
            None => self.lose(error, DropReason::NoRoute),
        }
    }
}
