//! `autoscale`: servers join an auto-scaling group (`out`) or leave it (`in`).

use std::fmt;

use anyedge_ccn::table::change::Change;
use toml::de::DeValue;

use crate::autoscaling::scaling_servers;
use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::reader::Reader;
use crate::targets::Server;

use super::{FaultVerb, Objects};

/// Servers that join a group or leave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autoscale {
    /// Whether they join.
    pub out: bool,
    /// Who they are.
    pub servers: Vec<Server>,
    pub(crate) which: Which,
}

/// Which servers the file means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// So many: of those outside the first of the file, of those inside who joined first.
    Count(usize),
    /// Those on hosts with these full names.
    Hosts(Vec<String>),
}

impl Autoscale {
    /// The same as a change of the table.
    pub(crate) fn change(&self, group: &str) -> Change {
        let group = group.to_owned();
        let servers = scaling_servers(&self.servers);
        let (joins, leaves) = match self.out {
            true => (servers, Vec::new()),
            false => {
                let addresses = servers.into_iter().map(|server| server.address);
                (Vec::new(), addresses.collect())
            }
        };
        Change::Scale {
            group,
            joins,
            leaves,
        }
    }
}

/// `out 2`, `in web-1`.
impl fmt::Display for Autoscale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.out { "out " } else { "in " })?;
        match &self.which {
            Which::Count(count) => write!(f, "{count}"),
            Which::Hosts(hosts) => f.write_str(&hosts.join(", ")),
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>, objects: &Objects) -> Option<(FaultVerb, String)> {
    let object = reader.need("autoscale", "\"autoscaling.NAME\"", |text| {
        objects.resolve(text, &[Kind::AutoScaling])
    });
    let (out, key) = match (reader.field("out"), reader.field("in")) {
        (Some(_), None) => (true, "out"),
        (None, Some(_)) => (false, "in"),
        (None, None) => {
            let hint = "out = 2, for two servers that join, or in = 1";
            reader.wrong(Wrong::new("it says not who joins or leaves", hint));
            return None;
        }
        (Some(_), Some(field)) => {
            let hint = "two faults, one of them with `out`";
            reader.wrong_at(&field, Wrong::new("servers join or leave", hint));
            return None;
        }
    };
    let which = read_which(reader, key, objects)?;
    let scale = Autoscale {
        out,
        servers: Vec::new(),
        which,
    };
    Some((FaultVerb::Autoscale(scale), object?))
}

fn read_which(reader: &mut Reader<'_>, key: &'static str, objects: &Objects) -> Option<Which> {
    if matches!(reader.field(key)?.value, DeValue::Integer(_)) {
        let count = reader.integer(key, 1..=1_000)?;
        return usize::try_from(count).ok().map(Which::Count);
    }
    let mut hosts = Vec::new();
    for field in reader.list(key, "2")? {
        let host = |text: &str| objects.resolve(text, &[Kind::Host]);
        let host = reader.parse_field(&field, "\"host.NAME\"", host)?;
        if hosts.contains(&host) {
            let reason = format!("{host} is named twice");
            reader.wrong_at(&field, Wrong::new(reason, "each host once"));
        }
        hosts.push(host);
    }
    Some(Which::Hosts(hosts))
}
