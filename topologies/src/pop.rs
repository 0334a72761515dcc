//! `[pop.NAME]`: a point of presence, where clients enter.

use crate::addresses::{AddressPair, Space};
use crate::diagnostic::Wrong;
use crate::place::Place;
use crate::reader::Reader;

/// A point of presence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pop {
    /// Name without its kind: `tokyo`.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// Its own addresses, the outer source of its tunnels. Both families are always there.
    pub underlay: AddressPair,
    /// Its addresses on the management network. Both families are always there.
    pub management: AddressPair,
}

impl Pop {
    pub(crate) fn read(name: String, mut reader: Reader<'_>, space: &mut Space) -> Self {
        let place = Place::read(&mut reader, &name);
        let given = AddressPair::read(
            &mut reader,
            "underlay",
            "[\"172.16.0.1\", \"fd00:ae:0:1::1\"]",
        );
        let own = space.give(&name, 1);
        if own.is_none() {
            reader.wrong(Wrong::bare("no underlay address is left"));
        }
        reader.finish();
        let (given, own) = (given.unwrap_or_default(), own.unwrap_or_default());
        let underlay = AddressPair {
            v4: given.v4.or(own.v4),
            v6: given.v6.or(own.v6),
        };
        Self {
            name,
            place,
            underlay,
            management: AddressPair::default(),
        }
    }
}
