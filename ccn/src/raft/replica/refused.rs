//! What a replica answers at once, and the bugs that tests may plant.

use super::super::message::Unsound;

/// A place of the log and the term of the leader who filled it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// Counted from 1.
    pub index: u64,
    /// The leader's term.
    pub term: u64,
}

/// Why a request is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Another replica leads, or nobody does: see [`Replica::leadership`](super::Replica::leadership).
    NotLeader,
    /// Later: too much waits, or something of the kind is under way.
    Busy,
    /// An entry may not be so large.
    TooLarge,
    /// The change would leave nobody who votes, or too many members, or is none.
    NoVoters,
    /// What was asked or recovered makes no sense.
    Unsound,
    /// A message that no correct peer sends.
    Message(Unsound),
}

/// A mistake that the search for unsafe runs has to find.
#[cfg(feature = "planted-bugs")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    /// Messages leave, and entries count, before they are durable.
    AnswerBeforeSync,
    /// The vote is not written.
    ForgetVote,
    /// A leader answers reads without asking whether it still leads.
    SkipReadIndex,
}
