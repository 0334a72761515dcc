//! Slots in figures: how evenly Maglev spreads them over CLB nodes, and how many change hands when one goes.
//!
//! One readable table, kept as a golden; renewed by
//! `ANYEDGE_UPDATE_GOLDENS=1 cargo test -p anyedge-tests --test slot_figures`. Peers' figures: Maglev (NSDI'16,
//! figure 11) has next to no over-provisioning at N = 1,000; hashing modulo N would move (N - 1) / N of all flows.

use std::fmt::Write as _;
use std::fs;

use anyedge_net::maglev::{Maglev, Member};
use anyedge_net::slot::SLOTS;
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

#[test]
fn slots_spread_evenly_and_few_change_hands() {
    let mut table = HEADER.to_owned();
    for count in [2, 3, 10, 100, 1_000] {
        write!(table, "{}", row(count)).expect("writing to a string works");
    }
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
