//! What the end-to-end tests share: the built command, the measured data, hostile captures, the promises of
//! every host, traces that both worlds play, and how a story is played.

pub mod binary;
pub mod captures;
pub mod conformance;
pub mod dataset;
pub mod story;
pub mod trace;
