//! One target among 100,000 changes, and no packet waits, is lost or goes elsewhere for it.
//!
//! What a change costs in time is a benchmark, `pauses`; here is what it costs in packets.

use anyedge_net::forwarder::BATCH_MAX;
use anyedge_net::route_table::HealthCheck;
use anyedge_tests::busy_node::BusyNode;

#[test]
fn every_packet_passes_while_targets_change_weight_and_come_and_go() {
    for health in [None, Some(HealthCheck::default())] {
        let mut busy = BusyNode::new(2_000, health);
        assert_eq!((busy.flows(), busy.dropped()), (2_000, 0));
        for round in 0..200 {
            busy.apply_next();
            for _ in 0..4 {
                busy.fill();
                assert_eq!(busy.forward(), BATCH_MAX, "after table {round}");
            }
        }
        assert_eq!((busy.flows(), busy.dropped()), (2_000, 0));
    }
}
