//! One BFD session in asynchronous mode (RFC 5880 §6).
//!
//! ```text
//!                     +--+
//!                     |  | UP, ADMIN DOWN, TIMER
//!                     |  V
//!             DOWN  +------+  INIT
//!      +------------|      |------------+
//!      |            | DOWN |            |
//!      |  +-------->|      |<--------+  |
//!      |  |         +------+         |  |
//!      |  |       ADMIN DOWN, DOWN,  |  |
//!      |  |ADMIN DOWN, TIMER    TIMER|  |
//!      V  |                          |  V
//!    +------+                      +------+
//! +--|      |   INIT, UP           |      |--+
//! |  | INIT |--------------------->|  UP  |  | INIT, UP
//! +->|      |                      |      |<-+
//!    +------+                      +------+
//! ```
//!
//! Packets leave at 75 to 100 % of the agreed interval (§6.8.7), once a second at most while the session is not Up.
//! Intervals change by a Poll Sequence (§6.8.3): a longer one to send at, or a shorter one to be sent at, counts
//! only once the neighbour has answered.

use core::time::Duration;

use anyedge_net::rng::Rng;
use anyedge_net::time::{Deadline, Instant};

use super::{Diagnostic, Packet, State};

/// How slow packets are while a session is not Up (§6.8.3).
const SLOW_US: u32 = 1_000_000;
/// The shortest interval that we take a neighbour's word for: 1 ms.
const INTERVAL_MIN_US: u32 = 1_000;

/// What we ask of a session. Intervals are in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The shortest interval at which we send, at least 1,000.
    pub desired_min_tx_us: u32,
    /// The shortest interval at which we want to be sent to, at least 1,000.
    pub required_min_rx_us: u32,
    /// How many of our packets the neighbour may miss, at least 1.
    pub detect_multiplier: u8,
}

impl Default for Config {
    /// 50 ms both ways, three times.
    fn default() -> Config {
        Config {
            desired_min_tx_us: 50_000,
            required_min_rx_us: 50_000,
            detect_multiplier: 3,
        }
    }
}

/// What a session tells of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// It stands elsewhere.
    SessionState {
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Why, when it goes down.
        diagnostic: Diagnostic,
    },
}

/// A session with one neighbour.
#[derive(Debug)]
pub struct Session {
    config: Config,
    rng: Rng,
    state: State,
    diagnostic: Diagnostic,
    discriminator: u32,
    /// What counts until a Poll Sequence has ended.
    tx_us: u32,
    rx_us: u32,
    polling: bool,
    answer_owed: bool,
    neighbour: Neighbour,
    send_at: Option<Instant>,
    /// The interval that `send_at` was made of.
    planned: Duration,
    sent_at: Instant,
    heard_at: Option<Instant>,
    events: Vec<Event>,
}

/// What the neighbour said last.
#[derive(Clone, Copy, Debug)]
struct Neighbour {
    discriminator: u32,
    state: State,
    min_tx_us: u32,
    min_rx_us: u32,
    multiplier: u8,
    demand: bool,
}

impl Neighbour {
    const UNKNOWN: Neighbour = Neighbour {
        discriminator: 0,
        state: State::Down,
        min_tx_us: 0,
        min_rx_us: 1,
        multiplier: 1,
        demand: false,
    };
}

impl Session {
    /// A session that begins Down and sends at once.
    ///
    /// # Panics
    /// When an interval is shorter than 1 ms or the multiplier is zero.
    pub fn new(now: Instant, config: Config, mut rng: Rng) -> Session {
        check(&config);
        let discriminator = (rng.bits() as u32).max(1);
        Session {
            rx_us: config.required_min_rx_us,
            tx_us: config.desired_min_tx_us.max(SLOW_US),
            config,
            rng,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            discriminator,
            polling: false,
            answer_owed: false,
            neighbour: Neighbour::UNKNOWN,
            send_at: Some(now),
            planned: Duration::from_micros(SLOW_US.into()),
            sent_at: now,
            heard_at: None,
            events: Vec::new(),
        }
    }

    /// Where it stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// Our number of it, by which the neighbour's packets find it.
    pub const fn discriminator(&self) -> u32 {
        self.discriminator
    }

    /// How long the neighbour may be silent (§6.8.4); `None` while it is unknown.
    pub fn detection_time(&self) -> Option<Duration> {
        self.heard_at?;
        let interval = self
            .rx_us
            .max(self.neighbour.min_tx_us)
            .max(INTERVAL_MIN_US);
        let interval = Duration::from_micros(interval.into());
        Some(interval * u32::from(self.neighbour.multiplier))
    }

    /// Asks for other intervals; they count when the neighbour has answered (§6.8.3).
    ///
    /// # Panics
    /// When an interval is shorter than 1 ms or the multiplier is zero.
    pub fn change(&mut self, now: Instant, config: Config) {
        check(&config);
        if config == self.config {
            return;
        }
        self.config = config;
        self.negotiate(now);
    }

    /// Holds it down, or lets it come up again.
    pub fn hold_down(&mut self, now: Instant, held: bool) {
        match (held, self.state) {
            (true, State::Down | State::Init | State::Up) => {
                self.go(now, State::AdminDown, Diagnostic::ADMINISTRATIVELY_DOWN);
            }
            (false, State::AdminDown) => self.go(now, State::Down, Diagnostic::NONE),
            (true, State::AdminDown) | (false, State::Down | State::Init | State::Up) => {}
        }
    }

