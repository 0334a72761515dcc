//! Testbed: routes with two POPs, two regions and three hosts, packets with sound checksums, and a stage on
//! which a forwarder is driven through its ledger. Tests and benches use it; it knows no forwarder.
//!
//! Region guangzhou has one CLB node and two hosts, with two load balancers whose targets are the same.
//! POP tokyo is nearer than POP frankfurt.

// Benches and tests take this file in by its path, so this one is found by path too.
#[path = "testbed/stage.rs"]
pub(crate) mod stage;

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_net::checksum;
use anyedge_net::flow::{Address, Family, FlowKey, HashKey};
use anyedge_net::id::{ClbId, NodeId, PathId, RegionId, Revision};
use anyedge_net::maglev::{Maglev, Member};
use anyedge_net::route_table::{
    Announcing, Clb, ClbSecurity, FlowLimits, Listener, Mechanisms, Node, NodeKind, Path, PathEnds,
    Region, RescheduleOn, RouteTable, SNAT_BLOCK_PORTS, Scheduler, Shared, Snat, SnatBlock,
    SourceTold, Target, Vip,
};
use anyedge_net::slot::SlotMap;
use anyedge_net::wire::gre::{self, GreKey};
use anyedge_net::wire::ip::{self, Header};
use anyedge_net::wire::outer::Encap;
use anyedge_net::wire::{self, Parsed, icmp, tcp, udp};

pub(crate) const TOKYO: NodeId = NodeId(0);
pub(crate) const FRANKFURT: NodeId = NodeId(1);
pub(crate) const CLB_NODE: NodeId = NodeId(2);
pub(crate) const WEB_1: NodeId = NodeId(3);
pub(crate) const WEB_2: NodeId = NodeId(4);
pub(crate) const OTHER_CLB_NODE: NodeId = NodeId(5);
pub(crate) const OTHER_HOST: NodeId = NodeId(6);

pub(crate) const FROM_TOKYO: PathId = PathId(0);
pub(crate) const FROM_FRANKFURT: PathId = PathId(1);
pub(crate) const TO_WEB_1: PathId = PathId(2);
pub(crate) const TO_WEB_2: PathId = PathId(3);

pub(crate) const MAIN: ClbId = ClbId(0);
pub(crate) const ALT: ClbId = ClbId(1);
pub(crate) const OTHER: ClbId = ClbId(2);

pub(crate) const HASH_KEY: HashKey = HashKey::new([7; 16]);

pub(crate) const CLB_NODE_NAME: &str = "region.guangzhou.clb-1";
pub(crate) const WEB_1_NAME: &str = "host.web-1";

/// The CLB nodes of region guangzhou in [`routes_of_three`], and their names.
pub(crate) const CLB_NODES: [NodeId; 3] = [CLB_NODE, NodeId(7), NodeId(8)];
pub(crate) const CLB_NODE_NAMES: [&str; 3] = [
    CLB_NODE_NAME,
    "region.guangzhou.clb-2",
    "region.guangzhou.clb-3",
];
/// The path among them.
pub(crate) const MESH: PathId = PathId(5);

/// Inner MTU of every path: 1,500 without outer IPv4, UDP and GRE.
pub(crate) const INNER_MTU: u16 = 1_464;

pub(crate) fn address(text: &str) -> Address {
    text.parse().expect("a literal address")
}

/// The VIP of the load balancer `gz-main`.
pub(crate) fn vip(family: Family) -> Address {
    match family {
        Family::V4 => address("203.0.113.10"),
        Family::V6 => address("2001:db8:113::10"),
    }
}

/// The VIP of the load balancer `gz-alt`, which has the targets of `gz-main`.
pub(crate) fn alt_vip() -> Address {
    address("203.0.113.20")
}

/// The backend's address on host web-1 or web-2.
pub(crate) fn backend(number: u8, family: Family) -> Address {
    match family {
        Family::V4 => Address::v4([10, 0, 0, 10 + number]),
        Family::V6 => address(&format!("fd00::1{number}")),
    }
}

