//! What the end-to-end tests share: the built command, the measured data, hostile captures, and the promises of
//! every host.

pub mod binary;
pub mod captures;
pub mod conformance;
pub mod dataset;
