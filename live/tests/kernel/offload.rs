//! Two data planes with offload, joined by the mouth: what TCP sends between their TUN devices arrives whole, as
//! super-packets, and no segment is longer than the MTU. Needs root; skipped loudly without.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyedge_ccn::tunnel;
use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::dataplane::mouth::Mouth;
use anyedge_live::dataplane::totals::Totals;
use anyedge_live::dataplane::{Dataplane, Ground};
use anyedge_live::lab;
use anyedge_live::prefix::Prefix;
use anyedge_live::tun::{Tun, TunPlan, host_routes};
use anyedge_net::drop_reason::DropReason;
use anyedge_net::forwarder::{Forwarder, LocalEvent};
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Offload, Packet};
use anyedge_net::port::PortId;
use anyedge_net::route_table::RouteTable;
use anyedge_net::time::{Deadline, Instant};
use anyedge_net::wire;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::outer::Encap;

use crate::dataplane::{OWN, PEER, table};
use crate::lone_lab::{LoneLab, can_make_namespaces};

const MTU: u32 = 1_400;
const BYTES: usize = 8 << 20;
const LIMIT: Duration = Duration::from_secs(20);

/// What a pipe saw: packets that came by tunnel as super-packets, and whatever was longer than the MTU.
#[derive(Default)]
struct Seen {
    gathered: AtomicU64,
    too_long: AtomicU64,
}

/// Carries what comes by the TUN to `peer`, and what comes by the tunnel to the TUN.
struct Pipe {
    peer: NodeId,
    seen: Arc<Seen>,
}

impl Forwarder for Pipe {
    fn handle_packets(&mut self, _now: Instant, batch: &mut Vec<Packet>, out: &mut Outbox) {
        for mut packet in batch.drain(..) {
            if packet.meta.port == PortId::PUBLIC {
                if packet.wire_len() > MTU as usize {
                    self.seen.too_long.fetch_add(1, Ordering::Relaxed);
                }
                let Ok(parsed) = wire::parse(packet.bytes()) else {
                    out.drop_packet(packet, DropReason::Malformed);
                    continue;
                };
                let key = GreKey::new(1, false, 2);
                tunnel::encapsulate(&mut packet, &parsed, key).expect("there is headroom");
                out.transmit_tunnel(packet, PortId::tunnel(PathId(0)), self.peer, 7, 0);
                continue;
            }
            let gathered = packet.meta.offload != Offload::NONE;
            match tunnel::decapsulate(&mut packet) {
                Ok(inner) => {
                    let too_long = u64::from(inner.wire_len > MTU as usize);
                    self.seen.too_long.fetch_add(too_long, Ordering::Relaxed);
                    self.seen
                        .gathered
                        .fetch_add(u64::from(gathered), Ordering::Relaxed);
                    out.transmit(packet, PortId::PUBLIC);
                }
                Err(reason) => out.drop_packet(packet, reason),
            }
        }
    }

    fn handle_timeout(&mut self, _now: Instant, _out: &mut Outbox) {}

    fn handle_event(&mut self, _now: Instant, _event: LocalEvent, _out: &mut Outbox) {}

    fn apply(&mut self, _now: Instant, _table: Arc<RouteTable>, _out: &mut Outbox) {}

    fn poll_timeout(&self) -> Option<Deadline> {
        None
    }

    fn held(&self) -> usize {
        0
    }
}

