//! Session: what one end knows of one path to one peer (RFC 5880 §6).
//!
//! A fresh session is *presumed* up until a detection time and two round trips have passed, so that a node that
//! starts forwards at once; from then on it is what its probes say. An up session that loses too many of them,
//! in either direction, is *grey*. Invariant: a session that is not up is not grey.

use core::time::Duration;

use anyedge_net::rng::Rng;
use anyedge_net::route_table::{Mechanisms, Probing};
use anyedge_net::time::{Instant, nanos};

use super::heard::{Heard, WINDOW, is_before, missing};
use super::message::{Diagnostic, Message, State};
use super::round_trip::RoundTrip;

/// Probes that must be missing of the last 64 before a path is grey, whatever the share asked for: at a loss of
/// 0.1 % that is so in fewer than one of 10^8 windows, at 20 % in most windows of 25 probes.
pub(super) const GREY_LOST_MIN: u8 = 5;
/// Probes in a row that must find at most half of the asked share missing before a path is grey no longer.
pub(super) const CALM_MIN: u8 = 32;

/// What a session says of its path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// It carries packets, as far as is known.
    Up,
    /// It carries packets, but loses too many.
    Grey {
        /// Probes missing of the last 64, in the worse direction.
        lost: u8,
    },
    /// It does not.
    Down,
}

/// What a probe that came in is to its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// The newest word of the peer.
    Newest,
    /// A later one was heard before: the path carries packets, but what this one says holds no more. RFC 5880 has no
    /// numbers, and would have a session that just came up fall by what its peer said before. Probes of one handshake
    /// cross even where no network reorders: a node's workers have a socket each, and veths a queue for each CPU that
    /// their sender runs on.
    Overtaken,
    /// For another session: not taken in.
    Foreign,
}

/// One end of a path to one peer.
///
/// ```text
///                     +--+
///                     |  | UP, ADMIN DOWN, TIMER
///                     |  V
///             DOWN  +------+  INIT
///      +------------|      |------------+
///      |            | DOWN |            |
///      |  +-------->|      |<--------+  |
///      |  |         +------+         |  |
///      |  |                          |  |
///      |  |  ADMIN DOWN,             |  |  ADMIN DOWN,
///      |  |  TIMER                   |  |  DOWN, TIMER
///      V  |                          |  V
///    +------+                      +------+
/// +--|      |  INIT, UP            |      |--+
/// |  | INIT |--------------------->|  UP  |  | INIT, UP
/// +->|      |                      |      |<-+
///    +------+                      +------+
/// ```
pub(super) struct Session {
    rng: Rng,
    probing: Probing,
    grey_allowed: bool,
    is_measured: bool,
    round_trip: RoundTrip,
    pub(super) state: State,
    diagnostic: Diagnostic,
    my_discriminator: u32,
    your_discriminator: u32,
    peer_interval: Duration,
    peer_min_rx: Duration,
    peer_multiplier: u8,
    sequence: u32,
    heard: Heard,
    /// The next probe is due.
    pub(super) send_at: Instant,
    /// Heard nothing until then, the session goes down.
    silent_at: Option<Instant>,
    /// Until then it is taken to be up without proof.
    presumed_until: Option<Instant>,
    has_been_up: bool,
    /// The peer has had a session with this end before: this end has begun anew.
    pub(super) was_known: bool,
    /// Missing in the worse direction.
    lost: u8,
    grey: bool,
    calm: u8,
}

impl Session {
    /// A session that begins now, over a path of that round-trip time.
    pub(super) fn begin(now: Instant, mut rng: Rng, probing: Probing, rtt: Duration) -> Session {
        let my_discriminator = (rng.bits() as u32).max(1);
        let send_at = now + rng.up_to(probing.interval);
        let presumed = probing.interval * u32::from(probing.multiplier) + rtt * 2;
        Session {
            rng,
            probing,
            grey_allowed: false,
            is_measured: false,
            round_trip: RoundTrip::declared(rtt),
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            my_discriminator,
            your_discriminator: 0,
            peer_interval: Duration::ZERO,
            peer_min_rx: Duration::ZERO,
            peer_multiplier: 1,
            sequence: 0,
            heard: Heard::since(0),
            send_at,
            silent_at: None,
            presumed_until: Some(now + presumed),
            has_been_up: false,
            was_known: false,
            lost: 0,
            grey: false,
            calm: 0,
        }
    }

