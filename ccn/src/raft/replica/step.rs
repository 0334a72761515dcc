//! Messages in: what contradicts this replica's own log is refused before the `raft` crate sees it.
//!
//! The crate ends the process when a peer claims what cannot be, such as another entry at a committed place. A
//! correct peer never does, and one that lost its disk or its mind must not take the others down.

use anyedge_proto::raft::Message;
use raft::eraftpb::{self, MessageType};

use super::super::message::{self, Unsound};
use super::super::work::ReadTicket;
use super::{Refused, Replica};

impl Replica {
    /// A message came.
    ///
    /// # Errors
    /// [`Refused::Message`] when no correct peer sends it; nothing has happened then.
    pub fn step(&mut self, message: Message) -> Result<(), Refused> {
        let message =
            message::message_of_raft(message, self.config.id).map_err(Refused::Message)?;
        self.check(&message).map_err(Refused::Message)?;
        let must_campaign = message.get_msg_type() == MessageType::MsgTimeoutNow;
        if must_campaign && self.cannot_campaign() {
            return Ok(());
        }
        // What remains is about peers that are no members any more.
        let stepped = self.node.step(message);
        self.draw_timeout();
        stepped.map_err(|_| Refused::Message(Unsound::Stranger))
    }

    fn check(&self, message: &eraftpb::Message) -> Result<(), Unsound> {
        if message.term < self.node.raft.term {
            // It is about logs of long ago; the crate makes nothing of it.
            return Ok(());
        }
        let log = &self.node.raft.raft_log;
        let last = log.last_index();
        let leads = self.must_lead().is_ok();
        let is_rival = leads && message.term == self.node.raft.term;
        let is_sound = match message.get_msg_type() {
            // A leader of this very term hears of no other.
            MessageType::MsgAppend => !is_rival,
            MessageType::MsgHeartbeat => message.commit <= last && !is_rival,
            MessageType::MsgSnapshot => {
                let at = message.get_snapshot().get_metadata();
                // It restores a state behind everything that is committed here, or is out of date.
                !is_rival && (at.index > log.committed || self.has(at.index, at.term))
            }
            MessageType::MsgAppendResponse => {
                let most = message.index.max(message.commit);
                // Who led until its machine crashed may have lost what it sent and others have.
                !leads || most.max(message.request_snapshot) <= last
            }
            MessageType::MsgHeartbeatResponse => !leads || message.commit <= last,
            _ => true,
        };
        is_sound.then_some(()).ok_or(Unsound::Contradiction)
    }

    /// Whether a committed place has this term, as far as can be known.
    fn has(&self, index: u64, term: u64) -> bool {
        let own = self.node.raft.raft_log.term(index);
        own.map_or(true, |own| own == term || own == 0)
    }
}

/// A name that no other read has, also none of an earlier life of this replica.
pub(super) fn read_context(id: u64, incarnation: u64, ticket: ReadTicket) -> Vec<u8> {
    [id, incarnation, ticket.0].map(u64::to_be_bytes).concat()
}

/// The ticket of a read of this life; `None` for others'.
pub(super) fn ticket_of(context: &[u8], id: u64, incarnation: u64) -> Option<ReadTicket> {
    let (own, ticket) = context.split_at_checked(16)?;
    let number = u64::from_be_bytes(ticket.try_into().ok()?);
    let ticket = ReadTicket(number);
    (own == &read_context(id, incarnation, ticket)[..16]).then_some(ticket)
}
