//! Load balancers and VIPs of a route table: listeners, Maglev tables, publishers and what fits through.
//!
//! Whatever did not change since the last one is shared with it: a listener as a whole, or the Maglev table of
//! one family when only targets of the other changed. What forwarders cannot serve yet is left out: listeners
//! that end in services, and targets to which no path of the region leads.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyedge_net::flow::{Address, Family};
use anyedge_net::id::{ClbId, NodeId};
use anyedge_net::maglev::{Maglev, Member, prime_at_least};
use anyedge_net::route_table::{
    Clb, ClbSecurity, FlowLimits, Listener, NodeKind, Scheduler, Shared, Snat,
    SnatBlock as SnatBlockOfNode, Target, Vip,
};
use anyedge_net::wire::{tcp, udp};

use super::ground::{Ground, clb_id};
use super::security::Filters;
use super::{Built, BuiltClb, Last, PLACES_PER_TARGET};
use crate::table::Table;
use crate::table::membership::Membership;
use crate::table::object::{
    Clb as ClbObject, ClbNode, IpVersion, Kind, Listener as ListenerObject, Protocol,
    SchedulerKind, SnatBlock, SnatIp, Target as TargetObject, Vip as VipObject,
};

/// Address to VIP.
type Vips = BTreeMap<Address, Arc<Vip>>;

/// What stands on the ground.
pub(super) struct Balanced {
    /// By name, which is by id.
    pub(super) clbs: BTreeMap<String, BuiltClb>,
    pub(super) vips: Shared<Vips>,
    pub(super) backbone_mtus: Vec<u16>,
}

/// The load balancers and VIPs of `table` on `ground`. `same`: whether the ground, and with it all VIPs and load
/// balancers, are those of `last`, whose load balancers are taken over.
pub(super) fn balance(
    table: &Table,
    ground: &Ground,
    mut last: Option<&mut Last>,
    same: (bool, bool),
    filters: &mut Filters,
) -> Balanced {
    let names: Vec<&str> = table
        .all::<ClbObject>()
        .map(|clb| clb.name.as_str())
        .collect();
    let before = last.as_mut().map(|last| core::mem::take(&mut last.clbs));
    let last_of = |is: bool| last.as_deref().filter(|_| is);
    let backbone_mtus = match last_of(same.1) {
        Some(last) => last.backbone_mtus.clone(),
        None => backbone_mtus(table, &names),
    };
    let mut before = before.unwrap_or_default();
    let clbs = table.all::<ClbObject>().zip(&backbone_mtus);
    let clbs = clbs.map(|(clb, backbone_mtu)| {
        let made_of = (table.objects().balancer(&clb.name), *backbone_mtu);
        let kept = before.remove_entry(&clb.name);
        let security = filters.of_clb(table, clb);
        let is_same = |(_, built): &(String, BuiltClb)| {
            let alike = (built.revision, built.backbone_mtu) == made_of;
            same.0 && alike && built.clb.security.has_filter_of(&security)
        };
        match kept {
            Some(kept) if is_same(&kept) => kept,
            kept => {
                let before = kept.map(|(_, built)| built.listeners).unwrap_or_default();
                let built = build_clb(table, (clb, security), ground, made_of, (&before, same.0));
                (clb.name.clone(), built)
            }
        }
    });
    let clbs = clbs.collect();
    let vips = match last_of(same.1) {
        Some(last) => last.route_table.vips.clone(),
        None => vips(table, ground, &names, last.as_deref()).into(),
    };
    Balanced {
        clbs,
        vips,
        backbone_mtus,
    }
}

