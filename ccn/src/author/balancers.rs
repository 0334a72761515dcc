//! Load balancers and VIPs of a table: listeners, Maglev tables, publishers and what fits through.
//!
//! Whatever did not change since the last table is shared with it: a listener as a whole, or the Maglev
//! table of one family when only targets of the other changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyedge_net::flow::{Address, Family};
use anyedge_net::id::{ClbId, RegionId};
use anyedge_net::maglev::{Maglev, Member, prime_at_least};
use anyedge_net::route_table::{Clb, Listener, Scheduler, Target, Vip};
use anyedge_net::wire::{tcp, udp};

use super::error::AuthorError;
use super::ground::{Ground, find_host, find_pop};
use super::membership::{Membership, Parts};
use super::plan::{ClbPlan, ListenerPlan, SchedulerPlan, TargetPlan, VipPlan};
use super::roll::{Named, Object, Roll};
use super::{
    CLBS_MAX, DRAIN_MAX, INNER_MTU_MIN_V6, PLACES_PER_TARGET, Place, TARGETS_MAX, TableAuthor,
    VIPS_MAX, WEIGHT_MAX,
};

impl Named for ClbPlan {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for ListenerPlan {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Named for VipPlan {
    fn name(&self) -> &str {
        &self.name
    }
}

/// Address to VIP.
type Vips = BTreeMap<Address, Arc<Vip>>;

/// The load balancers and VIPs of `author`'s plans, on `ground`.
pub(super) fn balance(
    author: &TableAuthor,
    ground: &Ground,
) -> Result<(Vec<Clb>, Vips), AuthorError> {
    let (plans, last) = (&author.plans, author.last.as_deref());
    let roll = Roll::new("load balancer", plans.clbs.iter().collect(), CLBS_MAX)?;
    let clb = |plan: &&ClbPlan| {
        let before = last.and_then(|table| table.clbs.iter().find(|clb| clb.name == plan.name));
        clb(plan, ground, &author.unbound, before)
    };
    let mut clbs = roll
        .entries()
        .iter()
        .map(clb)
        .collect::<Result<Vec<Clb>, AuthorError>>()?;
    let vips = vips(author, &roll, ground, &mut clbs)?;
    Ok((clbs, vips))
}

/// The load balancer of `plan`; its `inner_mtu` covers the region and not yet the backbone.
fn clb(
    plan: &ClbPlan,
    ground: &Ground,
    unbound: &BTreeSet<Place>,
    before: Option<&Clb>,
) -> Result<Clb, AuthorError> {
    let region = ground.region(&plan.region, &Object("load balancer", &plan.name))?;
    check_drain(plan)?;
    let roll = Roll::new(
        "listener",
        plan.listeners.iter().collect(),
        usize::from(u16::MAX),
    )?;
    let mut ports = BTreeSet::new();
    let mut listeners = Vec::with_capacity(plan.listeners.len());
    let mut inner_mtu = ground.reach().mesh_mtu(region).unwrap_or(u16::MAX);
    for wanted in roll.into_entries() {
        let full_name = format!("{}/{}", plan.name, wanted.name);
        let object = Object("listener", &full_name);
        check_port(wanted, &object)?;
        check_health(wanted, &object)?;
        if !ports.insert((wanted.protocol, wanted.port)) {
            let object = format!(
                "protocol {} port {} of load balancer `{}`",
                wanted.protocol, wanted.port, plan.name
            );
            return Err(AuthorError::Duplicate { object });
        }
        let mut targets = targets(wanted, &object, region, ground)?;
        targets.retain(|target| {
            let names = (plan.name.clone(), wanted.name.clone());
            !unbound.contains(&(names.0, names.1, target.address, target.port))
        });
        for target in &targets {
            let mtu = ground.reach().host_mtu(target.host);
            inner_mtu = inner_mtu.min(mtu.ok_or_else(|| no_path_to_host(target, &object, ground))?);
        }
        let before = before.and_then(|clb| {
            clb.listeners
                .iter()
                .find(|listener| listener.name == wanted.name)
        });
        listeners.push(listener(wanted, targets, before));
    }
    Ok(Clb {
        name: plan.name.clone(),
        region,
        inner_mtu,
        client_affinity: plan.client_affinity,
        rst_on_unbind: plan.rst_on_unbind,
        unbind_drain: plan.unbind_drain,
        fail_open: plan.fail_open,
        listeners,
    })
}

fn no_path_to_host(target: &Target, listener: &Object<'_>, ground: &Ground) -> AuthorError {
    AuthorError::NoPathToHost {
        target: target_name(target.address, target.port, listener),
        host: ground.nodes.get(target.host.0).name.clone(),
    }
}

fn check_port(plan: &ListenerPlan, object: &Object<'_>) -> Result<(), AuthorError> {
    if !matches!(plan.protocol, tcp::PROTOCOL | udp::PROTOCOL) {
        return Err(AuthorError::BadProtocol {
            listener: object.to_string(),
            protocol: plan.protocol,
        });
    }
    if plan.port == 0 {
        return Err(AuthorError::PortZero {
            object: object.to_string(),
        });
    }
    Ok(())
}

fn check_health(plan: &ListenerPlan, object: &Object<'_>) -> Result<(), AuthorError> {
    let Some(check) = plan.health else {
        return Ok(());
    };
    let listener = object.to_string();
    if plan.protocol != tcp::PROTOCOL {
        return Err(AuthorError::HealthCheckNotTcp { listener });
    }
    let bad = |what| AuthorError::BadHealthCheck { listener, what };
    check.check_ranges().map_err(bad)
}

fn check_drain(plan: &ClbPlan) -> Result<(), AuthorError> {
    match plan.unbind_drain {
        Some(drain) if drain > DRAIN_MAX => Err(AuthorError::DrainTooLong {
            clb: Object("load balancer", &plan.name).to_string(),
            drain,
            drain_max: DRAIN_MAX,
        }),
        Some(_) | None => Ok(()),
    }
}

/// `10.0.0.11:8080 of listener ..`, as errors say it.
fn target_name(address: Address, port: u16, listener: &Object<'_>) -> String {
    format!("target {} of {listener}", member_name(address, port))
}

/// `ip:port`, which decides a target's places in a Maglev table.
fn member_name(address: Address, port: u16) -> String {
    std::net::SocketAddr::new(address.into(), port).to_string()
}

fn targets(
    plan: &ListenerPlan,
    object: &Object<'_>,
    region: RegionId,
    ground: &Ground,
) -> Result<Vec<Target>, AuthorError> {
    let count = plan.targets.len();
    if count > TARGETS_MAX {
        return Err(AuthorError::TooMany {
            kind: "target",
            count,
            count_max: TARGETS_MAX,
        });
    }
    let mut known = BTreeSet::new();
    let resolve = |target: &TargetPlan| {
        let TargetPlan {
            address,
            port,
            weight,
            ..
        } = *target;
        let name = || target_name(address, port, object);
        if port == 0 {
            return Err(AuthorError::PortZero { object: name() });
        }
        if weight > WEIGHT_MAX {
            return Err(AuthorError::WeightTooHigh {
                target: name(),
                weight,
            });
        }
        if !known.insert((address, port)) {
            return Err(AuthorError::Duplicate { object: name() });
        }
        let (host, its_region) = find_host(&ground.nodes, &target.host, object)?;
        if its_region != region {
            let region = ground.regions[region.index()].name.clone();
            return Err(AuthorError::HostElsewhere {
                target: name(),
                host: target.host.clone(),
                region,
            });
        }
        Ok(Target {
            address,
            port,
            weight,
            host,
        })
    };
    plan.targets.iter().map(resolve).collect()
}

/// The listener of `plan`, as far as possible the one `before`.
fn listener(
    plan: &ListenerPlan,
    targets: Vec<Target>,
    before: Option<&Arc<Listener>>,
) -> Arc<Listener> {
    if let Some(before) = before {
        let same_scheduler = matches!(
            (&before.scheduler, plan.scheduler),
            (
                Scheduler::WeightedRoundRobin,
                SchedulerPlan::WeightedRoundRobin
            ) | (Scheduler::Maglev { .. }, SchedulerPlan::Maglev)
        );
        let same_port = (before.protocol, before.port) == (plan.protocol, plan.port);
        let same_health = before.health == plan.health;
        if same_scheduler && same_port && same_health && before.targets == targets {
            return Arc::clone(before);
        }
    }
    let scheduler = match plan.scheduler {
        SchedulerPlan::WeightedRoundRobin => Scheduler::WeightedRoundRobin,
        SchedulerPlan::Maglev => Scheduler::Maglev {
            v4: maglev(&targets, Family::V4, before),
            v6: maglev(&targets, Family::V6, before),
        },
    };
    let (protocol, port) = (plan.protocol, plan.port);
    Arc::new(Listener {
        name: plan.name.clone(),
        protocol,
        port,
        scheduler,
        health: plan.health,
        targets,
    })
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
        && let Scheduler::Maglev { v4, v6 } = &before.scheduler
        && members(&before.targets, family) == wanted
    {
        return Arc::clone(if family == Family::V4 { v4 } else { v6 });
    }
    let names: Vec<String> = wanted
        .iter()
        .map(|(_, address, port, _)| member_name(*address, *port))
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
    Arc::new(Maglev::build(
        &members,
        prime_at_least(PLACES_PER_TARGET * members.len() as u32),
    ))
}

/// The VIPs of the plans; lowers the `inner_mtu` of their load balancers to what the backbone carries.
fn vips(
    author: &TableAuthor,
    clb_roll: &Roll<&ClbPlan>,
    ground: &Ground,
    clbs: &mut [Clb],
) -> Result<Vips, AuthorError> {
    let (plans, last) = (&author.plans, author.last.as_deref());
    let roll = Roll::new("VIP", plans.vips.iter().collect(), VIPS_MAX)?;
    let mut vips = Vips::new();
    for plan in roll.entries() {
        let object = Object("VIP", &plan.name);
        let vip = vip(plan, clb_roll, ground, &author.parts, clbs)?;
        let before = plan
            .addresses
            .first()
            .and_then(|address| last?.vips.get(address));
        let same = before.filter(|before| ***before == vip);
        let vip = same.map_or_else(|| Arc::new(vip), Arc::clone);
        for address in &plan.addresses {
            if vips.insert(*address, Arc::clone(&vip)).is_some() {
                return Err(AuthorError::Duplicate {
                    object: format!("address {address} of {object}"),
                });
            }
        }
    }
    refuse_small_mtu_for_v6(&vips, clbs)?;
    Ok(vips)
}

fn vip(
    plan: &VipPlan,
    clb_roll: &Roll<&ClbPlan>,
    ground: &Ground,
    parts: &Parts,
    clbs: &mut [Clb],
) -> Result<Vip, AuthorError> {
    let object = Object("VIP", &plan.name);
    if plan.addresses.is_empty() {
        return Err(AuthorError::NoAddresses {
            vip: object.to_string(),
        });
    }
    if plan.publishers.is_empty() {
        return Err(AuthorError::NoPublishers {
            vip: object.to_string(),
        });
    }
    check_publishers(plan, &BTreeSet::new())?;
    let candidates = candidates(plan, clb_roll, ground, clbs)?;
    let mut publishers = BTreeSet::new();
    for name in &plan.publishers {
        let pop = find_pop(&ground.nodes, name, &object)?;
        if !publishers.insert(pop) {
            return Err(AuthorError::Duplicate {
                object: format!("publisher `{name}` of {object}"),
            });
        }
        for id in &candidates {
            let clb = &mut clbs[id.index()];
            let mtu = ground.reach().pop_mtu(pop, clb.region).ok_or_else(|| {
                AuthorError::NoPathToRegion {
                    vip: object.to_string(),
                    pop: name.clone(),
                    region: ground.regions[clb.region.index()].name.clone(),
                }
            })?;
            clb.inner_mtu = clb.inner_mtu.min(mtu);
        }
    }
    let serves = |id: &&ClbId| {
        let region = clbs[id.index()].region;
        ground
            .clb_nodes(region)
            .any(|node| parts.of(node).membership == Membership::In)
    };
    let clb = candidates.iter().find(serves).unwrap_or(&candidates[0]);
    Ok(Vip {
        name: plan.name.clone(),
        clb: *clb,
        publishers: publishers.into_iter().collect(),
    })
}

/// The load balancers that may have the VIP, its home first: each in a region of its own.
fn candidates(
    plan: &VipPlan,
    clb_roll: &Roll<&ClbPlan>,
    ground: &Ground,
    clbs: &[Clb],
) -> Result<Vec<ClbId>, AuthorError> {
    let object = Object("VIP", &plan.name);
    let mut regions = BTreeSet::new();
    let mut candidates = Vec::with_capacity(1 + plan.standby.len());
    for name in core::iter::once(&plan.clb).chain(&plan.standby) {
        let id = ClbId(clb_roll.find(name, &object)?);
        let region = clbs[id.index()].region;
        if !regions.insert(region) {
            let region = &ground.regions[region.index()].name;
            return Err(AuthorError::Duplicate {
                object: format!("region `{region}` among the home and the standbys of {object}"),
            });
        }
        candidates.push(id);
    }
    Ok(candidates)
}

/// A VIP keeps `publishers_min` of its POPs when those in `draining` drain.
pub(super) fn check_publishers(
    plan: &VipPlan,
    draining: &BTreeSet<String>,
) -> Result<(), AuthorError> {
    let staying = plan
        .publishers
        .iter()
        .filter(|pop| !draining.contains(*pop));
    let left = staying.count();
    if left < usize::from(plan.publishers_min) {
        return Err(AuthorError::TooFewPublishers {
            vip: Object("VIP", &plan.name).to_string(),
            left,
            publishers_min: plan.publishers_min,
        });
    }
    Ok(())
}

/// IPv6 is promised 1,280 bytes on every link (RFC 8200 §5).
fn refuse_small_mtu_for_v6(vips: &Vips, clbs: &[Clb]) -> Result<(), AuthorError> {
    for (address, vip) in vips {
        let inner_mtu = clbs[vip.clb.index()].inner_mtu;
        if address.family() == Family::V6 && inner_mtu < INNER_MTU_MIN_V6 {
            let object = format!(
                "the way to address {address} of {}",
                Object("VIP", &vip.name)
            );
            return Err(AuthorError::MtuTooSmall {
                object,
                inner_mtu,
                inner_mtu_min: INNER_MTU_MIN_V6,
            });
        }
    }
    Ok(())
}
