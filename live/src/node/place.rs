//! Where a node stands: the devices that its table and its file give it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyedge_net::flow::Family;
use anyedge_net::id::NodeId;
use anyedge_net::port::PortId;
use anyedge_net::route_table::{NodeKind, Path as TunnelPath, RouteTable};
use anyedge_net::wire::gre;
use anyedge_net::wire::outer::{Encap, STREAM_INNER_MTU};
use anyedge_topologies::{Kind, Topology};
use anyhow::{Context, Result, ensure};
use tokio::runtime::Runtime;

use super::NodeArgs;
use super::following::machine;
use super::vip_routes::published;
use crate::dataplane::Ground;
use crate::dataplane::mouth::Mouth;
use crate::dataplane::peers::own_paths;
use crate::dataplane::raw_gre::RawGre;
use crate::dataplane::streams::{Doors, Streams};
use crate::lab::identities;
use crate::prefix::Prefix;
use crate::tun::{Tun, TunPlan, host_routes};

/// The TUN device of a node.
pub(super) const TUN: &str = "tun0";
/// Shares of the devices for each worker: with four, of four large flows on two workers one in 500 nodes has all on one
/// share, where two shares would have all on one in one of eight.
const GROUNDS_PER_WORKER: usize = 4;

/// Where a node stands.
pub(super) struct Place<'a> {
    pub(super) topology: &'a Topology,
    pub(super) table: Arc<RouteTable>,
    pub(super) own: NodeId,
    /// Networks of clients, for a CLB node whose hosts answer by plain routing.
    pub(super) clients: &'a [Prefix],
}

