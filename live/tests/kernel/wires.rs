//! Wires with a link model between real hosts: how long packets take, that they arrive as they were, and what is lost.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyedge_live::lab::{self, blueprint::Blueprint};
use anyedge_live::offloads;
use anyedge_live::wires::{Plan, PortPlan, Way, Wires};
use anyedge_net::link::{LinkSpec, Loss, Wear};
use anyedge_net::rng::Seed;

use crate::lone_lab::{LoneLab, can_make_namespaces};

const OUT: Duration = Duration::from_millis(12);
const BACK: Duration = Duration::from_millis(8);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const SERVER: [&str; 2] = ["198.51.100.2:7000", "[2001:db8:2::2]:7000"];

fn spec(name: &str, delay: Duration, loss: Loss) -> LinkSpec {
    LinkSpec {
        name: name.to_owned(),
        rate_bps: 0,
        delay,
        jitter: Duration::ZERO,
        loss,
        queue_bytes_max: 1 << 20,
        mtu: 1_500,
        wear: Wear::NONE,
    }
}

/// Client and server, and between them a router whose kernel forwards nothing.
fn blueprint(lone: &LoneLab) -> Blueprint {
    let mut blueprint = lone.line_of_three();
    for namespace in &mut blueprint.namespaces {
        namespace.forwards = false;
    }
    blueprint
}

fn plan(lone: &LoneLab, loss: Loss) -> Plan {
    let lab: lab::name::LabName = lone.name.parse().expect("a lab's name");
    let at = |node: &str, interface: &str| (lab.namespace_of(node), interface.to_owned());
    let way = |from, to, link, address: &str| Way {
        from,
        to_address: Some(address.parse().expect("an address")),
        to,
        link,
    };
    Plan {
        ports: vec![
            PortPlan {
                own: at("ccn.router", "c0"),
                far: Some(at("client.c", "up0")),
            },
            PortPlan {
                own: at("ccn.router", "s0"),
                far: Some(at("host.s", "up0")),
            },
        ],
        links: vec![spec("c>s", OUT, loss), spec("s>c", BACK, Loss::NONE)],
        ways: vec![
            way(0, 1, 0, "198.51.100.2"),
            way(0, 1, 0, "2001:db8:2::2"),
            way(1, 0, 1, "192.0.2.2"),
            way(1, 0, 1, "2001:db8:1::2"),
        ],
    }
}

/// Builds the network with its wires at work while `then` runs, and gives them back.
fn with_wires(loss: Loss, then: impl FnOnce(&LoneLab)) -> Wires {
    let lone = LoneLab::new();
    lab::up_blueprint(&blueprint(&lone)).expect("it can be built");
    for node in ["client.c", "host.s"] {
        let namespace = lone.namespace(node);
        namespace
            .run(|| offloads::turn_off("up0"))
            .expect("a veth can be told");
    }
    let mut wires = Wires::open(&plan(&lone, loss), Seed(1)).expect("the ports are there");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let turning = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                wires.poll_once(LOOK_EVERY).expect("the ports stay");
            }
        });
        then(&lone);
        stop.store(true, Ordering::Relaxed);
        turning.join().expect("no wire panics");
    });
    wires
}

#[test]
fn packets_take_as_long_as_their_links_and_arrive_as_they_were() {
    if !can_make_namespaces("packets_take_as_long_as_their_links_and_arrive_as_they_were") {
        return;
    }
    let wires = with_wires(Loss::NONE, |lone| {
        for address in SERVER {
            let to: SocketAddr = address.parse().expect("an address");
            let server = lone
                .namespace("host.s")
                .run(|| Ok(UdpSocket::bind(to)?))
                .expect("it has the address");
            let from: SocketAddr = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }
                .parse()
                .expect("any");
            let client = lone
                .namespace("client.c")
                .run(|| Ok(UdpSocket::bind(from)?))
                .expect("any port");
            for socket in [&server, &client] {
                socket
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .expect("not zero");
            }
            let mut buffer = [0; 2_000];
            for len in [1, 1_400] {
                let said: Vec<u8> = (0..len).map(|place| place as u8).collect();
                let sent_at = Instant::now();
                client.send_to(&said, to).expect("there is a route");
                let (got, from) = server.recv_from(&mut buffer).expect("it arrives");
                assert_eq!(buffer[..got], said);
                assert!(sent_at.elapsed() >= OUT, "sooner than light");
                server.send_to(&said, from).expect("there is a route back");
                client.recv_from(&mut buffer).expect("it arrives");
                assert!(sent_at.elapsed() >= OUT + BACK, "sooner than light");
            }
            let listener = lone
                .namespace("host.s")
                .run(|| Ok(TcpListener::bind(to)?))
                .expect("it has the address");
            let body: Vec<u8> = (0..400_000_u32).map(|place| (place / 7) as u8).collect();
            let mut stream = lone
                .namespace("client.c")
                .run(|| Ok(TcpStream::connect(to)?))
                .expect("it listens");
            let (mut served, _) = listener.accept().expect("it connected");
            thread::scope(|scope| {
                scope.spawn(|| {
                    served.write_all(&body).expect("it is read");
                    drop(served);
                });
                let mut got = Vec::new();
                stream.read_to_end(&mut got).expect("up to the FIN");
                assert!(got == body, "{} bytes arrived, or others", got.len());
            });
        }
    });
    let [there, back] = wires.links() else {
        panic!("two links");
    };
    assert_eq!((there.dropped.total(), back.dropped.total()), (0, 0));
    // Real packets, none larger than a link takes: 400,000 bytes are 274 of them, and that twice.
    assert!(back.delivered > 2 * 270, "{wires}");
    assert_eq!(wires.lost().unknown, 0);
}

#[test]
fn what_a_link_loses_is_counted_and_never_arrives() {
    if !can_make_namespaces("what_a_link_loses_is_counted_and_never_arrives") {
        return;
    }
    let wires = with_wires(Loss::Share(1_000_000), |lone| {
        let to: SocketAddr = SERVER[0].parse().expect("an address");
        let server = lone
            .namespace("host.s")
            .run(|| Ok(UdpSocket::bind(to)?))
            .expect("it has the address");
        server
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("not zero");
        let client = lone
            .namespace("client.c")
            .run(|| Ok(UdpSocket::bind("0.0.0.0:0")?))
            .expect("any port");
        for _ in 0..10 {
            client.send_to(b"lost", to).expect("there is a route");
        }
        server.recv_from(&mut [0; 8]).expect_err("nothing arrives");
    });
    assert_eq!(
        (wires.links()[0].dropped.total(), wires.links()[0].delivered),
        (10, 0)
    );
}
