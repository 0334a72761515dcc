//! How a listener tells its targets who the client is, beside the source address of packets.
//!
//! A target here sees the client's own address already. It may stand behind something that hides it, or run software
//! that asks for one of these ways: an option of TCP, or a header in front of the stream.

use crate::wire::proxy::ProxyProtocol;
use crate::wire::toa::Toa;

/// The ways that are on; by default none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct SourceTold {
    /// As an option of the first segments.
    pub toa: Option<Toa>,
    /// As a header in front of the client's data.
    pub proxy: Option<ProxyProtocol>,
}