impl Place<'_> {
    /// The ends of its streams, and what they run on; `None` when no path of its own is one.
    pub(super) fn streams(&self, args: &NodeArgs) -> Result<Option<(Streams, Runtime)>> {
        let mut paths = own_paths(&self.table, self.own);
        let Some(path) = paths.find(|path| path.encap.is_connection()) else {
            return Ok(None);
        };
        let file = args.identity.as_deref();
        let file = file.with_context(|| {
            let name = &path.name;
            format!("the path {name} is a connection with certificates, which wants --identity")
        })?;
        let identity = identities::read(file)?;
        let (host, runtime) = machine(&args.name)?;
        let streams = Streams::open(&host, &self.table, self.own, &identity, Doors::default())?;
        Ok(Some((streams, runtime)))
    }

    /// Opens the node's devices, in [`GROUNDS_PER_WORKER`] shares for each of `workers`, so that none of several waits for
    /// flows that lie on another's. One worker has them whole, and so has any number where tunnels are not shared, or where
    /// the TUN has one queue alone.
    pub(super) fn grounds(&self, streams: Option<Streams>, workers: usize) -> Result<Vec<Ground>> {
        let node = &self.table.nodes[self.own.index()];
        let paths: Vec<&TunnelPath> = own_paths(&self.table, self.own).collect();
        let addresses = |encap| tunnel_addresses(&self.table, self.own, encap);
        let (v4, v6) = addresses(Encap::GreUdp);
        let raw_gre = paths.iter().find(|path| path.encap == Encap::Gre);
        let raw_gre = raw_gre.map(|path| open_raw_gre(&path.name, addresses(Encap::Gre)));
        let outer_max = paths.iter().map(|path| path.mtu).max().unwrap_or(1_500);
        // A stream's packet has its GRE header alone around it.
        let inner_max = u32::from(STREAM_INNER_MTU) + gre::HEADER_LEN as u32;
        let (tun_port, plan) = self.tun_plan(&node.name, &paths)?;
        let tun_mtu = plan.as_ref().map_or(0, |plan| plan.mtu);
        let for_one = raw_gre.is_some() || streams.is_some();
        let shares = match workers {
            2.. if !for_one => workers * GROUNDS_PER_WORKER,
            _ => 1,
        };
        let queues = plan.map(|plan| Tun::open_queues(&plan, shares));
        let queues = queues.transpose()?;
        let shares = queues.as_ref().map_or(shares, Vec::len);
        let mouths = Mouth::open_shared(v4, v6, shares)?;
        let mut queues = queues.into_iter().flatten();
        let (mut raw_gre, mut streams) = (raw_gre.transpose()?, streams);
        let grounds = mouths.into_iter().map(|mouth| Ground {
            tun: queues.next(),
            tun_port,
            mouth,
            raw_gre: raw_gre.take(),
            streams: streams.take(),
            packet_bytes_max: u32::from(outer_max).max(inner_max).max(tun_mtu) as usize,
        });
        Ok(grounds.collect())
    }

    /// Whether VIPs are led to the node's device.
    pub(super) fn has_vips(&self) -> bool {
        self.table.nodes[self.own.index()]
            .name
            .starts_with(&Kind::Pop.object(""))
    }

    /// The node's TUN: for a POP what clients send to its VIPs, for a host what its backend sends to anybody. For a
    /// CLB node whose hosts answer by plain routing, what they send: to VIPs, and to the networks of clients that it was told of.
    fn tun_plan(&self, name: &str, paths: &[&TunnelPath]) -> Result<(PortId, Option<TunPlan>)> {
        let plan = |mtu, routes| TunPlan {
            interface: TUN.to_owned(),
            mtu,
            addresses: Vec::new(),
            routes,
            offload: true,
        };
        let (kind, _) = name.split_once('.').unwrap_or((name, ""));
        if kind == Kind::Pop.word() {
            let clients = self.topology.clients.values();
            let mtu = clients.map(|client| client.line.mtu_bytes).max();
            let vips = host_routes(published(&self.table, self.own));
            let plan = plan(mtu.unwrap_or(1_500).min(65_535), vips);
            return Ok((PortId::PUBLIC, Some(plan)));
        }
        if kind == Kind::Host.word() {
            let mtu = paths
                .iter()
                .map(|path| path.inner_mtu())
                .min()
                .unwrap_or(1_280);
            ensure!(
                mtu >= 1_280,
                "the path to {name} leaves {mtu} bytes for a packet, less than IPv6 needs"
            );
            return Ok((
                PortId::BACKEND,
                Some(plan(u32::from(mtu), vec![Prefix::ANY_V4, Prefix::ANY_V6])),
            ));
        }
        let plain = paths.iter().filter(|path| path.encap == Encap::Plain);
        if let Some(mtu) = plain.map(|path| path.mtu).max() {
            let mut routes = host_routes(self.served());
            routes.extend(self.clients);
            return Ok((PortId::VPC, Some(plan(u32::from(mtu), routes))));
        }
        Ok((PortId::LOCAL, None))
    }

    /// The VIPs of the node's region.
    fn served(&self) -> impl Iterator<Item = IpAddr> {
        let own = match self.table.nodes[self.own.index()].kind {
            NodeKind::ClbNode(region) => Some(region),
            NodeKind::Pop | NodeKind::Host(_) => None,
        };
        let vips = self.table.vips.iter().filter(move |(_, vip)| {
            let clb = self.table.clbs.get(vip.clb.index());
            clb.is_some_and(|clb| Some(clb.region) == own)
        });
        vips.map(|(address, _)| IpAddr::from(*address))
    }
}

/// A node's tunnel address in each family.
pub(super) type TunnelAddresses = (Option<Ipv4Addr>, Option<Ipv6Addr>);

/// The addresses that the tunnels of `own` with that wrapping use: of the families that they are over.
pub(super) fn tunnel_addresses(table: &RouteTable, own: NodeId, encap: Encap) -> TunnelAddresses {
    let uses = |family| {
        let mut paths = own_paths(table, own).filter(|path| path.encap == encap);
        paths.any(|path| path.underlay == family)
    };
    let node = &table.nodes[own.index()];
    let (v4, v6) = (Some(node.underlay_v4), Some(node.underlay_v6));
    (
        v4.filter(|address| uses(Family::V4) && *address != Ipv4Addr::UNSPECIFIED),
        v6.filter(|address| uses(Family::V6) && *address != Ipv6Addr::UNSPECIFIED),
    )
}

/// Opens what the path of that name wants, and says what it cannot promise.
fn open_raw_gre(path: &str, (v4, v6): TunnelAddresses) -> Result<RawGre> {
    tracing::warn!(
        path,
        "tunnels in plain GRE know a peer by its address alone: a GRE key is a label and no secret, so that the \
         underlay has to keep strangers out"
    );
    RawGre::open(v4, v6)
}
