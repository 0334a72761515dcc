//! The gate of one listener: when it shuts and when it opens again.
//!
//! Two measures of a flood: half-open flows in the connection table, and a debt of SYNs that were not answered by
//! a handshake or a proof, which is paid off at a fixed rate. Either above its limit shuts the gate at once. It
//! opens when both are far below, and not before [`SHUT_MIN`] has passed, so that it does not flap: refused SYNs
//! go on adding to the debt.
//!
//! Invariant: the debt is at most twice its limit, so a flood that ended is paid off in bounded time.

use core::time::Duration;

use anyedge_net::event::Event;
use anyedge_net::id::ClbId;
use anyedge_net::time::{Instant, nanos};

/// Half-open flows of a listener that shut its gate: one in so many of the table's flows.
pub const HALF_OPEN_SHARE: usize = 8;
/// Unanswered SYNs at a time that shut a listener's gate: one in so many of the table's flows.
pub const UNANSWERED_SHARE: usize = 16;
/// Neither limit is below this many.
pub const HALF_OPEN_MIN: usize = 256;
/// Unanswered SYNs that are forgotten in a second.
pub const UNANSWERED_PER_SECOND: u32 = 1_000;
/// A gate that shut stays so at least this long, and is looked at again as often.
pub const SHUT_MIN: Duration = Duration::from_secs(5);

const PAID_OFF_EACH: Duration = Duration::from_nanos(1_000_000_000 / UNANSWERED_PER_SECOND as u64);

/// A listener's gate.
#[derive(Clone, Copy, Debug)]
pub(in crate::clb_node) struct Gate {
    clb: ClbId,
    listener: u16,
    /// When the debt of unanswered SYNs is paid off, if no more come.
    debt_until: Instant,
    /// While shut: when it is looked at next.
    look_at: Option<Instant>,
}

/// Half-open flows above which a gate shuts.
fn half_open_max(flows_max: usize) -> usize {
    (flows_max / HALF_OPEN_SHARE).max(HALF_OPEN_MIN)
}

/// Debt above which a gate shuts.
fn debt_max(flows_max: usize) -> Duration {
    let syns = (flows_max / UNANSWERED_SHARE).max(HALF_OPEN_MIN);
    PAID_OFF_EACH.saturating_mul(syns as u32)
}

impl Gate {
    /// An open gate of a load balancer's listener.
    pub(super) const fn new(clb: ClbId, listener: u16) -> Gate {
        Gate {
            clb,
            listener,
            debt_until: Instant::ZERO,
            look_at: None,
        }
    }

    /// The same gate under other numbers.
    pub(super) const fn moved_to(&self, clb: ClbId, listener: u16) -> Gate {
        Gate {
            clb,
            listener,
            ..*self
        }
    }

    /// Its load balancer, and its listener's place there.
    pub(super) const fn place(&self) -> (ClbId, u16) {
        (self.clb, self.listener)
    }

    /// Whether clients must prove their address.
    pub(super) const fn is_shut(&self) -> bool {
        self.look_at.is_some()
    }

    /// A SYN came that is not answered yet.
    pub(super) fn on_syn(&mut self, now: Instant, flows_max: usize) {
        let most = now + debt_max(flows_max).saturating_mul(2);
        self.debt_until = (self.debt_until.max(now) + PAID_OFF_EACH).min(most);
    }

    /// A SYN was answered by its client: with the end of the handshake, or with a proof.
    pub(super) fn on_answered(&mut self) {
        let nanos = self
            .debt_until
            .as_nanos()
            .saturating_sub(nanos(PAID_OFF_EACH));
        self.debt_until = Instant::from_nanos(nanos);
    }

    /// Whether either measure is above its limit.
    pub(super) fn is_flooded(&self, now: Instant, half_open: usize, flows_max: usize) -> bool {
        half_open > half_open_max(flows_max) || self.debt_until.since(now) > debt_max(flows_max)
    }

    /// Shuts the gate and gives the event that tells of it.
    pub(super) fn shut(&mut self, now: Instant) -> Event {
        self.look_at = Some(now + SHUT_MIN);
        self.event(true)
    }

