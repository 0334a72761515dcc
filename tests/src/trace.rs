//! Traces: what came to one node and when, to be played to its forwarder in both worlds.
//!
//! A trace is packets, times and tables, written from a seed ([`write()`]). [`in_sim`] plays it to a node of a
//! simulated world, [`on_kernel`] to the live data plane through real devices; each gives a [`Transcript`], and
//! [`difference`] says in words where two of them part.

pub mod difference;
pub mod in_sim;
pub mod network;
pub mod on_kernel;

mod clb_node;
mod conversation;
mod packets;
mod pop;
mod vswitch;
mod writer;

use anyedge_net::drop_reason::DropCounts;
use anyedge_net::event::Event;
use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_sim::replay::{Arrival, Departure};

use network::Network;
use writer::Writer;

/// The POP that a trace is written for.
pub const POP: &str = "pop.tokyo";
/// The CLB node that a trace is written for.
pub const CLB_NODE: &str = "region.guangzhou.clb-1";
/// The host whose vSwitch a trace is written for.
pub const HOST: &str = "host.web-1";

/// What came to one node, in the order of time.
pub struct Trace {
    /// The node's full name.
    pub node: &'static str,
    /// The world around it, and its tables.
    pub network: Network,
    /// No two at the same time.
    pub entries: Vec<Entry>,
}

/// One thing that came.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// What.
    pub input: Input,
}

/// What can come to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// This one of the network's tables is in force from here on.
    Apply(usize),
    /// A packet.
    Packet(Arrival),
    /// Nothing: time went by.
    Silence,
}

/// What came of a trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transcript {
    /// For each entry what the node sent since the one before.
    pub outputs: Vec<Vec<Departure>>,
    /// Drops by all causes, the node's own and its driver's.
    pub drops: DropCounts,
    /// What the node told.
    pub events: Vec<(Instant, Event)>,
}

impl Trace {
    /// Packets that come in.
    pub fn packets(&self) -> usize {
        let is_packet = |entry: &&Entry| matches!(entry.input, Input::Packet(_));
        self.entries.iter().filter(is_packet).count()
    }
}

impl Transcript {
    /// Packets that went out.
    pub fn packets(&self) -> usize {
        self.outputs.iter().map(Vec::len).sum()
    }
}

/// The trace of at least `packets` packets to `node`, which is [`POP`], [`CLB_NODE`] or [`HOST`]. Three tables come
/// into force on the way: at the start, after a third and after two thirds.
///
/// # Panics
/// For another node.
pub fn write(node: &'static str, seed: Seed, packets: usize) -> Trace {
    let network = Network::of_two_pops();
    let mut writer = Writer::new(&network, seed.stream(node, "trace"));
    let mut step: Box<dyn FnMut(&mut Writer<'_>)> = match node {
        POP => Box::new(pop::step()),
        CLB_NODE => Box::new(clb_node::step()),
        HOST => Box::new(vswitch::step()),
        _ => panic!("no trace is written for {node}"),
    };
    let tables = network.tables.len();
    for table in 0..tables {
        writer.apply(table);
        while writer.packets() < packets * (table + 1) / tables {
            step(&mut writer);
        }
    }
    drop(step);
    let entries = writer.finish();
    Trace {
        node,
        network,
        entries,
    }
}
