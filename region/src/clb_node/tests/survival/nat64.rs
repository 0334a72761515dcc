//! NAT64 when slots change hands: the port of a flow goes with its entry.

use super::*;

fn v6_web(number: u32) -> FlowKey {
    client_flow(Family::V6, tcp::PROTOCOL, WEB, number)
}

#[test]
fn the_next_node_goes_on_with_the_port_that_the_target_knows() {
    let table = with_nat64(routes_of_three(1, &[0, 1, 2]), &CLB_NODES);
    let mut region = Region::new(&table);
    let flow = owned_by(&table, [0, 1], v6_web)
        .next()
        .expect("there is one");
    let opened = region.client_says(0, flow, tcp::SYN);
    let there = sound(opened.only_left().1).flow;
    assert_eq!((there.src, there.src_port), (SNAT.into(), 10_024));
    let answer = |flags| segment(there.reversed(), flags);
    region.target(0, &flow, there.dst, &answer(tcp::SYN | tcp::ACK));
    region.client_says(0, flow, tcp::ACK);
    region.crash(0);
    let without = with_nat64(routes_of_three(2, &[1, 2]), &CLB_NODES);
    region.apply(&without);
    let on = region.client_says(1, flow, tcp::ACK);
    assert_eq!(sound(on.only_left().1).flow, there);
    assert_eq!(on.taken_over(), [1]);
    let back = region.target(1, &flow, there.dst, &answer(tcp::ACK));
    assert_eq!(sound(back.only_left().1).flow, flow.reversed());
}
