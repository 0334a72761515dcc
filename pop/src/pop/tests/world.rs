//! A small world around one POP: a table, packets of clients and of CLB nodes, and what becomes of each.
//!
//! Every call goes through a ledger, which asserts the conservation of packets, and every slot must come back
//! to the pool. Tables come from the author, as in the simulator and in live networks.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use anyedge_ccn::author::TableAuthor;
use anyedge_ccn::author::plan::{
    ClbPlan, EndsPlan, HostPlan, ListenerPlan, NodePlan, PathPlan, Protocol, RegionPlan,
    SchedulerKind, SecurityPlan, SnatPlan, TargetPlan, VipPlan,
};
use anyedge_net::flow::{Address, Family, FlowKey, HashKey};
use anyedge_net::ledger::Ledger;
use anyedge_net::packet::{Meta, Pool};
use anyedge_net::port::PortId;
use anyedge_net::route_table::{RescheduleOn, SourceTold};
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::{self, GreKey};
use anyedge_net::wire::ip::{Header, header_len};
use anyedge_net::wire::outer::Encap;
use anyedge_net::wire::{tcp, udp};

use super::*;

/// The VIP of each family.
pub(super) fn vip(family: Family) -> Address {
    address(family, "203.0.113.10", "2001:db8:113::10")
}

/// A client of each family.
pub(super) fn client(family: Family) -> Address {
    address(family, "198.51.100.7", "2001:db8:c::7")
}

fn address(family: Family, v4: &str, v6: &str) -> Address {
    let text = if family == Family::V4 { v4 } else { v6 };
    text.parse().expect("a literal address")
}

/// What a table is made of, where tests differ.
pub(super) struct Setup {
    pub(super) encap: Encap,
    pub(super) underlay: Family,
    pub(super) client_affinity: bool,
    pub(super) clb_nodes: u8,
}

pub(super) const SETUP: Setup = Setup {
    encap: Encap::Gre,
    underlay: Family::V4,
    client_affinity: false,
    clb_nodes: 3,
};

fn node(name: &str, number: u8) -> NodePlan {
    NodePlan {
        name: name.to_owned(),
        underlay_v4: Ipv4Addr::new(10, 255, 0, number),
        underlay_v6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()),
    }
}

impl Setup {
    fn path(&self, name: &str, ends: EndsPlan, rtt_ms: u64) -> PathPlan {
        let rtt = Duration::from_millis(rtt_ms);
        PathPlan {
            name: name.to_owned(),
            ends,
            encap: self.encap,
            underlay: self.underlay,
            mtu: 1_500,
            rtt,
        }
    }

    fn ccn(&self, name: &str, pop: &str, rtt_ms: u64) -> PathPlan {
        let ends = EndsPlan::Ccn {
            pop: pop.to_owned(),
            region: "guangzhou".to_owned(),
        };
        self.path(name, ends, rtt_ms)
    }

    /// Tokyo (two paths) and Frankfurt publish the VIP, Seoul does not; one region, one host.
    pub(super) fn table(&self) -> Arc<RouteTable> {
        let mut author = TableAuthor::new(HashKey::new(*b"sixteen bytes ok"));
        for (number, pop) in ["pop.tokyo", "pop.frankfurt", "pop.seoul"]
            .into_iter()
            .enumerate()
        {
            author.add_pop(node(pop, number as u8 + 1));
        }
        let clb_node = |number| node(&format!("region.guangzhou.clb-{number}"), 10 + number);
        let clb_nodes = (1..=self.clb_nodes).map(clb_node).collect();
        author.add_region(RegionPlan {
            name: "guangzhou".to_owned(),
            clb_nodes,
        });
        author.add_host(HostPlan {
            node: node("host.web-1", 50),
            region: "guangzhou".to_owned(),
            zone: String::new(),
            security_groups: Vec::new(),
        });
        author.add_path(self.ccn("tokyo-guangzhou", "pop.tokyo", 52));
        author.add_path(self.ccn("tokyo-detour", "pop.tokyo", 80));
        author.add_path(self.ccn("frankfurt-guangzhou", "pop.frankfurt", 178));
        author.add_path(self.ccn("seoul-guangzhou", "pop.seoul", 40));
        let host = "host.web-1".to_owned();
        author.add_path(self.path("web-1", EndsPlan::Fabric { host }, 1));
        let target = TargetPlan {
            address: Address::v4([10, 0, 0, 11]),
            port: 80,
            weight: 10,
            host: "host.web-1".to_owned(),
        };
        let listener = ListenerPlan {
            name: "web".to_owned(),
            protocol: Protocol::Tcp,
            port: 80,
            scheduler: SchedulerKind::Wrr,
            session_expire: 0,
            limits: [0; 2],
            idle_timeout: 0,
            reschedule_on: RescheduleOn::default(),
            health: None,
            source: SourceTold::default(),
            targets: vec![target],
        };
        author.add_clb(ClbPlan {
            name: "gz-main".to_owned(),
            region: "guangzhou".to_owned(),
            client_affinity: self.client_affinity,
            rst_on_unbind: true,
            unbind_drain: None,
            unbind_spread: Duration::ZERO,
            fail_open: true,
            shared: false,
            security: SecurityPlan::default(),
            snat: SnatPlan::default(),
            listeners: vec![listener],
        });
        author.add_vip(VipPlan {
            name: "game".to_owned(),
            addresses: vec![vip(Family::V4), vip(Family::V6)],
            clb: "gz-main".to_owned(),
            standby: Vec::new(),
            publishers_min: 1,
            publishers: vec!["pop.tokyo".to_owned(), "pop.frankfurt".to_owned()],
        });
        author.publish(Instant::ZERO).expect("the plans make sense")
    }
}

