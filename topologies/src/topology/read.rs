//! From the tables of a file to a topology, each table by itself.
//!
//! The names of all objects are gathered first, so that a reference is checked where it stands, whatever the
//! order of the file.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyedge_ccn::table::object::{Profile, Settings};
use anyedge_net::route_table::{Announcing, Probing};
use toml::de::{DeTable, DeValue};

use crate::addresses::{AddressPair, Space};
use crate::autoscaling::AutoScaling;
use crate::bgp::Router;
use crate::book::{Book, FILE};
use crate::clb::Clb;
use crate::client::Client;
use crate::controller::Controller;
use crate::convergence::Convergence;
use crate::defaults::{Defaults, one_of};
use crate::diagnostic::Wrong;
use crate::eni::Eni;
use crate::fault::{Fault, Objects};
use crate::host::{self, Host};
use crate::link::Link;
use crate::matrix::Matrix;
use crate::names::{Kind, Names};
use crate::nearest::did_you_mean;
use crate::pop::Pop;
use crate::reader::Reader;
use crate::region::{self, Region};
use crate::security_group::{Peers, SecurityGroup};
use crate::slo::Slo;
use crate::targets::Targets;
use crate::units;
use crate::vip::Vip;

use super::{SCHEMA, Topology, ways};

/// Every name that the file defines, also of tables that have mistakes.
pub(super) fn names_of(root: &DeTable<'_>) -> Names {
    let mut names = Names::default();
    for kind in Kind::ALL {
        let Some(DeValue::Table(table)) = root.get(kind.word()).map(|value| value.get_ref()) else {
            continue;
        };
        for name in table.keys() {
            names.insert(kind, name.get_ref());
        }
    }
    names
}

/// Whether the file is of the version that this crate reads, as far as it says.
pub(super) fn check_schema(book: &Book<'_>, root: &DeTable<'_>) -> bool {
    let mut reader = Reader::new(book, FILE, 0..0, root);
    if reader.field("schema").is_none() {
        reader.missing("schema", "1, at the top of the file");
        return true;
    }
    match reader.integer("schema", 0..=u64::MAX) {
        Some(SCHEMA) => true,
        Some(other) => {
            let reason = format!("schema {other} is not known");
            book.report(
                FILE,
                "schema",
                Wrong::new(reason, format!("this version reads schema = {SCHEMA}")),
            );
            false
        }
        None => false,
    }
}

/// The figures at the top of a file.
struct Times {
    duration: Duration,
    drain: Duration,
    announcing: Announcing,
    publish_after: Duration,
    table_delay: Duration,
    slot_settle: Duration,
}

impl Times {
    fn read(reader: &mut Reader<'_>) -> Self {
        let mut time = |key, default_ms, parse: fn(&str) -> Result<Duration, Wrong>| {
            let default = Duration::from_millis(default_ms);
            let example = format!("\"{default:?}\"");
            reader.parse(key, &example, parse).unwrap_or(default)
        };
        let announcing = Announcing {
            withdraw_after: time("withdraw_after", 1_000, units::duration),
            readvertise_after: time("readvertise_after", 5_000, units::duration),
            blackhole: false,
        };
        let times = Self {
            duration: time("duration", 60_000, units::duration_above_zero),
            drain: time("drain", 10_000, units::duration),
            announcing,
            publish_after: time("publish_after", 1_000, units::duration),
            table_delay: time("table_delay", 50, units::duration),
            slot_settle: time("slot_settle", 15 * 60_000, units::duration),
        };
        let blackhole = reader.boolean("blackhole").unwrap_or(false);
        Self {
            announcing: Announcing {
                blackhole,
                ..announcing
            },
            ..times
        }
    }
}

/// What the file calls itself, else its own name without its ending.
fn name_of(reader: &mut Reader<'_>, file: &str) -> String {
    let stem = Path::new(file)
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    reader
        .text("name")
        .or(stem)
        .unwrap_or_else(|| file.to_owned())
}

/// Reads every table, and gives ways their length where the file does not.
pub(super) fn read(book: &Book<'_>, root: &DeTable<'_>, file: &str) -> Topology {
    let mut reader = Reader::new(book, FILE, 0..0, root);
    reader.field("schema");
    for file in reader
        .list("include", "[\"pops.toml\"]")
        .unwrap_or_default()
    {
        reader.text_of(&file, "\"pops.toml\"");
    }
    let matrix = Matrix::read(&mut reader);
    let mut topology = tables(book, root, file, reader);
    if let Some(matrix) = &matrix {
        topology.hash = matrix.hash;
        topology.matrix = Some(matrix.path.clone());
    }
    // A matrix that could not be read has been reported: what it would have said is not missed as well.
    if matrix.is_some() || !book.places.contains_key("rtt") {
        ways::fill(book, &mut topology, matrix.as_ref());
    }
    topology
}

