//! What a lab is made of, as data: namespaces, the wires between them, routes, and the processes that run inside.
//!
//! A topology becomes a blueprint without touching the machine, so it can be tested without root; [`super::build`]
//! then makes exactly what stands here. [`Blueprint::check`] refuses everything that the kernel would refuse half-way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::name::{LabName, check_node};
use super::routers::RouterPlan;
use crate::control::SOCKET_PATH_BYTES_MAX;
use crate::netlink::{INTERFACE_LEN_MAX, Route};
use crate::prefix::Prefix;
use crate::wires::Plan;

/// The smallest MTU that carries IPv6 (RFC 8200 §5).
const MTU_MIN: u32 = 1_280;
/// The largest MTU of a veth.
const MTU_MAX: u32 = 65_535;

/// A whole lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blueprint {
    /// The lab's name.
    pub lab: LabName,
    /// Nodes that need a certificate, and where each finds it.
    pub identities: Vec<(String, PathBuf)>,
    /// The controllers' common ground, if there are any.
    pub group: Option<GroupPlan>,
    /// The topology file it was made from, for people to see.
    pub topology: PathBuf,
    /// Keys of that file that are set otherwise.
    pub overrides: Vec<String>,
    /// What moves clients' routes, for people to see.
    pub entered_by: String,
    /// What stands between wires that have the file's links; empty where none have.
    pub between: Plan,
    /// BGP routers, whose processes are among the others.
    pub routers: Vec<RouterPlan>,
    /// One namespace per node.
    pub namespaces: Vec<NamespacePlan>,
    /// Files that programs of the lab read, in its folder.
    pub files: Vec<FilePlan>,
    /// Point-to-point wires between them.
    pub wires: Vec<WirePlan>,
    /// What runs in them, started in this order.
    pub processes: Vec<ProcessPlan>,
}

/// What controllers are founded with, and how they are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPlan {
    /// Where they listen.
    pub servers: Vec<SocketAddr>,
    /// The table that they begin with, as a snapshot.
    pub founding: Vec<u8>,
    /// Where [`GroupFiles`] go.
    pub folder: PathBuf,
}

/// The files of a group of controllers: the names that `anyedge ctl` knows, and those of the controllers' own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFiles {
    /// Where the controllers are, one a line.
    pub servers: PathBuf,
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The controllers' certificate.
    pub controller: PathBuf,
    /// The key to it.
    pub controller_key: PathBuf,
    /// An operator's certificate.
    pub operator: PathBuf,
    /// The key to it.
    pub operator_key: PathBuf,
    /// The table that they are founded with.
    pub founding: PathBuf,
}

impl GroupPlan {
    /// The files in `folder`.
    pub fn files(folder: &Path) -> GroupFiles {
        GroupFiles {
            servers: folder.join("servers"),
            authority: folder.join("ca.pem"),
            controller: folder.join("controller.pem"),
            controller_key: folder.join("controller.key"),
            operator: folder.join("client.pem"),
            operator_key: folder.join("client.key"),
            founding: folder.join("founding.table"),
        }
    }
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlan {
    /// Where it is.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

/// One node's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespacePlan {
    /// The node, such as `pop.tokyo`.
    pub node: String,
    /// Whether the kernel forwards between its interfaces.
    pub forwards: bool,
    /// Addresses on the loopback: the node's own, whichever wire is used.
    pub addresses: Vec<Prefix>,
    /// Static routes, added once every wire is up.
    pub routes: Vec<Route>,
}

/// A veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WirePlan {
    /// Both ends.
    pub ends: [WireEndPlan; 2],
    /// The largest packet in bytes.
    pub mtu: u32,
}

/// One end of a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireEndPlan {
    /// The node it ends in.
    pub node: String,
    /// The interface's name there, at most 15 bytes.
    pub interface: String,
    /// Its addresses.
    pub addresses: Vec<Prefix>,
}

