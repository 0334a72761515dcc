//! Raft: how controllers agree on one log of commands, whatever the network and their machines do.
//!
//! [`Replica`] is one member, a state machine around the `raft` crate: the time, messages and requests go in,
//! [`Work`] comes out, and nothing that must be durable first is told before it is. [`Store`] is the log on
//! disk. Who drives them (the controller's service, a test) moves messages, writes what is to be written and
//! applies what is committed. The protocol: Ongaro, "Consensus: Bridging Theory and Practice", 2014, with
//! pre-vote, check-quorum, read-index, leader transfer, learners and joint membership changes.
//!
//! Messages and entries are types of our own ([`anyedge_proto::raft`]), so that no parser of the `raft` crate
//! reads a byte from the network or the disk. See docs/raft.md.

mod config;
mod election_timeout;
mod log;
mod message;
mod replica;
mod store;
mod work;

pub use config::Config;
pub(crate) use message::MEMBERS_MAX;
pub use message::Unsound;
pub use replica::{Place, Refused, Replica};
pub use store::{Files, LOG_NAME, Recovered, Store, StoreError, founded, fresh, joining};
pub use work::{Apply, Kept, Leadership, Point, ReadTicket, Role, Work, Write};

#[cfg(feature = "planted-bugs")]
pub use replica::Planted;
