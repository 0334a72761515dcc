//! What clients see of a lab: downloads and idle connections that outlive a link, a POP and a CLB node; echoes,
//! traceroutes, and the largest packets that get through.
//!
//! A download is of 100 MB, or of as many bytes as `ANYEDGE_DOWNLOAD` says (`ANYEDGE_DOWNLOAD=1GB`).

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use anyedge_net::flow::{Address, FlowKey};
use anyedge_net::wire::ip::Header;
use anyedge_net::wire::udp;
use anyedge_tests::labs::{Lab, text};
use anyedge_tests::processes::wait_for;
use anyedge_topologies::units;
use anyedge_traffic::pattern;
use nix::errno::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

pub(super) const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0x10);
/// Who sends single packets, and to which address.
const PROBES: [(&str, IpAddr); 2] = [
    ("client.osaka", IpAddr::V4(VIP)),
    ("client.berlin", IpAddr::V6(VIP6)),
];
/// Longer than any fault that a flow outlives.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Bytes a second of the download.
const PACE: u64 = 4_000_000;
/// How long an answer to one packet may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Hops that a trace may have.
const HOPS_MAX: u32 = 8;
/// raw(7): packets with their own headers.
const IPPROTO_RAW: i32 = 255;

/// A connection to the demo backend that is kept, and what befell the lab last.
pub(super) struct Kept(BufReader<TcpStream>, pub(super) &'static str);

impl Kept {
    pub(super) fn open(lab: &Lab, to: SocketAddr) -> Kept {
        let stream = lab.inside("client.osaka", || Ok(TcpStream::connect(to)?));
        let bounded = stream.set_read_timeout(Some(SILENCE_MAX));
        bounded.expect("more than zero");
        Kept(BufReader::new(stream), "nothing")
    }

    /// Asks, and reads the header; gives the bytes of the body.
    fn ask(&mut self, path: &str) -> u64 {
        let asked = write!(self.0.get_mut(), "GET {path} HTTP/1.1\r\nHost: vip\r\n\r\n");
        asked.expect("the connection lives");
        let mut len = None;
        loop {
            let mut line = String::new();
            let read = self.0.read_line(&mut line).expect("the connection lives");
            assert!(read > 0, "it was closed");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                return len.expect("a body has a length");
            }
            if let Some(told) = line.strip_prefix("content-length:") {
                len = told.trim().parse().ok();
            }
        }
    }

    /// Asks for a little, having been silent while something befell the lab; longer than that the backend would not wait.
    pub(super) fn still_answers(&mut self) {
        let len = self.ask("/bytes/5000");
        assert_eq!(self.read(0, len), 5_000);
    }

    /// Reads on from `done` up to `until`, byte by byte as they should be.
    fn read(&mut self, mut done: u64, until: u64) -> u64 {
        let mut piece = vec![0; 64 * 1024];
        while done < until {
            let most = usize::try_from(until - done)
                .unwrap_or(usize::MAX)
                .min(piece.len());
            let read = self.0.read(&mut piece[..most]);
            let count = read.unwrap_or_else(|error| {
                panic!("after {}: {error} at byte {done} of {until}", self.1)
            });
            assert!(count > 0, "it ended after {done} bytes");
            assert!(
                pattern::matches(done, &piece[..count]),
                "a wrong byte after {done}"
            );
            done += count as u64;
        }
        done
    }
}

#[test]
fn a_download_and_an_idle_connection_outlive_their_link_their_pops_and_their_clb_nodes() {
    let Some(lab) = Lab::up("slives", &["--set", "region.guangzhou.clb_nodes=2"]) else {
        return;
    };
    if !lab.status().entered_by.starts_with("BGP") {
        return; // nothing moves clients to another POP
    }
    wait_for("service", || lab.who_answers().is_some());
    let told = std::env::var("ANYEDGE_DOWNLOAD").ok();
    let bytes = told.map_or(100_000_000, |text| {
        units::bytes(&text).expect("such as 1GB")
    });
    // No part of it takes as long as the backend waits for the idle one.
    let pace = PACE.max(bytes / 50);
    let to = SocketAddr::from((VIP, 80));
    let mut idle = Kept::open(&lab, to);
    idle.still_answers();
    let mut download = Kept::open(&lab, to);
    assert_eq!(download.ask(&format!("/bytes/{bytes}?pace={pace}")), bytes);
    let mut done = download.read(0, bytes / 8);
    // Tokyo's only way to the region: it withdraws, and clients enter by Frankfurt.
    download.1 = "the link's loss";
    lab.fault(&["link", "tokyo-guangzhou", "down"]);
    done = download.read(done, bytes / 4);
    idle.still_answers();
    lab.fault(&["clear"]);
    done = download.read(done, bytes / 2);
    idle.still_answers();
    download.1 = "the POPs' loss";
    for (part, pop) in ["pop.tokyo", "pop.frankfurt"].iter().enumerate() {
        lab.fault(&["crash", pop, "--for", "1s"]);
        done = download.read(done, bytes / 16 * (9 + part as u64));
        wait_for("service", || lab.who_answers().is_some());
        lab.await_health();
        idle.still_answers();
    }
    download.1 = "the CLB node's loss";
    let received = |node| lab.metrics(node)["anyedge_packets_received_total"];
    let nodes = ["region.guangzhou.clb-1", "region.guangzhou.clb-2"];
    let before = nodes.map(received);
    done = download.read(done, bytes / 16 * 12);
    let [first, second] = [0, 1].map(|node| received(nodes[node]) - before[node]);
    // Who carries it, and then whoever took it over.
    let carrier = usize::from(second > first);
    for (part, node) in [nodes[carrier], nodes[1 - carrier], nodes[carrier]]
        .iter()
        .enumerate()
    {
        lab.fault(&["crash", node, "--for", "1s"]);
        done = download.read(done, bytes / 16 * (13 + part as u64));
        // One that is back and knows its flows.
        lab.await_health();
        idle.still_answers();
    }
    assert_eq!(download.read(done, bytes), bytes);
    idle.still_answers();
}

