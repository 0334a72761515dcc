//! Plans as changes of a table: every object of a plan is one that is not there yet.

use core::net::Ipv4Addr;

use super::plan::{
    ClbPlan, EndsPlan, HostPlan, ListenerPlan, NodePlan, PathPlan, RegionPlan, SnatPlan,
    TargetPlan, VipPlan,
};
use super::{Membership, NODE_WEIGHT};
use crate::table::change::{Change, PutMode};
use crate::table::object::{
    Clb, ClbNode, Ends, Host, HostState, InstanceType, IpVersion, Kinded, Listener, Path, Pop,
    Region, SnatIp, Target, TargetKind, Underlay, Vip,
};
use crate::table::snat::BLOCKS_PER_ADDRESS;

fn create(object: impl Kinded) -> Change {
    Change::Put(object.into_object(), PutMode::Create)
}

const fn underlay(node: &NodePlan) -> Underlay {
    Underlay {
        v4: node.underlay_v4,
        v6: node.underlay_v6,
    }
}

pub(super) fn of_pop(pop: NodePlan) -> [Change; 1] {
    [create(Pop {
        underlay: underlay(&pop),
        name: pop.name,
        draining: false,
    })]
}

pub(super) fn of_region(region: RegionPlan) -> Vec<Change> {
    let name = region.name;
    let mut changes = vec![create(Region { name: name.clone() })];
    let node = |node: NodePlan| {
        create(ClbNode {
            underlay: underlay(&node),
            name: node.name,
            region: name.clone(),
            membership: Membership::In,
            weight: NODE_WEIGHT.into(),
            returns_drained: false,
        })
    };
    changes.extend(region.clb_nodes.into_iter().map(node));
    changes
}

pub(super) fn of_host(host: HostPlan) -> [Change; 1] {
    [create(Host {
        underlay: underlay(&host.node),
        name: host.node.name,
        region: host.region,
        zone: host.zone,
        network: String::new(),
        state: HostState::Normal,
        security_groups: host.security_groups,
    })]
}

pub(super) fn of_path(path: PathPlan) -> [Change; 1] {
    [create(Path {
        name: path.name,
        ends: match path.ends {
            EndsPlan::Ccn { pop, region } => Ends::Ccn { pop, region },
            EndsPlan::Fabric { host } => Ends::Fabric { host },
            EndsPlan::Mesh { region } => Ends::Mesh { region },
            EndsPlan::Backbone { regions } => Ends::Backbone { regions },
        },
        encap: path.encap,
        underlay: path.underlay,
        mtu: path.mtu.into(),
        rtt: path.rtt,
        draining: false,
    })]
}

pub(super) fn of_clb(clb: ClbPlan, nodes: &[String]) -> Vec<Change> {
    let mut changes = vec![create(Clb {
        client_affinity: clb.client_affinity,
        rst_on_unbind: clb.rst_on_unbind,
        unbind_drain: clb.unbind_drain,
        unbind_spread: clb.unbind_spread,
        fail_open: clb.fail_open,
        security_groups: clb.security.groups,
        sg_pass_by_default: clb.security.pass_by_default,
        eip_bypasses_clb_sg: clb.security.eip_bypasses,
        sg_probes_exempt: clb.security.probes_exempt,
        instance_type: match clb.shared {
            true => InstanceType::Shared,
            false => InstanceType::Unlimited,
        },
        ip_version: if clb.snat.nat64 {
            IpVersion::Nat64
        } else {
            IpVersion::Dual
        },
        ..Clb::new(&clb.name, &clb.region)
    })];
    changes.extend(of_snat(&clb.name, &clb.snat, nodes));
    for listener in clb.listeners {
        changes.extend(of_listener(&clb.name, listener));
    }
    changes
}

/// The addresses of a load balancer, and equal parts of their ports for all nodes.
fn of_snat(clb: &str, plan: &SnatPlan, nodes: &[String]) -> Vec<Change> {
    let address = |address: &Ipv4Addr| {
        create(SnatIp {
            clb: clb.to_owned(),
            address: (*address).into(),
        })
    };
    let mut changes: Vec<Change> = plan.addresses.iter().map(address).collect();
    let blocks = plan.addresses.len() * BLOCKS_PER_ADDRESS as usize;
    let each = (blocks / nodes.len().max(1)) as u32;
    let lease = |node: &String| Change::LeaseSnat {
        clb: clb.to_owned(),
        node: node.clone(),
        blocks: each,
    };
    changes.extend(nodes.iter().filter(|_| each > 0).map(lease));
    changes
}

fn of_listener(clb: &str, plan: ListenerPlan) -> Vec<Change> {
    let listener = Listener {
        scheduler: plan.scheduler,
        session_expire: plan.session_expire,
        max_conn: plan.limits[0],
        max_cps: plan.limits[1],
        idle_timeout: plan.idle_timeout,
        reschedule_on: plan.reschedule_on,
        health: plan.health,
        source: plan.source,
        ..Listener::new(clb, &plan.name, plan.protocol, plan.port.into())
    };
    let mut changes = vec![create(listener)];
    let target = |target: TargetPlan| Target {
        clb: clb.to_owned(),
        listener: plan.name.clone(),
        rule: String::new(),
        address: target.address,
        port: target.port.into(),
        weight: target.weight.into(),
        host: target.host,
        kind: TargetKind::Instance,
        place: 0,
    };
    let targets: Vec<Target> = plan.targets.into_iter().map(target).collect();
    if !targets.is_empty() {
        changes.push(Change::RegisterTargets(targets));
    }
    changes
}

pub(super) fn of_vip(vip: VipPlan) -> [Change; 1] {
    [create(Vip {
        name: vip.name,
        addresses: vip.addresses,
        prefix: String::new(),
        clb: vip.clb,
        standby: vip.standby,
        publish: vip.publishers,
        publishers_min: vip.publishers_min.into(),
        withdrawn: false,
    })]
}
