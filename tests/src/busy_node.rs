//! A CLB node at work: [`large_table`](crate::large_table) in force, flows open, and a client's packet for each.
//!
//! Its flows are all of one load balancer's listeners, so that targets of another come and go without anybody's flow
//! being cut.

use std::sync::Arc;

use anyedge_ccn::assemble::Assembler;
use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::{Change, Command};
use anyedge_ccn::table::object::Target;
use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::{Address, FlowKey, HashKey};
use anyedge_net::forwarder::BATCH_MAX;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::ledger::Ledger;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{HealthCheck, PathEnds, RouteTable};
use anyedge_net::slot;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::{self, GreKey};
use anyedge_net::wire::ip::{self, Header};
use anyedge_net::wire::tcp;
use anyedge_region::{ClbNode, Limits};

use crate::large_table::large_table;

/// The node.
const NAME: &str = "region.guangzhou.clb-1";
/// Bytes of a client's packet behind its headers.
const PAYLOAD: usize = 64;

/// A CLB node, its flows, and the tables that it is given in turn.
pub struct BusyNode {
    node: ClbNode,
    ledger: Ledger,
    out: Outbox,
    now: Instant,
    batch: Vec<Packet>,
    /// From the POP that all flows enter by.
    meta: Meta,
    packets: Vec<Vec<u8>>,
    next: usize,
    tables: Vec<Arc<RouteTable>>,
    applied: usize,
}

impl BusyNode {
    /// The node with `flows` open flows; its targets are checked as `health` says.
    pub fn new(flows: u32, health: Option<HealthCheck>) -> BusyNode {
        let tables = tables(&large_table(health));
        let table = Arc::clone(&tables[0]);
        let mut busy = BusyNode {
            node: ClbNode::new(NAME, Limits::default(), Seed(1)),
            ledger: Ledger::default(),
            out: Outbox::new(Pool::new(1_024)),
            now: Instant::from_nanos(1),
            batch: Vec::with_capacity(BATCH_MAX),
            meta: way_in(&table),
            packets: Vec::new(),
            next: 0,
            tables,
            applied: 0,
        };
        busy.apply_next();
        let reaches = |number: &u32| owns(&table, &flow(*number), &table.hash_key);
        let numbers: Vec<u32> = (0..).filter(reaches).take(flows as usize).collect();
        for number in numbers {
            let flow = flow(number);
            let key = key_of(&flow, &table.hash_key);
            let opened = busy.give(&[packet(&flow, tcp::SYN, key)]);
            assert_eq!(opened, 1, "a flow opens");
            busy.packets.push(packet(&flow, tcp::ACK, key));
        }
        busy
    }

    /// How many flows are open.
    pub fn flows(&self) -> usize {
        self.node.flows()
    }

    /// Puts the next table in force, which differs from the last by one target.
    pub fn apply_next(&mut self) {
        let table = Arc::clone(&self.tables[self.applied % self.tables.len()]);
        self.applied += 1;
        self.ledger
            .apply(&mut self.node, self.now, table, &mut self.out);
        self.settle();
    }

    /// Lends a batch of packets, each of another flow, for [`BusyNode::forward`].
    pub fn fill(&mut self) {
        for _ in 0..BATCH_MAX {
            // A prime number of flows on: no prefetcher follows.
            self.next = (self.next + 7_919) % self.packets.len();
            let lent = self
                .out
                .pool_mut()
                .lend_copy(&self.packets[self.next], self.meta);
            self.batch.push(lent.expect("all packets came back"));
        }
    }

    /// Forwards what was lent. Gives how many packets left.
    pub fn forward(&mut self) -> usize {
        let mut batch = core::mem::take(&mut self.batch);
        self.ledger
            .packets(&mut self.node, self.now, &mut batch, &mut self.out);
        self.batch = batch;
        self.settle()
    }

    /// What was dropped so far, for whatever reason.
    pub fn dropped(&self) -> u64 {
        let reasons = DropReason::ALL.iter();
        reasons.map(|reason| self.ledger.dropped.of(*reason)).sum()
    }

    fn give(&mut self, packets: &[Vec<u8>]) -> usize {
        for packet in packets {
            let lent = self.out.pool_mut().lend_copy(packet, self.meta);
            self.batch.push(lent.expect("all packets came back"));
        }
        self.forward()
    }

