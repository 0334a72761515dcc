//! Tests of echoes, quotes and "too big" errors.

use proptest::prelude::*;

use super::*;
use crate::wire::parse;
use crate::wire::sample::*;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const TOO_BIG: Complaint = Complaint::TooBig { mtu: 1_472 };

fn unreachable(family: Family, quote: &[u8]) -> Vec<u8> {
    let header = match family {
        Family::V4 => [V4_UNREACHABLE, V4_CODE_PORT, 0, 0, 0, 0, 0, 0],
        Family::V6 => [V6_UNREACHABLE, V6_CODE_PORT, 0, 0, 0, 0, 0, 0],
    };
    icmp_packet(family, header, quote)
}

#[test]
fn an_echo_request_is_answered_in_place() {
    for (family, request) in [(Family::V4, V4_ECHO_REQUEST), (Family::V6, V6_ECHO_REQUEST)] {
        let mut packet = icmp_packet(family, [request, 0, 0, 0, 0x12, 0x34, 0, 7], b"ping");
        let parsed = sound(&packet);
        let asked = echo(&packet, &parsed).expect("an echo");
        assert_eq!(
            (asked.request, asked.ident, asked.sequence),
            (true, 0x1234, 7)
        );

        assert!(answer_echo(&mut packet, &parsed));
        let answer = sound(&packet);
        assert_eq!(answer.flow, parsed.flow.reversed());
        let reply = Echo {
            request: false,
            ..asked
        };
        assert_eq!(echo(&packet, &answer), Some(reply));
        assert!(
            !answer_echo(&mut packet, &answer),
            "a reply is not answered"
        );
    }
}

#[test]
fn an_error_gives_its_quote_and_the_quoted_flow() {
    for family in FAMILIES {
        for protocol in [tcp::PROTOCOL, udp::PROTOCOL] {
            let lost = packet(&flow(family, protocol).reversed(), &[0; 100]);
            let cut = super::super::ip::header_len(family) + 8;
            let error = unreachable(family, &lost[..cut]);
            let parsed = sound(&error);
            let quote = quoted(&error, &parsed).expect("a quote");
            assert_eq!(quote, &lost[..cut]);
            assert_eq!(quoted_flow(quote), Some(flow(family, protocol).reversed()));
            for len in 0..cut - 4 {
                assert_eq!(quoted_flow(&quote[..len]), None, "{len} bytes");
            }
        }
    }
}

#[test]
fn a_quoted_v6_packet_is_read_behind_its_extension_headers() {
    let flow = flow(Family::V6, udp::PROTOCOL);
    let lost = udp_packet(&flow, b"data");
    let extended = with_extensions(
        &lost,
        60,
        &[44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 9],
    );
    assert_eq!(quoted_flow(&extended), Some(flow));
    let later = with_extensions(&lost, 44, &[17, 0, 0, 8, 0, 0, 0, 9]);
    assert_eq!(quoted_flow(&later), None);
}

#[test]
fn an_echo_of_nothing_but_zeros_is_answered_with_a_checksum() {
    let mut packet = icmp_packet(Family::V4, [V4_ECHO_REQUEST, 0, 0, 0, 0, 0, 0, 0], &[0; 4]);
    let parsed = sound(&packet);
    assert!(answer_echo(&mut packet, &parsed));
    assert_eq!(
        sound(&packet).l4(&packet)[..4],
        [V4_ECHO_REPLY, 0, 0xff, 0xff]
    );
}

#[test]
fn a_quote_that_is_no_ip_packet_is_left_alone() {
    let flow = flow(Family::V6, udp::PROTOCOL);
    let mut lost = udp_packet(&flow.reversed(), b"data");
    lost[0] = 0x20;
    let error = unreachable(Family::V6, &lost);
    let parsed = sound(&error);
    let mut bytes = error.clone();
    assert!(!set_quoted_source(&mut bytes, &parsed, flow.src, 1));
    assert!(!set_quoted_destination(&mut bytes, &parsed, flow.src, 1));
    assert_eq!(bytes, error);
}

#[test]
fn what_is_no_error_quotes_nothing() {
    for family in FAMILIES {
        let echo = icmp_packet(family, [V6_ECHO_REQUEST, 0, 0, 0, 0, 0, 0, 0], &[0x45; 40]);
        assert_eq!(quoted(&echo, &sound(&echo)), None);
        let udp = udp_packet(&flow(family, udp::PROTOCOL), &[0x45; 40]);
        assert_eq!(quoted(&udp, &sound(&udp)), None);
        assert_eq!(kind(&udp, &sound(&udp)), None);
    }
}

