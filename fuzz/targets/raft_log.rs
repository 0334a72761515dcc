//! The Raft log in its file, written by us and then damaged, or anybody's bytes: it is refused, or it gives what it was
//! after some of its writes. Nothing is made up, and no bytes end the process.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyedge_ccn::raft::{Config, Files, LOG_NAME, Recovered, Replica, Store, StoreError, fresh};
use anyedge_net::host::DurableFile;
use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_proto::raft::Record;
use prost::Message as _;

use crate::input::Input;

/// Records of one input.
const RECORDS_MAX: usize = 12;

type Content = Arc<Mutex<Vec<u8>>>;

/// A disk in memory that keeps everything.
#[derive(Clone, Default, Debug)]
pub(crate) struct Shelf(Arc<Mutex<BTreeMap<String, Content>>>);

#[derive(Debug)]
pub(crate) struct Paper(Content);

impl Shelf {
    fn with(content: Vec<u8>) -> Shelf {
        let shelf = Shelf::default();
        let file = Arc::new(Mutex::new(content));
        let mut files = shelf.0.lock().expect("one thread");
        files.insert(LOG_NAME.to_owned(), file);
        drop(files);
        shelf
    }

    fn content(&self) -> Vec<u8> {
        let files = self.0.lock().expect("one thread");
        let content = files[LOG_NAME].lock().expect("one thread");
        content.clone()
    }
}

impl Files for Shelf {
    type File = Paper;

    fn open_file(&self, name: &str) -> io::Result<Paper> {
        let mut files = self.0.lock().expect("one thread");
        Ok(Paper(Arc::clone(files.entry(name.to_owned()).or_default())))
    }

    fn rename_file(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock().expect("one thread");
        let content = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }
}

impl DurableFile for Paper {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().expect("one thread").len() as u64)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let content = self.0.lock().expect("one thread");
        let start = offset as usize;
        let bytes = content.get(start..start + into.len());
        into.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut content = self.0.lock().expect("one thread");
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        let len = content.len().max(end);
        content.resize(len, 0);
        content[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut content = self.0.lock().expect("one thread");
        content.resize(len as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

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
    let mut stages = vec![shelf.content()];
    for _ in 0..RECORDS_MAX {
        if input.is_empty() {
            break;
        }
        if let Ok(record) = Record::decode(input.counted()) {
            store.write(&record).expect("the disk takes everything");
            stages.push(shelf.content());
        }
    }
    stages
}

/// What a file keeps; opened twice, it keeps the same, for the next life of its replica.
fn opened(content: Vec<u8>) -> Result<Recovered, StoreError> {
    let is_new = content.is_empty();
    let shelf = Shelf::with(content);
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
