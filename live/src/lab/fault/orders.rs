//! What a fault of a file orders of the controllers: drains, weights, targets that are unbound and bound again, groups
//! that scale.
//!
//! By the API, as an operator would. At its end everything is what the file says, but for what stays.

use std::net::SocketAddr;

use anyedge_ccn::api::client::Client;
use anyedge_ccn::api::refusal_of;
use anyedge_ccn::author::{Membership, NODE_WEIGHT};
use anyedge_ccn::table::change::Change;
use anyedge_ccn::table::object::{Key, Kind, Target};
use anyedge_topologies::{Fault, FaultVerb, Topology};
use anyhow::{Context as _, Result, anyhow};

use crate::controller::Security;
use crate::foreground::Foreground;
use crate::lab::name::LabName;
use crate::lab::refused::refuse;
use crate::lab::{Reach, within_reach};
use crate::node;

/// What `fault` orders when it begins, or when it ends; `None`: it is no order.
pub(super) fn of_fault(
    topology: &Topology,
    fault: &Fault,
    begins: bool,
) -> Result<Option<Vec<Change>>> {
    if let Some(change) = fault.change() {
        return Ok(Some(vec![change]));
    }
    let (kind, name) = fault.object.split_once('.').unwrap_or_default();
    let is_clb_node = fault.object.contains(".clb-");
    let draining = |kind: Kind| vec![Change::SetDraining(Key::new(kind, name), begins)];
    let draining_pop =
        |kind: Kind| vec![Change::SetDraining(Key::new(kind, &fault.object), begins)];
    let member = |membership, weight| {
        vec![Change::SetMember {
            clb_node: fault.object.clone(),
            membership,
            weight,
        }]
    };
    Ok(Some(match (&fault.verb, kind) {
        (FaultVerb::Drain, "pop") => draining_pop(Kind::Pop),
        (FaultVerb::Drain, "link") => draining(Kind::Path),
        (FaultVerb::Drain, _) if is_clb_node => {
            let membership = if begins {
                Membership::Drained
            } else {
                Membership::In
            };
            member(Some(membership), None)
        }
        (FaultVerb::Weight(weight), _) if is_clb_node => {
            let weight = if begins { *weight } else { NODE_WEIGHT };
            member(None, Some(weight.into()))
        }
        (FaultVerb::Drain, "host") => weighing(topology, name, begins.then_some(0)),
        (FaultVerb::Weight(weight), "host") => weighing(topology, name, begins.then_some(*weight)),
        (FaultVerb::Unbind, "host") => {
            let names: Vec<String> = targets_of(topology, name)
                .map(|(target, _)| target)
                .collect();
            if begins {
                vec![Change::DeregisterTargets(names)]
            } else {
                let first = node::founding_table(topology, [0; 16])?;
                let of = |name: &String| first.get::<Target>(name).cloned();
                vec![Change::RegisterTargets(
                    names.iter().filter_map(of).collect(),
                )]
            }
        }
        _ => return Ok(None),
    }))
}

/// The targets on a host, with their weights in the file.
fn targets_of<'a>(
    topology: &'a Topology,
    host: &'a str,
) -> impl Iterator<Item = (String, u8)> + 'a {
    let clbs = topology.clbs.values();
    let listeners = clbs.flat_map(|clb| clb.listeners.values().map(move |own| (clb, own)));
    listeners.flat_map(move |(clb, listener)| {
        let servers = topology.targets[&listener.targets].servers.iter();
        let here = servers.filter(move |server| server.host == host);
        here.flat_map(move |server| {
            let sockets = server
                .address
                .iter()
                .map(|ip| SocketAddr::new(ip, server.port));
            sockets.map(move |own| {
                (
                    format!("{}/{}/{own}", clb.name, listener.name),
                    server.weight,
                )
            })
        })
    })
}

/// Targets of a host with that weight, or with their own.
fn weighing(topology: &Topology, host: &str, weight: Option<u8>) -> Vec<Change> {
    let targets = targets_of(topology, host);
    let weighed = targets.map(|(target, own)| {
        let weight = weight.unwrap_or(own);
        Change::SetTargetWeight(vec![target], weight.into())
    });
    weighed.collect()
}

/// Has the controllers of a lab apply changes.
pub(super) fn give(lab: &LabName, changes: &[Change]) -> Result<()> {
    let ask = async |client: &Client<_>| client.apply(changes).await.map(drop);
    with_client(lab, ask)?.map_err(|status| {
        let refusal = refusal_of(&status).map(|refusal| refusal.to_string());
        anyhow!(
            "the controllers refuse: {}",
            refusal.unwrap_or_else(|| status.message().to_owned())
        )
    })
}

/// The controller that leads: `controller.b`.
pub(super) fn leader(lab: &LabName, topology: &Topology) -> Result<String> {
    let members = with_client(lab, async |client: &Client<_>| client.members().await)?;
    let members = members.map_err(|status| anyhow!("who leads: {}", status.message()))?;
    // They are numbered from 1 on, in the order of their names.
    let place = usize::try_from(members.leader)
        .ok()
        .and_then(|id| id.checked_sub(1));
    let found = place.and_then(|place| topology.controllers.values().nth(place));
    found.map(|found| found.object()).context("nobody leads")
}

fn with_client<T: Send>(
    lab: &LabName,
    ask: impl AsyncFnOnce(&Client<crate::host::LiveHost>) -> T + Send,
) -> Result<T> {
    let work = |Reach {
                    servers,
                    certificates,
                }: Reach| {
        let program = Foreground::new("lab")?;
        let host = program.host().clone();
        let loaded = Security::Tls(certificates).load(&host)?;
        let client = Client::new(&host, servers, loaded.client);
        Ok(program.run(async { ask(&client).await }))
    };
    let has_controllers =
        crate::lab::exec::open_node(lab, crate::lab::plan::management::NET).is_ok();
    if !has_controllers {
        refuse!("the lab `{lab}` has no controllers that could be told");
    }
    within_reach(lab.as_str(), work)?
}