/// A load balancer with its listeners, as far as possible those of `before`.
fn build_clb(
    table: &Table,
    (clb, security): (&ClbObject, ClbSecurity),
    ground: &Ground,
    (revision, backbone_mtu): (u64, u16),
    before: (&BTreeMap<String, Built>, bool),
) -> BuiltClb {
    let (listeners, inner_mtu) = listeners_of(table, clb, ground, before);
    let in_order = listeners.values().map(|built| Arc::clone(&built.listener));
    let mut all = listeners.values().map(|built| &built.listener);
    let stays = all.any(|listener| listener.session_expire.is_some());
    let clb = Clb {
        name: clb.name.clone(),
        region: ground.region(&clb.region),
        inner_mtu: inner_mtu.min(backbone_mtu),
        // A client that stays with its target has all of its flows at one node, or each would give it another.
        client_affinity: clb.client_affinity || stays,
        rst_on_unbind: clb.rst_on_unbind,
        unbind_drain: clb.unbind_drain,
        unbind_spread: clb.unbind_spread,
        fail_open: clb.fail_open,
        limits: clb.instance_type.limits(),
        security,
        snat: snat(table, clb, ground).into(),
        listeners: in_order.collect(),
    };
    BuiltClb {
        revision,
        backbone_mtu,
        clb: clb.into(),
        listeners,
    }
}

/// What the targets of a load balancer see in the place of clients.
fn snat(table: &Table, clb: &ClbObject, ground: &Ground) -> Snat {
    let v4 = |address: Address| address.v4_octets().map(Ipv4Addr::from);
    let addresses = table.objects().all_of::<SnatIp>(&clb.name);
    let block = |block: &SnatBlock| {
        Some(SnatBlockOfNode {
            address: v4(block.address)?,
            first_port: u16::try_from(block.first_port).ok()?,
            node: ground.node(&block.node)?,
        })
    };
    Snat {
        nat64: clb.ip_version == IpVersion::Nat64,
        addresses: addresses.filter_map(|ip| v4(ip.address)).collect(),
        blocks: table
            .objects()
            .all_of::<SnatBlock>(&clb.name)
            .filter_map(block)
            .collect(),
    }
}

/// The least that the ways from publishers to each load balancer's region carry, by id.
fn backbone_mtus(table: &Table, names: &[&str]) -> Vec<u16> {
    let mut mtus = vec![u16::MAX; names.len()];
    for vip in table.all::<VipObject>() {
        for name in candidates(vip) {
            let mtu = &mut mtus[clb_id(names, name).index()];
            let clb = table.get::<ClbObject>(name);
            let region = clb.map_or("", |clb| clb.region.as_str());
            let ways = vip.publish.iter();
            let ways = ways.filter_map(|pop| table.reach().pop_mtu(pop, region));
            *mtu = ways.fold(*mtu, u16::min);
        }
    }
    mtus
}

/// The load balancers that may have a VIP, its home first.
fn candidates(vip: &VipObject) -> impl Iterator<Item = &str> {
    let bound = Some(vip.clb.as_str()).filter(|clb| !clb.is_empty());
    let standby = vip.standby.iter().map(String::as_str);
    bound
        .into_iter()
        .chain(standby.filter(move |_| bound.is_some()))
}

/// The listeners of a load balancer by full name, and the least that the region carries. `before`: those that there
/// were, and whether they stood on the same ground.
fn listeners_of(
    table: &Table,
    clb: &ClbObject,
    ground: &Ground,
    (before, same_ground): (&BTreeMap<String, Built>, bool),
) -> (BTreeMap<String, Built>, u16) {
    let mut inner_mtu = table.reach().mesh_mtu(&clb.region).unwrap_or(u16::MAX);
    let mut all = BTreeMap::new();
    for (name, entry) in table.objects().entries_of(Kind::Listener, &clb.name) {
        let crate::table::object::Object::Listener(wanted) = &*entry.object else {
            continue;
        };
        let revisions = (entry.revision, table.objects().crowd(name).revision);
        let before = before.get(name);
        let built = match before {
            Some(before) if same_ground && before.revisions == revisions => before.clone(),
            _ => {
                let before = before.map(|before| &before.listener);
                match build(table, (name, wanted), clb, ground, before) {
                    Some((listener, inner_mtu)) => Built {
                        revisions,
                        listener,
                        inner_mtu,
                    },
                    None => continue,
                }
            }
        };
        inner_mtu = inner_mtu.min(built.inner_mtu);
        all.insert(name.to_owned(), built);
    }
    (all, inner_mtu)
}

