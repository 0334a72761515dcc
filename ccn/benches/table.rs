//! The table at 100,000 targets: snapshot, restore, a command of one target, and the route table after it.
//!
//! 20 load balancers with 50 listeners of 100 targets each, on 1,000 hosts of one region with three CLB nodes,
//! reached by two POPs; every tenth listener is a Maglev one. To follow is all that a node does with a delta
//! before its forwarder has the new table: it replays it and assembles.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::hint::black_box;
use std::time::Instant as Clock;

use anyedge_ccn::assemble::Assembler;
use anyedge_ccn::author::TableAuthor;
use anyedge_ccn::author::plan::{
    ClbPlan, EndsPlan, HostPlan, ListenerPlan, NodePlan, PathPlan, Protocol, RegionPlan,
    SchedulerPlan, TargetPlan, VipPlan,
};
use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::{Change, Command};
use anyedge_ccn::table::delta::Delta;
use anyedge_ccn::table::object::Target;
use anyedge_net::flow::{Address, Family, HashKey};
use anyedge_net::time::Instant;
use anyedge_net::wire::outer::Encap;
use criterion::{Criterion, criterion_group, criterion_main};

const CLBS: u32 = 20;
const LISTENERS: u32 = 50;
const TARGETS: u32 = 100;
const HOSTS: u32 = 1_000;

fn node(name: String, number: u32) -> NodePlan {
    NodePlan {
        name,
        underlay_v4: Ipv4Addr::from(0x0a00_0000 + number),
        underlay_v6: Ipv6Addr::UNSPECIFIED,
    }
}

fn path(name: String, ends: EndsPlan) -> PathPlan {
    PathPlan {
        name,
        ends,
        encap: Encap::Gre,
        underlay: Family::V4,
        mtu: 1_500,
        rtt: Duration::from_millis(50),
    }
}

fn listener(clb: u32, number: u32) -> ListenerPlan {
    let target = |target: u32| {
        let backend = (clb * LISTENERS + number) * TARGETS + target;
        TargetPlan {
            address: Address::v4((0x0b00_0000 + backend).to_be_bytes()),
            port: 8_080,
            weight: 10,
            host: format!("host.web-{}", backend % HOSTS),
        }
    };
    ListenerPlan {
        name: format!("l-{number}"),
        protocol: Protocol::Tcp,
        port: 1_000 + number as u16,
        scheduler: if number.is_multiple_of(10) {
            SchedulerPlan::Maglev
        } else {
            SchedulerPlan::WeightedRoundRobin
        },
        health: None,
        targets: (0..TARGETS).map(target).collect(),
    }
}

/// The table of 100,000 targets.
fn table() -> Table {
    let mut author = TableAuthor::new(HashKey::new([7; 16]));
    let region = "guangzhou".to_owned();
    for (number, pop) in ["pop.tokyo", "pop.frankfurt"].into_iter().enumerate() {
        author.add_pop(node(pop.to_owned(), 1 + number as u32));
        let (pop, region) = (pop.to_owned(), region.clone());
        author.add_path(path(
            format!("{pop}-guangzhou"),
            EndsPlan::Ccn { pop, region },
        ));
    }
    let clb_node = |number: u32| node(format!("region.guangzhou.clb-{number}"), 10 + number);
    author.add_region(RegionPlan {
        name: region.clone(),
        clb_nodes: (1..=3).map(clb_node).collect(),
    });
    for number in 0..HOSTS {
        let host = format!("host.web-{number}");
        author.add_host(HostPlan {
            node: node(host.clone(), 100 + number),
            region: region.clone(),
        });
        author.add_path(path(host.clone(), EndsPlan::Fabric { host }));
    }
    for clb in 0..CLBS {
        author.add_clb(ClbPlan {
            name: format!("clb-{clb}"),
            region: region.clone(),
            client_affinity: false,
            rst_on_unbind: true,
            unbind_drain: None,
            fail_open: true,
            listeners: (0..LISTENERS).map(|number| listener(clb, number)).collect(),
        });
        author.add_vip(VipPlan {
            name: format!("vip-{clb}"),
            addresses: vec![Address::v4([203, 0, 113, 1 + clb as u8])],
            clb: format!("clb-{clb}"),
            standby: Vec::new(),
            publishers: vec!["pop.tokyo".to_owned(), "pop.frankfurt".to_owned()],
            publishers_min: 1,
        });
    }
    author.publish(Instant::ZERO).expect("the plans make sense");
    author.table().clone()
}

/// The full name of a target of that listener of the eighth load balancer.
fn name_of(table: &Table, listener: &str) -> String {
    let mut targets = table.all::<Target>();
    let found = targets.find(|target| target.clb == "clb-7" && target.listener == listener);
    found.expect("there are such targets").full_name()
}

/// The leader's next delta: another weight for that target.
fn next(leader: &mut Table, name: &str) -> Delta {
    let weight = (leader.revision() % 100) as i32;
    let change = Change::SetTargetWeight(vec![name.to_owned()], weight);
    let revision = leader.revision() + 1;
    let applied = leader.apply(revision, &Command::new(Instant::ZERO, change));
    applied.expect("it makes sense")
}

#[expect(clippy::disallowed_methods, reason = "a bench reads the wall clock")]
fn bench(criterion: &mut Criterion) {
    let table = table();
    let bytes = table.snapshot();
    let mut group = criterion.benchmark_group("table of 100,000 targets");
    group.sample_size(10);
    group.bench_function(
        "clone, as a member does before it encodes a snapshot",
        |bencher| {
            bencher.iter(|| black_box(table.clone()));
        },
    );
    group.bench_function("snapshot", |bencher| {
        bencher.iter(|| black_box(table.snapshot()));
    });
    group.bench_function("restore", |bencher| {
        bencher.iter(|| Table::restore(black_box(&bytes)).expect("what was written"));
    });
    group.sample_size(100);
    for (what, listener) in [("round robin", "l-1"), ("Maglev", "l-0")] {
        let name = name_of(&table, listener);
        let mut leader = table.clone();
        group.bench_function(format!("apply one weight, {what}"), |bencher| {
            bencher.iter(|| black_box(next(&mut leader, &name)));
        });
        let mut node = leader.clone();
        let mut assembler = Assembler::new();
        assembler.assemble(&node);
        group.bench_function(format!("follow one weight, {what}"), |bencher| {
            bencher.iter_custom(|iters| {
                let mut spent = Duration::ZERO;
                for _ in 0..iters {
                    let delta = next(&mut leader, &name);
                    let start = Clock::now();
                    node.replay(&delta).expect("it is the next one");
                    black_box(assembler.assemble(&node));
                    spent += start.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
