//! Two data planes of two workers each, joined by their mouths: many connections at once come through whole and by both
//! workers, while packets are held, tables change, and slots and grounds pass between workers; and a flow whose ground
//! passes from one to the other keeps its order. Needs root; skipped loudly without.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyedge_ccn::tunnel;
use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::dataplane::inbox::Inbox;
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
use anyedge_net::packet::Packet;
use anyedge_net::port::PortId;
use anyedge_net::route_table::RouteTable;
use anyedge_net::time::{Deadline, Instant};
use anyedge_net::wire;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::outer::Encap;

use crate::dataplane::{OWN, PEER, table};
use crate::lone_lab::{LoneLab, can_make_namespaces};

const WORKERS: usize = 2;
const GROUNDS: usize = 8;
const CONNECTIONS: u8 = 16;
const BYTES: usize = 400_000;
const LIMIT: Duration = Duration::from_secs(20);
const BUSY_POLL: Duration = Duration::from_micros(50);
/// How long a packet is held when no other follows.
const HELD_FOR: Duration = Duration::from_millis(1);

/// Ports of a flow as they stand in a packet, and the workers that it came by.
type Workers = BTreeMap<(u16, u16), BTreeSet<String>>;

/// What a carrier saw.
#[derive(Default)]
struct Seen {
    by_tun: Mutex<Workers>,
    by_tunnel: Mutex<Workers>,
    tables: AtomicU64,
    /// Who holds it has a worker stand still at the next packet.
    stands: Mutex<()>,
}

fn record(workers: &Mutex<Workers>, ports: (u16, u16)) {
    let worker = thread::current()
        .name()
        .expect("workers have names")
        .to_owned();
    let mut workers = workers.lock().expect("nobody panicked");
    workers.entry(ports).or_default().insert(worker);
}

/// Carries what comes by the TUN to `peer`, each packet at once, or if it `holds` when the next one comes by whichever
/// worker; and what comes by the tunnel to the TUN at once.
struct Carrier {
    peer: NodeId,
    holds: bool,
    held: Option<(Packet, u16)>,
    due: Option<Instant>,
    seen: Arc<Seen>,
}

impl Carrier {
    fn release(&mut self, out: &mut Outbox) {
        if let Some((packet, entropy)) = self.held.take() {
            out.transmit_tunnel(packet, PortId::tunnel(PathId(0)), self.peer, entropy, 0);
        }
        self.due = None;
    }
}

impl Forwarder for Carrier {
    fn handle_packets(&mut self, now: Instant, batch: &mut Vec<Packet>, out: &mut Outbox) {
        drop(self.seen.stands.lock().expect("nobody panicked"));
        for mut packet in batch.drain(..) {
            if packet.meta.port != PortId::PUBLIC {
                let Ok(inner) = tunnel::decapsulate(&mut packet) else {
                    out.drop_packet(packet, DropReason::Malformed);
                    continue;
                };
                record(
                    &self.seen.by_tunnel,
                    (inner.parsed.flow.src_port, inner.parsed.flow.dst_port),
                );
                out.transmit(packet, PortId::PUBLIC);
                continue;
            }
            let Ok(parsed) = wire::parse(packet.bytes()) else {
                out.drop_packet(packet, DropReason::Malformed);
                continue;
            };
            let ports = (parsed.flow.src_port, parsed.flow.dst_port);
            record(&self.seen.by_tun, ports);
            let entropy = ports.0.wrapping_add(ports.1).wrapping_mul(40_503);
            tunnel::encapsulate(&mut packet, &parsed, GreKey::new(1, false, 2))
                .expect("there is headroom");
            self.release(out);
            self.held = Some((packet, entropy));
            self.due = Some(now + HELD_FOR);
            if !self.holds {
                self.release(out);
            }
        }
    }

    fn handle_timeout(&mut self, _now: Instant, out: &mut Outbox) {
        self.release(out);
    }

    fn handle_event(&mut self, _now: Instant, _event: LocalEvent, _out: &mut Outbox) {}

    fn apply(&mut self, _now: Instant, _table: Arc<RouteTable>, _out: &mut Outbox) {
        self.seen.tables.fetch_add(1, Ordering::Relaxed);
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.due.map(|at| Deadline { at, reason: "test" })
    }

    fn held(&self) -> usize {
        usize::from(self.held.is_some())
    }
}

/// One end at work.
struct End {
    own: NodeId,
    seen: Arc<Seen>,
    totals: Arc<Totals>,
    inbox: Inbox,
    workers: Vec<thread::JoinHandle<()>>,
}

