//! The conservation law, kept as accounts of one node.
//!
//! Drivers call a forwarder through its ledger. After each call it asserts
//! `in + originated = transmitted + delivered locally + dropped + change of held`, in release builds too,
//! and adds the call to the node's running totals. A packet that a forwarder forgot stops the run there.

use std::sync::Arc;

use crate::drop_reason::{DropCounts, DropReason};
use crate::forwarder::{BATCH_MAX, Forwarder, LocalEvent};
use crate::outbox::{Outbox, Tally};
use crate::packet::Packet;
use crate::route_table::RouteTable;
use crate::time::Instant;

/// Running totals of one node's packets.
#[derive(Clone, Default, Debug)]
pub struct Ledger {
    /// Packets that arrived.
    pub received: u64,
    /// Packets that the node made itself.
    pub originated: u64,
    /// Packets sent by a port.
    pub transmitted: u64,
    /// Packets handed to the node's host stack.
    pub delivered: u64,
    /// Packets dropped, by reason.
    pub dropped: DropCounts,
    held: usize,
}

impl Ledger {
    /// Hands `batch` to `forwarder`. The outbox must have been drained since the last call.
    pub fn packets(
        &mut self,
        forwarder: &mut impl Forwarder,
        now: Instant,
        batch: &mut Vec<Packet>,
        out: &mut Outbox,
    ) {
        let received = batch.len();
        debug_assert!(received <= BATCH_MAX, "a driver splits its batches");
        let before = out.tally();
        forwarder.handle_packets(now, batch, out);
        assert!(batch.is_empty(), "a forwarder takes its whole batch");
        self.settle(received, forwarder.held(), before, out);
    }

    /// Tells `forwarder` that a deadline has come.
    pub fn timeout(&mut self, forwarder: &mut impl Forwarder, now: Instant, out: &mut Outbox) {
        let before = out.tally();
        forwarder.handle_timeout(now, out);
        self.settle(0, forwarder.held(), before, out);
    }

    /// Tells `forwarder` what a service found out.
    pub fn event(
        &mut self,
        forwarder: &mut impl Forwarder,
        now: Instant,
        event: LocalEvent,
        out: &mut Outbox,
    ) {
        let before = out.tally();
        forwarder.handle_event(now, event, out);
        self.settle(0, forwarder.held(), before, out);
    }

    /// Puts a new route table in force.
    pub fn apply(
        &mut self,
        forwarder: &mut impl Forwarder,
        now: Instant,
        table: Arc<RouteTable>,
        out: &mut Outbox,
    ) {
        let before = out.tally();
        forwarder.apply(now, table, out);
        self.settle(0, forwarder.held(), before, out);
    }

    /// Ends what `forwarder` holds, for `reason`.
    pub fn let_go(&mut self, forwarder: &mut impl Forwarder, reason: DropReason, out: &mut Outbox) {
        let before = out.tally();
        forwarder.let_go(reason, out);
        self.settle(0, forwarder.held(), before, out);
    }

    #[inline]
    fn settle(&mut self, received: usize, held: usize, before: Tally, out: &mut Outbox) {
        let after = out.tally();
        let passed = Tally {
            transmitted: after.transmitted,
            ..before
        };
        // The most frequent of all: what came in went out, and nothing else happened.
        if after == passed
            && before.transmitted + received == after.transmitted
            && held == self.held
        {
            self.received += received as u64;
            self.transmitted += received as u64;
            return out.clear_counts();
        }
        self.settle_any(received, held, (before, after), out);
    }

    fn settle_any(
        &mut self,
        received: usize,
        held: usize,
        (before, after): (Tally, Tally),
        out: &mut Outbox,
    ) {
        let originated = after.originated - before.originated;
        let transmitted = after.transmitted - before.transmitted;
        let delivered = after.delivered - before.delivered;
        let dropped = after.dropped - before.dropped;
        assert_eq!(
            received + originated + self.held,
            transmitted + delivered + dropped + held,
            "conservation of packets: {received} in + {originated} originated + {} held before = \
             {transmitted} transmitted + {delivered} delivered + {dropped} dropped + {held} held",
            self.held,
        );
        self.received += received as u64;
        self.originated += originated as u64;
        self.transmitted += transmitted as u64;
        self.delivered += delivered as u64;
        for reason in &out.drops()[before.dropped..] {
            self.dropped.add(*reason);
        }
        self.held = held;
        out.clear_counts();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Meta, Pool};
    use crate::port::PortId;
    use crate::time::Deadline;

    /// Drops every packet, or keeps the last without saying so.
    struct Sink {
        forgets: bool,
        kept: Vec<Packet>,
    }

    impl Forwarder for Sink {
        fn handle_packets(&mut self, _now: Instant, batch: &mut Vec<Packet>, out: &mut Outbox) {
            if self.forgets {
                self.kept.extend(batch.pop());
            }
            for packet in batch.drain(..) {
                out.drop_packet(packet, DropReason::NoRoute);
            }
        }
        fn handle_timeout(&mut self, _now: Instant, _out: &mut Outbox) {}
        fn handle_event(&mut self, _now: Instant, _event: LocalEvent, _out: &mut Outbox) {}
        fn apply(&mut self, _now: Instant, _table: Arc<RouteTable>, _out: &mut Outbox) {}
        fn poll_timeout(&self) -> Option<Deadline> {
            None
        }
        fn held(&self) -> usize {
            0
        }
    }

    fn run(forgets: bool) -> Ledger {
        let mut out = Outbox::new(Pool::new(8));
        let mut ledger = Ledger::default();
        let mut batch: Vec<Packet> = (0..3)
            .map(|_| {
                out.pool_mut()
                    .lend(40, Meta::plain(PortId::PUBLIC))
                    .expect("eight slots, three packets")
            })
            .collect();
        let mut sink = Sink {
            forgets,
            kept: Vec::new(),
        };
        ledger.packets(&mut sink, Instant::ZERO, &mut batch, &mut out);
        ledger
    }

    #[test]
    fn every_packet_is_accounted_for() {
        let ledger = run(false);
        assert_eq!(
            (ledger.received, ledger.dropped.of(DropReason::NoRoute)),
            (3, 3)
        );
    }

    #[test]
    fn a_forgotten_packet_stops_the_run() {
        let outcome = std::panic::catch_unwind(|| run(true));
        let message = outcome.expect_err("one packet is missing");
        assert!(
            message
                .downcast_ref::<String>()
                .is_some_and(|text| text.contains("conservation of packets"))
        );
    }
}
