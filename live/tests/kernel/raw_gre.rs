//! Tunnels in plain GRE, IP protocol 47, on the kernel's raw sockets: metadata, strangers, sizes.
//!
//! The far end is a raw socket of the test's own, so that nothing is checked against the code that wrote it. Needs root;
//! skipped loudly without.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};

use anyedge_live::dataplane::Dataplane;
use anyedge_live::dataplane::clock::TraceClock;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::Family;
use anyedge_net::id::PathId;
use anyedge_net::packet::Meta;
use anyedge_net::port::PortId;
use anyedge_net::wire::outer::{Encap, inner_mtu};
use anyedge_net::wire::{gre, udp};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::dataplane::{
    LIMIT, Mirror, PEER, TOS, dataplane_over, lab_is_up, own_address, poll_for,
};
use crate::lone_lab::LoneLab;

const FAMILIES: [(Family, &str, u16); 2] = [
    (Family::V4, "198.51.100.2", 0),
    (Family::V6, "2001:db8:2::2", 1),
];

/// A raw GRE socket of a node of the lab, with TOS 0xb9: DSCP EF and ECT(1).
fn raw_in(lone: &LoneLab, node: &str, address: &str) -> Socket {
    let address: IpAddr = address.parse().expect("an address");
    let open = || {
        let at = SocketAddr::new(address, 0);
        let protocol = Protocol::from(i32::from(gre::PROTOCOL));
        let socket = Socket::new(Domain::for_address(at), Type::RAW, Some(protocol))?;
        socket.bind(&SockAddr::from(at))?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.set_recv_buffer_size(1 << 20)?;
        match address {
            IpAddr::V4(_) => socket.set_tos_v4(u32::from(TOS))?,
            IpAddr::V6(_) => socket.set_tclass_v6(u32::from(TOS))?,
        }
        Ok(socket)
    };
    let opened = lone.namespace(node).run(open);
    opened.expect("a raw socket in the namespace")
}

/// The next packet at `socket`: its outer IPv4 header, if it has one, and what is behind.
fn read(socket: &mut Socket, family: Family) -> (Option<[u8; 20]>, Vec<u8>) {
    let mut packet = vec![0; 4_096];
    let len = socket.read(&mut packet).expect("it arrives");
    packet.truncate(len);
    if family == Family::V6 {
        return (None, packet);
    }
    let inner = packet.split_off(20);
    (packet.first_chunk().copied(), inner)
}

fn mirror(lone: &LoneLab, encap: Encap) -> Dataplane<Mirror, TraceClock> {
    dataplane_over(encap, lone, Mirror::default(), TraceClock::default())
}

#[test]
fn a_packet_in_plain_gre_keeps_its_metadata_both_ways() {
    let Some(lone) = lab_is_up("a_packet_in_plain_gre_keeps_its_metadata_both_ways") else {
        return;
    };
    let mut dataplane = mirror(&lone, Encap::Gre);
    for (family, address, path) in FAMILIES {
        let mut peer = raw_in(&lone, "host.s", address);
        let to = SockAddr::from(SocketAddr::new(own_address(family), 0));
        let payload = [7; 1_300];
        peer.send_to(&payload, &to).expect("there is a route");
        poll_for(&mut dataplane, 1);
        let seen = *dataplane.forwarder().seen.last().expect("one packet came");
        let expected = Meta {
            peer: PEER,
            tos: TOS,
            ..Meta::plain(PortId::tunnel(PathId(path)))
        };
        assert_eq!(seen, expected);
        let (outer, back) = read(&mut peer, family);
        assert_eq!(back, payload);
        if let Some(outer) = outer {
            assert_eq!((outer[1], outer[8], outer[9]), (TOS, 63, gre::PROTOCOL));
            assert_eq!(outer[6] & 0x40, 0x40, "it must not be fragmented");
        }
    }
}

