//! One packet: what the reader accepts keeps to its invariant, and whatever is done to it leaves a packet whose checksums
//! are as right as they were.

use anyedge_net::flow::{Address, Family};
use anyedge_net::packet::{Meta, Packet, Pool};
use anyedge_net::port::PortId;
use anyedge_net::wire::icmp::Complaint;
use anyedge_net::wire::toa::{self, Toa};
use anyedge_net::wire::{self, Parsed, icmp, ip, outer, rewrite, tcp};

use crate::input::Input;
use crate::sealing::{address, is_sound, must_read, seal};

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let choice = input.byte();
    let octets = input.take::<16>();
    let number = input.u32();
    let mut packet = input.rest().to_vec();
    seal(&mut packet, choice);
    assert!(outer::header_bytes(&packet) <= packet.len());
    let Ok(parsed) = wire::parse(&packet) else {
        return;
    };
    let end = usize::from(parsed.l4_offset) + usize::from(parsed.l4_len);
    assert_eq!(end, parsed.total_len);
    assert_eq!(
        wire::parse(&packet[..end]),
        Ok(parsed),
        "padding is nothing"
    );
    assert_eq!(ip::source(&packet), Some(parsed.flow.src));
    assert_eq!(ip::destination(&packet), Some(parsed.flow.dst));
    packet.truncate(end);
    let other = address(parsed.family, octets);
    rewritten(&packet, &parsed, other, number);
    answered(&packet, &parsed, other, number);
    edited(&packet, &parsed, octets, number);
}

/// Addresses, ports, TTL, TOS and MSS.
fn rewritten(packet: &[u8], parsed: &Parsed, other: Address, number: u32) {
    let was_sound = is_sound(packet, parsed);
    let (port, byte) = (number as u16, (number >> 16) as u8);
    let mut bytes = packet.to_vec();
    rewrite::set_source(&mut bytes, parsed, other, port);
    rewrite::set_tos(&mut bytes, parsed, byte);
    rewrite::set_ttl(&mut bytes, parsed, byte);
    let was_lower = !tcp::clamp_mss(&mut bytes, parsed, port);
    let now = must_read(&bytes, was_sound);
    assert_eq!((now.flow.src, now.tos, now.ttl), (other, byte, byte));
    let mss = tcp::mss(&bytes, &now);
    assert!(was_lower || mss.is_some_and(|mss| mss <= port));
    rewrite::set_destination(&mut bytes, &now, other, port);
    let now = must_read(&bytes, was_sound);
    assert_eq!(now.flow.dst, other);
    assert_eq!(now.l4_len, parsed.l4_len);
    // Back again, it is the packet that it was, but for what a checksum may be written as.
    rewrite::set_source(&mut bytes, &now, parsed.flow.src, parsed.flow.src_port);
    rewrite::set_destination(&mut bytes, &now, parsed.flow.dst, parsed.flow.dst_port);
    let back = must_read(&bytes, was_sound);
    assert_eq!(back.flow, parsed.flow);
}

/// Resets, challenges, ICMP errors and echoes are packets with right checksums, to whom the packet came from.
fn answered(packet: &[u8], parsed: &Parsed, other: Address, number: u32) {
    let is_answer = |out: &[u8]| {
        let answer = must_read(out, None);
        assert_eq!(is_sound(out, &answer), Some(true), "{answer:?}");
        assert_eq!(answer.flow.dst, parsed.flow.src);
        answer
    };
    let mut out = [0; icmp::ERROR_LEN_MAX];
    let written = [
        tcp::write_reset(packet, parsed, &mut out),
        tcp::write_challenge(packet, parsed, number, &mut out),
    ];
    for len in written.into_iter().filter(|len| *len > 0) {
        assert_eq!(is_answer(&out[..len]).flow.src, parsed.flow.dst);
    }
    for complaint in [
        Complaint::TtlExpired,
        Complaint::TooBig { mtu: number as u16 },
    ] {
        let len = icmp::write_error(packet, parsed, complaint, other, &mut out);
        if len == 0 {
            continue;
        }
        let error = is_answer(&out[..len]);
        let quote = icmp::quoted(&out[..len], &error).expect("an error quotes");
        assert!(packet.starts_with(quote), "it quotes the packet");
        if let Some(flow) = icmp::quoted_flow(quote) {
            assert_eq!(flow, parsed.flow, "whose flow is the packet's");
        }
    }
    let was_sound = is_sound(packet, parsed);
    let mut bytes = packet.to_vec();
    if icmp::answer_echo(&mut bytes, parsed) {
        let answer = must_read(&bytes, was_sound);
        assert_eq!(answer.flow, parsed.flow.reversed());
        let asked = icmp::echo(packet, parsed).expect("it was answered");
        let said = icmp::echo(&bytes, &answer).expect("it is an echo");
        assert!(asked.request && !said.request);
    }
    quotes(packet, parsed, other, number);
}

