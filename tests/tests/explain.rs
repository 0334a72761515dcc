//! `explain` never lies: ten thousand flows of random clients, to random VIPs, at random times, over shipped topologies and
//! their faults, and each of them went over the wires as it is told.
//!
//! What went over the wires is found out by the bytes alone: the links' names, outer and inner headers. Behind a load
//! balancer a TCP flow is known again by its first sequence number, a datagram by what is in it, both by their source too
//! where that is kept.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyedge_net::rng::{Rng, Seed};
use anyedge_net::wire::{self, gre, tcp, udp};
use anyedge_sim::explain::{Explanation, explain_beside};
use anyedge_sim::run::{Options, run, run_watched};
use anyedge_sim::watch::{Delivery, Watcher};
use anyedge_tests::binary::root;
use anyedge_topologies::{Question, Topology};

/// Shipped files, how long their clients send, and how many questions are asked of each.
const ASKED: [(&str, u64, usize); 10] = [
    ("two-pops", 20, 1_000),
    ("pop-down", 40, 1_000),
    ("clb-node-down", 30, 1_000),
    ("clb-node-added", 30, 1_000),
    ("link-down", 30, 1_000),
    ("grey-link", 30, 1_000),
    ("ipv6-dual-stack", 20, 1_000),
    ("weights-and-drain", 30, 1_000),
    ("nat64", 20, 1_000),
    ("global-14", 10, 1_000),
];
const FIRST_PORT: u16 = 20_000;

fn topology(name: &str) -> Topology {
    let file = root().join(format!("topologies/{name}.toml"));
    Topology::load(file).expect("it is shipped")
}

/// A flow as the wires have seen it.
#[derive(Clone, Default, PartialEq, Debug)]
struct Seen {
    entered: Option<String>,
    clb_node: Option<String>,
    target: Option<SocketAddr>,
    host: Option<String>,
    left_by: Option<String>,
    answered_at: Option<f64>,
}

/// Reads wires.
struct Wires {
    flows: BTreeMap<SocketAddr, Seen>,
    /// By what is the same on both sides of a load balancer.
    marks: BTreeMap<Vec<u8>, SocketAddr>,
    clb_nodes: BTreeMap<IpAddr, String>,
    /// Targets see their clients' own addresses.
    shows_clients: bool,
}

#[derive(Clone)]
struct Reader(Arc<Mutex<Wires>>);

impl Wires {
    fn of(topology: &Topology, questions: &[Question]) -> Wires {
        let clb_nodes = topology
            .regions
            .values()
            .flat_map(|region| &region.clb_nodes);
        let clb_nodes = clb_nodes.flat_map(|node| {
            let addresses = node.underlay.iter();
            addresses.map(|address| (address, node.name.clone()))
        });
        Wires {
            flows: questions
                .iter()
                .map(|own| (own.from, Seen::default()))
                .collect(),
            marks: BTreeMap::new(),
            clb_nodes: clb_nodes.collect(),
            shows_clients: topology.clbs.values().all(|clb| clb.snat.is_empty()),
        }
    }

    fn read(&mut self, delivery: &Delivery<'_>) {
        let Some((near, far)) = delivery.name.split_once('>') else {
            return;
        };
        let far = far.split('/').next().unwrap_or(far);
        if near.starts_with("client.") && !near.contains('/') {
            self.sent(far, delivery.bytes);
        } else if far.starts_with("host.") {
            self.reached(far, delivery.bytes);
        } else if delivery.name.contains(">client.") {
            self.answered(near, delivery);
        }
    }

    fn sent(&mut self, pop: &str, bytes: &[u8]) {
        let Ok(parsed) = wire::parse(bytes) else {
            return;
        };
        let from = SocketAddr::new(parsed.flow.src.into(), parsed.flow.src_port);
        let Some(seen) = self.flows.get_mut(&from) else {
            return;
        };
        seen.entered.get_or_insert_with(|| pop.to_owned());
        let mark = mark(bytes, self.shows_clients);
        self.marks.extend(mark.map(|mark| (mark, from)));
    }

    fn reached(&mut self, host: &str, bytes: &[u8]) {
        let Some((outer_source, inner)) = unwrapped(bytes) else {
            return;
        };
        let Ok(parsed) = wire::parse(inner) else {
            return;
        };
        let from = mark(inner, self.shows_clients).and_then(|mark| self.marks.get(&mark).copied());
        let Some(seen) = from.and_then(|from| self.flows.get_mut(&from)) else {
            return;
        };
        if seen.answered_at.is_some() {
            return;
        }
        seen.clb_node = self.clb_nodes.get(&outer_source).cloned();
        seen.target = Some(SocketAddr::new(
            parsed.flow.dst.into(),
            parsed.flow.dst_port,
        ));
        seen.host = Some(host.to_owned());
    }

