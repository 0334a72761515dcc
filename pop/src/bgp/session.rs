//! A peering with one neighbour: the state machine of RFC 4271 §8 without sockets or clocks.
//!
//! Each TCP connection goes OpenSent, OpenConfirm, Established on its own; there may be two until one is found to
//! be too many (§6.8). Without any, the session is Idle (waiting, or stopped), Connect (an attempt is on its way)
//! or Active (listening until the next attempt). Inputs are `handle_*` and the orders; after each of them call
//! [`Session::poll`] until it gives `None`, then wait until [`Session::poll_timeout`].
//!
//! No bytes make it panic, and each of its queues has a bound: UPDATEs are made only when all before them have left.

mod config;
mod connection;
mod inbound;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use anyedge_net::rng::Rng;
use anyedge_net::time::{Deadline, Instant};

use super::advertise::{AdjRibOut, Terms};
use super::notification::{Code, Notification};
use super::offer::Offer;
use super::open::{Open, RESTART_SECONDS_MAX, Restart};
use super::{AdjRibIn, Family, IpNet};

pub use config::Config;

use connection::{Connection, Progress};

/// How long an OPEN may take (RFC 4271 §8.2.2 suggests 4 minutes).
pub const OPEN_HOLD: Duration = Duration::from_secs(240);
/// The shortest time in which a peer must take bytes (RFC 9687 §4.4).
pub const SEND_HOLD_MIN: Duration = Duration::from_secs(480);
/// How long a peer that is back may take to tell its routes again.
pub const STALE_MAX: Duration = Duration::from_secs(360);
/// The delay before the next attempt doubles with each refusal, to 16 times.
const REFUSALS_MAX: u32 = 5;

/// Where a session stands (RFC 4271 §8.2.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// Stopped, or waiting before it tries again; refuses connections.
    Idle,
    /// Trying to connect.
    Connect,
    /// Listening.
    Active,
    /// Has sent its OPEN.
    OpenSent,
    /// Has the peer's OPEN.
    OpenConfirm,
    /// Exchanges routes.
    Established,
}

/// Who opened a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// We did.
    Outgoing,
    /// The peer did.
    Incoming,
}

/// What the driver is to do, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Connect to the peer, forgetting an earlier attempt.
    Connect,
    /// Send bytes by a connection, and say so by [`Session::handle_sent`].
    Send {
        /// Which.
        connection: u32,
        /// What.
        bytes: Vec<u8>,
    },
    /// Close a connection, after what was given to send by it.
    Close {
        /// Which.
        connection: u32,
    },
    /// Something happened.
    Event(Event),
}

/// What a session tells of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// It stands elsewhere.
    SessionState {
        /// Before.
        from: State,
        /// Now.
        to: State,
    },
    /// We ended a connection.
    NotificationSent(Notification),
    /// The peer ended a connection.
    NotificationReceived(Notification),
    /// A route came, or another in its place.
    RouteLearned {
        /// Where to.
        prefix: IpNet,
    },
    /// A route went.
    RouteLost {
        /// Where to.
        prefix: IpNet,
    },
    /// Routes were withdrawn since an attribute of their UPDATE was wrong (RFC 7606).
    MalformedAttribute {
        /// Its type code.
        code: u8,
    },
    /// The peer has told all routes of a family.
    EndOfRib(Family),
    /// The peer asked to hear all routes of a family again.
    RouteRefresh(Family),
}

/// What happens while there is no connection.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Not until it is started.
    Stopped,
    /// Idle until then.
    Resting(Instant),
    /// An attempt is on its way, and is given up then.
    Connecting(Instant),
    /// Listening; the next attempt is then, if ever.
    Listening(Option<Instant>),
}

/// A peering.
#[derive(Debug)]
pub struct Session {
    config: Config,
    rng: Rng,
    phase: Phase,
    connections: Vec<Connection>,
    outputs: VecDeque<Output>,
    routes_in: AdjRibIn,
    routes_out: AdjRibOut,
    refused: u32,
    /// Stale routes go then.
    stale_until: Option<Instant>,
    told: State,
}

impl Session {
    /// A session that is not started. `rng` moves its timers (RFC 4271 §10).
    ///
    /// # Panics
    /// When `config` has an AS or identifier of zero, or a hold time of 1 or 2.
    pub fn new(config: Config, rng: Rng) -> Session {
        assert!(
            config.local_as != 0 && config.peer_as != 0 && !config.id.is_unspecified(),
            "AS 0 and identifier 0.0.0.0 are nobody's"
        );
        assert!(
            !(1..3).contains(&config.hold_seconds),
            "a hold time is 0 or at least 3 s"
        );
        Session {
            routes_in: AdjRibIn::new(config.prefixes_max),
            config,
            rng,
            phase: Phase::Stopped,
            connections: Vec::new(),
            outputs: VecDeque::new(),
            routes_out: AdjRibOut::default(),
            refused: 0,
            stale_until: None,
            told: State::Idle,
        }
    }

