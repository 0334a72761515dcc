//! A CLB node's trace: clients' packets from two POPs, answers from hosts, and what belongs nowhere.
//!
//! The node chooses the target, which a trace cannot know: an answer comes from every target in turn, and all but
//! one belong to no flow.

use anyedge_net::flow::{Address, Family, FlowKey};
use anyedge_net::wire::tcp;

use super::conversation::{Conversations, Side};
use super::packets::{packet, tunnelled};
use super::writer::Writer;

/// Targets and the hosts that they are on, for each family.
const TARGETS: [(&str, &str, &str); 3] = [
    ("host.web-1", "10.0.0.11", "fd00:a::11"),
    ("host.web-2", "10.0.0.12", "fd00:a::12"),
    ("host.web-1", "10.0.0.13", "fd00:a::13"),
];

pub(super) fn step() -> impl FnMut(&mut Writer<'_>) {
    let mut talks = Conversations::default();
    move |writer| {
        let (flow, side, flags) = talks.next(writer);
        if writer.below(15) == 0 {
            return odd(writer, &flow);
        }
        match side {
            Side::Client => {
                let bytes = packet(&flow, &writer.look(flags));
                let key = writer.key(&flow);
                let pop = pop_of(writer, &flow);
                from(writer, pop, tunnelled(&bytes, key));
            }
            Side::Target => {
                let count = if writer.table == 0 { 2 } else { 3 };
                for target in TARGETS.iter().take(count) {
                    let bytes = packet(&answer(&flow, target), &writer.look(flags));
                    let key = writer.key(&flow);
                    from(writer, target.0, tunnelled(&bytes, key));
                }
            }
        }
    }
}

/// The POP that a flow enters by; now and then another.
fn pop_of(writer: &mut Writer<'_>, flow: &FlowKey) -> &'static str {
    let moves = writer.below(20) == 0;
    if (flow.family() == Family::V4) != moves {
        "pop.tokyo"
    } else {
        "pop.frankfurt"
    }
}

/// The packet comes by the tunnel from that node, over the family of their path.
fn from(writer: &mut Writer<'_>, node: &str, bytes: Vec<u8>) {
    let family = if node == "pop.tokyo" {
        Family::V4
    } else {
        Family::V6
    };
    let from = writer.network.underlay(node, family);
    let tos = writer.tos();
    writer.tunnel(from, tos, bytes);
}

/// What a target sends to the client of `flow`.
fn answer(flow: &FlowKey, (_, v4, v6): &(&str, &str, &str)) -> FlowKey {
    let text = match flow.family() {
        Family::V4 => v4,
        Family::V6 => v6,
    };
    let src: Address = text.parse().expect("an address");
    FlowKey {
        src,
        src_port: 8_080,
        ..flow.reversed()
    }
}

/// A packet that may not pass.
fn odd(writer: &mut Writer<'_>, flow: &FlowKey) {
    let fresh = writer.flow();
    let look = writer.look(tcp::ACK);
    match writer.below(5) {
        // Of no flow: the client gets a reset.
        0 | 1 => {
            let key = writer.key(&fresh);
            from(writer, "pop.tokyo", tunnelled(&packet(&fresh, &look), key));
        }
        2 => {
            let family = writer.family();
            let stranger = writer.stranger(family);
            let key = writer.key(flow);
            writer.tunnel(stranger, 0, tunnelled(&packet(flow, &look), key));
        }
        3 => {
            let bytes = writer.spoilt_tunnelled(&answer(flow, &TARGETS[0]));
            from(writer, "host.web-1", bytes);
        }
        _ => {
            let bytes = writer.spoilt_tunnelled(flow);
            from(writer, "pop.frankfurt", bytes);
        }
    }
}