/// What came back for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Back {
    /// Its answer.
    Answer,
    /// Somebody on the way says that its TTL ran out.
    Expired(IpAddr),
    /// Somebody on the way says how long it may be.
    TooBig(u32),
    /// The client's own kernel has been told so before.
    Known,
    Nothing,
}

/// Sends single packets from a client, and hears what comes back.
struct Prober {
    udp: UdpSocket,
    raw: Socket,
    /// A raw socket, read like a UDP one.
    icmp: UdpSocket,
    own: SocketAddr,
    vip: SocketAddr,
}

impl Prober {
    /// Of a client's that is echoed.
    fn new(lab: &Lab, node: &str, vip: IpAddr) -> Prober {
        let (domain, messages, any) = match vip {
            IpAddr::V4(_) => {
                let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
                (Domain::IPV4, Protocol::ICMPV4, any)
            }
            IpAddr::V6(_) => {
                let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
                (Domain::IPV6, Protocol::ICMPV6, any)
            }
        };
        let prober = lab.inside(node, || {
            let vip = SocketAddr::new(vip, 7_000);
            // The address that the kernel would take.
            let asked = UdpSocket::bind(SocketAddr::new(any, 0))?;
            asked.connect(vip)?;
            let udp = UdpSocket::bind(SocketAddr::new(asked.local_addr()?.ip(), 0))?;
            udp.set_nonblocking(true)?;
            let icmp = Socket::new(domain, Type::RAW, Some(messages))?;
            icmp.set_nonblocking(true)?;
            let raw = Socket::new(domain, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))?;
            Ok(Prober {
                own: udp.local_addr()?,
                udp,
                raw,
                icmp: icmp.into(),
                vip,
            })
        });
        wait_for("an echo", || prober.send(100, 64) == Back::Answer);
        prober
    }

    /// A datagram in a packet of `len` bytes that must not be fragmented.
    fn datagram(&self, len: usize, ttl: u8) -> Vec<u8> {
        let (src, dst) = (Address::from(self.own.ip()), Address::from(self.vip.ip()));
        let header = Header {
            src,
            dst,
            protocol: udp::PROTOCOL,
            ttl,
            tos: 0,
            payload_len: if self.vip.is_ipv4() {
                len - 20
            } else {
                len - 40
            },
        };
        let mut bytes = vec![7; len];
        let at = header.write(&mut bytes);
        let flow = FlowKey {
            src,
            dst,
            src_port: self.own.port(),
            dst_port: self.vip.port(),
            protocol: udp::PROTOCOL,
        };
        udp::write_header(&mut bytes[at..], &flow, len - at - udp::HEADER_LEN);
        udp::fill_checksum(&mut bytes[at..], src, dst);
        bytes
    }

    fn send(&self, len: usize, ttl: u8) -> Back {
        let bytes = self.datagram(len, ttl);
        let to = SockAddr::from(SocketAddr::new(self.vip.ip(), 0));
        match self.raw.send_to(&bytes, &to) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(Errno::EMSGSIZE as i32) => {
                return Back::Known;
            }
            Err(error) => panic!("{len} bytes: {error}"),
        }
        let since = Instant::now();
        while since.elapsed() < ANSWER_MAX {
            if let Some(back) = self.hear(len) {
                return back;
            }
            std::thread::yield_now();
        }
        Back::Nothing
    }

    fn hear(&self, len: usize) -> Option<Back> {
        let mut buffer = vec![0; 2_000];
        if let Ok(count) = self.udp.recv(&mut buffer) {
            // An answer to an earlier packet, which came late, has another length.
            let headers = if self.vip.is_ipv4() { 20 } else { 40 };
            return (count + headers + udp::HEADER_LEN == len).then_some(Back::Answer);
        }
        let (count, from) = self.icmp.recv_from(&mut buffer).ok()?;
        // The kernel gives IPv4 messages with their IP header, IPv6 ones without.
        let message = if self.vip.is_ipv4() {
            &buffer[20..count]
        } else {
            &buffer[..count]
        };
        let word = |at: usize| {
            Some(u32::from_be_bytes(
                message.get(at..at + 4)?.try_into().ok()?,
            ))
        };
        match (self.vip.is_ipv4(), message[0], message[1]) {
            (true, 11, 0) | (false, 3, 0) => Some(Back::Expired(from.ip())),
            (true, 3, 4) => Some(Back::TooBig(word(4)? & 0xffff)),
            (false, 2, 0) => Some(Back::TooBig(word(4)?)),
            _ => None,
        }
    }
}

