//! PROXY protocol: a header in front of a stream that tells a server who its client is.
//!
//! Version 1 is a line of text, version 2 binary. Both have only what a layer-4 load balancer knows: the two ends of
//! the client's connection. A server must take such a header only where it is told to expect one, and must believe it
//! only from who may send it: anybody can write one.
//! Reference: "The PROXY protocol, versions 1 & 2" of HAProxy, §2.1 (text), §2.2 (binary).

use core::net::SocketAddr;

use proxy_header::{Error, ParseConfig, ProxiedAddress, ProxyHeader};

use crate::flow::FlowKey;

/// The longest header that [`write()`] makes, in bytes: 107 of version 1.
pub const LEN_MAX: usize = 107;
/// The longest header of version 2 that [`read`] waits for, in bytes: what the reference asks a receiver to take.
pub const READ_MAX: usize = 536;

const SIGNATURE_V1: &[u8] = b"PROXY ";
const SIGNATURE_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A version of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ProxyProtocol {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// Writes the header of a client's TCP flow to the start of `out`; returns its length.
pub fn write(version: ProxyProtocol, flow: &FlowKey, out: &mut [u8; LEN_MAX]) -> usize {
    let src = SocketAddr::new(flow.src.into(), flow.src_port);
    let dst = SocketAddr::new(flow.dst.into(), flow.dst_port);
    let header = ProxyHeader::with_address(ProxiedAddress::stream(src, dst));
    let written = match version {
        ProxyProtocol::V1 => header.encode_to_slice_v1(out),
        ProxyProtocol::V2 => header.encode_to_slice_v2(out),
    };
    written.expect("both ends are of one family, and the longest header fits")
}

/// What the first bytes of a stream are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Read {
    /// A whole header.
    Header {
        /// The client and the address that it spoke to; `None`: the sender speaks for itself.
        ends: Option<(SocketAddr, SocketAddr)>,
        /// Bytes of it.
        len: usize,
    },
    /// The beginning of one.
    More,
    /// No header.
    Other,
}

/// Reads the header at the start of `bytes`, of either version. What begins like one and is none is [`Read::Other`].
pub fn read(bytes: &[u8]) -> Read {
    let begins = |signature: &[u8]| {
        let len = signature.len().min(bytes.len());
        bytes[..len] == signature[..len]
    };
    if !(begins(SIGNATURE_V1) || begins(SIGNATURE_V2)) {
        return Read::Other;
    }
    if begins(SIGNATURE_V1) && !has_line(bytes) {
        return if bytes.len() < LEN_MAX {
            Read::More
        } else {
            Read::Other
        };
    }
    let config = ParseConfig {
        include_tlvs: false,
        ..ParseConfig::default()
    };
    match ProxyHeader::parse(bytes, config) {
        // However many of its bytes came at once, a longer one is not waited for.
        Ok((_, len)) if len > READ_MAX => Read::Other,
        Ok((header, len)) => {
            let ends = header.proxied_address();
            let ends = ends.map(|ends| (ends.source, ends.destination));
            Read::Header { ends, len }
        }
        Err(Error::BufferTooShort) if bytes.len() < READ_MAX => Read::More,
        Err(_) => Read::Other,
    }
}

