//! `[security_group.NAME]`: who may open flows to load balancers and backends, and where clients may.
//!
//! A rule reads `PEER+PORTS ACTION`, such as `"203.0.113.0/24+8080 allow"`. The peer may be a name of the file:
//! `client.osaka` stands for all addresses of that population, `vip.game` for those of the VIP; each becomes a rule for
//! every range that it takes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use anyedge_ccn::table::object::Profile;
use anyedge_net::security_group::{Direction, Filter, Precedence, Rule, RuleError, peer_of};
use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use crate::client::{Client, Family};
use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::reader::{Field, Reader};
use crate::topology::Topology;
use crate::vip::Vip;

const EXAMPLE: &str = "[\"203.0.113.0/24+8080 allow\", \"0.0.0.0/0+8080 drop\"]";

/// Ordered rules; without any it rejects all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityGroup {
    /// Name without its kind: `web`.
    pub name: String,
    /// Those inward, then those outward, each in the order of the file.
    pub rules: Vec<Rule>,
}

/// Which port a client's outward rules are compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EgressPort {
    /// The one that the packet has: the listener's.
    #[default]
    Listener,
    /// That of the targets behind the listener.
    Backend,
}

/// What names in rules stand for.
pub(crate) struct Peers<'a> {
    pub(crate) vips: &'a BTreeMap<String, Vip>,
    pub(crate) clients: &'a BTreeMap<String, Client>,
}

impl Peers<'_> {
    fn of(&self, kind: Kind, name: &str) -> Vec<IpNet> {
        match kind {
            Kind::Vip => {
                let vip = self.vips.get(name);
                let addresses = vip.into_iter().flat_map(|vip| vip.address.iter());
                addresses.map(IpNet::from).collect()
            }
            Kind::Client => self.clients.get(name).map(block).unwrap_or_default(),
            _ => Vec::new(),
        }
    }
}

/// The addresses of a population, as ranges.
fn block(client: &Client) -> Vec<IpNet> {
    let (Some(v4), Some(v6)) = (client.first.v4, client.first.v6) else {
        return Vec::new();
    };
    let last_v4 = Ipv4Addr::from_bits(v4.to_bits() + (client.count - 1));
    let last_v6 = Ipv6Addr::from_bits(v6.to_bits() + u128::from(client.count - 1));
    let v4 = Ipv4Subnets::new(v4, last_v4, 0).map(IpNet::V4);
    let v6 = Ipv6Subnets::new(v6, last_v6, 0).map(IpNet::V6);
    match client.family {
        Family::V4 => v4.collect(),
        Family::V6 => v6.collect(),
        Family::Both => v4.chain(v6).collect(),
    }
}

/// One text of a group in the file.
#[derive(Debug)]
pub(crate) struct Written<'a> {
    /// Where it is in the group's table: `ingress[0]`.
    pub(crate) path: String,
    /// Such as `vip.game+8080 allow`.
    pub(crate) text: &'a str,
    /// What it became: a rule for each range that its peer takes.
    pub(crate) rules: Vec<Rule>,
}

impl<'a> Written<'a> {
    /// All texts of a group's table, those inward first.
    pub(crate) fn all(reader: &mut Reader<'a>, peers: &Peers<'_>) -> Vec<Self> {
        let mut all = Vec::new();
        let words: [(Direction, [&'static str; 2]); 2] = [
            (Direction::Ingress, ["ingress", "downlink"]),
            (Direction::Egress, ["egress", "uplink"]),
        ];
        for (direction, [word, alias]) in words {
            let both = reader.field(word).and(reader.field(alias));
            if let Some(field) = both {
                let reason = format!("`{word}` and `{alias}` are the same");
                reader.wrong_at(&field, Wrong::new(reason, "one of them, with all rules"));
            }
            for key in [word, alias] {
                for field in reader.list(key, EXAMPLE).unwrap_or_default() {
                    all.push(Written {
                        rules: rules_of(reader, &field, direction, peers),
                        text: field.value.as_str().unwrap_or_default(),
                        path: field.path,
                    });
                }
            }
        }
        all
    }
}

impl SecurityGroup {
    pub(crate) fn read(name: String, mut reader: Reader<'_>, peers: &Peers<'_>) -> Self {
        let written = Written::all(&mut reader, peers).into_iter();
        let rules = written.flat_map(|written| written.rules).collect();
        reader.finish();
        Self { name, rules }
    }
}

/// The rules that one text of the file becomes.
fn rules_of<'a>(
    reader: &Reader<'a>,
    field: &Field<'a>,
    direction: Direction,
    peers: &Peers<'_>,
) -> Vec<Rule> {
    let example = "\"203.0.113.0/24+8080 allow\"";
    let read = reader.parse_field(field, example, |text| {
        let wrong = |error: RuleError| Wrong::new(error.to_string(), error.hint());
        let (rule, peer) = Rule::read(direction, text).map_err(wrong)?;
        if !peer.starts_with(|first: char| first.is_ascii_alphabetic())
            || peer.contains(':')
            || peer == "any"
        {
            let peer = peer_of(peer).map_err(wrong)?;
            return Ok(vec![Rule { peer, ..rule }]);
        }
        let (kind, name) = reader
            .book
            .names
            .resolve(peer, &[Kind::Client, Kind::Vip])?;
        let ranges = peers.of(kind, &name).into_iter().map(Some);
        Ok(ranges.map(|peer| Rule { peer, ..rule }).collect())
    });
    read.unwrap_or_default()
}

/// The names of the groups that an object has, in their order.
pub(crate) fn bound(reader: &mut Reader<'_>) -> Vec<String> {
    let example = "[\"web\"]";
    let names = &reader.book.names;
    let mut found: Vec<String> = Vec::new();
    for field in reader.list("security_groups", example).unwrap_or_default() {
        let resolve = |text: &str| names.resolve(text, &[Kind::SecurityGroup]);
        let Some((_, name)) = reader.parse_field(&field, example, resolve) else {
            continue;
        };
        if found.contains(&name) {
            let reason = format!("{} is named twice", Kind::SecurityGroup.object(&name));
            reader.wrong_at(&field, Wrong::new(reason, "each group once"));
        }
        found.push(name);
    }
    found
}

impl Topology {
    /// Where hosts of a population may open flows to; `None`: anywhere.
    #[must_use]
    pub fn outward(&self, client: &Client) -> Option<Filter> {
        self.filter(&client.security_groups)
    }

    /// What groups of these names let pass; `None`, without any: everything.
    pub(crate) fn filter(&self, groups: &[String]) -> Option<Filter> {
        if groups.is_empty() {
            return None;
        }
        let groups = groups.iter();
        let rules: Vec<&[Rule]> = groups
            .filter_map(|name| self.security_groups.get(name))
            .map(|group| group.rules.as_slice())
            .collect();
        Some(Filter::compile(&rules, self.precedence()))
    }

    /// Which of two rules of one priority goes first.
    pub(crate) fn precedence(&self) -> Precedence {
        match self.profile {
            Profile::Qingcloud => Precedence::Drop,
            Profile::Default | Profile::Tencent | Profile::Aws => Precedence::First,
        }
    }
}
