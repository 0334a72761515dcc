//! The scenario: what happens to the world from outside, at the times that the file says.
//!
//! A fault of a POP is two things at two times: the node stops at once, and the Internet notices
//! `convergence` later; the same again when it returns. In between, packets still go where the Internet
//! last believed the POP to be, and end there as `PopDown`.

use core::time::Duration;

use anyedge_net::id::NodeId;
use anyedge_net::time::Instant;
use anyedge_topologies::{Fault, FaultVerb};

use crate::internet::SiteId;

/// One act of the scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    /// The node stops: packets to it are lost, its state is gone.
    PopDown(NodeId),
    /// The node starts again, knowing only the route table.
    PopUp(NodeId),
    /// The Internet learns whether the site announces its VIPs.
    Announce(SiteId, bool),
}

/// When each act of `fault` is due.
pub(crate) fn acts_of(
    fault: &Fault,
    node: NodeId,
    site: SiteId,
    convergence: Duration,
) -> Vec<(Instant, Act)> {
    let at = |time: Duration| Instant::ZERO + time;
    match fault.verb {
        FaultVerb::Down => {
            let mut acts = vec![
                (at(fault.at), Act::PopDown(node)),
                (at(fault.at + convergence), Act::Announce(site, false)),
            ];
            if let Some(end) = fault.end() {
                acts.push((at(end), Act::PopUp(node)));
                acts.push((at(end + convergence), Act::Announce(site, true)));
            }
            acts
        }
    }
}
