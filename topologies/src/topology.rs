//! A whole topology: everything that a file describes, checked, with every default filled in.
//!
//! Reading has three steps: the TOML text, each table by itself, and what tables say of each other
//! (`topology/check.rs`). A topology that exists has passed all three, so its references resolve.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::addresses::Space;
use crate::book::{self, Book};
use crate::clb::Clb;
use crate::client::Client;
use crate::defaults::Defaults;
use crate::diagnostic::{Diagnostic, Mistakes, Wrong};
use crate::fault::Fault;
use crate::host::{self, Host};
use crate::link::Link;
use crate::names::{Kind, Names};
use crate::pop::Pop;
use crate::reader::Reader;
use crate::region::Region;
use crate::slo::Slo;
use crate::targets::Targets;
use crate::units;
use crate::vip::Vip;

mod check;

/// The version of the format that this crate reads.
pub const SCHEMA: u64 = 1;

/// A checked topology. Maps are keyed by the name without its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// `name`, or the file's name without its ending.
    pub name: String,
    /// What the topology shows.
    pub description: Option<String>,
    /// How long the load runs.
    pub duration: Duration,
    /// How much longer the run may go on to finish what is in flight.
    pub drain: Duration,
    /// Root of all randomness.
    pub seed: u64,
    /// How long after a crash a POP leaves the catchment.
    pub convergence: Duration,
    /// Defaults as given; they are already applied below.
    pub defaults: Defaults,
    /// Anycast addresses.
    pub vips: BTreeMap<String, Vip>,
    /// Points of presence.
    pub pops: BTreeMap<String, Pop>,
    /// Regions.
    pub regions: BTreeMap<String, Region>,
    /// Backbone links.
    pub links: BTreeMap<String, Link>,
    /// Load balancers.
    pub clbs: BTreeMap<String, Clb>,
    /// Servers behind listeners.
    pub targets: BTreeMap<String, Targets>,
    /// The servers' hosts.
    pub hosts: BTreeMap<String, Host>,
    /// Populations of clients.
    pub clients: BTreeMap<String, Client>,
    /// What goes wrong, by time.
    pub faults: Vec<Fault>,
    /// Service levels in the order of the file.
    pub slos: Vec<Slo>,
}

impl Topology {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Every mistake in the file, or the one that it cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Vec<Diagnostic>> {
        let path = path.as_ref();
        let file = path.display().to_string();
        match fs::read(path) {
            Ok(bytes) => Self::parse_bytes(&file, &bytes),
            Err(error) => {
                let mistakes = Mistakes::new(&file, "");
                let wrong = Wrong::bare(format!("cannot be read: {error}"));
                mistakes.add("file", 0..0, wrong);
                Err(mistakes.into_sorted())
            }
        }
    }

    /// Checks the bytes of a file; `file` is its name in messages.
    ///
    /// # Errors
    /// Every mistake in the text, or where it stops being UTF-8.
    pub fn parse_bytes(file: &str, bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(file, text),
            Err(error) => {
                let good = error.valid_up_to();
                let text = std::str::from_utf8(&bytes[..good]).expect("valid up to there");
                let mistakes = Mistakes::new(file, text);
                mistakes.add(
                    "file",
                    good..good,
                    Wrong::new("not UTF-8 text", "save the file as UTF-8"),
                );
                Err(mistakes.into_sorted())
            }
        }
    }

    /// Checks a text; `file` is its name in messages.
    ///
    /// # Errors
    /// Every mistake in the text, in its order.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mistakes = Mistakes::new(file, text);
        let root = match DeTable::parse(text) {
            Ok(root) => root,
            Err(error) => {
                let span = error.span().unwrap_or(text.len()..text.len());
                mistakes.add(
                    "file",
                    span,
                    Wrong::bare(format!("not TOML: {}", error.message())),
                );
                return Err(mistakes.into_sorted());
            }
        };
        let table = root.get_ref();
        let book = Book {
            mistakes,
            names: names_of(table),
            places: book::places(table),
        };
        if !check_schema(&book, table) {
            return Err(book.mistakes.into_sorted());
        }
        let mut topology = read(&book, table, file);
        check::check(&book, &mut topology);
        if book.mistakes.is_empty() {
            Ok(topology)
        } else {
            Err(book.mistakes.into_sorted())
        }
    }

    /// The region where the CLB behind a VIP is.
    ///
    /// # Panics
    /// If there is no such VIP.
    #[must_use]
    pub fn home_region(&self, vip: &str) -> &Region {
        let vip = self.vips.get(vip).unwrap_or_else(|| panic!("no vip.{vip}"));
        &self.regions[&self.clbs[&vip.clb].region]
    }

    /// The link between a POP and a region, if there is one.
    #[must_use]
    pub fn link_between(&self, pop: &str, region: &str) -> Option<&Link> {
        self.links
            .values()
            .find(|link| link.pop == pop && link.region == region)
    }
}

