//! A POP's trace: clients' packets from the Internet, answers from the CLB nodes, and what belongs nowhere.

use anyedge_net::flow::{Address, Family, FlowKey};
use anyedge_net::wire::tcp;

use super::conversation::{Conversations, Side};
use super::packets::{packet, tunnelled};
use super::writer::Writer;

/// The family of the tunnel between Tokyo and the region.
const UNDERLAY: Family = Family::V4;

pub(super) fn step() -> impl FnMut(&mut Writer<'_>) {
    let mut talks = Conversations::default();
    move |writer| {
        let (flow, side, flags) = talks.next(writer);
        match (side, writer.below(12)) {
            (Side::Client, 0) => {
                let bytes = writer.spoilt(&flow);
                writer.bare(bytes);
            }
            (Side::Client, unusual) => {
                let mut bytes = packet(&flow, &writer.look(flags));
                if unusual == 1 {
                    bytes.extend_from_slice(&[0; 6]); // padding of the link
                }
                writer.bare(bytes);
            }
            (Side::Target, 0) => odd_answer(writer, &flow),
            (Side::Target, _) => {
                let bytes = packet(&flow.reversed(), &writer.look(flags));
                let key = writer.key(&flow);
                let node = writer.clb_node();
                answer(writer, node, tunnelled(&bytes, key));
            }
        }
    }
}

fn answer(writer: &mut Writer<'_>, node: &str, bytes: Vec<u8>) {
    let from = writer.network.underlay(node, UNDERLAY);
    let tos = writer.tos();
    writer.tunnel(from, tos, bytes);
}

/// An answer that may not pass: from whom, from which address, or of what shape.
fn odd_answer(writer: &mut Writer<'_>, flow: &FlowKey) {
    let key = writer.key(flow);
    let back = flow.reversed();
    let look = writer.look(tcp::ACK);
    let sound = tunnelled(&packet(&back, &look), key);
    match writer.below(4) {
        0 => answer(writer, "pop.frankfurt", sound),
        1 => {
            let from = writer.stranger(UNDERLAY);
            writer.tunnel(from, 0, sound);
        }
        2 => {
            let src = match flow.family() {
                Family::V4 => Address::v4([10, 0, 0, 11]),
                Family::V6 => Address::v6([0xfd; 16]),
            };
            let bytes = tunnelled(&packet(&FlowKey { src, ..back }, &look), key);
            let node = writer.clb_node();
            answer(writer, node, bytes);
        }
        _ => {
            let bytes = writer.spoilt_tunnelled(flow);
            let node = writer.clb_node();
            answer(writer, node, bytes);
        }
    }
}
