//! `[autoscaling.NAME]`: servers that join the group's listeners and leave them while the run goes on.
//!
//! All of its servers are machines from the beginning; the first `size` of them are in the group when the run begins.
//! `autoscale` faults move the others in and out.

use anyedge_ccn::table::object::{AutoScalingGroup, Profile, ScalingServer};

use crate::addresses::AddressPair;
use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::reader::Reader;
use crate::targets::{Server, read_host, read_servers};

/// A group of servers that come and go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoScaling {
    /// Name without its kind: `web`.
    pub name: String,
    /// Load balancers and listeners that its servers are targets of.
    pub listeners: Vec<(String, String)>,
    /// The servers that there are, in the order of the file, one at least. All have one port and weight.
    pub servers: Vec<Server>,
    /// How many of them, the first ones, are in the group when the run begins.
    pub size: usize,
}

impl AutoScaling {
    pub(crate) fn read(name: String, mut reader: Reader<'_>, profile: Profile) -> Self {
        let listeners = listeners(&mut reader);
        if reader.field("port").is_none() {
            reader.missing("port", "8080, of all its servers");
        }
        let port = reader.integer("port", 1..=65_535);
        let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
        let weights = profile.weights();
        let weight = reader.integer("weight", 0..=(*weights.end()).into());
        let weight = weight.and_then(|weight| u8::try_from(weight).ok());
        let weight = weight.unwrap_or_else(|| profile.weight_default());
        let read = |item: &mut Reader<'_>| Server {
            address: AddressPair::need(item, "ip", "\"10.0.0.21\""),
            port,
            weight,
            host: read_host(item),
            eni: None,
        };
        let servers = read_servers(&mut reader, &format!("{name}-as"), read);
        let size = reader.integer("size", 0..=servers.len() as u64);
        reader.finish();
        Self {
            name,
            listeners,
            servers,
            size: size
                .and_then(|size| usize::try_from(size).ok())
                .unwrap_or(0),
        }
    }

    /// Its full name: `autoscaling.web`.
    #[must_use]
    pub fn object(&self) -> String {
        Kind::AutoScaling.object(&self.name)
    }

    /// The group as the table has it with its first `size` servers.
    pub(crate) fn group(&self, size: usize) -> AutoScalingGroup {
        let first = self.servers.first();
        let listeners = self.listeners.iter();
        AutoScalingGroup {
            name: self.name.clone(),
            listeners: listeners
                .map(|(clb, listener)| format!("{clb}/{listener}"))
                .collect(),
            port: first.map_or(0, |server| server.port.into()),
            weight: first.map_or(0, |server| server.weight.into()),
            servers: scaling_servers(&self.servers[..size]),
        }
    }
}

/// Servers as the table has them: one for each address.
pub(crate) fn scaling_servers(servers: &[Server]) -> Vec<ScalingServer> {
    let each = servers.iter().flat_map(|server| {
        let addresses = server.address.iter();
        addresses.map(|ip| ScalingServer {
            address: ip.into(),
            host: server.host_object(),
        })
    });
    each.collect()
}

/// `listeners = ["gz-main/web"]`, one at least; whether they are there is checked with the load balancers.
fn listeners(reader: &mut Reader<'_>) -> Vec<(String, String)> {
    const EXAMPLE: &str = "[\"gz-main/web\"]";
    if reader.field("listeners").is_none() {
        reader.missing("listeners", EXAMPLE);
    }
    let fields = reader.list("listeners", EXAMPLE).unwrap_or_default();
    let mut listeners = Vec::new();
    for field in fields {
        let read = |text: &str| match text.split_once('/') {
            Some((clb, listener)) => Ok((clb.to_owned(), listener.to_owned())),
            None => Err(Wrong::new(
                format!("\"{text}\" is no listener"),
                "CLB/LISTENER, such as \"gz-main/web\"",
            )),
        };
        let Some(listener) = reader.parse_field(&field, "\"gz-main/web\"", read) else {
            continue;
        };
        if listeners.contains(&listener) {
            let reason = format!("{}/{} is named twice", listener.0, listener.1);
            reader.wrong_at(&field, Wrong::new(reason, "each listener once"));
        }
        listeners.push(listener);
    }
    listeners
}
