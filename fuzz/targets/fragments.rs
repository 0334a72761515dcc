//! Packets in pieces: what routers cut adds up to the packet, and what has come of one is told as it is.

use anyedge_net::outbox::Outbox;
use anyedge_net::packet::{Packet, Pool};
use anyedge_net::wire::fragment::ranges::{Added, Ranges};
use anyedge_net::wire::{self, Parsed, fragment, ipv4};

use crate::input::Input;
use crate::sealing::seal;
use crate::wire::lend;

/// What the longest transport header fits into, so that the first piece has all of it: a reader refuses one that has
/// not. Tunnels carry 576 bytes at least.
const MTU_MIN: u16 = 84;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.byte();
    if choice & 8 != 0 {
        return arrivals(input);
    }
    let mtus = [input.u16(), input.u16()].map(|mtu| mtu.max(MTU_MIN));
    let mut packet = input.rest().to_vec();
    seal(&mut packet, choice);
    let Ok(parsed) = wire::parse(&packet) else {
        return;
    };
    packet.truncate(parsed.total_len);
    pieces(&packet, &parsed, mtus);
}

/// A packet that two routers cut, one after the other.
fn pieces(packet: &[u8], parsed: &Parsed, mtus: [u16; 2]) {
    let mut out = Outbox::new(Pool::new(2_048));
    let first = lend(out.pool_mut(), packet);
    let mut second = Vec::new();
    fragment::split(first, mtus[0], &mut out, |piece, _| second.push(piece));
    let mut last: Vec<Packet> = Vec::new();
    for piece in second {
        fragment::split(piece, mtus[1], &mut out, |piece, _| last.push(piece));
    }
    let is_cut = last.len() > 1;
    assert!(!is_cut || fragment::may_split(parsed));
    let (start, was_last) = match parsed.fragment {
        Some(piece) => (piece.offset, !piece.more),
        None => (0, true),
    };
    let mut payload = Vec::new();
    let count = last.len();
    for (index, piece) in last.into_iter().enumerate() {
        let read = wire::parse(piece.bytes()).expect("a piece is a packet");
        if fragment::may_split(parsed) {
            assert!(piece.len() <= usize::from(mtus[0].min(mtus[1])));
        }
        if is_cut {
            let at = read.fragment.expect("one of several");
            assert_eq!(usize::from(at.offset), usize::from(start) + payload.len());
            assert_eq!(at.more, index + 1 < count || !was_last);
            assert_eq!(at.protocol, parsed.flow.protocol);
            assert_eq!(piece.bytes()[4..6], packet[4..6], "one identification");
        } else {
            assert_eq!(piece.bytes(), packet);
        }
        payload.extend_from_slice(read.l4(piece.bytes()));
        out.pool_mut().take_back(piece);
    }
    assert_eq!(payload, parsed.l4(packet));
    assert_eq!(out.pool().loaned(), 0);
    let header = usize::from(parsed.l4_offset);
    assert!(!is_cut || header == ipv4::HEADER_LEN);
}

/// Pieces that come in any order, against a plain account of the bytes.
fn arrivals(mut input: Input<'_>) {
    let mut ranges = Ranges::default();
    let mut came: Vec<(u32, u32)> = Vec::new();
    let mut end = None;
    while !input.is_empty() {
        let (offset, len) = (input.u16() & 0xfff8, input.u16());
        let more = input.byte() & 1 != 0;
        let len = len.clamp(1, u16::MAX - offset.min(u16::MAX - 1));
        let (from, to) = (u32::from(offset), u32::from(offset) + u32::from(len));
        let overlap = came.iter().any(|range| range.0 < to && from < range.1);
        match ranges.add(offset, len, more) {
            Added::Fresh => {
                assert!(!overlap, "{from}..{to} of {came:?}");
                came.push((from, to));
                if !more {
                    assert_eq!(end.replace(to), None, "one end");
                }
                assert!(end.is_none_or(|end| came.iter().all(|range| range.1 <= end)));
            }
            Added::Again => assert!(covered(&came, (from, to)), "{from}..{to} of {came:?}"),
            Added::Conflict => assert!(!covered(&came, (from, to)), "{from}..{to} of {came:?}"),
        }
        let is_whole = end.is_some_and(|end| covered(&came, (0, end)));
        assert_eq!(ranges.is_whole(), is_whole, "{came:?} to {end:?}");
    }
}

/// Whether all bytes of a range have come.
fn covered(came: &[(u32, u32)], (from, to): (u32, u32)) -> bool {
    let mut sorted = came.to_vec();
    sorted.sort_unstable();
    let reached = sorted.iter().fold(from, |reached, range| {
        if range.0 <= reached {
            reached.max(range.1)
        } else {
            reached
        }
    });
    reached >= to
}
