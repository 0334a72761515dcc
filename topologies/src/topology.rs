//! A whole topology: everything that a file describes, checked, with every default filled in.
//!
//! Reading has three steps: the TOML text, each table by itself, and what tables say of each other
//! (`topology/check.rs`). A topology that exists has passed all three, so its references resolve.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyedge_ccn::table::object::{Profile, Target};
use anyedge_net::route_table::{Announcing, Probing};
use toml::de::DeTable;

use crate::addresses::AddressPair;
use crate::autoscaling::AutoScaling;
use crate::bgp::Router;
use crate::book::{self, Asked, Book, FILE};
use crate::clb::{Clb, Listener};
use crate::client::Client;
use crate::controller::Controller;
use crate::convergence::Convergence;
use crate::defaults::Defaults;
use crate::diagnostic::{Diagnostic, Mistakes, Wrong};
use crate::eni::Eni;
use crate::fault::{Fault, FaultVerb};
use crate::host::Host;
use crate::include::{self, Included};
use crate::link::Link;
use crate::management::{self, Managed};
use crate::names::Kind;
use crate::overrides;
use crate::pop::Pop;
use crate::region::Region;
use crate::security_group::SecurityGroup;
use crate::slo::Slo;
use crate::syntax;
use crate::targets::{Server, Service, Targets};
use crate::vip::Vip;

mod check;
mod read;
mod ways;

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
    /// How long the Internet takes to follow what POPs announce and withdraw.
    pub convergence: Convergence,
    /// When a POP announces the VIPs that it publishes.
    pub announcing: Announcing,
    /// How long the table's author takes to believe that a node is lost or back, and to publish that.
    pub publish_after: Duration,
    /// How long a published table takes to each node.
    pub table_delay: Duration,
    /// How long a slot that moved stays where it is, unless its node dies.
    pub slot_settle: Duration,
    /// How nodes watch their paths; `None`: not at all.
    pub probing: Option<Probing>,
    /// How long a controller waits for its leader before it stands for election itself.
    pub election_timeout: Duration,
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
    /// Servers that come and go.
    pub autoscaling: BTreeMap<String, AutoScaling>,
    /// Elastic network interfaces.
    pub enis: BTreeMap<String, Eni>,
    /// The servers' hosts.
    pub hosts: BTreeMap<String, Host>,
    /// Rules of who may open flows.
    pub security_groups: BTreeMap<String, SecurityGroup>,
    /// Whose limits hold, and how rules of security groups are ordered.
    pub profile: Profile,
    /// Features in closed beta that are not approved.
    pub betas_off: Vec<String>,
    /// Populations of clients.
    pub clients: BTreeMap<String, Client>,
    /// Who keeps the route tables: 1, 3, 5 or 7.
    pub controllers: BTreeMap<String, Controller>,
    /// The router of each POP, by the POP's name; none where POPs speak no BGP.
    pub routers: BTreeMap<String, Router>,
    /// The addresses of the operator's machine on the management network. Both families are always there.
    pub operator: AddressPair,
    /// What goes wrong, by time.
    pub faults: Vec<Fault>,
    /// Service levels in the order of the file.
    pub slos: Vec<Slo>,
    /// Keys of the file that were set otherwise, as given: `defaults.ccn.encap=grpc`. They are already applied above.
    pub overrides: Vec<String>,
    /// XXH3 of all texts, of the overrides and of the files that they name: equal where all of them are.
    pub hash: u64,
    /// The file of measured round trips that it names.
    pub matrix: Option<PathBuf>,
    /// All other files that it names: those that it includes, and traces.
    pub beside: Vec<PathBuf>,
}

impl Topology {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Every mistake in the file, or the one that it cannot be read.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Vec<Diagnostic>> {
        Self::load_with(path, &[])
    }

    /// Reads and checks a file of which some keys are set otherwise: `link.tokyo-guangzhou.loss=1%`.
    ///
    /// # Errors
    /// Every mistake in the file and in the overrides, or the one that the file cannot be read.
    pub fn load_with(
        path: impl AsRef<Path>,
        overrides: &[String],
    ) -> Result<Self, Vec<Diagnostic>> {
        let (file, bytes) = bytes_of(path.as_ref())?;
        Self::parse_with(&file, text_of(&file, &bytes)?, overrides)
    }

    /// Checks the bytes of a file; `file` is its name in messages.
    ///
    /// # Errors
    /// Every mistake in the text, or where it stops being UTF-8.
    pub fn parse_bytes(file: &str, bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        Self::parse_with(file, text_of(file, bytes)?, &[])
    }

