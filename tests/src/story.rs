//! A story: a topology as text, played in the simulator.
//!
//! What a story changes of a run stands in its options; a text that the reader refuses is a mistake of the
//! story and ends it with every mistake in it.

use anyedge_sim::report::Report;
use anyedge_sim::run::{Options, run};
use anyedge_topologies::Topology;

/// Plays `text`.
///
/// # Panics
/// When the text has mistakes, or its topology cannot be built.
pub fn play(text: &str, options: &Options) -> Report {
    let topology = Topology::parse("story.toml", text).unwrap_or_else(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    });
    run(&topology, options, &mut |_| {}).expect("the topology builds")
}
