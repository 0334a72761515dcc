//! Whether a history of reads, writes and compare-and-sets of one register is linearizable.
//!
//! The search of Wing and Gong with Lowe's memory of what was tried: each operation has to take effect at one
//! moment between its call and its return; one whose end is unknown, at any moment after its call or never. It is
//! exponential at worst and quick for histories in which values differ.
//!
//! It first proves itself on etcd's histories from Jepsen, of which some are linearizable ([`etcd_history`] reads them).

use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasherDefault;

use xxhash_rust::xxh3::Xxh3Default;

/// What the register holds.
pub type Value = Option<u64>;

/// What was asked, and what came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// It held this.
    Read(Value),
    /// It holds this.
    Write(u64),
    /// It held the first and holds the second; `None`: nobody knows whether.
    CompareAndSet(u64, u64, Option<bool>),
}

/// One operation: the moments of its call and its return; `None` when nobody knows what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// What it was.
    pub operation: Operation,
    /// When it was called. No two moments of a history are the same.
    pub called: u64,
    /// When it returned.
    pub returned: Option<u64>,
}

/// What the register holds after the operation, when that may follow on `state`.
fn after(operation: Operation, state: Value) -> Option<Value> {
    match operation {
        Operation::Read(value) => (value == state).then_some(state),
        Operation::Write(value) => Some(Some(value)),
        Operation::CompareAndSet(old, new, succeeded) => {
            let matches = state == Some(old);
            let follows = succeeded.is_none_or(|succeeded| succeeded == matches);
            follows.then_some(if matches { Some(new) } else { state })
        }
    }
}

/// Calls and returns in the order of their moments, as a list from which operations are taken out and put back.
struct Moments {
    /// Operation and whether this is its return.
    events: Vec<(usize, bool)>,
    /// By operation: where its call and its return are.
    places: Vec<[usize; 2]>,
    next: Vec<usize>,
    previous: Vec<usize>,
}

impl Moments {
    fn new(history: &[Done]) -> Moments {
        let mut ordered: Vec<(u64, usize, bool)> = Vec::new();
        for (number, done) in history.iter().enumerate() {
            ordered.push((done.called, number, false));
            ordered.push((done.returned.unwrap_or(u64::MAX), number, true));
        }
        ordered.sort_unstable();
        let mut places = vec![[0; 2]; history.len()];
        // Place 0 is before the first.
        for (place, (_, number, is_return)) in ordered.iter().enumerate() {
            places[*number][usize::from(*is_return)] = place + 1;
        }
        let count = ordered.len() + 1;
        let events = ordered
            .into_iter()
            .map(|(_, number, is_return)| (number, is_return));
        Moments {
            events: core::iter::once((usize::MAX, false))
                .chain(events)
                .collect(),
            places,
            next: (1..=count).collect(),
            previous: (0..=count).map(|place| place.saturating_sub(1)).collect(),
        }
    }

    /// Takes both moments of an operation out.
    fn lift(&mut self, number: usize) {
        for place in self.places[number] {
            let (before, behind) = (self.previous[place], self.next[place]);
            self.next[before] = behind;
            self.previous[behind] = before;
        }
    }

    /// Puts both back, in the opposite order.
    fn put_back(&mut self, number: usize) {
        for place in self.places[number].into_iter().rev() {
            let (before, behind) = (self.previous[place], self.next[place]);
            self.next[before] = place;
            self.previous[behind] = place;
        }
    }
}

/// Whether some order of the operations, each at one moment of its own, explains what they returned. The
/// register holds nothing at first.
pub fn is_linearizable(history: &[Done]) -> bool {
    type Tried = HashSet<(Vec<u64>, Value), BuildHasherDefault<Xxh3Default>>;
    let mut moments = Moments::new(history);
    let end = moments.events.len();
    let mut tried = Tried::default();
    let mut taken = vec![0u64; history.len().div_ceil(64)];
    let mut steps: Vec<(usize, Value)> = Vec::new();
    let mut state = None;
    let mut place = moments.next[0];
    while moments.next[0] != end {
        let (number, is_return) = moments.events[place];
        if is_return {
            // It had to take effect before here: another choice, earlier on.
            let Some((number, before)) = steps.pop() else {
                return false;
            };
            state = before;
            taken[number / 64] &= !(1 << (number % 64));
            moments.put_back(number);
            place = moments.next[moments.places[number][0]];
            continue;
        }
        if let Some(holds) = after(history[number].operation, state) {
            taken[number / 64] |= 1 << (number % 64);
            if tried.insert((taken.clone(), holds)) {
                steps.push((number, state));
                state = holds;
                moments.lift(number);
                place = moments.next[0];
                continue;
            }
            taken[number / 64] &= !(1 << (number % 64));
        }
        place = moments.next[place];
    }
    true
}

