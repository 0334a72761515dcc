//! Time to decide about one packet that opens a flow: by 1 rule, by 512, and by 2,560 in five groups; and to make
//! a filter of 512. `cargo bench -p anyedge-net --bench security_group`

use std::hint::black_box;

use anyedge_net::flow::{Address, FlowKey};
use anyedge_net::security_group::{Direction, Filter, Precedence, Rule};
use anyedge_net::wire::tcp;
use criterion::{Criterion, criterion_group, criterion_main};

/// Rules that each accept another range and port; the last one drops the rest.
fn rules(count: u32) -> Vec<Rule> {
    let rule = |number: u32| {
        let [_, _, a, b] = number.to_be_bytes();
        let text = format!("10.{a}.{b}.0/24+tcp/{} accept", 1_000 + number);
        Rule::parse(Direction::Ingress, &text).expect("a sound rule")
    };
    let last = Rule::parse(Direction::Ingress, "any drop").expect("a sound rule");
    (1..count).map(rule).chain([last]).collect()
}

/// A packet of each rule, and as many of none, in turn.
fn packets(count: u32) -> Vec<FlowKey> {
    let packet = |number: u32| {
        let [_, _, a, b] = number.to_be_bytes();
        FlowKey {
            src: Address::v4([10, a, b, 7]),
            dst: Address::v4([10, 255, 0, 1]),
            src_port: 40_000,
            dst_port: if number.is_multiple_of(2) {
                999
            } else {
                1_000 + number as u16
            },
            protocol: tcp::PROTOCOL,
        }
    };
    (0..count).map(packet).collect()
}

fn filters(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("security group");
    for count in [1, 512, 2_560] {
        let rules = rules(count);
        let groups: Vec<&[Rule]> = rules.chunks(512).collect();
        let filter = Filter::compile(&groups, Precedence::First);
        let packets = packets(count.max(64));
        group.bench_function(format!("{count} rules"), |bencher| {
            let mut next = packets.iter().cycle();
            bencher.iter(|| {
                let packet = next.next().expect("it goes round");
                black_box(filter.admits(black_box(packet)))
            });
        });
    }
    let rules = rules(512);
    group.bench_function("compile 512 rules", |bencher| {
        bencher.iter(|| Filter::compile(&[black_box(&rules)], Precedence::First));
    });
    group.finish();
}

criterion_group!(benches, filters);
criterion_main!(benches);
