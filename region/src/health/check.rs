//! Check: one target's health as the results of its checks make it.
//!
//! ```text
//!                 window over, and `healthy` successes in a row
//!   Detecting -----------------------------------------------------> Healthy
//!       |                        `unhealthy` failures in a row    |   ^
//!       +------------------------> Abnormal <---------------------+   |
//!                                     |   `healthy` successes in a row |
//!                                     +--------------------------------+
//! ```
//! Checks are sent at a fixed interval whatever comes of them, so that the third failed check is sent two
//! intervals after the first. A new target takes no flow for `interval * healthy`; its first check comes early
//! enough that a target that answers is healthy at the very end of that window.
//!
//! Beside its own checks a target may be blocked, by clients that it refused, for a fixed time: nothing of the above
//! changes meanwhile. A target that falls again and again has to succeed more often (`falls`).
//!
//! Invariant: at most one check is awaited.

use core::time::Duration;

use anyedge_net::event::Health;
use anyedge_net::route_table::{HealthCheck, Method, PASSIVE_BLOCK, PASSIVE_FAILURES};
use anyedge_net::switch;
use anyedge_net::time::Instant;

/// No check is sent sooner after the last: a table that asks for less would keep its nodes busy for ever.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// A check under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Awaited {
    /// When it has failed.
    pub(crate) deadline: Instant,
    /// The port that it was sent from.
    pub(crate) port: u16,
    /// The sequence number of its SYN; of an echo what makes it this one.
    pub(crate) sequence: u32,
    /// Its echo was answered.
    pub(crate) pinged: bool,
    /// The exchange of its connection, once that is open.
    pub(crate) talk: Option<Talk>,
}

/// How far an exchange over a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Talk {
    /// The sequence number of the next byte that we send.
    pub(crate) sequence: u32,
    /// Of the next byte that the target sends.
    pub(crate) acknowledged: u32,
    /// Bytes of the answer that were as expected.
    pub(crate) matched: usize,
}

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Due {
    /// The check that nobody answered.
    pub(crate) unanswered: Option<Awaited>,
    /// The next check is to be sent.
    pub(crate) send: bool,
    /// The health changed to this.
    pub(crate) change: Option<Health>,
}

/// Where one target stands.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    asked: HealthCheck,
    health: Health,
    /// Whether the last checks succeeded, and how many in a row did as the last.
    run: (bool, u8),
    /// End of the window in which a new target takes no flow.
    detecting_until: Instant,
    next_send: Instant,
    awaited: Option<Awaited>,
    refused: Refused,
    falls: Falls,
}

/// The clients that a target refused.
#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    /// How many since.
    clients: u8,
    since: Instant,
    /// Too many: until then it gets no new flow.
    blocked_until: Option<Instant>,
}

/// How often a target became abnormal, each time soon after the last.
#[derive(Clone, Copy, Debug, Default)]
struct Falls {
    count: u8,
    last: Instant,
}

impl Falls {
    fn count_one(&mut self, now: Instant, window: Duration) {
        let remembered = if now > self.last + window {
            0
        } else {
            self.count
        };
        *self = Falls {
            count: remembered.saturating_add(1),
            last: now,
        };
    }

    /// How much more often than otherwise a target has to succeed.
    fn factor(self) -> u8 {
        1 << self.count.saturating_sub(2).min(3)
    }
}

impl Check {
    /// A target that is new: it takes no flow until it was probed.
    pub(crate) fn of_new(asked: HealthCheck, now: Instant, phase: Duration) -> Check {
        let asked = sound(asked);
        let window = asked.interval.saturating_mul(u32::from(asked.healthy));
        let known = Check::of_known(asked, now, phase);
        if !switch::is_on("P-HC02") {
            return known;
        }
        Check {
            health: Health::Detecting,
            detecting_until: now + window,
            ..known
        }
    }

    /// A target that takes flows already.
    pub(crate) fn of_known(asked: HealthCheck, now: Instant, phase: Duration) -> Check {
        Check {
            asked: sound(asked),
            health: Health::Healthy,
            run: (true, 0),
            detecting_until: now,
            next_send: now + phase,
            awaited: None,
            refused: Refused::default(),
            falls: Falls::default(),
        }
    }

    /// The same target, checked in another way from here on.
    pub(crate) fn asked_anew(&self, asked: HealthCheck, now: Instant, phase: Duration) -> Check {
        Check {
            health: self.health,
            ..Check::of_new(asked, now, phase)
        }
    }

    /// The latest first check, after a target came, that still lets it be healthy by the end of its window.
    pub(crate) fn phase_max(asked: &HealthCheck) -> Duration {
        let asked = sound(asked.clone());
        asked.interval - asked.timeout
    }

    /// What is thought of the target.
    pub(crate) const fn health(&self) -> Health {
        match (self.health, self.refused.blocked_until) {
            (Health::Healthy, Some(_)) => Health::Blocked,
            (health, _) => health,
        }
    }

    /// The check under way.
    pub(crate) const fn awaited(&self) -> Option<Awaited> {
        self.awaited
    }

    /// When [`Check::on_wake`] has something to do.
    pub(crate) fn wake_at(&self) -> Instant {
        let deadline = self.awaited.map(|awaited| awaited.deadline);
        let window = self.is_only_early().then_some(self.detecting_until);
        let times = [deadline, window, self.refused.blocked_until];
        let first = times.into_iter().flatten().min();
        first.map_or(self.next_send, |at| at.min(self.next_send))
    }

