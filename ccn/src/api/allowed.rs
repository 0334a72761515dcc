//! Which roles may call what: three sets, one for each thing that can be done.

use tonic::{Request, Status};

use super::refused::refused;
use crate::rpc::{Peer, Role};
use crate::table::refusal::Reason;

/// Who may look: everybody who is known.
pub(super) const READERS: &[Role] = &[Role::ReadOnly, Role::Node];
/// Who may have secrets and tell what became of the table.
pub(super) const NODES: &[Role] = &[Role::Node];
/// Who may change things: an operator, whom every set includes.
pub(super) const WRITERS: &[Role] = &[];

/// What `request` asks, if its sender is among `roles`.
///
/// # Errors
/// `PERMISSION_DENIED` otherwise.
pub(super) fn allowed<T>(request: Request<T>, roles: &[Role]) -> Result<T, Status> {
    let done = Peer::of(&request)?.require(roles);
    done.map_err(|status| refused(&Reason::Unauthorized.because(status.message())))?;
    Ok(request.into_inner())
}
