//! Round trips that a file does not give: from its matrix, else as long as the great circle says.
//!
//! A population without `public` reaches every POP, and with `direct = true` every region. A link without `rtt` is
//! as long as its ends are apart. Who is neither in the matrix nor on the globe is reported with what is missing.

use std::time::Duration;

use crate::book::Book;
use crate::client::Client;
use crate::diagnostic::Wrong;
use crate::link::LinkEnds;
use crate::matrix::{Matrix, RoundTrip};
use crate::names::Kind;
use crate::place::Place;

use super::Topology;

/// What stands for a figure that nobody measured.
const GREAT_CIRCLE: &str = "great circle x 2.05";

/// One end of a way.
#[derive(Clone, Copy)]
struct End<'a> {
    kind: Kind,
    name: &'a str,
    place: &'a Place,
}

impl End<'_> {
    /// Its own name, and that of its city.
    fn names(&self) -> [&str; 2] {
        [self.name, self.place.city.as_deref().unwrap_or(self.name)]
    }
}

/// A way, and whether somebody measured it.
struct Way {
    trip: RoundTrip,
    measured: bool,
}

pub(super) fn fill(book: &Book<'_>, topology: &mut Topology, matrix: Option<&Matrix>) {
    links(book, topology, matrix);
    let mut clients = core::mem::take(&mut topology.clients);
    for client in clients.values_mut() {
        let own = Kind::Client.object(&client.name);
        if !book.places.contains_key(&format!("{own}.public")) {
            ways_of(book, topology, client, matrix);
        }
    }
    topology.clients = clients;
}

/// Gives a population its ways to all POPs, and to regions if it wants to go straight to them.
fn ways_of(book: &Book<'_>, topology: &Topology, client: &mut Client, matrix: Option<&Matrix>) {
    let place = client.place.clone();
    let name = client.name.clone();
    let own = End {
        kind: Kind::Client,
        name: &name,
        place: &place,
    };
    let pops = topology.pops.values().map(|pop| End {
        kind: Kind::Pop,
        name: &pop.name,
        place: &pop.place,
    });
    let straight = client
        .loads
        .iter()
        .any(|load| load.direct_wanted == Some(true));
    let regions = topology.regions.values().filter(|_| straight);
    let regions = regions.map(|region| End {
        kind: Kind::Region,
        name: &region.name,
        place: &region.place,
    });
    let (mut measured, mut assumed) = (false, false);
    for other in pops.chain(regions) {
        let way = match way(own, other, matrix) {
            Ok(way) => way,
            Err(unknown) => {
                let reason = format!("`public` is missing, and {unknown}");
                let hint = format!(
                    "public = {{ {} = \"9ms\", .. }}, or `city`, or `lat` and `lon`",
                    other.name
                );
                return book.report(&own.kind.object(own.name), "", Wrong::new(reason, hint));
            }
        };
        measured |= way.measured;
        assumed |= !way.measured;
        let RoundTrip { rtt, jitter } = way.trip;
        if other.kind == Kind::Region {
            client.region_rtts.insert(other.name.to_owned(), rtt);
            continue;
        }
        client.pop_rtts.insert(other.name.to_owned(), rtt);
        if !jitter.is_zero() {
            client.pop_jitters.insert(other.name.to_owned(), jitter);
        }
    }
    if client.source.is_none() && measured {
        client.source = matrix.map(|matrix| matrix.source.clone());
    }
    if client.assumed.is_none() && assumed {
        client.assumed = Some(GREAT_CIRCLE.to_owned());
    }
}

/// Gives links without a round trip theirs.
fn links(book: &Book<'_>, topology: &mut Topology, matrix: Option<&Matrix>) {
    let (pops, regions) = (&topology.pops, &topology.regions);
    for link in topology.links.values_mut() {
        let object = Kind::Link.object(&link.name);
        if book.places.contains_key(&format!("{object}.rtt")) || link.ends.is_unread() {
            continue;
        }
        let pop = |name: &String| {
            pops.get_key_value(name).map(|(name, pop)| End {
                kind: Kind::Pop,
                name,
                place: &pop.place,
            })
        };
        let region = |name: &String| {
            regions.get_key_value(name).map(|(name, region)| End {
                kind: Kind::Region,
                name,
                place: &region.place,
            })
        };
        let ends = match &link.ends {
            LinkEnds::Ccn {
                pop: near,
                region: far,
            } => pop(near).zip(region(far)),
            LinkEnds::Backbone {
                regions: [near, far],
            } => region(near).zip(region(far)),
        };
        let Some((near, far)) = ends else {
            continue;
        };
        match way(near, far, matrix) {
            Ok(way) => {
                link.rtt = way.trip.rtt;
                if !way.trip.jitter.is_zero() && link.line.jitter.is_zero() {
                    link.line.jitter = way.trip.jitter;
                }
                link.assumed |= !way.measured;
                let from_matrix = matrix.map(|matrix| matrix.source.clone());
                let source = from_matrix.filter(|_| way.measured);
                let source = source.unwrap_or_else(|| GREAT_CIRCLE.to_owned());
                link.source.get_or_insert(source);
            }
            Err(unknown) => {
                let reason = format!("`rtt` is missing, and {unknown}");
                let hint = "rtt = \"52ms\", or `city`, or `lat` and `lon` of its ends";
                book.report(&object, "", Wrong::new(reason, hint));
            }
        }
    }
}

/// The way between two ends, or who of them is not on the globe, as a sentence.
fn way(from: End<'_>, to: End<'_>, matrix: Option<&Matrix>) -> Result<Way, String> {
    let found = matrix.and_then(|matrix| matrix.between(from.names(), to.names()));
    if let Some(trip) = found {
        return Ok(Way {
            trip,
            measured: true,
        });
    }
    let known = |end: End<'_>| {
        let unknown = || format!("nobody knows where {} is", end.kind.object(end.name));
        end.place.coordinates.ok_or_else(unknown)
    };
    let rtt = known(from)?.round_trip(known(to)?);
    Ok(Way {
        trip: RoundTrip {
            // Two ends in one city.
            rtt: rtt.max(Duration::from_micros(100)),
            jitter: Duration::ZERO,
        },
        measured: false,
    })
}
