//! UPDATEs, good and bad: what each mistake costs, by RFC 7606.

use super::*;
use crate::bgp::attributes::Origin;

const EXTERNAL: Sender = Sender {
    as_number: 65_002,
    internal: false,
};
const INTERNAL: Sender = Sender {
    as_number: 65_001,
    internal: true,
};

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 2];
/// 10.0.0.0/8.
const ROUTE: &[u8] = &[8, 10];

fn body(withdrawn: &[u8], attributes: &[&[u8]], routes: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let length = |list: &[u8]| (list.len() as u16).to_be_bytes();
    [
        &length(withdrawn),
        withdrawn,
        &length(&attributes),
        &attributes,
        routes,
    ]
    .concat()
}

fn read_with(attributes: &[&[u8]]) -> Result<Update, Notification> {
    read(&body(&[], attributes, ROUTE), EXTERNAL)
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

/// That an UPDATE with these attributes withdraws its route, because of the attribute `code`.
fn withdraws(attributes: &[&[u8]], code: u8) {
    let update = read_with(attributes).expect("the session goes on");
    assert_eq!(update.malformed, Some(code), "{attributes:?}");
    assert_eq!(update.withdrawn, [net("10.0.0.0/8")], "{attributes:?}");
    assert_eq!(update.announced, []);
}

fn ends(attributes: &[&[u8]], code: Code) -> Vec<u8> {
    let notification = read_with(attributes).expect_err("the session ends");
    assert_eq!(notification.code, code, "{attributes:?}");
    notification.data
}

#[test]
fn a_route_comes_with_all_that_is_said_of_it() {
    let med = [0x80, 4, 4, 0, 0, 0, 7];
    let communities = [0xc0, 8, 8, 0xff, 0xff, 0, 0, 0xfd, 0xea, 0, 1];
    let unknown = [0xc0, 200, 1, 9];
    let aggregate = [0x40, 6, 0];
    let update = read_with(&[
        ORIGIN,
        AS_PATH,
        NEXT_HOP,
        &med,
        &communities,
        &unknown,
        &aggregate,
    ]);
    let expected = Attributes {
        origin: Origin::Igp,
        as_path: vec![Segment::Sequence(vec![65_002])],
        next_hop: [192, 0, 2, 2].into(),
        med: Some(7),
        local_pref: None,
        communities: vec![0xffff_0000, 0xfdea_0001],
    };
    assert_eq!(expected.as_path_length(), 1);
    let announced = vec![(expected, vec![net("10.0.0.0/8")])];
    let expected = Update {
        announced,
        ..Update::default()
    };
    assert_eq!(update, Ok(expected));
}

#[test]
fn ipv6_routes_come_and_go_by_the_mp_attributes() {
    let hop = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let reach = |hop: &[u8]| {
        let list = [32, 0x20, 1, 0xd, 0xb8];
        let value = [&[0, 2, 1, hop.len() as u8][..], hop, &[0], &list].concat();
        [&[0x80, 14, value.len() as u8][..], &value].concat()
    };
    let link_local = [&hop[..], &hop].concat();
    for hop in [&hop[..], &link_local] {
        let body = body(&[], &[ORIGIN, AS_PATH, &reach(hop)], &[]);
        let update = read(&body, EXTERNAL).expect("it is good");
        let [(attributes, prefixes)] = &update.announced[..] else {
            panic!("{update:?}");
        };
        assert_eq!(
            attributes.next_hop,
            "2001:db8::1".parse::<IpAddr>().expect("one")
        );
        assert_eq!(prefixes[..], [net("2001:db8::/32")]);
    }
    assert_eq!(ends(&[&reach(&hop[..4])], Code::OPTIONAL_ATTRIBUTE), []);
    let gone = [0x80, 15, 8, 0, 2, 1, 32, 0x20, 1, 0xd, 0xb8];
    let update = read(&body(&[], &[&gone], &[]), EXTERNAL).expect("it is good");
    assert_eq!(update.withdrawn, [net("2001:db8::/32")]);
    assert_eq!(update.end_of_rib, None);
    // Families that nobody asked for say nothing.
    let vpn = [0x80, 15, 5, 0, 1, 128, 200, 1];
    let update = read(&body(&[], &[&vpn], &[]), EXTERNAL);
    assert_eq!(update, Ok(Update::default()));
}

#[test]
fn an_end_of_rib_is_told_from_a_withdrawal() {
    let ended = |body: &[u8]| read(body, EXTERNAL).expect("it is good").end_of_rib;
    assert_eq!(ended(&body(&[], &[], &[])), Some(Family::V4));
    assert_eq!(
        ended(&body(&[], &[&[0x80, 15, 3, 0, 2, 1]], &[])),
        Some(Family::V6)
    );
    assert_eq!(ended(&body(ROUTE, &[], &[])), None);
}

#[test]
fn a_wrong_attribute_withdraws_its_routes() {
    withdraws(&[&[0x40, 1, 1, 3], AS_PATH, NEXT_HOP], 1);
    withdraws(&[&[0x40, 1, 2, 0, 0], AS_PATH, NEXT_HOP], 1);
    withdraws(&[&[0xc0, 1, 1, 0], AS_PATH, NEXT_HOP], 1);
    for path in [
        &[0x40, 2, 1, 2][..],
        &[0x40, 2, 2, 2, 0],
        &[0x40, 2, 6, 7, 1, 0, 0, 0xfd, 0xea],
        &[0x40, 2, 6, 2, 2, 0, 0, 0xfd, 0xea],
        // Its first AS is not the neighbour's, or AS 0 stands in it, or it is empty.
        &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xeb],
        &[0x40, 2, 10, 2, 2, 0, 0, 0xfd, 0xea, 0, 0, 0, 0],
        &[0x40, 2, 0],
    ] {
        withdraws(&[ORIGIN, path, NEXT_HOP], 2);
    }
    withdraws(&[ORIGIN, AS_PATH, &[0x40, 3, 3, 1, 2, 3]], 3);
    for hop in [[0, 0, 0, 0], [224, 0, 0, 1], [127, 0, 0, 1], [255; 4]] {
        let hop = [&[0x40, 3, 4][..], &hop].concat();
        withdraws(&[ORIGIN, AS_PATH, &hop], 3);
    }
    withdraws(&[ORIGIN, AS_PATH, NEXT_HOP, &[0x80, 4, 3, 0, 0, 0]], 4);
    withdraws(&[ORIGIN, AS_PATH, NEXT_HOP, &[0xc0, 8, 3, 0, 0, 0]], 8);
    withdraws(&[ORIGIN, AS_PATH, NEXT_HOP, &[0xc0, 8, 0]], 8);
    withdraws(&[ORIGIN, AS_PATH, NEXT_HOP, &[0xc0, 16, 4, 0, 0, 0, 0]], 16);
    withdraws(&[ORIGIN, AS_PATH, NEXT_HOP, &[0xc0, 32, 4, 0, 0, 0, 0]], 32);
    // One that reaches beyond the list hides what follows.
    withdraws(&[ORIGIN, AS_PATH, NEXT_HOP, &[0x80, 4, 9, 0]], 4);
}