/// Every name that the file defines, also of tables that have mistakes.
fn names_of(root: &DeTable<'_>) -> Names {
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

fn check_schema(book: &Book<'_>, root: &DeTable<'_>) -> bool {
    let mut reader = Reader::new(book, "file", 0..0, root);
    if reader.field("schema").is_none() {
        reader.missing("schema", "1, at the top of the file");
        return true;
    }
    reader.integer("schema", SCHEMA..=SCHEMA).is_some()
}

fn read(book: &Book<'_>, root: &DeTable<'_>, file: &str) -> Topology {
    let mut reader = Reader::new(book, "file", 0..0, root);
    reader.field("schema");
    let stem = Path::new(file).file_stem().map_or_else(
        || file.to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    );
    let name = reader.text("name").unwrap_or(stem);
    let description = reader.text("description");
    let mut time = |key, default| {
        reader
            .parse(key, "\"60s\"", units::duration)
            .unwrap_or(Duration::from_secs(default))
    };
    let (drain, convergence) = (time("drain", 10), time("convergence", 3));
    let duration = reader
        .parse("duration", "\"60s\"", units::duration_above_zero)
        .unwrap_or(Duration::from_secs(60));
    let seed = reader.integer("seed", 0..=u64::MAX).unwrap_or(1);
    let defaults = reader.field("defaults").and_then(|field| {
        let inner = reader.reader_of(&field, "[defaults]")?;
        Some(inner.renamed("defaults"))
    });
    let defaults = defaults.map(Defaults::read).unwrap_or_default();

    let mut space = Space::pops();
    let pops = reader
        .objects(Kind::Pop)
        .into_iter()
        .map(|(n, r)| (n.clone(), Pop::read(n, r, &mut space)))
        .collect();
    let mut space = Space::clb_nodes();
    let regions = reader
        .objects(Kind::Region)
        .into_iter()
        .map(|(n, r)| (n.clone(), Region::read(n, r, &mut space)))
        .collect();
    let vips = reader
        .objects(Kind::Vip)
        .into_iter()
        .map(|(n, r)| (n.clone(), Vip::read(n, r)))
        .collect();
    let links = reader
        .objects(Kind::Link)
        .into_iter()
        .map(|(n, r)| (n.clone(), Link::read(n, r, &defaults)))
        .collect();
    let clbs = reader
        .objects(Kind::Clb)
        .into_iter()
        .map(|(n, r)| (n.clone(), Clb::read(n, r)))
        .collect();
    let targets: BTreeMap<String, Targets> = reader
        .objects(Kind::Targets)
        .into_iter()
        .map(|(n, r)| (n.clone(), Targets::read(n, r)))
        .collect();
    let overrides = reader.objects(Kind::Host);
    let hosts = host::read(book, &targets, overrides, &defaults);
    let mut space = Space::clients();
    let clients = reader
        .objects(Kind::Client)
        .into_iter()
        .map(|(n, r)| (n.clone(), Client::read(n, r, &defaults, &mut space)))
        .collect();
    let faults = reader.tables("fault", "[[fault]]").into_iter().enumerate();
    let faults = faults
        .filter_map(|(i, r)| Fault::read(r.renamed(&format!("fault[{i}]")), duration))
        .collect();
    let slos = reader.tables("slo", "[[slo]]").into_iter().enumerate();
    let slos = slos
        .filter_map(|(i, r)| Slo::read(r.renamed(&format!("slo[{i}]"))))
        .collect();
    reader.finish();
    Topology {
        name,
        description,
        duration,
        drain,
        seed,
        convergence,
        defaults,
        vips,
        pops,
        regions,
        links,
        clbs,
        targets,
        hosts,
        clients,
        faults,
        slos,
    }
}
