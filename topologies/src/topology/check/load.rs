//! Whether each load has a listener that can serve it and a way there.

use anyedge_ccn::table::object::IpVersion;

use crate::addresses::AddressPair;
use crate::book::Book;
use crate::clb::{Clb, Listener, Protocol};
use crate::client::{Client, Family};
use crate::diagnostic::Wrong;
use crate::load::{Load, LoadKind};
use crate::names::Kind;
use crate::nearest::did_you_mean;
use crate::vip::Vip;

use super::super::Topology;

/// Checks every load, names its listener and settles whether it also runs over the direct path.
pub(super) fn check(book: &Book<'_>, topology: &mut Topology) {
    let mut clients = std::mem::take(&mut topology.clients);
    for client in clients.values_mut() {
        let mut loads = std::mem::take(&mut client.loads);
        for load in &mut loads {
            let case = Case {
                book,
                topology,
                client,
                load,
            };
            if let Some((listener, direct)) = case.check() {
                load.listener = listener;
                load.direct = direct;
            }
        }
        client.loads = loads;
    }
    topology.clients = clients;
}

/// One load and what it is checked against.
struct Case<'c> {
    book: &'c Book<'c>,
    topology: &'c Topology,
    client: &'c Client,
    load: &'c Load,
}

impl<'c> Case<'c> {
    /// The listener's name and whether the load also runs over the direct path.
    fn check(&self) -> Option<(String, bool)> {
        let load = self.load;
        if load.start >= self.topology.duration {
            let hint = format!("earlier than `duration`, {:?}", self.topology.duration);
            self.report(
                "start",
                Wrong::new("the load starts after the end of the run", hint),
            );
        }
        let vip = self.topology.vips.get(&load.vip)?;
        let clb = self.topology.clbs.get(&vip.clb)?;
        self.way_in(vip);
        let Some(protocol) = load.kind.protocol() else {
            self.ping(vip);
            return Some((String::new(), false));
        };
        if clb.listeners.is_empty() {
            return None;
        }
        let listener = match find_listener(clb.listeners.values().collect(), &load.listener) {
            Ok(listener) => listener,
            Err(wrong) => {
                self.report("to", wrong.within(format_args!("clb.{} ", clb.name)));
                return None;
            }
        };
        self.protocol(clb, listener, protocol);
        let nat64 = clb.ip_version == IpVersion::Nat64;
        self.families(|v6| serves(self.topology, vip, listener, (v6, v6 && !nat64)));
        Some((listener.name.clone(), self.direct(clb)))
    }

    fn report(&self, key: &str, wrong: Wrong) {
        let path = format!("{}.{key}", self.load.path);
        let wrong = wrong.within(format_args!("`{path}`: "));
        self.book
            .report(&Kind::Client.object(&self.client.name), &path, wrong);
    }

    fn way_in(&self, vip: &Vip) {
        let rtts = &self.client.pop_rtts;
        let found = vip.publish.iter().any(|pop| rtts.contains_key(pop));
        let misread = vip.publish.is_empty() || rtts.is_empty() && !self.book.mistakes.is_empty();
        if !found && !misread {
            let hint = format!(
                "give `public` a round trip to one of: {}",
                vip.publish.join(", ")
            );
            self.report(
                "to",
                Wrong::new(
                    format!("no way to a POP that publishes vip.{}", vip.name),
                    hint,
                ),
            );
        }
    }

    /// A ping goes to a VIP, and needs of it an address alone.
    fn ping(&self, vip: &Vip) {
        let load = self.load;
        if !load.listener.is_empty() {
            let reason = format!("a ping goes to no listener, and `{}` is one", load.listener);
            self.report("to", Wrong::new(reason, format!("\"{}\"", load.vip)));
        }
        self.families(|v6| reaches(vip, v6));
    }

    fn protocol(&self, clb: &Clb, listener: &Listener, wanted: Protocol) {
        if listener.protocol == wanted {
            return;
        }
        let fitting = clb
            .listeners
            .values()
            .find(|other| other.protocol == wanted);
        let hint = match fitting {
            Some(other) => format!("\"{}:{}\" is {wanted}", self.load.vip, other.name),
            None => format!(
                "\"tick\" is udp, \"ping\" goes to a VIP, all other kinds are tcp; clb.{} has no {wanted} listener",
                clb.name
            ),
        };
        let reason = format!(
            "listener `{}` is {}, this load is {wanted}",
            listener.name, listener.protocol
        );
        self.report("to", Wrong::new(reason, hint));
    }

    /// Reports what `serves` says of a family that the client uses.
    fn families(&self, serves: impl Fn(bool) -> Result<(), Wrong>) {
        let used = match self.client.family {
            Family::V4 => [true, false],
            Family::V6 => [false, true],
            Family::Both => [true, self.client.count > 1],
        };
        for (v6, family) in [(false, "v4"), (true, "v6")] {
            if used[usize::from(v6)]
                && let Err(wrong) = serves(v6)
            {
                self.report(
                    "to",
                    wrong.within(format_args!("this client uses {family}, and ")),
                );
            }
        }
    }

    fn direct(&self, clb: &Clb) -> bool {
        if self.load.kind == LoadKind::SynFlood {
            return false;
        }
        let has_rtt = self.client.region_rtts.contains_key(&clb.region);
        if self.load.direct_wanted == Some(true) && !has_rtt {
            let reason = format!(
                "`direct`: there is no round trip to the home region, region.{}",
                clb.region
            );
            let hint = format!("public = {{ \"region.{}\" = \"62ms\", .. }}", clb.region);
            let object = Kind::Client.object(&self.client.name);
            self.book
                .report(&object, "direct", Wrong::new(reason, hint));
        }
        self.load.direct_wanted.unwrap_or(has_rtt)
    }
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
            "has several listeners",
            format!("name one, {}", did_you_mean("", known())),
        )),
    }
}

/// Whether a pair has an address of the family.
fn has(pair: &AddressPair, v6: bool) -> bool {
    if v6 {
        pair.v6.is_some()
    } else {
        pair.v4.is_some()
    }
}

const fn family_name(v6: bool) -> &'static str {
    if v6 { "IPv6" } else { "IPv4" }
}

/// Whether a VIP has an address of the family.
fn reaches(vip: &Vip, v6: bool) -> Result<(), Wrong> {
    if vip.address.iter().next().is_none() || has(&vip.address, v6) {
        return Ok(());
    }
    let reason = format!("vip.{} has no {} address", vip.name, family_name(v6));
    Err(Wrong::new(
        reason,
        "add one to its `address`, or change `family`",
    ))
}

/// Whether a VIP and all servers behind its listener have an address of their families.
fn serves(
    topology: &Topology,
    vip: &Vip,
    listener: &Listener,
    (v6, servers_v6): (bool, bool),
) -> Result<(), Wrong> {
    reaches(vip, v6)?;
    if vip.address.iter().next().is_none() {
        return Ok(());
    }
    let family = family_name(servers_v6);
    let mut servers = topology.servers_behind(&vip.clb, listener);
    match servers.find(|server| !has(&server.address, servers_v6)) {
        Some(server) => {
            let host = server.host_object();
            let by = match topology.targets.get(&listener.targets) {
                Some(targets) if targets.servers.contains(server) => {
                    format!("targets.{}", targets.name)
                }
                _ => "an auto-scaling group".to_owned(),
            };
            let reason = format!("{host} of {by} has no {family} address");
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