#[test]
fn extension_objects_are_cut_from_a_quote() {
    for (family, header) in [
        (Family::V4, [V4_TIME_EXCEEDED, 0, 0, 0, 0, 32, 0, 0]),
        (Family::V6, [V6_TIME_EXCEEDED, 0, 0, 0, 16, 0, 0, 0]),
    ] {
        let error = icmp_packet(family, header, &[0x45; 140]);
        let quote = quoted(&error, &sound(&error)).expect("a quote");
        assert_eq!(quote.len(), 128);
        let error = icmp_packet(family, header, &[0x45; 100]);
        let quote = quoted(&error, &sound(&error)).expect("a quote");
        assert_eq!(
            quote.len(),
            100,
            "a length beyond the message is not believed"
        );
    }
}

#[test]
fn too_big_names_the_mtu_and_quotes_what_fits() {
    for (family, len_max) in [(Family::V4, 576), (Family::V6, 1_280)] {
        let flow = flow(family, tcp::PROTOCOL);
        let router = flow.dst;
        for (payload, whole) in [(100, true), (1_400, false)] {
            let packet = tcp_packet(&flow, tcp::ACK, &[], &vec![1; payload]);
            let mut out = [0; ERROR_LEN_MAX];
            let len = write_error(&packet, &sound(&packet), TOO_BIG, router, &mut out);
            let error = &out[..len];
            let parsed = sound(error);
            assert_eq!((parsed.flow.src, parsed.flow.dst), (router, flow.src));
            assert_eq!(too_big_mtu(error, &parsed), Some(1_472));
            let quote = quoted(error, &parsed).expect("a quote");
            assert_eq!(quoted_flow(quote), Some(flow));
            assert!(packet.starts_with(quote));
            assert_eq!(quote.len() == packet.len(), whole);
            assert!(whole || len == len_max);
        }
    }
}

#[test]
fn no_error_is_sent_about_an_error_or_to_a_group() {
    for family in FAMILIES {
        let lost = udp_packet(&flow(family, udp::PROTOCOL), b"data");
        let error = unreachable(family, &lost);
        let parsed = sound(&error);
        let mut out = [0; ERROR_LEN_MAX];
        assert_eq!(
            write_error(&error, &parsed, TOO_BIG, parsed.flow.dst, &mut out),
            0
        );

        let mut group = flow(family, udp::PROTOCOL);
        group.dst = match family {
            Family::V4 => address("224.0.0.9"),
            Family::V6 => address("ff02::9"),
        };
        let packet = udp_packet(&group, b"data");
        let parsed = sound(&packet);
        assert_eq!(
            write_error(&packet, &parsed, TOO_BIG, group.src, &mut out),
            0
        );
    }
}

#[test]
fn a_used_up_ttl_is_told_with_the_type_of_its_family() {
    for (family, of) in [(Family::V4, 11), (Family::V6, 3)] {
        let flow = flow(family, udp::PROTOCOL);
        let lost = udp_packet(&flow, b"traceroute");
        let mut out = [0; ERROR_LEN_MAX];
        let parsed = sound(&lost);
        let len = write_error(&lost, &parsed, Complaint::TtlExpired, flow.dst, &mut out);
        let error = &out[..len];
        let told = sound(error);
        assert_eq!(kind(error, &told), Some((of, 0)));
        assert_eq!(quoted(error, &told), Some(&lost[..]));
        assert_eq!(told.l4(error)[4..8], [0; 4]);
    }
}

#[test]
fn too_big_is_not_said_of_a_packet_that_may_be_fragmented() {
    let flow = flow(Family::V4, udp::PROTOCOL);
    let mut packet = udp_packet(&flow, b"data");
    packet[6] = 0;
    seal_v4(&mut packet);
    let parsed = sound(&packet);
    let mut out = [0; ERROR_LEN_MAX];
    assert_eq!(
        write_error(&packet, &parsed, TOO_BIG, flow.dst, &mut out),
        0
    );
    let expired = write_error(&packet, &parsed, Complaint::TtlExpired, flow.dst, &mut out);
    assert!(expired > 0);
}

