//! The scenario: what happens to the world from outside, at the times that the file says.
//!
//! A fault is a list of acts when it begins and a list when it ends, each some time after. A fault of a POP
//! is two acts: the node stops at once, and the Internet notices when half of it has converged; the same again
//! when it returns. In between, packets still go where the Internet last believed the POP to be, and end there
//! as `PopDown`. A fault of a host stops its vSwitch and its machine; a fault of a link concerns each of its
//! directions.

use core::time::Duration;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::id::NodeId;
use anyedge_net::time::Instant;
use anyedge_topologies::{Convergence, Degrade, Fault, FaultVerb};

use crate::executor::HostId;
use crate::internet::SiteId;
use crate::world::LinkId;

/// One act of the scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    /// The node stops: packets to it are lost as that, its state is gone.
    NodeDown(NodeId, DropReason),
    /// The node starts again, knowing only the route table.
    NodeUp(NodeId),
    /// The Internet learns whether the site announces its VIPs.
    Announce(SiteId, bool),
    /// The machine behind a vSwitch stops: sockets and services are gone.
    HostDown(HostId),
    /// The machine starts again, with the services that it had at first.
    HostUp(HostId),
    /// The link loses what is on it and takes nothing more.
    LinkDown(LinkId),
    /// The link carries again.
    LinkUp(LinkId),
    /// The link gets worse.
    Degrade(LinkId, Box<Degrade>),
    /// The link is what it was before it got worse.
    Restore(LinkId),
}

/// What the object of a fault is in the world.
pub(crate) enum Struck {
    Pop {
        node: NodeId,
        site: SiteId,
    },
    Host {
        node: NodeId,
        host: HostId,
    },
    /// The directions that the fault concerns.
    Link(Vec<LinkId>),
}

/// When each act of `fault` is due.
pub(crate) fn acts_of(
    fault: &Fault,
    struck: &Struck,
    convergence: &Convergence,
) -> Vec<(Instant, Act)> {
    let (begin, end) = acts(fault, struck, convergence);
    let due = |start: Duration, acts: Course| {
        let acts = acts.into_iter();
        acts.map(move |(after, act)| (Instant::ZERO + start + after, act))
    };
    let mut all: Vec<(Instant, Act)> = due(fault.at, begin).collect();
    if let Some(over) = fault.end() {
        all.extend(due(over, end));
    }
    all
}

/// Acts, each by the time after the beginning or the end of its fault.
type Course = Vec<(Duration, Act)>;

/// What begins a fault and what ends it.
fn acts(fault: &Fault, struck: &Struck, convergence: &Convergence) -> (Course, Course) {
    const AT_ONCE: Duration = Duration::ZERO;
    const HALF_PPM: u32 = 500_000;
    match (struck, &fault.verb) {
        (Struck::Pop { node, site }, _) => (
            vec![
                (AT_ONCE, Act::NodeDown(*node, DropReason::PopDown)),
                (
                    convergence.withdraw.time_at(HALF_PPM),
                    Act::Announce(*site, false),
                ),
            ],
            vec![
                (AT_ONCE, Act::NodeUp(*node)),
                (
                    convergence.announce.time_at(HALF_PPM),
                    Act::Announce(*site, true),
                ),
            ],
        ),
        (Struck::Host { node, host }, _) => (
            vec![
                (AT_ONCE, Act::NodeDown(*node, DropReason::HostDown)),
                (AT_ONCE, Act::HostDown(*host)),
            ],
            vec![(AT_ONCE, Act::NodeUp(*node)), (AT_ONCE, Act::HostUp(*host))],
        ),
        (Struck::Link(ways), verb) => {
            let begin = ways.iter().map(|way| match verb {
                FaultVerb::Degrade(degrade) => Act::Degrade(*way, Box::new(degrade.clone())),
                _ => Act::LinkDown(*way),
            });
            let end = ways.iter().map(|way| match verb {
                FaultVerb::Degrade(_) => Act::Restore(*way),
                _ => Act::LinkUp(*way),
            });
            (
                begin.map(|act| (AT_ONCE, act)).collect(),
                end.map(|act| (AT_ONCE, act)).collect(),
            )
        }
    }
}
