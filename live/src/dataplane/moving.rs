//! Moving: tunnel sockets on other addresses, for a data plane that goes on.
//!
//! A table may give a node other tunnel addresses. Whoever makes route tables opens sockets on them first, so that a table
//! whose addresses the machine has not got changes nothing; they come with it, and take the place of the old ones before it
//! is in force. What has come to the old ones and was not read is lost.

use super::mouth::Mouth;

/// Sockets of one ground that take the place of those that it has.
#[derive(Debug)]
pub struct Move {
    /// What it gets, of the families that move.
    pub mouth: Mouth,
    /// Whether IPv4 and IPv6 move.
    pub families: [bool; 2],
}
