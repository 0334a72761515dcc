//! Successor: what becomes of the checks of one server when the routes ask for others.
//!
//! A check that is asked for in the same way goes on as if nothing had happened. One that is asked for in another way
//! keeps the health that was found. Of a server that was not checked, one that a listener had is alive, and one that
//! none had is new: it is told of and takes no flow until it was probed.

use std::collections::BTreeMap;

use anyedge_net::event::Health;
use anyedge_net::flow::Address;
use anyedge_net::outbox::Outbox;
use anyedge_net::rng::Rng;
use anyedge_net::route_table::{HealthCheck, RouteTable};
use anyedge_net::switch;
use anyedge_net::time::Instant;

use super::check::Check;
use super::roster::{Group, Roster, Use, Watched};
use super::tell;

/// What the routes want of one check of a server.
#[derive(Default)]
pub(super) struct Wanted {
    /// Who depends on it.
    pub(super) uses: Vec<Use>,
    /// One of them had the server already.
    pub(super) known: bool,
}

/// By how the server is to be checked.
pub(super) type WantedOfServer = BTreeMap<HealthCheck, Wanted>;

/// Makes checks that follow others.
pub(super) struct Successor<'a, S> {
    pub(super) now: Instant,
    pub(super) new: &'a RouteTable,
    /// The randomness of a check, named by its load balancer and its server.
    pub(super) stream: S,
}

impl<S: Fn(&str) -> Rng> Successor<'_, S> {
    /// Puts the checks that are `wanted` of a server on the roster, in place of those of `before`, which are in the
    /// order of how they were asked for. Whether the server was checked and is so no longer.
    pub(super) fn follow(
        &self,
        (group, vip): (Group, Address),
        mut before: Vec<Watched>,
        wanted: WantedOfServer,
        roster: &mut Roster,
        out: &mut Outbox,
    ) -> bool {
        let ends = !before.is_empty() && wanted.is_empty();
        let mut changed = Vec::new();
        for (asked, mut wanted) in wanted {
            wanted.uses.sort_unstable();
            let same = before.iter().position(|watched| watched.asked == asked);
            match same {
                Some(at) => {
                    let mut watched = before.remove(at);
                    (watched.clb, watched.vip) = (group.0, vip);
                    watched.uses = wanted.uses;
                    roster.add(watched);
                }
                None => changed.push((asked, wanted)),
            }
        }
        for (asked, wanted) in changed {
            let watched = self.lay((group, vip), before.pop(), (asked, wanted), out);
            roster.add(watched);
        }
        ends
    }

    /// A check that is asked for as none of that server was; `old` is one that was asked for in another way.
    fn lay(
        &self,
        ((clb, target, port), vip): (Group, Address),
        old: Option<Watched>,
        (asked, wanted): (HealthCheck, Wanted),
        out: &mut Outbox,
    ) -> Watched {
        let name = self.new.clbs[clb.index()].name.as_str();
        let mut rng = (self.stream)(&format!("health {name}/{target}:{port}"));
        let phase = rng.up_to(Check::phase_max(&asked));
        let (turn, sequence) = match &old {
            Some(old) => (old.turn, old.sequence),
            None => (rng.bits() as u16, rng.bits() as u32),
        };
        let way = asked.clone();
        let check = match old {
            Some(other) => other.check.asked_anew(way, self.now, phase),
            None if wanted.known || !switch::is_on("S-BE13") => {
                Check::of_known(way, self.now, phase)
            }
            None => {
                tell(target, port, Health::Detecting, out);
                Check::of_new(way, self.now, phase)
            }
        };
        Watched {
            clb,
            vip,
            from: vip,
            target,
            port,
            asked,
            check,
            turn,
            sequence,
            uses: wanted.uses,
        }
    }

    /// Tells of servers, sorted, that are no longer checked and yet still there.
    pub(super) fn tell_of_closed(&self, ended: &[Group], out: &mut Outbox) {
        let mut closed = Vec::new();
        for of_clb in ended.chunk_by(|one, other| one.0 == other.0) {
            let (clb, ..) = of_clb[0];
            let clb = &self.new.clbs[clb.index()];
            let targets = clb.listeners.iter().flat_map(|listener| &listener.targets);
            closed.extend(targets.filter_map(|target| {
                let place = (target.address, target.port);
                let found =
                    of_clb.binary_search_by_key(&place, |(_, address, port)| (*address, *port));
                found.is_ok().then_some((clb.name.as_str(), place))
            }));
        }
        closed.sort_unstable();
        closed.dedup();
        for (_, (target, port)) in closed {
            tell(target, port, Health::Closed, out);
        }
    }
}
