//! VIPs: their addresses, publish domains, and what they are bound to.

use super::*;

#[test]
fn vips_are_published_and_bound_as_the_product_allows() {
    let publish = |pops: &[&str]| Change::SetPublishDomain {
        vip: "game".to_owned(),
        publish: pops.iter().map(|pop| (*pop).to_owned()).collect(),
    };
    let to = |clb: &str| {
        let unbound = vip("gold", &["203.0.113.11"]);
        create(Vip {
            clb: clb.to_owned(),
            ..unbound
        })
    };
    let kind = |change: fn(&mut Clb)| vec![create(clb(change))];
    let v6 = |clb: &mut Clb| clb.ip_version = IpVersion::V6;
    cases! {
        "an unknown POP": vec![], publish(&["pop.tokio"]) => NO_RESOURCE;
        "an empty domain": vec![], publish(&[]) => MISSING;
        "a POP twice": vec![], publish(&["pop.tokyo", "pop.tokyo"]) => DUPLICATE;
        "a public one": kind(|it| it.clb_type = ClbType::Public), to("new") => CLB_STATUS;
        "a classic one": kind(|it| it.classic = true), to("new") => CLB_STATUS;
        "the basic network": kind(|it| it.network = "basic".to_owned()), to("new") => CLB_STATUS;
        "another family": kind(v6), to("new") => PROTOCOL;
        "none there": vec![], to("none") => NO_CLB;
        "a second VIP, as the product has it": vec![tencent()], to("gz-main") => CLB_STATUS;
        "another VIP's address": vec![], create(vip("gold", &["203.0.113.10"])) => DUPLICATE;
        "no address": vec![], create(vip("gold", &[])) => MISSING;
        "unbinding what is not bound":
            vec![to("")], Change::BindVip { vip: "gold".to_owned(), clb: String::new(), } => PRECONDITION;
        "a VIP that is not there":
            vec![], Change::BindVip { vip: "gold".to_owned(), clb: "gz-main".to_owned(), } => NO_RESOURCE;
        "a drain that leaves too few":
            vec![Change::SetDraining(Key::new(Kind::Pop, "pop.tokyo"), true)],
            Change::SetDraining(Key::new(Kind::Pop, "pop.frankfurt"), true) => PRECONDITION;
        "a POP without a way to the region":
            vec![create(pop("pop.seoul", 9))], publish(&["pop.seoul"]) => PRECONDITION;
        "a prefix without a free address":
            vec![create(Prefix { name: "small".to_owned(), network: Network { address: address("203.0.113.8"), length: 31, }, })],
            create(Vip { prefix: "small".to_owned(), ..vip("gold", &[]) }) => INSUFFICIENT;
    }
}
