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
//! Invariant: at most one check is awaited.

use core::time::Duration;

use anyedge_net::event::Health;
use anyedge_net::route_table::HealthCheck;
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
    /// The sequence number of its SYN.
    pub(crate) sequence: u32,
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    asked: HealthCheck,
    health: Health,
    /// Whether the last checks succeeded, and how many in a row did as the last.
    run: (bool, u8),
    /// End of the window in which a new target takes no flow.
    detecting_until: Instant,
    next_send: Instant,
    awaited: Option<Awaited>,
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
    pub(crate) fn phase_max(asked: HealthCheck) -> Duration {
        let asked = sound(asked);
        asked.interval - asked.timeout
    }

    /// What is thought of the target.
    pub(crate) const fn health(&self) -> Health {
        self.health
    }

    /// The check under way.
    pub(crate) const fn awaited(&self) -> Option<Awaited> {
        self.awaited
    }

    /// When [`Check::on_wake`] has something to do.
    pub(crate) fn wake_at(&self) -> Instant {
        let deadline = self.awaited.map(|awaited| awaited.deadline);
        let window = self.is_only_early().then_some(self.detecting_until);
        let first = deadline.into_iter().chain(window).min();
        first.map_or(self.next_send, |at| at.min(self.next_send))
    }

    /// Time has passed.
    pub(crate) fn on_wake(&mut self, now: Instant) -> Due {
        let mut due = Due::default();
        if let Some(awaited) = self.awaited
            && awaited.deadline <= now
        {
            self.awaited = None;
            due.unanswered = Some(awaited);
            due.change = self.on_result(now, false);
        }
        if self.is_only_early() && self.detecting_until <= now {
            due.change = self.become_(Health::Healthy);
        }
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
        };
        self.awaited = Some(awaited);
        awaited
    }

    /// The check could not be sent, for want of a packet: that says nothing of the target.
    pub(crate) const fn on_unsent(&mut self) {
        self.awaited = None;
    }

    /// The check under way was answered, by a SYN+ACK or by a RST. Gives the health when it changed.
    pub(crate) fn on_answer(&mut self, now: Instant, success: bool) -> Option<Health> {
        self.awaited.take()?;
        self.on_result(now, success)
    }

    fn on_result(&mut self, now: Instant, success: bool) -> Option<Health> {
        let length = if self.run.0 == success { self.run.1 } else { 0 };
        self.run = (success, length.saturating_add(1));
        let next = self.after(now);
        if next == self.health {
            return None;
        }
        self.become_(next)
    }

    /// The transitions.
    fn after(&self, now: Instant) -> Health {
        let (success, length) = self.run;
        let late = u8::from(!switch::is_on("P-HC05"));
        let (succeeded, failed) = (
            success && length >= self.asked.healthy + late,
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
            Health::Closed => Health::Closed,
        }
    }

    /// Whether all that is missing to be healthy is the end of the window.
    fn is_only_early(&self) -> bool {
        let (success, length) = self.run;
        self.health == Health::Detecting && success && length >= self.asked.healthy
    }

    fn become_(&mut self, health: Health) -> Option<Health> {
        self.health = health;
        Some(health)
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
    }
}
