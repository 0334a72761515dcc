//! SNAT: ports of this node's own that stand for clients, and which of them a new flow gets.
//!
//! A target of IPv4 cannot answer a client of IPv6: its packets come from an address of the load balancer's, and a port
//! that tells the node whose flow it is (RFC 6146). What must be unique is the pair of source and target, so a port may
//! serve several targets at a time. Ports are given out in turn, which leaves one that was used alone for as long as
//! possible, and a node that starts begins anywhere, since what it had before it may still be in use. A block that was
//! another node's is for when nothing else is left, at first: a third node may hold its flows by now.
//!
//! Bounded: for one flow [`TRIES_MAX`] ports are tried, a client that finds none tries again and the turn goes on.

use core::net::Ipv4Addr;
use core::time::Duration;
use std::collections::BTreeMap;

use anyedge_net::flow::{Address, Family, FlowKey};
use anyedge_net::id::{ClbId, NodeId, RegionId};
use anyedge_net::route_table::{Clb, RouteTable, SNAT_BLOCK_PORTS, SnatBlock};
use anyedge_net::switch;
use anyedge_net::time::Instant;

/// Ports that are tried for one new flow.
pub(crate) const TRIES_MAX: u32 = 256;
/// How long a block rests, if it can, that was another node's: twice the idle timeout of TCP flows.
pub(crate) const INHERITED_REST: Duration = Duration::from_secs(2 * 900);

/// The address and port that a target takes for its client's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    // Bytes, so that it fits where an address of IPv6 does.
    address: [u8; 4],
    port: [u8; 2],
}

impl Source {
    pub(crate) const fn new(address: [u8; 4], port: u16) -> Source {
        Source {
            address,
            port: port.to_be_bytes(),
        }
    }

    pub(crate) const fn address(self) -> Address {
        Address::v4(self.address)
    }

    pub(crate) const fn port(self) -> u16 {
        u16::from_be_bytes(self.port)
    }
}

/// The target of a flow, and whom it takes for its client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AtTarget {
    /// The client itself.
    Client(Address),
    /// An address of the load balancer's.
    Snat { target: [u8; 4], source: Source },
}

// No byte more than the address alone, which has room in its family.
const _: () = assert!(size_of::<AtTarget>() == size_of::<Address>());

impl AtTarget {
    /// `source` is for targets of IPv4 alone.
    pub(crate) fn new(target: Address, source: Option<Source>) -> AtTarget {
        match (target.v4_octets(), source) {
            (Some(target), Some(source)) => AtTarget::Snat { target, source },
            (None, _) | (_, None) => AtTarget::Client(target),
        }
    }

    #[inline]
    pub(crate) const fn address(&self) -> Address {
        match self {
            AtTarget::Client(target) => *target,
            AtTarget::Snat { target, .. } => Address::v4(*target),
        }
    }

    #[inline]
    pub(crate) const fn family(&self) -> Family {
        match self {
            AtTarget::Client(target) => target.family(),
            AtTarget::Snat { .. } => Family::V4,
        }
    }

    #[inline]
    pub(crate) const fn source(&self) -> Option<Source> {
        match self {
            AtTarget::Client(_) => None,
            AtTarget::Snat { source, .. } => Some(*source),
        }
    }
}

/// The blocks of this node, by load balancer.
#[derive(Default)]
pub(crate) struct SnatPorts(BTreeMap<ClbId, Ports>);

#[derive(Default)]
struct Ports {
    blocks: Vec<Block>,
    /// The port whose turn it is, counted through all blocks.
    next: u32,
}

struct Block {
    address: [u8; 4],
    first_port: u16,
    usable_at: Instant,
}

