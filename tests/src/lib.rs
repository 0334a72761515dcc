//! What the end-to-end tests share: the built command, the measured data, hostile captures, the promises of
//! every host, of gRPC and BGP over it and of the API, groups of controllers in one process or as processes and what they stand on, a large table and
//! a node that has it, traces that both worlds play, labs, who floods them and who knocks at their doors, and how a story is played.

pub mod api;
pub mod bfd;
pub mod bgp;
pub mod binary;
pub mod busy_node;
pub mod captures;
pub mod chromium;
pub mod conformance;
pub mod controllers;
pub mod dataset;
pub mod floods;
pub mod ground;
pub mod guarded;
pub mod keepers;
pub mod knocks;
pub mod labs;
pub mod large_table;
pub mod linearizability;
pub mod processes;
pub mod rpc;
pub mod story;
pub mod trace;
pub mod two_machines;
