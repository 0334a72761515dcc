//! A flood of SYNs: each from an address and port that were drawn, and none is ever completed.
//!
//! The sources lie in 198.18.0.0/15 (RFC 2544) and 2001:db8:f::/48 (RFC 3849). What comes back goes to them and not
//! here, so nothing is awaited: a flood has no outcomes and no latency, only a count of what was sent.

use anyedge_net::checksum;
use anyedge_net::flow::{Address, FlowKey};
use anyedge_net::host::RawHost;
use anyedge_net::rng::Rng;
use anyedge_net::wire::ip::{DEFAULT_TTL, Header, header_len};
use anyedge_net::wire::tcp;

use crate::load::Load;
use crate::schedule::Schedule;
use crate::stats::SharedStats;

const SOURCES_V4: u32 = 0xc612_0000;
const SOURCES_V4_BITS: u32 = 17;
const SOURCES_V6: u128 = 0x2001_0db8_000f << 80;
/// MSS 1,460, as of most clients.
const OPTIONS: [u8; 4] = [2, 4, 5, 180];
const TCP_LEN: usize = tcp::HEADER_LEN + OPTIONS.len();
const PACKET_LEN_MAX: usize = 40 + TCP_LEN;

/// Sends the arrivals of `schedule`; ends with the last.
pub(super) fn run<H: RawHost>(
    host: H,
    load: &Load,
    schedule: Schedule,
    stats: SharedStats,
) -> impl Future<Output = ()> + Send + 'static {
    let mut rng = host.rng("spoofed");
    let to = load.to;
    async move {
        let mut packet = [0; PACKET_LEN_MAX];
        for at in schedule {
            host.sleep_until(at).await;
            let len = write_syn(&mut packet, to.ip().into(), to.port(), &mut rng);
            host.send_packet(&packet[..len]);
            stats.lock().on_syn();
        }
    }
}

/// Writes a SYN from anybody to the start of `out`; returns its length.
fn write_syn(out: &mut [u8], dst: Address, dst_port: u16, rng: &mut Rng) -> usize {
    let (host, ports, sequence) = (rng.bits(), rng.bits(), rng.bits() as u32);
    let src = if dst.v4_octets().is_some() {
        let host = host as u32 & ((1 << SOURCES_V4_BITS) - 1);
        Address::v4((SOURCES_V4 | host).to_be_bytes())
    } else {
        Address::v6((SOURCES_V6 | u128::from(host)).to_be_bytes())
    };
    let flow = FlowKey {
        src,
        dst,
        src_port: 1_024 + (ports % (65_536 - 1_024)) as u16,
        dst_port,
        protocol: tcp::PROTOCOL,
    };
    let at = header_len(dst.family());
    Header {
        src,
        dst,
        protocol: tcp::PROTOCOL,
        ttl: DEFAULT_TTL,
        tos: 0,
        payload_len: TCP_LEN,
    }
    .write(out);
    let segment = &mut out[at..at + TCP_LEN];
    segment.fill(0);
    segment[..2].copy_from_slice(&flow.src_port.to_be_bytes());
    segment[2..4].copy_from_slice(&flow.dst_port.to_be_bytes());
    segment[4..8].copy_from_slice(&sequence.to_be_bytes());
    segment[12] = (TCP_LEN as u8 / 4) << 4;
    segment[13] = tcp::SYN;
    segment[14..16].copy_from_slice(&64_240_u16.to_be_bytes());
    segment[tcp::HEADER_LEN..].copy_from_slice(&OPTIONS);
    let check = checksum::transport(src, dst, tcp::PROTOCOL, segment);
    segment[16..18].copy_from_slice(&check.to_be_bytes());
    at + TCP_LEN
}

#[cfg(test)]
mod tests {
    use anyedge_net::rng::Seed;
    use anyedge_net::wire;

    use super::*;

    #[test]
    fn a_syn_is_sound_and_its_source_is_of_the_reserved_prefixes() {
        let mut rng = Seed(1).stream("client", "spoofed");
        let to = [
            (Address::v4([203, 0, 113, 10]), &[198, 18][..]),
            (
                Address::v6([0x20; 16]),
                &[0x20, 0x01, 0x0d, 0xb8, 0, 0x0f][..],
            ),
        ];
        let mut before = None;
        for (dst, prefix) in to.into_iter().cycle().take(64) {
            let mut out = [0xaa; PACKET_LEN_MAX];
            let len = write_syn(&mut out, dst, 80, &mut rng);
            let parsed = wire::parse(&out[..len]).expect("a sound packet");
            assert_eq!((parsed.total_len, parsed.tcp_flags), (len, tcp::SYN));
            assert_eq!((parsed.flow.dst, parsed.flow.dst_port), (dst, 80));
            let l4 = parsed.l4(&out[..len]);
            let sum = checksum::transport(parsed.flow.src, dst, tcp::PROTOCOL, l4);
            assert_eq!(sum, 0);
            assert_eq!(tcp::mss(&out[..len], &parsed), Some(1_460));
            let source = match parsed.flow.src.v4_octets() {
                Some([first, second, ..]) => vec![first, second & 0xfe],
                None => out[8..14].to_vec(),
            };
            assert_eq!(source, prefix);
            assert!(before.replace(parsed.flow) != Some(parsed.flow));
        }
    }
}
