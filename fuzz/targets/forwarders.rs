//! A POP, a CLB node and a vSwitch with any packets at any of their ports: each packet ends exactly once, what leaves
//! reads as a packet, and no deadline is overdue. Flow entries and probes of peers are among what comes.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyedge_ccn::tunnel;
use anyedge_net::checksum;
use anyedge_net::flow::HashKey;
use anyedge_net::forwarder::Forwarder;
use anyedge_net::id::NodeId;
use anyedge_net::ledger::Ledger;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{NodeKind, RouteTable};
use anyedge_net::time::Instant;
use anyedge_net::wire::{self, gre};
use anyedge_pop::pop::Pop;
use anyedge_region::{ClbNode, Limits, VSwitch};
use anyedge_topologies::Topology;

use crate::input::Input;
use crate::sealing::seal;

/// Packets of one input.
const PACKETS_MAX: usize = 48;
const LIMITS: Limits = Limits::of(64);

/// Those of the shipped topology, with two CLB nodes, as it is and with one of its CLB nodes drained.
static TABLES: LazyLock<Vec<Arc<RouteTable>>> = LazyLock::new(|| {
    let text = include_str!("../../topologies/two-pops.toml");
    let text = text.replace("clb_nodes = 1", "clb_nodes = 2");
    let topology = Topology::parse("two-pops.toml", &text).expect("it is shipped");
    let author = anyedge_topologies::author(&topology, HashKey::new([7; 16]));
    let mut author = author.expect("it is sound");
    let first = author.publish(Instant::ZERO).expect("it is sound");
    let drained = author.set_node_weight("region.guangzhou.clb-1", 1);
    drained.expect("there is one");
    vec![first, author.publish(Instant::ZERO).expect("it is sound")]
});

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let own = usize::from(input.byte()) % TABLES[0].nodes.len();
    let node = &TABLES[0].nodes[own];
    let (name, seed) = (node.name.as_str(), Seed(1));
    match node.kind {
        NodeKind::Pop => drive(Pop::new(name, seed), input),
        NodeKind::ClbNode(_) => drive(ClbNode::new(name, LIMITS, seed), input),
        NodeKind::Host(_) => drive(VSwitch::new(name, LIMITS, seed), input),
    }
}

fn drive(mut forwarder: impl Forwarder, mut input: Input<'_>) {
    let mut out = Outbox::new(Pool::new(4_096));
    let mut ledger = Ledger::default();
    let mut now = Instant::ZERO;
    ledger.apply(&mut forwarder, now, Arc::clone(&TABLES[0]), &mut out);
    departed(&mut out);
    for _ in 0..PACKETS_MAX {
        if input.is_empty() {
            break;
        }
        let choice = input.byte();
        if choice & 0x80 != 0 {
            now += Duration::from_millis(u64::from(input.u16()));
        }
        if choice & 0x40 != 0 && input.byte() == 0 {
            ledger.apply(&mut forwarder, now, Arc::clone(&TABLES[1]), &mut out);
        }
        let mut batch = vec![arrival(choice, &mut input, &mut out)];
        ledger.packets(&mut forwarder, now, &mut batch, &mut out);
        departed(&mut out);
        ledger.timeout(&mut forwarder, now, &mut out);
        departed(&mut out);
        let next = forwarder.poll_timeout();
        assert!(next.is_none_or(|next| next.at > now), "{next:?} at {now:?}");
    }
    let held = forwarder.held();
    assert_eq!(out.pool().loaned(), held, "a packet was lost");
}

/// A packet, bare or as a peer sends one.
fn arrival(choice: u8, input: &mut Input<'_>, out: &mut Outbox) -> Packet {
    let (port, peer, tos) = (input.byte(), input.byte(), input.byte());
    let paths = TABLES[0].paths.len();
    let paths = (0..paths).map(|path| PortId::tunnel(anyedge_net::id::PathId(path as u16)));
    let plain = [PortId::LOCAL, PortId::PUBLIC, PortId::VPC, PortId::BACKEND];
    let ports: Vec<PortId> = plain.into_iter().chain(paths).collect();
    let port = ports[usize::from(port) % ports.len()];
    let key = input.u32();
    let mut inner = input.counted().to_vec();
    let mut bytes = Vec::new();
    if port.path().is_some() {
        let protocol = match choice >> 3 & 3 {
            0 => gre::PROTOCOL_ENTRIES,
            1 => gre::PROTOCOL_PROBE,
            _ if inner.first().is_some_and(|first| first >> 4 == 6) => gre::PROTOCOL_IPV6,
            _ => gre::PROTOCOL_IPV4,
        };
        match protocol {
            gre::PROTOCOL_ENTRIES => sum_at(&mut inner, 4),
            gre::PROTOCOL_PROBE => sum_at(&mut inner, 72),
            _ => seal(&mut inner, choice),
        }
        bytes.resize(gre::HEADER_LEN, 0);
        gre::write(&mut bytes, protocol, gre::GreKey(key));
    } else {
        seal(&mut inner, choice);
    }
    bytes.extend(inner);
    let meta = Meta {
        peer: match usize::from(peer) % (TABLES[0].nodes.len() + 1) {
            0 => NodeId::UNKNOWN,
            peer => NodeId(peer as u16 - 1),
        },
        tos,
        ..Meta::plain(port)
    };
    let lent = out.pool_mut().lend_copy(&bytes, meta);
    lent.expect("a slot is free, and the packet fits")
}

/// Makes the checksum of a message that has it at `at`.
fn sum_at(message: &mut [u8], at: usize) {
    if message.len() >= at + 2 {
        message[at..at + 2].fill(0);
        let check = checksum::internet(message);
        message[at..at + 2].copy_from_slice(&check.to_be_bytes());
    }
}

/// Takes what leaves, and looks at it.
fn departed(out: &mut Outbox) {
    let sent: Vec<Packet> = out.sent_mut().drain(..).collect();
    for mut packet in sent {
        if packet.meta.port.path().is_some() {
            let header = gre::parse(packet.bytes()).expect("a GRE packet");
            if !matches!(header.protocol, gre::PROTOCOL_ENTRIES | gre::PROTOCOL_PROBE) {
                packet.meta.tos &= !3;
                tunnel::decapsulate(&mut packet).expect("a packet in a tunnel");
            }
        } else {
            wire::parse(packet.bytes()).expect("a packet");
        }
        out.pool_mut().take_back(packet);
    }
    let local: Vec<Packet> = out.local_mut().drain(..).collect();
    for packet in local {
        out.pool_mut().take_back(packet);
    }
    out.events_mut().clear();
}
