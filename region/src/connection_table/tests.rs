//! The table against a naive model: a list of flows, searched by loops.

use core::time::Duration;

use anyedge_net::flow::Family;
use anyedge_net::wire::{self, tcp, udp};
use proptest::prelude::*;

use super::*;
use crate::expiry::is_due;
use crate::snat::AtTarget;
use crate::testbed::{Segment, backend, client_flow, datagram};

const KEY: HashKey = HashKey::new([3; 16]);
const FLOWS: usize = 6;

/// A flow as the model keeps it.
#[derive(Clone, Copy, Debug)]
struct Known {
    key: FlowKey,
    reply: FlowKey,
    life: FlowLife,
}

#[derive(Clone, Debug)]
enum Act {
    /// A client's packet: of flow `number`, and when it opens one, to `target`.
    Client {
        number: u32,
        target: u8,
        flags: u8,
        sequence: u32,
    },
    /// A target's packet.
    Target {
        number: u32,
        target: u8,
        flags: u8,
    },
    Pass {
        millis: u64,
    },
    Rekey,
}

fn any_act() -> impl Strategy<Value = Act> {
    let flags = || {
        prop_oneof![
            3 => Just(tcp::SYN),
            2 => Just(tcp::ACK),
            2 => Just(tcp::SYN | tcp::ACK),
            2 => Just(tcp::FIN | tcp::ACK),
            1 => Just(tcp::RST),
        ]
    };
    let millis = prop_oneof![0_u64..1_000, 0_u64..40_000, 0_u64..1_000_000];
    prop_oneof![
        6 => (0_u32..10, 1_u8..3, flags(), 0_u32..2)
            .prop_map(|(number, target, flags, sequence)| Act::Client { number, target, flags, sequence }),
        4 => (0_u32..10, 1_u8..3, flags()).prop_map(|(number, target, flags)| Act::Target { number, target, flags }),
        3 => millis.prop_map(|millis| Act::Pass { millis }),
        1 => Just(Act::Rekey),
    ]
}

/// Flow 8 and 9 are UDP; flows 5 and 7 share client and target with 4 and 6 but have another VIP port.
fn flow_key(number: u32) -> FlowKey {
    match number {
        8 | 9 => client_flow(Family::V6, udp::PROTOCOL, 7_000, number),
        5 | 7 => client_flow(Family::V4, tcp::PROTOCOL, 81, number - 1),
        _ => client_flow(Family::V4, tcp::PROTOCOL, 80, number),
    }
}

fn packet(flow: FlowKey, flags: u8, sequence: u32) -> (Parsed, Vec<u8>) {
    let bytes = match flow.protocol {
        tcp::PROTOCOL => Segment {
            sequence,
            ..Segment::new(flow, flags)
        }
        .packet(),
        _ => datagram(flow, b"tick"),
    };
    (wire::parse(&bytes).expect("a sound packet"), bytes)
}

fn reply_key(key: FlowKey, target: u8) -> FlowKey {
    FlowKey {
        dst: backend(target, key.family()),
        dst_port: 8_080,
        ..key
    }
    .reversed()
}

/// Opens a flow of UDP whose tuple has that hash.
fn open_with(table: &mut ConnectionTable, number: u32, hash: u64) -> u32 {
    let key = client_flow(Family::V4, udp::PROTOCOL, 7_000, number);
    let (parsed, bytes) = packet(key, 0, 0);
    let opening = Opening {
        listener: 0,
        key,
        at_target: AtTarget::new(backend(1, Family::V4), None),
        target_port: 8_080,
        host: NodeId(1),
        pop: NodeId(0),
        clb: ClbId(0),
        slot: 0,
        idle_s: 0,
        telling: Telling::default(),
    };
    let now = Instant::from_nanos(1);
    let opened = table.open(now, &opening, (&parsed, &bytes), (hash, &KEY), |_| {});
    opened.expect("there is room")
}