/// A packet in the making.
#[derive(Clone)]
pub(super) struct Shape {
    pub(super) flow: FlowKey,
    pub(super) tcp_flags: u8,
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) ttl: u8,
    pub(super) tos: u8,
}

impl Shape {
    /// A UDP tick from the client to the VIP.
    pub(super) fn tick(family: Family) -> Shape {
        let flow = FlowKey {
            src: client(family),
            dst: vip(family),
            src_port: 40_000,
            dst_port: 80,
            protocol: udp::PROTOCOL,
        };
        let (options, payload) = (Vec::new(), b"tick".to_vec());
        Shape {
            flow,
            tcp_flags: 0,
            options,
            payload,
            ttl: 64,
            tos: 0,
        }
    }

    /// A TCP segment without payload from the client to the VIP, with an MSS option if it is a SYN.
    pub(super) fn segment(family: Family, tcp_flags: u8) -> Shape {
        let tick = Shape::tick(family);
        let flow = FlowKey {
            protocol: tcp::PROTOCOL,
            ..tick.flow
        };
        let options = if tcp_flags & tcp::SYN == 0 {
            vec![]
        } else {
            vec![2, 4, 0x23, 0x00]
        };
        Shape {
            flow,
            tcp_flags,
            options,
            payload: Vec::new(),
            ..tick
        }
    }

    /// The same kind of packet in the other direction.
    pub(super) fn answered(self) -> Shape {
        Shape {
            flow: self.flow.reversed(),
            ..self
        }
    }

    /// An IP packet of `len` bytes altogether.
    pub(super) fn of_len(mut self, len: usize) -> Shape {
        let headers = self.bytes().len() - self.payload.len();
        self.payload = vec![0x5a; len - headers];
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let FlowKey {
            src,
            dst,
            src_port,
            dst_port,
            protocol,
        } = self.flow;
        let mut l4 = Vec::new();
        if protocol == tcp::PROTOCOL {
            l4.extend(src_port.to_be_bytes());
            l4.extend(dst_port.to_be_bytes());
            l4.extend([0, 0, 0, 1, 0, 0, 0, 2]);
            let words = (tcp::HEADER_LEN + self.options.len()) / 4;
            l4.extend([(words << 4) as u8, self.tcp_flags, 0xff, 0xff, 0, 0, 0, 0]);
            l4.extend(&self.options);
            l4.extend(&self.payload);
            tcp::fill_checksum(&mut l4, src, dst);
        } else {
            l4.resize(udp::HEADER_LEN, 0);
            udp::write_header(&mut l4, &self.flow, self.payload.len());
            l4.extend(&self.payload);
            udp::fill_checksum(&mut l4, src, dst);
        }
        let (ttl, tos, payload_len) = (self.ttl, self.tos, l4.len());
        let mut bytes = vec![0; header_len(src.family())];
        Header {
            src,
            dst,
            protocol,
            ttl,
            tos,
            payload_len,
        }
        .write(&mut bytes);
        bytes.extend(l4);
        bytes
    }

    /// The packet as a CLB node sends it: behind our GRE header.
    pub(super) fn tunnelled(&self) -> Vec<u8> {
        let protocol = match self.flow.family() {
            Family::V4 => gre::PROTOCOL_IPV4,
            Family::V6 => gre::PROTOCOL_IPV6,
        };
        let mut bytes = vec![0; gre::HEADER_LEN];
        gre::write(&mut bytes, protocol, GreKey::new(0, false, 7));
        bytes.extend(self.bytes());
        bytes
    }
}

/// What became of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// It was sent.
    Sent(Meta, Vec<u8>),
    /// It was dropped.
    Dropped(DropReason),
}

