//! Unbinding where flows have two owners: who cuts, who only forgets, and who cuts when the first is gone.

use std::sync::Arc;

use super::*;

const A: usize = 0;
const B: usize = 1;

/// The routes of three nodes, less the targets on `gone`.
fn less(gone: Option<NodeId>, drain: Option<Duration>) -> RouteTable {
    let mut table = routes_of_three(1, &[0, 1, 2]);
    table.clbs[0].unbind_drain = drain;
    let listeners = &mut table.clbs[0].listeners;
    for listener in listeners.iter_mut() {
        let targets = &mut Arc::make_mut(listener).targets;
        targets.retain(|target| Some(target.host) != gone);
    }
    table
}

fn host_of(target: Address) -> NodeId {
    if target == backend(1, Family::V4) {
        WEB_1
    } else {
        WEB_2
    }
}

fn resets(journey: &Journey) -> usize {
    let of = |(_, bytes): &&(Meta, Vec<u8>)| sound(untunnelled(bytes).1).tcp_flags & tcp::RST != 0;
    journey.left.iter().filter(of).count()
}

#[test]
fn the_owner_cuts_an_unbound_flow_and_the_replica_is_dropped_without_a_word_in_either_order() {
    for order in [[A, B], [B, A]] {
        let table = less(None, None);
        let mut region = Region::new(&table);
        let flow = flow_owned_by(&table, [A, B], 0);
        let target = region.establish(A, flow);
        assert_eq!((region.own()[A], region.replicas()[B]), (1, 1));
        let after = less(Some(host_of(target)), None);
        let mut journey = Journey::default();
        for place in order {
            region.apply_at(place, &after, &mut journey);
        }
        assert_eq!(resets(&journey), 2, "one for each end");
        assert_eq!((region.own()[A], region.replicas()[B]), (0, 0));
        let said = region.client_says(B, flow, tcp::ACK);
        assert!(said.is_reset(), "nobody knows it any more");
        region.check_sums();
    }
}

#[test]
fn an_owner_that_has_the_new_routes_makes_one_with_the_old_ones_forget_too() {
    let table = less(None, None);
    let mut region = Region::new(&table);
    let flow = flow_owned_by(&table, [A, B], 0);
    let target = region.establish(A, flow);
    let mut journey = Journey::default();
    region.apply_at(A, &less(Some(host_of(target)), None), &mut journey);
    assert_eq!(resets(&journey), 2);
    assert_eq!((region.own()[A], region.replicas()[B]), (0, 0));
}

#[test]
fn who_takes_over_a_draining_flow_cuts_it_when_the_drain_is_over() {
    let drain = Some(secs(30));
    let table = less(None, drain);
    let mut region = Region::new(&table);
    let flow = flow_owned_by(&table, [A, B], 0);
    let target = region.establish(A, flow);
    region.apply(&less(Some(host_of(target)), drain));
    region.crash(A);
    region.pass(secs(20));
    let said = region.client_says(B, flow, tcp::ACK);
    assert_eq!((said.target(), said.taken_over()), (target, vec![B]));
    region.target_says(B, flow, target, tcp::ACK);
    let journey = region.pass(secs(10));
    assert_eq!(resets(&journey), 2);
    assert_eq!((region.own()[B], region.replicas()[B]), (0, 0));
    region.check_sums();
}
