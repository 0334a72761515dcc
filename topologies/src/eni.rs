//! `[eni.NAME]`: an elastic network interface, which may move to another host of its network and zone.
//!
//! Its addresses are targets by `servers = [{ eni = "NAME" }]`. The network is that of its region; the zone is that of the
//! host that it is attached to when the run begins. `eni_move` faults move it.

use anyedge_ccn::table::change::{Change, PutMode};
use anyedge_ccn::table::object::{self, Kinded as _};

use crate::addresses::AddressPair;
use crate::names::{self, Kind};
use crate::reader::Reader;

/// An elastic network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eni {
    /// Name without its kind: `db`.
    pub name: String,
    /// Its addresses, one at least.
    pub address: AddressPair,
    /// Name of the host that it is attached to when the run begins.
    pub host: String,
}

impl Eni {
    pub(crate) fn read(name: String, mut reader: Reader<'_>) -> Self {
        let address = AddressPair::need(&mut reader, "address", "\"10.0.0.50\"");
        let host = reader.need("host", "\"web-1\"", |text| {
            let name = text.strip_prefix("host.").unwrap_or(text);
            names::check(name).map(|()| name.to_owned())
        });
        reader.finish();
        Self {
            name,
            address,
            host: host.unwrap_or_default(),
        }
    }

    /// Its full name: `eni.db`.
    #[must_use]
    pub fn object(&self) -> String {
        Kind::Eni.object(&self.name)
    }

    /// The interface comes into the table, in the zone of its host.
    pub(crate) fn put(&self, zone: &str) -> Change {
        let eni = object::Eni {
            name: self.name.clone(),
            zone: zone.to_owned(),
            network: String::new(),
            host: Kind::Host.object(&self.host),
            primary: false,
            addresses: self.address.iter().map(Into::into).collect(),
        };
        Change::Put(eni.into_object(), PutMode::Create)
    }
}
