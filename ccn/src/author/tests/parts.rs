//! Nodes that are in or not, POPs that drain, and load balancers that stand by.

use super::*;

const CLB_1: &str = "region.guangzhou.clb-1";
const CLB_2: &str = "region.guangzhou.clb-2";

/// How many slots of the first region `node` serves.
fn slots_of(table: &RouteTable, node: &str) -> usize {
    let node = table.node_named(node).expect("a node of the table");
    let slots = &table.regions[0].slots;
    let slots = (0..anyedge_net::slot::SLOTS).map(|slot| slots.owners(slot as u16).primary);
    slots.filter(|primary| *primary == node).count()
}

#[test]
fn a_node_that_is_not_in_keeps_its_id_and_serves_nothing() {
    for membership in [Membership::Drained, Membership::Lost, Membership::Absent] {
        let mut author = author(plans());
        author
            .set_membership(CLB_1, membership)
            .expect("there is such a node");
        let table = author.publish(Instant::ZERO).expect("the plans make sense");
        assert_eq!(table.regions[0].clb_nodes, [NodeId(3), NodeId(4)]);
        let shares = (slots_of(&table, CLB_1), slots_of(&table, CLB_2));
        assert_eq!(shares, (0, 65_521), "{membership:?}");
    }
}

#[test]
fn slots_follow_the_weights_of_nodes() {
    let mut author = author(plans());
    author
        .set_node_weight(CLB_1, 3 * NODE_WEIGHT)
        .expect("there is such a node");
    let table = author.publish(Instant::ZERO).expect("the plans make sense");
    let share = slots_of(&table, CLB_1) * 1_000 / 65_521;
    assert!((748..=752).contains(&share), "{share} of 1,000");
}

#[test]
fn a_change_of_a_node_that_is_none_is_refused() {
    let mut author = author(plans());
    let error = author.set_membership("pop.tokyo", Membership::Lost);
    assert_eq!(
        error.expect_err("a POP is no CLB node").to_string(),
        "a change of membership refers to CLB node `pop.tokyo`, which does not exist"
    );
    let error = author.set_node_weight("clb-9", 1);
    assert!(
        error
            .expect_err("no such node")
            .to_string()
            .contains("`clb-9`")
    );
    assert_eq!(
        author
            .set_node_weight(CLB_1, 101)
            .expect_err("too much")
            .to_string(),
        "CLB node `region.guangzhou.clb-1` has weight 101; a weight is 0 to 100"
    );
    let error = author.set_draining("host.web-1", true);
    assert!(
        error
            .expect_err("no POP")
            .to_string()
            .contains("a drain refers to POP")
    );
}

#[test]
fn a_drain_leaves_a_vip_the_pops_that_it_needs() {
    let mut author = author(plans());
    author.set_draining("pop.tokyo", true).expect("one is left");
    assert_eq!(
        author
            .set_draining("pop.frankfurt", true)
            .expect_err("none would be left")
            .to_string(),
        "VIP `game` would have 0 POPs that do not drain; it needs 1"
    );
    let draining = |table: &RouteTable| -> Vec<bool> {
        table.nodes.iter().map(|node| node.draining).collect()
    };
    let table = author.publish(Instant::ZERO).expect("the plans make sense");
    assert_eq!(draining(&table), [false, false, true, false, false]);
    author
        .set_draining("pop.tokyo", false)
        .expect("there is such a POP");
    author
        .set_draining("pop.frankfurt", true)
        .expect("tokyo is back");
    let table = author.publish(Instant::ZERO).expect("the plans make sense");
    assert_eq!(draining(&table), [false, true, false, false, false]);
}

/// The small world with a second region, seoul, whose load balancer `kr` stands by for the VIP.
fn with_standby() -> Plans {
    let mut plans = plans();
    plans.regions.push(RegionPlan {
        name: "seoul".to_owned(),
        clb_nodes: vec![node("region.seoul.clb-1", 6)],
    });
    plans.clbs.push(ClbPlan {
        name: "kr".to_owned(),
        region: "seoul".to_owned(),
        listeners: vec![],
        ..plans.clbs[0].clone()
    });
    for pop in ["tokyo", "frankfurt"] {
        let ends = EndsPlan::Ccn {
            pop: format!("pop.{pop}"),
            region: "seoul".to_owned(),
        };
        let name = format!("{pop}-seoul");
        plans.paths.push(path(&name, ends, Family::V4, 1_500));
    }
    plans.vips[0].standby = vec!["kr".to_owned()];
    plans
}