    fn answered(&mut self, pop: &str, delivery: &Delivery<'_>) {
        let Ok(parsed) = wire::parse(delivery.bytes) else {
            return;
        };
        let to = SocketAddr::new(parsed.flow.dst.into(), parsed.flow.dst_port);
        let Some(seen) = self
            .flows
            .get_mut(&to)
            .filter(|seen| seen.answered_at.is_none())
        else {
            return;
        };
        seen.left_by = Some(pop.to_owned());
        seen.answered_at = Some(delivery.at.as_secs_f64());
    }
}

impl Watcher for Reader {
    fn delivered(&mut self, delivery: &Delivery<'_>) {
        self.0
            .lock()
            .expect("nobody panics meanwhile")
            .read(delivery);
    }
}

/// The source of a tunnel's packet, and what is in it.
fn unwrapped(bytes: &[u8]) -> Option<(IpAddr, &[u8])> {
    let outer = wire::parse(bytes).ok()?;
    let behind = match outer.flow.protocol {
        gre::PROTOCOL => outer.l4(bytes),
        udp::PROTOCOL => outer.l4(bytes).get(udp::HEADER_LEN..)?,
        _ => return None,
    };
    let header = gre::parse(behind).ok()?;
    Some((outer.flow.src.into(), behind.get(header.header_len..)?))
}

/// What of the packet that opens a flow no load balancer changes.
fn mark(bytes: &[u8], shows_clients: bool) -> Option<Vec<u8>> {
    let parsed = wire::parse(bytes).ok()?;
    let l4 = parsed.l4(bytes);
    let own = match parsed.flow.protocol {
        tcp::PROTOCOL if parsed.tcp_flags & (tcp::SYN | tcp::ACK) == tcp::SYN => l4.get(4..8)?,
        udp::PROTOCOL => l4.get(udp::HEADER_LEN..)?,
        _ => return None,
    };
    if !shows_clients {
        return Some(own.to_vec());
    }
    // On the direct path the same clients draw the same sequence numbers, from other addresses.
    let source = parsed.flow.src;
    Some([source.octets(), l4.get(0..2)?, own].concat())
}

/// Questions about flows of any client to any listener of any VIP at any time.
fn questions(topology: &Topology, seconds: u64, count: usize) -> Vec<Question> {
    let mut rng = Seed(20_261_122).stream(&topology.name, "questions");
    let clients: Vec<(String, u32)> = topology
        .clients
        .values()
        .map(|client| (client.name.clone(), client.count))
        .collect();
    let listeners = topology.vips.values().flat_map(|vip| {
        let listeners = topology.clbs[&vip.clb].listeners.values();
        listeners.map(|listener| format!("{}:{}", vip.name, listener.name))
    });
    let listeners: Vec<String> = listeners.collect();
    let any = |rng: &mut Rng, of: usize| rng.below(of as u64) as usize;
    let mut asked = Vec::new();
    // A host may have no address of the VIP's family.
    for _ in 0..count * 20 {
        if asked.len() == count {
            break;
        }
        let (client, hosts) = &clients[any(&mut rng, clients.len())];
        let from = format!("{client}/{}", rng.below(u64::from(*hosts)) + 1);
        let to = &listeners[any(&mut rng, listeners.len())];
        let at = Duration::from_nanos(rng.below(seconds * 1_000_000_000));
        let port = FIRST_PORT + asked.len() as u16;
        asked.extend(topology.question(&from, to, at, port));
    }
    assert_eq!(asked.len(), count, "{}", topology.name);
    asked
}

fn options(seconds: u64) -> Options {
    Options {
        duration: Some(Duration::from_secs(seconds)),
        ..Options::default()
    }
}

/// Both accounts of each flow.
fn both(name: &str, seconds: u64, count: usize) -> Vec<(Explanation, Seen)> {
    let topology = topology(name);
    let questions = questions(&topology, seconds, count);
    let wires = Arc::new(Mutex::new(Wires::of(&topology, &questions)));
    let also: Box<dyn Watcher> = Box::new(Reader(Arc::clone(&wires)));
    let told = explain_beside(
        &topology,
        &options(seconds),
        &questions,
        Some(also),
        &mut |_| {},
    );
    let told = told.expect("it is built");
    let wires = wires.lock().expect("nobody panicked");
    let seen = questions.iter().map(|own| wires.flows[&own.from].clone());
    told.into_iter().zip(seen).collect()
}

/// What an explanation says of wires.
fn as_seen(told: &Explanation) -> Seen {
    Seen {
        entered: told.entered.clone(),
        clb_node: told.clb_node.clone(),
        target: told.target,
        host: told.host.clone(),
        left_by: told.left_by.clone(),
        answered_at: told.answered_after_s.map(|after| after + told.at_s),
    }
}