    /// Takes back what left towards targets; entries for the other nodes do not count.
    fn settle(&mut self) -> usize {
        let mut sent = 0;
        while let Some(packet) = self.out.sent_mut().pop() {
            sent += usize::from(
                gre::parse(packet.bytes())
                    .is_ok_and(|header| header.protocol == gre::PROTOCOL_IPV4),
            );
            self.out.pool_mut().take_back(packet);
        }
        self.out.events_mut().clear();
        sent
    }
}

/// Tables of which each differs from the one before by one target, and the first from the last: its weight, whether it is there, in a round robin listener and in a Maglev one.
fn tables(table: &Table) -> Vec<Arc<RouteTable>> {
    let (mut table, mut assembler) = (table.clone(), Assembler::new());
    let mut tables = vec![assembler.assemble(&table)];
    for listener in ["l-1", "l-0"] {
        let is_it = |target: &&Target| target.clb == "clb-9" && target.listener == listener;
        let target = table.all::<Target>().find(is_it).cloned();
        let target = target.expect("there are such targets");
        let name = target.full_name();
        let weight = target.weight;
        for change in [
            Change::SetTargetWeight(vec![name.clone()], 3),
            Change::SetTargetWeight(vec![name.clone()], weight),
            Change::DeregisterTargets(vec![name]),
            Change::RegisterTargets(vec![target]),
        ] {
            let revision = table.revision() + 1;
            let applied = table.apply(revision, &Command::new(Instant::ZERO, change));
            applied.expect("it makes sense");
            tables.push(assembler.assemble(&table));
        }
    }
    for table in &mut tables {
        // Clients that open so many flows at once are a flood.
        Arc::make_mut(table).mechanisms.syn_gate = false;
    }
    tables
}

/// The tunnel from the first POP to the region.
fn way_in(table: &RouteTable) -> Meta {
    let pop = table.node_named("pop.tokyo").expect("it is in the table");
    let mut paths = table.paths();
    let path =
        paths.find(|(_, path)| matches!(path.ends, PathEnds::Ccn { pop: of, .. } if of == pop));
    let (path, _): (PathId, _) = path.expect("a path leads to the region");
    Meta {
        peer: pop,
        ..Meta::plain(PortId::tunnel(path))
    }
}

/// Flow `number`, to a listener of the first load balancer's.
fn flow(number: u32) -> FlowKey {
    FlowKey {
        src: Address::v4((0x6440_0000 + number).to_be_bytes()),
        dst: Address::v4([203, 0, 113, 1]),
        src_port: 40_000,
        dst_port: 1_000 + (number % 50) as u16,
        protocol: tcp::PROTOCOL,
    }
}

/// Whether the node is the primary of the flow's slot.
fn owns(table: &RouteTable, flow: &FlowKey, key: &HashKey) -> bool {
    let own: Option<NodeId> = table.node_named(NAME);
    let owners = table.regions[0].slots.owners(slot::of_hash(flow.hash(key)));
    Some(owners.primary) == own
}

fn key_of(flow: &FlowKey, key: &HashKey) -> GreKey {
    GreKey::new(0, false, slot::of_hash(flow.hash(key)))
}

/// A segment as the POP's tunnel brings it.
fn packet(flow: &FlowKey, flags: u8, key: GreKey) -> Vec<u8> {
    let mut bytes = vec![0; gre::HEADER_LEN + 60 + PAYLOAD];
    let at = gre::write(&mut bytes, gre::PROTOCOL_IPV4, key);
    let payload_len = tcp::HEADER_LEN + PAYLOAD;
    let header = Header {
        src: flow.src,
        dst: flow.dst,
        protocol: flow.protocol,
        ttl: ip::DEFAULT_TTL,
        tos: 0,
        payload_len,
    };
    let at = at + header.write(&mut bytes[at..]);
    bytes.truncate(at + payload_len);
    let segment = &mut bytes[at..];
    segment[..2].copy_from_slice(&flow.src_port.to_be_bytes());
    segment[2..4].copy_from_slice(&flow.dst_port.to_be_bytes());
    segment[12] = ((tcp::HEADER_LEN / 4) << 4) as u8;
    segment[13] = flags;
    tcp::fill_checksum(segment, flow.src, flow.dst);
    bytes
}