    /// Takes a packet that was sent with TTL 255 by the neighbour (§6.8.6).
    pub fn handle_packet(&mut self, now: Instant, packet: &Packet) {
        let is_ours = packet.your_discriminator == self.discriminator;
        if packet.your_discriminator != 0 && !is_ours {
            return;
        }
        self.neighbour = Neighbour {
            discriminator: packet.my_discriminator,
            state: packet.state,
            min_tx_us: packet.desired_min_tx_us,
            min_rx_us: packet.required_min_rx_us,
            multiplier: packet.detect_multiplier,
            demand: packet.demand,
        };
        self.heard_at = Some(now);
        if packet.last && self.polling {
            self.polling = false;
            self.settle();
        }
        let to = self.state.after(packet.state);
        if to != self.state {
            let diagnostic = match to {
                State::Down => Diagnostic::NEIGHBOR_SIGNALED_DOWN,
                State::AdminDown | State::Init | State::Up => Diagnostic::NONE,
            };
            self.go(now, to, diagnostic);
        }
        self.answer_owed |= packet.poll && self.state != State::AdminDown;
        self.reschedule(now);
    }

    /// Finds that the neighbour is silent.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.silent_at().is_some_and(|at| at <= now) {
            self.heard_at = None;
            self.neighbour = Neighbour::UNKNOWN;
            if matches!(self.state, State::Init | State::Up) {
                self.go(now, State::Down, Diagnostic::TIME_EXPIRED);
            }
            self.reschedule(now);
        }
    }

    /// The next packet to send, if one is due.
    pub fn poll_packet(&mut self, now: Instant) -> Option<Packet> {
        let is_due = self.send_at.is_some_and(|at| at <= now);
        if !is_due && !self.answer_owed {
            return None;
        }
        let last = core::mem::take(&mut self.answer_owed);
        if is_due {
            self.sent_at = now;
            self.send_at = self.next_send();
        }
        Some(Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            // An answer does not ask (§6.5).
            poll: self.polling && !last,
            last,
            demand: false,
            detect_multiplier: self.config.detect_multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.neighbour.discriminator,
            desired_min_tx_us: self.wanted_tx_us(),
            required_min_rx_us: self.config.required_min_rx_us,
        })
    }

    /// The next thing that it tells.
    pub fn poll_event(&mut self) -> Option<Event> {
        (!self.events.is_empty()).then(|| self.events.remove(0))
    }

    /// When it is to be called again: [`Session::handle_timeout`], then [`Session::poll_packet`].
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let due = |at: Option<Instant>, reason| at.map(|at| Deadline { at, reason });
        Deadline::earlier(
            due(self.send_at, "packet"),
            due(self.silent_at(), "detection time"),
        )
    }

    fn silent_at(&self) -> Option<Instant> {
        Some(self.heard_at? + self.detection_time()?)
    }

    fn go(&mut self, now: Instant, to: State, diagnostic: Diagnostic) {
        let from = core::mem::replace(&mut self.state, to);
        if to != State::Init && to != State::Up {
            self.diagnostic = diagnostic;
        }
        self.events.push(Event::SessionState {
            from,
            to,
            diagnostic: self.diagnostic,
        });
        self.negotiate(now);
        // The neighbour is told at once.
        self.send_at = self.interval().map(|_| now);
    }

    /// What we ask to send at: slowly unless Up (§6.8.3).
    fn wanted_tx_us(&self) -> u32 {
        match self.state {
            State::Up => self.config.desired_min_tx_us,
            _ => self.config.desired_min_tx_us.max(SLOW_US),
        }
    }

    /// Begins a Poll Sequence when it is Up; else what is wanted counts at once.
    fn negotiate(&mut self, now: Instant) {
        if self.state == State::Up {
            self.polling = true;
            self.tx_us = self.tx_us.min(self.wanted_tx_us());
            self.rx_us = self.rx_us.max(self.config.required_min_rx_us);
        } else {
            self.polling = false;
            self.settle();
        }
        self.reschedule(now);
    }

    fn settle(&mut self) {
        self.tx_us = self.wanted_tx_us();
        self.rx_us = self.config.required_min_rx_us;
    }

    /// Plans the next packet anew when the interval has become shorter, or when there is to be none.
    fn reschedule(&mut self, now: Instant) {
        let interval = self.interval();
        let is_kept = match (self.send_at, interval) {
            (Some(_), Some(interval)) => interval >= self.planned,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if !is_kept {
            self.send_at = self.next_send().map(|at| at.max(now));
        }
    }

    /// The agreed interval; `None` for a neighbour that wants no packets (§6.8.7).
    fn interval(&self) -> Option<Duration> {
        let both_up = self.state == State::Up && self.neighbour.state == State::Up;
        let demands = self.neighbour.demand && both_up && !self.polling;
        let interval = self
            .tx_us
            .max(self.neighbour.min_rx_us)
            .max(INTERVAL_MIN_US);
        let wanted = self.neighbour.min_rx_us > 0 && !demands;
        wanted.then_some(Duration::from_micros(interval.into()))
    }

    /// 75 to 100 % of the interval after the last packet, at most 90 % when none may be missed.
    fn next_send(&mut self) -> Option<Instant> {
        let interval = self.interval()?;
        self.planned = interval;
        let (most, spread) = match self.config.detect_multiplier {
            1 => (interval / 10 * 9, interval * 3 / 20),
            _ => (interval, interval / 4),
        };
        Some(self.sent_at + (most - self.rng.up_to(spread)))
    }
}

fn check(config: &Config) {
    let shortest = config.desired_min_tx_us.min(config.required_min_rx_us);
    assert!(
        shortest >= INTERVAL_MIN_US && config.detect_multiplier > 0,
        "intervals are 1 ms at least, and one packet may be missed: {config:?}"
    );
}

#[cfg(test)]
mod tests;
