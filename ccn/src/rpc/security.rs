//! How two ends of a connection know each other.
//!
//! Plain connections know nobody: a server gives all their calls one role. They are for tests, and for
//! listeners that only this machine reaches.

use super::peer::Role;

/// What a server asks of its clients.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ServerSecurity {
    /// Nothing: every caller has this role.
    Plain(Role),
}

/// What a client shows and expects.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientSecurity {
    /// Nothing.
    Plain,
}
