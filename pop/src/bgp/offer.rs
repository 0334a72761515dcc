//! Offers: what a speaker wants a peer to know of a prefix, and how it says that it is about to leave.

use std::collections::BTreeSet;

/// The community that asks to prefer any other way (RFC 8326): 65535:0.
pub const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;
/// The most communities of an offer.
pub const COMMUNITIES_MAX: usize = 256;
/// The most times that our AS is put before a path beyond the first.
pub const PREPEND_MAX: u8 = 32;

/// How a prefix is announced. Its next hop is the session's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Offer {
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// How many times more than once our AS stands in the path, at most [`PREPEND_MAX`]; not to a peer of our AS.
    pub prepend: u8,
    /// COMMUNITIES, at most [`COMMUNITIES_MAX`], of which the lowest are sent.
    pub communities: BTreeSet<u32>,
}

impl Offer {
    /// The same with [`GRACEFUL_SHUTDOWN`]: still reachable, and about to go.
    #[must_use]
    pub fn draining(&self) -> Offer {
        let mut offer = self.clone();
        offer.communities.insert(GRACEFUL_SHUTDOWN);
        offer
    }
}