/// Whether a line ends where one of version 1 has to.
fn has_line(bytes: &[u8]) -> bool {
    let line = &bytes[..bytes.len().min(LEN_MAX)];
    line.windows(2).any(|pair| pair == b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Address;
    use crate::wire::tcp;

    fn flow(src: &str, dst: &str) -> FlowKey {
        let address = |text: &str| -> Address { text.parse().expect("a literal address") };
        FlowKey {
            src: address(src),
            dst: address(dst),
            src_port: 49_152,
            dst_port: 443,
            protocol: tcp::PROTOCOL,
        }
    }

    fn written(version: ProxyProtocol, flow: &FlowKey) -> Vec<u8> {
        let mut out = [0; LEN_MAX];
        let len = write(version, flow, &mut out);
        out[..len].to_vec()
    }

    fn flows() -> [FlowKey; 2] {
        [
            flow("192.0.2.33", "203.0.113.7"),
            flow("2001:db8:1::33", "2001:db8:ffff::7"),
        ]
    }

    #[test]
    fn a_header_of_version_1_is_a_line_of_text() {
        let [v4, v6] = flows().map(|flow| written(ProxyProtocol::V1, &flow));
        assert_eq!(v4, b"PROXY TCP4 192.0.2.33 203.0.113.7 49152 443\r\n");
        let expected = b"PROXY TCP6 2001:db8:1::33 2001:db8:ffff::7 49152 443\r\n";
        assert_eq!(v6, expected);
    }

    #[test]
    fn a_header_of_version_2_is_as_the_reference_draws_it() {
        let [v4, v6] = flows().map(|flow| written(ProxyProtocol::V2, &flow));
        let mut expected = SIGNATURE_V2.to_vec();
        expected.extend([0x21, 0x11, 0, 12]);
        expected.extend([192, 0, 2, 33, 203, 0, 113, 7, 0xc0, 0, 0x01, 0xbb]);
        assert_eq!(v4, expected);
        assert_eq!(v6[12..16], [0x21, 0x21, 0, 36]);
        assert_eq!(
            (v6.len(), v6[48..].to_vec()),
            (52, vec![0xc0, 0, 0x01, 0xbb])
        );
    }

    #[test]
    fn the_longest_header_has_room() {
        let long = "ffff:eeee:dddd:cccc:bbbb:aaaa:9999:8888";
        let mut longest = flow(long, long);
        (longest.src_port, longest.dst_port) = (65_535, 65_535);
        let header = written(ProxyProtocol::V1, &longest);
        assert!(header.len() <= LEN_MAX && header.ends_with(b" 65535 65535\r\n"));
    }

    #[test]
    fn what_is_written_is_read_and_every_shorter_piece_asks_for_more() {
        for flow in flows() {
            for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
                let header = written(version, &flow);
                let len = header.len();
                let src = SocketAddr::new(flow.src.into(), flow.src_port);
                let dst = SocketAddr::new(flow.dst.into(), flow.dst_port);
                let ends = Some((src, dst));
                let stream = [&header[..], b"GET / HTTP/1.1"].concat();
                assert_eq!(read(&stream), Read::Header { ends, len });
                assert_eq!(read(&header), Read::Header { ends, len });
                for short in 0..len {
                    assert_eq!(read(&header[..short]), Read::More, "{short}");
                }
            }
        }
    }

    #[test]
    fn a_stream_without_a_header_is_one_without() {
        for stream in [&b"POST / HTTP/1.1"[..], b"PROXYING", b"\r\nGET", b"\0"] {
            assert_eq!(read(stream), Read::Other);
        }
        let own = [SIGNATURE_V2, &[0x20, 0, 0, 0]].concat();
        let len = own.len();
        assert_eq!(read(&own), Read::Header { ends: None, len });
        let endless = [SIGNATURE_V1, &[b' '; READ_MAX]].concat();
        assert_eq!(read(&endless), Read::Other);
    }

    #[test]
    fn a_header_that_is_too_long_is_none_also_when_it_comes_at_once() {
        let mut line = [SIGNATURE_V1, b"UNKNOWN", &[b' '; LEN_MAX]].concat();
        line.extend(b"\r\n");
        assert_eq!(read(&line), Read::Other);
        assert_eq!(read(&line[..LEN_MAX]), Read::Other);
        assert_eq!(read(&line[..LEN_MAX - 1]), Read::More);
        let mut binary = [SIGNATURE_V2, &[0x20, 0, 2, 9]].concat();
        binary.extend([0; 521]);
        assert_eq!(read(&binary), Read::Other);
        binary[15] = 8;
        let len = READ_MAX;
        assert_eq!(read(&binary), Read::Header { ends: None, len });
    }
}
