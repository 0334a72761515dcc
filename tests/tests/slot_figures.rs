//! Slots in figures: how evenly Maglev spreads them over CLB nodes, and how many change hands when one goes.
//!
//! One readable table, kept as a golden; renewed by
//! `ANYEDGE_UPDATE_GOLDENS=1 cargo test -p anyedge-tests --test slot_figures`. Peers' figures: Maglev (NSDI'16,
//! figure 11) has next to no over-provisioning at N = 1,000; hashing modulo N would move (N - 1) / N of all flows.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyedge_ccn::author::plan::{NodePlan, RegionPlan};
use anyedge_ccn::author::{Membership, SLOT_SETTLE, TableAuthor};
use anyedge_net::flow::HashKey;

use anyedge_net::id::NodeId;
use anyedge_net::maglev::{Maglev, Member};
use anyedge_net::route_table::{Mechanisms, RouteTable};
use anyedge_net::slot::{Owners, SLOTS};
use anyedge_net::time::Instant;
use anyedge_tests::binary::root;

const HEADER: &str = "\
nodes  fewest  fair    most  over-provisioned   moved when one goes   of these needlessly   modulo would move
";

/// The slots of `names`, as a region's table has them.
fn slots(names: &[String]) -> Vec<Option<u16>> {
    let members: Vec<Member<'_>> = names
        .iter()
        .zip(0..)
        .map(|(name, id)| Member {
            id,
            name,
            weight: 1,
        })
        .collect();
    let table = Maglev::build(&members, SLOTS);
    (0..SLOTS)
        .map(|slot| table.lookup(u64::from(slot)))
        .collect()
}

fn row(count: usize) -> String {
    let names: Vec<String> = (1..=count)
        .map(|n| format!("region.guangzhou.clb-{n}"))
        .collect();
    let before = slots(&names);
    let mut shares = vec![0_u32; count];
    for owner in before.iter().flatten() {
        shares[usize::from(*owner)] += 1;
    }
    let (fewest, most) = (shares.iter().min(), shares.iter().max());
    let (fewest, most) = fewest
        .zip(most)
        .map(|(a, b)| (*a, *b))
        .expect("there are nodes");
    let fair = f64::from(SLOTS) / count as f64;

    // The last one goes, so that the others keep their numbers.
    let lost = u16::try_from(count - 1).expect("few nodes");
    let after = slots(&names[..count - 1]);
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(old, new)| old != new)
        .count();
    let orphaned = before.iter().filter(|owner| **owner == Some(lost)).count();
    let percent = |part: f64| part * 100.0 / f64::from(SLOTS);
    format!(
        "{count:>5}  {fewest:>6}  {fair:>6.1}  {most:>4}  {:>15.2}%  {:>18.2}%  {:>18.2}%  {:>16.2}%\n",
        (f64::from(most) / fair - 1.0) * 100.0,
        percent(moved as f64),
        percent((moved - orphaned) as f64),
        (1.0 - 1.0 / count as f64) * 100.0,
    )
}

const CHANGES_HEADER: &str = "
change                       history   moved   its flows: at the new primary   one hop away   nowhere   slots to sync
";

/// What happens to the last nodes of a region.
#[derive(Clone, Copy)]
enum Change {
    Lost,
    Drained,
    Added,
    /// Lost for longer than slots take to settle, and now back with nothing.
    Returned,
}

fn name(number: usize) -> String {
    format!("region.guangzhou.clb-{number}")
}

/// The author of a region of `count` CLB nodes, and nothing else.
fn region(count: usize, history: bool) -> TableAuthor {
    let node = |number: usize| NodePlan {
        name: name(number),
        underlay_v4: Ipv4Addr::UNSPECIFIED,
        underlay_v6: Ipv6Addr::UNSPECIFIED,
    };
    let mut author = TableAuthor::new(HashKey::new([7; 16]));
    author.add_region(RegionPlan {
        name: "guangzhou".to_owned(),
        clb_nodes: (1..=count).map(node).collect(),
    });
    author.set_mechanisms(Mechanisms {
        slot_history: history,
        ..Mechanisms::ALL
    });
    author
}