    /// Other times and limits are in force from the next probe on.
    pub(super) fn retune(&mut self, probing: Probing, mechanisms: Mechanisms, declared: Duration) {
        self.probing = probing;
        self.grey_allowed = mechanisms.grey;
        self.grey &= mechanisms.grey;
        self.is_measured = mechanisms.measured_cost;
        self.round_trip.retune(declared, mechanisms.measured_cost);
    }

    /// The round trip that the path is held to have: its cost.
    pub(super) const fn cost(&self) -> Duration {
        self.round_trip.cost()
    }

    /// Whether the peer is known to answer; `None` while that is only presumed.
    pub(super) fn proven(&self) -> Option<bool> {
        match (self.state, self.presumed_until) {
            (State::Up, _) => Some(true),
            (_, Some(_)) => None,
            (_, None) => Some(false),
        }
    }

    /// What to make of the path.
    pub(super) fn standing(&self) -> Standing {
        match self.proven() {
            Some(false) => Standing::Down,
            Some(true) if self.grey => Standing::Grey { lost: self.lost },
            Some(true) | None => Standing::Up,
        }
    }

    /// When [`Session::on_time`] or a probe is due.
    pub(super) fn due_at(&self) -> Instant {
        let others = [self.silent_at, self.presumed_until];
        let others = others.into_iter().flatten();
        others.fold(self.send_at, Instant::min)
    }

    /// Takes a probe of the peer in.
    pub(super) fn on_message(&mut self, now: Instant, message: &Message) -> Taken {
        if ![0, self.my_discriminator].contains(&message.your_discriminator) {
            return Taken::Foreign;
        }
        if self.is_overtaken(message) {
            self.silent_at = Some(now + self.detection_time());
            if self.state == State::Up {
                self.heard.hear(message.sequence);
            }
            return Taken::Overtaken;
        }
        self.your_discriminator = message.my_discriminator;
        self.peer_interval = micros(message.desired_min_tx_us);
        self.peer_min_rx = micros(message.required_min_rx_us);
        self.peer_multiplier = message.multiplier;
        // A peer that has never had a session is down for no reason, and up only after we were at least in its beginning.
        self.was_known |= self.state == State::Down
            && !self.has_been_up
            && (message.state == State::Up || message.diagnostic != Diagnostic::NONE);
        let state = self.state.after(message.state);
        if self.state != State::Down && state == State::Down {
            self.diagnostic = Diagnostic::NEIGHBOR_SIGNALED_DOWN;
        }
        let was_down = self.state == State::Down;
        self.enter(now, state);
        let counts = self.is_measured && state == State::Up;
        self.round_trip.hear(now, message, counts);
        self.silent_at = Some(now + self.detection_time());
        if state == State::Up {
            if was_down {
                // What the peer sent before, maybe to others, is not missing.
                self.heard = Heard::since(message.sequence);
            }
            self.heard.hear(message.sequence);
            let heard_of_us = match message.state {
                State::Up => message.heard,
                State::AdminDown | State::Down | State::Init => u64::MAX,
            };
            self.judge(missing(self.heard.window).max(missing(heard_of_us)));
        } else {
            self.heard = Heard::since(message.sequence);
        }
        Taken::Newest
    }

    /// Whether a later probe of the same peer was heard before. A peer that begins anew under the same name, as a
    /// simulated one does, counts from the beginning again and its clock goes on.
    fn is_overtaken(&self, message: &Message) -> bool {
        message.my_discriminator == self.your_discriminator
            && is_before(message.sequence, self.heard.highest)
            && !self.round_trip.is_news(message)
    }

