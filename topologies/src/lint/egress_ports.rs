//! L03: outward rules that name the targets' port where packets have the listener's.
//!
//! The reference's own examples do (its scenarios 3 and 4): a client reaches VIP and listener, and a rule for the
//! VIP and the backend's port matches none of its packets. With `sg_egress_port = "backend"` such a rule is meant so.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyedge_net::security_group::{ALL_PORTS, Direction, Protocol as Matched};

use crate::clb::{Listener, Protocol};
use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::security_group::{EgressPort, Written};
use crate::vip::Vip;

use super::{Case, Rule};

pub(super) fn find(case: &Case<'_>, rule: &'static Rule) {
    if case.topology.defaults.sg_egress_port == EgressPort::Backend {
        return;
    }
    for group in case.topology.security_groups.keys() {
        for text in case.written(group) {
            let Some(meant) = vip_of(case, &text).and_then(|vip| meant(case, &text, vip)) else {
                continue;
            };
            let (what, action) = text.text.rsplit_once(' ').unwrap_or((text.text, ""));
            let what = what.split_once(": ").map_or(what, |(_, what)| what).trim();
            let (peer, _) = what.split_once('+').unwrap_or((what, ""));
            let ports: Vec<String> = meant.iter().map(u16::to_string).collect();
            let reason = format!(
                "egress rule {what} never matches listener {}; did you mean {}?",
                ports.join(", "),
                ports.join(", ")
            );
            let first = ports.first().map_or("", String::as_str);
            let hint = format!(
                "\"{peer}+{first} {action}\": a client's packets have the listener's port; or `sg_egress_port = \"backend\"` in [defaults]"
            );
            let object = Kind::SecurityGroup.object(group);
            case.found(rule, &object, &text.path, Wrong::new(reason, hint));
        }
    }
}

/// The one VIP that an outward text is about, if it names ports.
fn vip_of<'c>(case: &Case<'c>, text: &Written<'_>) -> Option<&'c Vip> {
    let is_of = |vip: &&Vip| {
        let mut rules = text.rules.iter();
        rules.all(|rule| {
            let address = rule
                .peer
                .filter(|net| net.prefix_len() == net.max_prefix_len());
            let own = |address: IpAddr| vip.address.iter().any(|own| own == address);
            rule.direction == Direction::Egress
                && rule.ports != ALL_PORTS
                && address.is_some_and(|net| own(net.addr()))
        })
    };
    let mut vips = case.topology.vips.values();
    vips.find(|vip| !text.rules.is_empty() && is_of(vip))
}

/// The ports of listeners whose targets have a port of the text, if no listener has one itself.
fn meant(case: &Case<'_>, text: &Written<'_>, vip: &Vip) -> Option<BTreeSet<u16>> {
    let rule = text.rules.first()?;
    let (first, last) = rule.ports;
    let named = |port: u16| (first..=last).contains(&port);
    let listeners = || {
        let clbs = case.topology.clbs.values();
        let own = clbs.filter(|clb| clb.name == vip.clb || vip.standby.contains(&clb.name));
        own.flat_map(|clb| clb.listeners.values())
            .filter(|listener| match rule.protocol {
                Matched::All => true,
                Matched::Tcp => listener.protocol == Protocol::Tcp,
                Matched::Udp => listener.protocol == Protocol::Udp,
                Matched::Icmp => false,
            })
    };
    if listeners().any(|listener| named(listener.port)) {
        return None;
    }
    let serves = |listener: &&Listener| {
        let targets = case.topology.targets.get(&listener.targets);
        let mut servers = targets.into_iter().flat_map(|targets| &targets.servers);
        servers.any(|server| named(server.port))
    };
    let ports: BTreeSet<u16> = listeners()
        .filter(serves)
        .map(|listener| listener.port)
        .collect();
    (!ports.is_empty()).then_some(ports)
}