/// The listener as forwarders know it, as far as possible the one `before`; `None` when they do not serve it.
fn build(
    table: &Table,
    (name, wanted): (&str, &ListenerObject),
    clb: &ClbObject,
    ground: &Ground,
    before: Option<&Arc<Listener>>,
) -> Option<(Arc<Listener>, u16)> {
    let protocol = match wanted.protocol {
        Protocol::Tcp => tcp::PROTOCOL,
        Protocol::Udp => udp::PROTOCOL,
        Protocol::TcpSsl | Protocol::Quic | Protocol::Http | Protocol::Https => return None,
    };
    let port = u16::try_from(wanted.port).expect("a port of the table is in its range");
    let (targets, inner_mtu) = targets(table, name, clb, ground);
    let some = |number: u32| Some(number).filter(|number| *number > 0);
    let limits = FlowLimits {
        connections_max: some(wanted.max_conn),
        per_second_max: some(wanted.max_cps),
    };
    let session_expire = some(wanted.session_expire);
    let session_expire = session_expire.map(|seconds| Duration::from_secs(seconds.into()));
    let idle_timeout = some(wanted.idle_timeout);
    let idle_timeout = idle_timeout.map(|seconds| Duration::from_secs(seconds.into()));
    if let Some(before) = before {
        let same_port = (before.protocol, before.port) == (protocol, port);
        let same_health = before.health == wanted.health;
        let same_source = before.source == wanted.source;
        let same_flows = (before.limits, before.session_expire) == (limits, session_expire)
            && (before.idle_timeout, before.reschedule_on) == (idle_timeout, wanted.reschedule_on);
        let same = is_kind(&before.scheduler, wanted.scheduler) && same_port && same_source;
        if same && same_health && same_flows && before.targets == targets {
            return Some((Arc::clone(before), inner_mtu));
        }
    }
    let (v4, v6) = (Family::V4, Family::V6);
    let listener = Arc::new(Listener {
        name: wanted.name.clone(),
        protocol,
        port,
        scheduler: match wanted.scheduler {
            SchedulerKind::Wrr => Scheduler::WeightedRoundRobin,
            SchedulerKind::LeastConn => Scheduler::WeightedLeastConnections,
            SchedulerKind::IpHash => Scheduler::IpHash {
                v4: maglev(&targets, v4, before),
                v6: maglev(&targets, v6, before),
            },
            SchedulerKind::Maglev => Scheduler::Maglev {
                v4: maglev(&targets, v4, before),
                v6: maglev(&targets, v6, before),
            },
        },
        session_expire,
        limits,
        idle_timeout,
        reschedule_on: wanted.reschedule_on,
        health: wanted.health.clone(),
        source: wanted.source,
        targets,
    });
    Some((listener, inner_mtu))
}

const fn is_kind(scheduler: &Scheduler, kind: SchedulerKind) -> bool {
    matches!(
        (scheduler, kind),
        (Scheduler::WeightedRoundRobin, SchedulerKind::Wrr)
            | (
                Scheduler::WeightedLeastConnections,
                SchedulerKind::LeastConn
            )
            | (Scheduler::IpHash { .. }, SchedulerKind::IpHash)
            | (Scheduler::Maglev { .. }, SchedulerKind::Maglev)
    )
}

