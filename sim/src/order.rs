//! The total order of events: (time, kind, source name, the source's own counter).
//!
//! Sources are links, hosts and nodes, ranked by name, so that adding one changes nobody else's order.
//! Kind, rank and counter are packed into one 64-bit tie-breaker, compared after the time.

/// What happens, in the order in which simultaneous events happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The scenario: faults, catchment changes, the end of the load.
    Scenario = 0,
    /// A packet arrives over a link.
    Delivery = 1,
    /// A forwarder's deadline.
    NodeTimer = 2,
    /// A host's transport deadline.
    FlowTimer = 3,
    /// A service's timer.
    Wake = 4,
}

const RANK_BITS: u32 = 20;
const COUNTER_BITS: u32 = 40;
/// Sources at most: what the rank's bits hold.
pub(crate) const SOURCES_MAX: usize = 1 << RANK_BITS;

/// One source of events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    rank: u32,
    counter: u64,
}

impl Source {
    /// The source whose name has this rank among all names.
    ///
    /// # Panics
    /// When there are more sources than [`SOURCES_MAX`]; the world's builder refuses such a topology.
    pub(crate) fn new(rank: usize) -> Source {
        assert!(
            rank < SOURCES_MAX,
            "the builder bounds the number of sources"
        );
        Source {
            rank: rank as u32,
            counter: 0,
        }
    }

    pub(crate) const fn rank(&self) -> u32 {
        self.rank
    }

    /// The tie-breaker of this source's next event.
    pub(crate) fn next(&mut self, kind: Kind) -> u64 {
        self.counter += 1;
        debug_assert!(
            self.counter < 1 << COUNTER_BITS,
            "2^40 events of one source are years of work"
        );
        ((kind as u64) << (RANK_BITS + COUNTER_BITS))
            | (u64::from(self.rank) << COUNTER_BITS)
            | self.counter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_compare_by_kind_then_source_then_counter() {
        let (mut first, mut second) = (Source::new(1), Source::new(2));
        let early = second.next(Kind::Delivery);
        let a = first.next(Kind::Delivery);
        let b = first.next(Kind::Delivery);
        let timer = first.next(Kind::NodeTimer);
        assert!(a < b && b < early && early < timer);
    }
}