/// A client's flow to a port of the main VIP; clients differ by `number`.
pub(crate) fn client_flow(family: Family, protocol: u8, port: u16, number: u32) -> FlowKey {
    let [_, a, b, c] = number.to_be_bytes();
    let src = match family {
        Family::V4 => Address::v4([192, a, b, c]),
        Family::V6 => Address::v6([0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, a, b, c]),
    };
    FlowKey {
        src,
        dst: vip(family),
        src_port: 40_000,
        dst_port: port,
        protocol,
    }
}

/// What the backend answers to a packet of `flow` that went to `target`.
pub(crate) fn answer_flow(flow: &FlowKey, target: Address, target_port: u16) -> FlowKey {
    FlowKey {
        dst: target,
        dst_port: target_port,
        ..*flow
    }
    .reversed()
}

pub(crate) fn routes() -> RouteTable {
    RouteTable {
        probing: None,
        announcing: Announcing::default(),
        mechanisms: Mechanisms::ALL,
        security: Shared::default(),
        revision: Revision(1),
        hash_key: HASH_KEY,
        nodes: vec![
            node("pop.tokyo", NodeKind::Pop),
            node("pop.frankfurt", NodeKind::Pop),
            node(CLB_NODE_NAME, NodeKind::ClbNode(RegionId(0))),
            node(WEB_1_NAME, NodeKind::Host(RegionId(0))),
            node("host.web-2", NodeKind::Host(RegionId(0))),
            node("region.frankfurt.clb-1", NodeKind::ClbNode(RegionId(1))),
            node("host.other", NodeKind::Host(RegionId(1))),
        ]
        .into(),
        regions: vec![
            region("guangzhou", CLB_NODE, CLB_NODE_NAME),
            region("frankfurt", OTHER_CLB_NODE, "region.frankfurt.clb-1"),
        ]
        .into(),
        paths: vec![
            path(
                "tokyo-guangzhou",
                PathEnds::Ccn {
                    pop: TOKYO,
                    region: RegionId(0),
                },
                52,
            ),
            path(
                "frankfurt-guangzhou",
                PathEnds::Ccn {
                    pop: FRANKFURT,
                    region: RegionId(0),
                },
                178,
            ),
            path(
                "guangzhou-web-1",
                PathEnds::Fabric {
                    region: RegionId(0),
                    host: WEB_1,
                },
                1,
            ),
            path(
                "guangzhou-web-2",
                PathEnds::Fabric {
                    region: RegionId(0),
                    host: WEB_2,
                },
                1,
            ),
            path(
                "frankfurt-other",
                PathEnds::Fabric {
                    region: RegionId(1),
                    host: OTHER_HOST,
                },
                1,
            ),
        ]
        .into(),
        clbs: clbs(),
        vips: vips().into(),
    }
}

/// Routes with three CLB nodes in region guangzhou, its slots filled over those at the places of `members`.
pub(crate) fn routes_of_three(revision: u64, members: &[usize]) -> RouteTable {
    let mut table = routes();
    table.revision = Revision(revision);
    for name in &CLB_NODE_NAMES[1..] {
        table.nodes.push(node(name, NodeKind::ClbNode(RegionId(0))));
    }
    table.regions[0].clb_nodes = CLB_NODES.to_vec();
    let members: Vec<(NodeId, &str)> = members
        .iter()
        .map(|place| (CLB_NODES[*place], CLB_NODE_NAMES[*place]))
        .collect();
    table.regions[0].slots = Arc::new(SlotMap::fill(&members));
    let ends = PathEnds::Mesh {
        region: RegionId(0),
    };
    table.paths.push(path("region.guangzhou", ends, 1));
    table
}

