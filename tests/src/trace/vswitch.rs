//! A vSwitch's trace: clients' packets from the CLB nodes, the backend's answers, and what belongs nowhere.

use anyedge_net::flow::{Address, Family, FlowKey};
use anyedge_net::wire::gre::GreKey;
use anyedge_net::wire::tcp;

use super::conversation::{Conversations, Side};
use super::packets::{packet, tunnelled};
use super::writer::Writer;

/// The family of the tunnels inside the region.
const UNDERLAY: Family = Family::V6;

pub(super) fn step() -> impl FnMut(&mut Writer<'_>) {
    let mut talks = Conversations::default();
    move |writer| {
        let (flow, side, flags) = talks.next(writer);
        if writer.below(15) == 0 {
            return odd(writer, &flow);
        }
        let inside = translated(&flow);
        match side {
            Side::Client => {
                let bytes = packet(&inside, &writer.look(flags));
                // Now and then the same tuple comes for another VIP's slot.
                let key = match writer.below(25) {
                    0 => GreKey::new(0, false, writer.below(65_521) as u16),
                    1 => writer.key(&flow).with_hop(true),
                    _ => writer.key(&flow),
                };
                let node = writer.clb_node();
                from(writer, node, tunnelled(&bytes, key));
            }
            Side::Target => {
                let bytes = packet(&inside.reversed(), &writer.look(flags));
                writer.bare(bytes);
            }
        }
    }
}

/// The flow as a CLB node makes it: to a target on this host.
fn translated(flow: &FlowKey) -> FlowKey {
    let last = if flow.src_port.is_multiple_of(2) {
        0x11
    } else {
        0x13
    };
    let dst = match flow.family() {
        Family::V4 => Address::v4([10, 0, 0, if last == 0x11 { 11 } else { 13 }]),
        Family::V6 => Address::v6([0xfd, 0, 0, 0xa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]),
    };
    FlowKey {
        dst,
        dst_port: 8_080,
        ..*flow
    }
}

fn from(writer: &mut Writer<'_>, node: &str, bytes: Vec<u8>) {
    let from = writer.network.underlay(node, UNDERLAY);
    let tos = writer.tos();
    writer.tunnel(from, tos, bytes);
}

/// A packet that may not pass.
fn odd(writer: &mut Writer<'_>, flow: &FlowKey) {
    let inside = translated(flow);
    let look = writer.look(tcp::ACK);
    let key = writer.key(flow);
    match writer.below(5) {
        // Of no flow.
        0 => {
            let fresh = writer.flow();
            writer.bare(packet(&translated(&fresh).reversed(), &look));
        }
        1 => {
            let bytes = writer.spoilt(&inside.reversed());
            writer.bare(bytes);
        }
        2 => {
            let stranger = writer.stranger(UNDERLAY);
            writer.tunnel(stranger, 0, tunnelled(&packet(&inside, &look), key));
        }
        3 => from(
            writer,
            "host.web-2",
            tunnelled(&packet(&inside, &look), key),
        ),
        _ => {
            let bytes = writer.spoilt_tunnelled(&inside);
            let node = writer.clb_node();
            from(writer, node, bytes);
        }
    }
}
