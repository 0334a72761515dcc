//! How two ends of a connection know each other.
//!
//! Plain connections know nobody: a server gives all their calls one role. They are for tests, and for
//! listeners that only this machine reaches.

use super::peer::Role;
use super::tls::Tls;

/// What a server asks of its clients.
#[derive(Clone, Debug)]
pub enum ServerSecurity {
    /// Nothing: every caller has this role.
    Plain(Role),
    /// A certificate, which says who they are.
    Tls(Tls),
}

/// What a client shows and expects.
#[derive(Clone, Debug)]
pub enum ClientSecurity {
    /// Nothing.
    Plain,
    /// Both ends show certificates.
    Tls {
        /// The client's own, and whom it trusts.
        tls: Tls,
        /// The name that the server's certificate must have.
        server: String,
    },
}
