//! What the end-to-end tests share: the built command, the measured data, hostile captures, the promises of
//! every host, and traces that both worlds play.

pub mod binary;
pub mod captures;
pub mod conformance;
pub mod dataset;
pub mod trace;
