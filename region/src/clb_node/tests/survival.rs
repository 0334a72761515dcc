//! Flows that outlive what happens to their CLB nodes: three nodes of one region, wired by hand.

mod changes;
mod messages;
mod nat64;
mod properties;
mod returns;
mod stories;
mod unbind;

use std::sync::Arc;

use anyedge_net::id::PathId;
use anyedge_net::route_table::Mechanisms;
use anyedge_net::slot::Owners;

use super::*;

fn without(mut table: RouteTable, off: impl Fn(&mut Mechanisms)) -> RouteTable {
    off(&mut table.mechanisms);
    table
}

/// A client's flow whose slot has these owners.
fn flow_owned_by(table: &RouteTable, [primary, secondary]: [usize; 2], nth: usize) -> FlowKey {
    flows_owned_by(table, [primary, secondary])
        .nth(nth)
        .expect("each node owns a third of the slots")
}

fn flows_owned_by(table: &RouteTable, owners: [usize; 2]) -> impl Iterator<Item = FlowKey> {
    owned_by(table, owners, web_flow)
}

/// The same of other flows, `numbered` from 0 on.
fn owned_by(
    table: &RouteTable,
    [primary, secondary]: [usize; 2],
    numbered: impl Fn(u32) -> FlowKey,
) -> impl Iterator<Item = FlowKey> {
    let slots = Arc::clone(&table.regions[0].slots);
    let wanted = Owners {
        primary: CLB_NODES[primary],
        secondary: CLB_NODES[secondary],
    };
    (0..)
        .map(numbered)
        .filter(move |flow| slots.owners(key_of(flow).slot()) == wanted)
}

/// What came of a packet on its way through the nodes.
#[derive(Default)]
struct Journey {
    /// Packets that left for hosts and POPs.
    left: Vec<(Meta, Vec<u8>)>,
    /// Drops, without the ends of entries.
    drops: Vec<DropReason>,
    /// Events and the place of their node.
    events: Vec<(usize, Event)>,
    /// Packets with the hop bit.
    hops: usize,
    /// Messages with entries.
    messages: usize,
}

impl Journey {
    /// The one packet that left, without its tunnel.
    fn only_left(&self) -> (Meta, &[u8]) {
        assert_eq!(self.drops, [], "dropped");
        let [(meta, bytes)] = &self.left[..] else {
            panic!("{} packets left", self.left.len());
        };
        (*meta, untunnelled(bytes).1)
    }

    /// The target that the one packet went to.
    fn target(&self) -> Address {
        sound(self.only_left().1).flow.dst
    }

    /// Whether the one packet that left is a RST, beside one dropped for want of a flow.
    fn is_reset(&self) -> bool {
        self.drops == [DropReason::NoFlow]
            && matches!(&self.left[..], [(_, bytes)] if sound(untunnelled(bytes).1).tcp_flags & tcp::RST != 0)
    }

    fn taken_over(&self) -> Vec<usize> {
        self.places(|event| matches!(event, Event::FlowTakenOver { .. }))
    }

    fn places(&self, is_it: impl Fn(&Event) -> bool) -> Vec<usize> {
        let wanted = self.events.iter().filter(|(_, event)| is_it(event));
        wanted.map(|(place, _)| *place).collect()
    }
}

/// Three CLB nodes, of which some may be down, and what all of them told.
struct Region {
    nodes: [Stage<ClbNode>; 3],
    up: [bool; 3],
    /// Whether what nodes send each other arrives.
    mesh: bool,
    opened: u64,
    taken_over: u64,
    closed: u64,
    /// Own flows of nodes that crashed.
    lost: u64,
}

impl Region {
    fn new(table: &RouteTable) -> Region {
        Region {
            nodes: [0, 1, 2].map(|place| stage(place, table.clone())),
            up: [true; 3],
            mesh: true,
            opened: 0,
            taken_over: 0,
            closed: 0,
            lost: 0,
        }
    }

    fn apply(&mut self, table: &RouteTable) -> Journey {
        let mut journey = Journey::default();
        for place in 0..3 {
            self.apply_at(place, table, &mut journey);
        }
        journey
    }

    fn apply_at(&mut self, place: usize, table: &RouteTable, journey: &mut Journey) {
        if self.up[place] {
            let outcome = self.nodes[place].apply(table.clone());
            self.follow(place, outcome, journey);
        }
    }

    /// A node crashes: it is silent and has forgotten everything.
    fn crash(&mut self, place: usize) {
        self.lost += self.nodes[place].forwarder.flows() as u64;
        self.up[place] = false;
    }

    /// It comes back with nothing but the routes.
    fn restart(&mut self, place: usize, table: &RouteTable) {
        let now = self.nodes[place].now;
        self.nodes[place] = stage(place, table.clone());
        self.nodes[place].now = now;
        self.up[place] = true;
    }

