//! Whether what the simulator says is true: against what others measured, and what theory says.
//!
//! What needs the measured data is skipped loudly without it (`ANYEDGE_DATA`).

#[path = "proofs/edge.rs"]
mod edge;
#[path = "proofs/goodput.rs"]
mod goodput;
#[path = "proofs/little.rs"]
mod little;
#[path = "proofs/losses.rs"]
mod losses;
#[path = "proofs/queues.rs"]
mod queues;
#[path = "proofs/reality.rs"]
mod reality;
#[path = "proofs/stalls.rs"]
mod stalls;
#[path = "proofs/theory.rs"]
mod theory;
#[path = "proofs/wires.rs"]
mod wires;
