//! What the end-to-end tests share: the built command, the measured data, and hostile captures.

pub mod binary;
pub mod captures;
pub mod dataset;