    /// Ends what has lasted too long: silence, and the presumption of being up.
    pub(super) fn on_time(&mut self, now: Instant) {
        if self.presumed_until.is_some_and(|until| until <= now) {
            self.presumed_until = None;
        }
        if self.silent_at.is_some_and(|at| at <= now) {
            self.silent_at = None;
            self.your_discriminator = 0;
            if matches!(self.state, State::Init | State::Up) {
                self.diagnostic = Diagnostic::TIME_EXPIRED;
                self.enter(now, State::Down);
            }
        }
    }

    /// The next probe, as it would be sent now.
    pub(super) fn message(&self, now: Instant) -> Message {
        let (sent_us, echo_us, held_us) = self.round_trip.says(now);
        Message {
            diagnostic: self.diagnostic,
            state: self.state,
            multiplier: self.probing.multiplier.max(1),
            my_discriminator: self.my_discriminator,
            your_discriminator: self.your_discriminator,
            desired_min_tx_us: whole_micros(self.interval()),
            required_min_rx_us: whole_micros(self.probing.interval),
            sequence: self.sequence.wrapping_add(1),
            heard_highest: self.heard.highest,
            heard: self.heard.window,
            revision: 0,
            reaches: 0,
            sent_us,
            echo_us,
            held_us,
        }
    }

    /// Plans the next probe. A probe that could not be sent keeps its number, so it is not missed as lost.
    pub(super) fn sent(&mut self, now: Instant, is_sent: bool) {
        if is_sent {
            self.sequence = self.sequence.wrapping_add(1);
        }
        // RFC 5880 §6.8.7: the interval less up to 25 %; with a multiplier of 1, less 10 % to 25 %.
        let interval = self.interval();
        let quarter = interval / 4;
        let jitter = if self.probing.multiplier <= 1 {
            let least = interval / 10;
            least + self.rng.up_to(quarter.saturating_sub(least))
        } else {
            self.rng.up_to(quarter)
        };
        self.send_at = now + (interval - jitter).max(Duration::from_nanos(1));
    }

    /// The interval that is kept and told. RFC 5880 §6.8.3 tells the one that is wished for, and needs a poll
    /// sequence when that falls; what is told here is what is done, so the peer never waits for too little.
    fn interval(&self) -> Duration {
        self.probing.interval.max(self.peer_min_rx)
    }

    /// RFC 5880 §6.8.4, asynchronous mode.
    fn detection_time(&self) -> Duration {
        let interval = self.probing.interval.max(self.peer_interval);
        let time = nanos(interval).saturating_mul(u64::from(self.peer_multiplier));
        Duration::from_nanos(time)
    }

    fn enter(&mut self, now: Instant, state: State) {
        if self.state == state {
            return;
        }
        self.state = state;
        self.lost = 0;
        self.grey = false;
        self.calm = 0;
        if state == State::Up {
            self.has_been_up = true;
            self.presumed_until = None;
            self.round_trip.restart();
        }
        // RFC 5880 §6.8.7: a change is told at once.
        self.send_at = now;
    }

    /// Decides whether the path is grey, with `lost` probes missing of the last 64 in the worse direction.
    fn judge(&mut self, lost: u8) {
        self.lost = lost;
        let lost_ppm = u64::from(lost) * 1_000_000 / u64::from(WINDOW);
        let most_ppm = u64::from(self.probing.grey_loss_ppm);
        if !self.grey {
            self.grey = self.grey_allowed && lost >= GREY_LOST_MIN && lost_ppm > most_ppm;
            self.calm = 0;
            return;
        }
        let is_calm = lost <= 1 || lost_ppm * 2 <= most_ppm;
        self.calm = if is_calm { self.calm + 1 } else { 0 };
        self.grey = self.calm < CALM_MIN;
    }
}

fn whole_micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros())
        .unwrap_or(u32::MAX)
        .max(1)
}

fn micros(count: u32) -> Duration {
    Duration::from_micros(u64::from(count))
}

#[cfg(test)]
mod tests;