    /// Checks a text; `file` is its name in messages.
    ///
    /// # Errors
    /// Every mistake in the text, in its order.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        Self::parse_with(file, text, &[])
    }

    /// Checks a text of which some keys are set otherwise, each as `key=value`: the key a path of dots, with numbers
    /// from 0 into arrays; the value TOML if it reads as such, else a string.
    ///
    /// # Errors
    /// Every mistake in the text, then every one in the overrides.
    pub fn parse_with(
        file: &str,
        text: &str,
        overrides: &[String],
    ) -> Result<Self, Vec<Diagnostic>> {
        let (included, refused) = include::gather(file, text);
        let (root, mistakes) = tables_of((file, text), (&included, refused), overrides)?;
        let (topology, _) = of_tables(file, &root, mistakes, overrides)?;
        Ok(topology)
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

    /// Every server of the file, also those that are targets later or never.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        let targets = self.targets.values().flat_map(|targets| &targets.servers);
        let groups = self.autoscaling.values();
        targets.chain(groups.flat_map(|group| &group.servers))
    }

    /// Where the services of a host listen: those of its servers, and of interfaces that are moved to it.
    #[must_use]
    pub fn listening_on(&self, host: &str) -> Vec<SocketAddr> {
        let servers = self.servers().filter(|server| {
            let eni = server.eni.as_ref();
            server.host == host || eni.is_some_and(|eni| self.moves_to(eni, host))
        });
        let sockets = servers.flat_map(|server| {
            let addresses = server.address.iter();
            addresses.map(|ip| SocketAddr::new(ip, server.port))
        });
        let sockets: BTreeSet<SocketAddr> = sockets.collect();
        sockets.into_iter().collect()
    }

    /// What the servers of a host need for a request, those that need anything, by where they listen.
    #[must_use]
    pub fn services_of(&self, host: &str) -> Vec<(SocketAddr, Service)> {
        let sockets = self.listening_on(host).into_iter();
        let services = sockets.filter_map(|at| Some((at, self.service_at(at)?.clone())));
        services.collect()
    }

    /// What a server of that address and port needs for a request.
    fn service_at(&self, at: SocketAddr) -> Option<&Service> {
        let is_it = |server: &Server| {
            server.port == at.port() && server.address.iter().any(|ip| ip == at.ip())
        };
        let mut targets = self.targets.values();
        let own = targets.find(|targets| targets.servers.iter().any(is_it))?;
        own.service.as_ref()
    }

    /// The addresses of a host, also those of interfaces that are moved to it.
    #[must_use]
    pub fn addresses_on(&self, host: &Host) -> Vec<IpAddr> {
        let mut addresses = host.addresses.clone();
        let moved = self.enis.values();
        let moved = moved.filter(|eni| self.moves_to(&eni.name, &host.name));
        for ip in moved.flat_map(|eni| eni.address.iter()) {
            if !addresses.contains(&ip) {
                addresses.push(ip);
            }
        }
        addresses
    }

    fn moves_to(&self, eni: &str, host: &str) -> bool {
        let (eni, host) = (Kind::Eni.object(eni), Kind::Host.object(host));
        let mut faults = self.faults.iter();
        faults.any(|fault| {
            fault.object == eni && matches!(&fault.verb, FaultVerb::EniMove { to } if *to == host)
        })
    }

    /// Targets that there are only once their servers join an auto-scaling group.
    pub fn scaled_targets(&self) -> impl Iterator<Item = Target> {
        let groups = self.autoscaling.values();
        groups.flat_map(|group| {
            let (all, first) = (group.group(group.servers.len()), group.group(group.size));
            let later = all.targets().filter(|target| !first.brings(target));
            later.collect::<Vec<_>>()
        })
    }

    /// Servers that are, or may come to be, behind a listener.
    pub(crate) fn servers_behind(
        &self,
        clb: &str,
        listener: &Listener,
    ) -> impl Iterator<Item = &Server> {
        let targets = self.targets.get(&listener.targets);
        let targets = targets.into_iter().flat_map(|targets| &targets.servers);
        let own = (clb.to_owned(), listener.name.clone());
        let groups = self.autoscaling.values();
        let groups = groups.filter(move |group| group.listeners.contains(&own));
        targets.chain(groups.flat_map(|group| &group.servers))
    }

    /// Every node of the management network: controllers, POPs, CLB nodes, hosts, each kind by name.
    #[must_use]
    pub fn managed(&self) -> Vec<Managed> {
        management::nodes(self)
    }

    /// Every file that it names: round trips, those that it includes, traces.
    pub fn files_beside(&self) -> impl Iterator<Item = &Path> {
        let all = self.matrix.iter().chain(&self.beside);
        all.map(PathBuf::as_path)
    }

    /// The link between a POP and a region, if there is one.
    #[must_use]
    pub fn link_between(&self, pop: &str, region: &str) -> Option<&Link> {
        self.links
            .values()
            .find(|link| link.ends.has_pop(pop) && link.ends.has_region(region))
    }
}

