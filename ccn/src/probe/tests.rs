//! Probers of several nodes on wires with a delay, which lose what a test says.

mod detours;
mod full_size;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_net::id::PathId;
use anyedge_net::packet::{Meta, Pool};
use anyedge_net::rng::Rng;
use anyedge_net::route_table::Probing;
use anyedge_net::slot::Owners;

use super::*;
use crate::testbed::*;

const INTERVAL: Duration = Duration::from_millis(100);
/// How long it takes at most to notice that a peer is silent, from the moment that its probes cease to arrive.
const DETECTION: Duration = Duration::from_millis(300);

struct Station {
    own: NodeId,
    exits: Exits,
    prober: Prober,
    out: Outbox,
    events: Vec<(Instant, Event)>,
}

/// One probe on its way: path, sender, receiver, bytes.
type Flight = (PathId, NodeId, NodeId, Vec<u8>);

/// Which share of the probes from a node over a path is lost, in millionths.
type Losses = BTreeMap<(PathId, NodeId), u32>;

struct World {
    now: Instant,
    table: Arc<RouteTable>,
    stations: BTreeMap<NodeId, Station>,
    flights: BTreeMap<(Instant, u64), Flight>,
    sent: u64,
    losses: Losses,
    /// Paths whose MTU has shrunk, and what fits into a tunnel there.
    narrowed: BTreeMap<PathId, usize>,
    /// Nodes that are down.
    dead: Vec<NodeId>,
    wire: Rng,
}

fn probed(table: RouteTable) -> RouteTable {
    let probing = Some(Probing::default());
    RouteTable { probing, ..table }
}

impl World {
    fn of(table: RouteTable) -> World {
        let mut world = World {
            now: Instant::ZERO,
            stations: BTreeMap::new(),
            flights: BTreeMap::new(),
            sent: 0,
            losses: BTreeMap::new(),
            narrowed: BTreeMap::new(),
            dead: Vec::new(),
            wire: Seed(5).stream("wire", "loss"),
            table: Arc::new(table),
        };
        for node in 0..world.table.nodes.len() {
            world.start(NodeId(node as u16));
        }
        world
    }

    /// Starts a node afresh.
    fn start(&mut self, own: NodeId) {
        let name = &self.table.nodes[own.index()].name;
        let mut station = Station {
            own,
            exits: Exits::new(&self.table, own),
            prober: Prober::new(name, Seed(1)),
            out: Outbox::new(Pool::new(8)),
            events: Vec::new(),
        };
        station
            .prober
            .renew(self.now, &self.table, &mut station.exits);
        self.dead.retain(|dead| *dead != own);
        self.stations.insert(own, station);
    }

    fn apply(&mut self, table: RouteTable) {
        self.table = Arc::new(table);
        for station in self.stations.values_mut() {
            station.exits.renew(self.now, &self.table, station.own);
            station
                .prober
                .renew(self.now, &self.table, &mut station.exits);
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let timers = self
                .stations
                .values()
                .filter(|station| !self.dead.contains(&station.own));
            let timers = timers.filter_map(|station| {
                let due = station.prober.poll_timeout(&station.exits)?;
                Some((due.at, station.own))
            });
            let timer = timers.min();
            let flight = self.flights.keys().next().copied();
            let next = timer
                .map(|(at, _)| at)
                .into_iter()
                .chain(flight.map(|(at, _)| at))
                .min();
            let Some(at) = next.filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            match (flight, timer) {
                (Some(key), timer) if timer.is_none_or(|(at, _)| key.0 <= at) => self.land(key),
                (_, Some((_, node))) => {
                    let Station {
                        exits, prober, out, ..
                    } = self.stations.get_mut(&node).expect("the timer is its");
                    prober.handle_timeout(self.now, exits, out);
                    self.drain(node);
                }
                (_, None) => unreachable!("something was next"),
            }
        }
        self.now = end;
    }