    /// Time has passed.
    pub(crate) fn on_wake(&mut self, now: Instant) -> Due {
        let before = self.health();
        let mut due = Due::default();
        if let Some(awaited) = self.awaited
            && awaited.deadline <= now
        {
            self.awaited = None;
            due.unanswered = Some(awaited);
            self.on_result(now, self.is_well_unanswered(&awaited));
        }
        if self.is_only_early() && self.detecting_until <= now {
            self.health = Health::Healthy;
        }
        if self.refused.blocked_until.is_some_and(|until| until <= now) {
            self.refused = Refused::default();
        }
        due.change = self.changed_from(before);
        if self.next_send <= now {
            due.send = true;
            self.next_send += self.asked.interval;
            if self.next_send <= now {
                self.next_send = now + self.asked.interval;
            }
        }
        due
    }

    /// A check is sent from `port` with this sequence number.
    pub(crate) fn on_sent(&mut self, now: Instant, port: u16, sequence: u32) -> Awaited {
        let deadline = now + self.asked.timeout;
        let awaited = Awaited {
            deadline,
            port,
            sequence,
            pinged: false,
            talk: None,
        };
        self.awaited = Some(awaited);
        awaited
    }

    /// The check could not be sent, for want of a packet: that says nothing of the target.
    pub(crate) const fn on_unsent(&mut self) {
        self.awaited = None;
    }

    /// The check under way was answered, well or not. Gives the health when it changed.
    pub(crate) fn on_answer(&mut self, now: Instant, success: bool) -> Option<Health> {
        let before = self.health();
        self.awaited.take()?;
        self.on_result(now, success);
        self.changed_from(before)
    }

    /// The echo of the check under way was answered, which may be all that was wanted.
    pub(crate) fn on_echo(&mut self, now: Instant) -> Option<Health> {
        if self.asked.method == Method::Ping {
            return self.on_answer(now, true);
        }
        if let Some(awaited) = &mut self.awaited {
            awaited.pinged = true;
        }
        None
    }

    /// The exchange of the check under way has come so far.
    pub(crate) const fn on_talk(&mut self, talk: Talk) {
        if let Some(awaited) = &mut self.awaited {
            awaited.talk = Some(talk);
        }
    }

    /// A client was refused by the target. Gives the health when it changed.
    pub(crate) fn on_refused(&mut self, now: Instant) -> Option<Health> {
        if !self.asked.passive || !switch::is_on("P-HC15") {
            return None;
        }
        let before = self.health();
        let refused = &mut self.refused;
        if refused.blocked_until.is_some() {
            return None;
        }
        if refused.clients == 0 || now > refused.since + PASSIVE_BLOCK {
            *refused = Refused {
                since: now,
                ..Refused::default()
            };
        }
        refused.clients += 1;
        if refused.clients >= PASSIVE_FAILURES {
            refused.blocked_until = Some(now + PASSIVE_BLOCK);
        }
        self.changed_from(before)
    }

    /// Whether silence is a success: where the echo was answered and nobody refused the datagram.
    fn is_well_unanswered(&self, awaited: &Awaited) -> bool {
        self.asked.method == Method::UdpPort && awaited.pinged
    }

    fn on_result(&mut self, now: Instant, success: bool) {
        let length = if self.run.0 == success { self.run.1 } else { 0 };
        self.run = (success, length.saturating_add(1));
        let next = self.after(now);
        if let Some(window) = self.asked.damping
            && (self.health, next) == (Health::Healthy, Health::Abnormal)
        {
            self.falls.count_one(now, window);
        }
        self.health = next;
    }

    fn changed_from(&self, before: Health) -> Option<Health> {
        let health = self.health();
        (health != before).then_some(health)
    }

    /// The transitions.
    fn after(&self, now: Instant) -> Health {
        let (success, length) = self.run;
        let late = u8::from(!switch::is_on("P-HC05"));
        let healthy = self.asked.healthy.saturating_mul(self.falls.factor());
        let (succeeded, failed) = (
            success && length >= healthy.saturating_add(late),
            !success && length >= self.asked.unhealthy + late,
        );
        match self.health {
            Health::Detecting if succeeded && self.detecting_until <= now => Health::Healthy,
            Health::Detecting if failed => Health::Abnormal,
            Health::Detecting => Health::Detecting,
            Health::Healthy if failed => Health::Abnormal,
            Health::Healthy => Health::Healthy,
            Health::Abnormal if succeeded => Health::Healthy,
            Health::Abnormal => Health::Abnormal,
            Health::Closed | Health::Blocked => self.health,
        }
    }

    /// Whether all that is missing to be healthy is the end of the window.
    fn is_only_early(&self) -> bool {
        let (success, length) = self.run;
        self.health == Health::Detecting && success && length >= self.asked.healthy
    }
}

/// Values that a machine can work with, whatever a table says.
fn sound(asked: HealthCheck) -> HealthCheck {
    let interval = asked.interval.max(INTERVAL_MIN);
    HealthCheck {
        interval,
        timeout: asked.timeout.min(interval),
        unhealthy: asked.unhealthy.max(1),
        healthy: asked.healthy.max(1),
        ..asked
    }
}
