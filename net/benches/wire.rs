//! What a packet costs before any decision: reading it, hashing its flow, rewriting it; and a Maglev build.
//!
//! Targets on one core of a 2020s server: parse of IPv4 TCP 10 ns, hash of an IPv4 flow 12 ns, a Maglev
//! table of 65,521 places for 50 members 4 ms. Run: `cargo bench -p anyedge-net --bench wire`.

use std::hint::black_box;

use anyedge_net::flow::{Address, FlowKey, HashKey};
use anyedge_net::maglev::{Maglev, Member};
use anyedge_net::wire::ip::Header;
use anyedge_net::wire::{outer, parse, rewrite, tcp};
use criterion::{Criterion, criterion_group, criterion_main};

/// A SYN with an MSS option and 500 bytes of payload.
fn packet(src: &str, dst: &str) -> Vec<u8> {
    let (src, dst): (Address, Address) = (address(src), address(dst));
    let mut segment = vec![0; 24 + 500];
    segment[..4].copy_from_slice(&[0xc0, 0x00, 0x01, 0xbb]);
    segment[12] = 6 << 4;
    segment[13] = tcp::SYN;
    segment[20..24].copy_from_slice(&[2, 4, 0x05, 0xb4]);
    tcp::fill_checksum(&mut segment, src, dst);
    let header = Header {
        src,
        dst,
        protocol: tcp::PROTOCOL,
        ttl: 64,
        tos: 0,
        payload_len: segment.len(),
    };
    let mut packet = vec![0; 40];
    let header_len = header.write(&mut packet);
    packet.truncate(header_len);
    packet.extend_from_slice(&segment);
    packet
}

fn address(text: &str) -> Address {
    text.parse().expect("a literal address")
}

fn packets(c: &mut Criterion) {
    let key = HashKey::new(*b"a 128-bit secret");
    for (name, src, dst, target) in [
        ("v4", "192.0.2.33", "203.0.113.7", "10.0.0.5"),
        ("v6", "2001:db8::33", "2001:db8:f::7", "fd00::5"),
    ] {
        let mut bytes = packet(src, dst);
        let parsed = parse(&bytes).expect("a valid packet");
        let flow: FlowKey = parsed.flow;
        let target = address(target);
        c.bench_function(&format!("parse/{name} tcp"), |b| {
            // By reference: moving the result out would cost more than some of the parsing.
            b.iter(|| {
                black_box(&parse(black_box(&bytes)));
            });
        });
        c.bench_function(&format!("hash/{name}"), |b| {
            b.iter(|| black_box(&flow).hash(black_box(&key)));
        });
        c.bench_function(&format!("header_bytes/{name}"), |b| {
            b.iter(|| outer::header_bytes(black_box(&bytes)));
        });
        c.bench_function(&format!("set_destination/{name}"), |b| {
            b.iter(|| {
                rewrite::set_destination(black_box(&mut bytes), &parsed, black_box(target), 8_080);
            });
        });
        c.bench_function(&format!("set_tos/{name}"), |b| {
            b.iter(|| rewrite::set_tos(black_box(&mut bytes), &parsed, black_box(0xb8)));
        });
        c.bench_function(&format!("clamp_mss/{name}"), |b| {
            b.iter(|| tcp::clamp_mss(black_box(&mut bytes), &parsed, black_box(1_432)));
        });
    }
}

fn maglev(c: &mut Criterion) {
    let names: Vec<String> = (0..50).map(|at| format!("clb-{at}")).collect();
    for (label, weight) in [("equal", 0), ("mixed", 2)] {
        let members: Vec<Member<'_>> = names
            .iter()
            .enumerate()
            .map(|(at, name)| Member {
                id: at as u16,
                name,
                weight: 10 + at as u32 * weight,
            })
            .collect();
        c.bench_function(&format!("maglev/build 50 of 65521, {label}"), |b| {
            b.iter(|| Maglev::build(black_box(&members), 65_521));
        });
        let table = Maglev::build(&members, 65_521);
        c.bench_function(&format!("maglev/lookup, {label}"), |b| {
            b.iter(|| table.lookup(black_box(0x0123_4567_89ab_cdef)));
        });
    }
}

criterion_group!(benches, packets, maglev);
criterion_main!(benches);
