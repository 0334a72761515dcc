//! L10: datagrams that fit the client's link and no tunnel.
//!
//! TCP is clamped to the smallest tunnel (`mss_clamp`) and errors of paths are relayed, in every file: neither can be
//! turned off. UDP has no clamp. What of it is longer than a tunnel takes is cut on its way, or the first of it lost until
//! its host knows the path.

use anyedge_net::flow::Family;
use anyedge_net::wire::{ip, outer, udp};

use crate::clb::{Clb, Listener, ReturnBy};
use crate::client::{self, Client};
use crate::diagnostic::Wrong;
use crate::link::LinkEnds;
use crate::load::{Load, LoadKind};
use crate::names::Kind;
use crate::table;
use crate::vip::Vip;

use super::{Case, Rule};

pub(super) fn find(case: &Case<'_>, rule: &'static Rule) {
    for client in case.topology.clients.values() {
        for load in &client.loads {
            if let Some(wrong) = too_long(case, client, load) {
                let path = format!("{}.size", load.path);
                case.found(rule, &Kind::Client.object(&client.name), &path, wrong);
            }
        }
    }
}

/// A tunnel, by what is under it.
struct Tunnel {
    /// `link.tokyo-guangzhou`
    under: String,
    inner_mtu: u16,
    overhead: usize,
}

fn too_long(case: &Case<'_>, client: &Client, load: &Load) -> Option<Wrong> {
    let LoadKind::Tick { payload_bytes } = load.kind else {
        return None;
    };
    let vip = case.topology.vips.get(&load.vip)?;
    let tunnels = case
        .clbs_of(vip)
        .flat_map(|clb| tunnels(case, vip, clb, &load.listener));
    let least = tunnels.min_by_key(|tunnel| tunnel.inner_mtu)?;
    let family = longest_family(client);
    let headers = ip::header_len(family) + udp::HEADER_LEN;
    let datagram = headers + payload_bytes as usize;
    let packet = datagram.min(client.line.mtu_bytes as usize);
    let inner_mtu = usize::from(least.inner_mtu);
    if packet <= inner_mtu {
        return None;
    }
    let fate = match family {
        Family::V4 => "each is cut in two on its way",
        Family::V6 => "the first is lost, and its host cuts those that follow",
    };
    let reason = format!(
        "ticks of {payload_bytes} B make packets of {packet} B, and the tunnel under {} takes {inner_mtu} B: {fate}",
        least.under
    );
    let fits = inner_mtu.saturating_sub(headers);
    let hint = format!(
        "at most \"{fits}B\"; or `mtu = {}` of every link under such a tunnel",
        packet + least.overhead
    );
    Some(Wrong::new(reason, hint))
}

/// The family that makes the longer packets of those that a population uses.
fn longest_family(client: &Client) -> Family {
    match client.family {
        client::Family::V4 => Family::V4,
        client::Family::Both if client.count == 1 => Family::V4,
        client::Family::Both | client::Family::V6 => Family::V6,
    }
}

/// All tunnels that a packet to a listener may go through.
fn tunnels(case: &Case<'_>, vip: &Vip, clb: &Clb, listener: &str) -> Vec<Tunnel> {
    let topology = case.topology;
    let carries = |ends: &LinkEnds| match ends {
        LinkEnds::Ccn { pop, .. } => vip.publish.contains(pop),
        LinkEnds::Backbone { .. } => ends.has_region(&clb.region),
    };
    let links = topology.links.values().filter(|link| carries(&link.ends));
    let backbone = links.map(|link| {
        let encap = table::encap(link.encap);
        tunnel(
            Kind::Link.object(&link.name),
            encap,
            table::family(link.underlay),
            table::mtu(&link.line),
        )
    });
    let targets = clb.listeners.get(listener).map(|it: &Listener| &it.targets);
    let targets = targets.and_then(|name| topology.targets.get(name));
    let servers = targets.into_iter().flat_map(|targets| &targets.servers);
    let hosts = servers.filter_map(|server| topology.hosts.get(&server.host));
    let fabric = hosts.map(|host| {
        let encap = match host.return_by {
            ReturnBy::Vswitch => table::inside(topology.defaults.encap),
            ReturnBy::Route => outer::Encap::Plain,
        };
        let family = table::family(topology.defaults.underlay);
        tunnel(
            Kind::Host.object(&host.name),
            encap,
            family,
            table::mtu(&host.line),
        )
    });
    backbone.chain(fabric).collect()
}

fn tunnel(under: String, encap: outer::Encap, family: Family, mtu: u16) -> Tunnel {
    Tunnel {
        under,
        inner_mtu: outer::inner_mtu(encap, family, mtu),
        overhead: outer::overhead(encap, family),
    }
}
