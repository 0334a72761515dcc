//! Messages between nodes: who may send them, what of them is taken, and the bounds.

use super::*;
use crate::clb_node::REFRESH_EVERY;

const A: usize = 0;
const B: usize = 1;

/// The messages that A sends for these packets of clients.
fn messages(table: &RouteTable, flows: &[FlowKey]) -> Vec<Vec<u8>> {
    let mut node = stage(A, table.clone());
    let sent = flows
        .iter()
        .flat_map(|flow| node.client_sends(flow, &segment(*flow, tcp::SYN)).sent);
    sent.filter(|(meta, _)| meta.port == PortId::tunnel(MESH))
        .map(|(_, bytes)| bytes)
        .collect()
}

fn from(peer: NodeId, path: PathId) -> Meta {
    Meta {
        peer,
        ..Meta::plain(PortId::tunnel(path))
    }
}

#[test]
fn only_clb_nodes_of_the_region_may_send_entries_and_hops() {
    let table = routes_of_three(1, &[A, B]);
    let flow = flow_owned_by(&table, [A, B], 0);
    let message = messages(&table, &[flow]).remove(0);
    let mut node = stage(B, table);
    let hop = tunnelled(&segment(flow, tcp::ACK), key_of(&flow).with_hop(true));
    for (peer, path) in [
        (TOKYO, FROM_TOKYO),
        (WEB_1, TO_WEB_1),
        (OTHER_CLB_NODE, MESH),
        (OTHER_HOST, MESH),
        (NodeId::UNKNOWN, MESH),
        (CLB_NODES[B], MESH),
    ] {
        let outcome = node.batch(&[(from(peer, path), message.clone())]);
        assert_eq!(outcome.only_drop(), DropReason::UnknownPeer, "{peer:?}");
    }
    for peer in [OTHER_CLB_NODE, NodeId::UNKNOWN, CLB_NODES[B]] {
        let outcome = node.batch(&[(from(peer, MESH), hop.clone())]);
        assert_eq!(outcome.only_drop(), DropReason::UnknownPeer, "{peer:?}");
    }
    let plain = tunnelled(&segment(flow, tcp::ACK), key_of(&flow));
    let outcome = node.batch(&[(from(CLB_NODES[A], MESH), plain)]);
    assert_eq!(outcome.only_drop(), DropReason::UnknownPeer, "no hop bit");
    assert_eq!(node.forwarder.replicas(), 0);
    let outcome = node.batch(&[(from(CLB_NODES[A], MESH), message)]);
    assert_eq!(outcome.only_drop(), DropReason::Entries);
    assert_eq!(node.forwarder.replicas(), 1);
}

#[test]
fn what_the_routes_do_not_know_is_ignored_and_counted() {
    let table = routes_of_three(1, &[A, B]);
    let flow = flow_owned_by(&table, [A, B], 0);
    let message = messages(&table, &[flow]).remove(0);
    let mut no_vip = table.clone();
    no_vip.vips.remove(&flow.dst);
    let mut no_target = table.clone();
    for clb in &mut no_target.clbs {
        clb.listeners.clear();
    }
    for table in [no_vip, no_target] {
        let mut node = stage(B, table);
        node.batch(&[(from(CLB_NODES[A], MESH), message.clone())]);
        assert_eq!(node.forwarder.replicas(), 0);
        assert_eq!(node.forwarder.sync_counts().unknown, 1);
    }
    let mut node = stage(B, table);
    for len in 0..message.len() {
        let outcome = node.batch(&[(from(CLB_NODES[A], MESH), message[..len].to_vec())]);
        let reason = if len < gre::HEADER_LEN {
            DropReason::BadGre
        } else {
            DropReason::Entries
        };
        assert_eq!(outcome.only_drop(), reason);
    }
    let counts = node.forwarder.sync_counts();
    let refused = (message.len() - gre::HEADER_LEN) as u64;
    assert_eq!(counts.malformed + counts.corrupt, refused);
    assert_eq!(node.forwarder.replicas(), 0);
}

#[test]
fn a_message_with_a_flipped_bit_plants_nothing_and_is_counted() {
    let table = routes_of_three(1, &[A, B]);
    let flow = flow_owned_by(&table, [A, B], 0);
    let message = messages(&table, &[flow]).remove(0);
    let mut node = stage(B, table);
    let behind_version = gre::HEADER_LEN + 1;
    for at in behind_version..message.len() {
        let mut bytes = message.clone();
        bytes[at] ^= 0x04;
        let outcome = node.batch(&[(from(CLB_NODES[A], MESH), bytes)]);
        assert_eq!(outcome.only_drop(), DropReason::Entries, "byte {at}");
    }
    assert_eq!(node.forwarder.replicas(), 0);
    let corrupt = (message.len() - behind_version) as u64;
    assert_eq!(node.forwarder.sync_counts().corrupt, corrupt);
    assert_eq!(node.forwarder.sync_counts().malformed, 0);
}

