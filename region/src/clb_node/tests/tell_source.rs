//! Targets told who their clients are: TOA options and PROXY headers, on the packets that leave for them.
//!
//! The client's ISN is 1,000, the target's 4,000.

use std::net::SocketAddr;
use std::sync::Arc;

use anyedge_net::route_table::SourceTold;
use anyedge_net::wire::proxy::{self, ProxyProtocol};
use anyedge_net::wire::toa::{self, Toa};

use super::*;

mod headers;

/// MSS, SACK permitted, timestamps, window scale: what Linux puts in a SYN.
const LINUX_SYN: [u8; 20] = [
    2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7,
];
/// Timestamps, as in every other segment of Linux.
const TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];

/// The routes with listener `web` of the main load balancer telling clients so.
fn telling(table: RouteTable, source: SourceTold) -> RouteTable {
    let mut table = table;
    let web = &mut table.clbs[0].listeners[0];
    Arc::make_mut(web).source = source;
    table
}

fn by_toa(kind: Toa) -> RouteTable {
    let source = SourceTold {
        toa: Some(kind),
        ..SourceTold::default()
    };
    telling(routes(), source)
}

/// A segment with these numbers and options, whole words of them.
struct Said<'a> {
    flow: FlowKey,
    flags: u8,
    numbers: (u32, u32),
    options: &'a [u8],
    payload: &'a [u8],
}

impl Said<'_> {
    fn packet(&self) -> Vec<u8> {
        let (sequence, acknowledgement) = self.numbers;
        let bare = Segment {
            sequence,
            acknowledgement,
            ..Segment::new(self.flow, self.flags)
        }
        .packet();
        let parsed = sound(&bare);
        let mut l4 = parsed.l4(&bare).to_vec();
        l4[12] += ((self.options.len() / 4) << 4) as u8;
        l4.extend_from_slice(self.options);
        l4.extend_from_slice(self.payload);
        tcp::fill_checksum(&mut l4, self.flow.src, self.flow.dst);
        ip_packet(&self.flow, 64, &l4)
    }
}

fn client_says<'a>(
    flow: FlowKey,
    flags: u8,
    sequence: u32,
    options: &'a [u8],
    payload: &'a [u8],
) -> Vec<u8> {
    let numbers = (sequence, 4_001);
    Said {
        flow,
        flags,
        numbers,
        options,
        payload,
    }
    .packet()
}

fn target_says(
    flow: FlowKey,
    target: Address,
    flags: u8,
    numbers: (u32, u32),
    options: &[u8],
) -> Vec<u8> {
    let flow = answer_flow(&flow, target, 8_080);
    Said {
        flow,
        flags,
        numbers,
        options,
        payload: &[],
    }
    .packet()
}

/// The inner packets of what left, all checksums right.
fn left(outcome: &Outcome) -> Vec<Vec<u8>> {
    assert_eq!(outcome.drops, [], "dropped");
    let inner = |(_, bytes): &(Meta, Vec<u8>)| untunnelled(bytes).1.to_vec();
    let sent = outcome.sent.iter();
    let sent = sent.filter(|(meta, _)| meta.port != PortId::tunnel(MESH));
    let left: Vec<Vec<u8>> = sent.map(inner).collect();
    left.iter().for_each(|packet| {
        sound(packet);
    });
    left
}

fn only_left(outcome: &Outcome) -> Vec<u8> {
    let [packet] = &left(outcome)[..] else {
        panic!("{} packets left", outcome.sent.len());
    };
    packet.clone()
}

/// The client that a packet's option tells of.
fn told(outcome: &Outcome) -> Option<SocketAddr> {
    let packet = only_left(outcome);
    toa::read(&packet, &sound(&packet))
}

fn payload_of(packet: &[u8]) -> &[u8] {
    let parsed = sound(packet);
    &packet[packet.len() - tcp::payload_len(packet, &parsed)..]
}

fn client_of(flow: &FlowKey) -> SocketAddr {
    SocketAddr::new(flow.src.into(), flow.src_port)
}

#[test]
fn the_syn_and_what_begins_the_clients_stream_tell_its_address() {
    for family in [Family::V4, Family::V6] {
        for kind in [Toa::Kind254, Toa::Kind200] {
            let mut node = node_with(by_toa(kind));
            let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
            let client = Some(client_of(&flow));
            let mut say = |flags, sequence, payload| {
                let packet = client_says(flow, flags, sequence, &TIMESTAMPS, payload);
                told(&node.client_sends(&flow, &packet))
            };
            assert_eq!(say(tcp::SYN, 1_000, b""), client, "P-SA01");
            assert_eq!(say(tcp::ACK, 1_001, b""), client, "the handshake's ACK");
            assert_eq!(say(tcp::ACK, 1_001, b"hello"), client, "the first data");
            assert_eq!(say(tcp::ACK, 1_006, b"world"), None);
            assert_eq!(say(tcp::ACK, 1_001, b"hello"), client, "sent again");
            assert_eq!(say(tcp::RST, 1_001, b""), None);
        }
    }
}

