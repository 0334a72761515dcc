//! The replicated table as bytes: commands of the log, deltas that nodes follow by, snapshots. What is read is written as
//! it was; a command that is accepted makes, by its delta, the same table at whoever follows.

use std::sync::LazyLock;
use std::time::Duration;

use anyedge_ccn::controller::StateMachine;
use anyedge_ccn::follow::Mirror;
use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::{Change, Command};
use anyedge_ccn::table::delta::Delta;
use anyedge_ccn::table::object::Kind;
use anyedge_net::flow::HashKey;
use anyedge_net::slot::SLOTS;
use anyedge_net::time::Instant;
use anyedge_proto::table::v1 as pb;
use anyedge_topologies::Topology;
use prost::Message as _;

use crate::input::Input;

/// Commands of one input.
const COMMANDS_MAX: usize = 16;
/// Regions with slots of one snapshot.
const BOOKS_MAX: usize = 2;
/// How a snapshot begins.
const MAGIC: &[u8] = b"anyedget";
/// The key of its checksum.
const CHECKSUM_KEY: HashKey = HashKey::new(*b"table's checksum");

/// That of a shipped topology.
static FIRST: LazyLock<Table> = LazyLock::new(|| {
    let text = include_str!("../../topologies/two-pops.toml");
    let topology = Topology::parse("two-pops.toml", text).expect("it is shipped");
    let author = anyedge_topologies::author(&topology, HashKey::new([7; 16]));
    let mut author = author.expect("it is sound");
    author.publish(Instant::ZERO).expect("it is sound");
    author.table().clone()
});

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.byte();
    let is_whole = choice & 4 != 0;
    match choice % 4 {
        0 => commands(FIRST.clone(), is_whole, input),
        1 => commands(Table::new(), is_whole, input),
        2 => delta(input.rest()),
        _ => snapshot(input.rest()),
    }
}

fn commands(mut table: Table, is_whole: bool, mut input: Input<'_>) {
    let mut mirror = table.clone();
    for _ in 0..COMMANDS_MAX {
        if input.is_empty() {
            break;
        }
        let bytes = input.counted();
        if let Ok(message) = pb::Command::decode(bytes)
            && let Ok(command) = Command::try_from(&message)
        {
            let written = pb::Command::from(&command);
            assert_eq!(Command::try_from(&written), Ok(command));
        }
        let index = Table::revision(&table) + 1;
        let effect = StateMachine::apply(&mut table, index, bytes);
        let answer = pb::Answer::decode(&*effect.answer).expect("an answer");
        assert!(answer.what.is_some());
        match &effect.delta {
            Some(delta) => {
                assert_eq!(Table::revision(&table), index);
                Mirror::replay(&mut mirror, delta).expect("a delta of our own");
            }
            None => assert_eq!(Table::revision(&table), Table::revision(&mirror)),
        }
    }
    for kind in Kind::ALL.iter().copied() {
        let (own, followed) = (table.list(kind, "", ""), mirror.list(kind, "", ""));
        assert!(own.eq(followed), "who follows has other {kind:?}");
    }
    if !is_whole {
        return;
    }
    let whole = Table::snapshot(&table);
    assert!(
        whole == Table::snapshot(&mirror),
        "who follows has another table"
    );
    let restored = Table::restore(&whole).expect("a snapshot of our own");
    assert!(
        whole == Table::snapshot(&restored),
        "restored, it is another table"
    );
}

fn delta(bytes: &[u8]) {
    let Ok(message) = pb::Delta::decode(bytes) else {
        return;
    };
    let Ok(delta) = Delta::try_from(&message) else {
        return;
    };
    assert_eq!(Delta::try_from(&pb::Delta::from(&delta)), Ok(delta.clone()));
    let mut table = FIRST.clone();
    if table.replay(&delta).is_ok() && !delta.repeated {
        assert_eq!(table.revision(), delta.revision);
    }
}

/// A message as a snapshot, checksum made; then the bytes as they are.
fn snapshot(message: &[u8]) {
    assert!(
        Table::restore(message).is_err(),
        "no checksum is found by chance"
    );
    let Ok(mut record) = pb::Snapshot::decode(message) else {
        return;
    };
    record.slot_books.truncate(BOOKS_MAX);
    for book in &mut record.slot_books {
        fill(&mut book.primaries);
        fill(&mut book.secondaries);
    }
    let message = record.encode_to_vec();
    let checksum = CHECKSUM_KEY.hash_bytes(&message).to_be_bytes();
    let Ok(mut table) = Table::restore(&[MAGIC, &checksum, &message].concat()) else {
        return;
    };
    let written = Table::snapshot(&table);
    let again = Table::restore(&written).expect("a snapshot of our own");
    assert!(
        Table::snapshot(&again) == written,
        "restored, it is another table"
    );
    // Time goes on in it, and slots settle.
    let at = table.at() + Duration::from_secs(3_600);
    let settle = pb::Command::from(&Command::new(at, Change::Settle)).encode_to_vec();
    if let Some(index) = Table::revision(&table).checked_add(1) {
        StateMachine::apply(&mut table, index, &settle);
    }
}

/// Repeats the owners of the first slots for all of them.
fn fill(owners: &mut Vec<u8>) {
    let own = core::mem::take(owners);
    let own = if own.is_empty() { vec![0, 0] } else { own };
    owners.extend(own.iter().cycle().take(2 * SLOTS as usize));
}