fn vips() -> BTreeMap<Address, Arc<Vip>> {
    let vip_of = |name: &str, clb| {
        Arc::new(Vip {
            name: name.to_owned(),
            clb,
            publishers: vec![FRANKFURT, TOKYO],
        })
    };
    BTreeMap::from([
        (vip(Family::V4), vip_of("game", MAIN)),
        (vip(Family::V6), vip_of("game", MAIN)),
        (alt_vip(), vip_of("shop", ALT)),
        (address("203.0.113.30"), vip_of("news", OTHER)),
    ])
}

fn node(name: &str, kind: NodeKind) -> Node {
    let (underlay_v4, underlay_v6) = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
    Node {
        name: name.to_owned(),
        kind,
        underlay_v4,
        underlay_v6,
        draining: false,
    }
}

fn region(name: &str, clb_node: NodeId, clb_node_name: &str) -> Region {
    let slots = Arc::new(SlotMap::fill(&[(clb_node, clb_node_name)]));
    Region {
        name: name.to_owned(),
        clb_nodes: vec![clb_node],
        slots,
    }
}

fn path(name: &str, ends: PathEnds, rtt_ms: u64) -> Path {
    Path {
        name: name.to_owned(),
        ends,
        encap: Encap::GreUdp,
        underlay: Family::V4,
        mtu: 1_500,
        rtt: Duration::from_millis(rtt_ms),
        draining: false,
    }
}

fn clbs() -> Vec<Shared<Clb>> {
    let names = ["gz-main", "gz-alt", "fra-main"];
    names.map(clb).map(Shared::from).to_vec()
}

/// tcp/80 `web` and tcp/81 `web-too` by WRR, udp/7000 `tick` by Maglev, all to port 8080 of both hosts.
fn clb(name: &str) -> Clb {
    let region = RegionId(u16::from(name == "fra-main"));
    let listeners = vec![
        listener(
            "web",
            tcp::PROTOCOL,
            80,
            Scheduler::WeightedRoundRobin,
            targets([10, 10]),
        ),
        listener(
            "web-too",
            tcp::PROTOCOL,
            81,
            Scheduler::WeightedRoundRobin,
            targets([10, 10]),
        ),
        listener(
            "tick",
            udp::PROTOCOL,
            7_000,
            maglev(&targets([10, 10])),
            targets([10, 10]),
        ),
    ];
    Clb {
        name: name.to_owned(),
        region,
        inner_mtu: 1_400,
        client_affinity: false,
        rst_on_unbind: true,
        unbind_drain: None,
        unbind_spread: Duration::ZERO,
        fail_open: true,
        limits: FlowLimits::default(),
        security: ClbSecurity::default(),
        snat: Shared::default(),
        listeners,
    }
}

/// The routes with the main load balancer as one of NAT64, which has 10.0.9.1 and blocks of its ports, the first ones,
/// for these nodes.
pub(crate) fn with_nat64(mut table: RouteTable, owners: &[NodeId]) -> RouteTable {
    let block = |(number, node): (u16, &NodeId)| SnatBlock {
        address: SNAT,
        first_port: 10_024 + number * SNAT_BLOCK_PORTS,
        node: *node,
    };
    table.clbs[MAIN.index()].snat = Shared::from(Snat {
        nat64: true,
        addresses: vec![SNAT],
        blocks: (0..).zip(owners).map(block).collect(),
    });
    table
}

/// Where clients of IPv6 come from at targets of IPv4.
pub(crate) const SNAT: Ipv4Addr = Ipv4Addr::new(10, 0, 9, 1);

pub(crate) fn listener(
    name: &str,
    protocol: u8,
    port: u16,
    scheduler: Scheduler,
    targets: Vec<Target>,
) -> Arc<Listener> {
    Arc::new(Listener {
        name: name.to_owned(),
        protocol,
        port,
        scheduler,
        session_expire: None,
        limits: FlowLimits::default(),
        idle_timeout: None,
        reschedule_on: RescheduleOn::default(),
        health: None,
        source: SourceTold::default(),
        targets,
    })
}