#[test]
fn replicas_fill_half_of_the_table_and_no_more() {
    let table = routes_of_three(1, &[A, B]);
    let flows: Vec<FlowKey> = flows_owned_by(&table, [A, B]).take(32).collect();
    let own: Vec<FlowKey> = flows_owned_by(&table, [B, A]).take(48).collect();
    let more: Vec<FlowKey> = flows_owned_by(&table, [A, B]).skip(32).take(8).collect();
    let mut node = stage(B, table.clone());
    let take = |node: &mut Stage<ClbNode>, flows: &[FlowKey]| {
        for message in messages(&table, flows) {
            node.batch(&[(from(CLB_NODES[A], MESH), message)]);
        }
    };
    take(&mut node, &flows[..28]);
    take(&mut node, &flows[28..]);
    assert_eq!(node.forwarder.replicas(), 32);
    take(&mut node, &more);
    assert_eq!(node.forwarder.replicas(), 32);
    assert_eq!(node.forwarder.sync_counts().full, 8);
    // Own flows have the other half: none is displaced, none displaces.
    for flow in &own[..32] {
        node.establish_beside(*flow);
    }
    let outcome = node.client_sends(&own[32], &segment(own[32], tcp::SYN));
    assert_eq!(outcome.drops, [DropReason::TableFull]);
    assert_eq!(
        (node.forwarder.flows(), node.forwarder.replicas()),
        (32, 32)
    );
    take(&mut node, &flows);
    for flow in &own[..32] {
        assert_eq!(node.say(*flow, tcp::ACK).drops, []);
    }
}

#[test]
fn a_replica_yields_to_an_own_flow_at_the_same_target_and_never_the_other_way() {
    let mut table = routes_of_three(1, &[A, B]);
    for listener in &mut table.clbs[0].listeners {
        Arc::make_mut(listener).targets = targets([10, 0]);
    }
    let one = flow_owned_by(&table, [A, B], 0);
    let twin = FlowKey {
        dst_port: 81,
        ..one
    };
    let told = messages(&table, &[one]).remove(0);
    let mut node = stage(B, table.clone());
    node.batch(&[(from(CLB_NODES[A], MESH), told.clone())]);
    assert_eq!(node.forwarder.replicas(), 1);
    let outcome = node.client_sends(&twin, &segment(twin, tcp::SYN));
    assert_eq!(outcome.drops, []);
    assert_eq!((node.forwarder.flows(), node.forwarder.replicas()), (1, 0));
    node.batch(&[(from(CLB_NODES[A], MESH), told)]);
    assert_eq!((node.forwarder.flows(), node.forwarder.replicas()), (1, 0));
    assert_eq!(node.forwarder.sync_counts().refused, 1);
}

#[test]
fn a_fresh_connection_at_the_primary_ends_the_old_one_at_the_other_node() {
    let table = routes_of_three(1, &[A, B]);
    let flow = flow_owned_by(&table, [A, B], 0);
    let mut region = Region::new(&table);
    // B opened it while its sender could not reach A, and nothing of it arrived there.
    region.mesh = false;
    region.establish(B, flow);
    region.mesh = true;
    let fresh = Segment {
        sequence: 77,
        ..Segment::new(flow, tcp::SYN)
    };
    let journey = region.client(A, &flow, &fresh.packet());
    assert!(
        journey
            .events
            .contains(&(B, ended(flow, FlowEnd::Replaced)))
    );
    assert_eq!((region.own(), region.replicas()), ([1, 0, 0], [0, 1, 0]));
    region.check_sums();
}

#[test]
fn what_is_not_sent_is_counted_and_told_by_the_refresh() {
    let table = routes_of_three(1, &[A, B]);
    let flow = flow_owned_by(&table, [A, B], 0);
    let mut region = Region::new(&table);
    let mesh = |up| LocalEvent::PathState { path: MESH, up };
    region.nodes[A].event(mesh(false));
    region.establish(A, flow);
    assert_eq!(region.replicas(), [0; 3]);
    assert_eq!(region.nodes[A].forwarder.sync_counts().unsent, 2);
    region.nodes[A].event(mesh(true));
    region.pass(secs(300) + REFRESH_EVERY);
    assert_eq!(region.replicas(), [0, 1, 0]);
}

#[test]
fn two_nodes_that_claim_a_flow_of_the_same_target_agree() {
    let table = routes_of_three(1, &[A, B]);
    let flow = flow_owned_by(&table, [A, B], 0);
    let mut region = Region::new(&table);
    region.establish(A, flow);
    region.mesh = false;
    region.client_says(B, flow, tcp::ACK).only_left();
    assert_eq!(region.own(), [1, 1, 0]);
    region.mesh = true;
    region.pass(secs(320));
    assert_eq!(
        region.own().iter().sum::<usize>() + region.replicas().iter().sum::<usize>(),
        2
    );
    assert!(region.own().iter().sum::<usize>() <= 1);
    region.check_sums();
}

impl Stage<ClbNode> {
    /// A whole handshake, whatever else is sent beside it.
    fn establish_beside(&mut self, flow: FlowKey) {
        let outcome = self.client_sends(&flow, &segment(flow, tcp::SYN));
        let to_host = |(meta, _): &&(Meta, Vec<u8>)| meta.port != PortId::tunnel(MESH);
        let (_, bytes) = outcome.sent.iter().find(to_host).expect("it is forwarded");
        let target = sound(untunnelled(bytes).1).flow.dst;
        self.answer(flow, target, tcp::SYN | tcp::ACK);
        self.say(flow, tcp::ACK);
    }
}
