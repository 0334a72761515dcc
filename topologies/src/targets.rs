//! `[targets.NAME]`: the servers behind a listener, each with its port and weight.
//!
//! A server lives on a host. Without a `host` key each IP address has a host of its own, named after the
//! targets: `host.web-1`, `host.web-2`; the same IP on another port is the same host. An identity is
//! (IP, port): the same server may appear on several ports, with different weights.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyedge_ccn::table::object::Profile;

use crate::addresses::AddressPair;
use crate::diagnostic::Wrong;
use crate::drawn::{Drawn, Unit};
use crate::eni::Eni;
use crate::names::{self, Kind};
use crate::reader::Reader;
use crate::security_group;
use crate::units;

/// Longest service time: a backend's patience with a connection is twice as long.
const SERVICE_NANOS_MAX: u64 = 30_000_000_000;
const SERVICE: Unit = Unit {
    parse: units::nanos,
    plain: "ms",
    example: "\"5ms\"",
    range: 0..=SERVICE_NANOS_MAX,
};
const EXAMPLE: &str = "[{ ip = \"10.0.0.11\" }]";

/// The servers behind a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Name without its kind: `web`.
    pub name: String,
    /// The servers in the order of the file, one at least.
    pub servers: Vec<Server>,
    /// Names of the security groups of its servers' hosts, in order.
    pub security_groups: Vec<String>,
    /// What each of its servers needs for a request; none answers at once.
    pub service: Option<Service>,
}

/// What a server needs for a request before it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// In nanoseconds.
    pub time: Drawn,
    /// How many requests are worked on at a time, the others waiting in their order; all if absent.
    pub workers: Option<u32>,
}

impl Service {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let time = Drawn::read(reader, "service", &SERVICE);
        let field = reader.field("workers");
        let workers = reader.integer("workers", 1..=10_000);
        if let (Some(field), None) = (field, reader.field("service")) {
            let reason = "workers without work";
            reader.wrong_at(&field, Wrong::new(reason, "service = \"5ms\" as well"));
        }
        Some(Self {
            time: time?,
            workers: workers.and_then(|workers| u32::try_from(workers).ok()),
        })
    }
}

/// One server on one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its addresses, one at least.
    pub address: AddressPair,
    /// Port that it listens on.
    pub port: u16,
    /// 0 to 100; 0 takes no new flows.
    pub weight: u8,
    /// Name of its host, of an interface the one that it is attached to when the run begins.
    pub host: String,
    /// Name of the elastic network interface whose addresses they are; `None`: they are the host's own.
    pub eni: Option<String>,
}

impl Targets {
    pub(crate) fn read(
        name: String,
        mut reader: Reader<'_>,
        profile: Profile,
        enis: &BTreeMap<String, Eni>,
    ) -> Self {
        let port = reader.integer("port", 1..=65_535);
        let read = |item: &mut Reader<'_>| Server::read(item, port, profile, enis);
        let servers = read_servers(&mut reader, &name, read);
        let security_groups = security_group::bound(&mut reader);
        let service = Service::read(&mut reader);
        reader.finish();
        Self {
            name,
            servers,
            security_groups,
            service,
        }
    }
}

/// Reads `servers`, one at least; those that name no host get one each, `PREFIX-1` and on.
pub(crate) fn read_servers(
    reader: &mut Reader<'_>,
    prefix: &str,
    read: impl Fn(&mut Reader<'_>) -> Server,
) -> Vec<Server> {
    let items = reader.tables("servers", EXAMPLE);
    let empty = items.is_empty();
    let mut hosts: BTreeMap<IpAddr, String> = BTreeMap::new();
    let mut bound: BTreeMap<(IpAddr, u16), usize> = BTreeMap::new();
    let mut servers: Vec<Server> = Vec::new();
    let mut own = 0;
    for (index, mut item) in items.into_iter().enumerate() {
        let server = read(&mut item);
        if let Some(first) = server
            .address
            .iter()
            .find_map(|ip| bound.get(&(ip, server.port)))
        {
            let reason = format!("servers[{first}] has the same address and port");
            item.wrong(Wrong::new(
                reason,
                "each (ip, port) once; use `weight` for a larger share",
            ));
        }
        bound.extend(server.address.iter().map(|ip| ((ip, server.port), index)));
        let known = server.address.iter().find_map(|ip| hosts.get(&ip).cloned());
        let host = if server.host.is_empty() {
            known.unwrap_or_else(|| {
                own += 1;
                format!("{prefix}-{own}")
            })
        } else {
            server.host.clone()
        };
        hosts.extend(server.address.iter().map(|ip| (ip, host.clone())));
        servers.push(Server { host, ..server });
        item.finish();
    }
    match reader.field("servers") {
        None => reader.missing("servers", EXAMPLE),
        Some(field) if empty && field.value.as_array().is_some_and(|items| items.is_empty()) => {
            reader.wrong_at(
                &field,
                Wrong::new("no servers", format!("such as servers = {EXAMPLE}")),
            );
        }
        Some(_) => {}
    }
    servers
}

impl Server {
    /// Reads one server; `host` stays empty where the file names none.
    fn read(
        reader: &mut Reader<'_>,
        port_default: Option<u64>,
        profile: Profile,
        enis: &BTreeMap<String, Eni>,
    ) -> Self {
        let book = reader.book;
        let eni = reader.parse("eni", "\"db\"", |text| {
            let found = book.names.resolve(text, &[Kind::Eni]);
            found.map(|(_, name)| name)
        });
        let found = eni.as_ref().and_then(|name| enis.get(name));
        let address = match (found, reader.field("eni")) {
            (Some(eni), _) => eni.address,
            (None, Some(_)) => AddressPair::default(),
            (None, None) => AddressPair::need(reader, "ip", "\"10.0.0.11\""),
        };
        let given = reader.field("port").is_some();
        let port = reader.integer("port", 1..=65_535).or(port_default);
        if port.is_none() && !given {
            reader.missing("port", "8080, here or for all of the targets");
        }
        let weights = profile.weights();
        let weight = reader.integer("weight", 0..=(*weights.end()).into());
        let host = match found {
            Some(eni) => eni.host.clone(),
            None => read_host(reader),
        };
        Self {
            address,
            port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
            weight: weight
                .and_then(|weight| u8::try_from(weight).ok())
                .unwrap_or_else(|| profile.weight_default()),
            host,
            eni,
        }
    }

    /// Full name of its host: `host.web-1`.
    #[must_use]
    pub fn host_object(&self) -> String {
        Kind::Host.object(&self.host)
    }
}

/// The name of a server's host; empty where the file names none.
pub(crate) fn read_host(reader: &mut Reader<'_>) -> String {
    let host = reader.parse("host", "\"web-1\"", |text| {
        let name = text.strip_prefix("host.").unwrap_or(text);
        names::check(name).map(|()| name.to_owned())
    });
    host.unwrap_or_default()
}