    fn land(&mut self, key: (Instant, u64)) {
        let (path, from, to, bytes) = self.flights.remove(&key).expect("it is on its way");
        if self.dead.contains(&to) {
            return;
        }
        let Station {
            exits, prober, out, ..
        } = self.stations.get_mut(&to).expect("a node");
        let meta = Meta {
            peer: from,
            ..Meta::plain(PortId::tunnel(path))
        };
        let packet = out.pool_mut().lend_copy(&bytes, meta).expect("a slot");
        assert!(is_probe(packet.bytes()));
        prober.take(self.now, packet, exits, out);
        self.drain(to);
    }

    fn drain(&mut self, node: NodeId) {
        let station = self.stations.get_mut(&node).expect("a node");
        let events = station.out.events_mut().drain(..);
        station.events.extend(events.map(|event| (self.now, event)));
        let packets = core::mem::take(station.out.sent_mut());
        for packet in packets {
            let Meta {
                port, peer, tos, ..
            } = packet.meta;
            let path = port.path().expect("probes leave by tunnels");
            let inner_mtu = usize::from(self.table.paths[path.index()].inner_mtu());
            let len = packet.len() - gre::HEADER_LEN;
            assert!(tos == TOS && (len == message::LEN || len == inner_mtu));
            let fits = self.narrowed.get(&path).is_none_or(|most| len <= *most);
            let loss = self.losses.get(&(path, node)).copied().unwrap_or(0);
            if fits && !self.wire.one_in_ppm(loss) {
                let delay = self.table.paths[path.index()].rtt / 2;
                let flight = (path, node, peer, packet.bytes().to_vec());
                self.sent += 1;
                self.flights.insert((self.now + delay, self.sent), flight);
            }
            station.out.pool_mut().take_back(packet);
        }
        assert_eq!(station.out.pool().loaned(), 0, "every slot is back");
    }

    fn cut(&mut self, path: PathId, both: [NodeId; 2]) {
        for node in both {
            self.losses.insert((path, node), 1_000_000);
        }
    }

    fn exits(&self, node: NodeId) -> &Exits {
        &self.stations[&node].exits
    }

    /// The path to a node that a node would take.
    fn path(&self, from: NodeId, to: NodeId) -> Option<PathId> {
        self.exits(from).to(to)?.port.path()
    }

    /// Who takes the packet out of that tunnel.
    fn via(&self, from: NodeId, to: NodeId) -> Option<NodeId> {
        Some(self.exits(from).to(to)?.peer)
    }

    fn events_of(&mut self, node: NodeId) -> Vec<(Instant, Event)> {
        let station = self.stations.get_mut(&node).expect("a node");
        core::mem::take(&mut station.events)
    }
}

const OWNERS: Owners = Owners {
    primary: CLB_1,
    secondary: CLB_2,
};

#[test]
fn without_probing_nothing_is_sent_and_all_is_up() {
    let mut world = World::of(table());
    world.run(Duration::from_secs(10));
    assert_eq!((world.sent, world.path(POP, CLB_1)), (0, Some(FAST_A)));
    assert_eq!(
        world.stations[&POP].prober.poll_timeout(world.exits(POP)),
        None
    );
}

#[test]
fn sessions_come_up_once_and_stay_up_and_nodes_forward_from_the_start() {
    let mut world = World::of(probed(with_detours()));
    assert_eq!(world.path(POP, CLB_1), Some(FAST_A), "before any probe");
    world.run(Duration::from_secs(60));
    for node in 0..world.table.nodes.len() {
        let node = NodeId(node as u16);
        let links = world.exits(node).links().len();
        let events = world.events_of(node);
        let up = |event: &Event| matches!(event, Event::PeerState { up: true, .. });
        assert_eq!(events.len(), links, "{events:?}");
        assert!(events.iter().all(|(_, event)| up(event)));
    }
    // One probe of each link in each interval, less its jitter of an eighth on average.
    let ends: usize = world
        .stations
        .values()
        .map(|station| station.exits.links().len())
        .sum();
    let probes = world.sent / ends as u64;
    assert!((660..720).contains(&probes), "{probes}");
}

