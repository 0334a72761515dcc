//! What holds of slots after any sequence of losses, drains, returns and new weights.
//!
//! A naive watcher sees nothing but the maps and who was what: it dates moves itself.

use proptest::prelude::*;

use super::*;

/// One revision: how long after the last, and what happened to whom.
#[derive(Clone, Debug)]
struct Act {
    after: Duration,
    node: usize,
    change: Change,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Membership(Membership),
    Weight(u8),
    Nothing,
}

fn act(nodes: usize) -> impl Strategy<Value = Act> {
    let change = prop_oneof![
        3 => Just(Change::Membership(In)),
        2 => Just(Change::Membership(Lost)),
        2 => Just(Change::Membership(Drained)),
        1 => Just(Change::Membership(Absent)),
        2 => (0..=100_u8).prop_map(Change::Weight),
        1 => Just(Change::Nothing),
    ];
    (0..7_u64, 0..nodes, change).prop_map(|(secs, node, change)| Act {
        after: Duration::from_secs(secs),
        node,
        change,
    })
}

/// What the watcher knows of a slot.
#[derive(Clone, Copy, Default)]
struct Seen {
    moved_at: Option<Instant>,
    /// Whom it moved away from, as long as that node is alive and the slot stays.
    holder: Option<NodeId>,
}

fn membership(region: &Region, node: NodeId) -> Membership {
    let part = region.parts.get(node.index());
    part.map_or(Absent, |part| part.membership)
}

/// Checks one revision, and notes what moved.
fn watch(
    region: &Region,
    maps: &[Arc<SlotMap>; 2],
    seen: &mut [Seen],
    now: Instant,
) -> Result<(), TestCaseError> {
    let any_in = region.parts.iter().any(|part| part.membership == In);
    let any_alive = region.parts.iter().any(|part| part.membership.is_alive());
    if !any_alive {
        prop_assert_eq!(&maps[0], &maps[1]);
        seen.iter_mut().for_each(|seen| seen.holder = None);
        return Ok(());
    }
    for ((was, is), seen) in pairs(maps).zip(seen) {
        prop_assert!(!any_in || membership(region, is.primary) == In);
        prop_assert!(membership(region, is.primary).is_alive());
        prop_assert_ne!(is.primary, is.secondary);
        let settled = seen.moved_at.is_none_or(|moved| moved + SETTLE <= now);
        let fate = membership(region, was.primary);
        if was.primary != is.primary && was.primary != NodeId::UNKNOWN {
            prop_assert!(fate != In || settled, "moved twice from a node that is in");
            let secondary_serves = membership(region, was.secondary) == In;
            if !fate.is_alive() && secondary_serves {
                prop_assert_eq!(is.primary, was.secondary);
            }
            *seen = Seen {
                moved_at: Some(now),
                holder: fate.is_alive().then_some(was.primary),
            };
        } else if settled {
            seen.holder = None;
        }
        if let Some(holder) = seen.holder {
            if membership(region, holder).is_alive() {
                prop_assert_eq!(is.secondary, holder);
            } else {
                seen.holder = None;
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_history_keeps_the_rules_and_ends_where_slots_are_wanted(
        acts in prop::collection::vec(act(4), 1..14),
    ) {
        let mut region = Region::new(&[In, In, In, Absent]);
        let mut seen = vec![Seen::default(); SLOTS as usize];
        let mut now = Instant::ZERO;
        for act in acts {
            now += act.after;
            match act.change {
                Change::Membership(membership) => region.parts[act.node].membership = membership,
                Change::Weight(weight) => region.parts[act.node].weight = weight,
                Change::Nothing => {}
            }
            let mut twin = region.clone();
            let maps = region.publish(now);
            prop_assert_eq!(&twin.publish(now)[1], &maps[1], "the same twice");
            watch(&region, &maps, &mut seen, now)?;
        }
        for _ in 0..40 {
            let Some(settles_at) = region.settles_at() else { break };
            prop_assert!(settles_at > now, "what is due has been done");
            let before = Instant::from_nanos(settles_at.as_nanos() - 1);
            let [one, other] = region.publish(before);
            prop_assert!(Arc::ptr_eq(&one, &other), "nothing settles before");
            now = settles_at;
            let maps = region.publish(now);
            watch(&region, &maps, &mut seen, now)?;
        }
        prop_assert_eq!(region.settles_at(), None);
        if region.parts.iter().any(|part| part.membership.is_alive()) {
            prop_assert_eq!(&*region.book.actual, &region.fresh());
        }
    }
}