/// Port 8080 of the backends on web-1 and web-2 over both families, with these weights.
pub(crate) fn targets(weights: [u8; 2]) -> Vec<Target> {
    let of = |family| {
        let hosts = [(1, WEB_1), (2, WEB_2)].into_iter().zip(weights);
        hosts.map(move |((number, host), weight)| Target {
            address: backend(number, family),
            port: 8_080,
            weight,
            host,
        })
    };
    of(Family::V4).chain(of(Family::V6)).collect()
}

/// Maglev tables over targets, as the author of the routes builds them.
pub(crate) fn maglev(targets: &[Target]) -> Scheduler {
    let names: Vec<String> = targets
        .iter()
        .map(|target| format!("{}:{}", target.address, target.port))
        .collect();
    let table = |family| {
        let members: Vec<Member<'_>> = (0..targets.len())
            .filter(|index| targets[*index].address.family() == family)
            .map(|index| Member {
                id: index as u16,
                name: &names[index],
                weight: u32::from(targets[index].weight),
            })
            .collect();
        Arc::new(Maglev::build(&members, 251))
    };
    Scheduler::Maglev {
        v4: table(Family::V4),
        v6: table(Family::V6),
    }
}

/// A TCP segment to be written, or the start of one.
#[derive(Clone, Copy)]
pub(crate) struct Segment<'a> {
    pub(crate) flow: FlowKey,
    pub(crate) flags: u8,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) mss: Option<u16>,
    pub(crate) payload: &'a [u8],
}

impl Segment<'_> {
    pub(crate) const fn new(flow: FlowKey, flags: u8) -> Segment<'static> {
        Segment {
            flow,
            flags,
            sequence: 1_000,
            acknowledgement: 2_000,
            mss: None,
            payload: &[],
        }
    }

    /// The whole packet, TTL 64, no ECN.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let options_len = if self.mss.is_some() { 4 } else { 0 };
        let mut l4 = vec![0; tcp::HEADER_LEN];
        l4[..2].copy_from_slice(&self.flow.src_port.to_be_bytes());
        l4[2..4].copy_from_slice(&self.flow.dst_port.to_be_bytes());
        l4[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        l4[8..12].copy_from_slice(&self.acknowledgement.to_be_bytes());
        l4[12] = (((tcp::HEADER_LEN + options_len) / 4) << 4) as u8;
        l4[13] = self.flags;
        if let Some(mss) = self.mss {
            l4.extend_from_slice(&[2, 4]);
            l4.extend_from_slice(&mss.to_be_bytes());
        }
        l4.extend_from_slice(self.payload);
        tcp::fill_checksum(&mut l4, self.flow.src, self.flow.dst);
        ip_packet(&self.flow, 64, &l4)
    }
}

/// A segment without data.
pub(crate) fn segment(flow: FlowKey, flags: u8) -> Vec<u8> {
    Segment::new(flow, flags).packet()
}

pub(crate) fn datagram(flow: FlowKey, payload: &[u8]) -> Vec<u8> {
    let mut l4 = vec![0; udp::HEADER_LEN];
    udp::write_header(&mut l4, &flow, payload.len());
    l4.extend_from_slice(payload);
    udp::fill_checksum(&mut l4, flow.src, flow.dst);
    ip_packet(&flow, 64, &l4)
}

pub(crate) fn ip_packet(flow: &FlowKey, ttl: u8, l4: &[u8]) -> Vec<u8> {
    let header = Header {
        src: flow.src,
        dst: flow.dst,
        protocol: flow.protocol,
        ttl,
        tos: 0,
        payload_len: l4.len(),
    };
    let mut packet = vec![0; ip::header_len(flow.family())];
    header.write(&mut packet);
    packet.extend_from_slice(l4);
    packet
}

