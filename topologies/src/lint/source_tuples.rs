//! L16: listeners whose clients can show a target the same tuple.
//!
//! A target sees the client's own address and port. A client may use one source port towards two VIPs, or two ports of
//! one, at a time; behind both the same server on the same port cannot tell the flows apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyedge_ccn::table::object::IpVersion;

use crate::clb::{Clb, Listener, Protocol};
use crate::diagnostic::Wrong;
use crate::names::Kind;

use super::{Case, Rule};

/// A protocol, address and port at a server.
type Service = (Protocol, IpAddr, u16);

pub(super) fn find(case: &Case<'_>, rule: &'static Rule) {
    let mut owners: BTreeMap<Service, (&Clb, &Listener)> = BTreeMap::new();
    let reachable = case.topology.clbs.values();
    // Of NAT64 a target sees addresses that are the load balancer's own.
    let kept = |clb: &&Clb| clb.ip_version != IpVersion::Nat64;
    let reachable = reachable.filter(kept);
    for clb in reachable.filter(|clb| case.vips_of(clb).next().is_some()) {
        for listener in clb.listeners.values() {
            let services = services(case, listener);
            let taken = |service: &Service| owners.get(service).map(|owner| (*service, *owner));
            let shared: Vec<_> = services.iter().filter_map(taken).collect();
            if let Some(first) = shared.first() {
                report(case, rule, (clb, listener), *first, shared.len());
            }
            for service in services {
                owners.entry(service).or_insert((clb, listener));
            }
        }
    }
}

/// Where a listener's servers answer.
fn services(case: &Case<'_>, listener: &Listener) -> BTreeSet<Service> {
    let targets = case.topology.targets.get(&listener.targets);
    let servers = targets.into_iter().flat_map(|targets| &targets.servers);
    let of = servers.flat_map(|server| server.address.iter().map(|ip| (ip, server.port)));
    of.map(|(ip, port)| (listener.protocol, ip, port)).collect()
}

fn report(
    case: &Case<'_>,
    rule: &'static Rule,
    (clb, listener): (&Clb, &Listener),
    (service, (other, first)): (Service, (&Clb, &Listener)),
    count: usize,
) {
    let (protocol, ip, port) = service;
    let more = match count {
        1 => String::new(),
        2 => " and one more server".to_owned(),
        many => format!(" and {} more servers", many - 1),
    };
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let whose = if other.name == clb.name {
        String::new()
    } else {
        format!(" of {}", Kind::Clb.object(&other.name))
    };
    let reason = format!(
        "listener `{}` and listener `{}`{whose} have {protocol} {ip}:{port}{more} behind them: a client with one source port at both \
         is refused (TupleTaken)",
        listener.name, first.name
    );
    let hint = "a port of its own for each listener at the servers";
    let path = format!("listener.{}.targets", listener.name);
    let object = Kind::Clb.object(&clb.name);
    case.found(rule, &object, &path, Wrong::new(reason, hint));
}
