//! The trace digest: one 64-bit number that stands for everything that happened in a run.
//!
//! It is a fold, in event order, over every packet delivery (time, link, headers, length; with
//! [`Cover::Full`] the payload too) and every typed event of every node. One nanosecond, one byte or one
//! swapped pair changes it. Bytes are hashed with XXH3, whose output is specified; the running value is
//! its seed, which makes the fold depend on order.

use core::hash::{Hash, Hasher};

use anyedge_net::event::Event;
use anyedge_net::time::Instant;
use anyedge_net::wire::outer::header_bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How much of each packet the digest covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cover {
    /// All headers, from the outermost to the transport header, and the length.
    #[default]
    Headers,
    /// Every byte.
    Full,
}

/// A change to what the digest is told, for tests that it notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Perturbation {
    /// The delivery that it changes, counted from 0.
    pub delivery: u64,
    /// How.
    pub change: Change,
}

/// How a delivery is changed before the digest sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// One nanosecond later.
    Nanosecond,
    /// One byte longer.
    Byte,
    /// After the delivery that follows it.
    Swap,
}

/// The running digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TraceDigest {
    state: u64,
    cover: Cover,
    deliveries: u64,
    perturbation: Option<Perturbation>,
    held_back: Option<(Instant, u32, Vec<u8>)>,
}

impl TraceDigest {
    /// The digest of a run in which nothing happened yet.
    pub const fn new(cover: Cover) -> TraceDigest {
        TraceDigest {
            state: 0x616e_7965_6467_6531,
            cover,
            deliveries: 0,
            perturbation: None,
            held_back: None,
        }
    }

    pub(crate) fn perturbed(self, perturbation: Option<Perturbation>) -> TraceDigest {
        TraceDigest {
            perturbation,
            ..self
        }
    }

    /// `link` delivered `packet` at `at`.
    pub fn delivery(&mut self, at: Instant, link: u32, packet: &[u8]) {
        self.deliveries += 1;
        match self.perturbation {
            None => self.fold(at, link, packet),
            Some(perturbation) => self.perturb(perturbation, at, link, packet),
        }
    }

    #[cold]
    fn perturb(&mut self, perturbation: Perturbation, at: Instant, link: u32, packet: &[u8]) {
        if self.deliveries != perturbation.delivery + 1 {
            self.fold(at, link, packet);
            if let Some((at, link, packet)) = self.held_back.take() {
                self.fold(at, link, &packet);
            }
            return;
        }
        match perturbation.change {
            Change::Nanosecond => self.fold(Instant::from_nanos(at.as_nanos() + 1), link, packet),
            Change::Byte => self.fold(at, link, &[packet, &[0]].concat()),
            Change::Swap => self.held_back = Some((at, link, packet.to_vec())),
        }
    }

    #[inline(always)]
    fn fold(&mut self, at: Instant, link: u32, packet: &[u8]) {
        let covered = match self.cover {
            Cover::Headers => header_bytes(packet),
            Cover::Full => packet.len(),
        };
        let place = (u64::from(link) << 32) | packet.len() as u64;
        self.state = xxh3_64_with_seed(
            &packet[..covered],
            mix(mix(self.state, at.as_nanos()), place),
        );
    }

    /// The node ranked `node` told `event` at `at`.
    pub fn event(&mut self, at: Instant, node: u32, event: &Event) {
        self.state = mix(mix(self.state, at.as_nanos()), u64::from(node));
        event.hash(&mut Fold(&mut self.state));
    }

    /// The value so far.
    pub const fn value(&self) -> u64 {
        self.state
    }
}

/// Multiply and fold: each input bit reaches all output bits, and order matters.
fn mix(state: u64, value: u64) -> u64 {
    let product =
        u128::from(state ^ 0x9e37_79b9_7f4a_7c15) * u128::from((value ^ 0xe703_7ed1_a0b4_28db) | 1);
    (product as u64) ^ ((product >> 64) as u64) ^ value.rotate_left(32)
}

struct Fold<'a>(&'a mut u64);

impl Hasher for Fold<'_> {
    fn write(&mut self, bytes: &[u8]) {
        *self.0 = xxh3_64_with_seed(bytes, *self.0);
    }

    fn finish(&self) -> u64 {
        *self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyedge_net::id::Revision;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn digest(of: &[(u64, u32, &[u8])]) -> u64 {
        let mut digest = TraceDigest::new(Cover::Full);
        for (time, link, packet) in of {
            digest.delivery(at(*time), *link, packet);
        }
        digest.value()
    }

    #[test]
    fn one_nanosecond_one_byte_one_link_or_a_swapped_pair_changes_it() {
        let (a, b) = ((100, 1, &b"abcd"[..]), (200, 2, &b"wxyz"[..]));
        let base = digest(&[a, b]);
        assert_eq!(base, digest(&[a, b]));
        for other in [
            [(101, 1, &b"abcd"[..]), b],
            [(100, 2, &b"abcd"[..]), b],
            [(100, 1, &b"abce"[..]), b],
            [(100, 1, &b"abc"[..]), b],
            [b, a],
            [(200, 1, &b"abcd"[..]), (100, 2, &b"wxyz"[..])],
        ] {
            assert_ne!(base, digest(&other));
        }
    }

    #[test]
    fn a_length_counts_even_where_the_bytes_are_not_covered() {
        let mut short = TraceDigest::new(Cover::Headers);
        let mut long = short.clone();
        short.delivery(at(1), 1, &[0; 100]);
        long.delivery(at(1), 1, &[0; 101]);
        assert_ne!(short.value(), long.value());
    }

    #[test]
    fn events_count_with_their_time_node_and_content() {
        let value = |time, node, revision| {
            let mut digest = TraceDigest::new(Cover::Headers);
            digest.event(at(time), node, &Event::TableApplied(Revision(revision)));
            digest.value()
        };
        let base = value(1, 1, 1);
        assert!(
            [value(2, 1, 1), value(1, 2, 1), value(1, 1, 2)]
                .iter()
                .all(|other| *other != base)
        );
    }
}
