//! Garbage at the doors of tunnels with certificates: counted by cause, and clients are served meanwhile.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use anyedge_live::lab::name::LabName;
use anyedge_live::lab::state::identity_of;
use anyedge_net::rng::Seed;
use anyedge_pop::bfd;
use anyedge_tests::binary::root;
use anyedge_tests::floods::{Flood, Garbage, Pace};
use anyedge_tests::knocks::{Knock, Papers, call_by_quic, half_calls};
use anyedge_tests::labs::{FORWARDERS, Lab, TWO_POPS, text};
use anyedge_tests::processes::wait_for;
use anyedge_topologies::Topology;

use super::{assert_counted, nodes_of, pids};

const NODE: &str = "region.guangzhou.clb-1";
const CALLER: &str = "pop.tokyo";
const TCP_PORT: u16 = 4_754;
const QUIC_PORT: u16 = 4_756;
/// So many of 30,000 datagrams find no room at the least.
const LOST_MIN: f64 = 10_000.0;

/// A lab whose backbone is streams, the door of its CLB node, and who may call there.
struct Street {
    lab: Lab,
    door: IpAddr,
    caller: IpAddr,
    own: Papers,
    forged: Papers,
}

impl Street {
    fn up(encap: &str) -> Option<Street> {
        let set = format!("defaults.ccn.encap={encap}");
        let lab = Lab::up(&format!("sdoor{encap}"), &["--set", &set])?;
        wait_for("service", || lab.who_answers().is_some());
        let name: LabName = lab.name().parse().expect("a lab's name");
        let [caller, door] = nodes_of([CALLER, NODE]);
        let own = Papers::read(&identity_of(&name, CALLER));
        let forged = own.forged(CALLER);
        Some(Street {
            lab,
            door: door.into(),
            caller: caller.into(),
            own,
            forged,
        })
    }

    fn inside<T: Send>(&self, node: &str, work: impl FnOnce() -> T + Send) -> T {
        self.lab.inside(node, || Ok(work()))
    }

    /// Callers that were refused so far, by cause.
    fn refused(&self, door: &str) -> BTreeMap<String, u64> {
        let begins = format!("anyedge_callers_refused_total{{door=\"{door}\",cause=\"");
        let all = self.lab.metrics(NODE).into_iter();
        let of_door = all.filter_map(|(name, count)| {
            let cause = name.strip_prefix(&begins)?.strip_suffix("\"}")?;
            Some((cause.to_owned(), count as u64))
        });
        of_door.collect()
    }

    fn wait_for_causes(&self, door: &str, causes: &[&str]) {
        wait_for("its causes", || {
            let refused = self.refused(door);
            let is_counted = |cause: &&str| refused.get(*cause).is_some_and(|count| *count > 0);
            causes.iter().all(is_counted)
        });
    }

    /// Nobody was started anew, all packets are accounted for, and clients are served.
    fn is_as_it_was(&self, before: &[u32]) {
        assert_eq!(pids(&self.lab), before, "nobody was started anew");
        let lab = &self.lab;
        lab.await_health();
        wait_for("service", || lab.who_answers().is_some());
        FORWARDERS.iter().for_each(|node| assert_counted(lab, node));
    }
}

#[test]
fn who_knocks_at_the_door_of_grpc_tunnels_without_being_let_in_is_counted_by_cause() {
    let Some(street) = Street::up("grpc") else {
        return;
    };
    let before = pids(&street.lab);
    let door = SocketAddr::new(street.door, TCP_PORT);
    let flood = Flood::of_garbage(
        street.lab.name(),
        CALLER,
        vec![Garbage::Tcp(door)],
        Pace::Full,
    );
    for _ in 0..20 {
        for knock in Knock::ALL {
            let there = street.inside("ccn.underlay", || {
                knock.at(door, NODE, &street.own, &street.forged)
            });
            assert!(there, "{knock:?}");
        }
        assert!(street.lab.who_answers().is_some(), "clients are served");
    }
    wait_for("some garbage", || flood.sent() > 50);
    drop(flood);
    street.wait_for_causes(
        "grpc",
        &[
            "it went away before it was known who it is",
            "it speaks another protocol",
            "it shows no certificate",
            "its certificate is of another authority",
            "it breaks the rules of HTTP/2",
            "it does not speak TLS 1.3 as we do",
        ],
    );
    // Two of the knocks do, 20 times each; counts are shown a little later.
    wait_for("each to be counted", || {
        street.refused("grpc")["it breaks the rules of HTTP/2"] >= 40
    });
    street.is_as_it_was(&before);
}

