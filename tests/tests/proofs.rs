//! Whether what the simulator says is true: against what others measured, and what theory says.
//!
//! What needs the measured data is skipped loudly without it (`ANYEDGE_DATA`).

#[path = "proofs/reality.rs"]
mod reality;
#[path = "proofs/theory.rs"]
mod theory;
