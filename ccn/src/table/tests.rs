//! A small world of objects, and what the table makes of commands in it.
//!
//! Region guangzhou has two CLB nodes and a host, which two POPs reach; its load balancer `gz-main` has a TCP, a
//! UDP and an HTTP listener. Region seoul has a host of its own and no load balancer.

use core::net::{Ipv4Addr, Ipv6Addr};

use anyedge_net::flow::Family;
use anyedge_net::wire::outer::Encap;

use super::change::{Condition, PutMode, Stage};
use super::membership::Membership;
use super::object::*;
use super::refusal::Code;
use super::*;

mod any_commands;
mod autoscaling;
mod ccn;
mod commands;
mod refusals;
mod snat;

const CLB_1: &str = "region.guangzhou.clb-1";

fn address(text: &str) -> Address {
    text.parse().expect("a literal address")
}

fn underlay(number: u8) -> Underlay {
    Underlay {
        v4: Ipv4Addr::new(10, 255, 0, number),
        v6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()),
    }
}

fn create(object: impl Kinded) -> Change {
    Change::Put(object.into_object(), PutMode::Create)
}

fn update(object: impl Kinded) -> Change {
    Change::Put(object.into_object(), PutMode::Update)
}

fn ensure(object: impl Kinded) -> Change {
    Change::Put(object.into_object(), PutMode::Ensure)
}

fn pop(name: &str, number: u8) -> Pop {
    Pop {
        name: name.to_owned(),
        underlay: underlay(number),
        draining: false,
    }
}

fn clb_node(name: &str, region: &str, number: u8) -> ClbNode {
    ClbNode {
        name: name.to_owned(),
        region: region.to_owned(),
        underlay: underlay(number),
        membership: Membership::In,
        weight: 10,
        returns_drained: false,
    }
}

fn host(name: &str, region: &str, number: u8) -> Host {
    Host {
        name: name.to_owned(),
        region: region.to_owned(),
        underlay: underlay(number),
        zone: "z-1".to_owned(),
        network: String::new(),
        state: HostState::Normal,
        security_groups: Vec::new(),
    }
}

fn path(name: &str, ends: Ends) -> Path {
    Path {
        name: name.to_owned(),
        ends,
        encap: Encap::Gre,
        underlay: Family::V4,
        mtu: 1_500,
        rtt: Duration::from_millis(50),
        draining: false,
    }
}

fn fabric(host: &str) -> Path {
    let ends = Ends::Fabric {
        host: host.to_owned(),
    };
    path(host, ends)
}

fn target(parent: &str, ip: &str, port: u32) -> Target {
    let mut names = parent.split('/').map(str::to_owned);
    let mut name = || names.next().unwrap_or_default();
    Target {
        clb: name(),
        listener: name(),
        rule: name(),
        address: address(ip),
        port,
        weight: Target::WEIGHT_DEFAULT,
        host: "host.web-1".to_owned(),
        kind: TargetKind::Instance,
        place: 0,
    }
}

fn rule(name: &str, url: &str) -> Rule {
    Rule {
        clb: "gz-main".to_owned(),
        listener: "site".to_owned(),
        name: name.to_owned(),
        domain: "example.com".to_owned(),
        url: url.to_owned(),
        scheduler: SchedulerKind::Wrr,
        session_expire: 0,
        health: None,
    }
}

fn vip(name: &str, addresses: &[&str]) -> Vip {
    Vip {
        name: name.to_owned(),
        addresses: addresses.iter().map(|text| address(text)).collect(),
        prefix: String::new(),
        clb: "gz-main".to_owned(),
        standby: Vec::new(),
        publish: vec!["pop.tokyo".to_owned(), "pop.frankfurt".to_owned()],
        publishers_min: 1,
        withdrawn: false,
    }
}

/// What the small world consists of.
fn world() -> Vec<Change> {
    let ccn = |pop: &str| {
        let ends = Ends::Ccn {
            pop: format!("pop.{pop}"),
            region: "guangzhou".to_owned(),
        };
        path(&format!("{pop}-guangzhou"), ends)
    };
    let region = |name: &str| Region {
        name: name.to_owned(),
    };
    let listener = |name: &str, protocol, port| Listener::new("gz-main", name, protocol, port);
    let secret = Secret {
        name: Secret::SLOT_HASH_KEY.to_owned(),
        value: vec![7; 16],
    };
    vec![
        create(secret),
        create(region("guangzhou")),
        create(region("seoul")),
        create(pop("pop.tokyo", 1)),
        create(pop("pop.frankfurt", 2)),
        create(clb_node(CLB_1, "guangzhou", 3)),
        create(clb_node("region.guangzhou.clb-2", "guangzhou", 4)),
        create(host("host.web-1", "guangzhou", 5)),
        create(host("host.kr-1", "seoul", 6)),
        create(ccn("tokyo")),
        create(ccn("frankfurt")),
        create(fabric("host.web-1")),
        create(fabric("host.kr-1")),
        create(Clb::new("gz-main", "guangzhou")),
        create(listener("web", Protocol::Tcp, 80)),
        create(listener("tick", Protocol::Udp, 7_000)),
        create(listener("site", Protocol::Http, 8_080)),
        create(rule("shop", "/shop")),
        Change::RegisterTargets(vec![
            target("gz-main/web", "10.0.0.11", 8_080),
            target("gz-main/web", "10.0.0.12", 8_080),
            target("gz-main/web", "fd00:1::11", 8_080),
            target("gz-main/tick", "10.0.0.11", 8_080),
            target("gz-main/site/shop", "10.0.0.11", 8_080),
        ]),
        create(vip("game", &["203.0.113.10", "2001:db8:113::10"])),
    ]
}

/// The table of the small world, at revision 1.
pub(crate) fn table() -> Table {
    let mut table = Table::new();
    let command = Command::new(Instant::ZERO, Change::All(world()));
    table
        .apply(1, &command)
        .expect("the small world makes sense");
    table
}

/// A table with what takes commands one after the other.
trait Takes {
    fn take(&mut self, change: Change) -> Result<Delta, Refusal>;
}

impl Takes for Table {
    fn take(&mut self, change: Change) -> Result<Delta, Refusal> {
        let before = self.clone();
        let taken = self.apply(self.revision() + 1, &Command::new(self.at(), change));
        if taken.is_err() {
            assert_eq!(*self, before, "a refusal leaves nothing changed");
        }
        taken
    }
}

/// The table of the small world after these changes.
fn after(changes: impl IntoIterator<Item = Change>) -> Table {
    let mut table = table();
    for change in changes {
        table.take(change).expect("it makes sense");
    }
    table
}