/// As a user of the machine would.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn pings(lab: &Lab, node: &str, vip: IpAddr) {
    if Command::new("ping").arg("-V").output().is_err() {
        eprintln!("SKIPPED: ping is not installed");
        return;
    }
    let ping = lab.exec(
        node,
        &["ping", "-n", "-c", "2", "-W", "2", &vip.to_string()],
    );
    let said = text(&ping.stdout);
    assert!(said.contains("2 received"), "{said}");
}

#[test]
fn pings_echoes_and_traceroutes_end_at_the_vip_and_show_nothing_of_the_inside() {
    let Some(lab) = Lab::up("strace", &[]) else {
        return;
    };
    wait_for("service", || lab.who_answers().is_some());
    for (node, vip) in PROBES {
        let prober = Prober::new(&lab, node, vip);
        let mut hops = Vec::new();
        let mut last = Back::Nothing;
        for ttl in 1..=HOPS_MAX {
            last = prober.send(100, ttl as u8);
            match last {
                Back::Expired(hop) => hops.push(hop),
                _ => break,
            }
        }
        assert_eq!(last, Back::Answer, "{vip}: {hops:?}");
        // The router beside the POP, the POP's machine, then the POP and what is behind it under the VIP's name.
        assert!(hops.len() >= 3, "{hops:?}");
        assert!(hops[2..].iter().all(|hop| *hop == vip), "{hops:?}");
        pings(&lab, node, vip);
    }
}

/// The longest packet that is echoed, by what senders of longer ones are told.
fn discovered(prober: &Prober) -> usize {
    let mut len = 1_500;
    for _ in 0..HOPS_MAX {
        match prober.send(len, 64) {
            Back::Answer => return len,
            Back::TooBig(mtu) => {
                let mtu = mtu as usize;
                assert!(mtu < len, "told {mtu} of a packet of {len} bytes");
                len = mtu;
            }
            other => panic!("{other:?} came back for {len} bytes"),
        }
    }
    panic!("told ever less, {len} at last");
}

#[test]
fn the_path_mtu_is_found_over_every_tunnel_and_every_size_around_it_is_echoed_or_told_of() {
    // The least inner MTU of backbone and fabric, over 1,500 bytes of the underlay's wires (docs/ccn.md).
    for (encap, underlay, limit) in [
        ("gre", "v4", 1_472),
        ("gre", "v6", 1_452),
        ("gre-udp", "v4", 1_464),
        ("gre-udp", "v6", 1_444),
        ("quic", "v4", 1_426),
        ("quic", "v6", 1_406),
        ("grpc", "v4", 1_464),
        ("grpc", "v6", 1_444),
    ] {
        let word = format!("smtu{}{underlay}", encap.replace('-', ""));
        let sets = [
            format!("defaults.ccn.encap={encap}"),
            format!("defaults.ccn.underlay={underlay}"),
        ];
        let Some(lab) = Lab::up(&word, &["--set", &sets[0], "--set", &sets[1]]) else {
            return;
        };
        wait_for("service", || lab.who_answers().is_some());
        for (node, vip) in PROBES {
            let prober = Prober::new(&lab, node, vip);
            assert_eq!(discovered(&prober), limit, "{encap} over {underlay}, {vip}");
            for len in limit - 3..=(limit + 3).min(1_500) {
                let back = prober.send(len, 64);
                let is_right = match back {
                    Back::Answer => len <= limit,
                    Back::Known => len > limit,
                    Back::TooBig(mtu) => len > limit && (mtu as usize) < len,
                    _ => false,
                };
                assert!(
                    is_right,
                    "{encap} over {underlay}, {vip}: {back:?} for {len} bytes; the limit is {limit}"
                );
            }
        }
    }
}