/// The tables before and after the change.
fn around(change: Change, (count, last): (usize, usize), history: bool) -> [Arc<RouteTable>; 2] {
    let mut author = region(count, history);
    let mut publish = |now: Instant, membership: Membership| {
        for number in count - last + 1..=count {
            author
                .set_membership(&name(number), membership)
                .expect("there is such a node");
        }
        author.publish(now).expect("a region alone makes a table")
    };
    let settled = Instant::ZERO + SLOT_SETTLE;
    match change {
        Change::Lost => [Membership::In, Membership::Lost],
        Change::Drained => [Membership::In, Membership::Drained],
        Change::Added => [Membership::Absent, Membership::In],
        Change::Returned => {
            publish(Instant::ZERO, Membership::In);
            [Membership::Lost, Membership::In]
        }
    }
    .map(|membership| match membership {
        Membership::In => publish(settled, membership),
        _ => publish(Instant::ZERO, membership),
    })
}

/// Both owners of a slot have its flows, as long as they live. Who has them after the change?
fn change_row(
    what: &str,
    change: Change,
    nodes: (usize, usize),
    history: bool,
) -> (String, [usize; 2]) {
    let [before, after] = around(change, nodes, history);
    let (count, last) = nodes;
    let lost = |node: NodeId| {
        let number =
            (count - last + 1..=count).find(|n| before.node_named(&name(*n)) == Some(node));
        matches!(change, Change::Lost) && number.is_some()
    };
    let gone: Vec<NodeId> = (0..count as u16)
        .map(NodeId)
        .filter(|id| lost(*id))
        .collect();
    let (mut moved, mut at_hand, mut one_hop, mut to_sync) = (0, 0, 0, 0);
    for slot in 0..SLOTS as u16 {
        let owners = |table: &RouteTable| table.regions[0].slots.owners(slot);
        let (was, is): (Owners, Owners) = (owners(&before), owners(&after));
        let has =
            |node: NodeId| [was.primary, was.secondary].contains(&node) && !gone.contains(&node);
        to_sync += usize::from(!has(is.primary) || !has(is.secondary));
        if was.primary == is.primary {
            continue;
        }
        moved += 1;
        at_hand += usize::from(has(is.primary));
        one_hop += usize::from(!has(is.primary) && has(is.secondary));
    }
    let percent = |part: usize, whole: usize| part as f64 * 100.0 / whole as f64;
    let history = if history { "yes" } else { "no" };
    let row = format!(
        "{what:<27}  {history:<7}  {:>5.2}%  {:>28.2}%  {:>12.2}%  {:>7.2}%  {:>12.2}%\n",
        percent(moved, SLOTS as usize),
        percent(at_hand, moved),
        percent(one_hop, moved),
        percent(moved - at_hand - one_hop, moved),
        percent(to_sync, SLOTS as usize),
    );
    (row, [moved, at_hand + one_hop])
}

/// Changes of one node and of several, with and without history.
fn changes() -> String {
    let mut table = CHANGES_HEADER.to_owned();
    for (what, change, nodes) in [
        ("1 of 10 is lost", Change::Lost, (10, 1)),
        ("1 of 1,000 is lost", Change::Lost, (1_000, 1)),
        ("1 of 10 is drained", Change::Drained, (10, 1)),
        ("1 of 1,000 is drained", Change::Drained, (1_000, 1)),
        ("1 is added to 10", Change::Added, (11, 1)),
        ("1 is added to 999", Change::Added, (1_000, 1)),
        ("1 of 10 is back, settled", Change::Returned, (10, 1)),
        ("2 of 10 are lost", Change::Lost, (10, 2)),
        ("2 of 10 are drained", Change::Drained, (10, 2)),
        ("10 are added to 10", Change::Added, (20, 10)),
    ] {
        for history in [true, false] {
            let (row, [moved, kept]) = change_row(what, change, nodes, history);
            let may_break = !history || (matches!(change, Change::Lost) && nodes.1 > 1);
            assert!(may_break || moved == kept, "an owner has the flows: {row}");
            table.push_str(&row);
        }
    }
    table
}

#[test]
fn slots_spread_evenly_and_few_change_hands() {
    let mut table = HEADER.to_owned();
    for count in [2, 3, 10, 100, 1_000] {
        write!(table, "{}", row(count)).expect("writing to a string works");
    }
    table.push_str(&changes());
    let golden = root().join("tests/goldens/slots.txt");
    if std::env::var_os("ANYEDGE_UPDATE_GOLDENS").is_some() {
        fs::write(&golden, &table).expect("the golden can be written");
    }
    let committed = fs::read_to_string(golden).expect("the golden is committed");
    assert_eq!(
        table, committed,
        "behaviour changed; if that is meant, renew the golden"
    );
}
