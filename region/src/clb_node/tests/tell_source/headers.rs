//! PROXY headers in front of the client's data, and the numbers that they shift.

use super::*;

fn by_header(table: RouteTable, version: ProxyProtocol) -> RouteTable {
    let source = SourceTold {
        proxy: Some(version),
        ..SourceTold::default()
    };
    telling(table, source)
}

fn header_of(version: ProxyProtocol, flow: &FlowKey) -> Vec<u8> {
    let mut out = [0; proxy::LEN_MAX];
    let len = proxy::write(version, flow, &mut out);
    out[..len].to_vec()
}

fn sequence_of(packet: &[u8]) -> u32 {
    tcp::sequence(packet, &sound(packet))
}

/// A flow whose handshake completed but for the client's ACK, with its target and header.
fn half_open(
    version: ProxyProtocol,
    family: Family,
) -> (Stage<ClbNode>, FlowKey, Address, Vec<u8>) {
    let mut node = node_with(by_header(routes(), version));
    let flow = client_flow(family, tcp::PROTOCOL, WEB, 1);
    let target = node.open(flow);
    let syn_ack = target_says(flow, target, tcp::SYN | tcp::ACK, (4_000, 1_001), &[]);
    let answer = only_left(&node.target_sends(target, &flow, &syn_ack));
    assert_eq!(tcp::acknowledged(&answer, &sound(&answer)), 1_001);
    let header = header_of(version, &flow);
    (node, flow, target, header)
}

impl Stage<ClbNode> {
    /// What leaves for the target of the client's segment.
    fn hears(&mut self, flow: FlowKey, flags: u8, sequence: u32, payload: &[u8]) -> Vec<Vec<u8>> {
        let packet = client_says(flow, flags, sequence, &TIMESTAMPS, payload);
        left(&self.client_sends(&flow, &packet))
    }

    /// What the client hears that the target acknowledged.
    fn acknowledges(&mut self, flow: FlowKey, target: Address, number: u32) -> u32 {
        let packet = target_says(flow, target, tcp::ACK, (4_001, number), &[]);
        let answer = only_left(&self.target_sends(target, &flow, &packet));
        tcp::acknowledged(&answer, &sound(&answer))
    }
}

#[test]
fn the_ack_of_the_handshake_brings_the_header_so_that_a_target_may_speak_first() {
    for family in [Family::V4, Family::V6] {
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            let (mut node, flow, target, header) = half_open(version, family);
            let heard = node.hears(flow, tcp::ACK, 1_001, b"");
            assert_eq!(heard.len(), 1);
            assert_eq!(payload_of(&heard[0]), header, "P-SA03");
            assert_eq!(sequence_of(&heard[0]), 1_001);
            let len = header.len() as u32;
            assert_eq!(node.acknowledges(flow, target, 1_001 + len), 1_001);
            let heard = node.hears(flow, tcp::ACK, 1_001, b"hello");
            assert_eq!(heard.len(), 1, "the target has the header");
            assert_eq!(payload_of(&heard[0]), b"hello");
            assert_eq!(sequence_of(&heard[0]), 1_001 + len);
            assert_eq!(node.acknowledges(flow, target, 1_006 + len), 1_006);
        }
    }
}

#[test]
fn a_header_goes_before_first_data_with_the_options_of_its_segment() {
    let (mut node, flow, target, header) = half_open(ProxyProtocol::V2, Family::V4);
    let len = header.len() as u32;
    let flags = tcp::ACK | tcp::FIN;
    let heard = node.hears(flow, flags, 1_001, b"hello");
    assert_eq!(heard.len(), 2);
    assert_eq!(payload_of(&heard[0]), header);
    assert_eq!(sound(&heard[0]).tcp_flags, tcp::ACK | tcp::PSH);
    assert_eq!(sound(&heard[0]).flow, sound(&heard[1]).flow);
    assert_eq!(heard[0][40..52], TIMESTAMPS);
    assert_eq!(
        (sequence_of(&heard[0]), sequence_of(&heard[1])),
        (1_001, 1_001 + len)
    );
    assert_eq!(
        (payload_of(&heard[1]), sound(&heard[1]).tcp_flags),
        (&b"hello"[..], flags)
    );
    assert_eq!(node.acknowledges(flow, target, 1_007 + len), 1_007);
}

#[test]
fn a_header_that_was_lost_comes_again_with_the_data_that_the_client_sends_again() {
    let (mut node, flow, target, header) = half_open(ProxyProtocol::V1, Family::V4);
    let len = header.len() as u32;
    assert_eq!(node.hears(flow, tcp::ACK, 1_001, b"hello").len(), 2);
    assert_eq!(node.hears(flow, tcp::ACK, 1_006, b"world").len(), 1);
    // Nothing of it came: the target still waits for the first byte behind the SYN.
    assert_eq!(node.acknowledges(flow, target, 1_001), 1_001);
    let again = node.hears(flow, tcp::ACK, 1_001, b"hello");
    assert_eq!(payload_of(&again[0]), header);
    assert_eq!(sequence_of(&again[1]), 1_001 + len);
    assert_eq!(node.acknowledges(flow, target, 1_011 + len), 1_011);
}

