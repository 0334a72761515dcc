//! Super-packets: what packets are put together to is what they are when it is taken apart again, and segments of
//! anything are packets with right checksums whose payloads add up to the whole.

use anyedge_net::flow::Family;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Offload, Pool};
use anyedge_net::wire::coalesce::{LEN_MAX, Run};
use anyedge_net::wire::segments::{self, HEADER_LEN_MAX, Segments};
use anyedge_net::wire::{self, tcp};

use crate::input::Input;
use crate::sealing::{is_sound, seal};
use crate::wire::lend;

/// Packets of a run.
const PACKETS_MAX: usize = 40;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.byte();
    if choice & 8 != 0 {
        let segment_len = input.u16();
        let mut packet = input.rest().to_vec();
        seal(&mut packet, choice);
        return taken_apart(&packet, segment_len);
    }
    put_together(choice, input);
}

/// A first packet, then variations of it: other payloads, the numbers gone on, here and there another byte.
fn put_together(choice: u8, mut input: Input<'_>) {
    let mut head = input.counted().to_vec();
    seal(&mut head, choice);
    let Some(mut run) = Run::start(&head) else {
        return;
    };
    let mut whole = vec![0; LEN_MAX];
    whole[..head.len()].copy_from_slice(&head);
    let mut joined = vec![head.clone()];
    while !input.is_empty() && joined.len() < PACKETS_MAX {
        let next = variation(&joined, &mut input);
        if run.accepts(&head, &next) {
            assert!(run.may_share_flow(&head, &next));
            run.join(&mut whole, &next);
            joined.push(next);
        }
    }
    assert_eq!(run.count(), joined.len());
    let offload = run.finish(&mut whole);
    let whole = &whole[..run.total_len()];
    if joined.len() == 1 {
        assert_eq!((whole, offload), (&head[..], Offload::NONE));
        return;
    }
    let segments = Segments::of(whole, offload).expect("it was put together");
    assert_eq!(segments.count(), joined.len());
    let cut = segments.cut(whole);
    for (index, was) in joined.iter().enumerate() {
        let mut segment = vec![0; cut.len_of(index)];
        assert_eq!(cut.write(index, &mut segment), segment.len());
        assert_eq!(unnumbered(&segment), unnumbered(was), "packet {index}");
    }
}

/// The packet that would follow, with a payload of its own length and some byte changed.
fn variation(joined: &[Vec<u8>], input: &mut Input<'_>) -> Vec<u8> {
    let head = &joined[0];
    let (choice, len) = (input.byte(), usize::from(input.u16()));
    let header_len = Segments::of(head, Offload::NONE).map_or(0, |it| it.header_len());
    let mut next = head[..header_len].to_vec();
    next.extend_from_slice(input.slice(len));
    let sent: usize = joined.iter().map(|packet| packet.len() - header_len).sum();
    let is_v4 = head[0] >> 4 == 4;
    if is_v4 && header_len > 0 {
        let id = u16::from_be_bytes([head[4], head[5]]).wrapping_add(joined.len() as u16);
        next[4..6].copy_from_slice(&id.to_be_bytes());
    }
    let (protocol, l4_at) = if is_v4 { (head[9], 20) } else { (head[6], 40) };
    if protocol == tcp::PROTOCOL && next.len() >= l4_at + tcp::HEADER_LEN {
        let at = l4_at + 4;
        let was = u32::from_be_bytes([next[at], next[at + 1], next[at + 2], next[at + 3]]);
        let sequence = was.wrapping_add(sent as u32);
        next[at..at + 4].copy_from_slice(&sequence.to_be_bytes());
        if choice & 16 != 0 {
            next[l4_at + 13] |= tcp::PSH;
        }
    }
    if choice & 32 != 0 {
        let at = usize::from(input.byte()) % next.len().max(1);
        let bits = input.byte();
        if let Some(byte) = next.get_mut(at) {
            *byte ^= bits;
        }
    }
    seal(&mut next, choice);
    next
}

/// A packet without the identification of one that is never cut, and the checksum that covers it.
fn unnumbered(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 && packet[6] & 0x40 != 0 {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

/// Any packet and any length of its segments.
fn taken_apart(packet: &[u8], segment_len: u16) {
    let offload = Offload {
        segment_len,
        partial: true,
    };
    let Some(segments) = Segments::of(packet, offload) else {
        return;
    };
    let parsed = wire::parse(packet).expect("it has segments");
    let mut payload = Vec::new();
    let cut = segments.cut(packet);
    for index in 0..segments.count() {
        let mut segment = vec![0; cut.len_of(index)];
        assert_eq!(cut.write(index, &mut segment), segment.len());
        let mut header = [0; HEADER_LEN_MAX];
        let len = cut.write_header(index, &mut header);
        assert_eq!(header[..len], segment[..len]);
        assert!(segment_len == 0 || segment.len() <= usize::from(segment_len));
        let read = wire::parse(&segment).expect("a segment is a packet");
        assert_eq!(read.flow, parsed.flow);
        assert_eq!(is_sound(&segment, &read), Some(true), "segment {index}");
        payload.extend_from_slice(&segment[len..]);
    }
    let whole = &packet[segments.header_len()..parsed.total_len];
    assert_eq!(payload, whole);
    one_by_one(packet, offload, segments.count());
    let is_v4 = segments.family() == Family::V4;
    assert!(segments.l4_at() >= if is_v4 { 20 } else { 40 });
}

/// The same by what forwarders do: one segment off the front, as often as there are any.
fn one_by_one(packet: &[u8], offload: Offload, count: usize) {
    let mut out = Outbox::new(Pool::new(2));
    let mut first = lend(out.pool_mut(), packet);
    first.meta.offload = offload;
    let mut rest = Some(first);
    let mut seen = 0;
    while let Some(mut one) = rest.take() {
        rest = segments::split_first(&mut one, &mut out);
        let read = wire::parse(one.bytes()).expect("a segment is a packet");
        assert_eq!(is_sound(one.bytes(), &read), Some(true));
        assert_eq!(one.meta.offload, Offload::NONE);
        seen += 1;
        out.pool_mut().take_back(one);
    }
    assert_eq!(seen, count);
    assert_eq!(out.pool().loaned(), 0);
}
