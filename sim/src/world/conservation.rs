//! The end of a world: whatever still moves or is held ends there, counted, and the accounts must then balance.
//!
//! Links, nodes and hosts each keep their own; here they are added up over the whole world. A packet that
//! nobody counted, or two did, stops the run with both sums.

use std::collections::BTreeMap;

use anyedge_net::drop_reason::{DropCounts, DropReason};
use anyedge_net::time::Instant;

use super::{Happening, World};
use crate::internet::SiteId;
use crate::link::Link;
use crate::timeline::{Passed, Standing};

impl World {
    /// Ends the world: what is on the wire or in a host's queue ends here, counted, and every packet ever
    /// made must then be accounted for.
    ///
    /// # Panics
    /// When one is not: that is a bug of the simulator or of a forwarder.
    pub(crate) fn close(&mut self) {
        let standing = self.standing();
        self.timeline.end(self.now, standing);
        let pending: Vec<Happening> = self.queue.drain().collect();
        for happening in pending {
            if let Happening::Delivery(link, outages, packet) = happening {
                let link = &mut self.links[link.index()];
                link.cut_off(if link.outages == outages {
                    DropReason::RunEnded
                } else {
                    DropReason::LinkDown
                });
                self.out.pool_mut().take_back(packet);
            }
        }
        for entry in &mut self.nodes {
            let reason = DropReason::RunEnded;
            entry
                .ledger
                .let_go(&mut entry.forwarder, reason, &mut self.out);
        }
        self.close_streams();
        for entry in &mut self.hosts {
            entry.crash(DropReason::RunEnded, self.out.pool_mut());
        }
        self.assert_conserved();
    }

    /// Drops of all kinds and places, by cause.
    pub(crate) fn drops(&self) -> DropCounts {
        let mut all = self.lost.clone();
        self.nodes
            .iter()
            .for_each(|node| all.merge(&node.ledger.dropped));
        self.links.iter().for_each(|link| all.merge(&link.dropped));
        self.hosts.iter().for_each(|host| all.merge(&host.dropped));
        all.merge(&self.streams.drops());
        all
    }

    /// Takes down how everything stands, for the intervals that are over by `at`.
    pub(super) fn sample(&mut self, at: Instant) {
        let standing = self.standing();
        self.timeline.sample(at, &standing);
    }

    fn standing(&self) -> Standing {
        let mut sites: BTreeMap<SiteId, Passed> = BTreeMap::new();
        let anycast = self.internet.populations().iter();
        for population in anycast.filter(|population| population.pinned.is_none()) {
            for (site, path) in &population.paths {
                let passed = sites.entry(*site).or_default();
                let [up, down] =
                    [path.to_site, path.to_clients].map(|link| &self.links[link.index()]);
                passed.packets += up.delivered;
                passed.from_clients_bytes += up.delivered_bytes;
                passed.to_clients_bytes += down.delivered_bytes;
            }
        }
        Standing {
            sites,
            drops: self.drops(),
        }
    }

    fn assert_conserved(&self) {
        self.links.iter().for_each(Link::assert_conserved);
        assert_eq!(self.out.pool().loaned(), 0, "a packet slot never came back");
        let originated: u64 = self.hosts.iter().map(|host| host.sent).sum::<u64>()
            + self
                .nodes
                .iter()
                .map(|node| node.ledger.originated)
                .sum::<u64>()
            + self.routers_sent;
        let doubled: u64 = self.links.iter().map(|link| link.doubled).sum();
        let delivered: u64 = self.hosts.iter().map(|host| host.received).sum();
        let (entered, left) = self
            .recorder
            .as_deref()
            .map_or((0, 0), |recorder| (recorder.entered, recorder.left));
        let dropped = self.drops().total();
        assert_eq!(
            originated + doubled + entered,
            delivered + left + dropped,
            "conservation of packets over the whole run"
        );
    }
}
