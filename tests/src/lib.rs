//! What the end-to-end tests share: the built command, the measured data, and the two worlds side by side.

pub mod binary;
pub mod dataset;
