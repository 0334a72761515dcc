//! Which way is taken, as paths come and go.

use anyedge_net::port::PortId;
use proptest::prelude::*;

use super::*;
use crate::testbed::*;

const NOW: Instant = Instant::ZERO;

fn by(peer: NodeId, path: u16, inner_mtu: u16) -> Option<Exit> {
    Some(Exit {
        port: PortId::tunnel(PathId(path)),
        peer,
        inner_mtu,
    })
}

#[test]
fn a_pop_reaches_every_clb_node_of_a_region_by_the_cheapest_path() {
    let exits = Exits::new(&table(), POP);
    assert_eq!(
        exits.to(CLB_1),
        by(CLB_1, 2, 1_472),
        "of two equal paths, the first by name"
    );
    assert_eq!(exits.to(CLB_2), by(CLB_2, 2, 1_472));
    assert_eq!(exits.to(OTHER_CLB), by(OTHER_CLB, 3, 8_972));
    assert_eq!(exits.rtt(OTHER_CLB), Some(Duration::from_millis(220)));
    assert_eq!(exits.to(HOST), None);
    assert_eq!(exits.to(POP), None);
    assert_eq!(exits.to(NodeId::UNKNOWN), None);
}

#[test]
fn a_clb_node_reaches_pops_and_the_hosts_of_its_region() {
    let exits = Exits::new(&table(), CLB_2);
    assert_eq!(exits.to(POP), by(POP, 2, 1_472));
    assert_eq!(exits.to(HOST), by(HOST, 4, 1_572));
    assert_eq!(exits.to(CLB_1), None);
    assert_eq!(Exits::new(&table(), OTHER_CLB).to(HOST), None);
}

#[test]
fn a_vswitch_reaches_the_clb_nodes_of_its_region_and_nobody_else() {
    let exits = Exits::new(&table(), HOST);
    assert_eq!(
        (exits.to(CLB_1), exits.to(CLB_2)),
        (by(CLB_1, 4, 1_572), by(CLB_2, 4, 1_572))
    );
    assert_eq!((exits.to(POP), exits.to(OTHER_CLB)), (None, None));
    assert_eq!(exits.paths().collect::<Vec<_>>(), [(PathId(4), true)]);
}

#[test]
fn a_path_that_is_down_is_gone_round_until_it_returns() {
    let mut exits = Exits::new(&table(), POP);
    assert!(exits.set_state(NOW, PathId(2), false));
    assert_eq!(exits.to(CLB_1), by(CLB_1, 1, 1_372));
    assert!(exits.set_state(NOW, PathId(1), false));
    assert_eq!(exits.to(CLB_2), by(CLB_2, 0, 1_472));
    assert!(exits.set_state(NOW, PathId(0), false));
    assert_eq!(exits.to(CLB_1), None);
    assert_eq!(exits.rtt(CLB_1), None);
    assert_eq!(
        exits.to(OTHER_CLB),
        by(OTHER_CLB, 3, 8_972),
        "other peers keep their exits"
    );
    assert!(exits.set_state(NOW, PathId(2), true));
    assert_eq!(exits.to(CLB_1), by(CLB_1, 2, 1_472));
}

#[test]
fn a_known_state_or_a_path_of_others_is_no_news() {
    let mut exits = Exits::new(&table(), POP);
    assert!(!exits.set_state(NOW, PathId(2), true));
    assert!(!exits.set_state(NOW, PathId(4), false));
    assert!(!exits.set_state(NOW, PathId(999), false));
}

#[test]
fn a_path_stays_down_by_its_name_when_the_table_changes() {
    let mut exits = Exits::new(&table(), POP);
    exits.set_state(NOW, PathId(2), false);
    let mut next = table();
    next.paths.remove(0);
    let exits = exits.renewed(NOW, &next, POP);
    assert_eq!(
        exits.to(CLB_1),
        by(CLB_1, 0, 1_372),
        "fast-a is down, also as path 1"
    );
    assert_eq!(
        exits.paths().collect::<Vec<_>>(),
        [(PathId(0), true), (PathId(1), false), (PathId(2), true)]
    );
}