#[test]
fn the_kind_is_the_one_that_the_listener_has() {
    for (kind, number) in [(Toa::Kind254, 254), (Toa::Kind200, 200)] {
        let mut node = node_with(by_toa(kind));
        let flow = web_flow(1);
        let syn = only_left(&node.client_sends(&flow, &segment(flow, tcp::SYN)));
        let option: [u8; 4] = [number, 8, 0x9c, 0x40];
        assert_eq!(syn[40..44], option);
        assert_eq!(&syn[44..48], flow.src.octets());
        let flow = client_flow(Family::V6, tcp::PROTOCOL, WEB, 1);
        let syn = only_left(&node.client_sends(&flow, &segment(flow, tcp::SYN)));
        assert_eq!(syn[60..64], [253, 20, 0x9c, 0x40]);
    }
}

#[test]
fn a_syn_of_linux_has_room_for_either_option_and_one_with_more_goes_as_it_is_and_is_counted() {
    for family in [Family::V4, Family::V6] {
        let mut node = node_with(by_toa(Toa::Kind254));
        let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
        let syn = client_says(flow, tcp::SYN, 1_000, &LINUX_SYN, b"");
        let outcome = node.client_sends(&flow, &syn);
        assert_eq!(told(&outcome), Some(client_of(&flow)));
        let untold = |flow| Event::SourceUntold { flow };
        assert!(!outcome.events.contains(&untold(flow)));

        let flow = client_flow(family, tcp::PROTOCOL, WEB, 2);
        let words = if family == Family::V4 { 9 } else { 6 };
        let syn = client_says(flow, tcp::SYN, 1_000, &vec![1; words * 4], b"");
        let outcome = node.client_sends(&flow, &syn);
        assert_eq!(told(&outcome), None, "P-SA01");
        assert_eq!(only_left(&outcome).len(), syn.len());
        assert!(outcome.events.contains(&untold(flow)));
    }
}

#[test]
fn the_first_data_of_the_announced_size_fits_with_its_option() {
    for family in [Family::V4, Family::V6] {
        let mut node = node_with(by_toa(Toa::Kind254));
        let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
        let target = node.open(flow);
        let mss = [2, 4, 0x05, 0xb4];
        let numbers = (4_000, 1_001);
        let syn_ack = target_says(flow, target, tcp::SYN | tcp::ACK, numbers, &mss);
        let answer = only_left(&node.target_sends(target, &flow, &syn_ack));
        let announced = tcp::mss(&answer, &sound(&answer)).expect("it has the option");
        let headers = if family == Family::V4 { 40 } else { 60 };
        let option = toa::option_len(family);
        assert_eq!(usize::from(announced), 1_400 - headers - option);
        // A sender counts its own options into what it was told (RFC 6691).
        let data = vec![7; usize::from(announced) - TIMESTAMPS.len()];
        let first = client_says(flow, tcp::ACK, 1_001, &TIMESTAMPS, &data);
        let outcome = node.client_sends(&flow, &first);
        assert_eq!(told(&outcome), Some(client_of(&flow)));
        assert_eq!(only_left(&outcome).len(), 1_400);
    }
}

#[test]
fn what_would_be_too_long_with_the_option_goes_without() {
    let mut node = node_with(by_toa(Toa::Kind254));
    let flow = web_flow(1);
    node.open(flow);
    let data = vec![7; usize::from(INNER_MTU) - 40];
    let outcome = node.client_sends(&flow, &client_says(flow, tcp::ACK, 1_001, &[], &data));
    assert_eq!(told(&outcome), None);
    assert!(outcome.events.contains(&Event::SourceUntold { flow }));
}

#[test]
fn other_listeners_tell_nothing() {
    let mut node = node_with(by_toa(Toa::Kind254));
    let flow = client_flow(Family::V4, tcp::PROTOCOL, WEB + 1, 1);
    let syn = segment(flow, tcp::SYN);
    assert_eq!(told(&node.client_sends(&flow, &syn)), None);
    let mut node = super::node();
    let flow = web_flow(1);
    let syn = segment(flow, tcp::SYN);
    assert_eq!(told(&node.client_sends(&flow, &syn)), None);
}