/// A packet cut into fragments of at most `mtu` bytes, as its sender would, with that identification.
pub(crate) fn fragments(packet: &[u8], mtu: usize, id: u32) -> Vec<Vec<u8>> {
    let parsed = wire::parse(packet).expect("a sound packet");
    let l4 = parsed.l4(packet);
    let is_v6 = parsed.family == Family::V6;
    let headers = ip::header_len(parsed.family) + if is_v6 { 8 } else { 0 };
    let room = (mtu - headers) / 8 * 8;
    let piece = |(number, part): (usize, &[u8])| {
        let offset = number * room;
        let more = offset + part.len() < l4.len();
        let mut bytes = packet[..ip::header_len(parsed.family)].to_vec();
        if is_v6 {
            let position = offset as u16 | u16::from(more);
            bytes[4..6].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
            bytes[6] = 44;
            bytes.extend([parsed.flow.protocol, 0]);
            bytes.extend(position.to_be_bytes());
            bytes.extend(id.to_be_bytes());
        } else {
            let position = (offset / 8) as u16 | u16::from(more) << 13;
            bytes[2..4].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
            bytes[4..6].copy_from_slice(&(id as u16).to_be_bytes());
            bytes[6..8].copy_from_slice(&position.to_be_bytes());
            bytes[10..12].fill(0);
            let check = checksum::internet(&bytes[..20]);
            bytes[10..12].copy_from_slice(&check.to_be_bytes());
        }
        bytes.extend_from_slice(part);
        bytes
    };
    l4.chunks(room).enumerate().map(piece).collect()
}

/// An ICMP error about `quote`: the header for IPv4 or IPv6, its checksum left to be computed.
pub(crate) fn icmp_error(src: Address, dst: Address, heads: [[u8; 8]; 2], quote: &[u8]) -> Vec<u8> {
    let (protocol, head) = match src.family() {
        Family::V4 => (icmp::PROTOCOL_V4, heads[0]),
        Family::V6 => (icmp::PROTOCOL_V6, heads[1]),
    };
    let mut l4 = [&head[..], quote].concat();
    icmp::fill_checksum(&mut l4, src, dst);
    let flow = FlowKey {
        src,
        dst,
        src_port: 0,
        dst_port: 0,
        protocol,
    };
    ip_packet(&flow, 64, &l4)
}

/// The packet with another TTL or hop limit.
pub(crate) fn with_ttl(packet: &[u8], ttl: u8) -> Vec<u8> {
    let mut out = packet.to_vec();
    let parsed = wire::parse(packet).expect("a sound packet");
    wire::rewrite::set_ttl(&mut out, &parsed, ttl);
    out
}

/// The packet behind the GRE header of a load balancer and slot.
pub(crate) fn tunnelled(packet: &[u8], key: GreKey) -> Vec<u8> {
    let protocol = if packet.first().is_some_and(|first| first >> 4 == 6) {
        gre::PROTOCOL_IPV6
    } else {
        gre::PROTOCOL_IPV4
    };
    let mut out = vec![0; gre::HEADER_LEN];
    gre::write(&mut out, protocol, key);
    out.extend_from_slice(packet);
    out
}

/// The GRE key and the inner packet of what left by a tunnel.
pub(crate) fn untunnelled(bytes: &[u8]) -> (GreKey, &[u8]) {
    let header = gre::parse(bytes).expect("a GRE header");
    (
        header.key.expect("all our tunnels carry a key"),
        &bytes[header.header_len..],
    )
}

/// Parses a packet that must be right, its transport checksum summed up whole.
pub(crate) fn sound(bytes: &[u8]) -> Parsed {
    let parsed = wire::parse(bytes).expect("a packet that parses");
    assert_eq!(parsed.total_len, bytes.len(), "no trailing bytes");
    let flow = parsed.flow;
    let sum = checksum::transport(flow.src, flow.dst, flow.protocol, parsed.l4(bytes));
    assert_eq!(sum, 0, "transport checksum of {flow}");
    parsed
}
