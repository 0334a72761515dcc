//! Choice: which of the live ways to a node is taken.
//!
//! Ways that are not to be emptied before those that are; then those that lose little before grey ones; then those that end at the node before detours; then the one at least
//! cost, or of grey ones that with the least loss. A way in use is left at once when it is down; when it is not, only
//! for one that has lived for [`SETTLE_AFTER`] and is better: less grey, or by a tenth and a millisecond. A path that
//! flaps moves traffic once, not at every turn.

use core::time::Duration;

use anyedge_net::id::RegionId;
use anyedge_net::route_table::{Node, NodeKind};
use anyedge_net::time::{Instant, nanos};

use super::link::Link;
use super::ways::{Way, exit_of};
use super::{Exits, NONE};
use crate::probe::Standing;

/// How long a better way must have lived before traffic moves to it.
pub const SETTLE_AFTER: Duration = Duration::from_secs(5);
/// A better way is better by at least this.
const MARGIN_MIN: Duration = Duration::from_millis(1);

/// What was decided about a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    /// Of the way that is taken.
    pub(super) rtt_ns: u64,
    rank: Rank,
    direct_rtt_ns: u64,
    direct_rank: Rank,
    is_draining: bool,
    /// Where it is, for a CLB node.
    region: Option<RegionId>,
    /// Whether it answers probes over a path of this node's own.
    is_proven: bool,
    /// Whether it gets no slot until the next revision.
    is_passed_over: bool,
}

/// The order of ways before their cost.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Rank {
    is_down: bool,
    is_draining: bool,
    is_grey: bool,
    is_detour: bool,
    lost: u8,
}

impl Rank {
    const fn is_poor(&self) -> bool {
        self.is_grey || self.is_draining
    }
}

const NO_WAY: Rank = Rank {
    is_down: true,
    is_draining: true,
    is_grey: false,
    is_detour: false,
    lost: 0,
};

impl Verdict {
    pub(super) fn fresh(node: &Node) -> Verdict {
        Verdict {
            rtt_ns: u64::MAX,
            rank: NO_WAY,
            direct_rtt_ns: u64::MAX,
            direct_rank: NO_WAY,
            is_draining: node.draining,
            region: match node.kind {
                NodeKind::ClbNode(region) => Some(region),
                NodeKind::Pop | NodeKind::Host(_) => None,
            },
            is_proven: false,
            is_passed_over: false,
        }
    }

    /// Another revision begins: nobody is passed over.
    pub(super) const fn forget(&mut self) {
        self.is_proven = false;
        self.is_passed_over = false;
    }

    /// The less, the better to send to.
    pub(super) fn cost(&self) -> (bool, bool, u64) {
        (self.rank.is_poor(), self.is_draining, self.rtt_ns)
    }

    /// The same by the node's own paths.
    pub(super) fn direct_cost(&self) -> (bool, bool, u64) {
        (
            self.direct_rank.is_poor(),
            self.is_draining,
            self.direct_rtt_ns,
        )
    }

    pub(super) fn is_poor(&self) -> bool {
        self.rank.is_poor()
    }
}

impl Exits {
    /// Chooses anew if anything changed or became due.
    pub fn refresh(&mut self, now: Instant) {
        if !self.is_stale && self.settled_at.is_none_or(|at| now < at) {
            return;
        }
        self.is_stale = false;
        self.changes += 1;
        self.settled_at = None;
        for way in &mut self.ways {
            way.rtt_ns = nanos(self.links[way.link].rtt).saturating_add(way.leg_ns);
            let live = way.hear(&self.links);
            if live && !way.live {
                way.live_since = Some(now);
            }
            way.live = live;
        }
        for node in 0..self.verdicts.len() {
            self.choose(now, node);
        }
        self.pass_over();
        self.note_reach();
    }

