//! The table at 100,000 targets: snapshot, restore, a command of one target, and what follows of it.
//!
//! To follow is all that a node does with a delta before its forwarder has the new table: it replays it and
//! assembles. To be given is what the forwarder itself does with it.

use core::time::Duration;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant as Clock;

use anyedge_ccn::assemble::Assembler;
use anyedge_ccn::controller::{StateMachine, bytes_of};
use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::{Change, Command};
use anyedge_ccn::table::delta::Delta;
use anyedge_ccn::table::object::Target;
use anyedge_net::flow::Address;
use anyedge_net::forwarder::Forwarder;
use anyedge_net::outbox::Outbox;
use anyedge_net::packet::Pool;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{HealthCheck, RouteTable, Target as RouteTarget};
use anyedge_net::time::Instant;
use anyedge_pop::pop::Pop;
use anyedge_region::{ClbNode, Limits, VSwitch};
use anyedge_tests::large_table::{WIDE, large_table, table_of};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};

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

fn bench(criterion: &mut Criterion) {
    let table = large_table(None);
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
    let restored = Command::new(Instant::ZERO, Change::Restore(table.restorable()));
    let restored = bytes_of(&restored);
    group.bench_function("restore a backup, by an entry of the log", |bencher| {
        bencher.iter_with_large_drop(|| {
            let mut empty = Table::new();
            let effect = StateMachine::apply(&mut empty, 1, black_box(&restored));
            (empty, effect)
        });
    });
    group.sample_size(100);
    one_weight(&mut group, &table);
    group.finish();
    let mut group = criterion.benchmark_group("table of 10,000 targets of 1,000 listeners");
    one_weight(&mut group, &table_of(WIDE, None));
    let checked = table_of(WIDE, Some(HealthCheck::default()));
    for (what, tables) in &changes(&checked) {
        let clb = ClbNode::new("region.guangzhou.clb-1", Limits::default(), Seed(1));
        bench_apply(&mut group, &format!("CLB node given {what}"), clb, tables);
    }
    group.finish();
    forwarders(criterion);
}

/// A weight at the leader, and at a node that hears of it.
fn one_weight(group: &mut BenchmarkGroup<'_, WallTime>, table: &Table) {
    for (what, listener) in [("round robin", "l-1"), ("Maglev", "l-0")] {
        let name = name_of(table, listener);
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
}

/// What a new table costs the forwarder itself: no packet goes through meanwhile.
fn forwarders(criterion: &mut Criterion) {
    let checked = Some(HealthCheck::default());
    for (checks, health) in [("unchecked", None), ("checked", checked)] {
        let group = format!("forwarder given one of 100,000 {checks} targets");
        let mut group = criterion.benchmark_group(group);
        let table = large_table(health);
        for (what, tables) in &changes(&table) {
            let clb = ClbNode::new("region.guangzhou.clb-1", Limits::default(), Seed(1));
            bench_apply(&mut group, &format!("CLB node, {what}"), clb, tables);
            let pop = Pop::new("pop.tokyo", Seed(1));
            bench_apply(&mut group, &format!("POP, {what}"), pop, tables);
            let vswitch = VSwitch::new("host.web-1", Limits::default(), Seed(1));
            bench_apply(&mut group, &format!("vSwitch, {what}"), vswitch, tables);
        }
        group.finish();
        let mut group =
            criterion.benchmark_group(format!("one listener of 65,000 {checks} targets"));
        for (what, tables) in &changes_of_large_listener(&table) {
            let clb = ClbNode::new("region.guangzhou.clb-1", Limits::default(), Seed(1));
            bench_apply(&mut group, &format!("CLB node, {what}"), clb, tables);
        }
        group.finish();
    }
}

/// Pairs of tables that differ by one target.
fn changes(table: &Table) -> Vec<(String, [Arc<RouteTable>; 2])> {
    let tables = |changes: [Change; 2]| {
        let (mut table, mut assembler) = (table.clone(), Assembler::new());
        assembler.assemble(&table);
        changes.map(|change| {
            let revision = table.revision() + 1;
            let applied = table.apply(revision, &Command::new(Instant::ZERO, change));
            applied.expect("it makes sense");
            assembler.assemble(&table)
        })
    };
    let mut all = Vec::new();
    for (spread, listener) in [("", "l-1"), (", Maglev", "l-0")] {
        let name = name_of(table, listener);
        let unbound = Change::DeregisterTargets(vec![name.clone()]);
        let bound: Target = table.get::<Target>(&name).expect("it is there").clone();
        let bound = Change::RegisterTargets(vec![bound]);
        let weights = [3, 4].map(|weight| Change::SetTargetWeight(vec![name.clone()], weight));
        all.push((format!("weight{spread}"), tables(weights)));
        all.push((
            format!("unbound or bound{spread}"),
            tables([unbound, bound]),
        ));
    }
    all
}

/// The same for a listener that has more targets than the quota of any profile, all but as many as there can be.
fn changes_of_large_listener(table: &Table) -> Vec<(&'static str, [Arc<RouteTable>; 2])> {
    let table = Assembler::new().assemble(table);
    let with = |change: &dyn Fn(&mut Vec<RouteTarget>)| {
        let mut table = RouteTable::clone(&table);
        let listener = Arc::make_mut(&mut table.clbs[7].listeners[1]);
        let one = listener.targets[0];
        let numbered = (0_u32..65_000).map(|number| RouteTarget {
            address: Address::v4((0x0c00_0000 + number).to_be_bytes()),
            ..one
        });
        listener.targets = numbered.collect();
        change(&mut listener.targets);
        Arc::new(table)
    };
    let weight = |weight| with(&move |targets| targets[30_000].weight = weight);
    let unbound = with(&|targets| {
        targets.remove(30_000);
    });
    vec![
        ("weight", [weight(3), weight(4)]),
        ("unbound or bound", [weight(3), unbound]),
    ]
}

/// Gives a forwarder each of two tables in turn.
fn bench_apply(
    group: &mut BenchmarkGroup<'_, WallTime>,
    what: &str,
    mut forwarder: impl Forwarder,
    tables: &[Arc<RouteTable>; 2],
) {
    let mut out = Outbox::new(Pool::new(1_024));
    let mut turns = tables.iter().cycle();
    group.bench_function(what, |bencher| {
        bencher.iter(|| {
            let table = turns.next().expect("they come again and again");
            forwarder.apply(Instant::ZERO, Arc::clone(table), &mut out);
            out.events_mut().clear();
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
