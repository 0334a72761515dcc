//! A packet in the other family's clothes: it reads as what was promised, its checksum is as right as it was, and back in
//! its own family it carries the same. An error that was written anew quotes the flow that it was written for.

use anyedge_net::flow::{Family, FlowKey};
use anyedge_net::packet::{Packet, Pool};
use anyedge_net::wire::{self, Parsed, icmp, ip, nat64, udp};

use crate::input::Input;
use crate::sealing::{address, is_sound, must_read, seal};
use crate::wire::lend;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.byte();
    let (src, dst) = (input.take::<16>(), input.take::<16>());
    let (src_port, dst_port) = (input.u16(), input.u16());
    let mut packet = input.rest().to_vec();
    seal(&mut packet, choice);
    let Ok(parsed) = wire::parse(&packet) else {
        return;
    };
    packet.truncate(parsed.total_len);
    let family = match parsed.family {
        Family::V4 => Family::V6,
        Family::V6 => Family::V4,
    };
    let ends = FlowKey {
        src: address(family, src),
        dst: address(family, dst),
        src_port,
        dst_port,
        protocol: parsed.flow.protocol,
    };
    there_and_back(&packet, &parsed, &ends);
    error(&packet, &parsed, &ends);
}

fn there_and_back(packet: &[u8], parsed: &Parsed, ends: &FlowKey) {
    let mut pool = Pool::new(1);
    let mut lent = lend(&mut pool, packet);
    let len = nat64::len_in(&lent, parsed, ends.family());
    let Some(there) = nat64::translate(&mut lent, parsed, ends) else {
        assert_eq!(lent.bytes(), packet, "nothing changed");
        return pool.take_back(lent);
    };
    assert_eq!(lent.len(), len, "as long as was foretold");
    let mut flow = *ends;
    if parsed.is_later_fragment() {
        // It has no ports, whatever the flow's are.
        (flow.src_port, flow.dst_port) = (0, 0);
    }
    let was_sound = is_sound(packet, parsed);
    let read = must_read(lent.bytes(), was_sound);
    assert_eq!((read.ttl, read.tos), (parsed.ttl, parsed.tos));
    assert_eq!(read, Parsed { flow, ..there });
    back(&mut lent, &read, packet, parsed);
    pool.take_back(lent);
}

/// The payload is the same; where a header has ports and a right checksum, all of it is.
fn back(lent: &mut Packet, there: &Parsed, packet: &[u8], parsed: &Parsed) {
    let was_sound = is_sound(lent.bytes(), there);
    let Some(_) = nat64::translate(lent, there, &parsed.flow) else {
        return;
    };
    let read = must_read(lent.bytes(), was_sound);
    assert_eq!(read.flow, parsed.flow);
    let (before, after) = (parsed.l4(packet), read.l4(lent.bytes()));
    assert_eq!(before.len(), after.len());
    let is_first = !parsed.is_later_fragment();
    let kept = if is_first && parsed.flow.protocol == udp::PROTOCOL {
        8..
    } else if is_first {
        18..
    } else {
        0..
    };
    assert_eq!(before.get(kept.clone()), after.get(kept));
}

/// An ICMP error, about a packet that its sender knows as `ends`.
fn error(packet: &[u8], parsed: &Parsed, ends: &FlowKey) {
    let Some(quote) = icmp::quoted(packet, parsed) else {
        return;
    };
    let protocol = icmp::quoted_flow(quote).map_or(ends.protocol, |flow| flow.protocol);
    let sent = FlowKey { protocol, ..*ends };
    let mut out = [0; icmp::ERROR_LEN_MAX];
    let len = nat64::write_error(packet, parsed, ends.dst, &sent, &mut out);
    if len == 0 {
        return;
    }
    let read = must_read(&out[..len], None);
    assert_eq!(is_sound(&out[..len], &read), Some(true));
    assert_eq!((read.flow.src, read.flow.dst), (ends.dst, sent.src));
    let quote = icmp::quoted(&out[..len], &read).expect("an error quotes");
    assert_eq!(ip::source(quote), Some(sent.src));
    if let Some(flow) = icmp::quoted_flow(quote) {
        assert_eq!((flow.src, flow.dst), (sent.src, sent.dst));
    }
}
