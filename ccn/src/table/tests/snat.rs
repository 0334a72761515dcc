//! Leases of SNAT ports: blocks of one owner each, a rest between two owners, and a successor for the lost.

use super::*;
use crate::table::snat::{BLOCKS_PER_ADDRESS, REST};

const CLB_2: &str = "region.guangzhou.clb-2";

fn lease(node: &str, blocks: u32) -> Change {
    Change::LeaseSnat {
        clb: "gz-main".to_owned(),
        node: node.to_owned(),
        blocks,
    }
}

fn ip(last: u8) -> Change {
    create(SnatIp {
        clb: "gz-main".to_owned(),
        address: Address::v4([10, 0, 9, last]),
    })
}

fn owners(table: &Table) -> Vec<(u32, String)> {
    let blocks = table.all::<SnatBlock>();
    blocks
        .map(|block| (block.first_port, block.node.clone()))
        .collect()
}

#[test]
fn every_block_has_one_owner_and_an_address_has_55_000_ports() {
    let mut table = after([ip(1), lease(CLB_1, 2), lease(CLB_2, 1)]);
    let expected = [(10_024, CLB_1), (10_274, CLB_1), (10_524, CLB_2)];
    assert_eq!(
        owners(&table),
        expected.map(|(port, node)| (port, node.to_owned()))
    );
    table
        .take(lease(CLB_1, BLOCKS_PER_ADDRESS - 3))
        .expect("so many are left");
    let last = owners(&table).pop().expect("there are some");
    assert_eq!(last.0 + 249, 65_023);
    let refusal = table.take(lease(CLB_1, 1)).expect_err("none is left");
    assert_eq!(
        (refusal.code, refusal.reason),
        (Code::ResourceExhausted, Reason::Insufficient)
    );
    assert!(refusal.is_retryable());
    table.take(ip(2)).expect("a second address");
    table
        .take(lease(CLB_1, 1))
        .expect("it has blocks of its own");
}

#[test]
fn a_block_that_is_given_back_rests_before_it_is_leased_again() {
    let mut table = after([ip(1), lease(CLB_1, BLOCKS_PER_ADDRESS)]);
    let name = "gz-main/10.0.9.1/10024".to_owned();
    table
        .take(Change::ReleaseSnat(vec![name.clone()]))
        .expect("it is leased");
    table
        .take(Change::ReleaseSnat(vec![name]))
        .expect_err("it is not leased");
    let mut at =
        |at: Instant| table.apply(table.revision() + 1, &Command::new(at, lease(CLB_2, 1)));
    let soon = Instant::ZERO + (REST - Duration::from_nanos(1));
    assert_eq!(at(soon).expect_err("it rests").reason, Reason::Insufficient);
    at(Instant::ZERO + REST).expect("it has rested");
}

#[test]
fn blocks_of_a_lost_node_go_to_the_next_one() {
    let lost = |node: &str| Change::SetMember {
        clb_node: node.to_owned(),
        membership: Some(Membership::Lost),
        weight: None,
    };
    let mut table = after([ip(1), lease(CLB_2, 1), lost(CLB_2)]);
    assert_eq!(owners(&table), [(10_024, CLB_1.to_owned())]);
    table.take(lost(CLB_1)).expect("all may be lost");
    assert_eq!(
        owners(&table),
        [(10_024, CLB_1.to_owned())],
        "nobody is there to take it"
    );
}

#[test]
fn a_node_that_is_back_has_the_blocks_that_it_leased() {
    let member = |node: &str, membership: Membership| Change::SetMember {
        clb_node: node.to_owned(),
        membership: Some(membership),
        weight: None,
    };
    let mut table = after([ip(1), lease(CLB_1, 1), lease(CLB_2, 1)]);
    let own = owners(&table);
    let of = |node: &str| [10_024, 10_274].map(|port| (port, node.to_owned()));
    for (node, other) in [(CLB_2, CLB_1), (CLB_1, CLB_2)] {
        table
            .take(member(node, Membership::Lost))
            .expect("it is in");
        assert_eq!(owners(&table), of(other));
        table
            .take(member(node, Membership::In))
            .expect("it is back");
        assert_eq!(owners(&table), own);
    }
}

#[test]
fn addresses_are_few_and_leases_are_for_the_region_s_own_nodes() {
    let mut table = after((1..=10).map(ip));
    assert_eq!(
        table.take(ip(11)).expect_err("the 11th").reason,
        Reason::Limit
    );
    let abroad = create(clb_node("region.seoul.clb-1", "seoul", 40));
    table.take(abroad).expect("a node of another region");
    let refusal = table
        .take(lease("region.seoul.clb-1", 1))
        .expect_err("not its region");
    assert_eq!(refusal.reason, Reason::Operation);
    let gone = Change::Remove(Key::new(Kind::SnatIp, "gz-main/10.0.9.1"));
    table.take(lease(CLB_1, 1)).expect("there is one");
    table.take(gone).expect("its connections break");
    assert_eq!(table.count(Kind::SnatBlock), 0);
}