/// Reads a Jepsen log of one etcd register.
///
/// # Errors
/// The line that it does not understand.
pub fn etcd_history(text: &str) -> Result<Vec<Done>, String> {
    let mut history: Vec<Done> = Vec::new();
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    for (moment, line) in text.lines().enumerate() {
        let moment = moment as u64;
        let wrong = || format!("line {}: {line}", moment + 1);
        let fields = line
            .strip_prefix("INFO  jepsen.util - ")
            .ok_or_else(wrong)?;
        let fields: Vec<&str> = fields.split('\t').collect();
        let [process, phase, name, value] = fields[..] else {
            return Err(wrong());
        };
        let process: u64 = process.trim().parse().map_err(|_| wrong())?;
        if phase == ":invoke" {
            let operation = invoked(name, value).ok_or_else(wrong)?;
            open.insert(process, history.len());
            history.push(Done {
                operation,
                called: moment,
                returned: None,
            });
            continue;
        }
        let done = &mut history[open.remove(&process).ok_or_else(wrong)?];
        if phase == ":info" {
            continue;
        }
        done.returned = Some(moment);
        match &mut done.operation {
            Operation::Read(read) => *read = value.trim().parse().ok(),
            Operation::CompareAndSet(.., succeeded) => *succeeded = Some(phase == ":ok"),
            Operation::Write(_) => {}
        }
    }
    // A read without an answer says nothing.
    history.retain(|done| done.returned.is_some() || !matches!(done.operation, Operation::Read(_)));
    Ok(history)
}

fn invoked(name: &str, value: &str) -> Option<Operation> {
    match name {
        ":read" => Some(Operation::Read(None)),
        ":write" => value.trim().parse().ok().map(Operation::Write),
        ":cas" => {
            let pair = value.trim().strip_prefix('[')?.strip_suffix(']')?;
            let (old, new) = pair.split_once(' ')?;
            Some(Operation::CompareAndSet(
                old.parse().ok()?,
                new.parse().ok()?,
                None,
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(operations: &[(Operation, u64, Option<u64>)]) -> Vec<Done> {
        let done = operations.iter();
        done.map(|(operation, called, returned)| Done {
            operation: *operation,
            called: *called,
            returned: *returned,
        })
        .collect()
    }

    #[test]
    fn a_read_sees_the_last_write_that_ended_before_it() {
        let write = |value, called, returned| (Operation::Write(value), called, Some(returned));
        let read = |value, called, returned| (Operation::Read(Some(value)), called, Some(returned));
        assert!(is_linearizable(&history(&[write(1, 1, 2), read(1, 3, 4)])));
        let stale = [write(1, 1, 2), write(2, 3, 4), read(1, 5, 6)];
        assert!(!is_linearizable(&history(&stale)));
        let beside = [write(1, 1, 2), write(2, 3, 6), read(1, 4, 5)];
        assert!(is_linearizable(&history(&beside)));
        let back = [write(1, 1, 2), write(2, 3, 9), read(2, 4, 5), read(1, 6, 7)];
        assert!(
            !is_linearizable(&history(&back)),
            "a value does not come back"
        );
    }

    #[test]
    fn what_nobody_knows_may_have_happened_or_not() {
        let unknown = (Operation::Write(7), 1, None);
        let read = |value, called, returned| (Operation::Read(value), called, Some(returned));
        assert!(is_linearizable(&history(&[unknown, read(Some(7), 5, 6)])));
        assert!(is_linearizable(&history(&[unknown, read(None, 5, 6)])));
        let undone = [unknown, read(Some(7), 5, 6), read(None, 7, 8)];
        assert!(!is_linearizable(&history(&undone)));
    }

    #[test]
    fn a_compare_and_set_tells_what_was_there() {
        let write = (Operation::Write(1), 1, Some(2));
        let cas = |old, succeeded| {
            (
                Operation::CompareAndSet(old, 9, Some(succeeded)),
                3,
                Some(4),
            )
        };
        assert!(is_linearizable(&history(&[write, cas(1, true)])));
        assert!(is_linearizable(&history(&[write, cas(2, false)])));
        assert!(!is_linearizable(&history(&[write, cas(1, false)])));
        assert!(!is_linearizable(&history(&[write, cas(2, true)])));
    }
}
