//! What a POP does to packets, told one by one.
//!
//! `tests/ingress` is the way in, `tests/egress` the way out, `tests/icmp` both for ICMP, `tests/announce` what is
//! announced, `tests/world` the words that all are told in. Here stands what holds for every packet and every table.

mod announce;
mod egress;
mod icmp;
mod ingress;
mod world;

use anyedge_net::flow::{Address, Family};
use anyedge_net::packet::Meta;
use anyedge_net::port::PortId;
use proptest::prelude::*;

use super::*;
use world::{SETUP, Shape, World};

/// Both versions of IP.
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

#[test]
fn a_pop_without_a_table_drops_all() {
    let mut world = World::tokyo();
    world.pop = Pop::new("pop.tokyo", Seed(7));
    let tick = Shape::tick(Family::V4);
    assert_eq!(
        world.client_sends(&tick.bytes()),
        world::Outcome::Dropped(DropReason::NotVip)
    );
    let answer = tick.answered().tunnelled();
    assert_eq!(
        world.clb_node_sends(0, &answer),
        world::Outcome::Dropped(DropReason::UnknownPeer)
    );
}

#[test]
fn a_pop_that_is_in_no_table_announces_nothing() {
    let mut world = World::at("pop.nowhere", &SETUP);
    let outcome = world.client_sends(&Shape::tick(Family::V4).bytes());
    assert_eq!(outcome, world::Outcome::Dropped(DropReason::NotVip));
}

#[test]
fn a_table_in_force_is_told() {
    let mut world = World::tokyo();
    let revision = world.table.revision;
    let events: Vec<Event> = world.out.events_mut().drain(..).collect();
    let announced = |family| Event::Announcement {
        vip: world::vip(family),
        announced: true,
    };
    let [v4, v6] = FAMILIES.map(announced);
    assert_eq!(events, [Event::TableApplied(revision), v4, v6]);
    assert_eq!((world.pop.poll_timeout(), world.pop.held()), (None, 0));
}

#[test]
fn a_path_that_is_down_stays_down_under_the_next_table() {
    let mut world = World::tokyo();
    world.path_state("tokyo-guangzhou", false);
    world.apply(SETUP.table());
    let (meta, _) = world.client_sends(&Shape::tick(Family::V4).bytes()).sent();
    assert_eq!(meta.port, world.tunnel("tokyo-detour"));
}

#[test]
fn a_port_of_another_kind_takes_nothing() {
    let mut world = World::tokyo();
    for port in [PortId::LOCAL, PortId::VPC, PortId::BACKEND, PortId(9)] {
        let outcome = world.arrives(&Shape::tick(Family::V4).bytes(), Meta::plain(port));
        assert_eq!(outcome, world::Outcome::Dropped(DropReason::WrongPort));
    }
}

#[test]
fn a_full_batch_is_accounted_for_in_order() {
    let mut world = World::tokyo();
    let mut batch = Vec::new();
    for number in 0..32_u16 {
        let mut tick = Shape::tick(FAMILIES[usize::from(number % 2)]);
        tick.flow.src_port = number;
        tick.ttl = if number % 4 == 3 { 1 } else { 64 };
        let meta = Meta::plain(PortId::PUBLIC);
        batch.push(
            world
                .out
                .pool_mut()
                .lend_copy(&tick.bytes(), meta)
                .expect("the pool has 64 slots"),
        );
    }
    world
        .ledger
        .packets(&mut world.pop, Instant::ZERO, &mut batch, &mut world.out);
    assert_eq!((world.ledger.received, world.ledger.originated), (32, 8));
    assert_eq!(world.ledger.transmitted, 24 + 8, "eight are told why not");
    assert_eq!(world.ledger.dropped.of(DropReason::TtlExpired), 8);
    assert_eq!(world.out.pool().loaned(), 32);
}

/// Any bytes, and packets of ours with a few bytes changed.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let shape = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(v4, udp, answer, wrapped)| {
            let family = if v4 { Family::V4 } else { Family::V6 };
            let shape = if udp {
                Shape::tick(family)
            } else {
                Shape::segment(family, 2)
            };
            let shape = if answer { shape.answered() } else { shape };
            if wrapped {
                shape.tunnelled()
            } else {
                shape.bytes()
            }
        },
    );
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let mutated = (shape, changes, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(mut bytes, changes, cut, whole)| {
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let len = if whole {
                bytes.len()
            } else {
                cut.index(bytes.len())
            };
            bytes.truncate(len);
            bytes
        },
    );
    prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..200), 4 => mutated]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The ledger inside asserts that each packet is accounted for, the world that its slot comes back.
    #[test]
    fn any_bytes_on_any_port_end_exactly_once(
        packets in prop::collection::vec((any_bytes(), 0_u16..24, 0_u16..12, any::<u8>()), 1..64),
    ) {
        let mut world = World::tokyo();
        for (bytes, port, peer, tos) in packets {
            let meta = Meta { peer: NodeId(peer), tos, ..Meta::plain(PortId(port)) };
            world.arrives(&bytes, meta);
        }
        let sum = world.ledger.transmitted + world.ledger.dropped.total();
        prop_assert_eq!(world.ledger.received + world.ledger.originated, sum);
    }
}