/// What each table says by itself.
fn tables(book: &Book<'_>, root: &DeTable<'_>, file: &str, mut reader: Reader<'_>) -> Topology {
    let name = name_of(&mut reader, file);
    let description = reader.text("description");
    let times = Times::read(&mut reader);
    let convergence = Convergence::read(&mut reader).unwrap_or_default();
    let seed = reader.integer("seed", 0..=u64::MAX).unwrap_or(1);
    let profile = profile(&mut reader);
    let betas_off = betas_off(&mut reader);
    let (defaults, probing) = defaults(&mut reader);
    let pops = pops(&mut reader);
    let mut clb_space = Space::clb_nodes();
    let mut regions = objects(&mut reader, Kind::Region, |name, table| {
        Region::read(name, table, &mut clb_space)
    });
    let vips = objects(&mut reader, Kind::Vip, Vip::read);
    let links = objects(&mut reader, Kind::Link, |name, table| {
        Link::read(name, table, &defaults)
    });
    let clbs = clbs(&mut reader, profile);
    let backends = Backends::read(book, &mut reader, profile, &defaults);
    let clients = clients(&mut reader, &defaults);
    let security_groups = security_groups(&mut reader, &vips, &clients);
    let struck = Objects::new(&book.names, &backends.hosts, &regions, added_nodes(root));
    let fault = |table| Fault::read(table, times.duration, &struck);
    let faults = numbered(&mut reader, "fault", fault);
    region::add_nodes(book, &mut regions, &faults, &mut clb_space);
    let slos = slos(&mut reader, root, times.duration);
    let controllers = controllers(&mut reader);
    let routers = routers(&mut reader, &defaults, &pops);
    reader.finish();
    Topology {
        name,
        description,
        duration: times.duration,
        drain: times.drain,
        seed,
        convergence,
        announcing: times.announcing,
        publish_after: times.publish_after,
        table_delay: times.table_delay,
        slot_settle: times.slot_settle,
        probing,
        election_timeout: defaults.election_timeout.unwrap_or_default(),
        defaults,
        vips,
        pops,
        regions,
        links,
        clbs,
        targets: backends.targets,
        autoscaling: backends.autoscaling,
        enis: backends.enis,
        hosts: backends.hosts,
        security_groups,
        profile,
        betas_off,
        clients,
        controllers,
        routers,
        operator: AddressPair::default(),
        faults,
        slos,
        overrides: Vec::new(),
        hash: 0,
        matrix: None,
        beside: Vec::new(),
    }
}

/// `[security_group.NAME]`, whose rules may name VIPs and populations.
fn security_groups(
    reader: &mut Reader<'_>,
    vips: &BTreeMap<String, Vip>,
    clients: &BTreeMap<String, Client>,
) -> BTreeMap<String, SecurityGroup> {
    let peers = Peers { vips, clients };
    objects(reader, Kind::SecurityGroup, |name, table| {
        SecurityGroup::read(name, table, &peers)
    })
}

/// `[client.NAME]`, each with addresses of its own.
fn clients(reader: &mut Reader<'_>, defaults: &Defaults) -> BTreeMap<String, Client> {
    let mut space = Space::clients();
    objects(reader, Kind::Client, |name, table| {
        Client::read(name, table, defaults, &mut space)
    })
}

/// `[clb.NAME]`, of which a profile has kinds of its own.
fn clbs(reader: &mut Reader<'_>, profile: Profile) -> BTreeMap<String, Clb> {
    let read = |name, table| Clb::read(name, table, profile);
    objects(reader, Kind::Clb, read)
}

/// Features in closed beta that the file does not have approved: by default all are.
fn betas_off(reader: &mut Reader<'_>) -> Vec<String> {
    if reader.field("beta").is_none() {
        return Vec::new();
    }
    let fields = reader.list("beta", "[\"anycast\"]").unwrap_or_default();
    let mut on = Vec::new();
    for field in fields {
        let known = |text: &str| match Settings::BETAS.contains(&text) {
            true => Ok(text.to_owned()),
            false => Err(one_of(text, "feature in closed beta", &Settings::BETAS)),
        };
        on.extend(reader.parse_field(&field, "\"anycast\"", known));
    }
    let off = Settings::BETAS.into_iter();
    let off = off.filter(|name| !on.iter().any(|own| own == name));
    off.map(str::to_owned).collect()
}

/// Servers, and the hosts that they are on.
struct Backends {
    targets: BTreeMap<String, Targets>,
    autoscaling: BTreeMap<String, AutoScaling>,
    enis: BTreeMap<String, Eni>,
    hosts: BTreeMap<String, Host>,
}

impl Backends {
    fn read(
        book: &Book<'_>,
        reader: &mut Reader<'_>,
        profile: Profile,
        defaults: &Defaults,
    ) -> Self {
        let enis = objects(reader, Kind::Eni, Eni::read);
        let targets = targets(reader, profile, &enis);
        let read = |name, table| AutoScaling::read(name, table, profile);
        let autoscaling = objects(reader, Kind::AutoScaling, read);
        let changed = reader.objects(Kind::Host);
        let hosts = host::read(book, &targets, &autoscaling, changed, defaults);
        Self {
            targets,
            autoscaling,
            enis,
            hosts,
        }
    }
}

