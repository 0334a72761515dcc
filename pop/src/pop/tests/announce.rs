//! When VIPs are announced and withdrawn, to the nanosecond.

use core::time::Duration;

use anyedge_net::route_table::Announcing;

use super::*;
use world::{SETUP, World, vip};

const WITHDRAW_AFTER: Duration = Duration::from_secs(1);
const READVERTISE_AFTER: Duration = Duration::from_secs(5);
const NANO: Duration = Duration::from_nanos(1);

/// What was told since the last look: the same of both families.
fn told(world: &mut World) -> Vec<bool> {
    let of = |events: &[Event], family: Family| -> Vec<bool> {
        let announced = |event: &Event| match event {
            Event::Announcement { vip: of, announced } => {
                (*of == vip(family)).then_some(*announced)
            }
            _ => None,
        };
        events.iter().filter_map(announced).collect()
    };
    let events: Vec<Event> = world.out.events_mut().drain(..).collect();
    let v4 = of(&events, Family::V4);
    assert_eq!(v4, of(&events, Family::V6));
    v4
}

/// Time passes; the POP is called when it asked to be.
fn pass(world: &mut World, duration: Duration) {
    let until = world.now + duration;
    while let Some(due) = world.pop.poll_timeout().filter(|due| due.at <= until) {
        world.now = world.now.max(due.at);
        world
            .ledger
            .timeout(&mut world.pop, world.now, &mut world.out);
    }
    world.now = until;
}

fn paths_are(world: &mut World, up: bool) {
    for path in ["tokyo-guangzhou", "tokyo-detour"] {
        let path = world.tunnel(path).path().expect("the port of a path");
        let event = LocalEvent::PathState { path, up };
        world
            .ledger
            .event(&mut world.pop, world.now, event, &mut world.out);
    }
}

fn renewed(world: &mut World, change: impl FnOnce(&mut RouteTable)) {
    let mut table = RouteTable::clone(&world.table);
    table.revision.0 += 1;
    change(&mut table);
    world.apply(Arc::new(table));
}

#[test]
fn a_pop_announces_at_once_what_it_publishes_and_can_carry() {
    assert_eq!(told(&mut World::tokyo()), [true]);
    assert_eq!(told(&mut World::at("pop.seoul", &SETUP)), []);
    let mut world = World::tokyo();
    told(&mut world);
    renewed(&mut world, |_| {});
    assert_eq!(told(&mut world), [], "nothing changed");
    renewed(&mut world, |table| table.vips.clear());
    assert_eq!(told(&mut world), [false], "it is published no longer");
}

#[test]
fn a_vip_without_a_path_is_withdrawn_after_a_second_and_announced_again_after_five() {
    let mut world = World::tokyo();
    told(&mut world);
    paths_are(&mut world, false);
    pass(&mut world, WITHDRAW_AFTER - NANO);
    assert_eq!(told(&mut world), []);
    pass(&mut world, NANO);
    assert_eq!(told(&mut world), [false]);
    paths_are(&mut world, true);
    pass(&mut world, READVERTISE_AFTER - NANO);
    assert_eq!(told(&mut world), []);
    pass(&mut world, NANO);
    assert_eq!(told(&mut world), [true]);
    assert_eq!(world.pop.poll_timeout(), None);
}

#[test]
fn a_path_that_flaps_moves_clients_once() {
    let mut world = World::tokyo();
    told(&mut world);
    for _ in 0..10 {
        paths_are(&mut world, false);
        pass(&mut world, WITHDRAW_AFTER - NANO);
        paths_are(&mut world, true);
    }
    assert_eq!(told(&mut world), [], "never away for long enough");
    paths_are(&mut world, false);
    pass(&mut world, WITHDRAW_AFTER);
    for _ in 0..10 {
        paths_are(&mut world, true);
        pass(&mut world, READVERTISE_AFTER - NANO);
        paths_are(&mut world, false);
        pass(&mut world, NANO);
    }
    assert_eq!(told(&mut world), [false], "never back for long enough");
}

#[test]
fn times_go_on_under_the_next_table() {
    let mut world = World::tokyo();
    told(&mut world);
    paths_are(&mut world, false);
    pass(&mut world, WITHDRAW_AFTER - NANO);
    renewed(&mut world, |table| table.regions[0].clb_nodes.reverse());
    pass(&mut world, NANO);
    assert_eq!(told(&mut world), [false]);
}

#[test]
fn a_draining_pop_says_so_before_anything_else_and_forwards_on() {
    let mut world = World::tokyo();
    told(&mut world);
    let own = world.node("pop.tokyo").index();
    for begins in [true, false] {
        renewed(&mut world, |table| table.nodes[own].draining = begins);
        let events: Vec<Event> = world.out.events_mut().drain(..).collect();
        let said = events.iter().filter_map(|event| match event {
            Event::Drains { begins } => Some(*begins),
            Event::Announcement { .. } => panic!("how it leaves is not its forwarder's to say"),
            _ => None,
        });
        assert_eq!(said.collect::<Vec<_>>(), [begins]);
        world
            .client_sends(&world::Shape::tick(Family::V4).bytes())
            .sent();
    }
    renewed(&mut world, |_| {});
    let drains = |event: &Event| matches!(event, Event::Drains { .. });
    assert!(!world.out.events_mut().drain(..).any(|event| drains(&event)));
}

#[test]
fn a_blackhole_goes_on_announcing() {
    let mut world = World::tokyo();
    renewed(&mut world, |table| table.announcing.blackhole = true);
    told(&mut world);
    paths_are(&mut world, false);
    pass(&mut world, Duration::from_secs(60));
    assert_eq!(told(&mut world), []);
    renewed(&mut world, |table| table.announcing = Announcing::default());
    assert_eq!(told(&mut world), [false]);
}

#[test]
fn a_vip_without_targets_is_not_announced() {
    let mut world = World::tokyo();
    told(&mut world);
    renewed(&mut world, |table| table.clbs[0].listeners.clear());
    assert_eq!(told(&mut world), [false]);
    renewed(&mut world, |table| {
        table.clbs[0].listeners = world_listeners()
    });
    assert_eq!(told(&mut world), [true]);
}

fn world_listeners() -> Vec<Arc<anyedge_net::route_table::Listener>> {
    SETUP.table().clbs[0].listeners.clone()
}

#[test]
fn a_pop_whose_region_falls_silent_withdraws_a_detection_time_and_a_second_later() {
    let mut world = World::tokyo();
    told(&mut world);
    renewed(&mut world, |table| {
        table.probing = Some(anyedge_net::route_table::Probing::default());
    });
    // Nobody answers: up is presumed for three intervals and two round trips of the slowest path.
    let detected = Duration::from_millis(300 + 2 * 80);
    let mut sent = 0;
    let until = world.now + detected + WITHDRAW_AFTER;
    while let Some(due) = world.pop.poll_timeout().filter(|due| due.at < until) {
        world.now = world.now.max(due.at);
        world
            .ledger
            .timeout(&mut world.pop, world.now, &mut world.out);
        for probe in core::mem::take(world.out.sent_mut()) {
            world.out.pool_mut().take_back(probe);
            sent += 1;
        }
    }
    assert_eq!(world.ledger.originated, sent);
    assert_eq!(told(&mut world), []);
    let rest = until - world.now;
    pass(&mut world, rest);
    assert_eq!(told(&mut world), [false]);
    for probe in core::mem::take(world.out.sent_mut()) {
        world.out.pool_mut().take_back(probe);
    }
}
