//! The colour of each POP, the same all over the page.

use std::collections::BTreeMap;

use anyedge_topologies::Topology;

/// Colours that the style has names for: `p0` and on.
const COLOURS: usize = 14;

/// Classes of POPs, by their names.
pub(super) struct Palette(BTreeMap<String, String>);

impl Palette {
    /// The colours of a topology's POPs, in the order of their names; from the fifteenth on they come again.
    pub(super) fn of(topology: &Topology) -> Palette {
        let numbered = topology.pops.keys().enumerate();
        Palette(
            numbered
                .map(|(number, pop)| (pop.clone(), class(number)))
                .collect(),
        )
    }

    /// The class of a POP, or of none.
    pub(super) fn pop(&self, name: Option<&str>) -> &str {
        name.and_then(|name| self.0.get(name))
            .map_or("none", String::as_str)
    }
}

/// The class of the colour with a number.
pub(super) fn class(number: usize) -> String {
    format!("p{}", number % COLOURS)
}
