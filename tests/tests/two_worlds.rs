//! One code, two worlds: the same trace gives the same bytes from a forwarder in the simulator and from that
//! forwarder in the live data plane, on a real TUN device and real UDP sockets.
//!
//! Compared for each packet: when, by which port, to whom, with which outer TOS, and every byte from the GRE header
//! inwards; at the end all drops by cause, and all events in their order. The live half needs root and says so
//! loudly when it is skipped.

use std::sync::Arc;

use anyedge_net::drop_reason::DropReason;
use anyedge_net::event::{Event, FlowEnd};
use anyedge_net::rng::Seed;
use anyedge_net::route_table::RouteTable;
use anyedge_tests::trace::difference;
use anyedge_tests::trace::on_kernel::{self, Crossed};
use anyedge_tests::trace::{CLB_NODE, HOST, Input, POP, Trace, Transcript, in_sim, write};

const SEED: Seed = Seed(7);
/// For each of the three forwarders.
const PACKETS: usize = 20_000;
/// That the claim rests on.
const CROSSED_MIN: usize = 60_000;

/// Whether the kernel's half of a test can run; says loudly when it cannot.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn can_play(test: &str) -> bool {
    let can = on_kernel::can_play();
    if !can {
        eprintln!("SKIPPED: {test} needs root, network namespaces and /dev/net/tun");
    }
    can
}

fn compare(trace: &Trace, simulated: &Transcript, other: (&str, &Transcript)) -> Option<String> {
    difference::first(trace, [("simulator", simulated), other])
}

#[test]
#[expect(
    clippy::print_stderr,
    reason = "what crossed the kernel is what this test tells"
)]
fn a_trace_gives_the_same_bytes_in_the_simulator_and_on_the_kernel() {
    if !can_play("a_trace_gives_the_same_bytes_in_the_simulator_and_on_the_kernel") {
        return;
    }
    let mut crossed = Crossed::default();
    for node in [POP, CLB_NODE, HOST] {
        let trace = write(node, SEED, PACKETS);
        let simulated = in_sim::play(&trace);
        let (live, by) = on_kernel::play(&trace)
            .unwrap_or_else(|error| panic!("{node} on the kernel: {error:#}"));
        if let Some(difference) = compare(&trace, &simulated, ("kernel", &live)) {
            panic!("{difference}");
        }
        assert_eq!(by.packets_in(), trace.packets(), "nothing was left out");
        assert_eq!(by.tun_out + by.udp_out, simulated.packets());
        eprintln!(
            "{node}: {by:?}, {} events, {} drops by {} causes",
            live.events.len(),
            live.drops.total(),
            live.drops.iter().count(),
        );
        crossed.add(&by);
    }
    assert!(crossed.packets_in() >= CROSSED_MIN, "{crossed:?}");
    assert!(crossed.tun_in > 1_000 && crossed.tun_out > 1_000);
    assert!(crossed.udp_in > 1_000 && crossed.udp_out > 1_000);
}