fn clb_of_vip(table: &RouteTable) -> &str {
    let vip = table.vips.values().next().expect("one VIP");
    &table.clbs[vip.clb.index()].name
}

#[test]
fn a_standby_has_the_vip_while_nobody_is_in_at_home() {
    let mut author = author(with_standby());
    let mut clb_with = |changes: &[(&str, Membership)]| {
        for (node, membership) in changes {
            author
                .set_membership(node, *membership)
                .expect("there is such a node");
        }
        let table = author.publish(Instant::ZERO).expect("the plans make sense");
        clb_of_vip(&table).to_owned()
    };
    assert_eq!(clb_with(&[]), "gz-main");
    assert_eq!(clb_with(&[(CLB_1, Membership::Lost)]), "gz-main");
    assert_eq!(clb_with(&[(CLB_2, Membership::Lost)]), "kr");
    let nobody = [("region.seoul.clb-1", Membership::Lost)];
    assert_eq!(clb_with(&nobody), "gz-main", "nobody anywhere: home");
    assert_eq!(clb_with(&[(CLB_2, Membership::In)]), "gz-main");
}

/// A way between the small world's two regions.
fn backbone(mtu: u16) -> PathPlan {
    let regions = ["seoul".to_owned(), "guangzhou".to_owned()];
    path(
        "guangzhou-seoul",
        EndsPlan::Backbone { regions },
        Family::V4,
        mtu,
    )
}

/// `inner_mtu` of `gz-main` and `kr`.
fn inner_mtus(plans: Plans) -> [u16; 2] {
    let table = published(plans);
    [table.clbs[0].inner_mtu, table.clbs[1].inner_mtu]
}

#[test]
fn a_detour_over_another_region_counts_with_all_its_paths() {
    let with = |mtu: u16, ccn_mtu: u16| {
        let mut plans = with_standby();
        plans.vips[0].standby.clear();
        plans.paths[3].mtu = ccn_mtu;
        plans.paths.push(backbone(mtu));
        inner_mtus(plans)
    };
    let never_used = u16::MAX;
    assert_eq!(with(1_500, 1_500), [1_472, never_used]);
    assert_eq!(with(1_400, 1_500), [1_372, never_used], "between regions");
    assert_eq!(
        with(1_500, 1_400),
        [1_372, never_used],
        "to the other region"
    );
    let mut apart = with_standby();
    apart.vips[0].standby.clear();
    apart.paths[3].mtu = 1_400;
    assert_eq!(inner_mtus(apart)[0], 1_472, "no way on from there");
}

#[test]
fn a_publisher_may_reach_its_regions_by_detours_alone() {
    let mut plans = with_standby();
    plans.paths.push(backbone(1_440));
    let reaches =
        |plan: &PathPlan| plan.name != "tokyo-guangzhou" && plan.name != "frankfurt-seoul";
    plans.paths.retain(reaches);
    assert_eq!(inner_mtus(plans), [1_412, 1_412]);
}

#[test]
fn the_path_among_clb_nodes_counts() {
    let mut plans = with_standby();
    let region = "guangzhou".to_owned();
    plans.paths.push(path(
        "region.guangzhou",
        EndsPlan::Mesh { region },
        Family::V6,
        1_450,
    ));
    assert_eq!(inner_mtus(plans), [1_402, 1_472]);
}

#[test]
fn a_standby_needs_a_path_from_every_publisher_and_its_packets_fit() {
    let mut plans = with_standby();
    plans.paths[4].mtu = 1_400;
    let table = published(plans.clone());
    let mtus: Vec<u16> = table.clbs.iter().map(|clb| clb.inner_mtu).collect();
    assert_eq!(mtus, [1_472, 1_372, u16::MAX]);
    plans.paths.pop();
    assert_eq!(
        author(plans)
            .publish(Instant::ZERO)
            .expect_err("frankfurt does not reach seoul")
            .to_string(),
        "VIP `game` is published by `pop.frankfurt`, which has no path to region `seoul`"
    );
}
