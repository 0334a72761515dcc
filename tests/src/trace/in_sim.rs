//! A trace played to a node of a simulated world.

use std::sync::Arc;

use anyedge_sim::replay::Replay;

use super::{Input, Trace, Transcript};

/// Plays `trace` by the simulator's driver.
///
/// # Panics
/// When a packet is not accounted for at the end.
pub fn play(trace: &Trace) -> Transcript {
    let built = Replay::new(&trace.network.topology, trace.node);
    let mut replay = built.expect("a shipped topology can be built");
    let mut outputs = Vec::with_capacity(trace.entries.len());
    for entry in &trace.entries {
        match &entry.input {
            Input::Apply(table) => {
                replay.apply(entry.at, Arc::clone(&trace.network.tables[*table]))
            }
            Input::Packet(arrival) => replay.arrive(entry.at, arrival),
            Input::Silence => replay.pass(entry.at),
        }
        outputs.push(replay.take_departures());
    }
    Transcript {
        outputs,
        events: replay.take_events(),
        drops: replay.finish(),
    }
}
