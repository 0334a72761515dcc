//! Who sends a lab what nobody asked for: SYNs from addresses that are not the sender's, and bytes that are nothing.
//!
//! From the namespace of a node, until it is dropped. All bytes come from a seed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyedge_live::lab::name::LabName;
use anyedge_live::netns::Namespace;
use anyedge_net::flow::Address;
use anyedge_net::rng::{Rng, Seed};
use anyedge_net::wire::ip::{self, Header};
use anyedge_net::wire::ipv4;
use anyedge_net::wire::tcp;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Raw IPv4 packets with their own headers (raw(7)).
const IPPROTO_RAW: i32 = 255;
/// How long a garbage connection may take to open.
const CONNECT_MAX: Duration = Duration::from_millis(200);
/// How long [`Pace::Rested`] rests behind so many pieces.
const REST: (u64, Duration) = (32, Duration::from_millis(1));
/// The longest piece of garbage.
const GARBAGE_BYTES_MAX: u64 = 1_400;

/// A sender at work.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// How fast garbage goes. SYNs go at full pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as a thread goes: on a fast machine more than the nodes of a lab, built for tests, can read, so that what else comes by
    /// the same sockets, probes too, is lost.
    Full,
    /// Up to 30,000 pieces a second, beside which a node reads on.
    Rested,
}

/// Where garbage goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// Datagrams.
    Udp(SocketAddr),
    /// Bytes over connections.
    Tcp(SocketAddr),
    /// Packets of that protocol, from an address that need not be the sender's.
    Raw {
        /// Of the IPv4 header.
        protocol: u8,
        /// Whose they seem to be.
        from: Ipv4Addr,
        /// Whom they go to.
        to: Ipv4Addr,
    },
}

impl Flood {
    /// SYNs to a VIP, each from another address and port.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn of_syns(lab: &str, node: &str, to: (Ipv4Addr, u16)) -> Flood {
        Flood::begin(lab, node, move |rng, sent, stop| {
            let socket = raw();
            let mut bytes = [0; 40];
            while !stop.load(Ordering::Relaxed) {
                // 100.64.0.0/10, which is nobody's here.
                let from = 0x6440_0000 | rng.below(1 << 22) as u32;
                let header = Header {
                    src: Address::v4(from.to_be_bytes()),
                    dst: Address::v4(to.0.octets()),
                    protocol: tcp::PROTOCOL,
                    ttl: ip::DEFAULT_TTL,
                    tos: 0,
                    payload_len: tcp::HEADER_LEN,
                };
                let at = header.write(&mut bytes);
                let segment = &mut bytes[at..];
                segment.fill(0);
                rng.fill(&mut segment[..8]);
                segment[2..4].copy_from_slice(&to.1.to_be_bytes());
                segment[12] = 5 << 4;
                segment[13] = tcp::SYN;
                segment[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
                tcp::fill_checksum(segment, header.src, header.dst);
                let way = SockAddr::from(SocketAddr::new(IpAddr::V4(to.0), 0));
                sent.fetch_add(
                    u64::from(socket.send_to(&bytes, &way).is_ok()),
                    Ordering::Relaxed,
                );
            }
        })
    }

    /// Random bytes of random lengths to all of these in turn.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn of_garbage(lab: &str, node: &str, to: Vec<Garbage>, pace: Pace) -> Flood {
        Flood::begin(lab, node, move |rng, sent, stop| {
            let v4 = UdpSocket::bind("0.0.0.0:0").expect("any port");
            let v6 = UdpSocket::bind("[::]:0").expect("any port");
            let raw = raw();
            let mut bytes = [0; ipv4::HEADER_LEN + GARBAGE_BYTES_MAX as usize];
            while !stop.load(Ordering::Relaxed) {
                for one in &to {
                    let len = rng.below(GARBAGE_BYTES_MAX) as usize;
                    let (header, body) = bytes.split_at_mut(ipv4::HEADER_LEN);
                    rng.fill(&mut body[..len]);
                    let went = match *one {
                        Garbage::Udp(to) if to.is_ipv4() => v4.send_to(&body[..len], to).is_ok(),
                        Garbage::Udp(to) => v6.send_to(&body[..len], to).is_ok(),
                        Garbage::Tcp(to) => pour(to, &body[..len]),
                        Garbage::Raw { protocol, from, to } => {
                            let written = Header {
                                src: Address::v4(from.octets()),
                                dst: Address::v4(to.octets()),
                                protocol,
                                ttl: ip::DEFAULT_TTL,
                                tos: 0,
                                payload_len: len,
                            };
                            let at = written.write(header);
                            let way = SockAddr::from(SocketAddr::new(IpAddr::V4(to), 0));
                            raw.send_to(&bytes[..at + len], &way).is_ok()
                        }
                    };
                    let before = sent.fetch_add(u64::from(went), Ordering::Relaxed);
                    if pace == Pace::Rested && before % REST.0 == 0 {
                        thread::sleep(REST.1);
                    }
                }
            }
        })
    }

    fn begin(
        lab: &str,
        node: &str,
        work: impl FnOnce(&mut Rng, &AtomicU64, &AtomicBool) + Send + 'static,
    ) -> Flood {
        let name: LabName = lab.parse().expect("a lab's name");
        let namespace = Namespace::open(&name.namespace_of(node)).expect("a node of the lab");
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = thread::spawn(move || {
            let mut rng = Seed(1).stream("flood", "bytes");
            let ran = namespace.run(|| {
                work(&mut rng, &counted, &stopped);
                Ok(())
            });
            ran.expect("a namespace can be entered");
        });
        Flood {
            stop,
            sent,
            thread: Some(thread),
        }
    }

    /// What was sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !thread::panicking() {
                ended.expect("a flood does not panic");
            }
        }
    }
}

fn raw() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IPPROTO_RAW)));
    socket.expect("root may open raw sockets")
}

/// Bytes over a connection that is closed at once; whether there was one.
fn pour(to: SocketAddr, bytes: &[u8]) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&to, CONNECT_MAX) else {
        return false;
    };
    // The other end may hang up at the first byte.
    let _ = std::io::Write::write_all(&mut stream, bytes);
    true
}
