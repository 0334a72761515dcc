//! gRPC over a `Host`: the same services, clients and bytes in the simulator and on the kernel.
//!
//! [`Server`] answers calls with the generated services of `proto`, [`Channel`] is what their generated
//! clients call through. Both speak HTTP/2 with the `h2` crate on the host's own streams, tasks and clock; no
//! clock of a library is left to differ between two runs. Everything that a peer can make us keep or wait for
//! is bounded by [`Limits`]. Who the peer is, and what it may do, is a [`Peer`]. See docs/rpc.md.

mod certificates;
mod channel;
mod deadline;
mod failure;
mod health;
mod incoming;
mod keepalive;
mod latest;
mod limits;
mod outgoing;
mod peer;
mod permits;
mod reflection;
pub(crate) mod refusals;
mod security;
mod server;
mod stream_io;
mod tls;

use core::time::Duration;

pub use certificates::{Authority, CertificateError, Identity, Issued};
pub use channel::Channel;
pub(crate) use deadline::until;
pub use health::{HealthBook, HealthService};
pub use incoming::Incoming;
pub use latest::{Latest, LatestReader};
pub use limits::Limits;
pub use peer::{Peer, Role};
pub use reflection::ReflectionService;
pub use refusals::Refusals;
pub use security::{ClientSecurity, ServerSecurity};
pub use server::{Server, ServerCounts, Strangers};
pub use tls::Tls;
pub(crate) use tls::shown;

/// `h2` forgets streams that it reset by the wall clock. Never, as far as a run can tell: a bounded number of
/// them is remembered instead.
const RESET_REMEMBERED: Duration = Duration::from_secs(1 << 30);
/// That number, for one connection.
const RESETS_REMEMBERED_MAX: usize = 256;
