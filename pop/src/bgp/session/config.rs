//! What a session is set up with.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::bgp::Family;

/// What a session is between whom.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our AS.
    pub local_as: u32,
    /// Our BGP identifier, not zero.
    pub id: Ipv4Addr,
    /// The peer's AS. The same as ours: an internal session.
    pub peer_as: u32,
    /// Never to connect, only to listen.
    pub passive: bool,
    /// The hold time that we propose, in seconds: 0 for none, else at least 3.
    pub hold_seconds: u16,
    /// Between attempts to connect; doubled with each refusal, to 16 times at most.
    pub connect_retry: Duration,
    /// Families whose routes are exchanged.
    pub families: Vec<Family>,
    /// The next hop of IPv4 routes that we announce; without it none is announced.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// The next hop of IPv6 routes that we announce; without it none is announced.
    pub next_hop_v6: Option<Ipv6Addr>,
    /// LOCAL_PREF of what we announce to an internal peer.
    pub local_pref: u32,
    /// For how long the peer may keep our routes while we are away, in seconds. 0: not at all, as an anycast node
    /// must, since clients would go on coming to a node that is not there.
    pub restart_seconds: u16,
    /// We have just restarted (RFC 4724 §4.1).
    pub restarting: bool,
    /// The most prefixes that the peer may tell us.
    pub prefixes_max: usize,
}

impl Config {
    /// Both families, hold time 90 s, retry 5 s, 10,000 prefixes from the peer.
    pub fn new(local_as: u32, id: Ipv4Addr, peer_as: u32) -> Config {
        Config {
            local_as,
            id,
            peer_as,
            passive: false,
            hold_seconds: 90,
            connect_retry: Duration::from_secs(5),
            families: Family::ALL.to_vec(),
            next_hop_v4: None,
            next_hop_v6: None,
            local_pref: 100,
            restart_seconds: 0,
            restarting: false,
            prefixes_max: 10_000,
        }
    }

    pub(crate) const fn is_internal(&self) -> bool {
        self.local_as == self.peer_as
    }
}