    fn client(&mut self, place: usize, flow: &FlowKey, packet: &[u8]) -> Journey {
        self.arrives(place, (FROM_TOKYO, TOKYO), key_of(flow), packet)
    }

    fn client_says(&mut self, place: usize, flow: FlowKey, flags: u8) -> Journey {
        self.client(place, &flow, &segment(flow, flags))
    }

    fn target_says(&mut self, place: usize, flow: FlowKey, target: Address, flags: u8) -> Journey {
        let packet = segment(answer_flow(&flow, target, 8_080), flags);
        self.target(place, &flow, target, &packet)
    }

    fn target(&mut self, place: usize, flow: &FlowKey, target: Address, packet: &[u8]) -> Journey {
        let is_first = target == backend(1, target.family());
        let from = if is_first {
            (TO_WEB_1, WEB_1)
        } else {
            (TO_WEB_2, WEB_2)
        };
        self.arrives(place, from, key_of(flow), packet)
    }

    fn arrives(
        &mut self,
        place: usize,
        (path, peer): (PathId, NodeId),
        key: GreKey,
        packet: &[u8],
    ) -> Journey {
        let mut journey = Journey::default();
        if self.up[place] {
            let outcome = self.nodes[place].tunnel(path, peer, key, packet);
            self.follow(place, outcome, &mut journey);
        }
        journey
    }

    /// A whole handshake by way of one node.
    fn establish(&mut self, place: usize, flow: FlowKey) -> Address {
        let target = self.client_says(place, flow, tcp::SYN).target();
        self.target_says(place, flow, target, tcp::SYN | tcp::ACK)
            .only_left();
        self.client_says(place, flow, tcp::ACK).only_left();
        target
    }

    /// Time passes, in steps so short that the nodes' clocks stay together.
    fn pass(&mut self, duration: Duration) -> Journey {
        const STEP: Duration = Duration::from_secs(5);
        let mut journey = Journey::default();
        let mut left = duration;
        while !left.is_zero() {
            let step = left.min(STEP);
            left -= step;
            for place in 0..3 {
                let outcome = self.nodes[place].pass(step);
                if self.up[place] {
                    self.follow(place, outcome, &mut journey);
                }
            }
        }
        journey
    }

    /// Brings what a node sent to the other nodes, and so on until all is still.
    fn follow(&mut self, place: usize, outcome: Outcome, journey: &mut Journey) {
        let mut still_to_do = vec![(place, outcome)];
        while let Some((place, outcome)) = still_to_do.pop() {
            self.count(place, &outcome, journey);
            for (meta, bytes) in outcome.sent {
                if meta.port != PortId::tunnel(MESH) {
                    journey.left.push((meta, bytes));
                    continue;
                }
                let header = gre::parse(&bytes).expect("a GRE header");
                let is_message = header.protocol == gre::PROTOCOL_ENTRIES;
                journey.messages += usize::from(is_message);
                journey.hops += usize::from(header.key.is_some_and(GreKey::hop));
                let to = CLB_NODES.iter().position(|id| *id == meta.peer);
                let to = to.expect("the mesh joins the CLB nodes of the region");
                if !(self.mesh && self.up[to]) {
                    continue;
                }
                let arrived = Meta {
                    peer: CLB_NODES[place],
                    ..meta
                };
                let outcome = self.nodes[to].batch(&[(arrived, bytes)]);
                still_to_do.push((to, outcome));
            }
        }
    }

    fn count(&mut self, place: usize, outcome: &Outcome, journey: &mut Journey) {
        for event in &outcome.events {
            match event {
                Event::FlowOpened { .. } => self.opened += 1,
                Event::FlowTakenOver { .. } => self.taken_over += 1,
                Event::FlowClosed { .. } => self.closed += 1,
                _ => {}
            }
            journey.events.push((place, *event));
        }
        let drops = outcome.drops.iter();
        let drops = drops.filter(|reason| **reason != DropReason::Entries);
        journey.drops.extend(drops);
    }

    /// Every flow that a node opened or took over has ended there, is still its own, or was lost with it.
    fn check_sums(&self) {
        let own = (0..3).filter(|place| self.up[*place]);
        let own: usize = own.map(|place| self.nodes[place].forwarder.flows()).sum();
        assert_eq!(
            self.opened + self.taken_over,
            self.closed + own as u64 + self.lost,
            "conservation of flows"
        );
    }

    fn replicas(&self) -> [usize; 3] {
        [0, 1, 2].map(|place| self.nodes[place].forwarder.replicas())
    }

    fn own(&self) -> [usize; 3] {
        [0, 1, 2].map(|place| self.nodes[place].forwarder.flows())
    }
}

fn stage(place: usize, table: RouteTable) -> Stage<ClbNode> {
    let limits = Limits::of(64);
    Stage::new(ClbNode::new(CLB_NODE_NAMES[place], limits, Seed(7)), table)
}
