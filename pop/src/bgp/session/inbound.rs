//! Messages as they come: what each does in each state (RFC 4271 §8.2.2), and which of two connections stays (§6.8).

use core::time::Duration;
use std::sync::Arc;

use anyedge_net::time::Instant;

use super::connection::Progress;
use super::{Event, Output, STALE_MAX, Session, Side, keepalive};
use crate::bgp::frame::Kind;
use crate::bgp::notification::{Code, Notification};
use crate::bgp::open::Open;
use crate::bgp::update::{self, Sender};
use crate::bgp::{Family, IpNet};

impl Session {
    /// Takes a message of the connection `at`.
    ///
    /// # Errors
    /// What ends the connection.
    pub(super) fn on_message(
        &mut self,
        now: Instant,
        at: usize,
        kind: Kind,
        body: &[u8],
    ) -> Result<(), Notification> {
        let progress = self.connections[at].progress;
        match (progress, kind) {
            (_, Kind::Notification) => {
                let notification = Notification::read(body);
                let event = Event::NotificationReceived(notification);
                self.outputs.push_back(Output::Event(event));
                let connection = self.connections[at].number;
                self.outputs.push_back(Output::Close { connection });
                self.remove(now, at);
                Ok(())
            }
            (Progress::OpenSent, Kind::Open) => self.on_open(now, at, Open::read(body)?),
            (Progress::OpenSent, _) => Err(Notification::new(
                Code::UNEXPECTED_IN_OPEN_SENT,
                &[code(kind)],
            )),
            (Progress::OpenConfirm, Kind::KeepAlive) => {
                self.on_established(now, at);
                Ok(())
            }
            (Progress::OpenConfirm, _) => Err(Notification::new(
                Code::UNEXPECTED_IN_OPEN_CONFIRM,
                &[code(kind)],
            )),
            (Progress::Established, Kind::KeepAlive) => {
                self.connections[at].hear(now);
                Ok(())
            }
            (Progress::Established, Kind::Update) => {
                self.connections[at].hear(now);
                self.on_update(body)
            }
            (Progress::Established, Kind::RouteRefresh) => {
                self.connections[at].hear(now);
                self.on_route_refresh(body);
                Ok(())
            }
            (Progress::Established, Kind::Open) => Err(Notification::new(
                Code::UNEXPECTED_IN_ESTABLISHED,
                &[code(kind)],
            )),
        }
    }

    fn on_open(&mut self, now: Instant, at: usize, open: Open) -> Result<(), Notification> {
        if open.as_number != self.config.peer_as {
            return Err(Code::BAD_PEER_AS.into());
        }
        if self.config.is_internal() && open.id == self.config.id {
            let id = self.config.id.octets();
            return Err(Notification::new(Code::BAD_IDENTIFIER, &id));
        }
        let number = self.connections[at].number;
        self.resolve_collision(now, at, &open)?;
        let Some(at) = self.find(number) else {
            return Ok(());
        };
        let seconds = open.hold_seconds.min(self.config.hold_seconds);
        let connection = &mut self.connections[at];
        connection.hold = Duration::from_secs(seconds.into());
        connection.progress = Progress::OpenConfirm;
        connection.peer = Some(open);
        connection.hear(now);
        self.send(now, number, keepalive());
        if seconds > 0 {
            let third = self.connections[at].hold / 3;
            let interval = self.jittered(third);
            self.connections[at].keepalive_at = Some(now + interval);
        }
        Ok(())
    }

