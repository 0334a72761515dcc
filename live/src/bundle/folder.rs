//! The folder of one machine: the command that it runs, and the files that this names.
//!
//! Every path in it is relative to the folder itself, but for what systemd gives a unit, so that it works wherever it is
//! copied to.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyedge_topologies::{AddressPair, Kind, Topology};
use anyhow::{Context, Result};

use super::{FOUNDING, IDENTITY, Part, TOPOLOGY, compose, unit};

/// One machine's folder.
pub(super) struct Folder<'a> {
    pub(super) path: &'a Path,
    /// The node or controller.
    pub(super) name: &'a str,
    pub(super) part: &'a Part,
    pub(super) members: &'a BTreeMap<String, SocketAddr>,
    pub(super) overrides: &'a [String],
    /// The files that the topology names: round trips, included ones, traces.
    pub(super) beside: Vec<&'a Path>,
}

impl Folder<'_> {
    /// Writes all but keys, which are there.
    pub(super) fn fill(&self, file: &Path) -> Result<()> {
        if *self.part == Part::Node {
            copy(file, &self.path.join(TOPOLOGY))?;
            for other in &self.beside {
                let beside = beside(file, other)?;
                copy(other, &self.path.join(beside))?;
            }
        }
        let arguments = self.arguments();
        let service = unit::text(self.name, self.part, &arguments);
        write(&self.path.join("anyedge.service"), &service, 0o644)?;
        let compose = compose::text(self.name, self.part, &arguments);
        write(&self.path.join("compose.yaml"), &compose, 0o644)
    }

    /// What the machine runs, in its folder.
    fn arguments(&self) -> Vec<String> {
        let servers = self.members.values().map(ToString::to_string);
        let servers: Vec<String> = servers.collect();
        let data = "${STATE_DIRECTORY}".to_owned();
        let mut words: Vec<String> = Vec::new();
        let mut say = |flag: &str, value: &str| words.extend([flag.to_owned(), value.to_owned()]);
        match self.part {
            Part::Node => {
                say("--topology", TOPOLOGY);
                say("--name", self.name);
                for text in self.overrides {
                    say("--set", text);
                }
                say("--controllers", &servers.join(","));
                say("--identity", IDENTITY);
                say("--founding", FOUNDING);
                say("--data", &data);
                say("--metrics", "127.0.0.1:9464");
                words.insert(0, "node".to_owned());
            }
            Part::Controller(number, address) => {
                let peers = (1..).zip(&servers);
                let peers: Vec<String> = peers.map(|(id, at)| format!("{id}={at}")).collect();
                say("--id", &number.to_string());
                say("--listen", &address.to_string());
                say("--peers", &peers.join(","));
                say("--cert", "controller.pem");
                say("--key", "controller.key");
                say("--ca", "ca.pem");
                say("--founding", FOUNDING);
                say("--data", &data);
                words.insert(0, "controller".to_owned());
            }
        }
        words
    }
}

/// The tunnel addresses of a node, if it has some.
pub(super) fn underlay(topology: &Topology, name: &str) -> Option<AddressPair> {
    if let Some(pop) = name.strip_prefix(&Kind::Pop.object("")) {
        return topology.pops.get(pop).map(|pop| pop.underlay);
    }
    if let Some(host) = name.strip_prefix(&Kind::Host.object("")) {
        return topology.hosts.get(host).map(|host| host.underlay);
    }
    let regions = topology.regions.values();
    let mut clb_nodes = regions.flat_map(|region| &region.clb_nodes);
    let own = clb_nodes.find(|clb| clb.name == name);
    own.map(|clb| clb.underlay)
}

/// Makes a folder.
pub(super) fn make(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}

/// Makes a folder that only its owner may read.
pub(super) fn make_private(path: &Path) -> Result<()> {
    let made = DirBuilder::new().mode(0o700).create(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

/// Writes a file.
pub(super) fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    opened
        .and_then(|mut open| open.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The name of a file that stands in the folder of a topology, which alone goes with it to other machines.
fn beside<'a>(topology: &Path, other: &'a Path) -> Result<&'a Path> {
    let folder = topology.parent().unwrap_or(Path::new(""));
    let name = other.strip_prefix(folder).ok();
    let name = name.filter(|name| name.file_name() == Some(name.as_os_str()));
    name.with_context(|| {
        format!(
            "{} is not in the folder of {}, and a bundle takes no other: copy it there",
            other.display(),
            topology.display()
        )
    })
}

/// Copies a file with its mode.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = fs::copy(from, to).map(drop);
    copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