#[test]
fn sack_says_to_the_client_what_the_target_has_of_its_own_bytes() {
    let (mut node, flow, target, header) = half_open(ProxyProtocol::V2, Family::V4);
    let len = header.len() as u32;
    node.hears(flow, tcp::ACK, 1_001, b"hello");
    let sack = |left: u32, right: u32| {
        let mut option = vec![1, 1, 5, 10];
        option.extend(left.to_be_bytes());
        option.extend(right.to_be_bytes());
        option
    };
    let mut heard = |acknowledged, left, right| {
        let options = sack(left, right);
        let packet = target_says(flow, target, tcp::ACK, (4_001, acknowledged), &options);
        only_left(&node.target_sends(target, &flow, &packet))[40..52].to_vec()
    };
    assert_eq!(
        heard(1_001 + len, 1_101 + len, 1_201 + len),
        sack(1_101, 1_201)
    );
    // The header alone is missing: the client is told that its first byte is, which makes it send that again.
    assert_eq!(heard(1_001, 1_001 + len, 1_201 + len), sack(1_002, 1_201));
}

#[test]
fn resets_have_the_number_that_their_receiver_expects() {
    let (mut node, flow, _, _) = half_open(ProxyProtocol::V2, Family::V4);
    let heard = node.hears(flow, tcp::RST, 1_001, b"");
    assert_eq!(sequence_of(&heard[0]), 1_001, "no header was sent");

    let (mut node, flow, _, header) = half_open(ProxyProtocol::V2, Family::V4);
    let len = header.len() as u32;
    node.hears(flow, tcp::ACK, 1_001, b"hello");
    let heard = node.hears(flow, tcp::RST, 1_006, b"");
    assert_eq!(sequence_of(&heard[0]), 1_006 + len);

    let (mut node, flow, target, _) = half_open(ProxyProtocol::V2, Family::V4);
    node.hears(flow, tcp::ACK, 1_001, b"hello");
    assert_eq!(node.acknowledges(flow, target, 1_006 + len), 1_006);
    let mut unbound = by_header(routes(), ProxyProtocol::V2);
    let web = Arc::make_mut(&mut unbound.clbs[0].listeners[0]);
    web.targets.retain(|it| it.address != target);
    let outcome = node.apply(unbound);
    let resets: Vec<(Address, u32)> = left(&outcome)
        .iter()
        .map(|packet| (sound(packet).flow.dst, sequence_of(packet)))
        .collect();
    assert_eq!(resets, [(flow.src, 4_001), (target, 1_006 + len)]);
}

#[test]
fn data_of_a_syn_waits_for_the_header() {
    let mut node = node_with(by_header(routes(), ProxyProtocol::V1));
    let flow = web_flow(1);
    let syn = client_says(flow, tcp::SYN, 1_000, &LINUX_SYN, b"early");
    let heard = only_left(&node.client_sends(&flow, &syn));
    assert_eq!(payload_of(&heard), b"");
}

#[test]
fn another_node_goes_on_with_the_shift_when_the_flows_own_dies() {
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        let table = by_header(routes_of_three(1, &[0, 1, 2]), version);
        let mut nodes = [0, 1].map(|place| {
            let limits = Limits::of(64);
            Stage::new(
                ClbNode::new(CLB_NODE_NAMES[place], limits, Seed(7)),
                table.clone(),
            )
        });
        let owners = anyedge_net::slot::Owners {
            primary: CLB_NODES[0],
            secondary: CLB_NODES[1],
        };
        let slots = Arc::clone(&table.regions[0].slots);
        let flow = (0..)
            .map(web_flow)
            .find(|flow| slots.owners(key_of(flow).slot()) == owners)
            .expect("a node owns a third of the slots");
        let outcome = nodes[0].client_sends(&flow, &segment(flow, tcp::SYN));
        let mut target = None;
        for (meta, bytes) in outcome.sent {
            if meta.port != PortId::tunnel(MESH) {
                target = Some(sound(untunnelled(&bytes).1).flow.dst);
                continue;
            }
            let meta = Meta {
                peer: CLB_NODES[0],
                ..meta
            };
            nodes[1].batch(&[(meta, bytes)]);
        }
        let target = target.expect("the SYN left for its target");
        let len = header_of(version, &flow).len() as u32;
        let heard = nodes[1].hears(flow, tcp::ACK, 1_006, b"world");
        assert_eq!(sequence_of(heard.last().expect("it left")), 1_006 + len);
        assert_eq!(nodes[1].acknowledges(flow, target, 1_011 + len), 1_011);
    }
}
