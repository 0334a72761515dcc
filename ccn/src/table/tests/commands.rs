//! Commands as a whole: once for each request, on the revision that was meant, in part, in stages, and as bytes.

use super::*;
use crate::table::delta::Failure;

fn weight(name: &str, weight: i32) -> Change {
    Change::SetTargetWeight(vec![format!("gz-main/web/{name}:8080")], weight)
}

fn weight_of(table: &Table, name: &str) -> i32 {
    let target = table.get::<Target>(&format!("gz-main/web/{name}:8080"));
    target.expect("a target of the small world").weight
}

#[test]
fn a_request_that_is_retried_applies_once() {
    let mut table = table();
    let command = |change| Command {
        request_id: "r-1".to_owned(),
        ..Command::new(Instant::ZERO, change)
    };
    let first = command(weight("10.0.0.11", 20));
    let delta = table.apply(2, &first).expect("it makes sense");
    table.take(weight("10.0.0.11", 30)).expect("it makes sense");
    let before = table.clone();
    let again = table.apply(9, &first).expect("it was applied before");
    assert!(again.repeated && again.changes.is_empty());
    assert_eq!(again.outcome, delta.outcome);
    assert_eq!((&table, weight_of(&table, "10.0.0.11")), (&before, 30));
    let other = table.apply(9, &command(weight("10.0.0.11", 40)));
    let refusal = other.expect_err("the id is another change's");
    assert_eq!(refusal.reason, Reason::RequestReused);
    assert_eq!(
        table.outcome("r-1"),
        Some(&delta.outcome),
        "its task can be asked for"
    );
}

#[test]
fn requests_are_remembered_up_to_a_limit() {
    let mut requests = Requests::default();
    let outcome = |number: usize| Outcome {
        request_id: format!("r-{number}"),
        ..Outcome::default()
    };
    for number in 0..=REQUESTS_MAX {
        requests.remember(&outcome(number));
    }
    assert_eq!(requests.iter().count(), REQUESTS_MAX);
    assert_eq!(
        (requests.get("r-0"), requests.get("r-1")),
        (None, Some(&outcome(1)))
    );
}

#[test]
fn a_write_on_another_revision_than_was_read_is_refused() {
    let mut table = table();
    let key = Key::new(Kind::Target, "gz-main/web/10.0.0.11:8080");
    let on = |revision| Command {
        conditions: vec![Condition {
            key: key.clone(),
            revision,
        }],
        ..Command::new(Instant::ZERO, weight("10.0.0.11", 20))
    };
    table.apply(2, &on(1)).expect("it is of revision 1");
    let refusal = table.apply(3, &on(1)).expect_err("it is of revision 2 now");
    assert_eq!(
        (refusal.code, refusal.reason),
        (Code::Aborted, Reason::Revision)
    );
    table.apply(3, &on(2)).expect("read anew");
    assert_eq!(
        table.entry(&key).map(|entry| entry.revision),
        Some(2),
        "nothing changed by it"
    );
}

#[test]
fn a_log_that_goes_back_is_refused() {
    let mut table = table();
    let refusal = table.apply(1, &Command::new(Instant::ZERO, Change::Settle));
    assert_eq!(refusal.expect_err("1 was there").reason, Reason::Internal);
}

#[test]
fn a_batch_gives_all_of_its_targets_one_weight() {
    let names = [
        "web/10.0.0.11:8080",
        "web/10.0.0.12:8080",
        "tick/10.0.0.11:8080",
    ];
    let names = names.map(|name| format!("gz-main/{name}"));
    let mut table = table();
    let one = Change::SetTargetWeight(names[..1].to_vec(), 20);
    table.take(one).expect("one");
    let all = Change::SetTargetWeight(names.to_vec(), 7);
    let delta = table.take(all).expect("several");
    assert_eq!(delta.changes.len(), 3);
    for name in &names {
        let target = table.get::<Target>(name).expect("it is there");
        assert_eq!(target.weight, 7, "{name}");
    }
    let refused = Change::SetTargetWeight(names.to_vec(), 101);
    let refusal = table.take(refused).expect_err("in no part");
    assert_eq!(refusal.reason, Reason::Range);
}

#[test]
fn a_batch_gives_all_of_its_targets_one_port_but_for_whom_it_would_be_taken() {
    let mut table = table();
    let twin = target("gz-main/web", "10.0.0.11", 9_000);
    table
        .take(Change::RegisterTargets(vec![twin]))
        .expect("another port of the first server");
    let names = ["10.0.0.11", "10.0.0.12"].map(|ip| format!("gz-main/web/{ip}:8080"));
    let delta = table
        .take(Change::SetTargetPort(names.to_vec(), 9_000))
        .expect("one is fine");
    let failures = delta.outcome.failures.iter();
    let failures: Vec<_> = failures.map(|it| (it.item, it.refusal.reason)).collect();
    assert_eq!(failures, [(0, Reason::Duplicate)], "(IP, port) is there");
    let there = |name: &str| {
        table
            .get::<Target>(&format!("gz-main/web/{name}"))
            .is_some()
    };
    assert!(there("10.0.0.11:8080") && there("10.0.0.12:9000"));
    assert!(!there("10.0.0.12:8080"));
}

