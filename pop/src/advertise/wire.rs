//! The wire between a POP and its router, and the sessions over it as either end has them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use super::Neighbour;
use crate::bfd;
use crate::bgp::Config;
use crate::bgp::speaker::{BGP_PORT, Peer};

/// One end of it. Sessions go over IPv4 where both ends have it.
#[derive(Clone, Debug)]
pub struct Wire {
    /// Our AS and the other end's.
    pub ases: [u32; 2],
    /// Our addresses, which are also the next hops of our routes.
    pub local: (Option<Ipv4Addr>, Option<Ipv6Addr>),
    /// The other end's.
    pub remote: (Option<Ipv4Addr>, Option<Ipv6Addr>),
    /// Our BGP identifier.
    pub id: Ipv4Addr,
    /// The hold time, in whole seconds.
    pub hold: Duration,
    /// The interval of BFD and how many packets may be missed; `None`: no BFD.
    pub bfd: Option<(Duration, u8)>,
}

impl Wire {
    /// The addresses of a session over it, ours first; `None` when the ends have no family in common.
    pub fn ends(&self) -> Option<[IpAddr; 2]> {
        let v4 = self.local.0.zip(self.remote.0);
        let v6 = self.local.1.zip(self.remote.1);
        let v4 = v4.map(|(own, other)| [own.into(), other.into()]);
        v4.or(v6.map(|(own, other)| [own.into(), other.into()]))
    }

    /// The neighbour at its other end, to which we connect.
    pub fn neighbour(&self) -> Option<Neighbour> {
        let [own, other] = self.ends()?;
        let [ours, theirs] = self.ases;
        let config = Config {
            hold_seconds: u16::try_from(self.hold.as_secs()).unwrap_or(u16::MAX),
            next_hop_v4: self.local.0,
            next_hop_v6: self.local.1,
            ..Config::new(ours, self.id, theirs)
        };
        let bfd = self.bfd.map(|(interval, detect_multiplier)| {
            let interval_us = u32::try_from(interval.as_micros()).unwrap_or(u32::MAX);
            let config = bfd::Config {
                desired_min_tx_us: interval_us,
                required_min_rx_us: interval_us,
                detect_multiplier,
            };
            (own, config)
        });
        Some(Neighbour {
            peer: Peer {
                config,
                remote: SocketAddr::new(other, BGP_PORT),
                local: Some(SocketAddr::new(own, 0)),
            },
            bfd,
        })
    }

    /// The same wire from the other end, whose identifier is `id`.
    #[must_use]
    pub fn reversed(&self, id: Ipv4Addr) -> Wire {
        let [ours, theirs] = self.ases;
        Wire {
            ases: [theirs, ours],
            local: self.remote,
            remote: self.local,
            id,
            ..self.clone()
        }
    }
}