#[test]
fn a_mark_means_the_one_flow_that_has_it_and_of_two_neither() {
    const MARK: u64 = 0x12_3456_789a;
    const NEAR: u64 = MARK ^ 1 << 39;
    let mut table = ConnectionTable::new(Limits::of(FLOWS));
    let one = open_with(&mut table, 1, MARK | 1 << 40);
    let near = open_with(&mut table, 2, NEAR);
    assert_eq!(table.find_mark(MARK), Some(one));
    assert_eq!(table.find_mark(NEAR), Some(near));
    assert_eq!(table.find_mark(MARK ^ 1 << 38), None);
    open_with(&mut table, 3, MARK | 1 << 63);
    assert_eq!(table.find_mark(MARK), None);
    assert_eq!(table.find_mark(NEAR), Some(near));
}

/// Table and model side by side.
struct Both {
    table: ConnectionTable,
    model: Vec<Known>,
    hash_key: HashKey,
    now: Instant,
    closed: Vec<(FlowKey, FlowEnd)>,
    expected_closed: Vec<(FlowKey, FlowEnd)>,
}

impl Both {
    fn new() -> Both {
        let mut table = ConnectionTable::new(Limits::of(FLOWS));
        table.renumber_listeners(2, |_| None);
        Both {
            table,
            model: Vec::new(),
            hash_key: KEY,
            now: Instant::from_nanos(5_000_000_000),
            closed: Vec::new(),
            expected_closed: Vec::new(),
        }
    }

    fn find(&self, key: &FlowKey) -> Option<u32> {
        self.table.find(key.hash(&self.hash_key), key)
    }

    fn model_close(&mut self, at: usize) {
        let known = self.model.swap_remove(at);
        self.expected_closed.push((known.key, known.life.end()));
    }

    /// Closes in both what is over but not collected, and tells whether a flow is left.
    fn settle(&mut self, found: Option<u32>, known: Option<usize>) -> Option<(u32, usize)> {
        assert_eq!(
            found.is_some(),
            known.is_some(),
            "both hold it or neither does"
        );
        let (id, at) = (found?, known?);
        let alive = self.now < self.model[at].life.deadline();
        assert_eq!(self.table.is_alive(id, self.now), alive);
        if alive {
            return Some((id, at));
        }
        let over = self.table.close(id);
        self.closed.push((over.key, over.end));
        self.model_close(at);
        None
    }

    fn client(&mut self, number: u32, target: u8, flags: u8, sequence: u32) {
        let key = flow_key(number);
        let (parsed, bytes) = packet(key, flags, sequence);
        let known = self.model.iter().position(|known| known.key == key);
        if let Some((id, at)) = self.settle(self.find(&key), known) {
            let replaced = self.model[at].life.is_replaced_by(&parsed, &bytes);
            assert_eq!(self.table.is_replaced_by(id, &parsed, &bytes), replaced);
            if !replaced {
                assert_eq!(self.table.flow(id).reply_key(), self.model[at].reply);
                self.model[at]
                    .life
                    .on_packet(self.now, Side::Client, parsed.tcp_flags);
                self.table
                    .on_packet(id, self.now, Side::Client, (&parsed, &bytes));
                return;
            }
            let over = self.table.close(id);
            self.closed.push((over.key, over.end));
            self.model_close(at);
        }
        if crate::flow_life::opens(&parsed) {
            self.open(key, target, &parsed, &bytes);
        }
    }

