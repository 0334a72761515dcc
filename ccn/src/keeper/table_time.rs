//! The table's time: what a leader stamps into commands.
//!
//! Clocks of processes have different origins, so a leader goes on from the time that its table has come to, and adds
//! what its own clock has advanced since its term began. Between two leaders the table's time stands still. That makes
//! what is due come late, never early: a slot moves no sooner than it may.
//!
//! Invariant: stamps of one member never go back, and none is earlier than its table's time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyedge_net::host::Host;
use anyedge_net::time::Instant;

use crate::controller::Controller;
use crate::table::Table;

/// The time of one member's stamps. Clones give the same.
#[derive(Clone, Default, Debug)]
pub struct TableTime(Arc<Mutex<Since>>);

/// Where the time of a term is counted from.
#[derive(Clone, Copy, Default, Debug)]
struct Since {
    term: u64,
    /// By the member's own clock.
    clock: Instant,
    /// By the table.
    at: Instant,
}

impl TableTime {
    /// Counts from the first stamp on.
    pub fn new() -> TableTime {
        TableTime::default()
    }

    /// The time for a command that `controller` is to propose now, with its `host`'s clock.
    pub fn stamp<H: Host>(&self, host: &H, controller: &Controller<Table>) -> Instant {
        let term = controller.with_status(|status| status.term);
        self.at(term, controller.read(Table::at), host.now())
    }

    /// The time in `term` of a table that has come to `table`, when the member's clock says `clock`.
    fn at(&self, term: u64, table: Instant, clock: Instant) -> Instant {
        let mut since = self.locked();
        let last = since.at + clock.since(since.clock);
        if since.term != term {
            *since = Since {
                term,
                clock,
                // What this member stamped before may be in the log and not yet in its table.
                at: since.at.max(table),
            };
        } else if table > last {
            // Of an earlier leader, applied only now.
            since.clock = clock;
            since.at = table;
        } else {
            since.clock = since.clock.max(clock);
            since.at = last;
        }
        since.at
    }

    fn locked(&self) -> MutexGuard<'_, Since> {
        // Nothing in here runs foreign code.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_leader_goes_on_from_its_tables_time_by_its_own_clock() {
        let time = TableTime::new();
        assert_eq!(time.at(3, at(1_000), at(7)), at(1_000));
        assert_eq!(time.at(3, at(1_000), at(9)), at(1_002));
        assert_eq!(time.at(3, at(1_002), at(12)), at(1_005));
    }

    #[test]
    fn what_an_earlier_leader_stamped_and_is_applied_late_is_not_undercut() {
        let time = TableTime::new();
        assert_eq!(time.at(3, at(1_000), at(7)), at(1_000));
        assert_eq!(time.at(3, at(1_500), at(8)), at(1_500));
        assert_eq!(time.at(3, at(1_500), at(10)), at(1_502));
    }

    #[test]
    fn a_new_term_counts_nothing_of_the_time_between_and_never_goes_back() {
        let time = TableTime::new();
        assert_eq!(time.at(3, at(100), at(7)), at(100));
        assert_eq!(time.at(3, at(100), at(17)), at(110));
        assert_eq!(time.at(5, at(104), at(900)), at(110));
        assert_eq!(time.at(6, at(300), at(901)), at(300));
    }

    #[test]
    fn a_clock_that_jumps_back_stops_the_time_until_it_is_there_again() {
        let time = TableTime::new();
        assert_eq!(time.at(3, at(100), at(50)), at(100));
        assert_eq!(time.at(3, at(100), at(20)), at(100));
        assert_eq!(time.at(3, at(100), at(51)), at(101));
    }
}
