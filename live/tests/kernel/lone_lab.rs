//! What every test on the real ground needs: a name that no other test has, and its removal whatever happens.
//!
//! [`LoneLab::line_of_three`] is the small network that most tests stand on: client, router, server, both families.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anyedge_live::lab;
use anyedge_live::lab::blueprint::{Blueprint, NamespacePlan, ProcessPlan, WireEndPlan, WirePlan};
use anyedge_live::netlink::Route;
use anyedge_live::netns::Namespace;
use anyedge_live::prefix::Prefix;
use anyedge_live::wires::Plan;

/// Whether this test can run; says loudly when it cannot.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
pub(crate) fn can_make_namespaces(test: &str) -> bool {
    let can = nix::unistd::geteuid().is_root() && PathBuf::from("/dev/net/tun").exists();
    if !can {
        eprintln!("SKIPPED: {test} needs root, network namespaces and /dev/net/tun");
    }
    can
}

/// A lab's name of this test alone. The lab is taken down when it is dropped, also by a failing test.
pub(crate) struct LoneLab {
    pub(crate) name: String,
}

impl LoneLab {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            name: format!("t{}-{number}", std::process::id()),
        }
    }

    /// The namespace of a node that is up.
    pub(crate) fn namespace(&self, node: &str) -> Namespace {
        let lab: lab::name::LabName = self.name.parse().expect("a lab's name");
        Namespace::open(&lab.namespace_of(node)).expect("the node is up")
    }

    /// Client - router - server: 192.0.2.0/30 and 2001:db8:1::/64, then 198.51.100.0/30 and 2001:db8:2::/64.
    pub(crate) fn line_of_three(&self) -> Blueprint {
        Blueprint {
            identities: Vec::new(),
            group: None,
            files: Vec::new(),
            lab: self.name.parse().expect("a lab's name"),
            topology: PathBuf::from("written-in-the-test.toml"),
            overrides: Vec::new(),
            entered_by: String::new(),
            between: Plan::default(),
            routers: Vec::new(),
            namespaces: vec![
                namespace("client.c", false, &["192.0.2.1", "2001:db8:1::1"]),
                namespace("ccn.router", true, &[]),
                namespace("host.s", false, &["198.51.100.1", "2001:db8:2::1"]),
            ],
            wires: vec![
                wire(
                    ("ccn.router", "c0", &["192.0.2.1/30", "2001:db8:1::1/64"]),
                    ("client.c", "up0", &["192.0.2.2/30", "2001:db8:1::2/64"]),
                ),
                wire(
                    ("ccn.router", "s0", &["198.51.100.1/30", "2001:db8:2::1/64"]),
                    ("host.s", "up0", &["198.51.100.2/30", "2001:db8:2::2/64"]),
                ),
            ],
            processes: Vec::new(),
        }
    }
}

impl Drop for LoneLab {
    fn drop(&mut self) {
        let removed = lab::down(&self.name);
        if !std::thread::panicking() {
            removed.expect("the lab can be taken down");
        }
    }
}

fn namespace(node: &str, forwards: bool, gateways: &[&str]) -> NamespacePlan {
    let routes = gateways.iter().map(|via| {
        let via: IpAddr = via.parse().expect("an address");
        let destination = if via.is_ipv4() {
            Prefix::ANY_V4
        } else {
            Prefix::ANY_V6
        };
        Route {
            destination,
            via: Some(via),
            interface: None,
            source: None,
        }
    });
    NamespacePlan {
        node: node.to_owned(),
        forwards,
        addresses: Vec::new(),
        routes: routes.collect(),
    }
}

fn wire(near: (&str, &str, &[&str]), far: (&str, &str, &[&str])) -> WirePlan {
    let end = |(node, interface, addresses): (&str, &str, &[&str])| WireEndPlan {
        node: node.to_owned(),
        interface: interface.to_owned(),
        addresses: addresses
            .iter()
            .map(|text| text.parse().expect("a prefix"))
            .collect(),
    };
    WirePlan {
        ends: [end(near), end(far)],
        mtu: 1_500,
    }
}

/// A program of the machine as a process of the lab.
pub(crate) fn program(node: &str, name: &str, program: &str, arguments: &[&str]) -> ProcessPlan {
    ProcessPlan {
        node: node.to_owned(),
        name: name.to_owned(),
        program: Some(PathBuf::from(program)),
        arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
        control: None,
    }
}