impl SnatPorts {
    /// Takes over the blocks that `new` gives this node. The turns of load balancers that stay go on, by name.
    pub(crate) fn apply(
        &mut self,
        now: Instant,
        (old, new): (&RouteTable, &RouteTable),
        (own, region): (NodeId, Option<RegionId>),
    ) {
        let any = |table: &RouteTable| table.clbs.iter().any(|clb| !clb.snat.blocks.is_empty());
        if self.0.is_empty() && !any(new) {
            return;
        }
        let mut was = core::mem::take(&mut self.0);
        let same_nodes = old.nodes.is(&new.nodes);
        let before = |name: &str| {
            let mut clbs = (0..).map(ClbId).zip(&old.clbs);
            clbs.find(|(_, clb)| clb.name == name)
        };
        for (id, clb) in (0..).map(ClbId).zip(&new.clbs) {
            if Some(clb.region) != region {
                continue;
            }
            let before = before(&clb.name);
            let ports = before.and_then(|(id, _)| was.remove(&id));
            // Most versions change something else, and packets wait meanwhile.
            let same = same_nodes && before.is_some_and(|(_, old)| old.snat == clb.snat);
            if same {
                self.0.extend(ports.map(|ports| (id, ports)));
                continue;
            }
            let other = before.map(|(_, clb)| (&**clb, old));
            let block = |block: &SnatBlock| Block {
                address: block.address.octets(),
                first_port: block.first_port,
                usable_at: usable_at(now, block, ports.as_ref(), (other, new)),
            };
            let own = clb.snat.blocks.iter().filter(|block| block.node == own);
            let blocks: Vec<Block> = own.map(block).collect();
            if !blocks.is_empty() {
                let next = ports.map_or_else(|| anywhere(now), |ports| ports.next);
                self.0.insert(id, Ports { blocks, next });
            }
        }
    }

    /// The source of a new flow: the next port that is not `taken` towards its target. Of a block that rests only when
    /// no other has one.
    pub(crate) fn pick(
        &mut self,
        now: Instant,
        clb: ClbId,
        mut taken: impl FnMut(Source) -> bool,
    ) -> Option<Source> {
        let ports = self.0.get_mut(&clb)?;
        let rested = ports.turn(|block| block.usable_at <= now, &mut taken);
        rested.or_else(|| ports.turn(|block| block.usable_at > now, &mut taken))
    }
}

impl Ports {
    /// The next port of a block that will do.
    fn turn(
        &mut self,
        will_do: impl Fn(&Block) -> bool,
        mut taken: impl FnMut(Source) -> bool,
    ) -> Option<Source> {
        let of_block = u32::from(SNAT_BLOCK_PORTS);
        let all = self.blocks.len() as u32 * of_block;
        let (mut left, mut passed) = (TRIES_MAX, 0);
        let mut next = self.next;
        while left > 0 && passed < all {
            next %= all;
            let block = &self.blocks[(next / of_block) as usize];
            let offset = next % of_block;
            if !will_do(block) {
                next += of_block - offset;
                passed += of_block - offset;
                continue;
            }
            next += 1;
            passed += 1;
            left -= 1;
            self.next = next;
            let source = Source::new(block.address, block.first_port + offset as u16);
            if !taken(source) || !switch::is_on("P-SA06") {
                return Some(source);
            }
        }
        None
    }
}

/// Where the turn of a node begins.
fn anywhere(now: Instant) -> u32 {
    (now.as_nanos().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

/// Until when a block of `new` rests. One that is new here and was another node's in `before` does.
fn usable_at(
    now: Instant,
    block: &SnatBlock,
    ports: Option<&Ports>,
    (before, new): (Option<(&Clb, &RouteTable)>, &RouteTable),
) -> Instant {
    let place = (block.address.octets(), block.first_port);
    let known = ports.and_then(|ports| {
        let mut known = ports.blocks.iter();
        known.find(|it| (it.address, it.first_port) == place)
    });
    if let Some(known) = known {
        return known.usable_at;
    }
    let was_anothers = before.is_some_and(|(clb, old)| {
        let mut blocks = clb.snat.blocks.iter();
        let same =
            |it: &&SnatBlock| (it.address, it.first_port) == (block.address, block.first_port);
        let name = |table: &RouteTable, node: NodeId| {
            table.nodes.get(node.index()).map(|node| node.name.clone())
        };
        let owner = blocks.find(same);
        owner.is_some_and(|it| name(old, it.node) != name(new, block.node))
    });
    if was_anothers {
        now + INHERITED_REST
    } else {
        Instant::ZERO
    }
}

/// Whether a load balancer gives clients of IPv6 targets of IPv4.
pub(crate) fn is_nat64(clb: &Clb) -> bool {
    clb.snat.nat64 && switch::is_on("A30")
}

/// The family of the targets that a client's flow may get.
pub(crate) fn target_family(flow: &FlowKey, clb: Option<&Clb>) -> Family {
    match flow.family() {
        Family::V6 if clb.is_some_and(is_nat64) => Family::V4,
        family => family,
    }
}

/// Whether a flow's source is an address that its load balancer no longer has.
pub(crate) fn has_lost_source(source: Source, clb: Option<&Clb>) -> bool {
    let address = Ipv4Addr::from(source.address);
    clb.is_none_or(|clb| !clb.snat.addresses.contains(&address))
}
