//! Who is at the other end of a connection, and what that allows.
//!
//! A server puts a [`Peer`] among the extensions of every request; a service asks it for the role that a call
//! needs. An operator may do everything, a node may follow and report, a reader may look.

use core::net::SocketAddr;

use tonic::Status;

/// What a caller may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Look at what is no secret.
    ReadOnly,
    /// Follow the table and carry tunnels, as a node of the network; controllers among each other too.
    Node,
    /// Everything.
    Operator,
}

impl Role {
    /// As certificates and messages write it.
    pub const fn name(self) -> &'static str {
        match self {
            Role::ReadOnly => "read-only",
            Role::Node => "node",
            Role::Operator => "operator",
        }
    }

    /// The role that is written so.
    pub fn of_name(name: &str) -> Option<Role> {
        [Role::ReadOnly, Role::Node, Role::Operator]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// The other end of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Where it calls from.
    pub address: SocketAddr,
    /// The name in its certificate; none without TLS.
    pub name: Option<String>,
    /// What it may do.
    pub role: Role,
}

impl Peer {
    /// The peer that sent `request`.
    ///
    /// # Errors
    /// When no server of this crate received the request.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<&Peer, Status> {
        let peer = request.extensions().get();
        peer.ok_or_else(|| Status::internal("a request without a peer"))
    }

    /// Nothing, if this peer may do what one of `roles` may; an operator always may.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` otherwise.
    pub fn require(&self, roles: &[Role]) -> Result<(), Status> {
        if self.role == Role::Operator || roles.contains(&self.role) {
            return Ok(());
        }
        let needed = roles.first().unwrap_or(&Role::Operator).name();
        let has = self.role.name();
        Err(Status::permission_denied(format!(
            "needs the role {needed}, not {has}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_may_everything_others_only_what_names_them() {
        let peer = |role| Peer {
            address: ([127, 0, 0, 1], 1).into(),
            name: None,
            role,
        };
        assert!(peer(Role::Operator).require(&[]).is_ok());
        assert!(
            peer(Role::Node)
                .require(&[Role::ReadOnly, Role::Node])
                .is_ok()
        );
        let refused = peer(Role::Node).require(&[]).expect_err("not an operator");
        assert_eq!(refused.code(), tonic::Code::PermissionDenied);
        assert_eq!(refused.message(), "needs the role operator, not node");
        assert!(peer(Role::ReadOnly).require(&[Role::Node]).is_err());
    }

    #[test]
    fn roles_are_read_as_they_are_written() {
        for role in [Role::ReadOnly, Role::Node, Role::Operator] {
            assert_eq!(Role::of_name(role.name()), Some(role));
        }
        assert_eq!(Role::of_name("root"), None);
    }
}
