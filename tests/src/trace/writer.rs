//! The pen of a trace: time that moves on, dice, and packets that are not what they should be.
//!
//! Time goes by milliseconds, now and then by minutes, so that flows fall silent; no two entries share an instant.

use std::net::IpAddr;
use std::time::Duration;

use anyedge_net::flow::{Address, Family, FlowKey};
use anyedge_net::rng::Rng;
use anyedge_net::slot;
use anyedge_net::time::Instant;
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::{tcp, udp};
use anyedge_sim::replay::Arrival;

use super::network::{CLIENTS, Network};
use super::packets::{Look, ip_packet, packet};
use super::{Entry, Input};

/// DSCP and ECN of packets: none, all four codepoints, expedited forwarding.
const TOS: [u8; 6] = [0, 0x01, 0x02, 0x03, 0xb8, 0xb9];
/// What a wire of 1,500 bytes carries behind outer IPv6 and UDP.
const TUNNELLED_BYTES_MAX: usize = 1_452;
/// How long it takes until no flow is left.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

pub(super) struct Writer<'a> {
    pub(super) network: &'a Network,
    /// Which table is in force.
    pub(super) table: usize,
    rng: Rng,
    now: Instant,
    entries: Vec<Entry>,
    packets: usize,
}

impl Writer<'_> {
    pub(super) fn new(network: &Network, rng: Rng) -> Writer<'_> {
        Writer {
            network,
            table: 0,
            rng,
            now: Instant::ZERO,
            entries: Vec::new(),
            packets: 0,
        }
    }

    pub(super) const fn packets(&self) -> usize {
        self.packets
    }

    /// The trace, with a silence at its end in which every deadline comes.
    pub(super) fn finish(mut self) -> Vec<Entry> {
        self.now += FORGOTTEN;
        self.push(Input::Silence);
        self.entries
    }

    pub(super) fn apply(&mut self, table: usize) {
        self.table = table;
        self.push(Input::Apply(table));
    }

    pub(super) fn bare(&mut self, bytes: Vec<u8>) {
        self.packets += 1;
        self.push(Input::Packet(Arrival::Bare(bytes)));
    }

    pub(super) fn tunnel(&mut self, from: IpAddr, tos: u8, bytes: Vec<u8>) {
        self.packets += 1;
        self.push(Input::Packet(Arrival::Tunnel { from, tos, bytes }));
    }

    fn push(&mut self, input: Input) {
        let pause = match self.below(2_000) {
            0 => Duration::from_secs(1_000),
            1..=5 => Duration::from_secs(5 + self.below(150)),
            _ => Duration::from_nanos(1 + self.below(10_000_000)),
        };
        self.now += pause;
        self.entries.push(Entry {
            at: self.now,
            input,
        });
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    pub(super) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    pub(super) fn tos(&mut self) -> u8 {
        self.one_of(&TOS)
    }

    /// A packet's headers as they usually are.
    pub(super) fn look(&mut self, flags: u8) -> Look {
        let is_syn = flags & tcp::SYN != 0;
        let mss = is_syn.then(|| self.one_of(&[536, 1_220, 1_380, 1_460, 8_960]));
        Look {
            tos: self.tos(),
            ttl: 2 + self.below(200) as u8,
            flags,
            sequence: self.rng.bits() as u32,
            mss: mss.filter(|mss| *mss != 536),
            payload_len: if is_syn {
                0
            } else {
                self.below(1_300) as usize
            },
        }
    }

    pub(super) fn family(&mut self) -> Family {
        self.one_of(&[Family::V4, Family::V6])
    }

    /// A new flow of some client to the VIP; mostly to a port that is served.
    pub(super) fn flow(&mut self) -> FlowKey {
        let family = self.family();
        let number = self.below(u64::from(CLIENTS)) as u32;
        let (protocol, dst_port) = match self.below(20) {
            0 => (tcp::PROTOCOL, 81),
            1..=6 => (udp::PROTOCOL, 7_000),
            _ => (tcp::PROTOCOL, 80),
        };
        FlowKey {
            src: self.network.client(family, number),
            dst: self.network.vip(family),
            src_port: 1_024 + self.below(60_000) as u16,
            dst_port,
            protocol,
        }
    }

    /// The key that POPs give a client's packet.
    pub(super) fn key(&self, flow: &FlowKey) -> GreKey {
        let hash = flow.hash(&self.network.tables[self.table].hash_key);
        GreKey::new(0, false, slot::of_hash(hash))
    }

    /// The CLB nodes that are there now.
    pub(super) fn clb_node(&mut self) -> &'static str {
        let names = ["region.guangzhou.clb-1", "region.guangzhou.clb-2"];
        let count = if self.table == 0 { 1 } else { 2 };
        self.one_of(&names[..count])
    }

    /// An address that is no node's.
    pub(super) fn stranger(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => IpAddr::from([192, 0, 2, 66]),
            Family::V6 => IpAddr::from([0x2001, 0xdb8, 0x66, 0, 0, 0, 0, 0x66]),
        }
    }

    /// A packet of `flow` with something wrong with it, or bytes that are no packet.
    pub(super) fn spoilt(&mut self, flow: &FlowKey) -> Vec<u8> {
        let mut look = self.look(tcp::ACK);
        let sound = packet(flow, &look);
        match self.below(8) {
            0 => self.noise(),
            1 => sound[..1 + self.below(sound.len() as u64 - 1) as usize].to_vec(),
            2 => {
                let mut bytes = sound;
                let at = self.below(40) as usize;
                bytes[at] ^= 1 << self.below(8);
                bytes
            }
            3 => {
                look.ttl = self.below(2) as u8;
                packet(flow, &look)
            }
            4 => {
                look.payload_len = 1_424 + self.below(16) as usize;
                packet(flow, &look)
            }
            5 => {
                let protocol = self.one_of(&[1, 58, 50, 132]);
                ip_packet(&FlowKey { protocol, ..*flow }, &look, &[8; 24])
            }
            6 => self.fragment(sound),
            _ => {
                let nobody = FlowKey {
                    dst: match flow.family() {
                        Family::V4 => Address::v4([198, 51, 100, 1]),
                        Family::V6 => Address::v6([0x20; 16]),
                    },
                    ..*flow
                };
                packet(&nobody, &look)
            }
        }
    }

    pub(super) fn noise(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 1 + self.below(200) as usize];
        self.rng.fill(&mut bytes);
        bytes
    }

    /// Of IPv4 the first fragment, of IPv6 the packet unchanged: its fragments have another header.
    fn fragment(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        if bytes[0] >> 4 == 4 {
            bytes[6..8].copy_from_slice(&0x2000_u16.to_be_bytes());
            bytes[10..12].fill(0);
            let sum = anyedge_net::checksum::internet(&bytes[..20]);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }

    /// What comes by a tunnel with something wrong with it: the tunnel's header or the packet inside.
    pub(super) fn spoilt_tunnelled(&mut self, flow: &FlowKey) -> Vec<u8> {
        let inner = match self.below(3) {
            0 => return self.noise(),
            1 => self.spoilt(flow),
            _ => {
                let look = self.look(tcp::ACK);
                packet(flow, &look)
            }
        };
        let clb = self.one_of(&[0, 0, 1, 0x7fff]);
        let key = GreKey::new(clb, self.below(2) == 1, self.below(65_521) as u16);
        let mut bytes = super::packets::tunnelled(&inner, key);
        if self.below(3) == 0 {
            let at = self.below(8) as usize;
            bytes[at] ^= 1 << self.below(8);
        }
        bytes.truncate(TUNNELLED_BYTES_MAX);
        bytes
    }
}
