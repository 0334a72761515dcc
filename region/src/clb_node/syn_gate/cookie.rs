//! Cookies: numbers that only who gets a node's packets can know.
//!
//! A cookie is a keyed hash of the flow and of a coarse time, so none is remembered: the node computes it again
//! when it comes back, for this period and the one before. Guessing takes 2^31 tries on average, for one address.
//!
//! Invariant: a cookie is good for at least [`PERIOD`] and at most twice that.

use core::time::Duration;

use anyedge_net::flow::{FlowKey, HashKey};
use anyedge_net::rng::Rng;
use anyedge_net::time::{Instant, nanos};

/// How long a cookie is given out.
const PERIOD: Duration = Duration::from_secs(8);

/// The flow's hash, and the period.
const INPUT_LEN: usize = 24;

/// The secret that cookies are made with.
pub(super) struct Cookies {
    flows: HashKey,
    periods: HashKey,
}

impl Cookies {
    /// A secret drawn from `rng`.
    pub(super) fn new(rng: &mut Rng) -> Cookies {
        let mut key = || {
            let mut bytes = [0; 16];
            rng.fill(&mut bytes);
            HashKey::new(bytes)
        };
        Cookies {
            flows: key(),
            periods: key(),
        }
    }

    /// The cookie of a flow, client to VIP, at this time.
    pub(super) fn of(&self, now: Instant, flow: &FlowKey) -> u32 {
        self.at(now.as_nanos() / nanos(PERIOD), flow)
    }

    /// Whether `cookie` was given out for the flow lately.
    pub(super) fn is_ours(&self, now: Instant, flow: &FlowKey, cookie: u32) -> bool {
        let period = now.as_nanos() / nanos(PERIOD);
        cookie == self.at(period, flow)
            || period
                .checked_sub(1)
                .is_some_and(|before| cookie == self.at(before, flow))
    }

    fn at(&self, period: u64, flow: &FlowKey) -> u32 {
        let mut input = [0; INPUT_LEN];
        input[..8].copy_from_slice(&flow.hash(&self.flows).to_le_bytes());
        input[8..16].copy_from_slice(&flow.hash(&self.periods).to_le_bytes());
        input[16..].copy_from_slice(&period.to_le_bytes());
        self.periods.hash_bytes(&input) as u32
    }
}

#[cfg(test)]
mod tests {
    use anyedge_net::flow::Family;
    use anyedge_net::rng::Seed;
    use anyedge_net::wire::tcp;
    use proptest::prelude::*;

    use super::*;
    use crate::testbed::client_flow;

    fn cookies(seed: u64) -> Cookies {
        Cookies::new(&mut Seed(seed).stream("node", "test"))
    }

    proptest! {
        #[test]
        fn a_cookie_is_good_for_its_flow_for_a_while_and_for_nothing_else(
            number in 0_u32..1_000_000,
            v6: bool,
            at in 0_u64..1 << 50,
            later in 0_u64..40_000_000_000,
        ) {
            let family = if v6 { Family::V6 } else { Family::V4 };
            let flow = client_flow(family, tcp::PROTOCOL, 80, number);
            let cookies = cookies(7);
            let (given, back) = (Instant::from_nanos(at), Instant::from_nanos(at + later));
            let cookie = cookies.of(given, &flow);
            let periods = back.as_nanos() / nanos(PERIOD) - given.as_nanos() / nanos(PERIOD);
            prop_assert_eq!(cookies.is_ours(back, &flow, cookie), periods <= 1);
            let other_port = FlowKey { src_port: flow.src_port ^ 1, ..flow };
            prop_assert!(!cookies.is_ours(given, &other_port, cookie));
            let other_client = client_flow(family, tcp::PROTOCOL, 80, number + 1);
            prop_assert!(!cookies.is_ours(given, &other_client, cookie));
            prop_assert!(!self::cookies(8).is_ours(given, &flow, cookie), "another node's secret");
        }
    }
}