/// A process inside a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessPlan {
    /// The node whose namespace it lives in.
    pub node: String,
    /// Its name in the lab, unique; several may live in one node.
    pub name: String,
    /// The program; `None` for this very binary.
    pub program: Option<PathBuf>,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The control socket it answers on when ready; `None` for a program that has none.
    pub control: Option<PathBuf>,
}

impl Blueprint {
    /// Refuses what could not be built: unknown or repeated names, addresses of two owners on one node, gateways that
    /// no wire leads to, MTUs out of 1,280..=65,535.
    pub fn check(&self) -> Result<()> {
        let mut nodes = BTreeSet::new();
        for namespace in &self.namespaces {
            check_node(&namespace.node)?;
            ensure!(
                nodes.insert(namespace.node.as_str()),
                "the node `{}` stands twice in the lab",
                namespace.node
            );
        }
        let connected = self.check_wires(&nodes)?;
        for namespace in &self.namespaces {
            let reachable = connected
                .get(namespace.node.as_str())
                .map_or(&[][..], Vec::as_slice);
            for route in &namespace.routes {
                check_route(route, reachable)
                    .with_context(|| format!("node `{}`", namespace.node))?;
            }
        }
        let mut names = BTreeSet::new();
        for process in &self.processes {
            let ProcessPlan {
                node,
                name,
                control,
                ..
            } = process;
            ensure!(
                nodes.contains(node.as_str()),
                "the process `{name}` lives in `{node}`, which is no node"
            );
            check_node(name)?;
            ensure!(
                names.insert(name),
                "the process `{name}` stands twice in the lab"
            );
            let bytes = control.as_ref().map_or(0, |path| path.as_os_str().len());
            ensure!(
                bytes <= SOCKET_PATH_BYTES_MAX,
                "the control socket of `{name}` has a path of {bytes} bytes"
            );
        }
        Ok(())
    }

    /// Checks the wires; gives each node its interfaces with their addresses.
    fn check_wires<'a>(
        &'a self,
        nodes: &BTreeSet<&str>,
    ) -> Result<BTreeMap<&'a str, Vec<&'a WireEndPlan>>> {
        let mut ends: BTreeMap<&str, Vec<&WireEndPlan>> = BTreeMap::new();
        for wire in &self.wires {
            let mtu = wire.mtu;
            ensure!(
                (MTU_MIN..=MTU_MAX).contains(&mtu),
                "a wire's MTU is {MTU_MIN} to {MTU_MAX}, not {mtu}"
            );
            for end in &wire.ends {
                let WireEndPlan {
                    node, interface, ..
                } = end;
                ensure!(
                    nodes.contains(node.as_str()),
                    "a wire ends in `{node}`, which is no node"
                );
                ensure!(
                    !interface.is_empty()
                        && interface.len() <= INTERFACE_LEN_MAX
                        && interface != "lo",
                    "`{interface}` cannot name an interface of `{node}`: 1 to {INTERFACE_LEN_MAX} bytes, and not lo"
                );
                let here = ends.entry(node).or_default();
                ensure!(
                    here.iter().all(|other| other.interface != *interface),
                    "`{node}` has two interfaces `{interface}`"
                );
                for address in &end.addresses {
                    let taken = |other: &&WireEndPlan| {
                        other.addresses.iter().any(|held| held.ip() == address.ip())
                    };
                    ensure!(
                        !here.iter().any(taken),
                        "`{node}` holds {} twice",
                        address.ip()
                    );
                }
                here.push(end);
            }
        }
        Ok(ends)
    }
}

