//! Stage: a forwarder driven through its ledger, call by call, and what came of each call.
//!
//! The test moves the clock; the forwarder is called when it asked to be and not otherwise. After every call
//! all packets must be back in the pool.

use core::time::Duration;
use std::sync::Arc;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::Event;
use anyedge_net::forwarder::Forwarder;
use anyedge_net::id::{NodeId, PathId};
use anyedge_net::ledger::Ledger;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Meta, Pool};
use anyedge_net::port::PortId;
use anyedge_net::route_table::RouteTable;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;

use super::tunnelled;

/// What came of a call.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) sent: Vec<(Meta, Vec<u8>)>,
    pub(crate) drops: Vec<DropReason>,
    pub(crate) events: Vec<Event>,
}

impl Outcome {
    /// The one packet that was sent, when nothing was dropped.
    pub(crate) fn only_sent(&self) -> (Meta, &[u8]) {
        assert_eq!(self.drops, [], "dropped");
        let [(meta, bytes)] = &self.sent[..] else {
            panic!("{} packets were sent", self.sent.len());
        };
        (*meta, bytes)
    }

    /// The one packet that was sent beside one that was dropped for `reason`.
    pub(crate) fn told(&self, reason: DropReason) -> (Meta, &[u8]) {
        assert_eq!(self.drops, [reason]);
        let [(meta, bytes)] = &self.sent[..] else {
            panic!("{} packets were sent", self.sent.len());
        };
        (*meta, bytes)
    }

    /// The one reason for a drop, when nothing was sent.
    pub(crate) fn only_drop(&self) -> DropReason {
        assert_eq!(self.sent, [], "sent");
        let [reason] = self.drops[..] else {
            panic!("dropped for {:?}", self.drops);
        };
        reason
    }
}

/// A forwarder with its ledger, its outbox and a clock that the test moves.
pub(crate) struct Stage<F> {
    pub(crate) forwarder: F,
    pub(crate) ledger: Ledger,
    pub(crate) out: Outbox,
    pub(crate) now: Instant,
}

impl<F: Forwarder> Stage<F> {
    /// `forwarder` with `table` in force.
    pub(crate) fn new(forwarder: F, table: RouteTable) -> Stage<F> {
        let out = Outbox::new(Pool::new(256));
        let now = Instant::from_nanos(1_000_000_000);
        let mut stage = Stage {
            forwarder,
            ledger: Ledger::default(),
            out,
            now,
        };
        stage.apply(table);
        stage
    }

    pub(crate) fn apply(&mut self, table: RouteTable) -> Outcome {
        let table = Arc::new(table);
        self.watch(|stage| {
            stage
                .ledger
                .apply(&mut stage.forwarder, stage.now, table, &mut stage.out)
        })
    }

    pub(crate) fn event(&mut self, event: anyedge_net::forwarder::LocalEvent) -> Outcome {
        self.watch(|stage| {
            stage
                .ledger
                .event(&mut stage.forwarder, stage.now, event, &mut stage.out)
        })
    }

    /// Packets arrive together.
    pub(crate) fn batch(&mut self, packets: &[(Meta, Vec<u8>)]) -> Outcome {
        self.watch(|stage| {
            let lend = |(meta, bytes): &(Meta, Vec<u8>)| {
                stage
                    .out
                    .pool_mut()
                    .lend_copy(bytes, *meta)
                    .expect("a slot is free")
            };
            let mut batch: Vec<_> = packets.iter().map(lend).collect();
            stage
                .ledger
                .packets(&mut stage.forwarder, stage.now, &mut batch, &mut stage.out);
        })
    }

    /// A packet arrives by a port that is no tunnel.
    pub(crate) fn bare(&mut self, port: PortId, packet: &[u8]) -> Outcome {
        self.batch(&[(Meta::plain(port), packet.to_vec())])
    }

    /// A packet arrives by the tunnel over `path` from `peer`, in the GRE header of `key`.
    pub(crate) fn tunnel(
        &mut self,
        path: PathId,
        peer: NodeId,
        key: GreKey,
        packet: &[u8],
    ) -> Outcome {
        self.batch(&[(
            Meta {
                peer,
                ..Meta::plain(PortId::tunnel(path))
            },
            tunnelled(packet, key),
        )])
    }

    /// Time passes; the forwarder is called whenever it asked to be, and not otherwise.
    pub(crate) fn pass(&mut self, duration: Duration) -> Outcome {
        let until = self.now + duration;
        self.watch(|stage| {
            while let Some(deadline) = stage
                .forwarder
                .poll_timeout()
                .filter(|deadline| deadline.at <= until)
            {
                stage.now = stage.now.max(deadline.at);
                stage
                    .ledger
                    .timeout(&mut stage.forwarder, stage.now, &mut stage.out);
            }
            stage.now = until;
        })
    }

    fn watch(&mut self, call: impl FnOnce(&mut Stage<F>)) -> Outcome {
        let before = self.ledger.dropped.clone();
        call(self);
        let mut outcome = Outcome {
            events: self.out.events_mut().drain(..).collect(),
            ..Outcome::default()
        };
        for packet in core::mem::take(self.out.sent_mut()) {
            outcome.sent.push((packet.meta, packet.bytes().to_vec()));
            self.out.pool_mut().take_back(packet);
        }
        for reason in DropReason::ALL {
            let count = self.ledger.dropped.of(*reason) - before.of(*reason);
            outcome.drops.extend((0..count).map(|_| *reason));
        }
        assert_eq!(
            self.out.pool().loaned(),
            self.forwarder.held(),
            "every packet came back to the pool, or is held"
        );
        outcome
    }
}