impl Outcome {
    /// The packet sent.
    pub(super) fn sent(self) -> (Meta, Vec<u8>) {
        match self {
            Outcome::Sent(meta, bytes) => (meta, bytes),
            Outcome::Dropped(reason) => panic!("dropped: {reason:?}"),
        }
    }
}

/// One POP under a ledger.
pub(super) struct World {
    pub(super) pop: Pop,
    pub(super) table: Arc<RouteTable>,
    pub(super) ledger: Ledger,
    pub(super) out: Outbox,
    pub(super) now: Instant,
}

impl World {
    pub(super) fn at(pop: &str, setup: &Setup) -> World {
        let mut world = World {
            pop: Pop::new(pop, Seed(7)),
            table: setup.table(),
            ledger: Ledger::default(),
            out: Outbox::new(Pool::new(64)),
            now: Instant::ZERO,
        };
        world.apply(Arc::clone(&world.table));
        world
    }

    pub(super) fn tokyo() -> World {
        World::at("pop.tokyo", &SETUP)
    }

    pub(super) fn apply(&mut self, table: Arc<RouteTable>) {
        self.table = Arc::clone(&table);
        self.ledger
            .apply(&mut self.pop, Instant::ZERO, table, &mut self.out);
    }

    pub(super) fn node(&self, name: &str) -> NodeId {
        self.table.node_named(name).expect("a node of the table")
    }

    pub(super) fn tunnel(&self, path: &str) -> PortId {
        let (id, _) = self
            .table
            .paths()
            .find(|(_, plan)| plan.name == path)
            .expect("a path of the table");
        PortId::tunnel(id)
    }

    /// Notes that a path is up or down; gives the events.
    pub(super) fn path_state(&mut self, path: &str, up: bool) -> Vec<Event> {
        let path = self.tunnel(path).path().expect("the port of a path");
        self.out.events_mut().clear();
        let event = LocalEvent::PathState { path, up };
        self.ledger
            .event(&mut self.pop, Instant::ZERO, event, &mut self.out);
        self.out.events_mut().drain(..).collect()
    }

    /// Hands over one packet and drains the outbox.
    pub(super) fn arrives(&mut self, bytes: &[u8], meta: Meta) -> Outcome {
        let before = self.ledger.dropped.clone();
        let packet = self
            .out
            .pool_mut()
            .lend_copy(bytes, meta)
            .expect("the pool is larger than a batch");
        self.ledger
            .packets(&mut self.pop, self.now, &mut vec![packet], &mut self.out);
        assert!(
            self.out.local_mut().is_empty(),
            "a POP has nothing for its host"
        );
        let sent = self.out.sent_mut().pop();
        let outcome = sent.map(|packet| {
            let outcome = Outcome::Sent(packet.meta, packet.bytes().to_vec());
            self.out.pool_mut().take_back(packet);
            outcome
        });
        assert_eq!(self.out.pool().loaned(), 0, "the slot is back");
        let reasons = DropReason::ALL.iter().copied();
        let dropped = |reason: &DropReason| self.ledger.dropped.of(*reason) > before.of(*reason);
        outcome
            .or_else(|| reasons.clone().find(dropped).map(Outcome::Dropped))
            .expect("one end for each packet")
    }

    /// A client's packet comes from the Internet.
    pub(super) fn client_sends(&mut self, bytes: &[u8]) -> Outcome {
        self.arrives(bytes, Meta::plain(PortId::PUBLIC))
    }

    /// A client's packet is dropped, with word to the client or without: the reason and the error.
    pub(super) fn refuses(&mut self, bytes: &[u8]) -> (DropReason, Option<Vec<u8>>) {
        let before = self.ledger.dropped.clone();
        let error = match self.client_sends(bytes) {
            Outcome::Sent(meta, error) => {
                assert_eq!(meta, Meta::plain(PortId::PUBLIC));
                Some(error)
            }
            Outcome::Dropped(_) => None,
        };
        let dropped = |reason: &&DropReason| self.ledger.dropped.of(**reason) > before.of(**reason);
        let reason = DropReason::ALL.iter().find(dropped);
        (*reason.expect("the packet itself is dropped"), error)
    }

    /// A packet comes by the tunnel from `peer` with an outer TOS.
    pub(super) fn node_sends(&mut self, peer: NodeId, tos: u8, bytes: &[u8]) -> Outcome {
        let port = self.tunnel("tokyo-guangzhou");
        self.arrives(
            bytes,
            Meta {
                peer,
                tos,
                ..Meta::plain(port)
            },
        )
    }

    /// A packet comes from the region's first CLB node.
    pub(super) fn clb_node_sends(&mut self, tos: u8, bytes: &[u8]) -> Outcome {
        let peer = self.node("region.guangzhou.clb-1");
        self.node_sends(peer, tos, bytes)
    }
}
