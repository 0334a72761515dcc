//! Whether each load has a listener that can serve it and a way there.

use crate::book::Book;
use crate::clb::Listener;
use crate::client::{Client, Family};
use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::nearest::did_you_mean;
use crate::vip::Vip;

use super::super::Topology;

/// Checks every load, names its listener and settles whether it also runs over the direct path.
pub(super) fn check(book: &Book<'_>, topology: &mut Topology) {
    let mut clients = std::mem::take(&mut topology.clients);
    for client in clients.values_mut() {
        for index in 0..client.loads.len() {
            one(book, topology, client, index);
        }
    }
    topology.clients = clients;
}

fn one(book: &Book<'_>, topology: &Topology, client: &mut Client, index: usize) {
    let object = Kind::Client.object(&client.name);
    let single = format!("{object}.load.kind");
    let prefix = if book.places.contains_key(&single)
        || client.loads.len() == 1 && !book.places.contains_key(&format!("{object}.load[0]"))
    {
        "load".to_owned()
    } else {
        format!("load[{index}]")
    };
    let report = |key: &str, wrong: Wrong| {
        let path = format!("{prefix}.{key}");
        let Wrong { reason, hint } = wrong;
        book.report(
            &object,
            &path,
            Wrong {
                reason: format!("`{path}`: {reason}"),
                hint,
            },
        );
    };
    let load = &client.loads[index];
    if load.start >= topology.duration {
        let hint = format!("earlier than `duration`, {:?}", topology.duration);
        report(
            "start",
            Wrong::new("the load starts after the end of the run", hint),
        );
    }
    let Some(vip) = topology.vips.get(&load.vip) else {
        return;
    };
    let Some(clb) = topology.clbs.get(&vip.clb) else {
        return;
    };
    if !client.pop_rtts.is_empty()
        && !vip
            .publish
            .iter()
            .any(|pop| client.pop_rtts.contains_key(pop))
    {
        let hint = format!(
            "give `public` a round trip to one of: {}",
            vip.publish.join(", ")
        );
        report(
            "to",
            Wrong::new(
                format!("no way to a POP that publishes vip.{}", vip.name),
                hint,
            ),
        );
    }
    let listener = match find_listener(clb.listeners.values().collect(), &load.listener) {
        Ok(listener) => listener,
        Err(wrong) => {
            return report(
                "to",
                Wrong {
                    reason: format!("clb.{} {}", clb.name, wrong.reason),
                    ..wrong
                },
            );
        }
    };
    if listener.protocol != load.kind.protocol() {
        let reason = format!(
            "listener `{}` is {}, this load is {}",
            listener.name,
            listener.protocol,
            load.kind.protocol()
        );
        let fitting = clb
            .listeners
            .values()
            .filter(|other| other.protocol == load.kind.protocol());
        let hint = did_you_mean("", fitting.map(|other| other.name.as_str()));
        report(
            "to",
            Wrong::new(
                reason,
                format!("\"request\" goes to a tcp listener, \"tick\" to a udp one; {hint}"),
            ),
        );
    }
    for (v6, family) in [(false, "v4"), (true, "v6")] {
        let used = match client.family {
            Family::V4 => !v6,
            Family::V6 => v6,
            Family::Both => client.count > 1 || !v6,
        };
        if used && let Err(wrong) = serves(topology, vip, listener, v6) {
            report(
                "to",
                Wrong {
                    reason: format!("this client uses {family}, and {}", wrong.reason),
                    ..wrong
                },
            );
        }
    }
    let direct_rtt = client.region_rtts.contains_key(&clb.region);
    if load.direct_wanted == Some(true) && !direct_rtt {
        let hint = format!("public = {{ \"region.{}\" = \"62ms\", .. }}", clb.region);
        let reason = format!(
            "`direct`: there is no round trip to the home region, region.{}",
            clb.region
        );
        book.report(&object, "direct", Wrong::new(reason, hint));
    }
    let name = listener.name.clone();
    let load = &mut client.loads[index];
    load.listener = name;
    load.direct = load.direct_wanted.unwrap_or(direct_rtt);
}

fn find_listener<'l>(listeners: Vec<&'l Listener>, name: &str) -> Result<&'l Listener, Wrong> {
    let known = || listeners.iter().map(|listener| listener.name.as_str());
    if !name.is_empty() {
        let found = listeners.iter().find(|listener| listener.name == name);
        return found.copied().ok_or_else(|| {
            Wrong::new(
                format!("has no listener \"{name}\""),
                did_you_mean(name, known()),
            )
        });
    }
    match listeners.as_slice() {
        [only] => Ok(only),
        _ => Err(Wrong::new(
            "has several listeners or none",
            format!("name one, {}", did_you_mean("", known())),
        )),
    }
}

/// Whether a VIP and all servers behind its listener have an address of the family.
fn serves(topology: &Topology, vip: &Vip, listener: &Listener, v6: bool) -> Result<(), Wrong> {
    let has = |pair: &crate::addresses::AddressPair| {
        if v6 {
            pair.v6.is_some()
        } else {
            pair.v4.is_some()
        }
    };
    let family = if v6 { "IPv6" } else { "IPv4" };
    if !has(&vip.address) {
        let reason = format!("vip.{} has no {family} address", vip.name);
        return Err(Wrong::new(
            reason,
            "add one to its `address`, or change `family`",
        ));
    }
    let Some(targets) = topology.targets.get(&listener.targets) else {
        return Ok(());
    };
    match targets.servers.iter().find(|server| !has(&server.address)) {
        Some(server) => {
            let reason = format!(
                "{} of targets.{} has no {family} address",
                server.host_object(),
                targets.name
            );
            Err(Wrong::new(
                reason,
                format!(
                    "ip = [\"10.0.0.11\", \"fd00:a::11\"]: give each server an {family} address"
                ),
            ))
        }
        None => Ok(()),
    }
}
