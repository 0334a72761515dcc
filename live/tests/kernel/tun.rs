//! A TUN device in a namespace: what the kernel routes to it comes out, what goes in reaches the kernel's sockets.
//!
//! A datagram is answered by swapping its addresses and ports, which leaves every checksum as it is. Needs root.

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::lone_lab::{LoneLab, can_make_namespaces, program};
use anyedge_live::tun::{Tun, TunPlan, host_routes};
use anyedge_live::{lab, prefix::Prefix};
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The next packet that is neither a router solicitation nor any other talk of the kernel's own.
fn next_udp(tun: &mut Tun, pool: &mut Pool) -> Packet {
    loop {
        let meta = Meta::plain(PortId::PUBLIC);
        if let Some(packet) = tun.recv(pool, meta).expect("the device is open") {
            let bytes = packet.bytes();
            let is_udp =
                (bytes[0] >> 4 == 4 && bytes[9] == 17) || (bytes[0] >> 4 == 6 && bytes[6] == 17);
            if is_udp {
                return packet;
            }
            pool.take_back(packet);
            continue;
        }
        let mut waiting = [PollFd::new(tun.as_fd(), PollFlags::POLLIN)];
        assert_ne!(
            poll(&mut waiting, PollTimeout::from(5_000_u16)).expect("poll"),
            0,
            "no packet within 5 s"
        );
    }
}

#[test]
fn packets_cross_a_tun_in_both_directions() {
    if !can_make_namespaces("packets_cross_a_tun_in_both_directions") {
        return;
    }
    let lone = LoneLab::new();
    let mut blueprint = lone.line_of_three();
    blueprint.processes = vec![program("host.s", "host.s", "/bin/sleep", &["1000"])];
    lab::up_blueprint(&blueprint).expect("the lab comes up");
    let ends = [
        ("10.7.0.1", "203.0.113.10"),
        ("2001:db8:7::1", "2001:db8:113::10"),
    ];
    let cases = [false, true].map(|offload| ends.map(|(own, remote)| (own, remote, offload)));
    for (own, remote, offload) in cases.into_iter().flatten() {
        let (own, remote) = (
            own.parse().expect("an address"),
            remote.parse().expect("an address"),
        );
        let plan = TunPlan {
            interface: "tun-vip".to_owned(),
            mtu: 1_500,
            addresses: vec![Prefix::host(own)],
            routes: host_routes([remote]),
            offload,
        };
        lone.namespace("host.s")
            .run(|| {
                let mut tun = Tun::open(&plan)?;
                assert_eq!(tun.has_offload(), offload);
                assert_eq!(tun.interface(), "tun-vip");
                let socket = UdpSocket::bind((own, 0))?;
                socket.set_read_timeout(Some(Duration::from_secs(5)))?;
                socket.send_to(b"ping", (remote, 7_000))?;
                let mut pool = Pool::new(4);
                let mut sent = next_udp(&mut tun, &mut pool);
                let packet = sent.bytes_mut();
                assert!(packet.ends_with(b"ping"));
                // Addresses and ports swapped leave every checksum as it is: an answer from the other side.
                let (header, address) = if own.is_ipv4() {
                    (20, 12..20)
                } else {
                    (40, 8..40)
                };
                let half = (address.end - address.start) / 2;
                packet[address].rotate_left(half);
                packet[header..header + 4].rotate_left(2);
                assert!(tun.send(&mut sent)?);
                let mut answer = [0; 16];
                let (len, from) = socket.recv_from(&mut answer)?;
                assert_eq!(
                    (&answer[..len], from.ip(), from.port()),
                    (&b"ping"[..], remote, 7_000)
                );
                Ok(())
            })
            .expect("the namespace has a TUN");
    }
}