    /// Begins to look for the peer.
    pub fn start(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Stopped) {
            self.attempt(now);
        }
        self.tell();
    }

    /// Ends the session with Administrative Shutdown; it stays Idle until it is started.
    pub fn stop(&mut self, now: Instant) {
        self.end_all(now, Code::SHUTDOWN);
        self.phase = Phase::Stopped;
        self.tell();
    }

    /// Ends the session with Cease of `code`, such as [`Code::BFD_DOWN`] or [`Code::RESET`]; it comes back.
    pub fn reset(&mut self, now: Instant, code: Code) {
        self.end_all(now, code);
        self.tell();
    }

    /// What the peer is to know: these prefixes, all with [`super::GRACEFUL_SHUTDOWN`] while the node `drains`.
    pub fn want(&mut self, offers: &BTreeMap<IpNet, Offer>, drains: bool) {
        let offers = offers
            .iter()
            .map(|(prefix, offer)| (prefix.trunc(), offer.clone()));
        self.routes_out.want(Arc::new(offers.collect()), drains);
    }

    /// A connection is there; `connection` is a number that no other one of this session has had.
    pub fn handle_connected(&mut self, now: Instant, connection: u32, side: Side) {
        if let Some(code) = self.refusal(now, side) {
            self.send_notification(connection, code.into());
            self.outputs.push_back(Output::Close { connection });
        } else {
            self.open(now, connection, side);
        }
        self.tell();
    }

    /// The attempt to connect failed.
    pub fn handle_connect_failed(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Connecting(_)) {
            self.listen(now);
        }
        self.tell();
    }

    /// A connection ended without a word.
    pub fn handle_closed(&mut self, now: Instant, connection: u32) {
        if let Some(at) = self.find(connection) {
            self.lose(now, at);
        }
        self.tell();
    }

    /// Bytes came by a connection.
    pub fn handle_bytes(&mut self, now: Instant, connection: u32, bytes: &[u8]) {
        if let Some(at) = self.find(connection) {
            self.connections[at].frames.push(bytes);
        }
        // It may end with any of its messages.
        while let Some(at) = self.find(connection) {
            match self.connections[at].frames.next() {
                Ok(None) => break,
                Ok(Some((kind, body))) => {
                    if let Err(notification) = self.on_message(now, at, kind, &body) {
                        self.fail(now, connection, notification);
                    }
                }
                Err(notification) => self.fail(now, connection, notification),
            }
        }
        self.tell();
    }

    /// `bytes` bytes of what was given to send by a connection have left.
    pub fn handle_sent(&mut self, now: Instant, connection: u32, bytes: usize) {
        if let Some(at) = self.find(connection) {
            let connection = &mut self.connections[at];
            connection.unsent = connection.unsent.saturating_sub(bytes);
            connection.moved_at = now;
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        for connection in self.numbers() {
            let Some(at) = self.find(connection) else {
                continue;
            };
            if is_due(self.connections[at].send_hold_at()) {
                self.fail(now, connection, Code::SEND_HOLD_TIMER_EXPIRED.into());
            } else if is_due(self.connections[at].hold_at) {
                self.fail(now, connection, Code::HOLD_TIMER_EXPIRED.into());
            } else if is_due(self.connections[at].keepalive_at) {
                self.keep_alive(now, at);
            }
        }
        if is_due(self.stale_until) {
            self.stale_until = None;
            for family in Family::ALL {
                self.forget_stale(family);
            }
        }
        match self.phase {
            _ if !self.connections.is_empty() => {}
            Phase::Resting(at) | Phase::Connecting(at) | Phase::Listening(Some(at))
                if at <= now =>
            {
                self.attempt(now);
            }
            _ => {}
        }
        self.tell();
    }

    /// The next thing to do, if there is one.
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        if self.outputs.is_empty() && self.routes_out.is_dirty() {
            self.advertise(now);
        }
        self.outputs.pop_front()
    }

    /// When [`Session::handle_timeout`] is to be called, and what for.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let due = |at: Option<Instant>, reason| at.map(|at| Deadline { at, reason });
        let mut first = due(self.stale_until, "stale routes");
        for connection in &self.connections {
            first = Deadline::earlier(first, due(connection.hold_at, "hold"));
            first = Deadline::earlier(first, due(connection.keepalive_at, "keepalive"));
            first = Deadline::earlier(first, due(connection.send_hold_at(), "send hold"));
        }
        let phase = match self.phase {
            _ if !self.connections.is_empty() => None,
            Phase::Resting(at) => due(Some(at), "idle hold"),
            Phase::Connecting(at) => due(Some(at), "connect retry"),
            Phase::Listening(at) => due(at, "connect retry"),
            Phase::Stopped => None,
        };
        Deadline::earlier(first, phase)
    }

    /// Where it stands: with two connections, where the further one does.
    pub fn state(&self) -> State {
        let states = self.connections.iter().map(Connection::state);
        states.max().unwrap_or(match self.phase {
            Phase::Stopped | Phase::Resting(_) => State::Idle,
            Phase::Connecting(_) => State::Connect,
            Phase::Listening(_) => State::Active,
        })
    }

    /// What the peer has told.
    pub const fn routes_in(&self) -> &AdjRibIn {
        &self.routes_in
    }

    /// What the peer has been told.
    pub fn routes_out(&self) -> impl Iterator<Item = (&IpNet, &Offer)> {
        self.routes_out.told()
    }

    /// The peer's OPEN, once it is Established.
    pub fn peer(&self) -> Option<&Open> {
        self.established()
            .and_then(|at| self.connections[at].peer.as_ref())
    }

    fn established(&self) -> Option<usize> {
        let mut connections = self.connections.iter();
        connections.position(|connection| connection.state() == State::Established)
    }

    fn find(&self, connection: u32) -> Option<usize> {
        let mut connections = self.connections.iter();
        connections.position(|known| known.number == connection)
    }

    fn numbers(&self) -> Vec<u32> {
        let connections = self.connections.iter();
        connections.map(|connection| connection.number).collect()
    }

    /// Tries to connect, or listens when it never does.
    fn attempt(&mut self, now: Instant) {
        if self.config.passive {
            self.phase = Phase::Listening(None);
        } else {
            let until = now + self.jittered(self.config.connect_retry);
            self.phase = Phase::Connecting(until);
            self.outputs.push_back(Output::Connect);
        }
    }

    fn listen(&mut self, now: Instant) {
        let retry = self.jittered(self.config.connect_retry);
        self.phase = Phase::Listening((!self.config.passive).then_some(now + retry));
    }

    /// 75 to 100 % of `time` (RFC 4271 §10).
    fn jittered(&mut self, time: Duration) -> Duration {
        time - self.rng.up_to(time / 4)
    }

    /// Why a connection is not taken, if it is not. One that it replaces goes.
    fn refusal(&mut self, now: Instant, side: Side) -> Option<Code> {
        if matches!(self.phase, Phase::Stopped | Phase::Resting(_)) && self.connections.is_empty() {
            return Some(Code::REJECTED);
        }
        if let Some(at) = self.established() {
            let restarts = self.connections[at].peer.as_ref();
            let restarts = restarts.is_some_and(|peer| peer.restart.is_some());
            if side == Side::Outgoing || !restarts {
                return Some(Code::COLLISION);
            }
            // A peer that restarts is not held up by what is left of its old connection (RFC 4724 §5).
            let connection = self.connections[at].number;
            self.outputs.push_back(Output::Close { connection });
            self.lose(now, at);
        }
        let mut connections = self.connections.iter();
        if let Some(at) = connections.position(|known| known.side == side) {
            let connection = self.connections.swap_remove(at).number;
            self.send_notification(connection, Code::COLLISION.into());
            self.outputs.push_back(Output::Close { connection });
        }
        None
    }

    fn open(&mut self, now: Instant, number: u32, side: Side) {
        let seconds = self.config.restart_seconds.min(RESTART_SECONDS_MAX);
        let families = self.config.families.iter();
        let kept = families.map(|family| (*family, true));
        let restart = Restart {
            restarting: self.config.restarting,
            seconds,
            families: kept.filter(|_| seconds > 0).collect(),
        };
        let open = Open {
            as_number: self.config.local_as,
            hold_seconds: self.config.hold_seconds,
            id: self.config.id,
            families: self.config.families.clone(),
            route_refresh: true,
            restart: Some(restart),
        };
        self.connections.push(Connection::new(number, side, now));
        self.send(now, number, open.write());
    }

    fn send(&mut self, now: Instant, connection: u32, bytes: Vec<u8>) {
        if let Some(at) = self.find(connection) {
            let connection = &mut self.connections[at];
            if connection.unsent == 0 {
                connection.moved_at = now;
            }
            connection.unsent += bytes.len();
        }
        self.outputs.push_back(Output::Send { connection, bytes });
    }

    fn send_notification(&mut self, connection: u32, notification: Notification) {
        let bytes = notification.write();
        self.outputs.push_back(Output::Send { connection, bytes });
        let event = Event::NotificationSent(notification);
        self.outputs.push_back(Output::Event(event));
    }

    /// What keeps a peer's hold timer away; not behind what it has not taken yet, which does so as well.
    fn keep_alive(&mut self, now: Instant, at: usize) {
        let third = self.connections[at].hold / 3;
        let interval = self.jittered(third);
        let connection = &mut self.connections[at];
        connection.keepalive_at = Some(now + interval);
        let (number, unsent) = (connection.number, connection.unsent);
        if unsent == 0 {
            self.send(now, number, keepalive());
        }
    }

    fn advertise(&mut self, now: Instant) {
        let Some(at) = self.established() else {
            return;
        };
        let connection = &self.connections[at];
        let Some(peer) = connection.peer.as_ref().filter(|_| connection.unsent == 0) else {
            return;
        };
        let is_ours = |family: &&Family| self.config.families.contains(family);
        let terms = Terms {
            local_as: self.config.local_as,
            local_pref: self.config.is_internal().then_some(self.config.local_pref),
            next_hop_v4: self.config.next_hop_v4,
            next_hop_v6: self.config.next_hop_v6,
            families: peer.families.iter().filter(is_ours).copied().collect(),
        };
        let number = connection.number;
        for message in self.routes_out.update(&terms) {
            self.send(now, number, message);
        }
    }

    /// Ends a connection with a NOTIFICATION of ours.
    fn fail(&mut self, now: Instant, number: u32, notification: Notification) {
        self.send_notification(number, notification);
        self.outputs.push_back(Output::Close { connection: number });
        if let Some(at) = self.find(number) {
            self.remove(now, at);
        }
    }

    fn end_all(&mut self, now: Instant, code: Code) {
        for connection in self.numbers() {
            self.fail(now, connection, code.into());
        }
    }

    /// A connection is gone by a NOTIFICATION, ours or the peer's: nothing that it told holds any longer.
    fn remove(&mut self, now: Instant, at: usize) {
        let connection = self.connections.remove(at);
        if connection.state() == State::Established {
            self.drop_routes(&[]);
        }
        if self.connections.is_empty() {
            self.refused = (self.refused + 1).min(REFUSALS_MAX);
            let doubled = self.config.connect_retry * (1 << (self.refused - 1));
            let rest = self.jittered(doubled);
            self.phase = Phase::Resting(now + rest);
        }
    }

    /// A connection is gone without a word; a peer that restarts gracefully is waited for.
    fn lose(&mut self, now: Instant, at: usize) {
        let connection = self.connections.remove(at);
        if connection.progress == Progress::Established {
            let restart = connection.peer.and_then(|peer| peer.restart);
            let restart = restart.filter(|restart| !restart.families.is_empty());
            let kept: Vec<_> = restart
                .iter()
                .flat_map(|restart| restart.families.keys().copied())
                .collect();
            self.drop_routes(&kept);
            let seconds = restart.map_or(0, |restart| restart.seconds);
            let until = now + Duration::from_secs(seconds.into());
            self.stale_until = (!self.routes_in.is_empty()).then_some(until);
        }
        if self.connections.is_empty() {
            self.listen(now);
        }
    }

    /// Forgets what the peer told but for `kept` families, whose routes are stale.
    fn drop_routes(&mut self, kept: &[Family]) {
        for prefix in self.routes_in.go_stale(kept) {
            self.outputs
                .push_back(Output::Event(Event::RouteLost { prefix }));
        }
        if kept.is_empty() {
            self.stale_until = None;
        }
    }

    fn forget_stale(&mut self, family: Family) {
        for prefix in self.routes_in.take_stale(family) {
            self.outputs
                .push_back(Output::Event(Event::RouteLost { prefix }));
        }
    }

    fn tell(&mut self) {
        let (from, to) = (self.told, self.state());
        if from != to {
            self.told = to;
            let event = Event::SessionState { from, to };
            self.outputs.push_back(Output::Event(event));
        }
    }
}

/// A KEEPALIVE (RFC 4271 §4.4).
fn keepalive() -> Vec<u8> {
    super::open::message(&netgauze_bgp_pkt::BgpMessage::KeepAlive)
}

#[cfg(test)]
mod tests;
