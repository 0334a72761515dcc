//! Captured packets, real and hostile, through everything that reads or changes bytes.

use anyedge_net::checksum;
use anyedge_net::flow::{Address, Family};
use anyedge_net::wire::{Parsed, ecn, gre, icmp, outer, parse, rewrite, tcp, udp};
use anyedge_tests::captures::{self, frames, network_layer};

fn other_address(family: Family) -> Address {
    match family {
        Family::V4 => Address::v4([10, 0, 0, 5]),
        Family::V6 => Address::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]),
    }
}

/// The sum that is 0 for a valid transport checksum; NAT must not change it. `None` if NAT keeps none.
fn checksum_residue(bytes: &[u8], parsed: &Parsed) -> Option<u16> {
    let flow = parsed.flow;
    let l4 = parsed.l4(bytes);
    let absent = flow.protocol == udp::PROTOCOL && l4.get(6..8) == Some(&[0, 0]);
    let covered = match parsed.family {
        Family::V4 => matches!(flow.protocol, tcp::PROTOCOL | udp::PROTOCOL),
        Family::V6 => {
            matches!(
                flow.protocol,
                tcp::PROTOCOL | udp::PROTOCOL | icmp::PROTOCOL_V6
            )
        }
    };
    if absent || !covered || parsed.is_later_fragment() {
        return None;
    }
    // A sum of 0xffff and one of 0 are the same value in one's complement.
    let residue = checksum::transport(flow.src, flow.dst, flow.protocol, l4);
    Some(if residue == 0xffff { 0 } else { residue })
}

/// All that a forwarder may do to a packet that parsed.
fn forward(bytes: &[u8], parsed: &Parsed) {
    let mut packet = bytes.to_vec();
    let target = other_address(parsed.family);
    let residue = checksum_residue(bytes, parsed);
    rewrite::set_destination(&mut packet, parsed, target, 8_080);
    rewrite::set_source(&mut packet, parsed, target, 40_000);
    rewrite::set_tos(&mut packet, parsed, ecn::CE);
    rewrite::decrement_ttl(&mut packet, parsed);
    tcp::clamp_mss(&mut packet, parsed, 1_000);

    let changed = parse(&packet).expect("a rewritten packet stays valid");
    assert_eq!((changed.flow.src, changed.flow.dst), (target, target));
    assert_eq!(changed.tos, ecn::CE);
    assert_eq!(changed.total_len, parsed.total_len);
    assert_eq!(
        checksum_residue(&packet, &changed),
        residue,
        "{}",
        parsed.flow
    );

    let complaint = icmp::Complaint::TooBig { mtu: 1_280 };
    let mut out = [0; icmp::ERROR_LEN_MAX];
    let len = tcp::write_reset(bytes, parsed, &mut out);
    assert!(len == 0 || parse(&out[..len]).is_ok_and(|reset| reset.tcp_flags & tcp::RST != 0));
    let len = icmp::write_error(bytes, parsed, complaint, target, &mut out);
    assert!(len == 0 || parse(&out[..len]).is_ok());
    icmp::answer_echo(&mut packet, &changed);
}

/// Everything that reads bytes, on one string of bytes. Whether it is a packet.
fn read(bytes: &[u8]) -> bool {
    assert!(outer::header_bytes(bytes) <= bytes.len());
    let _ = icmp::quoted_flow(bytes);
    if let Ok(gre) = gre::parse(bytes) {
        assert!(gre.header_len <= bytes.len());
    }
    let Ok(parsed) = parse(bytes) else {
        return false;
    };
    let is_gre = parsed.flow.protocol == gre::PROTOCOL && parsed.fragment.is_none();
    if is_gre && let Ok(gre) = gre::parse(parsed.l4(bytes)) {
        read(&parsed.l4(bytes)[gre.header_len..]);
    }
    if let Some(quote) = icmp::quoted(bytes, &parsed) {
        let _ = icmp::quoted_flow(quote);
    }
    let _ = tcp::mss(bytes, &parsed);
    forward(bytes, &parsed);
    true
}

#[test]
fn no_capture_panics_and_what_is_rewritten_stays_valid() {
    let Some(paths) = captures::all() else {
        return;
    };
    let (mut packets, mut valid) = (0, 0);
    for path in &paths {
        for (link, frame) in frames(path) {
            packets += 1;
            valid += usize::from(read(network_layer(link, &frame)));
            read(&frame);
        }
    }
    assert!(
        packets > 100 && valid > 50,
        "{packets} frames, {valid} valid"
    );
}

#[test]
fn every_cut_of_every_captured_packet_is_survived() {
    let Some(paths) = captures::all() else {
        return;
    };
    for path in &paths {
        for (link, frame) in frames(path).into_iter().take(20) {
            let packet = network_layer(link, &frame);
            for len in 0..packet.len().min(128) {
                read(&packet[..len]);
            }
        }
    }
}

#[test]
fn files_named_for_a_broken_ip_header_hold_no_valid_packet() {
    let Some(paths) = captures::all() else {
        return;
    };
    for name in [
        "ipv4_invalid_hdr_length",
        "ipv4_invalid_length",
        "ipv4_invalid_total_length",
        "ipv6_jumbogram_invalid_length",
    ] {
        let path = paths
            .iter()
            .find(|path| path.file_stem().is_some_and(|stem| stem == name));
        let path = path.expect("a capture of the set");
        for (link, frame) in frames(path) {
            let parsed = parse(network_layer(link, &frame));
            assert!(parsed.is_err(), "{name}: {parsed:?}");
        }
    }
}