/// The name of a file in messages, and what is in it.
pub(crate) fn bytes_of(path: &Path) -> Result<(String, Vec<u8>), Vec<Diagnostic>> {
    let file = path.display().to_string();
    match fs::read(path) {
        Ok(bytes) => Ok((file, bytes)),
        Err(error) => {
            let mistakes = Mistakes::new(&file, "", &[]);
            let wrong = Wrong::bare(format!("cannot be read: {error}"));
            mistakes.add(FILE, 0..0, wrong);
            Err(mistakes.into_sorted())
        }
    }
}

/// The bytes of a file as text.
pub(crate) fn text_of<'t>(file: &str, bytes: &'t [u8]) -> Result<&'t str, Vec<Diagnostic>> {
    std::str::from_utf8(bytes).map_err(|error| {
        let good = error.valid_up_to();
        let text = std::str::from_utf8(&bytes[..good]).expect("valid up to there");
        let mistakes = Mistakes::new(file, text, &[]);
        let wrong = Wrong::new("not UTF-8 text", "save the file as UTF-8");
        mistakes.add(FILE, good..good, wrong);
        mistakes.into_sorted()
    })
}

/// The tables of a text, with those that it includes and with what overrides set in them, and where mistakes in them are
/// to go.
pub(crate) fn tables_of<'t>(
    (file, text): (&'t str, &'t str),
    (included, refused): (&'t [Included], Vec<include::Refused>),
    overrides: &'t [String],
) -> Result<(DeTable<'t>, Mistakes<'t>), Vec<Diagnostic>> {
    let mistakes = Mistakes::new(file, text, overrides).with_included(included);
    let (root, errors) = DeTable::parse_recoverable(text);
    syntax::report(&mistakes, &errors, text, 0);
    let mut root = root.into_inner();
    include::merge(&mut root, included, refused, &mistakes);
    if mistakes.is_empty() {
        overrides::apply(&mut root, overrides, &mistakes);
    }
    if mistakes.is_empty() {
        Ok((root, mistakes))
    } else {
        Err(mistakes.into_sorted())
    }
}

/// The keys that each table of a text was asked for, whatever its mistakes.
pub(crate) fn asked_of(file: &str, text: &str) -> Asked {
    let (included, refused) = include::gather(file, text);
    let Ok((root, mistakes)) = tables_of((file, text), (&included, refused), &[]) else {
        return Asked::new();
    };
    let book = Book {
        mistakes,
        names: read::names_of(&root),
        places: book::places(&root),
        beside: RefCell::default(),
        asked: RefCell::default(),
    };
    read::read(&book, &root, file);
    book.asked.take()
}

/// The topology that the tables of a file describe, and where everything in them is.
pub(crate) fn of_tables<'t>(
    file: &str,
    root: &DeTable<'_>,
    mistakes: Mistakes<'t>,
    overrides: &[String],
) -> Result<(Topology, Book<'t>), Vec<Diagnostic>> {
    let book = Book {
        mistakes,
        names: read::names_of(root),
        places: book::places(root),
        beside: RefCell::default(),
        asked: RefCell::default(),
    };
    if !read::check_schema(&book, root) {
        return Err(book.mistakes.into_sorted());
    }
    let mut topology = read::read(&book, root, file);
    topology.overrides = overrides.to_vec();
    let traces = book.beside.take();
    let seed = traces
        .values()
        .fold(topology.hash, |hash, trace| hash.rotate_left(1) ^ trace);
    topology.hash = book.mistakes.hash(seed);
    let included = book.mistakes.included().map(PathBuf::from);
    topology.beside = included.chain(traces.into_keys()).collect();
    check::check(&book, &mut topology);
    if book.mistakes.is_empty() {
        Ok((topology, book))
    } else {
        Err(book.mistakes.into_sorted())
    }
}
