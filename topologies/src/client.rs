//! `[client.NAME]`: a population of clients in one city, its ways into the network, and its load.
//!
//! `public` gives the round trip over the public Internet to each POP and, for the direct path, to the home
//! region; without it the file's matrix or the great circle does. A bare name that is both a POP and a region serves for both. The same load may also run straight
//! over the public path, so that a report shows what anycast gains.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::addresses::{AddressPair, Space};
use crate::defaults::{Defaults, one_of};
use crate::diagnostic::Wrong;
use crate::line::{self, Line};
use crate::load::Load;
use crate::names::Kind;
use crate::place::Place;
use crate::reader::Reader;
use crate::security_group;
use crate::units;

const PUBLIC_EXAMPLE: &str = "{ tokyo = \"9ms\", guangzhou = \"62ms\" }";

/// A population of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Name without its kind: `osaka`.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// How many hosts it has, 1 to 10,000.
    pub count: u32,
    /// Which IP versions they use.
    pub family: Family,
    /// Round trip to each POP, by the POP's name.
    pub pop_rtts: BTreeMap<String, Duration>,
    /// The most extra delay each way, by the POP's name, where it is another than the line's.
    pub pop_jitters: BTreeMap<String, Duration>,
    /// Networks that a POP's announcement passes on its way here, by the POP's name, where it is not one.
    pub as_paths: BTreeMap<String, u8>,
    /// Round trip to regions for the direct path, by the region's name.
    pub region_rtts: BTreeMap<String, Duration>,
    /// Rate, MTU, jitter, loss and queue of every public path.
    pub line: Line,
    /// What it sends, in the order of the file.
    pub loads: Vec<Load>,
    /// Names of its security groups, in order: where it may open flows to.
    pub security_groups: Vec<String>,
    /// Where the figures are from.
    pub source: Option<String>,
    /// What stands in for what was not measured.
    pub assumed: Option<String>,
    /// The first host's addresses; the others follow, see [`Client::address`].
    pub(crate) first: AddressPair,
}

/// Which IP versions a population uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// The first host has IPv4, the second IPv6, and so on in turn.
    Both,
}

impl Client {
    /// Both addresses of host `index` (from 0); which one it uses is [`Client::uses_v6`].
    ///
    /// # Panics
    /// If `index` is not below `count`.
    #[must_use]
    pub fn address(&self, index: u32) -> (Ipv4Addr, Ipv6Addr) {
        assert!(
            index < self.count,
            "client.{} has {} hosts, no host {index}",
            self.name,
            self.count
        );
        let v4 = self
            .first
            .v4
            .expect("every client has a block of addresses");
        let v6 = self
            .first
            .v6
            .expect("every client has a block of addresses");
        (
            Ipv4Addr::from_bits(v4.to_bits() + index),
            Ipv6Addr::from_bits(v6.to_bits() + u128::from(index)),
        )
    }

    /// How good the way to a POP is by BGP, least first: networks on the path, then the round trip, which stands for
    /// what networks prefer among paths that are equally long (RFC 4271 §9.1.2.2).
    #[must_use]
    pub fn preference(&self, pop: &str) -> Option<(u8, Duration)> {
        let rtt = self.pop_rtts.get(pop)?;
        let networks = self.as_paths.get(pop).copied().unwrap_or(1);
        Some((networks, *rtt))
    }

    /// The round trip to a POP, and the public path there.
    #[must_use]
    pub fn way_to(&self, pop: &str) -> Option<(Duration, Line)> {
        let rtt = self.pop_rtts.get(pop)?;
        let jitter = self.pop_jitters.get(pop).copied();
        let line = Line {
            jitter: jitter.unwrap_or(self.line.jitter),
            ..self.line
        };
        Some((*rtt, line))
    }

    /// Whether host `index` (from 0) speaks IPv6.
    #[must_use]
    pub fn uses_v6(&self, index: u32) -> bool {
        match self.family {
            Family::V4 => false,
            Family::V6 => true,
            Family::Both => index % 2 == 1,
        }
    }

