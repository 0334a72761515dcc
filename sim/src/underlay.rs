//! The port's half of a tunnel: outer IP (and UDP) headers, written on the way out, read on the way in.
//!
//! Tunnels that are connections have none: their packets are the host's of [`crate::streams`].
//!
//! A forwarder stops at the GRE header. In the live world the kernel does the rest; here these functions
//! do, with the same bytes on the wire: DF set, TTL 64, the flow's entropy as UDP source port, UDP
//! checksum zero (RFC 8086 §4, RFC 6935 for IPv6 tunnels).

use core::net::IpAddr;

use anyedge_net::flow::{Address, Family};
use anyedge_net::id::NodeId;
use anyedge_net::packet::Packet;
use anyedge_net::route_table::{Node, RouteTable};
use anyedge_net::wire::outer::Encap;
use anyedge_net::wire::{gre, ip, udp};

use crate::lookup::{At, Table};

const TTL: u8 = 64;
/// Source ports of GRE-in-UDP lie in the ephemeral range (RFC 8086 §3.2.1).
const SOURCE_PORTS_FROM: u16 = 0xc000;

/// Which node has which tunnel address: what a tunnel's port asks about both ends of an outer header.
#[derive(Default)]
pub(crate) struct Neighbours {
    v4: Table<u32, NodeId>,
    v6: Table<At, NodeId>,
}

impl Neighbours {
    pub(crate) fn of(table: &RouteTable) -> Neighbours {
        let nodes = table.nodes.iter().zip((0..).map(NodeId));
        let both = nodes.map(|(node, id)| {
            let v6 = Address::v6(node.underlay_v6.octets());
            ((node.underlay_v4.to_bits(), id), (At(v6), id))
        });
        let (v4, v6) = both.unzip();
        Neighbours { v4, v6 }
    }

    /// The node with that address.
    #[inline(always)]
    pub(crate) fn at(&self, address: IpAddr) -> Option<NodeId> {
        match address {
            IpAddr::V4(address) => self.v4.get(&address.to_bits()).copied(),
            IpAddr::V6(address) => self.v6.get(&At(Address::v6(address.octets()))).copied(),
        }
    }
}

/// What the outer header of an arriving packet said.
pub(crate) struct Outer {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) tos: u8,
    /// Bytes in front of the GRE header.
    pub(crate) len: usize,
}

/// Writes the outer headers in front of the GRE header. `None` when there is no headroom left, or no such headers.
#[inline]
pub(crate) fn wrap(
    packet: &mut Packet,
    encap: Encap,
    family: Family,
    from: &Node,
    to: &Node,
) -> Option<()> {
    let udp_len = match encap {
        Encap::Gre => 0,
        Encap::GreUdp => udp::HEADER_LEN,
        Encap::Grpc | Encap::Quic | Encap::Plain => return None,
    };
    let inner_len = packet.len();
    let (tos, entropy) = (packet.meta.tos, packet.meta.entropy);
    let ip_len = ip::header_len(family);
    let out = packet.push_front(ip_len + udp_len)?;
    let (src, dst) = match family {
        Family::V4 => (
            Address::from(IpAddr::V4(from.underlay_v4)),
            Address::from(IpAddr::V4(to.underlay_v4)),
        ),
        Family::V6 => (
            Address::from(IpAddr::V6(from.underlay_v6)),
            Address::from(IpAddr::V6(to.underlay_v6)),
        ),
    };
    let protocol = if udp_len == 0 {
        gre::PROTOCOL
    } else {
        udp::PROTOCOL
    };
    ip::Header {
        src,
        dst,
        protocol,
        ttl: TTL,
        tos,
        payload_len: udp_len + inner_len,
    }
    .write(out);
    if udp_len > 0 {
        let header = &mut out[ip_len..];
        let source_port = SOURCE_PORTS_FROM | (entropy >> 2);
        header[0..2].copy_from_slice(&source_port.to_be_bytes());
        header[2..4].copy_from_slice(&udp::PORT_GRE.to_be_bytes());
        header[4..6].copy_from_slice(&((udp_len + inner_len) as u16).to_be_bytes());
        header[6..8].fill(0);
    }
    Some(())
}

/// Reads the outer headers of `bytes`. `None` when they are none that [`wrap`] could have written for
/// `encap`.
pub(crate) fn unwrap(bytes: &[u8], encap: Encap) -> Option<Outer> {
    let (source, destination, tos, protocol, ip_len) = match bytes.first()? >> 4 {
        4 => {
            let header = bytes.first_chunk::<20>()?;
            if header[0] != 0x45 {
                return None;
            }
            let address = |at: usize| {
                IpAddr::from([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            (address(12), address(16), header[1], header[9], 20)
        }
        6 => {
            let header = bytes.first_chunk::<40>()?;
            let address = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&header[at..at + 16]);
                IpAddr::from(octets)
            };
            (
                address(8),
                address(24),
                (header[0] << 4) | (header[1] >> 4),
                header[6],
                40,
            )
        }
        _ => return None,
    };
    let len = match (encap, protocol) {
        (Encap::Gre, gre::PROTOCOL) => ip_len,
        (Encap::GreUdp, udp::PROTOCOL) => {
            let header = bytes.get(ip_len..ip_len + udp::HEADER_LEN)?;
            if u16::from_be_bytes([header[2], header[3]]) != udp::PORT_GRE {
                return None;
            }
            ip_len + udp::HEADER_LEN
        }
        _ => return None,
    };
    Some(Outer {
        source,
        destination,
        tos,
        len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyedge_net::id::NodeId;
    use anyedge_net::packet::{Meta, Pool};
    use anyedge_net::port::PortId;
    use anyedge_net::route_table::NodeKind;

    fn node(last: u8) -> Node {
        Node {
            name: format!("pop.{last}"),
            kind: NodeKind::Pop,
            underlay_v4: [172, 16, 0, last].into(),
            underlay_v6: [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)].into(),
            draining: false,
        }
    }

    #[test]
    fn what_was_wrapped_is_read_back_over_both_families_and_encapsulations() {
        let mut pool = Pool::new(1);
        for encap in [Encap::Gre, Encap::GreUdp] {
            for family in [Family::V4, Family::V6] {
                let meta = Meta {
                    peer: NodeId(1),
                    entropy: 0x1234,
                    tos: 0xb9,
                    ..Meta::plain(PortId(20))
                };
                let mut packet = pool
                    .lend_copy(b"gre and inner", meta)
                    .expect("the pool is fresh");
                wrap(&mut packet, encap, family, &node(1), &node(2))
                    .expect("fresh packets have headroom");
                let outer = unwrap(packet.bytes(), encap).expect("we wrote it");
                let ttl_at = if family == Family::V4 { 8 } else { 7 };
                assert_eq!((outer.tos, packet.bytes()[ttl_at]), (0xb9, 64));
                match family {
                    Family::V4 => assert_eq!(outer.source, IpAddr::from([172, 16, 0, 1])),
                    Family::V6 => assert_eq!(outer.destination, IpAddr::V6(node(2).underlay_v6)),
                }
                assert_eq!(&packet.bytes()[outer.len..], b"gre and inner");
                let other = if encap == Encap::Gre {
                    Encap::GreUdp
                } else {
                    Encap::Gre
                };
                assert!(unwrap(packet.bytes(), other).is_none());
                assert!((0..outer.len).all(|cut| unwrap(&packet.bytes()[..cut], encap).is_none()));
                pool.take_back(packet);
            }
        }
    }
}