    /// Opens a shut gate whose time has come if the flood is over; gives the event then.
    pub(super) fn look(
        &mut self,
        now: Instant,
        half_open: usize,
        flows_max: usize,
    ) -> Option<Event> {
        if self.look_at.is_none_or(|at| now < at) {
            return None;
        }
        let calm = half_open <= half_open_max(flows_max) / 2
            && self.debt_until.since(now) <= debt_max(flows_max) / 4;
        if !calm {
            self.look_at = Some(now + SHUT_MIN);
            return None;
        }
        self.look_at = None;
        Some(self.event(false))
    }

    /// When to [`Gate::look`] next; `None` while open.
    pub(super) const fn wake_at(&self) -> Option<Instant> {
        self.look_at
    }

    const fn event(&self, shut: bool) -> Event {
        Event::SynGate {
            clb: self.clb,
            listener: self.listener,
            shut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOWS_MAX: usize = 65_536;
    const START: Instant = Instant::from_nanos(7_000_000_000);

    fn gate() -> Gate {
        Gate::new(ClbId(3), 1)
    }

    /// SYNs at a steady rate for a while; the time at which the gate is flooded first.
    fn flooded_after(
        gate: &mut Gate,
        rate: u64,
        most: Duration,
        answered: bool,
    ) -> Option<Duration> {
        let count = rate * most.as_secs();
        (0..count).find_map(|number| {
            let now = START + Duration::from_nanos(number * 1_000_000_000 / rate);
            gate.on_syn(now, FLOWS_MAX);
            if answered {
                gate.on_answered();
            }
            gate.is_flooded(now, 0, FLOWS_MAX).then(|| now.since(START))
        })
    }

    #[test]
    fn unanswered_syns_shut_it_in_the_time_that_their_rate_takes() {
        let after = flooded_after(&mut gate(), 10_000, Duration::from_secs(5), false);
        let millis = after.expect("a flood").as_millis();
        assert!(
            (450..470).contains(&millis),
            "4,096 at 9,000/s: {millis} ms"
        );
        let below = flooded_after(&mut gate(), 1_000, Duration::from_secs(60), false);
        assert_eq!(below, None, "as many as are forgotten");
        let genuine = flooded_after(&mut gate(), 50_000, Duration::from_secs(5), true);
        assert_eq!(genuine, None, "all are answered");
    }

    #[test]
    fn a_share_of_the_table_half_open_shuts_it_at_any_rate() {
        assert!(!gate().is_flooded(START, 8_192, FLOWS_MAX));
        assert!(gate().is_flooded(START, 8_193, FLOWS_MAX));
        assert!(
            !gate().is_flooded(START, 256, 64),
            "small tables have a floor"
        );
    }

    #[test]
    fn it_opens_when_the_flood_is_over_and_not_before() {
        let mut gate = gate();
        flooded_after(&mut gate, 10_000, Duration::from_secs(2), false);
        let shut = START + Duration::from_secs(2);
        let event = |shut| Event::SynGate {
            clb: ClbId(3),
            listener: 1,
            shut,
        };
        assert_eq!(gate.shut(shut), event(true));
        for _ in 0..100_000 {
            gate.on_syn(shut, FLOWS_MAX);
        }
        assert_eq!(
            gate.look(shut + SHUT_MIN / 2, 0, FLOWS_MAX),
            None,
            "too early"
        );
        let first = gate.wake_at().expect("it is shut");
        assert_eq!(first, shut + SHUT_MIN);
        assert_eq!(gate.look(first, 0, FLOWS_MAX), None, "in debt");
        assert_eq!(gate.wake_at(), Some(first + SHUT_MIN));
        let second = first + SHUT_MIN;
        assert_eq!(gate.look(second, 4_097, FLOWS_MAX), None, "half-open flows");
        assert_eq!(
            gate.look(second + SHUT_MIN, 4_096, FLOWS_MAX),
            Some(event(false))
        );
        assert!(!gate.is_shut());
    }
}