    fn open(&mut self, key: FlowKey, target: u8, parsed: &Parsed, bytes: &[u8]) {
        let reply = reply_key(key, target);
        let expected = match self.model.iter().position(|known| known.reply == reply) {
            Some(other) if self.now < self.model[other].life.deadline() => Err(Refusal::TupleTaken),
            other => {
                if let Some(over) = other {
                    self.model_close(over);
                }
                let is_half_open = FlowLife::begin(self.now, parsed, bytes).is_half_open();
                let share_is_used = self.half_open(None) == FLOWS / HALF_OPEN_SHARE_MAX;
                if self.model.len() == FLOWS || (is_half_open && share_is_used) {
                    Err(Refusal::TableFull)
                } else {
                    Ok(())
                }
            }
        };
        let opening = Opening {
            listener: key.dst_port % 2,
            key,
            at_target: AtTarget::new(reply.src, None),
            target_port: reply.src_port,
            host: NodeId(1),
            pop: NodeId(0),
            clb: ClbId(0),
            slot: 0,
            idle_s: 0,
            telling: Telling::default(),
        };
        let hashed = (key.hash(&self.hash_key), &self.hash_key);
        let closed = &mut self.closed;
        let outcome = self
            .table
            .open(self.now, &opening, (parsed, bytes), hashed, |over| {
                closed.push((over.key, over.end))
            });
        assert_eq!(outcome.map(|_| ()), expected);
        if expected.is_ok() {
            self.model.push(Known {
                key,
                reply,
                life: FlowLife::begin(self.now, parsed, bytes),
            });
        }
    }

    /// Half-open flows of the model, of all listeners or of one.
    fn half_open(&self, listener: Option<u16>) -> usize {
        let counts = |known: &&Known| {
            let is_its = listener.is_none_or(|listener| known.key.dst_port % 2 == listener);
            is_its && known.life.is_half_open()
        };
        self.model.iter().filter(counts).count()
    }

    fn target(&mut self, number: u32, target: u8, flags: u8) {
        let reply = reply_key(flow_key(number), target);
        let found = self.table.find_reply(reply.hash(&self.hash_key), &reply);
        let known = self.model.iter().position(|known| known.reply == reply);
        if let Some((id, at)) = self.settle(found, known) {
            assert_eq!(self.table.flow(id).key, self.model[at].key);
            self.model[at].life.on_packet(self.now, Side::Target, flags);
            let (parsed, bytes) = packet(reply, flags, 0);
            self.table
                .on_packet(id, self.now, Side::Target, (&parsed, &bytes));
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        let closed = &mut self.closed;
        self.table
            .expire(self.now, |over| closed.push((over.key, over.end)));
        while let Some(over) = self
            .model
            .iter()
            .position(|known| is_due(known.life.deadline(), self.now))
        {
            self.model_close(over);
        }
    }

    fn check(&mut self) {
        assert_eq!(self.table.len(), self.model.len());
        assert_eq!(self.table.loads().half_open(), self.half_open(None));
        for listener in [0, 1] {
            let expected = self.half_open(Some(listener));
            assert_eq!(self.table.loads().half_open_of(listener), expected);
        }
        let order = |(key, end): &(FlowKey, FlowEnd)| (*key, *end);
        self.closed.sort_by_key(order);
        self.expected_closed.sort_by_key(order);
        assert_eq!(self.closed, self.expected_closed);
        for number in 0..10 {
            let key = flow_key(number);
            let held = self.model.iter().any(|known| known.key == key);
            assert_eq!(self.find(&key).is_some(), held);
        }
    }
}

proptest! {
    #[test]
    fn it_holds_finds_and_ends_exactly_what_a_list_of_flows_does(acts in proptest::collection::vec(any_act(), 1..150)) {
        let mut both = Both::new();
        for act in acts {
            match act {
                Act::Client { number, target, flags, sequence } => both.client(number, target, flags, sequence),
                Act::Target { number, target, flags } => both.target(number, target, flags),
                Act::Pass { millis } => both.pass(millis),
                Act::Rekey => {
                    both.table.renumber_listeners(2, |flow| Some(flow.key.dst_port % 2));
                    both.hash_key = HashKey::new([9; 16]);
                    both.table.rekey(&both.hash_key);
                }
            }
            both.check();
        }
        both.pass(2_000_000);
        both.check();
        prop_assert_eq!(both.table.len(), 0);
        prop_assert_eq!(both.table.wake_at(), None);
        prop_assert_eq!(both.closed.len(), both.expected_closed.len());
    }
}
