//! The Raft log in its file, written by us and then damaged, or anybody's bytes: it is refused, or it gives what it was
//! after some of its writes. Nothing is made up, and no bytes end the process.

#[path = "../../ccn/src/raft/store/shelf.rs"]
#[allow(dead_code, reason = "the disk serves others as well")]
pub(crate) mod shelf;

use std::time::Duration;

use anyedge_ccn::raft::{Config, Files, LOG_NAME, Recovered, Replica, Store, StoreError, fresh};
use anyedge_net::host::DurableFile as _;
use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_proto::raft::Record;
use prost::Message as _;

use crate::input::Input;
use shelf::Shelf;

/// Records of one input.
const RECORDS_MAX: usize = 12;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if input.byte() & 1 != 0 {
        if let Ok(kept) = opened(input.rest().to_vec()) {
            must_start_or_be_refused(kept);
        }
        return;
    }
    let damages = input.byte() % 4;
    let places: Vec<(u32, u8)> = (0..damages).map(|_| (input.u32(), input.byte())).collect();
    let cut = input.u16();
    let mut stages = written(input);
    let mut damaged = stages.pop().expect("one at least");
    let whole = opened(damaged.clone());
    for (place, bits) in &places {
        let at = *place as usize % damaged.len();
        damaged[at] ^= bits;
    }
    if damages > 0 {
        let kept = damaged.len() - usize::from(cut) % damaged.len();
        damaged.truncate(kept);
    }
    let Ok(kept) = opened(damaged) else {
        return;
    };
    let same =
        |stage: Result<Recovered, StoreError>| stage.is_ok_and(|stage| told(&stage) == told(&kept));
    let is_of_ours = same(whole) || stages.into_iter().rev().any(|stage| same(opened(stage)));
    assert!(is_of_ours, "never written: {kept:?}");
    must_start_or_be_refused(kept);
}

/// The file after each write.
fn written(mut input: Input<'_>) -> Vec<Vec<u8>> {
    let shelf = Shelf::default();
    let (mut store, _) = Store::open(shelf.clone(), fresh(&[1, 2, 3])).expect("a fresh disk");
    let content = || shelf.log().lock().expect("one thread").clone();
    let mut stages = vec![content()];
    for _ in 0..RECORDS_MAX {
        if input.is_empty() {
            break;
        }
        if let Ok(record) = Record::decode(input.counted()) {
            store.write(&record).expect("the disk takes everything");
            stages.push(content());
        }
    }
    stages
}

/// What a file keeps; opened twice, it keeps the same, for the next life of its replica.
fn opened(content: Vec<u8>) -> Result<Recovered, StoreError> {
    let is_new = content.is_empty();
    let shelf = Shelf::default();
    let log = shelf
        .open_file(LOG_NAME)
        .expect("the disk takes everything");
    log.write_at(0, &content)
        .expect("the disk takes everything");
    let (_, kept) = Store::open(shelf.clone(), fresh(&[1, 2, 3]))?;
    let (_, again) = Store::open(shelf, fresh(&[4])).expect("it was opened before");
    assert_eq!(again.incarnation, kept.incarnation + 1);
    assert!(is_new || told(&again) == told(&kept));
    Ok(kept)
}

/// All of it but how often it was opened.
fn told(kept: &Recovered) -> String {
    format!(
        "{:?} {:?} {:?}",
        kept.hard_state, kept.foundation, kept.entries
    )
}

fn must_start_or_be_refused(kept: Recovered) {
    let config = Config::new(1, Duration::from_millis(150));
    let rng = Seed(1).stream("fuzzed", "elections");
    if let Ok(mut replica) = Replica::new(config, kept, rng, Instant::ZERO) {
        drop(replica.ready());
    }
}
