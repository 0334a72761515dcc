//! What of a file's faults a play has, and when: the marks at which flows are judged.
//!
//! [`Scenario`](crate::lab::fault::scenario::Scenario) plays them. What it refuses whatever the lab is like is told
//! before, so that a caller can leave it out.

use std::time::Duration;

use anyedge_net::time::Instant;
use anyedge_topologies::{FaultVerb, Topology};

/// The faults of a file that a lab cannot have, as the file's own words for them.
pub fn unplayable(topology: &Topology) -> Vec<String> {
    let faults = topology.faults.iter();
    let refused = faults.filter(|own| match &own.verb {
        FaultVerb::Down { wipe } => *wipe,
        FaultVerb::Withdraw
        | FaultVerb::Add
        | FaultVerb::EniMove { .. }
        | FaultVerb::Partition(_)
        | FaultVerb::Clock(_)
        | FaultVerb::Disk(_) => true,
        FaultVerb::Degrade(_)
        | FaultVerb::Hang
        | FaultVerb::Drain
        | FaultVerb::Weight(_)
        | FaultVerb::Unbind
        | FaultVerb::Stale
        | FaultVerb::Autoscale(_) => false,
    });
    refused.map(ToString::to_string).collect()
}

/// When faults begin and end, as far as they begin before `duration`.
pub(super) fn times(topology: &Topology, duration: Duration) -> Vec<Instant> {
    let begun = topology.faults.iter().filter(|own| own.at < duration);
    let times = begun.flat_map(|own| [Some(own.at), own.lasts.map(|lasts| own.at + lasts)]);
    times.flatten().map(|at| Instant::ZERO + at).collect()
}
