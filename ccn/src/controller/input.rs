//! What comes to a controller's engine, and what it answers.

use core::fmt;
use core::net::SocketAddr;

use anyedge_proto::raft::Message;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::raft::{Place, Refused};

/// Where the answer to a question goes.
pub(super) type Answer<T> = oneshot::Sender<Result<T, Failure>>;

/// Anything that the engine waits for, but time and its disk.
#[derive(Debug)]
pub(super) enum Input {
    Message(Box<Message>),
    Unreachable(u64),
    SnapshotSent(u64, bool),
    Question(Question),
}

/// Something that waits for an answer.
#[derive(Debug)]
pub(super) enum Question {
    Propose(Bytes, Answer<Applied>),
    Address(u64, Option<SocketAddr>, Answer<Applied>),
    Change((Vec<u64>, Vec<u64>), Answer<Applied>),
    Read(Answer<u64>),
    Transfer(u64, Answer<()>),
}

/// A command that was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// Where in the log it stands.
    pub place: Place,
    /// What the state machine answered.
    pub answer: Bytes,
}

/// Who leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leader {
    /// Its number.
    pub id: u64,
    /// Where it is, if that is known.
    pub address: Option<SocketAddr>,
}

/// Why something was not done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// This member does not lead: ask who does, if anybody is known to.
    NotLeader(Option<Leader>),
    /// Too much waits, or something of the kind is under way.
    Busy,
    /// A command may not be so large.
    TooLarge,
    /// What was asked makes no sense.
    Unsound,
    /// It was overwritten by another leader's.
    Lost,
    /// Leadership or this member ended meanwhile: nobody here knows what becomes of it.
    Unknown,
    /// This member has stopped.
    Stopped,
}

impl Failure {
    pub(super) fn of(refused: Refused, leader: Option<Leader>) -> Failure {
        match refused {
            Refused::NotLeader => Failure::NotLeader(leader),
            Refused::Busy => Failure::Busy,
            Refused::TooLarge => Failure::TooLarge,
            Refused::NoVoters | Refused::Unsound | Refused::Message(_) => Failure::Unsound,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotLeader(Some(leader)) => write!(f, "member {} leads", leader.id),
            Failure::NotLeader(None) => write!(f, "nobody is known to lead"),
            Failure::Busy => write!(f, "too much is under way"),
            Failure::TooLarge => write!(f, "the command is too large"),
            Failure::Unsound => write!(f, "that makes no sense"),
            Failure::Lost => write!(f, "another leader's command took its place"),
            Failure::Unknown => write!(f, "whether it was done is not known"),
            Failure::Stopped => write!(f, "this member has stopped"),
        }
    }
}

impl std::error::Error for Failure {}