#[test]
fn a_batch_takes_what_it_can_and_says_what_it_could_not() {
    let mut table = table();
    let heavy = Target {
        weight: 101,
        ..target("gz-main/web", "10.0.0.22", 80)
    };
    let batch = vec![
        target("gz-main/web", "10.0.0.21", 80),
        heavy,
        target("gz-main/web", "10.0.0.11", 8_080),
    ];
    let delta = table
        .take(Change::RegisterTargets(batch.clone()))
        .expect("one is fine");
    let failures: Vec<(u32, Reason)> = delta
        .outcome
        .failures
        .iter()
        .map(|Failure { item, refusal }| (*item, refusal.reason))
        .collect();
    assert_eq!(failures, [(1, Reason::Range), (2, Reason::Duplicate)]);
    let created = Key::new(Kind::Target, "gz-main/web/10.0.0.21:80");
    assert_eq!(delta.outcome.created, [created]);
    assert_eq!(delta.changes.len(), 1);
    let all = Change::All(vec![Change::RegisterTargets(batch)]);
    table.take(all).expect_err("in a list nothing may fail");
}

#[test]
fn a_list_of_changes_holds_together() {
    let mut table = table();
    let host = host("host.web-2", "guangzhou", 30);
    let bound = Target {
        host: "host.web-2".to_owned(),
        ..target("gz-main/web", "10.0.0.31", 80)
    };
    let changes = vec![
        Change::RegisterTargets(vec![bound]),
        create(fabric("host.web-2")),
        create(host),
    ];
    let some = Change::All(changes[..2].to_vec());
    table.take(some).expect_err("there is no such host");
    table
        .take(Change::All(changes))
        .expect("whatever the order");
}

#[test]
fn staged_changes_wait_and_show_what_they_would_do() {
    let mut table = table();
    let stage = |changes| {
        Change::Stage(Stage {
            name: "tuesday".to_owned(),
            changes,
        })
    };
    table
        .take(stage(vec![weight("10.0.0.11", 20)]))
        .expect("it could be applied");
    table
        .take(stage(vec![weight("10.0.0.12", 0)]))
        .expect("it could be applied, too");
    assert_eq!(weight_of(&table, "10.0.0.11"), 10, "no effect yet");
    table
        .take(stage(vec![weight("10.0.0.11", 101)]))
        .expect_err("no such weight");

    let pending = table.pending("tuesday").expect("it could be applied");
    let names: Vec<&str> = pending.iter().map(|it| it.key.name.as_str()).collect();
    assert_eq!(
        names,
        ["gz-main/web/10.0.0.11:8080", "gz-main/web/10.0.0.12:8080"]
    );
    assert!(
        pending
            .iter()
            .all(|it| it.before.is_some() && it.before != it.after)
    );

    table
        .take(Change::ApplyStage("tuesday".to_owned()))
        .expect("it can be applied");
    assert_eq!(
        (
            weight_of(&table, "10.0.0.11"),
            weight_of(&table, "10.0.0.12")
        ),
        (20, 0)
    );
    let gone = table.take(Change::ApplyStage("tuesday".to_owned()));
    assert_eq!(gone.expect_err("it was applied").reason, Reason::NoResource);
    table
        .take(stage(vec![weight("10.0.0.11", 30)]))
        .expect("it could be applied");
    table
        .take(Change::DiscardStage("tuesday".to_owned()))
        .expect("it is there");
    assert_eq!(table.count(Kind::Stage), 0);
}

#[test]
fn a_stage_that_has_become_impossible_waits_on() {
    let mut table = table();
    let changes = vec![weight("10.0.0.11", 20)];
    table
        .take(Change::Stage(Stage {
            name: "late".to_owned(),
            changes,
        }))
        .expect("it could be applied");
    let name = "gz-main/web/10.0.0.11:8080".to_owned();
    table
        .take(Change::DeregisterTargets(vec![name]))
        .expect("it is there");
    assert_eq!(
        table
            .pending("late")
            .expect_err("the target is gone")
            .reason,
        Reason::NoResource
    );
    table
        .take(Change::ApplyStage("late".to_owned()))
        .expect_err("the target is gone");
    assert_eq!(table.count(Kind::Stage), 1);
}