    pub(crate) fn read(
        name: String,
        mut reader: Reader<'_>,
        defaults: &Defaults,
        space: &mut Space,
    ) -> Self {
        let place = Place::read(&mut reader, &name);
        let count = reader.integer("count", 1..=10_000).unwrap_or(1);
        let count = u32::try_from(count).expect("at most 10,000");
        let family = reader.parse("family", "\"v4\"", |text| match text {
            "v4" => Ok(Family::V4),
            "v6" => Ok(Family::V6),
            "both" => Ok(Family::Both),
            _ => Err(one_of(text, "family", &["v4", "v6", "both"])),
        });
        let (pop_rtts, region_rtts) = public(&mut reader);
        let as_paths = as_paths(&mut reader, &pop_rtts);
        let line = Line::read(&mut reader, defaults.public, line::CLIENT);
        let direct = reader.boolean("direct");
        let loads = reader.tables("load", "load = { kind = \"request\", .. }");
        let loads = loads
            .into_iter()
            .map(|load| Load::read(load, direct))
            .collect();
        let security_groups = security_group::bound(&mut reader);
        let source = reader.text("source");
        let assumed = reader.text("assumed");
        let first = space.give(&name, count);
        if first.is_none() {
            reader.wrong(Wrong::new(
                "no client addresses are left",
                "fewer hosts: 131,070 in all populations",
            ));
        }
        reader.finish();
        Self {
            name,
            place,
            count,
            family: family.unwrap_or(Family::V4),
            pop_rtts,
            pop_jitters: BTreeMap::new(),
            as_paths,
            region_rtts,
            line,
            loads,
            security_groups,
            source,
            assumed,
            first: first.unwrap_or_default(),
        }
    }
}

type Rtts = BTreeMap<String, Duration>;

/// Reads `as_path`: how many networks are between, at most 64 (paths of more are hardly seen).
fn as_paths(reader: &mut Reader<'_>, rtts: &Rtts) -> BTreeMap<String, u8> {
    let mut paths = BTreeMap::new();
    for (key, key_span, field) in reader.entries("as_path", "as_path = { tokyo = 3 }") {
        let known = reader.book.names.resolve(key, &[Kind::Pop]);
        let known = known.and_then(|(_, pop)| {
            let has_way = rtts.contains_key(&pop);
            has_way.then_some(pop).ok_or_else(|| {
                Wrong::new("no way there", format!("public = {{ {key} = \"9ms\" }}"))
            })
        });
        let pop = match known {
            Ok(pop) => pop,
            Err(Wrong { reason, hint }) => {
                let reason = format!("`as_path`: {reason}");
                let wrong = Wrong { reason, hint };
                reader.book.mistakes.add(reader.object(), key_span, wrong);
                continue;
            }
        };
        match field
            .value
            .as_integer()
            .and_then(|it| it.as_str().parse().ok())
        {
            Some(networks @ 1..=64) => {
                paths.insert(pop, networks);
            }
            _ => reader.wrong_at(&field, Wrong::new("no number of networks", "1 to 64")),
        }
    }
    paths
}

/// Reads `public`: round trips to POPs and to regions. Without it they come from elsewhere (`topology/ways.rs`).
fn public(reader: &mut Reader<'_>) -> (Rtts, Rtts) {
    let (mut pops, mut regions) = (Rtts::new(), Rtts::new());
    let names = &reader.book.names;
    for (key, key_span, field) in reader.entries("public", &format!("public = {PUBLIC_EXAMPLE}")) {
        let (as_pop, as_region) = (names.has(Kind::Pop, key), names.has(Kind::Region, key));
        let meant = if as_pop && as_region {
            vec![(Kind::Pop, key.to_owned()), (Kind::Region, key.to_owned())]
        } else {
            match names.resolve(key, &[Kind::Pop, Kind::Region]) {
                Ok(one) => vec![one],
                Err(Wrong { reason, hint }) => {
                    let wrong = Wrong {
                        reason: format!("`public`: {reason}"),
                        hint,
                    };
                    reader.book.mistakes.add(reader.object(), key_span, wrong);
                    continue;
                }
            }
        };
        let rtt = reader
            .parse_field(&field, "\"9ms\"", units::duration_above_zero)
            .unwrap_or_default();
        for (kind, name) in meant {
            let rtts = if kind == Kind::Pop {
                &mut pops
            } else {
                &mut regions
            };
            if rtts.insert(name.clone(), rtt).is_some() {
                let reason = format!("a second round trip to {}", kind.object(&name));
                reader.wrong_at(
                    &field,
                    Wrong::new(
                        reason,
                        "a bare name that is both a POP and a region serves for both",
                    ),
                );
            }
        }
    }
    (pops, regions)
}