#[test]
fn a_path_that_falls_silent_is_left_within_the_detection_time() {
    let mut world = World::of(probed(table()));
    world.run(Duration::from_secs(5));
    world.events_of(POP);
    world.losses.insert((FAST_A, CLB_1), 1_000_000);
    let cut = world.now;
    // What was on its way arrives for another 26 ms.
    world.run(DETECTION + Duration::from_millis(26));
    assert_eq!(world.path(POP, CLB_1), Some(FAST_B));
    assert_eq!(world.path(POP, CLB_2), Some(FAST_A));
    let events = world.events_of(POP);
    let down = Event::PeerState {
        path: FAST_A,
        peer: CLB_1,
        up: false,
    };
    assert!(
        matches!(events[..], [(at, event)] if event == down && at > cut + (DETECTION - INTERVAL))
    );
}

#[test]
fn silence_in_one_direction_is_known_to_both_ends() {
    let mut world = World::of(probed(table()));
    world.run(Duration::from_secs(5));
    world.losses.insert((FAST_A, CLB_1), 1_000_000);
    world.run(DETECTION + Duration::from_millis(26 + 26));
    assert_eq!(world.path(POP, CLB_1), Some(FAST_B));
    assert_eq!(
        world.path(CLB_1, POP),
        Some(FAST_B),
        "it hears the POP, which says that it is down"
    );
}

#[test]
fn a_path_that_loses_in_one_direction_only_is_grey_at_both_ends_and_left() {
    for sender in [POP, CLB_1] {
        let mut world = World::of(probed(table()));
        world.run(Duration::from_secs(8));
        world.events_of(POP);
        world.losses.insert((FAST_A, sender), 200_000);
        world.run(Duration::from_secs(5));
        for (node, peer) in [(POP, CLB_1), (CLB_1, POP)] {
            let grey = Event::PathGrey {
                path: FAST_A,
                peer,
                grey: true,
            };
            let events = world.events_of(node);
            assert!(events.iter().any(|(_, event)| *event == grey), "{events:?}");
            assert_eq!(world.path(node, peer), Some(FAST_B));
        }
        if sender == CLB_1 {
            assert_eq!(
                world.path(POP, CLB_2),
                Some(FAST_A),
                "the other node's probes arrive"
            );
        }
    }
}

#[test]
fn a_grey_path_is_used_when_there_is_nothing_better_and_left_to_itself_when_grey_is_off() {
    let mut only = probed(table());
    only.paths.truncate(1);
    let mut world = World::of(only);
    world.losses.insert((SLOW, CLB_1), 150_000);
    world.run(Duration::from_secs(20));
    assert_eq!(world.path(POP, CLB_1), Some(SLOW));
    assert!(world.exits(POP).is_poor(CLB_1) && !world.exits(POP).is_poor(CLB_2));

    let mut off = probed(table());
    off.mechanisms.grey = false;
    let mut world = World::of(off);
    world.losses.insert((FAST_A, POP), 100_000);
    world.run(Duration::from_secs(20));
    let grey = |event: &Event| matches!(event, Event::PathGrey { .. });
    assert!(!world.events_of(POP).iter().any(|(_, event)| grey(event)));
}

#[test]
fn the_less_lossy_of_two_grey_paths_is_taken() {
    let mut both = probed(table());
    both.paths.truncate(2);
    let mut world = World::of(both);
    world.losses.insert((FAST_B, POP), 350_000);
    world.losses.insert((SLOW, POP), 100_000);
    world.run(Duration::from_secs(30));
    assert_eq!(world.path(POP, CLB_1), Some(SLOW));
}