fn start(
    (lone, stop, holds): (&LoneLab, &Arc<AtomicBool>, bool),
    (node, own, peer): (&str, NodeId, NodeId),
    mouth: Ipv4Addr,
    (here, there): (&str, &str),
) -> End {
    let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
    let plan = TunPlan {
        interface: "tun0".to_owned(),
        mtu: 1_400,
        addresses: vec![Prefix::host(address(here))],
        routes: host_routes([address(there)]),
        offload: true,
    };
    let seen = Arc::new(Seen::default());
    let carrier = Carrier {
        peer,
        holds,
        held: None,
        due: None,
        seen: Arc::clone(&seen),
    };
    let all = lone.namespace(node).run(|| {
        let queues = Tun::open_queues(&plan, GROUNDS)?;
        assert_eq!(queues.len(), GROUNDS, "the kernel gives several queues");
        let mouths = Mouth::open_shared(Some(mouth), None, GROUNDS)?;
        let grounds = queues.into_iter().zip(mouths).map(|(tun, mouth)| Ground {
            tun: Some(tun),
            tun_port: PortId::PUBLIC,
            mouth,
            raw_gre: None,
            streams: None,
            packet_bytes_max: 1_500,
        });
        let clock = MonotonicClock::start();
        let grounds = grounds.collect();
        let first = Dataplane::new(carrier, clock, grounds, table(Encap::GreUdp), own)?;
        let other = first.beside()?;
        Ok([first, other])
    });
    let all = all.expect("workers in the namespace");
    let (totals, inbox) = (all[0].totals(), all[0].inbox());
    let workers = all.into_iter().enumerate().map(|(index, mut worker)| {
        let stop = Arc::clone(stop);
        // One of each data plane sleeps at once.
        worker.busy_poll(BUSY_POLL * index as u32);
        let thread = thread::Builder::new().name(format!("worker-{index}"));
        let work = move || worker.run_until(&stop).expect("the devices stay open");
        thread.spawn(work).expect("a thread")
    });
    End {
        own,
        seen,
        totals,
        inbox,
        workers: workers.collect(),
    }
}

/// Sends all bytes of `mark` and reads as many, which must be of it too.
fn exchange(stream: &TcpStream, mark: u8) -> bool {
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    thread::scope(|scope| {
        scope.spawn(move || {
            let bytes: Vec<u8> = (0..BYTES).map(|at| mark ^ (at >> 4) as u8).collect();
            let mut stream = stream;
            stream.write_all(&bytes).expect("the peer reads");
            stream.shutdown(Shutdown::Write).expect("it is open");
        });
        let (mut bytes, mut stream) = (Vec::new(), stream);
        stream.read_to_end(&mut bytes).expect("the peer writes");
        let right = |(at, byte): (usize, &u8)| *byte == mark ^ (at >> 4) as u8;
        bytes.len() == BYTES && bytes.iter().enumerate().all(right)
    })
}

#[test]
fn connections_cross_two_data_planes_of_two_workers() {
    if !can_make_namespaces("connections_cross_two_data_planes_of_two_workers") {
        return;
    }
    let lone = LoneLab::new();
    lab::up_blueprint(&lone.line_of_three()).expect("the lab comes up");
    let stop = Arc::new(AtomicBool::new(false));
    let (near, far) = ("10.7.0.1", "10.7.0.2");
    let ground = (&lone, &stop, true);
    let client = Ipv4Addr::new(192, 0, 2, 2);
    let client = start(ground, ("client.c", OWN, PEER), client, (near, far));
    let server = Ipv4Addr::new(198, 51, 100, 2);
    let server = start(ground, ("host.s", PEER, OWN), server, (far, near));
    let listeners = lone.namespace("host.s").run(|| {
        let all = (0..CONNECTIONS).map(|mark| TcpListener::bind((far, 5_000 + u16::from(mark))));
        Ok(all.collect::<Result<Vec<_>, _>>()?)
    });
    let answering = listeners.expect("listeners").into_iter().zip(0..);
    let answering = answering.map(|(listener, mark)| {
        thread::spawn(move || {
            let (stream, _) = listener.accept().expect("the client calls");
            exchange(&stream, mark)
        })
    });
    let mut talks: Vec<_> = answering.collect();
    let streams = lone.namespace("client.c").run(|| {
        let all = (0..CONNECTIONS).map(|mark| TcpStream::connect((far, 5_000 + u16::from(mark))));
        Ok(all.collect::<Result<Vec<_>, _>>()?)
    });
    let calling = streams.expect("the server answers").into_iter().zip(0..);
    talks.extend(calling.map(|(stream, mark)| thread::spawn(move || exchange(&stream, mark))));
    while !talks.iter().all(thread::JoinHandle::is_finished) {
        for end in [&client, &server] {
            end.inbox.put(table(Encap::GreUdp), end.own);
        }
        thread::yield_now();
    }
    for talk in talks {
        assert!(talk.join().expect("no panic"), "what arrived was sent");
    }
    stop.store(true, Ordering::Relaxed);
    for end in [client, server] {
        judge(end);
    }
}

/// Flows that send at once, packets of each in a burst, the pause between bursts, and their number at least. With fewer than
/// 2,000 packets a second all source ports stay in use, so that nothing but a ground changes hands.
const FLOWS: usize = 16;
const BURST: u32 = 6;
const PAUSE: Duration = Duration::from_millis(54);
/// For how long the far end stands still behind a burst.
const ARRIVES: Duration = Duration::from_millis(5);
const BURSTS_MIN: u32 = 20;

