//! The ground floor of anyedge: what every other crate is written in.
//!
//! Two contracts live here. [`forwarder::Forwarder`] is the fast path: a pure state machine that takes
//! packets and the time and gives packets, events and drop reasons. [`host::Host`] is everything else: an
//! async service's view of the machine it runs on. Both are driven by the simulator and by the real world
//! alike, so nothing in this crate reads a clock, opens a socket, starts a thread or asks the operating
//! system for randomness (clippy.toml bans it).
//!
//! Around them: packets on loan from a [`packet::Pool`], wire views and in-place rewriting ([`wire`]),
//! flows and slots ([`flow`], [`slot`]), and the immutable [`route_table::RouteTable`].

pub mod checksum;
pub mod drop_reason;
pub mod event;
pub mod fetch;
pub mod flow;
pub mod forwarder;
pub mod host;
pub mod id;
pub mod ledger;
pub mod link;
pub mod maglev;
pub mod outbox;
pub mod packet;
pub mod port;
pub mod rng;
pub mod route_table;
pub mod security_group;
mod siphash;
pub mod slot;
pub mod switch;
pub mod time;
pub mod token_bucket;
pub mod wire;