#[test]
fn what_comes_from_elsewhere_or_in_another_wrapping_is_a_strangers() {
    let Some(lone) = lab_is_up("what_comes_from_elsewhere_or_in_another_wrapping_is_a_strangers")
    else {
        return;
    };
    let mut dataplane = mirror(&lone, Encap::Gre);
    let to = SocketAddr::new(own_address(Family::V4), 0);
    let stranger = raw_in(&lone, "ccn.router", "192.0.2.1");
    let sent = stranger.send_to(b"hello", &SockAddr::from(to));
    sent.expect("there is a route");
    poll_for(&mut dataplane, 1);
    // The peer's address, and the wrapping of another kind of path.
    let open = || std::net::UdpSocket::bind(("198.51.100.2", udp::PORT_GRE)).map_err(Into::into);
    let peer = lone.namespace("host.s").run(open).expect("a free port");
    peer.send_to(b"hello", (to.ip(), udp::PORT_GRE))
        .expect("there is a route");
    poll_for(&mut dataplane, 1);
    let totals = dataplane.totals();
    assert_eq!(totals.dropped(DropReason::UnknownPeer), 2);
    assert_eq!((totals.received(), totals.transmitted()), (2, 0));
}

/// Over a wire of 1,500 bytes, each size from 8 below the limit to 8 above it.
#[test]
fn packets_up_to_the_inner_mtu_pass_and_larger_ones_are_refused_over_both_kinds_of_packets() {
    let Some(lone) = lab_is_up(
        "packets_up_to_the_inner_mtu_pass_and_larger_ones_are_refused_over_both_kinds_of_packets",
    ) else {
        return;
    };
    let limits = [
        (Encap::Gre, Family::V4, 1_472),
        (Encap::Gre, Family::V6, 1_452),
        (Encap::GreUdp, Family::V4, 1_464),
        (Encap::GreUdp, Family::V6, 1_444),
    ];
    for encap in [Encap::Gre, Encap::GreUdp] {
        let mut dataplane = mirror(&lone, encap);
        for (family, address, path) in FAMILIES {
            let of_both = limits.iter().find(|row| (row.0, row.1) == (encap, family));
            let limit = of_both.expect("every pair is listed").2;
            assert_eq!(usize::from(inner_mtu(encap, family, 1_500)), limit);
            let address: IpAddr = address.parse().expect("an address");
            let far = Far::open(&lone, encap, address);
            let meta = Meta {
                peer: PEER,
                ..Meta::plain(PortId::tunnel(PathId(path)))
            };
            let refused = dataplane.totals().refused(DropReason::LinkMtu);
            for inner in limit - 8..=limit + 8 {
                let packet = vec![9; gre::HEADER_LEN + inner];
                let sent = dataplane.inject(&[(&packet, meta)]);
                sent.expect("the devices are open");
            }
            for inner in limit - 8..=limit {
                assert_eq!(far.next_len(family), gre::HEADER_LEN + inner, "{encap:?}");
            }
            let more = dataplane.totals().refused(DropReason::LinkMtu);
            assert_eq!(more - refused, 8, "{encap:?} over {family:?}");
        }
    }
}

/// The far end of a tunnel, whichever.
struct Far(Socket, Encap);

impl Far {
    fn open(lone: &LoneLab, encap: Encap, address: IpAddr) -> Far {
        if encap == Encap::Gre {
            return Far(raw_in(lone, "host.s", &address.to_string()), encap);
        }
        let open = || {
            let socket = std::net::UdpSocket::bind((address, udp::PORT_GRE))?;
            socket.set_read_timeout(Some(LIMIT))?;
            Ok(Socket::from(socket))
        };
        let opened = lone.namespace("host.s").run(open);
        Far(opened.expect("a socket in the namespace"), encap)
    }

    /// How long the next packet is from its GRE header on.
    fn next_len(&self, family: Family) -> usize {
        let mut packet = [0; 4_096];
        let len = (&self.0).read(&mut packet).expect("it arrives");
        let has_header = self.1 == Encap::Gre && family == Family::V4;
        len - if has_header { 20 } else { 0 }
    }
}
