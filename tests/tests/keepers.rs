//! What controllers do by themselves, and what they leave alone: a dead CLB node leaves the table and comes back; a leader
//! that is cut off, reporters that flap and controllers that are away change nothing.

use std::time::Duration;

use anyedge_ccn::table::membership::Membership;
use anyedge_net::time::Instant;
use anyedge_tests::keepers::{CONFIRM, Outcome, REPORTERS, Sight, play};

use Membership::{In, Lost};

const fn secs(tenths: u64) -> Duration {
    Duration::from_millis(tenths * 100)
}

/// All who report on `clb_node` lose or regain sight of it.
fn all_see(tenths: u64, clb_node: u32, up: bool) -> impl Iterator<Item = Sight> {
    REPORTERS.iter().map(move |node| Sight {
        at: secs(tenths),
        node: (*node).to_owned(),
        clb_node,
        up,
    })
}

fn one_sees(node: &str, tenths: u64, clb_node: u32, up: bool) -> Sight {
    Sight {
        at: secs(tenths),
        node: node.to_owned(),
        clb_node,
        up,
    }
}

/// What became of the members, without the times.
fn members(outcome: &Outcome) -> Vec<Vec<Membership>> {
    let changes = outcome.changes().into_iter();
    changes.map(|(_, members)| members).collect()
}

/// A majority loses sight of a CLB node at 4 s, and sees it again at 8 s.
#[test]
fn a_clb_node_that_dies_leaves_the_table_within_the_confirmation_and_a_commit_and_comes_back() {
    let fault = "[[fault]]\nat = \"3.9s\"\nfor = \"4s\"\ndown = \"region.guangzhou.clb-2\"";
    let sights: Vec<Sight> = all_see(40, 2, false).chain(all_see(80, 2, true)).collect();
    let outcome = play(1, "12s", fault, &sights);
    let changes = outcome.changes();
    let expected = [vec![In, In, In], vec![In, Lost, In], vec![In, In, In]];
    assert_eq!(members(&outcome), expected);
    // A report, a majority's answer and a delta: three ways across the backbone.
    let slack = Duration::from_millis(300);
    for ((at, _), noticed) in changes[1..].iter().zip([secs(40), secs(80)]) {
        let after = at.since(Instant::ZERO + noticed);
        assert!(after >= CONFIRM, "believed after {after:?}");
        assert!(after < CONFIRM + slack, "in force after {after:?}");
    }
    let newest = outcome.given.iter().map(|given| given.revision).max();
    assert_eq!(outcome.in_force.len(), REPORTERS.len());
    for (node, revision) in &outcome.in_force {
        assert_eq!(Some(*revision), newest, "in force at {node}");
    }
    let again = play(1, "12s", fault, &sights);
    assert_eq!(outcome.digest, again.digest);
}

/// One reporter has lost sight for good, the others come and go faster than is believed.
#[test]
fn reporters_that_flap_and_a_single_one_change_nothing() {
    let flap = |tenths| {
        let up = tenths % 8 == 0;
        all_see(tenths, 1, up).filter(|sight| sight.node != "pop.osaka")
    };
    let flapping = (40..100).step_by(4).flat_map(flap);
    let mut sights: Vec<Sight> = vec![one_sees("pop.osaka", 30, 1, false)];
    sights.extend(flapping);
    let outcome = play(2, "14s", "", &sights);
    assert_eq!(members(&outcome), [[In, In, In]]);
}

/// The leader is cut off from the other controllers, and not from the nodes, which tell it that a CLB node is dead. Only
/// the next leader can do something about it, and it begins anew.
#[test]
fn a_leader_without_a_majority_changes_nothing_whatever_it_is_told() {
    let others = "[\"controller.a\", \"controller.b\", \"controller.c\"]";
    let fault = format!(
        "[[fault]]\nat = \"4s\"\nfor = \"8s\"\npartition = [\"controller.leader\"]\nagainst = {others}"
    );
    let sights: Vec<Sight> = all_see(41, 3, false).collect();
    let outcome = play(3, "18s", &fault, &sights);
    let changes = outcome.changes();
    assert_eq!(members(&outcome), [vec![In, In, In], vec![In, In, Lost]]);
    let (at, _) = &changes[1];
    // A new leader decides when it has heard a majority for long enough.
    assert!(*at > Instant::ZERO + secs(41) + 2 * CONFIRM, "{at:?}");
}

/// All controllers are away for a minute, and the machine of a CLB node with them: the last table stays. Once they are
/// back, what the nodes say counts from then on.
#[test]
fn controllers_that_are_all_away_for_a_minute_withdraw_nothing() {
    let down = |name: &str| {
        format!("[[fault]]\nat = \"5s\"\nfor = \"60s\"\ndown = \"controller.{name}\"\n")
    };
    let faults: String = ["a", "b", "c"].map(down).concat();
    let sights: Vec<Sight> = all_see(100, 1, false)
        .chain(all_see(500, 1, true))
        .collect();
    let outcome = play(4, "90s", &faults, &sights);
    assert_eq!(members(&outcome), [[In, In, In]]);
    assert_eq!(outcome.in_force.len(), REPORTERS.len(), "all report again");
}
