//! The end of a world: whatever still moves or is held ends there, counted, and the accounts must then balance.
//!
//! Links, nodes and hosts each keep their own; here they are added up over the whole world. A packet that
//! nobody counted, or two did, stops the run with both sums.

use anyedge_net::drop_reason::{DropCounts, DropReason};

use super::{Happening, World};
use crate::link::Link;

impl World {
    /// Ends the world: what is on the wire or in a host's queue ends here, counted, and every packet ever
    /// made must then be accounted for.
    ///
    /// # Panics
    /// When one is not: that is a bug of the simulator or of a forwarder.
    pub(crate) fn close(&mut self) {
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
