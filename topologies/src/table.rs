//! From a topology to the author of its route tables, the same for the simulator and for live networks.
//!
//! Nodes go by their full names. A backbone path is named after its link, the path between a region and a host
//! after the host (`host.web-1`), that among CLB nodes after the region. The latter two are wrapped as
//! `[defaults] ccn` says, within the host link's MTU; where it says `grpc` or `quic`,
//! which are for the backbone, in GRE in UDP.
//! CLB nodes that a fault adds are in the table from the beginning, as members that are absent.
//! A server with two addresses becomes two targets, IPv4 first. Flows are hashed on the whole 5-tuple.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyedge_ccn::author::plan::{
    self, ClbPlan, EndsPlan, HostPlan, ListenerPlan, NodePlan, PathPlan, RegionPlan, SchedulerKind,
    SecurityPlan, SnatPlan, TargetPlan, VipPlan,
};
use anyedge_ccn::author::{Membership, TableAuthor};
use anyedge_ccn::table::change::{Change, PutMode};
use anyedge_ccn::table::object::{self, IpVersion, Kinded as _};
use anyedge_ccn::table::refusal::{Reason, Refusal};
use anyedge_net::flow::{Family, HashKey};
use anyedge_net::route_table::{Path, PathEnds};
use anyedge_net::wire::outer;

use crate::addresses::AddressPair;
use crate::clb::{Clb, Listener, Protocol, ReturnBy, Scheduler};
use crate::defaults::{Defaults, Encap, Underlay};
use crate::eni::Eni;
use crate::host::Host;
use crate::line::Line;
use crate::link::{Link, LinkEnds};
use crate::names::Kind;
use crate::security_group::SecurityGroup;
use crate::targets::{Server, Targets};
use crate::topology::Topology;

/// The author of the route tables of `topology`, whose flows are hashed with `hash_key`.
///
/// # Errors
/// When a listener's targets are not there, which in a checked topology they are, or the table refuses a node.
pub fn author(topology: &Topology, hash_key: HashKey) -> Result<TableAuthor, Refusal> {
    let mut author = TableAuthor::new(hash_key);
    author.set_probing(topology.probing);
    author.set_announcing(topology.announcing);
    author.set_slot_settle(topology.slot_settle);
    author.set_profile(topology.profile);
    author.set_betas_off(topology.betas_off.clone());
    author.set_sg_flush_on_change(topology.defaults.sg_flush_on_change);
    author.add(topology.security_groups.values().map(security_group));
    for pop in topology.pops.values() {
        author.add_pop(node(Kind::Pop.object(&pop.name), pop.underlay));
    }
    for region in topology.regions.values() {
        let clb_nodes = region.clb_nodes.iter();
        author.add_region(RegionPlan {
            name: region.name.clone(),
            clb_nodes: clb_nodes
                .map(|clb| node(clb.name.clone(), clb.underlay))
                .collect(),
        });
        if region.clb_nodes.len() > 1 {
            author.add_path(mesh_path(&region.name, &topology.defaults));
        }
    }
    for host in topology.hosts.values() {
        let plan = node(Kind::Host.object(&host.name), host.underlay);
        author.add_host(HostPlan {
            node: plan,
            region: host.region.clone(),
            security_groups: host.security_groups.clone(),
            zone: host.zone.clone(),
        });
        author.add_path(fabric_path(host, &topology.defaults));
    }
    for link in topology.links.values() {
        author.add_path(ccn_path(link));
    }
    for clb in topology.clbs.values() {
        author.add_clb(clb_plan(clb, topology)?);
    }
    author.add(interfaces(topology));
    let groups = topology.autoscaling.values();
    author.add(
        groups.map(|group| Change::Put(group.group(group.size).into_object(), PutMode::Create)),
    );
    for vip in topology.vips.values() {
        author.add_vip(VipPlan {
            name: vip.name.clone(),
            addresses: vip.address.iter().map(Into::into).collect(),
            clb: vip.clb.clone(),
            standby: vip.standby.clone(),
            publishers_min: vip.publishers_min,
            publishers: vip
                .publish
                .iter()
                .map(|pop| Kind::Pop.object(pop))
                .collect(),
        });
    }
    let mut clb_nodes = topology
        .regions
        .values()
        .flat_map(|region| &region.clb_nodes);
    clb_nodes.try_for_each(|clb| match clb.added_at {
        Some(_) => author.set_membership(&clb.name, Membership::Absent),
        None => Ok(()),
    })?;
    Ok(author)
}

