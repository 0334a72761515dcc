//! A forwarder with somebody who writes down its events: the live driver only logs them.

use std::sync::Arc;

use anyedge_net::event::Event;
use anyedge_net::forwarder::{Forwarder, LocalEvent};
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Packet;
use anyedge_net::route_table::RouteTable;
use anyedge_net::time::{Deadline, Instant};

/// Hands every call on; the driver drains the outbox, so all events in it are new after each.
pub(super) struct Watched<F> {
    forwarder: F,
    events: Vec<(Instant, Event)>,
}

impl<F> Watched<F> {
    pub(super) const fn new(forwarder: F) -> Watched<F> {
        Watched {
            forwarder,
            events: Vec::new(),
        }
    }

    pub(super) fn events(&self) -> &[(Instant, Event)] {
        &self.events
    }

    fn note(&mut self, now: Instant, out: &mut Outbox) {
        self.events
            .extend(out.events_mut().iter().map(|event| (now, *event)));
    }
}

impl<F: Forwarder> Forwarder for Watched<F> {
    fn handle_packets(&mut self, now: Instant, batch: &mut Vec<Packet>, out: &mut Outbox) {
        self.forwarder.handle_packets(now, batch, out);
        self.note(now, out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        self.forwarder.handle_timeout(now, out);
        self.note(now, out);
    }

    fn handle_event(&mut self, now: Instant, event: LocalEvent, out: &mut Outbox) {
        self.forwarder.handle_event(now, event, out);
        self.note(now, out);
    }

    fn apply(&mut self, now: Instant, table: Arc<RouteTable>, out: &mut Outbox) {
        self.forwarder.apply(now, table, out);
        self.note(now, out);
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        self.forwarder.poll_timeout()
    }

    fn held(&self) -> usize {
        self.forwarder.held()
    }
}
