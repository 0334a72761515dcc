//! Networks in GML: what is imported is a topology that is accepted and laid out as it should be, and what is not has a
//! mistake with its place.

use anyedge_topologies::{Topology, format, gml};

use crate::topology::{FILE, placed};

pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    let imported = match gml::import(FILE, text, None) {
        Ok(imported) => imported,
        Err(mistakes) => return placed(&mistakes, bytes),
    };
    let made = &imported.text;
    let read = Topology::parse(FILE, made);
    let topology = read.unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{made}"));
    assert!(!topology.pops.is_empty());
    assert_eq!(topology.pops.len(), topology.clients.len());
    assert_eq!(format::parse(FILE, made).as_deref(), Ok(&**made));
    let named = topology.pops.keys().next().expect("one at least");
    // A region that is asked for by a name is found, or it is said that it is not there.
    if let Err(mistakes) = gml::import(FILE, text, Some(named)) {
        placed(&mistakes, bytes);
    }
}
