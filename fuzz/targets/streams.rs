//! What begins a stream of ours, or answers one: headers of exchanges and of long flows, receipts, PROXY headers.
//!
//! What comes in segments must mean the same as what comes at once, so a header that is whole stays what it is when more
//! follows, and one that is none never becomes one.

use std::net::SocketAddr;

use anyedge_net::flow::{Family, FlowKey};
use anyedge_net::time::Instant;
use anyedge_net::wire::proxy::{self, LEN_MAX, ProxyProtocol, Read};
use anyedge_net::wire::tcp;
use anyedge_traffic::{exchange, long_flow, receipt};

use crate::input::Input;
use crate::sealing::address;

pub(crate) fn check(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.byte() % 4 {
        0 => requests(input.rest()),
        1 => receipts(input),
        2 => proxy_read(input.rest()),
        _ => proxy_written(input),
    }
}

fn requests(bytes: &[u8]) {
    if let Ok(header) = exchange::Header::parse(bytes) {
        assert_eq!(header.encode(), bytes[..exchange::HEADER_BYTES]);
        assert!(exchange::is_exchange(bytes[0]));
    }
    if let Ok(header) = long_flow::Header::parse(bytes) {
        assert_eq!(header.encode(), bytes[..long_flow::HEADER_BYTES]);
        assert!(exchange::is_exchange(bytes[0]));
        let both = exchange::Header::parse(bytes);
        assert!(both.is_err(), "one version is not the other");
    }
}

/// Silences that are told lie before the line, and are told again as they were.
fn receipts(mut input: Input<'_>) {
    let now = Instant::from_nanos(u64::from_be_bytes(input.take()) >> 1);
    let line = input.rest();
    let digits = line.strip_prefix(b"whole ").unwrap_or_default();
    let digits = digits.split(|byte| !byte.is_ascii_digit()).next();
    let digits = core::str::from_utf8(digits.unwrap_or_default()).expect("digits");
    let bytes = digits.parse().unwrap_or(7);
    let Some(silences) = receipt::parse(line, bytes, now) else {
        return;
    };
    for silence in &silences {
        assert!(silence.from <= silence.until && silence.until <= now);
        let mut told = receipt::Silences::from(silence.from);
        told.on_byte(silence.until);
        let line = told.receipt(bytes, None, now);
        let read = receipt::parse(line.as_bytes(), bytes, now);
        assert_eq!(read.as_deref(), Some(&[*silence][..]), "{line}");
    }
}

fn proxy_read(bytes: &[u8]) {
    let whole = proxy::read(bytes);
    if let Read::Header { len, .. } = whole {
        assert!(len <= bytes.len());
        assert_eq!(
            proxy::read(&bytes[..len]),
            whole,
            "what follows is not looked at"
        );
    }
    // Every beginning says that more may come, or what all of it says.
    let header_len = match whole {
        Read::Header { len, .. } => len,
        Read::More | Read::Other => bytes.len(),
    };
    for end in 0..header_len.min(proxy::READ_MAX) {
        let early = proxy::read(&bytes[..end]);
        assert!(
            early == Read::More || early == whole,
            "{end}: {early:?}, then {whole:?}"
        );
    }
}

fn proxy_written(mut input: Input<'_>) {
    let choice = input.byte();
    let family = if choice & 1 == 0 {
        Family::V4
    } else {
        Family::V6
    };
    let version = if choice & 2 == 0 {
        ProxyProtocol::V1
    } else {
        ProxyProtocol::V2
    };
    let flow = FlowKey {
        src: address(family, input.take()),
        dst: address(family, input.take()),
        src_port: input.u16(),
        dst_port: input.u16(),
        protocol: tcp::PROTOCOL,
    };
    let mut out = [0; LEN_MAX];
    let len = proxy::write(version, &flow, &mut out);
    let mut stream = out[..len].to_vec();
    stream.extend_from_slice(input.rest());
    let ends = (
        SocketAddr::new(flow.src.into(), flow.src_port),
        SocketAddr::new(flow.dst.into(), flow.dst_port),
    );
    let expected = Read::Header {
        ends: Some(ends),
        len,
    };
    assert_eq!(proxy::read(&stream), expected);
}