#[test]
fn a_flow_whose_ground_changes_hands_keeps_its_order() {
    if !can_make_namespaces("a_flow_whose_ground_changes_hands_keeps_its_order") {
        return;
    }
    let lone = LoneLab::new();
    lab::up_blueprint(&lone.line_of_three()).expect("the lab comes up");
    let stop = Arc::new(AtomicBool::new(false));
    let (near, far) = ("10.7.0.1", "10.7.0.2");
    let ground = (&lone, &stop, false);
    let client = Ipv4Addr::new(192, 0, 2, 2);
    let client = start(ground, ("client.c", OWN, PEER), client, (near, far));
    let server = Ipv4Addr::new(198, 51, 100, 2);
    let server = start(ground, ("host.s", PEER, OWN), server, (far, near));
    let sink = lone
        .namespace("host.s")
        .run(|| Ok(UdpSocket::bind((far, 5_000))?));
    let sink = sink.expect("a socket");
    let sources = lone.namespace("client.c").run(|| {
        let all = (0..FLOWS).map(|_| {
            let socket = UdpSocket::bind((near, 0))?;
            socket.connect((far, 5_000))?;
            Ok::<_, std::io::Error>(socket)
        });
        Ok(all.collect::<Result<Vec<_>, _>>()?)
    });
    let sources = sources.expect("sockets");
    let watching = thread::spawn(move || numbers_by_source(&sink));
    let began = std::time::Instant::now();
    // One at a time, so that the first worker has had something of every flow.
    for source in &sources {
        source.send(&0_u32.to_be_bytes()).expect("there is room");
        thread::sleep(ARRIVES);
    }
    let mut bursts = 0..;
    while bursts.start < BURSTS_MIN || !end_has_moved(&client) || !end_has_moved(&server) {
        assert!(began.elapsed() < LIMIT, "no flow changed hands");
        let first: u32 = bursts.next().expect("there is no end") * BURST + 1;
        // Each end stands still meanwhile, so that it then finds the burst on several grounds.
        let far_stands = server.seen.stands.lock().expect("nobody panicked");
        let near_stands = client.seen.stands.lock().expect("nobody panicked");
        for number in first..first + BURST {
            for source in &sources {
                source.send(&number.to_be_bytes()).expect("there is room");
            }
        }
        drop(near_stands);
        thread::sleep(ARRIVES);
        drop(far_stands);
        thread::sleep(PAUSE - ARRIVES);
    }
    let arrived = watching.join().expect("no panic");
    assert_eq!(arrived.len(), FLOWS);
    for (source, numbers) in arrived {
        assert!(numbers.is_sorted(), "{source}: {numbers:?}");
        assert_eq!(numbers.len() as u32, bursts.start * BURST + 1, "{source}");
    }
    stop.store(true, Ordering::Relaxed);
    for end in [client, server] {
        join(end.workers);
    }
}

/// What comes to `sink` from each port, until nothing has come for a while.
fn numbers_by_source(sink: &UdpSocket) -> BTreeMap<u16, Vec<u32>> {
    sink.set_read_timeout(Some(Duration::from_secs(2)))
        .expect("a limit");
    let (mut arrived, mut bytes) = (BTreeMap::<_, Vec<_>>::new(), [0; 4]);
    while let Ok((4, from)) = sink.recv_from(&mut bytes) {
        let numbers = arrived.entry(from.port()).or_default();
        numbers.push(u32::from_be_bytes(bytes));
    }
    arrived
}

/// Whether a flow came by both workers, one after the other.
fn end_has_moved(end: &End) -> bool {
    let [by_tun, by_tunnel] = [&end.seen.by_tun, &end.seen.by_tunnel];
    [by_tun, by_tunnel].into_iter().any(|workers| {
        let workers = workers.lock().expect("nobody panicked");
        workers.values().any(|workers| workers.len() == WORKERS)
    })
}

fn join(workers: Vec<thread::JoinHandle<()>>) {
    for worker in workers {
        worker.join().expect("the conservation law held");
    }
}

fn judge(end: End) {
    join(end.workers);
    let totals = &end.totals;
    for reason in [
        DropReason::Malformed,
        DropReason::PoolEmpty,
        DropReason::NoRoute,
    ] {
        assert_eq!(
            totals.dropped(reason) + totals.refused(reason),
            0,
            "{totals}"
        );
    }
    assert!(
        end.seen.tables.load(Ordering::Relaxed) > 5,
        "tables came meanwhile"
    );
    let by_tunnel = end.seen.by_tunnel.lock().expect("nobody panicked");
    assert_eq!(by_tunnel.len(), usize::from(CONNECTIONS));
    let by_tun = end.seen.by_tun.lock().expect("nobody panicked");
    let both: BTreeSet<_> = by_tun
        .values()
        .chain(by_tunnel.values())
        .flatten()
        .collect();
    assert_eq!(both.len(), WORKERS, "the first gave some of the flows away");
}