impl Topology {
    /// The round-trip time under a path of this topology's tables and what its link is like; `near` is the path's first
    /// end.
    ///
    /// # Panics
    /// When the path is none of this topology's.
    pub fn under(&self, path: &Path, near: &str) -> (Duration, Line) {
        match path.ends {
            PathEnds::Ccn { .. } | PathEnds::Backbone { .. } => {
                let link = &self.links[&path.name];
                (link.rtt, link.line)
            }
            PathEnds::Fabric { .. } => {
                let host = &self.hosts[near.strip_prefix("host.").unwrap_or(near)];
                (host.rtt, host.line)
            }
            PathEnds::Mesh { .. } => (self.defaults.host_rtt, self.defaults.host),
        }
    }
}

fn node(name: String, underlay: AddressPair) -> NodePlan {
    NodePlan {
        name,
        underlay_v4: underlay.v4.unwrap_or(Ipv4Addr::UNSPECIFIED),
        underlay_v6: underlay.v6.unwrap_or(Ipv6Addr::UNSPECIFIED),
    }
}

fn ccn_path(link: &Link) -> PathPlan {
    PathPlan {
        name: link.name.clone(),
        ends: match &link.ends {
            LinkEnds::Ccn { pop, region } => EndsPlan::Ccn {
                pop: Kind::Pop.object(pop),
                region: region.clone(),
            },
            LinkEnds::Backbone { regions } => EndsPlan::Backbone {
                regions: regions.clone(),
            },
        },
        encap: encap(link.encap),
        underlay: family(link.underlay),
        mtu: mtu(&link.line),
        rtt: link.rtt,
    }
}

fn fabric_path(host: &Host, defaults: &Defaults) -> PathPlan {
    let name = Kind::Host.object(&host.name);
    PathPlan {
        ends: EndsPlan::Fabric { host: name.clone() },
        name,
        encap: match host.return_by {
            ReturnBy::Vswitch => inside(defaults.encap),
            ReturnBy::Route => outer::Encap::Plain,
        },
        underlay: family(defaults.underlay),
        mtu: mtu(&host.line),
        rtt: host.rtt,
    }
}

/// The path of a region's CLB nodes among themselves: like that of its hosts.
fn mesh_path(region: &str, defaults: &Defaults) -> PathPlan {
    PathPlan {
        name: Kind::Region.object(region),
        ends: EndsPlan::Mesh {
            region: region.to_owned(),
        },
        encap: inside(defaults.encap),
        underlay: family(defaults.underlay),
        mtu: mtu(&defaults.host),
        rtt: defaults.host_rtt,
    }
}

/// An IP packet has at most 65,535 bytes, whatever the link would take.
pub(crate) fn mtu(line: &Line) -> u16 {
    u16::try_from(line.mtu_bytes).unwrap_or(u16::MAX)
}

pub(crate) const fn encap(encap: Encap) -> outer::Encap {
    match encap {
        Encap::Gre => outer::Encap::Gre,
        Encap::GreUdp => outer::Encap::GreUdp,
        Encap::Grpc => outer::Encap::Grpc,
        Encap::Quic => outer::Encap::Quic,
    }
}

/// Inside of a region: no connection.
pub(crate) const fn inside(default: Encap) -> outer::Encap {
    match default {
        Encap::Gre => outer::Encap::Gre,
        Encap::GreUdp | Encap::Grpc | Encap::Quic => outer::Encap::GreUdp,
    }
}

pub(crate) const fn family(underlay: Underlay) -> Family {
    match underlay {
        Underlay::V4 => Family::V4,
        Underlay::V6 => Family::V6,
    }
}

