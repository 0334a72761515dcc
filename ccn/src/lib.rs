//! The backbone (CCN): how packets are wrapped on it, which path they take, and who writes the routes.
//!
//! POP, CLB node and vSwitch share this crate and otherwise know nothing of each other. [`tunnel`] wraps a
//! packet in GRE and takes it out again; [`exits`] is one node's choice among the paths that end at it, [`probe`]
//! watches those paths. [`table`] is what the control plane replicates; [`assemble`] turns it into the immutable
//! route table that all of them act upon, and [`author`] does both for whoever has no controllers. A
//! [`controller`] keeps what is replicated, by [`raft`] over [`rpc`], which [`carry`] takes packets through, as it does through QUIC;
//! [`keeper`] is what its leader does by itself, [`agent`] what a node runs, [`api`] how everybody asks it.

pub mod agent;
pub mod api;
pub mod assemble;
pub mod author;
pub mod carry;
pub mod controller;
pub mod exits;
pub mod follow;
pub mod keeper;
pub mod probe;
mod quic;
pub mod raft;
pub mod rpc;
pub mod table;
pub mod tunnel;

#[cfg(test)]
mod testbed;