    /// Of two connections whose peer is known, the one stays that the speaker with the higher identifier opened; of
    /// equal ones the higher AS decides (RFC 6286 §2.3). An established one always stays.
    fn resolve_collision(
        &mut self,
        now: Instant,
        at: usize,
        open: &Open,
    ) -> Result<(), Notification> {
        let number = self.connections[at].number;
        let mut others = self.connections.iter();
        let known = others.find(|other| other.number != number && other.peer.is_some());
        let Some((other, progress)) = known.map(|other| (other.number, other.progress)) else {
            return Ok(());
        };
        let ours = (self.config.id, self.config.local_as);
        let stays = if ours > (open.id, open.as_number) {
            Side::Outgoing
        } else {
            Side::Incoming
        };
        if progress == Progress::Established || self.connections[at].side != stays {
            return Err(Code::COLLISION.into());
        }
        self.fail(now, other, Code::COLLISION.into());
        Ok(())
    }

    fn on_established(&mut self, now: Instant, at: usize) {
        let connection = &mut self.connections[at];
        connection.progress = Progress::Established;
        connection.hear(now);
        let number = connection.number;
        let restart = connection
            .peer
            .as_ref()
            .and_then(|peer| peer.restart.clone());
        for other in self.numbers() {
            if other != number {
                self.fail(now, other, Code::COLLISION.into());
            }
        }
        self.refused = 0;
        self.routes_out.restart();
        // What it did not go on forwarding is gone; the rest is until its End-of-RIB (RFC 4724 §4.2).
        for family in Family::ALL {
            let kept = restart.as_ref().and_then(|said| said.families.get(&family));
            if kept != Some(&true) {
                self.forget_stale(family);
            }
        }
        if self.stale_until.is_some() {
            self.stale_until = Some(now + STALE_MAX);
        }
        self.config.restarting = false;
    }

    fn on_update(&mut self, body: &[u8]) -> Result<(), Notification> {
        let sender = Sender {
            as_number: self.config.peer_as,
            internal: self.config.is_internal(),
        };
        let update = update::read(body, sender)?;
        if let Some(code) = update.malformed {
            let event = Event::MalformedAttribute { code };
            self.outputs.push_back(Output::Event(event));
        }
        for prefix in update.withdrawn {
            self.forget(prefix);
        }
        for (attributes, prefixes) in update.announced {
            let is_loop = attributes.crosses(self.config.local_as);
            let attributes = Arc::new(attributes);
            for prefix in prefixes {
                if is_loop || !self.config.families.contains(&Family::of(&prefix)) {
                    self.forget(prefix);
                    continue;
                }
                let changed = self.routes_in.insert(prefix, &attributes);
                if changed.map_err(|_| self.limit_reached(prefix))? {
                    let event = Event::RouteLearned { prefix };
                    self.outputs.push_back(Output::Event(event));
                }
            }
        }
        if let Some(family) = update.end_of_rib {
            self.forget_stale(family);
            self.outputs
                .push_back(Output::Event(Event::EndOfRib(family)));
        }
        Ok(())
    }

    fn forget(&mut self, prefix: IpNet) {
        if self.routes_in.remove(&prefix) {
            self.outputs
                .push_back(Output::Event(Event::RouteLost { prefix }));
        }
    }

    /// With the family and the limit (RFC 4486 §4).
    fn limit_reached(&self, prefix: IpNet) -> Notification {
        let limit = u32::try_from(self.config.prefixes_max).unwrap_or(u32::MAX);
        let afi = Family::of(&prefix).afi().to_be_bytes();
        let data = [&afi[..], &[1], &limit.to_be_bytes()].concat();
        Notification::new(Code::PREFIX_LIMIT, &data)
    }

    /// A wish for families that are not ours, or of a kind that we did not offer, is passed over (RFC 2918 §4).
    fn on_route_refresh(&mut self, body: &[u8]) {
        if let [high, low, 0, safi] = *body
            && let Some(family) = Family::from_wire(u16::from_be_bytes([high, low]), safi)
        {
            self.routes_out.repeat(family);
            let event = Event::RouteRefresh(family);
            self.outputs.push_back(Output::Event(event));
        }
    }
}

const fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Open => 1,
        Kind::Update => 2,
        Kind::Notification => 3,
        Kind::KeepAlive => 4,
        Kind::RouteRefresh => 5,
    }
}