/// What an ICMP error quotes is rewritten like the packet itself.
fn quotes(packet: &[u8], parsed: &Parsed, other: Address, number: u32) {
    let was_sound = is_sound(packet, parsed);
    let mut bytes = packet.to_vec();
    let port = number as u16;
    if icmp::set_quoted_source(&mut bytes, parsed, other, port) {
        let now = must_read(&bytes, was_sound);
        let quote = icmp::quoted(&bytes, &now).expect("it was rewritten");
        let flow = icmp::quoted_flow(quote).expect("its flow was rewritten");
        assert_eq!(flow.src, other);
    }
    if icmp::set_quoted_destination(&mut bytes, parsed, other, port) {
        let now = must_read(&bytes, was_sound);
        let quote = icmp::quoted(&bytes, &now).expect("it was rewritten");
        let flow = icmp::quoted_flow(quote).expect("its flow was rewritten");
        assert_eq!(flow.dst, other);
    }
    icmp::map_quoted_sequence(&mut bytes, parsed, |sequence| sequence ^ number);
    must_read(&bytes, was_sound);
}

/// Options, payload and numbers of a TCP segment.
fn edited(packet: &[u8], parsed: &Parsed, octets: [u8; 16], number: u32) {
    if parsed.flow.protocol != tcp::PROTOCOL || parsed.is_later_fragment() {
        assert_eq!(toa::read(packet, parsed), None);
        return;
    }
    let was_sound = is_sound(packet, parsed);
    let family = if number & 1 == 0 {
        Family::V4
    } else {
        Family::V6
    };
    let client = (address(family, octets), number as u16);
    let mut pool = Pool::new(1);
    let mut lent = lend(&mut pool, packet);
    let mut now = *parsed;
    let kind = if number & 2 == 0 {
        Toa::Kind254
    } else {
        Toa::Kind200
    };
    if toa::insert(&mut lent, &mut now, kind, client) {
        assert_eq!(must_read(lent.bytes(), was_sound), now);
        let told = toa::read(lent.bytes(), &now).expect("it was told");
        assert_eq!((told.ip(), told.port()), (client.0.into(), client.1));
        let before = tcp::payload(packet, parsed);
        assert_eq!(tcp::payload(lent.bytes(), &now), before, "no byte is lost");
    } else {
        assert_eq!(lent.bytes(), packet, "nothing changed");
    }
    tcp::set_sequence(lent.bytes_mut(), &now, number);
    tcp::map_acknowledged(lent.bytes_mut(), &now, |it| it.wrapping_add(number));
    assert_eq!(tcp::sequence(lent.bytes(), &now), number);
    must_read(lent.bytes(), was_sound);
    tcp::take_payload(&mut lent, &mut now);
    assert_eq!(must_read(lent.bytes(), was_sound), now);
    if tcp::give_payload(&mut lent, &mut now, &octets) {
        assert_eq!(must_read(lent.bytes(), was_sound), now);
        assert_eq!(tcp::payload(lent.bytes(), &now), Some(&octets[..]));
    }
    pool.take_back(lent);
}

pub(crate) fn lend(pool: &mut Pool, bytes: &[u8]) -> Packet {
    let meta = Meta::plain(PortId::PUBLIC);
    pool.lend_copy(bytes, meta)
        .expect("a packet has a slot, and one is free")
}