#[test]
fn the_cheapest_of_several_peers_is_the_nearest_that_is_reached() {
    let mut exits = Exits::new(&table(), POP);
    let cheapest = |exits: &Exits| {
        exits
            .cheapest(&[OTHER_CLB, HOST, CLB_2, CLB_1])
            .map(|(peer, _)| peer)
    };
    assert_eq!(cheapest(&exits), Some(CLB_1), "equal cost: the lower id");
    for path in 0..3 {
        exits.set_state(NOW, PathId(path), false);
    }
    assert_eq!(cheapest(&exits), Some(OTHER_CLB));
    exits.set_state(NOW, PathId(3), false);
    assert_eq!(cheapest(&exits), None);
}

#[test]
fn a_node_that_is_in_no_table_has_no_exits() {
    let exits = Exits::new(&table(), NodeId::UNKNOWN);
    assert!(exits.paths().next().is_none());
    assert_eq!(exits.to(CLB_1), None);
}

#[test]
fn a_draining_path_is_used_only_where_nothing_else_leads() {
    let mut exits = Exits::new(&table(), POP);
    let mut drained = table();
    drained.paths[FAST_A.index()].draining = true;
    exits = exits.renewed(NOW, &drained, POP);
    assert_eq!(exits.to(CLB_1), by(CLB_1, 1, 1_372));
    assert!(!exits.is_poor(CLB_1));
    for path in [FAST_B, SLOW] {
        exits.set_state(NOW, path, false);
    }
    assert_eq!(exits.to(CLB_1), by(CLB_1, 2, 1_472));
    assert!(exits.is_poor(CLB_1));
    let exits = exits.renewed(NOW, &table(), POP);
    assert!(!exits.is_poor(CLB_1), "it drains no longer");
}

#[derive(Clone, Copy, Debug)]
enum Heard {
    State(u16, bool),
    Standing(usize, Standing, Option<u128>),
    Cost(usize, u64),
    Proven(usize),
    Table,
}

fn any_heard() -> impl Strategy<Value = Heard> {
    let standing = prop_oneof![
        Just(Standing::Up),
        Just(Standing::Down),
        (0_u8..100).prop_map(|lost| Standing::Grey { lost }),
    ];
    let reaches = proptest::option::of(0_u128..8);
    prop_oneof![
        (0_u16..8, any::<bool>()).prop_map(|(path, up)| Heard::State(path, up)),
        (0_usize..16, standing, reaches)
            .prop_map(|(link, standing, reaches)| Heard::Standing(link, standing, reaches)),
        (0_usize..16, 1_u64..400).prop_map(|(link, ms)| Heard::Cost(link, ms)),
        (0_usize..16).prop_map(Heard::Proven),
        Just(Heard::Table),
    ]
}

proptest! {
    /// On the same ground nothing is laid anew, and that makes no difference.
    #[test]
    fn exits_that_go_on_stand_where_exits_laid_anew_stand(
        own in prop_oneof![Just(POP), Just(CLB_1), Just(OTHER_CLB), Just(HOST)],
        heard in proptest::collection::vec((any_heard(), 0_u64..4_000), 1..60),
    ) {
        let table = with_detours();
        let mut exits = Exits::new(&table, own);
        let mut now = NOW;
        for (heard, ms) in heard {
            now += Duration::from_millis(ms);
            let links = exits.links().len();
            match heard {
                Heard::State(path, up) => {
                    exits.set_state(now, PathId(path), up);
                }
                Heard::Standing(link, standing, reaches) if link < links => {
                    exits.set_standing(link, standing, reaches);
                }
                Heard::Cost(link, ms) if link < links => {
                    exits.set_cost(link, Duration::from_millis(ms));
                }
                Heard::Proven(link) if link < links => exits.set_proven(link),
                Heard::Standing(..) | Heard::Cost(..) | Heard::Proven(_) => {}
                Heard::Table => {
                    let mut anew = exits.renewed(now, &table, own);
                    let laid = exits.laid();
                    exits.renew(now, &table.clone(), own);
                    prop_assert_eq!(exits.laid(), laid, "the same links");
                    anew.laid = laid;
                    prop_assert_eq!(format!("{exits:?}"), format!("{anew:?}"));
                }
            }
            exits.refresh(now);
        }
    }
}