fn clb_plan(clb: &Clb, topology: &Topology) -> Result<ClbPlan, Refusal> {
    let listener = |listener: &Listener| {
        let targets = topology.targets.get(&listener.targets);
        let targets = targets.ok_or_else(|| {
            Reason::NoResource.because(format_args!(
                "listener `{}/{}` refers to targets `{}`, which does not exist",
                clb.name, listener.name, listener.targets
            ))
        })?;
        Ok(ListenerPlan {
            name: listener.name.clone(),
            protocol: match listener.protocol {
                Protocol::Tcp => plan::Protocol::Tcp,
                Protocol::Udp => plan::Protocol::Udp,
            },
            port: listener.port,
            scheduler: match listener.scheduler {
                Scheduler::Wrr => SchedulerKind::Wrr,
                Scheduler::Wlc => SchedulerKind::LeastConn,
                Scheduler::IpHash => SchedulerKind::IpHash,
                Scheduler::Maglev => SchedulerKind::Maglev,
            },
            session_expire: listener.session_expire,
            limits: [listener.max_conn, listener.max_cps],
            idle_timeout: listener.idle_timeout,
            reschedule_on: listener.reschedule_on,
            health: listener.health.clone(),
            source: listener.source,
            targets: own_servers(targets).flat_map(target_plans).collect(),
        })
    };
    Ok(ClbPlan {
        name: clb.name.clone(),
        region: clb.region.clone(),
        client_affinity: false,
        rst_on_unbind: clb.rst_on_unbind,
        unbind_drain: clb.unbind_drain,
        unbind_spread: clb.unbind_spread,
        fail_open: clb.fail_open,
        shared: clb.shared,
        security: SecurityPlan {
            groups: clb.security_groups.clone(),
            pass_by_default: clb.sg_pass_by_default,
            eip_bypasses: clb.eip_bypasses_clb_sg,
            probes_exempt: clb.sg_probes_exempt,
        },
        snat: SnatPlan {
            nat64: clb.ip_version == IpVersion::Nat64,
            addresses: clb.snat.clone(),
        },
        listeners: clb
            .listeners
            .values()
            .map(listener)
            .collect::<Result<_, _>>()?,
    })
}

fn security_group(group: &SecurityGroup) -> Change {
    let group = object::SecurityGroup {
        name: group.name.clone(),
        rules: group.rules.iter().map(Into::into).collect(),
    };
    Change::Put(group.into_object(), PutMode::Create)
}

/// Servers whose addresses are their hosts' own.
fn own_servers(targets: &Targets) -> impl Iterator<Item = &Server> {
    targets.servers.iter().filter(|server| server.eni.is_none())
}

/// Elastic network interfaces, and the targets with their addresses.
fn interfaces(topology: &Topology) -> Vec<Change> {
    let zone = |eni: &Eni| topology.hosts.get(&eni.host).map_or("", |host| &host.zone);
    let mut changes: Vec<Change> = topology
        .enis
        .values()
        .map(|eni| eni.put(zone(eni)))
        .collect();
    let clbs = topology.clbs.values();
    for (clb, listener) in clbs.flat_map(|clb| clb.listeners.values().map(move |own| (clb, own))) {
        let targets = topology.targets.get(&listener.targets);
        let servers = targets.into_iter().flat_map(|targets| &targets.servers);
        let servers = servers.filter(|server| server.eni.is_some());
        let target = |plan: TargetPlan| object::Target {
            clb: clb.name.clone(),
            listener: listener.name.clone(),
            rule: String::new(),
            address: plan.address,
            port: plan.port.into(),
            weight: plan.weight.into(),
            host: plan.host,
            kind: object::TargetKind::Eni,
            place: 0,
        };
        let bound: Vec<_> = servers.flat_map(target_plans).map(target).collect();
        if !bound.is_empty() {
            changes.push(Change::RegisterTargets(bound));
        }
    }
    changes
}

/// One target for each address of `server`.
fn target_plans(server: &Server) -> impl Iterator<Item = TargetPlan> {
    server.address.iter().map(|address| TargetPlan {
        address: address.into(),
        port: server.port,
        weight: server.weight,
        host: server.host_object(),
    })
}

#[cfg(test)]
mod tests;