/// `[targets.NAME]`, with the weights of a profile.
fn targets(
    reader: &mut Reader<'_>,
    profile: Profile,
    enis: &BTreeMap<String, Eni>,
) -> BTreeMap<String, Targets> {
    let read = |name, table| Targets::read(name, table, profile, enis);
    objects(reader, Kind::Targets, read)
}

/// Whose limits hold.
fn profile(reader: &mut Reader<'_>) -> Profile {
    let read = reader.parse("profile", "\"default\"", |text| match text {
        "default" => Ok(Profile::Default),
        "tencent" => Ok(Profile::Tencent),
        "qingcloud" => Ok(Profile::Qingcloud),
        "aws" => Ok(Profile::Aws),
        _ => Err(one_of(
            text,
            "profile",
            &["default", "tencent", "qingcloud", "aws"],
        )),
    });
    read.unwrap_or_default()
}

/// `[defaults]`, and how nodes watch their paths.
fn defaults(reader: &mut Reader<'_>) -> (Defaults, Option<Probing>) {
    let given = reader
        .table("defaults", "[defaults]")
        .map(|table| table.renamed("defaults"));
    given.map_or_else(
        || (Defaults::default(), Some(Probing::default())),
        Defaults::read,
    )
}

/// `[controller.NAME]`, of those that say where they are.
fn controllers(reader: &mut Reader<'_>) -> BTreeMap<String, Controller> {
    let read = objects(reader, Kind::Controller, Controller::read);
    let read = read.into_iter();
    read.filter_map(|(name, controller)| Some((name, controller?)))
        .collect()
}

/// The router of every POP, with what `[router.NAME]` says of it.
fn routers(
    reader: &mut Reader<'_>,
    defaults: &Defaults,
    pops: &BTreeMap<String, Pop>,
) -> BTreeMap<String, Router> {
    let mut space = Space::routers();
    let mut routers = BTreeMap::new();
    if let Some(bgp) = &defaults.bgp {
        let usual = |name: &String| (name.clone(), Router::usual(name, bgp, &mut space));
        routers.extend(pops.keys().map(usual));
    }
    for (name, table) in reader.objects(Kind::Router) {
        match routers.get_mut(&name) {
            Some(router) => router.read(table),
            None if defaults.bgp.is_none() => {
                table.wrong(Wrong::new(
                    "POPs of this file speak no BGP",
                    "take out `bgp = false`, or this table",
                ));
            }
            None => {
                let hint = did_you_mean(&name, pops.keys().map(String::as_str));
                table.wrong(Wrong::new(format!("there is no pop.{name}"), hint));
            }
        }
    }
    routers
}

/// `[pop.NAME]`, each with addresses of its own.
fn pops(reader: &mut Reader<'_>) -> BTreeMap<String, Pop> {
    let mut space = Space::pops();
    objects(reader, Kind::Pop, |name, table| {
        Pop::read(name, table, &mut space)
    })
}

/// `[[slo]]`, of a run that lasts for `duration`.
fn slos(reader: &mut Reader<'_>, root: &DeTable<'_>, duration: Duration) -> Vec<Slo> {
    let faults = entries_of(root, "fault");
    numbered(reader, "slo", |table| Slo::read(table, duration, faults))
}

/// How many `[[key]]` the file has.
fn entries_of(root: &DeTable<'_>, key: &str) -> usize {
    match root.get(key).map(|value| value.get_ref()) {
        Some(DeValue::Array(items)) => items.len(),
        Some(DeValue::Table(_)) => 1,
        _ => 0,
    }
}

/// The CLB nodes that faults want to add, as the file names them.
fn added_nodes<'a>(root: &'a DeTable<'_>) -> impl Iterator<Item = &'a str> {
    let faults = root
        .get("fault")
        .and_then(|faults| faults.get_ref().as_array());
    let tables = faults.into_iter().flat_map(|faults| faults.iter());
    tables.filter_map(|fault| fault.get_ref().as_table()?.get("add")?.get_ref().as_str())
}

/// `[kind.NAME]`, by name.
fn objects<'a, T>(
    reader: &mut Reader<'a>,
    kind: Kind,
    mut read: impl FnMut(String, Reader<'a>) -> T,
) -> BTreeMap<String, T> {
    let tables = reader.objects(kind).into_iter();
    tables
        .map(|(name, table)| (name.clone(), read(name, table)))
        .collect()
}

/// `[[key]]`, in the order of the file; each is an object `key[0]`, `key[1]`, ..
fn numbered<'a, T>(
    reader: &mut Reader<'a>,
    key: &'static str,
    read: impl Fn(Reader<'a>) -> Option<T>,
) -> Vec<T> {
    let tables = reader
        .tables(key, &format!("[[{key}]]"))
        .into_iter()
        .enumerate();
    tables
        .filter_map(|(index, table)| read(table.renamed(&format!("{key}[{index}]"))))
        .collect()
}