/// One end: a node of the lab, its tunnel address, the addresses of its TUN and those behind the other's.
struct End {
    node: &'static str,
    own: NodeId,
    peer: NodeId,
    mouth: Ipv4Addr,
    here: [&'static str; 2],
    there: [&'static str; 2],
    offload: bool,
}

impl End {
    fn start(&self, lone: &LoneLab, stop: &Arc<AtomicBool>) -> (Arc<Seen>, Arc<Totals>) {
        let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let plan = TunPlan {
            interface: "tun0".to_owned(),
            mtu: MTU,
            addresses: self.here.map(|text| Prefix::host(address(text))).to_vec(),
            routes: host_routes(self.there.map(address)),
            offload: self.offload,
        };
        let seen = Arc::new(Seen::default());
        let pipe = Pipe {
            peer: self.peer,
            seen: Arc::clone(&seen),
        };
        let dataplane = lone.namespace(self.node).run(|| {
            let ground = Ground {
                tun: Some(Tun::open(&plan)?),
                tun_port: PortId::PUBLIC,
                mouth: Mouth::open(Some(self.mouth), None)?,
                raw_gre: None,
                streams: None,
                packet_bytes_max: 1_500,
            };
            Dataplane::new(
                pipe,
                MonotonicClock::start(),
                vec![ground],
                table(Encap::GreUdp),
                self.own,
            )
        });
        let mut dataplane = dataplane.expect("a data plane in the namespace");
        let (totals, stop) = (dataplane.totals(), Arc::clone(stop));
        thread::spawn(move || dataplane.run_until(&stop).expect("the devices stay open"));
        (seen, totals)
    }
}

/// Bytes that differ wherever a segment could go astray.
fn pattern(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

/// Sends all of the pattern by `stream`, then closes that way.
fn send(mut stream: &TcpStream) {
    let bytes: Vec<u8> = (0..BYTES).map(pattern).collect();
    stream.write_all(&bytes).expect("the peer reads");
    stream.shutdown(Shutdown::Write).expect("it is open");
}

/// Reads all until the end: whether it was the pattern.
fn receive(mut stream: &TcpStream) -> bool {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the peer writes");
    bytes.len() == BYTES
        && bytes
            .iter()
            .enumerate()
            .all(|(at, byte)| *byte == pattern(at))
}

#[test]
fn tcp_crosses_two_tuns_in_super_packets_of_both_families() {
    if !can_make_namespaces("tcp_crosses_two_tuns_in_super_packets_of_both_families") {
        return;
    }
    // Also where one end has no offload: the other still may.
    for offload_at_server in [true, false] {
        let lone = LoneLab::new();
        lab::up_blueprint(&lone.line_of_three()).expect("the lab comes up");
        let (near, far) = (["10.7.0.1", "2001:db8:7::1"], ["10.7.0.2", "2001:db8:7::2"]);
        let client = End {
            node: "client.c",
            own: OWN,
            peer: PEER,
            mouth: Ipv4Addr::new(192, 0, 2, 2),
            here: near,
            there: far,
            offload: true,
        };
        let server = End {
            node: "host.s",
            own: PEER,
            peer: OWN,
            mouth: Ipv4Addr::new(198, 51, 100, 2),
            here: far,
            there: near,
            offload: offload_at_server,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let ends = [client.start(&lone, &stop), server.start(&lone, &stop)];
        for address in far {
            let address: IpAddr = address.parse().expect("an address");
            let listener = lone.namespace("host.s");
            let listener = listener.run(|| Ok(TcpListener::bind((address, 5_000))?));
            let listener = listener.expect("a listener");
            let answering = thread::spawn(move || {
                let (stream, _) = listener.accept().expect("the client calls");
                stream.set_read_timeout(Some(LIMIT)).expect("a limit");
                let right = receive(&stream);
                send(&stream);
                right
            });
            let stream = lone.namespace("client.c");
            let stream = stream.run(|| Ok(TcpStream::connect((address, 5_000))?));
            let stream = stream.expect("the server answers");
            stream.set_read_timeout(Some(LIMIT)).expect("a limit");
            send(&stream);
            assert!(receive(&stream), "the answer over {address}");
            assert!(
                answering.join().expect("no panic"),
                "the upload to {address}"
            );
        }
        stop.store(true, Ordering::Relaxed);
        for (seen, totals) in ends {
            assert_eq!(seen.too_long.load(Ordering::Relaxed), 0);
            assert!(seen.gathered.load(Ordering::Relaxed) > 10, "{totals}");
            assert_eq!(totals.dropped(DropReason::Malformed), 0, "{totals}");
            assert_eq!(totals.refused(DropReason::LinkMtu), 0, "{totals}");
        }
    }
}
