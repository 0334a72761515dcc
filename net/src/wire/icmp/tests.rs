//! Tests of echoes, quotes and "too big" errors.

use proptest::prelude::*;

use super::*;
use crate::wire::parse;
use crate::wire::sample::*;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

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
            let mut out = [0; TOO_BIG_LEN_MAX];
            let len = write_too_big(&packet, &sound(&packet), 1_472, router, &mut out);
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
        let mut out = [0; TOO_BIG_LEN_MAX];
        assert_eq!(
            write_too_big(&error, &parsed, 1_400, parsed.flow.dst, &mut out),
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
            write_too_big(&packet, &parsed, 1_400, group.src, &mut out),
            0
        );
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
    }
}