#[test]
fn a_missing_attribute_withdraws_its_routes() {
    withdraws(&[AS_PATH, NEXT_HOP], 1);
    withdraws(&[ORIGIN, NEXT_HOP], 2);
    withdraws(&[ORIGIN, AS_PATH], 3);
}

#[test]
fn local_preference_counts_inside_an_as_alone() {
    let pref = [0x40, 5, 4, 0, 0, 0, 200];
    let attributes = [ORIGIN, &[0x40, 2, 0], NEXT_HOP, &pref];
    let update = read(&body(&[], &attributes, ROUTE), INTERNAL).expect("it is good");
    assert_eq!(update.announced[0].0.local_pref, Some(200));
    let update = read_with(&[ORIGIN, AS_PATH, NEXT_HOP, &[0x40, 5, 1, 0]]).expect("it is good");
    assert_eq!(update.announced[0].0.local_pref, None);
}

#[test]
fn what_cannot_be_told_apart_ends_the_session() {
    let lengths = read(&[0, 9, 0, 0], EXTERNAL).expect_err("it is bad");
    assert_eq!(lengths.code, Code::MALFORMED_ATTRIBUTES);
    let lengths = read(&[0, 0, 0, 9, 1], EXTERNAL).expect_err("it is bad");
    assert_eq!(lengths.code, Code::MALFORMED_ATTRIBUTES);
    for body in [body(&[33, 0], &[], &[]), body(&[], &[], &[24, 1])] {
        let bad = read(&body, EXTERNAL).expect_err("it is bad");
        assert_eq!(bad.code, Code::INVALID_NETWORK);
    }
    let twice = [0x80, 15, 3, 0, 2, 1];
    ends(&[&twice, &twice], Code::MALFORMED_ATTRIBUTES);
    let unknown = [0x40, 99, 1, 5];
    assert_eq!(ends(&[&unknown], Code::UNRECOGNIZED_WELL_KNOWN), unknown);
    ends(&[&[0x80, 15, 5, 0, 2, 1, 129, 0]], Code::OPTIONAL_ATTRIBUTE);
    ends(&[&[0x80, 14, 2, 0, 2]], Code::OPTIONAL_ATTRIBUTE);
}

#[test]
fn of_a_doubled_attribute_the_first_counts() {
    let update = read_with(&[ORIGIN, &[0x40, 1, 1, 2], AS_PATH, NEXT_HOP]).expect("it is good");
    assert_eq!(update.announced[0].0.origin, Origin::Igp);
}