    /// Chooses the way to a node.
    fn choose(&mut self, now: Instant, node: usize) {
        let (first, end) = (self.first[node] as usize, self.first[node + 1] as usize);
        let links = &self.links;
        let rank = |way: &Way| rank(way, links);
        let ways = &mut self.ways[first..end];
        let current = ways.iter().position(|way| way.chosen && way.live);
        let may_take = |way: &Way| {
            let current = current.map(|current| &ways[current]);
            let due = current.map(|current| replaces_at(way, current, links));
            way.live && due.is_none_or(|due| due.is_some_and(|at| at <= now))
        };
        // Of equal cost is the first, by what the table says.
        let order = |at: &usize| (rank(&ways[*at]), ways[*at].rtt_ns, *at);
        let better = (0..ways.len())
            .filter(|at| may_take(&ways[*at]))
            .min_by_key(order);
        let direct = |at: &usize| ways[*at].live && !ways[*at].is_detour;
        let taken = better.or(current);
        let direct = taken
            .filter(direct)
            .or_else(|| (0..ways.len()).filter(direct).min_by_key(order));
        let way = taken.map(|taken| &ways[taken]);
        if let Some(current) = way {
            let due = ways.iter().filter(|way| way.live);
            let due = due.filter_map(|way| replaces_at(way, current, links));
            let due = due.filter(|at| now < *at).chain(self.settled_at);
            self.settled_at = due.min();
        }
        self.best[node] = exit_of(way);
        self.direct[node] = exit_of(direct.map(|direct| &ways[direct]));
        let verdict = &mut self.verdicts[node];
        (verdict.rank, verdict.rtt_ns) =
            way.map_or((NO_WAY, u64::MAX), |way| (rank(way), way.rtt_ns));
        let way = direct.map(|direct| &ways[direct]);
        (verdict.direct_rank, verdict.direct_rtt_ns) =
            way.map_or((NO_WAY, u64::MAX), |way| (rank(way), way.rtt_ns));
        for (at, way) in ways.iter_mut().enumerate() {
            way.chosen = Some(at) == taken;
        }
    }

    /// Decides which nodes get slots: those reached directly, but for those that were lost while others of
    /// their region were reached well. A whole region out of reach, or reached with losses, is the path's fault,
    /// not its nodes'.
    fn pass_over(&mut self) {
        for node in 0..self.verdicts.len() {
            let before = self.verdicts[node];
            let is_reached = self.direct[node] != NONE;
            let others = |may_be_grey: bool| {
                let of_region = |other: &&Verdict| other.region == before.region;
                let mut others = self.verdicts.iter().filter(of_region);
                others.any(|other| {
                    !other.direct_rank.is_down && (may_be_grey || !other.direct_rank.is_grey)
                })
            };
            let verdict = if before.region.is_none() || is_reached && !before.is_passed_over {
                false
            } else {
                let is_lost = before.is_proven && !is_reached;
                let is_down = before.is_passed_over && others(true) || is_lost && others(false);
                self.fallback && is_down
            };
            let (first, end) = (self.first[node] as usize, self.first[node + 1] as usize);
            let mut ways = self.ways[first..end].iter();
            self.verdicts[node].is_proven =
                ways.any(|way| !way.is_detour && way.live && self.links[way.link].is_proven);
            self.verdicts[node].is_passed_over = verdict;
            self.serving[node] = if is_reached && !verdict {
                self.best[node]
            } else {
                NONE
            };
        }
    }

    /// Notes whom this node reaches itself.
    fn note_reach(&mut self) {
        let (mut regions, mut pops) = (0, 0);
        for link in self.links.iter().filter(|link| link.is_live()) {
            let bit = |bit: u32| 1_u128.checked_shl(bit).unwrap_or(0);
            match link.region {
                Some(region) => regions |= bit(region.0.into()),
                None => pops |= link.pop_place.map_or(0, bit),
            }
        }
        (self.reaches_regions, self.reaches_pops) = (regions, pops);
    }
}

/// When `way` may take the place of `current`; `None` when it is not better.
fn replaces_at(way: &Way, current: &Way, links: &[Link]) -> Option<Instant> {
    let (new, old) = (rank(way, links), rank(current, links));
    let settled_at = way
        .live_since
        .map_or(Instant::ZERO, |since| since + SETTLE_AFTER);
    if new.is_draining != old.is_draining {
        return old.is_draining.then_some(settled_at);
    }
    if new.is_grey || old.is_grey {
        let loses_less = match (new.is_grey, old.is_grey) {
            (true, true) => u32::from(new.lost) * 2 < u32::from(old.lost),
            (new, old) => old && !new,
        };
        return loses_less.then_some(settled_at);
    }
    let margin = nanos(margin(Duration::from_nanos(current.rtt_ns)));
    let is_better = match (new.is_detour, old.is_detour) {
        (false, true) => true,
        (true, false) => false,
        (true, true) | (false, false) => way.rtt_ns.saturating_add(margin) <= current.rtt_ns,
    };
    is_better.then_some(settled_at)
}

/// By how much a round trip must differ from another to matter: a tenth, and a millisecond at least.
pub(crate) fn margin(rtt: Duration) -> Duration {
    (rtt / 10).max(MARGIN_MIN)
}

fn rank(way: &Way, links: &[Link]) -> Rank {
    let (is_down, is_grey, lost) = match way.standing(links) {
        Standing::Up => (false, false, 0),
        Standing::Grey { lost } => (false, true, lost),
        Standing::Down => (true, false, 0),
    };
    let is_detour = way.is_detour;
    Rank {
        is_down,
        is_draining: links[way.link].is_draining,
        is_grey,
        is_detour,
        lost,
    }
}