fn check_route(route: &Route, interfaces: &[&WireEndPlan]) -> Result<()> {
    let Route {
        destination,
        via,
        interface,
        ..
    } = route;
    if let Some(interface) = interface
        && interface != "lo"
        && !interfaces.iter().any(|end| end.interface == *interface)
    {
        bail!("the route to {destination} leaves by `{interface}`, which is no interface of it");
    }
    match via {
        Some(via) => {
            let connected = interfaces
                .iter()
                .flat_map(|end| &end.addresses)
                .any(|address| address.contains(*via));
            ensure!(
                connected,
                "the route to {destination} goes via {via}, which no wire leads to"
            );
        }
        None => ensure!(
            interface.is_some(),
            "the route to {destination} needs a gateway or an interface"
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().expect("a prefix written in the test")
    }

    fn end(node: &str, interface: &str, address: &str) -> WireEndPlan {
        WireEndPlan {
            node: node.to_owned(),
            interface: interface.to_owned(),
            addresses: vec![prefix(address)],
        }
    }

    fn namespace(node: &str) -> NamespacePlan {
        NamespacePlan {
            node: node.to_owned(),
            forwards: false,
            addresses: Vec::new(),
            routes: Vec::new(),
        }
    }

    fn pair() -> Blueprint {
        Blueprint {
            lab: "demo".parse().expect("a lab's name"),
            identities: Vec::new(),
            group: None,
            files: Vec::new(),
            topology: PathBuf::from("two-pops.toml"),
            overrides: Vec::new(),
            entered_by: String::new(),
            between: Plan::default(),
            routers: Vec::new(),
            namespaces: vec![namespace("pop.a"), namespace("client.b")],
            wires: vec![WirePlan {
                ends: [
                    end("pop.a", "b0", "192.0.2.1/30"),
                    end("client.b", "a0", "192.0.2.2/30"),
                ],
                mtu: 1_500,
            }],
            processes: Vec::new(),
        }
    }

    fn refused(change: impl FnOnce(&mut Blueprint)) -> String {
        let mut blueprint = pair();
        change(&mut blueprint);
        format!(
            "{:#}",
            blueprint.check().expect_err("the change must be refused")
        )
    }

    #[test]
    fn a_plain_pair_can_be_built() {
        pair().check().expect("nothing is wrong with it");
    }

    #[test]
    fn names_stand_once_and_wires_end_in_nodes() {
        assert!(refused(|b| b.namespaces.push(namespace("pop.a"))).contains("stands twice"));
        assert!(
            refused(|b| b.wires[0].ends[1].node = "pop.z".to_owned()).contains("which is no node")
        );
        assert!(refused(|b| b.wires.push(b.wires[0].clone())).contains("two interfaces `b0`"));
        assert!(
            refused(|b| b.wires[0].ends[0].interface = "an-interface-name".to_owned())
                .contains("15 bytes")
        );
        assert!(refused(|b| b.wires[0].mtu = 576).contains("1280 to 65535"));
    }

    #[test]
    fn a_route_needs_a_way_that_exists() {
        let route = |via: Option<&str>, interface: Option<&str>| Route {
            destination: Prefix::ANY_V4,
            via: via.map(|via| via.parse().expect("an address")),
            interface: interface.map(str::to_owned),
            source: None,
        };
        assert!(
            refused(|b| b.namespaces[1].routes.push(route(Some("192.0.2.9"), None)))
                .contains("no wire leads to")
        );
        assert!(
            refused(|b| b.namespaces[1].routes.push(route(None, Some("eth9"))))
                .contains("no interface")
        );
        assert!(
            refused(|b| b.namespaces[1].routes.push(route(None, None))).contains("needs a gateway")
        );
        let mut good = pair();
        good.namespaces[1]
            .routes
            .push(route(Some("192.0.2.1"), None));
        good.check().expect("the gateway is the wire's other end");
    }

    #[test]
    fn a_process_lives_in_a_node_and_its_socket_fits() {
        let process = |node: &str, control: &str| ProcessPlan {
            node: node.to_owned(),
            name: "pop.a".to_owned(),
            program: None,
            arguments: Vec::new(),
            control: Some(PathBuf::from(control)),
        };
        assert!(
            refused(|b| b.processes.push(process("pop.z", "/run/x"))).contains("which is no node")
        );
        assert!(
            refused(|b| b.processes.push(process("pop.a", &"x".repeat(108)))).contains("108 bytes")
        );
        assert!(
            refused(|b| b
                .processes
                .extend([process("pop.a", "/a"), process("client.b", "/b")]))
            .contains("twice")
        );
    }
}
