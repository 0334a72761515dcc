//! What a log keeps over reopening, and what it refuses. What a crash may take of it is searched for elsewhere.

#[path = "shelf.rs"]
mod shelf;

use std::io::ErrorKind;

use super::*;
use shelf::Shelf;

impl Shelf {
    fn open(&self) -> Result<(Store<Shelf>, Recovered), StoreError> {
        Store::open(self.clone(), fresh(&[1, 2, 3]))
    }
}

fn entries(term: u64, indexes: core::ops::RangeInclusive<u64>) -> Record {
    let entry = |index| Entry {
        term,
        index,
        data: vec![term as u8; 100].into(),
        ..Entry::default()
    };
    Record {
        hard_state: Some(HardState {
            term,
            vote: 2,
            commit: 1,
        }),
        entries: indexes.map(entry).collect(),
        ..Record::default()
    }
}

/// A shelf with five records of one entry each, places 2 to 6.
fn written() -> Shelf {
    let shelf = Shelf::default();
    let (mut store, _) = shelf.open().expect("a fresh log");
    for index in 2..=6 {
        store
            .write(&entries(3, index..=index))
            .expect("there is room");
    }
    shelf
}

fn last(recovered: &Recovered) -> u64 {
    recovered.entries.last().map_or(0, |entry| entry.index)
}

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    let shelf = written();
    let (_, kept) = shelf.open().expect("it is whole");
    assert_eq!(
        kept.hard_state,
        entries(3, 2..=2).hard_state.expect("given")
    );
    assert_eq!(kept.entries, entries(3, 2..=6).entries);
    assert_eq!((kept.foundation, kept.incarnation), (fresh(&[1, 2, 3]), 2));
    let (_, kept) = shelf.open().expect("it is whole");
    assert_eq!(kept.incarnation, 3, "no two lives are alike");
}

#[test]
fn a_new_leaders_entries_overwrite_and_a_snapshot_begins_anew() {
    let shelf = written();
    let (mut store, kept) = shelf.open().expect("it is whole");
    store.write(&entries(4, 5..=5)).expect("there is room");
    let before = shelf.log().lock().expect("one thread").len();
    let mut anew = entries(4, 5..=5);
    let mut foundation = kept.foundation;
    foundation.index = 4;
    foundation.term = 3;
    anew.foundation = Some(foundation.clone());
    store.write(&anew).expect("there is room");
    store.write(&entries(4, 6..=7)).expect("there is room");
    let (_, kept) = shelf.open().expect("it is whole");
    assert_eq!(
        (kept.foundation, kept.entries),
        (foundation, entries(4, 5..=7).entries)
    );
    assert_eq!(kept.incarnation, 3);
    assert!(shelf.log().lock().expect("one thread").len() < before);
}

#[test]
fn a_torn_end_is_left_out_and_written_over() {
    for cut in [0, 20, 60, 120] {
        let shelf = written();
        let log = shelf.log();
        let whole = log.lock().expect("one thread").clone();
        // The last record and its seal are a sector each; without the seal, nobody knows that it was durable.
        let torn = whole.len() - 512 - 512 + cut;
        *log.lock().expect("one thread") = whole[..torn].to_vec();
        let (mut store, kept) = shelf.open().expect("a torn end is no damage");
        assert_eq!(last(&kept), 5);
        store.write(&entries(4, 6..=6)).expect("there is room");
        let (_, kept) = shelf.open().expect("it is whole");
        assert_eq!(kept.entries.last(), entries(4, 6..=6).entries.last());
    }
}

#[test]
fn one_bit_of_what_was_durable_is_damage_or_changes_nothing() {
    let shelf = written();
    let log = shelf.log();
    let whole = log.lock().expect("one thread").clone();
    let seal = whole.len() - 512;
    for bit in (0..whole.len() * 8).step_by(13) {
        let mut spoiled = whole.clone();
        spoiled[bit / 8] ^= 1 << (bit % 8);
        *log.lock().expect("one thread") = spoiled;
        match shelf.open() {
            // Padding, or the seal itself.
            Ok((_, kept)) => {
                assert_eq!(kept.entries, entries(3, 2..=6).entries, "bit {bit}");
            }
            Err(StoreError::Damaged { offset, .. }) => {
                assert!(offset <= bit as u64 / 8, "{offset} for bit {bit}");
                assert!(bit / 8 < seal, "a seal promises nothing itself");
            }
            Err(StoreError::Foreign) => assert!(bit / 8 < 512),
            Err(other) => panic!("bit {bit}: {other}"),
        }
    }
}

#[test]
fn a_record_lost_in_the_middle_is_damage() {
    let shelf = written();
    let log = shelf.log();
    let mut spoiled = log.lock().expect("one thread").clone();
    // The header, the first record, the record of this life, then entries.
    spoiled[4 * 512..5 * 512].fill(0);
    *log.lock().expect("one thread") = spoiled;
    let refused = shelf.open().map(|_| ()).expect_err("it is damaged");
    assert_eq!(
        refused.to_string(),
        "raft.log is damaged at byte 2048: a record is unreadable, and later ones are not"
    );
}

#[test]
fn another_programs_file_is_refused() {
    let shelf = written();
    *shelf.log().lock().expect("one thread") = b"[pop.tokyo]\n".repeat(100);
    assert!(matches!(shelf.open(), Err(StoreError::Foreign)));
}

#[test]
fn a_full_disk_may_be_tried_again() {
    let shelf = written();
    let (mut store, _) = shelf.open().expect("it is whole");
    shelf.has_room_for(Some(1_000));
    for record in [
        entries(4, 7..=7),
        Record {
            foundation: Some(fresh(&[1])),
            ..entries(4, 2..=2)
        },
    ] {
        let error = store.write(&record).expect_err("there is no room");
        let is_full =
            matches!(&error, StoreError::Disk(why) if why.kind() == ErrorKind::StorageFull);
        assert!(is_full, "{error}");
    }
    shelf.has_room_for(None);
    store
        .write(&entries(5, 7..=7))
        .expect("there is room again");
    let (_, kept) = shelf.open().expect("it is whole");
    assert_eq!((last(&kept), kept.hard_state.term), (7, 5));
}

#[test]
fn after_a_failed_sync_nothing_is_written_any_more() {
    let shelf = written();
    let (mut store, _) = shelf.open().expect("it is whole");
    shelf.fails_syncs(true);
    assert!(matches!(
        store.write(&entries(4, 7..=7)),
        Err(StoreError::Unknown)
    ));
    shelf.fails_syncs(false);
    assert!(matches!(
        store.write(&entries(4, 7..=7)),
        Err(StoreError::Unknown)
    ));
}

#[test]
fn numbers_beyond_the_last_are_damage() {
    let one_entry = entries(3, 2..=2);
    let records = [
        Record {
            incarnation: u64::MAX,
            ..Record::default()
        },
        Record {
            foundation: Some(Foundation {
                index: u64::MAX,
                ..fresh(&[1, 2, 3])
            }),
            ..one_entry
        },
    ];
    for record in records {
        let shelf = Shelf::default();
        let (mut store, _) = shelf.open().expect("a fresh log");
        store.write(&record).expect("there is room");
        let opened = shelf.open().map(|(_, kept)| kept);
        assert!(
            matches!(opened, Err(StoreError::Damaged { .. })),
            "{opened:?}"
        );
    }
}
