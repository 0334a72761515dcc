//! What every link has besides its two ends: rate, MTU, jitter, loss, queue.
//!
//! The three kinds of link (public, CCN, region to host) share these figures and differ in their defaults.
//! All hold per direction.

use std::time::Duration;

use anyedge_net::link::{LinkSpec, Loss, Wear};

use crate::loss;
use crate::reader::Reader;
use crate::units;

/// Properties of a link in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Bits per second; 0 for a link that never serialises or queues.
    pub rate_bps: u64,
    /// Largest IP packet in bytes.
    pub mtu_bytes: u32,
    /// Upper bound of the extra one-way delay that a packet may meet.
    pub jitter: Duration,
    /// How packets are lost.
    pub loss: Loss,
    /// Bytes that may wait for the link; a packet beyond is dropped.
    pub queue_bytes_max: u64,
}

/// What the five figures are called in a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LineKeys {
    rate: &'static str,
    mtu: &'static str,
    jitter: &'static str,
    loss: &'static str,
    queue: &'static str,
    mtu_min: u64,
}

/// Keys of a link of its own: CCN and region to host. A tunnel's outer packet has to fit, so 1,500 at least.
pub(crate) const OWN: LineKeys = LineKeys {
    rate: "rate",
    mtu: "mtu",
    jitter: "jitter",
    loss: "loss",
    queue: "queue",
    mtu_min: 1_500,
};
/// The same keys where they speak of the public Internet: IPv6 needs 1,280 (RFC 8200 section 5).
pub(crate) const PUBLIC: LineKeys = LineKeys {
    mtu_min: 1_280,
    ..OWN
};
/// Keys in a client's table.
pub(crate) const CLIENT: LineKeys = LineKeys {
    rate: "public_rate",
    mtu: "public_mtu",
    jitter: "public_jitter",
    loss: "public_loss",
    queue: "public_queue",
    mtu_min: 1_280,
};

impl Line {
    /// Unlimited rate, MTU 1,500, no jitter, no loss, a queue of 4 MiB.
    pub const UNLIMITED: Self = Self {
        rate_bps: 0,
        mtu_bytes: 1_500,
        jitter: Duration::ZERO,
        loss: Loss::NONE,
        queue_bytes_max: 4 << 20,
    };

    /// One direction of a link of this kind, whose ends are `rtt` apart.
    #[must_use]
    pub fn spec(&self, name: String, rtt: Duration) -> LinkSpec {
        LinkSpec {
            name,
            rate_bps: self.rate_bps,
            delay: rtt / 2,
            jitter: self.jitter,
            loss: self.loss,
            queue_bytes_max: self.queue_bytes_max,
            mtu: self.mtu_bytes as usize,
            wear: Wear::NONE,
        }
    }

    /// Reads the figures that are there; the others are `base`'s.
    pub(crate) fn read(reader: &mut Reader<'_>, base: Line, keys: LineKeys) -> Line {
        let mtu = reader.integer(keys.mtu, keys.mtu_min..=9_216);
        Line {
            rate_bps: reader
                .parse(keys.rate, "\"10Gbps\"", units::bits_per_second)
                .unwrap_or(base.rate_bps),
            mtu_bytes: mtu
                .and_then(|mtu| u32::try_from(mtu).ok())
                .unwrap_or(base.mtu_bytes),
            jitter: reader
                .parse(keys.jitter, "\"0.2ms\"", units::duration)
                .unwrap_or(base.jitter),
            loss: loss::read(reader, keys.loss, "\"0.001%\"").unwrap_or(base.loss),
            queue_bytes_max: reader
                .parse(keys.queue, "\"4MiB\"", queue)
                .unwrap_or(base.queue_bytes_max),
        }
    }
}

/// A queue holds at least one large packet.
fn queue(text: &str) -> Result<u64, crate::diagnostic::Wrong> {
    match units::bytes(text)? {
        small if small < 9_216 => Err(crate::diagnostic::Wrong::new(
            format!("\"{text}\" holds less than one large packet"),
            "at least \"9216B\"",
        )),
        bytes => Ok(bytes),
    }
}