#[test]
fn a_path_that_returns_is_taken_again_after_it_has_lasted() {
    let mut world = World::of(probed(table()));
    world.run(Duration::from_secs(5));
    world.cut(FAST_A, [POP, CLB_1]);
    world.cut(FAST_B, [POP, CLB_1]);
    world.run(Duration::from_secs(2));
    assert_eq!(world.path(POP, CLB_1), Some(SLOW));
    world.losses.clear();
    world.run(Duration::from_millis(4_900));
    assert_eq!(
        world.path(POP, CLB_1),
        Some(SLOW),
        "it came back, and is watched"
    );
    world.run(Duration::from_secs(1));
    assert!([Some(FAST_A), Some(FAST_B)].contains(&world.path(POP, CLB_1)));
}

#[test]
fn a_restarted_node_is_up_at_once_in_its_own_eyes_and_soon_in_others() {
    let mut world = World::of(probed(table()));
    world.run(Duration::from_secs(5));
    world.dead.push(CLB_1);
    world.run(Duration::from_secs(1));
    assert_eq!(world.path(POP, CLB_1), None);
    world.start(CLB_1);
    assert_eq!(world.path(CLB_1, POP), Some(FAST_A));
    world.run(Duration::from_millis(100 + 52 + 90));
    assert!(world.path(POP, CLB_1).is_some());
    world.run(Duration::from_secs(5));
    assert_eq!(
        world.path(CLB_1, POP),
        Some(FAST_A),
        "presumed, then proven"
    );
}

#[test]
fn a_lost_primary_is_passed_over_until_the_next_revision() {
    let owner = |world: &World| world.exits(POP).owner(OWNERS).map(|(owner, _)| owner);
    let mut world = World::of(probed(table()));
    world.run(Duration::from_secs(5));
    assert_eq!(owner(&world), Ok(CLB_1));
    world.dead.push(CLB_1);
    world.run(DETECTION + Duration::from_millis(26));
    assert_eq!(owner(&world), Ok(CLB_2), "within the detection time");
    world.start(CLB_1);
    world.run(Duration::from_secs(30));
    assert!(world.path(POP, CLB_1).is_some());
    assert_eq!(
        owner(&world),
        Ok(CLB_2),
        "it is back, and has yet to get its flows"
    );
    world.dead.push(CLB_2);
    world.run(Duration::from_secs(1));
    assert_eq!(owner(&world), Ok(CLB_1), "better than nobody");
    world.start(CLB_2);
    world.run(Duration::from_secs(1));
    world.apply(probed(table()));
    assert_eq!(owner(&world), Ok(CLB_1));
}

#[test]
fn a_node_that_was_never_heard_is_not_passed_over_when_it_comes() {
    let mut world = World::of(probed(table()));
    world.dead.push(CLB_1);
    world.run(Duration::from_secs(2));
    assert_eq!(
        world.exits(POP).owner(OWNERS).map(|(owner, _)| owner),
        Ok(CLB_2)
    );
    world.start(CLB_1);
    world.run(Duration::from_secs(2));
    assert_eq!(
        world.exits(POP).owner(OWNERS).map(|(owner, _)| owner),
        Ok(CLB_1)
    );
}

#[test]
fn a_region_out_of_reach_passes_nobody_over_when_it_returns() {
    let mut world = World::of(probed(table()));
    world.run(Duration::from_secs(5));
    for path in [SLOW, FAST_A, FAST_B] {
        world.cut(path, [POP, CLB_1]);
        world.cut(path, [POP, CLB_2]);
    }
    world.run(Duration::from_secs(2));
    assert_eq!(world.exits(POP).owner(OWNERS), Err(DropReason::NoPath));
    world.losses.clear();
    world.run(Duration::from_secs(2));
    assert_eq!(
        world.exits(POP).owner(OWNERS).map(|(owner, _)| owner),
        Ok(CLB_1)
    );
}

#[test]
fn fallback_off_leaves_a_dead_primarys_slots_without_a_way() {
    let mut off = probed(table());
    off.mechanisms.fallback = false;
    let mut world = World::of(off);
    world.run(Duration::from_secs(5));
    world.dead.push(CLB_1);
    world.run(Duration::from_secs(1));
    assert_eq!(world.exits(POP).owner(OWNERS), Err(DropReason::NoPath));
}

