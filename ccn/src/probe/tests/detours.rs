//! Detours over a third region, and what is known of their second legs.

use super::*;

/// Cuts all that joins the POP and guangzhou.
fn cut_off(world: &mut World) {
    for path in [SLOW, FAST_A, FAST_B] {
        world.losses.insert((path, POP), 1_000_000);
        world.losses.insert((path, CLB_1), 1_000_000);
        world.losses.insert((path, CLB_2), 1_000_000);
    }
}

#[test]
fn a_detour_leads_both_ways_over_a_third_region_when_the_direct_paths_are_down() {
    let mut world = World::of(probed(with_detours()));
    world.run(Duration::from_secs(5));
    assert_eq!(
        world.via(CLB_1, SEOUL),
        Some(OTHER_CLB),
        "no path joins them at all"
    );
    cut_off(&mut world);
    world.run(Duration::from_secs(1));
    let there = world.exits(POP).to(CLB_1).expect("a detour");
    assert_eq!((there.port.path(), there.peer), (Some(TO_FRA), OTHER_CLB));
    assert_eq!(there.inner_mtu, 1_422, "the least of both legs");
    assert_eq!(world.exits(POP).owner(OWNERS), Ok((CLB_1, there)));
    assert_eq!(
        world.exits(POP).rtt(CLB_1),
        Some(Duration::from_millis(220 + 180))
    );
    assert_eq!(world.exits(POP).direct_to(CLB_1), None);
    let back = world.exits(CLB_1).to(POP).expect("a detour");
    assert_eq!((back.port.path(), back.peer), (Some(BACKBONE), OTHER_CLB));
    // The node on the way has paths of its own, so what it sends on takes no second detour.
    assert_eq!(world.via(OTHER_CLB, CLB_1), Some(CLB_1));
    assert_eq!(world.via(OTHER_CLB, POP), Some(POP));
    world.losses.clear();
    world.run(Duration::from_secs(4));
    assert_eq!(
        world.via(POP, CLB_1),
        Some(OTHER_CLB),
        "the path is watched first"
    );
    world.run(Duration::from_secs(2));
    assert_eq!(world.via(POP, CLB_1), Some(CLB_1));
}

#[test]
fn a_detour_is_not_taken_when_its_second_leg_is_down() {
    let mut world = World::of(probed(with_detours()));
    world.run(Duration::from_secs(5));
    cut_off(&mut world);
    world.cut(BACKBONE, [OTHER_CLB, CLB_1]);
    world.cut(BACKBONE, [OTHER_CLB, CLB_2]);
    world.run(Duration::from_secs(2));
    assert_eq!((world.via(POP, CLB_1), world.via(CLB_1, POP)), (None, None));
    world.losses.retain(|(path, _), _| *path != BACKBONE);
    world.run(Duration::from_secs(1));
    assert_eq!(world.via(POP, CLB_1), Some(OTHER_CLB));
    world.dead.push(POP);
    world.run(Duration::from_secs(1));
    assert_eq!(
        world.via(CLB_1, POP),
        None,
        "frankfurt does not hear the POP either"
    );
}

#[test]
fn what_is_known_of_a_second_leg_holds_while_revisions_differ() {
    let mut world = World::of(probed(with_detours()));
    world.run(Duration::from_secs(5));
    cut_off(&mut world);
    world.cut(BACKBONE, [OTHER_CLB, CLB_1]);
    world.cut(BACKBONE, [OTHER_CLB, CLB_2]);
    world.run(Duration::from_secs(2));
    let mut next = probed(with_detours());
    next.revision.0 += 1;
    let pop = world.stations.get_mut(&POP).expect("a node");
    pop.exits.renew(world.now, &next, POP);
    pop.prober.renew(world.now, &next, &mut pop.exits);
    world.run(Duration::from_secs(2));
    assert_eq!(world.via(POP, CLB_1), None);
    world.apply(next);
    world.losses.retain(|(path, _), _| *path != BACKBONE);
    world.run(Duration::from_secs(1));
    assert_eq!(world.via(POP, CLB_1), Some(OTHER_CLB));
}

#[test]
fn a_detour_beats_a_grey_path_and_none_is_taken_when_detours_are_off() {
    let mut world = World::of(probed(with_detours()));
    world.run(Duration::from_secs(8));
    for path in [SLOW, FAST_A, FAST_B] {
        world.losses.insert((path, CLB_1), 200_000);
    }
    world.run(Duration::from_secs(10));
    assert_eq!(world.via(POP, CLB_1), Some(OTHER_CLB));
    let mut off = probed(with_detours());
    off.mechanisms.detour = false;
    world.apply(off);
    assert_eq!(world.via(POP, CLB_1), Some(CLB_1));
    cut_off(&mut world);
    world.run(Duration::from_secs(1));
    assert_eq!(world.via(POP, CLB_1), None);
}