/// Whether both say the same. What a client never heard of may have ended on the way to where it was sent.
fn agree(told: &Explanation, seen: &Seen) -> bool {
    let own = as_seen(told);
    let same_time = match (own.answered_at, seen.answered_at) {
        (Some(told), Some(seen)) => (told - seen).abs() < 1e-9,
        (None, None) => true,
        _ => false,
    };
    let same_way = if seen.answered_at.is_some() {
        (&own.clb_node, own.target, &own.host, &own.left_by)
            == (&seen.clb_node, seen.target, &seen.host, &seen.left_by)
    } else {
        !told.dropped.is_empty() || told.steps.is_empty()
    };
    own.entered == seen.entered && same_time && same_way
}

#[test]
fn ten_thousand_flows_went_over_the_wires_as_explained() {
    let runs: Vec<_> = std::thread::scope(|scope| {
        let (one, other) = ASKED.split_at(ASKED.len() / 2);
        let halves = [one, other].map(|half| {
            scope.spawn(move || {
                let of = |(name, seconds, count): &(&'static str, u64, usize)| {
                    (*name, both(name, *seconds, *count))
                };
                half.iter().map(of).collect::<Vec<_>>()
            })
        });
        let halves = halves.map(|half| half.join().expect("it came to an end"));
        halves.into_iter().flatten().collect()
    });
    let (mut all, mut answered, mut wrong) = (0, 0, Vec::new());
    let (mut pops, mut targets) = (BTreeMap::new(), BTreeMap::new());
    for (name, flows) in &runs {
        for (told, seen) in flows {
            all += 1;
            answered += usize::from(seen.answered_at.is_some());
            *pops.entry((name, &seen.entered)).or_insert(0) += 1;
            *targets.entry((name, seen.target)).or_insert(0) += 1;
            if !agree(told, seen) {
                wrong.push(format!("{name}: {told:#?}\non the wires: {seen:#?}"));
            }
        }
    }
    let first = wrong.first().cloned().unwrap_or_default();
    assert_eq!((all, wrong.len()), (10_000, 0), "{first}");
    assert!(answered > 8_000, "{answered} of {all} had an answer");
    // The questions are no easy ones: many ways in, many targets, and flows that never arrive.
    assert!(answered < all, "no fault met any flow");
    assert!(
        pops.len() > 20 && targets.len() > 20,
        "{pops:?} {targets:?}"
    );
}

/// When, by which link, and what.
type Delivered = (u64, String, Vec<u8>);

/// What links delivered before some time, by their own names.
#[derive(Clone, Default)]
struct Until(Arc<Mutex<Vec<Delivered>>>, u64);

impl Watcher for Until {
    fn delivered(&mut self, delivery: &Delivery<'_>) {
        if delivery.at.as_nanos() < self.1 {
            let seen = (
                delivery.at.as_nanos(),
                delivery.name.to_owned(),
                delivery.bytes.to_vec(),
            );
            self.0.lock().expect("nobody panics meanwhile").push(seen);
        }
    }
}

#[test]
fn until_its_flow_starts_a_run_is_what_it_is_without_a_question() {
    let topology = topology("pop-down");
    let at = Duration::from_millis(2_500);
    let question = topology.question("osaka", "game:web", at, FIRST_PORT);
    let question = question.expect("it has such a client");
    let until = || Until(Arc::default(), at.as_nanos() as u64);
    let (plain, asked) = (until(), until());
    let options = options(4);
    run_watched(&topology, &options, Box::new(plain.clone()), &mut |_| {}).expect("it is built");
    let also: Box<dyn Watcher> = Box::new(asked.clone());
    let told = explain_beside(&topology, &options, &[question], Some(also), &mut |_| {});
    assert!(told.expect("it is built")[0].target.is_some());
    let plain = plain.0.lock().expect("nobody panicked");
    assert!(plain.len() > 1_000, "{}", plain.len());
    assert!(*plain == *asked.0.lock().expect("nobody panicked"));
}

#[test]
fn who_watches_a_run_does_not_change_it() {
    for name in ["two-pops", "clb-node-down", "nat64"] {
        let topology = topology(name);
        let plain = run(&topology, &options(3), &mut |_| {}).expect("it is built");
        let until = Until(Arc::default(), 1_000_000_000);
        let watched = run_watched(&topology, &options(3), Box::new(until), &mut |_| {});
        let watched = watched.expect("it is built");
        assert_eq!(plain.digest, watched.digest, "{name}");
        assert_eq!(plain.packet_hops, watched.packet_hops, "{name}");
    }
}
