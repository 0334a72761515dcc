//! Probes as large as packets, on paths whose MTU shrinks below what the table says.

use super::*;

/// Half a window of probes: by then enough large ones were missed.
const NOTICED: Duration = Duration::from_secs(3);
/// A window without the last large one that was missed, and the calm after it.
const RESTORED: Duration = Duration::from_secs(10);

#[test]
fn a_path_that_carries_only_small_packets_is_left_and_taken_again_when_large_ones_pass() {
    let mut world = World::of(probed(table()));
    world.run(Duration::from_secs(8));
    world.narrowed.insert(FAST_A, 1_272);
    world.run(NOTICED);
    for (node, peer) in [(POP, CLB_1), (POP, CLB_2), (CLB_1, POP), (CLB_2, POP)] {
        assert_eq!(world.path(node, peer), Some(FAST_B), "{node:?} to {peer:?}");
        let events = world.events_of(node);
        let down = |event: &Event| matches!(event, Event::PeerState { up: false, .. });
        assert!(!events.iter().any(|(_, event)| down(event)), "{events:?}");
    }
    world.run(Duration::from_secs(60));
    assert_eq!(
        world.path(POP, CLB_1),
        Some(FAST_B),
        "for as long as it lasts"
    );
    world.narrowed.clear();
    world.run(RESTORED);
    assert!(!world.exits(POP).is_poor(CLB_1));
    let calm = |event: &Event| matches!(event, Event::PathGrey { grey: false, .. });
    let events = world.events_of(POP);
    assert_eq!(events.iter().filter(|(_, event)| calm(event)).count(), 2);
}

#[test]
fn a_path_that_carries_what_the_table_says_is_kept() {
    let mut world = World::of(probed(table()));
    let exact = usize::from(world.table.paths[FAST_A.index()].inner_mtu());
    world.narrowed.insert(FAST_A, exact);
    world.run(Duration::from_secs(60));
    assert_eq!(world.path(POP, CLB_1), Some(FAST_A));
    world.narrowed.insert(FAST_A, exact - 1);
    world.run(NOTICED);
    assert_eq!(
        world.path(POP, CLB_1),
        Some(FAST_B),
        "one byte less is too little"
    );
}

#[test]
fn without_full_size_probes_a_path_that_carries_only_small_packets_is_not_known_as_such() {
    let mut off = probed(table());
    off.mechanisms.full_size_probes = false;
    let mut world = World::of(off);
    world.narrowed.insert(FAST_A, message::LEN);
    world.run(Duration::from_secs(60));
    assert_eq!(world.path(POP, CLB_1), Some(FAST_A));
}

#[test]
fn the_only_path_is_used_though_it_carries_only_small_packets() {
    let mut only = probed(table());
    only.paths.truncate(1);
    let mut world = World::of(only);
    world.narrowed.insert(SLOW, 1_272);
    world.run(Duration::from_secs(30));
    assert_eq!(world.path(POP, CLB_1), Some(SLOW));
    assert!(world.exits(POP).is_poor(CLB_1));
}
