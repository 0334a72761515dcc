//! That what is told becomes what is wanted, in messages that fit.

use super::*;
use crate::bgp::GRACEFUL_SHUTDOWN;
use crate::bgp::frame::HEADER_BYTES;
use crate::bgp::update::{self, Sender, Update};

fn terms() -> Terms {
    Terms {
        local_as: 65_001,
        local_pref: None,
        next_hop_v4: Some([192, 0, 2, 1].into()),
        next_hop_v6: Some("2001:db8::1".parse().expect("an address")),
        families: Family::ALL.to_vec(),
    }
}

fn read(messages: &[Vec<u8>]) -> Vec<Update> {
    let sender = Sender {
        as_number: 65_001,
        internal: false,
    };
    let update = |message: &Vec<u8>| {
        assert!(message.len() <= MESSAGE_BYTES_MAX, "{}", message.len());
        update::read(&message[HEADER_BYTES..], sender).expect("our own messages are good")
    };
    messages.iter().map(update).collect()
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

fn told(prefixes: &[&str], offer: &Offer) -> AdjRibOut {
    let mut out = AdjRibOut::default();
    out.restart();
    let wanted = prefixes.iter().map(|text| (net(text), offer.clone()));
    out.want(Arc::new(wanted.collect()), false);
    out
}

#[test]
fn both_families_are_told_and_ended() {
    let offer = Offer {
        med: Some(5),
        prepend: 2,
        communities: [7].into(),
    };
    let mut out = told(&["198.51.100.1/32", "2001:db8:1::/48"], &offer);
    let [four, six, ended_four, ended_six] = &read(&out.update(&terms()))[..] else {
        panic!("two routes and two ends");
    };
    for (update, prefix) in [(four, "198.51.100.1/32"), (six, "2001:db8:1::/48")] {
        let [(attributes, prefixes)] = &update.announced[..] else {
            panic!("{update:?}");
        };
        assert_eq!(prefixes[..], [net(prefix)]);
        assert_eq!(attributes.as_path_length(), 3);
        assert_eq!(
            (attributes.med, &attributes.communities[..]),
            (Some(5), &[7][..])
        );
        assert_eq!(attributes.next_hop.is_ipv4(), prefixes[0].addr().is_ipv4());
    }
    assert_eq!(ended_four.end_of_rib, Some(Family::V4));
    assert_eq!(ended_six.end_of_rib, Some(Family::V6));
}

#[test]
fn only_the_difference_is_told() {
    let offer = Offer::default();
    let mut out = told(&["198.51.100.1/32", "198.51.100.2/32"], &offer);
    out.update(&terms());
    assert!(!out.is_dirty());
    let wanted: BTreeMap<_, _> = ["198.51.100.2/32", "198.51.100.3/32"]
        .map(|text| (net(text), offer.clone()))
        .into();
    out.want(Arc::new(wanted.clone()), false);
    let [gone, news] = &read(&out.update(&terms()))[..] else {
        panic!("one withdrawal, one announcement");
    };
    assert_eq!(gone.withdrawn, [net("198.51.100.1/32")]);
    assert_eq!(news.announced[0].1, [net("198.51.100.3/32")]);
    out.want(Arc::new(wanted.clone()), false);
    assert!(!out.is_dirty());
    out.want(Arc::new(wanted), true);
    let [drained] = &read(&out.update(&terms()))[..] else {
        panic!("one announcement");
    };
    assert_eq!(drained.announced[0].0.communities, [GRACEFUL_SHUTDOWN]);
    assert_eq!(drained.announced[0].1.len(), 2);
}

#[test]
fn a_refresh_tells_one_family_again_and_withdraws_nothing() {
    let mut out = told(&["198.51.100.1/32", "2001:db8:1::/48"], &Offer::default());
    out.update(&terms());
    out.repeat(Family::V6);
    let [again] = &read(&out.update(&terms()))[..] else {
        panic!("one announcement");
    };
    assert_eq!(again.announced[0].1, [net("2001:db8:1::/48")]);
    assert_eq!(again.withdrawn, []);
}

#[test]
fn many_prefixes_share_messages_that_fit() {
    let mut out = AdjRibOut::default();
    out.restart();
    let communities = (0..300).collect();
    let offer = Offer {
        med: Some(1),
        prepend: 255,
        communities,
    };
    let v4 = (0..5_000u32).map(|number| Ipv4Addr::from(0x0a00_0000 + number).into());
    let v6 = (0..5_000u128).map(|number| Ipv6Addr::from((0x2001_0db8 << 96) + number).into());
    let wanted: BTreeMap<IpNet, Offer> = v4
        .chain(v6)
        .map(|address: core::net::IpAddr| (IpNet::from(address), offer.clone()))
        .collect();
    out.want(Arc::new(wanted.clone()), false);
    let updates = read(&out.update(&terms()));
    let announced = updates.iter().flat_map(|update| &update.announced);
    let count: usize = announced.map(|(_, prefixes)| prefixes.len()).sum();
    assert_eq!(count, wanted.len());
    // 4,032 bytes less 1,208 for attributes: 564 prefixes of 5 bytes, 166 of 17.
    assert_eq!(
        updates.len(),
        2 + 5_000usize.div_ceil(564) + 5_000usize.div_ceil(166)
    );
    out.want(Arc::default(), false);
    let updates = read(&out.update(&terms()));
    let count: usize = updates.iter().map(|update| update.withdrawn.len()).sum();
    assert_eq!(count, wanted.len());
}

#[test]
fn without_a_next_hop_or_the_peers_consent_a_family_stays_untold() {
    let mut out = told(
        &["198.51.100.1/32", "2001:db8:1::/48", "224.0.0.0/8"],
        &Offer::default(),
    );
    let terms = Terms {
        next_hop_v6: None,
        ..terms()
    };
    assert_eq!(read(&out.update(&terms)).len(), 3);
    assert_eq!(out.told().count(), 1);
    let internal = Terms {
        local_pref: Some(100),
        families: vec![Family::V6],
        ..terms
    };
    let withdrawal = out.update(&internal);
    assert_eq!(read(&withdrawal)[0].withdrawn, [net("198.51.100.1/32")]);
    assert_eq!(withdrawal.len(), 1);
}
