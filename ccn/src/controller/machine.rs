//! What a controller replicates.
//!
//! Every member applies the same commands at the same places, and must come to the same state: no clock, no
//! randomness, nothing but the state and the command decides. A command that is refused is applied too; its refusal
//! is its answer.

use core::fmt;

use anyedge_proto::table::v1::Delta;
use bytes::Bytes;

/// What applying a command came to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Effect {
    /// For whoever proposed it.
    pub answer: Bytes,
    /// For those who follow the state; `None` when nothing changed.
    pub delta: Option<Delta>,
}

/// A state and the commands that change it.
///
/// A clone is what snapshots are made of beside the one that goes on: it should cost far less than a snapshot.
pub trait StateMachine: Clone + Default + Send + 'static {
    /// Applies a command at a place of the log; places only grow.
    fn apply(&mut self, index: u64, command: &[u8]) -> Effect;

    /// The revision of the last delta: the place that made it, or 0.
    fn revision(&self) -> u64;

    /// The whole state.
    fn snapshot(&self) -> Vec<u8>;

    /// The whole state without its secrets, if it has any.
    fn backup(&self) -> Vec<u8> {
        self.snapshot()
    }

    /// Takes out of a delta what only nodes may know.
    fn hide_secrets(delta: &mut Delta) {
        let _ = delta;
    }

    /// The state that these bytes are a snapshot of.
    ///
    /// # Errors
    /// When they are none.
    fn restore(bytes: &[u8]) -> Result<Self, Unreadable>;
}

/// A snapshot that is none, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable(pub String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the snapshot cannot be read: {}", self.0)
    }
}

impl std::error::Error for Unreadable {}
