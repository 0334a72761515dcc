//! Tables of any size: load balancers with listeners of targets, on the hosts of one region with three CLB nodes,
//! reached by two POPs. Every tenth listener is a Maglev one; all are checked or none.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use anyedge_ccn::author::TableAuthor;
use anyedge_ccn::author::plan::{
    ClbPlan, EndsPlan, HostPlan, ListenerPlan, NodePlan, PathPlan, Protocol, RegionPlan,
    SchedulerKind, SecurityPlan, SnatPlan, TargetPlan, VipPlan,
};
use anyedge_ccn::table::Table;
use anyedge_net::flow::{Address, Family, HashKey};
use anyedge_net::route_table::{HealthCheck, RescheduleOn, SourceTold};
use anyedge_net::time::Instant;
use anyedge_net::wire::outer::Encap;

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Load balancers, each with a VIP.
    pub clbs: u32,
    /// Of each load balancer.
    pub listeners: u32,
    /// Of each listener.
    pub targets: u32,
    /// Among which targets are spread.
    pub hosts: u32,
}

/// 100,000 targets on 1,000 hosts.
pub const LARGE: Size = Size {
    clbs: 20,
    listeners: 50,
    targets: 100,
    hosts: 1_000,
};

fn node(name: String, number: u32) -> NodePlan {
    NodePlan {
        name,
        underlay_v4: Ipv4Addr::from(0x0a00_0000 + number),
        underlay_v6: Ipv6Addr::UNSPECIFIED,
    }
}

fn path(name: String, ends: EndsPlan) -> PathPlan {
    PathPlan {
        name,
        ends,
        encap: Encap::Gre,
        underlay: Family::V4,
        mtu: 1_500,
        rtt: Duration::from_millis(50),
    }
}

fn listener(size: Size, clb: u32, number: u32, health: Option<HealthCheck>) -> ListenerPlan {
    let target = |target: u32| {
        let backend = (clb * size.listeners + number) * size.targets + target;
        TargetPlan {
            address: Address::v4((0x0b00_0000 + backend).to_be_bytes()),
            port: 8_080,
            weight: 10,
            host: format!("host.web-{}", backend % size.hosts),
        }
    };
    ListenerPlan {
        name: format!("l-{number}"),
        protocol: Protocol::Tcp,
        port: 1_000 + number as u16,
        scheduler: if number.is_multiple_of(10) {
            SchedulerKind::Maglev
        } else {
            SchedulerKind::Wrr
        },
        session_expire: 0,
        limits: [0; 2],
        idle_timeout: 0,
        reschedule_on: RescheduleOn::default(),
        health,
        source: SourceTold::default(),
        targets: (0..size.targets).map(target).collect(),
    }
}

/// 10,000 targets of 1,000 listeners.
pub const WIDE: Size = Size {
    targets: 10,
    ..LARGE
};

/// The [`LARGE`] table, each target checked as `health` says.
pub fn large_table(health: Option<HealthCheck>) -> Table {
    table_of(LARGE, health)
}

/// A table of that size, each target checked as `health` says.
pub fn table_of(size: Size, health: Option<HealthCheck>) -> Table {
    let mut author = author_of(size, health);
    author.publish(Instant::ZERO).expect("the plans make sense");
    author.table().clone()
}

/// The author of a table of that size, each target checked as `health` says.
pub fn author_of(size: Size, health: Option<HealthCheck>) -> TableAuthor {
    let mut author = TableAuthor::new(HashKey::new([7; 16]));
    let region = "guangzhou".to_owned();
    for (number, pop) in ["pop.tokyo", "pop.frankfurt"].into_iter().enumerate() {
        author.add_pop(node(pop.to_owned(), 1 + number as u32));
        let (pop, region) = (pop.to_owned(), region.clone());
        author.add_path(path(
            format!("{pop}-guangzhou"),
            EndsPlan::Ccn { pop, region },
        ));
    }
    let clb_node = |number: u32| node(format!("region.guangzhou.clb-{number}"), 10 + number);
    author.add_region(RegionPlan {
        name: region.clone(),
        clb_nodes: (1..=3).map(clb_node).collect(),
    });
    for number in 0..size.hosts {
        let host = format!("host.web-{number}");
        author.add_host(HostPlan {
            node: node(host.clone(), 100 + number),
            region: region.clone(),
            zone: String::new(),
            security_groups: Vec::new(),
        });
        author.add_path(path(host.clone(), EndsPlan::Fabric { host }));
    }
    for clb in 0..size.clbs {
        author.add_clb(ClbPlan {
            name: format!("clb-{clb}"),
            region: region.clone(),
            client_affinity: false,
            rst_on_unbind: true,
            unbind_drain: None,
            unbind_spread: Duration::ZERO,
            fail_open: true,
            shared: false,
            security: SecurityPlan::default(),
            snat: SnatPlan::default(),
            listeners: (0..size.listeners)
                .map(|number| listener(size, clb, number, health.clone()))
                .collect(),
        });
        author.add_vip(VipPlan {
            name: format!("vip-{clb}"),
            addresses: vec![Address::v4([203, 0, 113, 1 + clb as u8])],
            clb: format!("clb-{clb}"),
            standby: Vec::new(),
            publishers: vec!["pop.tokyo".to_owned(), "pop.frankfurt".to_owned()],
            publishers_min: 1,
        });
    }
    author
}