/// The targets of a listener in their order, and the least that the ways to them carry.
fn targets(table: &Table, listener: &str, clb: &ClbObject, ground: &Ground) -> (Vec<Target>, u16) {
    let region = ground.region(&clb.region);
    let mut places = Vec::new();
    let mut inner_mtu = u16::MAX;
    // Neighbours are on one host more often than not.
    let mut known: Option<(&str, NodeId, u16)> = None;
    for target in table.objects().all_of::<TargetObject>(listener) {
        if known.is_none_or(|(name, _, _)| name != target.host) {
            let host = ground.node(&target.host).filter(|host| {
                matches!(ground.nodes[host.index()].kind, NodeKind::Host(its) if its == region)
            });
            let mtu = table.reach().host_mtu(&target.host);
            known = host
                .zip(mtu)
                .map(|(host, mtu)| (target.host.as_str(), host, mtu));
        }
        let Some((_, host, mtu)) = known else {
            continue;
        };
        inner_mtu = inner_mtu.min(mtu);
        let target_of_node = Target {
            address: target.address,
            port: u16::try_from(target.port).expect("a port of the table is in its range"),
            weight: u8::try_from(target.weight).expect("a weight of the table is in its range"),
            host,
        };
        places.push((target.place, target_of_node));
    }
    places.sort_by_key(|(place, _)| *place);
    let targets = places.into_iter().map(|(_, target)| target).collect();
    (targets, inner_mtu)
}

/// The targets of one family as they stand in a Maglev table.
fn members(targets: &[Target], family: Family) -> Vec<(u16, Address, u16, u8)> {
    let indexed = targets.iter().enumerate();
    let of_family = indexed.filter(|(_, target)| target.address.family() == family);
    of_family
        .map(|(at, target)| (at as u16, target.address, target.port, target.weight))
        .collect()
}

fn maglev(targets: &[Target], family: Family, before: Option<&Arc<Listener>>) -> Arc<Maglev> {
    let wanted = members(targets, family);
    if let Some(before) = before
        && let Some((v4, v6)) = before.scheduler.tables()
        && members(&before.targets, family) == wanted
    {
        return Arc::clone(if family == Family::V4 { v4 } else { v6 });
    }
    let name = |address: Address, port: u16| SocketAddr::new(address.into(), port).to_string();
    let names: Vec<String> = wanted
        .iter()
        .map(|(_, address, port, _)| name(*address, *port))
        .collect();
    let members: Vec<Member<'_>> = wanted
        .iter()
        .zip(&names)
        .map(|((id, _, _, weight), name)| Member {
            id: *id,
            name,
            weight: u32::from(*weight),
        })
        .collect();
    let places = prime_at_least(PLACES_PER_TARGET * members.len() as u32);
    Arc::new(Maglev::build(&members, places))
}

/// The VIPs that are bound, by address.
fn vips(table: &Table, ground: &Ground, clbs: &[&str], last: Option<&Last>) -> Vips {
    let serving: BTreeSet<&str> = table
        .all::<ClbNode>()
        .filter(|node| node.membership == Membership::In)
        .map(|node| node.region.as_str())
        .collect();
    let serves = |clb: &&str| {
        let clb = table.get::<ClbObject>(clb);
        clb.is_some_and(|clb| serving.contains(clb.region.as_str()))
    };
    let mut vips = Vips::new();
    for object in table.all::<VipObject>() {
        let home = candidates(object).next();
        let Some(clb) = candidates(object).find(serves).or(home) else {
            continue;
        };
        let vip = vip(object, ground, clb_id(clbs, clb));
        let first = object.addresses.first();
        let before = first.and_then(|address| last?.route_table.vips.get(address));
        let same = before.filter(|before| ***before == vip);
        let vip = same.map_or_else(|| Arc::new(vip), Arc::clone);
        for address in &object.addresses {
            vips.insert(*address, Arc::clone(&vip));
        }
    }
    vips
}

fn vip(object: &VipObject, ground: &Ground, clb: ClbId) -> Vip {
    let announced = object.publish.iter().filter(|_| !object.withdrawn);
    let publishers = announced.filter_map(|pop| ground.node(pop));
    let publishers: BTreeSet<NodeId> = publishers.collect();
    Vip {
        name: object.name.clone(),
        clb,
        publishers: publishers.into_iter().collect(),
    }
}