/// What a trace must bring about, lest it proves nothing.
#[test]
fn the_traces_are_the_mixture_that_they_claim_to_be() {
    let dropped = |transcript: &Transcript, reasons: &[DropReason]| {
        for reason in reasons {
            assert!(transcript.drops.of(*reason) > 0, "{reason:?}");
        }
    };
    let play = |node| in_sim::play(&write(node, SEED, PACKETS));
    use DropReason::*;

    let pop = play(POP);
    assert!(pop.packets() > PACKETS / 2);
    let causes = [
        Malformed,
        Fragment,
        UnsupportedProtocol,
        TtlExpired,
        TooBig,
        BadGre,
        UnknownPeer,
        EcnConflict,
        NotVip,
        NotFromVip,
    ];
    dropped(&pop, &causes);

    let clb_node = play(CLB_NODE);
    assert!(clb_node.packets() > PACKETS / 3);
    let causes = [UnknownClb, NoListener, NoFlow, UnknownPeer, EcnConflict];
    dropped(&clb_node, &causes);
    let count = |is_it: fn(&Event) -> bool| {
        let events = clb_node.events.iter();
        events.filter(|(_, event)| is_it(event)).count()
    };
    assert_eq!(count(|event| matches!(event, Event::TableApplied(_))), 3);
    assert!(count(|event| matches!(event, Event::FlowOpened { .. })) > 100);
    assert!(count(|event| matches!(event, Event::FlowEstablished { .. })) > 50);
    assert!(count(|event| matches!(event, Event::FlowMoved { .. })) > 10);
    for end in [
        FlowEnd::Finished,
        FlowEnd::Reset,
        FlowEnd::HandshakeTimeout,
        FlowEnd::IdleTimeout,
        FlowEnd::Replaced,
    ] {
        let ended = clb_node
            .events
            .iter()
            .any(|(_, event)| matches!(event, Event::FlowClosed { end: by, .. } if *by == end));
        assert!(ended, "{end:?}");
    }

    let vswitch = play(HOST);
    assert!(vswitch.packets() > PACKETS / 2);
    let causes = [Malformed, NoFlow, TupleTaken, UnknownPeer, TooBig, Fragment];
    dropped(&vswitch, &causes);
}

#[test]
fn a_byte_an_event_or_a_drop_that_differs_is_found() {
    let trace = write(CLB_NODE, SEED, 600);
    let sound = in_sim::play(&trace);
    assert_eq!(sound, in_sim::play(&trace), "a trace has one outcome");

    let mut spoilt = sound.clone();
    let with_output = spoilt.outputs.iter().rposition(|output| !output.is_empty());
    let index = with_output.expect("something was sent");
    let bytes = &mut spoilt.outputs[index][0].bytes;
    *bytes.last_mut().expect("no packet is empty") ^= 1;
    let found = compare(&trace, &sound, ("spoilt", &spoilt)).expect("one bit differs");
    assert!(found.contains(&format!("entry {index} at ")), "{found}");

    let mut spoilt = sound.clone();
    spoilt.outputs[index][0].tos ^= 1;
    assert!(compare(&trace, &sound, ("spoilt", &spoilt)).is_some());

    let mut spoilt = sound.clone();
    let last = spoilt.events.len() - 1;
    spoilt.events.swap(last - 1, last);
    let found = compare(&trace, &sound, ("spoilt", &spoilt)).expect("two events are swapped");
    assert!(found.contains(&format!("event {}", last - 1)), "{found}");

    let mut spoilt = sound.clone();
    spoilt.drops.add(DropReason::NoFlow);
    assert!(compare(&trace, &sound, ("spoilt", &spoilt)).is_some());
}

#[test]
fn another_weight_in_one_table_is_found() {
    let mut trace = write(CLB_NODE, SEED, PACKETS);
    let sound = in_sim::play(&trace);
    let mut table = RouteTable::clone(&trace.network.tables[1]);
    let listeners = &mut table.clbs[0].listeners;
    let web = listeners.iter_mut().find(|listener| listener.name == "web");
    Arc::make_mut(web.expect("the shipped listener")).targets[0].weight += 40;
    trace.network.tables[1] = Arc::new(table);
    let other = in_sim::play(&trace);
    let found = compare(&trace, &sound, ("other", &other)).expect("flows went elsewhere");
    let applied = trace
        .entries
        .iter()
        .position(|entry| matches!(entry.input, Input::Apply(1)))
        .expect("the second table comes into force");
    let same = &sound.outputs[..applied];
    assert_eq!(same, &other.outputs[..applied], "not before: {found}");
    if can_play("another_weight_in_one_table_is_found, its half on the kernel,") {
        let (live, _) = on_kernel::play(&trace).expect("the kernel carries it");
        let found_live = compare(&trace, &sound, ("other", &live));
        assert_eq!(found_live, Some(found), "the kernel shows the same change");
    }
}
