//! The deterministic world: a topology in virtual time, with the forwarders and services that run live.
//!
//! [`run::run`] builds a world from a topology, lets everything in it happen in one total order, and gives
//! a [`report::Report`]. Same topology, seed and version: same trace digest, in debug and release, in every
//! process. Life of a packet here: a client's [`stack`] sends it, the Internet's catchment picks a link, the
//! link says when it arrives, a node's forwarder says where it goes next, until a host takes it or somebody
//! drops it for a counted reason.

mod budget;
mod build;
mod clock;
mod control;
pub mod digest;
pub mod disk;
mod egress;
pub mod executor;
pub mod explain;
mod findings;
pub mod host;
mod internet;
mod link;
mod lookup;
mod management;
mod node;
mod one_thread;
mod order;
pub mod pair;
mod peerings;
mod queue;
pub mod replay;
pub mod report;
pub mod run;
mod scenario;
pub mod services;
pub mod stack;
mod steward;
mod streams;
mod tally;
mod timeline;
mod underlay;
mod verdict;
pub mod watch;
mod world;

pub use build::BuildError;
