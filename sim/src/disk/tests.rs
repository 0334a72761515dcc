//! What a crash may take of a disk and what it may not.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use anyedge_net::rng::Seed;

use super::sectors::SECTOR_BYTES;
use super::*;

fn disk(seed: u64) -> Disk {
    Disk::new(
        DiskSpec::SOLID_STATE,
        Seed(seed).stream("host.a", "disk of a test"),
    )
}

fn open(disk: &Disk) -> DiskFile {
    disk.open_file("log").expect("nobody has it open")
}

fn read_all(file: &DiskFile) -> Vec<u8> {
    let mut bytes = vec![0; file.len().expect("it is open") as usize];
    file.read_at(0, &mut bytes).expect("so many there are");
    bytes
}

#[test]
fn what_was_synced_outlives_every_crash() {
    for seed in 0..50 {
        let disk = disk(seed);
        let file = open(&disk);
        file.write_at(700, b"durable").expect("there is room");
        file.sync().expect("the disk is well");
        for _ in 0..3 {
            disk.crash();
        }
        drop(file);
        let mut wanted = vec![0; 700];
        wanted.extend(b"durable");
        assert_eq!(read_all(&open(&disk)), wanted);
    }
}

#[test]
fn each_unsynced_sector_is_lost_or_kept_by_itself() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let disk = disk(seed);
        let file = open(&disk);
        let whole = 3 * SECTOR_BYTES as usize;
        file.write_at(0, &vec![1; whole]).expect("there is room");
        file.sync().expect("the disk is well");
        // Across all three sectors, the outer ones in part.
        file.write_at(100, &vec![2; whole - 200])
            .expect("there is room");
        disk.crash();
        let bytes = read_all(&open(&disk));
        assert_eq!((bytes[99], bytes[whole - 1]), (1, 1), "never written");
        let middles = [200, 700, 1_200].map(|at| bytes[at]);
        for (sector, middle) in middles.iter().enumerate() {
            let from = sector * SECTOR_BYTES as usize;
            let until = from + SECTOR_BYTES as usize;
            let written = &bytes[from.max(100)..until.min(whole - 100)];
            assert!(written.iter().all(|byte| byte == middle), "a torn sector");
        }
        seen.insert(middles);
    }
    assert_eq!(seen.len(), 8, "every combination: {seen:?}");
}

#[test]
fn an_unsynced_length_is_the_old_or_the_new_one() {
    let mut longer = BTreeSet::new();
    let mut shorter = BTreeSet::new();
    for seed in 0..100 {
        let disk = disk(seed);
        let file = open(&disk);
        file.write_at(0, &[7; 2_000]).expect("there is room");
        file.sync().expect("the disk is well");
        file.set_len(3_000).expect("there is room");
        disk.crash();
        let file = open(&disk);
        longer.insert(file.len().expect("it is open"));
        assert_eq!(read_all(&file)[..2_000], [7; 2_000]);
        file.set_len(2_000).expect("it may be cut");
        file.sync().expect("the disk is well");
        file.set_len(10).expect("it may be cut");
        disk.crash();
        let file = open(&disk);
        shorter.insert(file.len().expect("it is open"));
        assert_eq!(read_all(&file)[..10], [7; 10]);
    }
    assert_eq!(longer, BTreeSet::from([2_000, 3_000]));
    assert_eq!(shorter, BTreeSet::from([10, 2_000]));
}

#[test]
fn handles_from_before_a_crash_are_void() {
    let disk = disk(1);
    let old = open(&disk);
    disk.crash();
    let kind = old.write_at(0, b"late").map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::NotConnected));
    let new = open(&disk);
    drop(old);
    new.write_at(0, b"now")
        .expect("closing the old one closed no other");
    disk.wipe();
    let kind = new.sync().map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::NotConnected));
    assert_eq!(disk.len_of("log"), None);
}

#[test]
fn a_full_disk_takes_nothing_more_until_there_is_room() {
    let disk = disk(1);
    let spec = DiskSpec {
        capacity_bytes: 1_000,
        ..DiskSpec::SOLID_STATE
    };
    disk.set_spec(spec);
    let file = open(&disk);
    file.write_at(0, &[1; 900]).expect("there is room");
    let kind = file.write_at(900, &[1; 101]).map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::StorageFull));
    assert_eq!(file.len().expect("it is open"), 900, "nothing of it");
    file.write_at(0, &[2; 900]).expect("overwriting needs none");
    let other = disk.open_file("other").expect("a name needs no room");
    other.write_at(0, &[1; 100]).expect("just fits");
    drop(other);
    disk.remove_file("other").expect("it is there");
    file.set_len(1_000).expect("there is room again");
}

#[test]
fn work_takes_the_time_of_its_syncs_and_bytes() {
    let disk = disk(1);
    disk.set_spec(DiskSpec {
        capacity_bytes: 1 << 20,
        sync: Duration::from_millis(3),
        bytes_per_second: 1_000_000,
    });
    let file = open(&disk);
    file.write_at(0, &[1; 5_000]).expect("there is room");
    file.sync().expect("the disk is well");
    assert_eq!(disk.take_owed(), Duration::from_millis(8));
    assert_eq!(disk.take_owed(), Duration::ZERO);
}

#[test]
fn a_disk_that_fails_changes_nothing_more() {
    let disk = disk(1);
    let file = open(&disk);
    disk.fail_after_syncs(1);
    file.write_at(0, b"first").expect("not yet");
    file.sync().expect("the last one");
    file.write_at(0, b"other").expect("it is not durable");
    assert!(file.sync().is_err());
    assert!(file.write_at(0, b"third").is_err());
    disk.crash();
    let kept = read_all(&open(&disk));
    assert!(kept == b"first" || kept == b"other");
}
