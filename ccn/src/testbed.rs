//! Testbed: two POPs, two regions of CLB nodes and a host, joined by paths of different cost.
//!
//! The table is written by hand, without the author, so that ids in the tests are plain numbers: the order of
//! its paths is on purpose not the order of their names.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::sync::Arc;

use anyedge_net::flow::Family;
use anyedge_net::id::{NodeId, PathId, RegionId};
use anyedge_net::route_table::{
    Mechanisms, Node, NodeKind, Path, PathEnds, Region, RouteTable, Shared,
};
use anyedge_net::slot::SlotMap;
use anyedge_net::wire::outer::Encap;

pub(crate) const POP: NodeId = NodeId(0);
pub(crate) const CLB_1: NodeId = NodeId(1);
pub(crate) const CLB_2: NodeId = NodeId(2);
pub(crate) const HOST: NodeId = NodeId(3);
pub(crate) const OTHER_CLB: NodeId = NodeId(4);
pub(crate) const SEOUL: NodeId = NodeId(5);
pub(crate) const GZ: RegionId = RegionId(0);
pub(crate) const FRA: RegionId = RegionId(1);

fn node(name: &str, kind: NodeKind) -> Node {
    Node {
        name: name.to_owned(),
        kind,
        underlay_v4: Ipv4Addr::UNSPECIFIED,
        underlay_v6: Ipv6Addr::UNSPECIFIED,
        draining: false,
    }
}

fn path(name: &str, ends: PathEnds, rtt_ms: u64, mtu: u16) -> Path {
    let rtt = Duration::from_millis(rtt_ms);
    Path {
        name: name.to_owned(),
        ends,
        encap: Encap::Gre,
        underlay: Family::V4,
        mtu,
        rtt,
        draining: false,
    }
}

fn ccn(name: &str, region: RegionId, rtt_ms: u64, mtu: u16) -> Path {
    path(name, PathEnds::Ccn { pop: POP, region }, rtt_ms, mtu)
}

/// `slow`, `fast-b`, `fast-a` join the POP and guangzhou; `fra` the POP and frankfurt; `rack` the host.
pub(crate) fn table() -> RouteTable {
    let slots = Arc::new(SlotMap::fill(&[]));
    let region = |name: &str, clb_nodes: &[NodeId]| Region {
        name: name.to_owned(),
        clb_nodes: clb_nodes.to_vec(),
        slots: Arc::clone(&slots),
    };
    RouteTable {
        probing: None,
        mechanisms: Mechanisms::ALL,
        security: Shared::default(),
        nodes: vec![
            node("pop.tokyo", NodeKind::Pop),
            node("region.guangzhou.clb-1", NodeKind::ClbNode(GZ)),
            node("region.guangzhou.clb-2", NodeKind::ClbNode(GZ)),
            node("host.web-1", NodeKind::Host(GZ)),
            node("region.frankfurt.clb-1", NodeKind::ClbNode(FRA)),
            node("pop.seoul", NodeKind::Pop),
        ]
        .into(),
        regions: vec![
            region("guangzhou", &[CLB_1, CLB_2]),
            region("frankfurt", &[OTHER_CLB]),
        ]
        .into(),
        paths: vec![
            ccn("slow", GZ, 90, 1_500),
            ccn("fast-b", GZ, 52, 1_400),
            ccn("fast-a", GZ, 52, 1_500),
            ccn("fra", FRA, 220, 9_000),
            path(
                "rack",
                PathEnds::Fabric {
                    region: GZ,
                    host: HOST,
                },
                1,
                1_600,
            ),
        ]
        .into(),
        ..RouteTable::empty()
    }
}

/// The paths of [`table`] by their ids.
pub(crate) const SLOW: PathId = PathId(0);
pub(crate) const FAST_B: PathId = PathId(1);
pub(crate) const FAST_A: PathId = PathId(2);
pub(crate) const TO_FRA: PathId = PathId(3);
/// Of [`with_detours`]: between the regions, between the CLB nodes of guangzhou (6), and between seoul and frankfurt (7).
pub(crate) const BACKBONE: PathId = PathId(5);

/// [`table`] with a path between the regions, a mesh in guangzhou, and a POP that only frankfurt is joined to.
pub(crate) fn with_detours() -> RouteTable {
    let mut table = table();
    let regions = [GZ, FRA];
    let backbone = path("backbone", PathEnds::Backbone { regions }, 180, 1_450);
    let mesh = path("region.guangzhou", PathEnds::Mesh { region: GZ }, 1, 9_000);
    let seoul = PathEnds::Ccn {
        pop: SEOUL,
        region: FRA,
    };
    let seoul = path("seoul-fra", seoul, 240, 1_500);
    table.paths.extend([backbone, mesh, seoul]);
    table
}