#[test]
fn a_source_that_is_no_single_host_is_told_nothing() {
    let mut out = [0; ERROR_LEN_MAX];
    for source in [
        "0.0.0.0",
        "127.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "ff02::1",
    ] {
        let source = address(source);
        let flow = FlowKey {
            src: source,
            ..flow(source.family(), udp::PROTOCOL)
        };
        let packet = udp_packet(&flow, b"data");
        let parsed = sound(&packet);
        let len = write_error(&packet, &parsed, Complaint::TtlExpired, flow.dst, &mut out);
        assert_eq!(len, 0, "{source}");
    }
}

/// The error is as if the quoted packet had been sent with the other end: every checksum, where it is quoted.
#[test]
fn a_translated_quote_is_the_packet_that_the_other_side_sent() {
    for family in FAMILIES {
        for protocol in [tcp::PROTOCOL, udp::PROTOCOL] {
            let before = flow(family, protocol).reversed();
            let (inner, port) = match family {
                Family::V4 => (address("10.0.0.11"), 8_080),
                Family::V6 => (address("fd00::11"), 8_080),
            };
            let as_source = FlowKey {
                src: inner,
                src_port: port,
                ..before
            };
            let as_destination = FlowKey {
                dst: inner,
                dst_port: port,
                ..before
            };
            let ip = super::super::ip::header_len(family);
            for len in [ip + 4, ip + 8, ip + 16, ip + 18, ip + 60] {
                let cut = |flow: &FlowKey| packet(flow, &[7; 101])[..len].to_vec();
                let mut error = unreachable(family, &cut(&before));
                let parsed = sound(&error);
                assert!(set_quoted_source(&mut error, &parsed, inner, port));
                assert_eq!(error, unreachable(family, &cut(&as_source)), "{len}");

                let mut error = unreachable(family, &cut(&before));
                assert!(set_quoted_destination(&mut error, &parsed, inner, port));
                assert_eq!(error, unreachable(family, &cut(&as_destination)), "{len}");
            }
        }
    }
}

#[test]
fn a_quoted_datagram_without_a_checksum_stays_without() {
    let before = flow(Family::V4, udp::PROTOCOL);
    let mut lost = udp_packet(&before, b"data");
    lost[26..28].fill(0);
    let mut error = unreachable(Family::V4, &lost);
    let parsed = sound(&error);
    assert!(set_quoted_source(
        &mut error,
        &parsed,
        address("10.0.0.11"),
        9
    ));
    assert_eq!(error[28 + 26..28 + 28], [0, 0]);
    sound(&error);
}

#[test]
fn a_quote_that_cannot_be_translated_is_left_alone() {
    let v4 = udp_packet(&flow(Family::V4, udp::PROTOCOL), b"data");
    let echo = icmp_packet(Family::V4, [V4_ECHO_REQUEST, 0, 0, 0, 0, 0, 0, 0], b"ping");
    for (quote, inner) in [
        (&v4[..23], "10.0.0.11"),
        (&v4[..], "fd00::11"),
        (&echo[..], "10.0.0.11"),
    ] {
        let mut error = unreachable(Family::V4, quote);
        let before = error.clone();
        let parsed = sound(&error);
        assert!(!set_quoted_source(&mut error, &parsed, address(inner), 9));
        assert_eq!(error, before);
    }
}

proptest! {
    #[test]
    fn random_messages_and_quotes_never_panic(family in any_family(), header: [u8; 8], body in proptest::collection::vec(any::<u8>(), 0..120), version in 4_u8..7) {
        let mut body = body;
        if let Some(first) = body.first_mut() {
            *first = version << 4 | *first & 0x0f;
        }
        let _ = quoted_flow(&body);
        let packet = icmp_packet(family, header, &body);
        let parsed = parse(&packet).expect("8 header bytes are there");
        if let Some(quote) = quoted(&packet, &parsed) {
            prop_assert!(body.starts_with(quote));
        }
        prop_assert!(kind(&packet, &parsed).is_some());
        let mut packet = packet;
        let end = match family {
            Family::V4 => address("10.0.0.11"),
            Family::V6 => address("fd00::11"),
        };
        set_quoted_source(&mut packet, &parsed, end, 9);
        set_quoted_destination(&mut packet, &parsed, end, 9);
        sound(&packet);
    }
}
