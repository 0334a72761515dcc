//! BFD (RFC 5880, RFC 5881): whether the neighbour is there, known within a few packets.
//!
//! [`Session`] is asynchronous mode over a single hop as a pure state machine; [`speaker::run`] drives the sessions of
//! a machine over a [`Host`](anyedge_net::host::Host). BGP sessions end with BFD Down when theirs does (RFC 5882), long
//! before a hold time. Echo, demand mode of our own and authentication are not there.

pub mod session;
pub mod speaker;

pub use anyedge_net::wire::bfd::{Diagnostic, Packet, State};
pub use session::{Config, Event, Session};

/// Where control packets go (RFC 5881 §4).
pub const PORT: u16 = 3_784;
/// The TTL that they are sent with, and without which none is believed (RFC 5881 §5, RFC 5082).
pub const TTL: u8 = 255;
