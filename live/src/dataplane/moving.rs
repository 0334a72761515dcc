//! Moving: tunnel sockets on other addresses, on their way to the workers of a data plane that goes on.
//!
//! A table may give a node other tunnel addresses. Whoever makes route tables opens sockets on them first, so that a table
//! whose addresses the machine has not got changes nothing; each worker takes its share before its next turn. A worker that
//! sleeps does so within the time in which it looks whether it shall stop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::mouth::Mouth;

/// Sockets of one worker that take the place of those that it has.
#[derive(Debug)]
pub struct Move {
    /// What it gets, of the families that move.
    pub mouth: Mouth,
    /// Whether IPv4 and IPv6 move.
    pub families: [bool; 2],
}

/// Where the workers find theirs.
#[derive(Debug, Default)]
pub(super) struct Moving {
    turn: AtomicU64,
    /// What waits, by worker.
    waiting: Mutex<Vec<Vec<Move>>>,
}

impl Moving {
    /// Leaves a move to each worker, by its number.
    pub(super) fn put(&self, moves: Vec<Move>) {
        let mut waiting = self.waiting();
        let count = waiting.len().max(moves.len());
        waiting.resize_with(count, Vec::new);
        for (own, one) in waiting.iter_mut().zip(moves) {
            own.push(one);
        }
        self.turn.fetch_add(1, Ordering::Release);
    }

    /// What waits for that worker, oldest first, if anything came since the turn that it has `seen`.
    pub(super) fn take(&self, worker: usize, seen: &mut u64) -> Vec<Move> {
        let turn = self.turn.load(Ordering::Acquire);
        if turn == *seen {
            return Vec::new();
        }
        *seen = turn;
        let mut waiting = self.waiting();
        waiting
            .get_mut(worker)
            .map(core::mem::take)
            .unwrap_or_default()
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Vec<Move>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn each_worker_takes_its_own_moves_once_and_in_their_order() {
        let moving = Moving::default();
        let mut seen = [0; 2];
        assert!(moving.take(0, &mut seen[0]).is_empty());
        for last in [2, 3] {
            let address = Some(Ipv4Addr::new(127, 0, 77, last));
            let mouths = Mouth::open_shared(address, None, 2).expect("loopback");
            let moves = mouths.into_iter().map(|mouth| Move {
                mouth,
                families: [true, false],
            });
            moving.put(moves.collect());
        }
        for (worker, seen) in seen.iter_mut().enumerate() {
            let own = moving.take(worker, seen);
            let at: Vec<String> = own.iter().map(|one| format!("{:?}", one.mouth)).collect();
            assert_eq!(own.len(), 2);
            assert!(
                at[0].contains("127.0.77.2") && at[1].contains("127.0.77.3"),
                "{at:?}"
            );
            assert!(moving.take(worker, seen).is_empty());
        }
    }
}
