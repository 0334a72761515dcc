//! Which way packets to a VIP leave a namespace, from when on: by which POP a population enters, what a router knows.
//!
//! The kernel is asked for its route every few milliseconds, as a packet would ask it; so this tells what packets meet,
//! whoever moves the routes. A turn is told when it is seen, at most [`LOOK_EVERY`] and the machine's delay after it came.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyedge_net::time::Instant;
use anyhow::Result;

use crate::dataplane::clock::{Clock as _, MonotonicClock};
use crate::netlink::Netlink;
use crate::netns::Namespace;

/// How often the kernel is asked.
const LOOK_EVERY: Duration = Duration::from_millis(4);
/// Turns that are remembered; further ones are not.
const TURNS_MAX: usize = 1_000;

/// A way that packets take from a time on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When it was seen first.
    pub at: Instant,
    /// The POP at its end; none while there is no way.
    pub pop: Option<String>,
}

/// A namespace, and the POPs behind its interfaces.
pub(super) struct Watch {
    pub(super) namespace: Namespace,
    /// Interfaces, and the POP behind each.
    pub(super) exits: Vec<(String, String)>,
    /// Where the packets go to.
    pub(super) vip: IpAddr,
}

impl Watch {
    /// Looks until `stop`, and gives what it saw: the way at the beginning, and every turn.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub(super) fn look(&self, clock: MonotonicClock, stop: &AtomicBool) -> Result<Vec<Turn>> {
        self.namespace.run(|| {
            let netlink = Netlink::open()?;
            let mut turns: Vec<Turn> = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let exit = netlink.way_out(self.vip)?;
                let pop = exit.and_then(|exit| self.behind(&exit));
                let at = clock.now();
                let has_turned = turns.last().is_none_or(|last| last.pop != pop);
                if has_turned && turns.len() < TURNS_MAX {
                    turns.push(Turn { at, pop });
                }
                std::thread::sleep(LOOK_EVERY);
            }
            Ok(turns)
        })
    }

    fn behind(&self, exit: &str) -> Option<String> {
        let mut exits = self.exits.iter();
        let (_, pop) = exits.find(|(interface, _)| interface == exit)?;
        Some(pop.clone())
    }
}