#[test]
fn sessions_go_on_under_another_revision_and_another_interval() {
    let mut world = World::of(probed(table()));
    world.run(Duration::from_secs(5));
    world.events_of(POP);
    let mut next = table();
    next.paths.remove(0);
    next.probing = Some(Probing {
        interval: Duration::from_millis(20),
        ..Probing::default()
    });
    world.flights.clear();
    world.apply(next);
    let before = world.sent;
    world.run(Duration::from_secs(10));
    assert_eq!(world.events_of(POP), [], "nobody went down");
    let ends: usize = world
        .stations
        .values()
        .map(|station| station.exits.links().len())
        .sum();
    assert!((world.sent - before) / ends as u64 > 500);
    world.apply(table());
    let before = world.sent;
    world.run(Duration::from_secs(2));
    assert_eq!(world.sent, before, "probing is off");
}

#[test]
fn a_probe_of_anybody_else_is_refused_and_every_slot_comes_back() {
    let mut world = World::of(probed(table()));
    world.run(Duration::from_secs(1));
    let station = world.stations.get_mut(&POP).expect("a node");
    let sound = {
        let mut bytes = vec![0; gre::HEADER_LEN];
        gre::write(&mut bytes, gre::PROTOCOL_PROBE, KEY);
        bytes.extend(
            station.prober.sessions[0]
                .session
                .message(Instant::ZERO)
                .write(),
        );
        bytes
    };
    let mut keyed = sound.clone();
    keyed[7] = 1;
    let mut torn = sound.clone();
    torn.truncate(40);
    let on = |path: PathId, peer: NodeId| Meta {
        peer,
        ..Meta::plain(PortId::tunnel(path))
    };
    let cases = [
        (on(FAST_A, HOST), &sound, DropReason::UnknownPeer),
        (on(FAST_A, NodeId::UNKNOWN), &sound, DropReason::UnknownPeer),
        (on(TO_FRA, CLB_1), &sound, DropReason::UnknownPeer),
        (on(PathId(99), CLB_1), &sound, DropReason::UnknownPeer),
        (Meta::plain(PortId::PUBLIC), &sound, DropReason::WrongPort),
        (on(FAST_A, CLB_1), &keyed, DropReason::BadGre),
        (on(FAST_A, CLB_1), &torn, DropReason::Malformed),
        // Its discriminator is not that of the session.
        (on(FAST_A, CLB_1), &sound, DropReason::Malformed),
    ];
    for (meta, bytes, reason) in cases {
        let Station {
            exits, prober, out, ..
        } = &mut *station;
        let dropped = out.drops().len();
        let packet = out.pool_mut().lend_copy(bytes, meta).expect("a slot");
        prober.take(world.now, packet, exits, out);
        assert_eq!(out.drops()[dropped..], [reason], "{meta:?}");
    }
    world.drain(POP);
}

#[test]
fn without_a_free_slot_the_probe_is_made_up_for_later() {
    let mut world = World::of(probed(table()));
    world.run(Duration::from_secs(5));
    let station = world.stations.get_mut(&POP).expect("a node");
    let pool = station.out.pool_mut();
    let hogs: Vec<Packet> =
        core::iter::from_fn(|| pool.lend(9, Meta::plain(PortId::LOCAL))).collect();
    let now = world.now + Duration::from_millis(60);
    station
        .prober
        .handle_timeout(now, &mut station.exits, &mut station.out);
    assert!(station.out.sent_mut().is_empty());
    for hog in hogs {
        station.out.pool_mut().take_back(hog);
    }
    world.run(Duration::from_secs(5));
    assert_eq!(world.path(POP, CLB_1), Some(FAST_A));
    let ups = |event: &Event| matches!(event, Event::PeerState { up: true, .. });
    assert!(world.events_of(POP).iter().all(|(_, event)| ups(event)));
}
