//! How a link gets worse; what is absent stays as it was.

use core::time::Duration;

use super::Loss;

/// How a link gets worse for a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// How packets are lost.
    pub loss: Option<Loss>,
    /// One-way delay on top of the link's own.
    pub delay: Option<Duration>,
    /// Upper bound of the extra one-way delay that a packet may meet.
    pub jitter: Option<Duration>,
    /// Bits per second; 0 never serialises.
    pub rate_bps: Option<u64>,
    /// That a packet is overtaken by later ones, in millionths.
    pub reorder_ppm: Option<u32>,
    /// That a packet arrives twice, in millionths.
    pub duplicate_ppm: Option<u32>,
    /// That a packet arrives with a bit changed, in millionths.
    pub corrupt_ppm: Option<u32>,
    /// Largest IP packet in bytes.
    pub mtu: Option<usize>,
}
