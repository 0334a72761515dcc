//! Nodes that were silent and are heard again, with tables that stay what they were: nobody says that one crashed but
//! its own probes.

use anyedge_net::route_table::Probing;

use super::*;

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

/// Routes of three nodes that probe each other.
fn probed(off: impl Fn(&mut Mechanisms)) -> RouteTable {
    let mut table = without(routes_of_three(1, &[A, B, C]), off);
    table.probing = Some(Probing::default());
    table
}

impl Region {
    /// Time passes, and probes find their peers while they are awaited.
    fn pass_probing(&mut self, duration: Duration) -> Journey {
        const STEP: Duration = Duration::from_millis(5);
        let mut journey = Journey::default();
        for _ in 0..duration.as_millis() / STEP.as_millis() {
            let step = self.pass(STEP);
            journey.messages += step.messages;
            journey.events.extend(step.events);
        }
        journey
    }
}

fn resynced(event: &Event) -> bool {
    matches!(event, Event::SlotsResynced { flows, .. } if *flows > 0)
}

#[test]
fn a_node_that_is_back_with_nothing_in_mind_is_told_the_flows_of_its_slots_again() {
    for down_ms in [1_000, 50] {
        let table = probed(|_| ());
        let mut region = Region::new(&table);
        for owners in [[A, B], [B, A], [A, C], [C, A], [B, C]] {
            let flows: Vec<FlowKey> = flows_owned_by(&table, owners).take(3).collect();
            for flow in flows {
                region.establish(owners[0], flow);
            }
        }
        let begun = region.pass_probing(secs(1));
        assert_eq!((begun.messages, begun.places(resynced)), (0, vec![]));
        assert_eq!((region.own(), region.replicas()), ([6, 6, 3], [6, 3, 6]));
        region.crash(A);
        region.pass_probing(Duration::from_millis(down_ms));
        region.restart(A, &table);
        assert_eq!((region.own()[A], region.replicas()[A]), (0, 0));
        let back = region.pass_probing(secs(1));
        // Those that were its own are held as what they were at the others.
        assert_eq!(region.replicas()[A], 12, "down for {down_ms} ms");
        let tellers = back.places(resynced);
        assert!([B, C].iter().all(|node| tellers.contains(node)));
        assert_eq!((region.own()[B], region.own()[C]), (6, 3));
    }
}

#[test]
fn without_bulk_sync_a_node_that_is_back_stays_empty() {
    let table = probed(|on| on.bulk_sync = false);
    let mut region = Region::new(&table);
    let flow = flow_owned_by(&table, [B, A], 0);
    region.establish(B, flow);
    region.crash(A);
    region.pass_probing(secs(1));
    region.restart(A, &table);
    region.pass_probing(secs(2));
    assert_eq!(region.replicas()[A], 0);
}

#[test]
fn what_was_told_to_a_node_while_the_way_to_it_was_cut_is_told_again() {
    let table = probed(|_| ());
    let mut region = Region::new(&table);
    // Nobody knows yet that it is cut.
    region.mesh = false;
    let flow = flow_owned_by(&table, [A, B], 0);
    region.establish(A, flow);
    region.pass_probing(secs(1));
    assert_eq!(region.replicas()[B], 0);
    region.mesh = true;
    region.pass_probing(secs(1));
    assert_eq!((region.own(), region.replicas()), ([1, 0, 0], [0, 1, 0]));
    region.check_sums();
}

#[test]
fn a_node_that_was_there_before_asks_for_datagrams_that_it_does_not_know() {
    let table = probed(|on| on.bulk_sync = false);
    let mut region = Region::new(&table);
    let tick = |number| client_flow(Family::V4, udp::PROTOCOL, TICK_PORT, number);
    let flow = owned_by(&table, [A, B], tick).next();
    let flow = flow.expect("a node owns a third of the slots");
    // At the very beginning nobody is asked.
    assert_eq!(region.client(A, &flow, &datagram(flow, b"1")).hops, 0);
    region.pass_probing(secs(1));
    region.crash(A);
    region.restart(A, &table);
    region.pass_probing(Duration::from_millis(200));
    assert_eq!(region.client(A, &flow, &datagram(flow, b"2")).hops, 1);
}
