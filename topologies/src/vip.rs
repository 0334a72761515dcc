//! `[vip.NAME]`: an anycast address, where it is announced and which load balancer answers it.

use std::net::IpAddr;

use crate::addresses::AddressPair;
use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::reader::Reader;

mod prefix;

pub use prefix::VipPrefix;

/// An anycast address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// Name without its kind: `game`.
    pub name: String,
    /// The addresses, one at least.
    pub address: AddressPair,
    /// The prefix of each address, in their order: what routers hear of.
    pub prefixes: Vec<VipPrefix>,
    /// The publish domain: names of the POPs that announce it, sorted, one at least.
    pub publish: Vec<String>,
    /// Name of the CLB behind it.
    pub clb: String,
    /// Names of CLBs in other regions that take over, in this order, when the home region is lost.
    pub standby: Vec<String>,
    /// POPs that announce it at least: a drain that would leave fewer is refused. 1 to their number.
    pub publishers_min: u16,
}

impl Vip {
    pub(crate) fn read(name: String, mut reader: Reader<'_>) -> Self {
        let address = AddressPair::need(
            &mut reader,
            "address",
            "[\"203.0.113.10\", \"2001:db8:113::10\"]",
        );
        let prefixes = prefixes(&mut reader, address);
        let publish = publish(&mut reader);
        let book = reader.book;
        let clb = reader.need("clb", "\"gz-main\"", |text| {
            book.names.resolve(text, &[Kind::Clb])
        });
        let standby = each_once(&mut reader, "standby", "[\"spare\"]", Kind::Clb);
        let publishers_min = reader.integer("publishers_min", 1..=u16::MAX.into());
        reader.finish();
        Self {
            name,
            address,
            prefixes,
            publish,
            clb: clb.map(|(_, name)| name).unwrap_or_default(),
            standby: standby.unwrap_or_default().1,
            publishers_min: publishers_min
                .and_then(|count| u16::try_from(count).ok())
                .unwrap_or(1),
        }
    }
}

/// The prefixes that are given, and the usual ones of other addresses.
fn prefixes(reader: &mut Reader<'_>, address: AddressPair) -> Vec<VipPrefix> {
    let example = "[\"203.0.113.0/24\", \"2001:db8:113::/48\"]";
    let mut given: Vec<VipPrefix> = Vec::new();
    for field in reader.list("prefix", example).unwrap_or_default() {
        let Some(prefix) = reader.parse_field(&field, example, VipPrefix::parse) else {
            continue;
        };
        let is_of = |ip: IpAddr| prefix.contains(ip);
        if !address.iter().any(is_of) && address.iter().next().is_some() {
            let reason = format!("{prefix} holds no address of this VIP");
            reader.wrong_at(&field, Wrong::new(reason, "a prefix around its address"));
        } else if given.iter().any(|other| other.overlaps(&prefix)) {
            let reason = format!("{prefix} is a second prefix of the same address");
            reader.wrong_at(&field, Wrong::new(reason, "one for each address"));
        } else {
            given.push(prefix);
        }
    }
    let of = |ip: IpAddr| given.iter().copied().find(|prefix| prefix.contains(ip));
    let usual = |ip| of(ip).unwrap_or_else(|| VipPrefix::around(ip));
    address.iter().map(usual).collect()
}

fn publish(reader: &mut Reader<'_>) -> Vec<String> {
    let example = "[\"tokyo\", \"frankfurt\"]";
    let names = &reader.book.names;
    let Some((count, mut pops)) = each_once(reader, "publish", example, Kind::Pop) else {
        return names.of(Kind::Pop).map(str::to_owned).collect();
    };
    if count == 0
        && let Some(field) = reader.field("publish")
    {
        let hint = "name one POP at least, or leave `publish` out for all POPs";
        reader.wrong_at(&field, Wrong::new("nobody announces this VIP", hint));
    }
    pops.sort();
    pops
}

/// How many names the list has, and the bare names of the objects, in its order; none may be there twice.
fn each_once(
    reader: &mut Reader<'_>,
    key: &'static str,
    example: &str,
    kind: Kind,
) -> Option<(usize, Vec<String>)> {
    let names = &reader.book.names;
    let fields = reader.list(key, example)?;
    let mut found: Vec<String> = Vec::new();
    for field in &fields {
        let resolve = |text: &str| names.resolve(text, &[kind]);
        let Some((_, name)) = reader.parse_field(field, example, resolve) else {
            continue;
        };
        if found.contains(&name) {
            let what = if kind == Kind::Pop { "POP" } else { "CLB" };
            let reason = format!("{} is named twice", kind.object(&name));
            reader.wrong_at(field, Wrong::new(reason, format!("each {what} once")));
        }
        found.push(name);
    }
    Some((fields.len(), found))
}