#[test]
fn who_calls_at_the_door_of_quic_tunnels_without_being_let_in_is_counted_by_cause() {
    let Some(street) = Street::up("quic") else {
        return;
    };
    let before = pids(&street.lab);
    let door = SocketAddr::new(street.door, QUIC_PORT);
    let unknown = || {
        let all = street.lab.metrics(NODE);
        let told = all.get("anyedge_packets_refused_total{reason=\"UnknownPeer\"}");
        told.copied().unwrap_or_default()
    };
    let counted = unknown();
    let flood = Flood::of_garbage(
        street.lab.name(),
        CALLER,
        vec![Garbage::Udp(door)],
        Pace::Rested,
    );
    let mut rng = Seed(1).stream("stress", "calls");
    let (mut sent, mut served) = (0, 0);
    for _ in 0..20 {
        // From the address of a node that may call, and from one that no node has.
        sent += street.inside(CALLER, || half_calls(door, &mut rng, 50));
        sent += street.inside("ccn.underlay", || half_calls(door, &mut rng, 50));
        served += u32::from(street.lab.who_answers().is_some());
    }
    wait_for("some garbage", || flood.sent() > 1_000);
    drop(flood);
    assert_eq!(sent, 2_000);
    // What clients send comes by the socket that is flooded.
    assert!(
        served >= 15,
        "{served} of 20 requests were answered within 3 s"
    );
    wait_for("its count", || unknown() >= counted + sent as f64);
    // Not during the flood, in which the packets of a handshake may well be lost.
    let way = (street.caller, door);
    street.inside(CALLER, || {
        call_by_quic(&street.forged, way, NODE, Duration::from_secs(5));
    });
    street.wait_for_causes("quic", &["its certificate is of another authority"]);
    street.is_as_it_was(&before);
}

/// While a node stands still, its kernel keeps what comes until there is no room: what is lost then is in the node's own counts
/// behind it, as many as the kernel says of the whole namespace.
#[test]
fn what_a_quic_door_and_bfd_do_not_read_in_time_is_counted_to_the_datagram() {
    let Some(lab) = Lab::up("slate", &["--set", "defaults.ccn.encap=quic"]) else {
        return;
    };
    wait_for("service", || lab.who_answers().is_some());
    let before = pids(&lab);
    let topology = Topology::load(root().join(TWO_POPS)).expect("a shipped file");
    let edge = topology.routers["tokyo"].pop.v4.expect("both families");
    let [door] = nodes_of([NODE]);
    for (node, from, to) in [
        (
            NODE,
            "ccn.underlay",
            SocketAddr::new(door.into(), QUIC_PORT),
        ),
        (
            CALLER,
            "router.tokyo",
            SocketAddr::new(edge.into(), bfd::PORT),
        ),
    ] {
        lab.await_health();
        thread::scope(|scope| {
            let hang = scope.spawn(|| lab.fault(&["hang", node, "--for", "2s"]));
            thread::sleep(Duration::from_millis(500));
            lab.inside(from, || pour_datagrams(to));
            hang.join().expect("a hang");
        });
        wait_for("each to be counted", || {
            let lost = lost_at_sockets(&lab, node);
            let counts = lab.metrics(node);
            let told = counts.get("anyedge_packets_refused_total{reason=\"SocketFull\"}");
            lost >= LOST_MIN && told.copied() == Some(lost)
        });
    }
    assert_eq!(pids(&lab), before, "nobody was started anew");
    lab.await_health();
}

/// Many more than any socket has room for.
fn pour_datagrams(to: SocketAddr) -> anyhow::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    for _ in 0..30_000 {
        socket.send_to(&[0; 1_000], to)?;
    }
    Ok(())
}

/// Datagrams for which a socket of the node's namespace had no room (`RcvbufErrors` of /proc/net/snmp).
fn lost_at_sockets(lab: &Lab, node: &str) -> f64 {
    let snmp = lab.exec(node, &["cat", "/proc/net/snmp"]);
    let snmp = text(&snmp.stdout);
    let mut rows = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let mut fields = || rows.next().expect("two rows of UDP").split(' ');
    let (names, counts) = (fields(), fields());
    let lost = names.zip(counts).find(|(name, _)| *name == "RcvbufErrors");
    let lost = lost.and_then(|(_, count)| count.parse().ok());
    lost.expect("the kernel counts them")
}