#[test]
fn secrets_are_in_snapshots_and_nowhere_else() {
    let table = table();
    assert_eq!(table.list(Kind::Secret, "", "").count(), 0);
    assert!(!format!("{table:?}").contains("[7, 7, 7"));
    let restored = Table::restore(&table.snapshot()).expect("what was written");
    assert_eq!(restored, table);
    assert!(restored.hash_key().is_some());
    let backup = table.backup();
    assert!(!backup.windows(16).any(|window| window == [7; 16]));
    let mut restored = Table::restore(&backup).expect("what was written");
    assert!(restored.hash_key().is_none());
    restored.adopt_secrets(&table);
    assert_eq!(restored.hash_key(), table.hash_key());
    let mut other = Table::new();
    let delta = other.take(Change::All(world())).expect("it makes sense");
    let shown = delta.without_secrets();
    assert_eq!(shown.changes.len() + 1, delta.changes.len());
}

#[test]
fn bytes_that_are_no_snapshot_are_refused() {
    let bytes = table().snapshot();
    assert_eq!(Table::restore(b"anyed"), Err(SnapshotError::NotASnapshot));
    assert_eq!(Table::restore(&[0; 99]), Err(SnapshotError::NotASnapshot));
    for cut in [8, 12, 16, bytes.len() / 2, bytes.len() - 1] {
        assert_eq!(
            Table::restore(&bytes[..cut]),
            Err(SnapshotError::Damaged),
            "{cut} bytes"
        );
    }
    for at in (8..bytes.len()).step_by(997) {
        let mut other = bytes.clone();
        other[at] ^= 1;
        assert_eq!(
            Table::restore(&other),
            Err(SnapshotError::Damaged),
            "byte {at}"
        );
    }
}

#[test]
fn listings_come_in_pages_and_by_what_they_belong_to() {
    let table = table();
    let names = |prefix: &str, after: &str| -> Vec<String> {
        let listed = table.list(Kind::Target, prefix, after);
        listed.map(|(name, _)| name.to_owned()).collect()
    };
    let web = names("gz-main/web/", "");
    assert_eq!(web.len(), 3);
    assert_eq!(names("gz-main/web/", &web[0]), web[1..]);
    assert_eq!(names("gz-main/none/", ""), [""; 0]);
    assert_eq!(names("", "").len(), 5);
}

#[test]
fn a_host_that_is_released_takes_its_targets_along_but_for_those_bound_by_2_0() {
    let mut table = after([
        create(Ccn {
            name: "backbone".to_owned(),
        }),
        super::ccn::attach("guangzhou", AttachmentKind::Vpc, &[]),
        super::ccn::attach("seoul", AttachmentKind::Vpc, &[]),
        update(Clb {
            cross_region: CrossRegion::V2,
            ..Clb::new("gz-main", "guangzhou")
        }),
        Change::RegisterTargets(vec![Target {
            host: "host.kr-1".to_owned(),
            ..target("gz-main/web", "10.8.0.11", 80)
        }]),
    ]);
    table
        .take(Change::Remove(Key::new(Kind::Host, "host.web-1")))
        .expect("it can be released");
    table
        .take(Change::Remove(Key::new(Kind::Host, "host.kr-1")))
        .expect("it can be released");
    let left: Vec<String> = table.all::<Target>().map(Target::full_name).collect();
    assert_eq!(
        left,
        ["gz-main/web/10.8.0.11:80"],
        "it stays until somebody unbinds it"
    );
    table
        .take(Change::DeregisterTargets(left))
        .expect("somebody does");
}

#[test]
fn a_vip_without_an_address_gets_the_first_free_one_of_its_prefix() {
    let network = Network {
        address: address("203.0.113.8"),
        length: 29,
    };
    let gold = Vip {
        prefix: "pool".to_owned(),
        clb: String::new(),
        ..vip("gold", &[])
    };
    let table = after([
        create(Prefix {
            name: "pool".to_owned(),
            network,
        }),
        create(gold),
    ]);
    let gold = table.get::<Vip>("gold").expect("it was allocated");
    assert_eq!(
        gold.addresses,
        [address("203.0.113.9")],
        "`game` has 203.0.113.10"
    );
}

#[test]
fn a_drained_node_that_is_lost_remembers_what_it_was() {
    let member = |membership| Change::SetMember {
        clb_node: CLB_1.to_owned(),
        membership: Some(membership),
        weight: None,
    };
    let is = |table: &Table| {
        let node = table.get::<ClbNode>(CLB_1).expect("it is there");
        (node.membership, node.returns_drained)
    };
    let mut table = after([member(Membership::Lost)]);
    assert_eq!(is(&table), (Membership::Lost, false));
    for (change, expected) in [
        (Membership::Drained, (Membership::Drained, false)),
        (Membership::Lost, (Membership::Lost, true)),
        (Membership::Lost, (Membership::Lost, true)),
        (Membership::In, (Membership::In, false)),
    ] {
        table.take(member(change)).expect("it makes sense");
        assert_eq!(is(&table), expected);
    }
}
