//! Load balancers: kinds, networks, binding across regions, quotas.

use super::*;

#[test]
fn load_balancers_are_of_kinds_that_exist() {
    let v6 = |change: fn(&mut Clb)| {
        create(clb(|clb| {
            clb.ip_version = IpVersion::V6;
            change(clb);
        }))
    };
    let allowed = Settings {
        ipv6_regions: vec!["seoul".to_owned()],
        ..Settings::default()
    };
    let public = |clb: &mut Clb| {
        clb.clb_type = ClbType::Public;
        clb.cross_region = CrossRegion::V1;
        clb.backend_region = "seoul".to_owned();
    };
    let first = create(clb(public));
    cases! {
        "classic and IPv6": vec![], v6(|it| it.classic = true) => CLB_STATUS;
        "IPv6 in another region": vec![ensure(allowed)], v6(|_| {}) => NO_REGION;
        "no IPv6 range": vec![], v6(|it| it.network_has_ipv6 = false) => PRECONDITION;
        "another ISP": vec![], create(clb(|it| it.isp = "CMCC".to_owned())) => VALUE;
        "internal IPv6, as the product has it": vec![tencent()], v6(|_| {}) => CLB_STATUS;
        "no such region": vec![], create(Clb::new("new", "moon")) => NO_REGION;
        "1.0 on an internal one":
            vec![], create(clb(|it| { public(it); it.clb_type = ClbType::Internal; })) => CLB_STATUS;
        "1.0 in its own region":
            vec![], create(clb(|it| { public(it); it.backend_region = "guangzhou".to_owned(); })) => PRECONDITION;
        "1.0 taken back": vec![first.clone()], update(clb(|it| it.clb_type = ClbType::Public)) => PRECONDITION;
        "1.0 and 2.0 at once":
            vec![],
            create(clb(|it| { it.cross_region = CrossRegion::V2; it.backend_region = "seoul".to_owned(); })) => PRECONDITION;
        "classic and 2.0":
            vec![], create(clb(|it| { it.cross_region = CrossRegion::V2; it.classic = true; })) => CLB_STATUS;
        "a sixth security group":
            vec![], create(clb(|it| it.security_groups = vec!["sg".to_owned(); 6])) => LIMIT;
        "one too many": vec![quotas(|it| it.clbs = 1)], create(clb(|_| {})) => LIMIT;
        "there already": vec![], create(Clb::new("gz-main", "guangzhou")) => DUPLICATE;
        "not there": vec![], update(clb(|_| {})) => NO_CLB;
        "a name too long": vec![], create(Clb::new(&"a".repeat(81), "guangzhou")) => LENGTH;
        "no name": vec![], create(Clb::new("A b", "guangzhou")) => FORMAT;
        "bound to a VIP": vec![], Change::Remove(Key::new(Kind::Clb, "gz-main")) => IN_USE;
        "a drain of more than a day":
            vec![], create(clb(|it| { it.unbind_drain = Some(Duration::from_secs(86_401)) })) => RANGE;
    }
}

#[test]
fn shared_instances_are_of_one_profile() {
    let shared = || create(clb(|it| it.instance_type = InstanceType::Shared));
    cases! {
        "of no profile": vec![], shared() => CLB_STATUS;
    }
    after([tencent(), shared()]);
}

#[test]
fn features_in_closed_beta_need_an_approval() {
    let off = |name: &str| {
        ensure(Settings {
            betas_off: vec![name.to_owned()],
            ..Settings::default()
        })
    };
    let joined = || create(clb(|it| it.cross_region = CrossRegion::V2));
    let bind = |clb: &str| Change::BindVip {
        vip: "game".to_owned(),
        clb: clb.to_owned(),
    };
    cases! {
        "cross-region binding 2.0": vec![off("cross-region-2.0")], joined() => NO_APPROVAL;
        "an anycast address": vec![bind(""), off("anycast")], bind("gz-main") => NO_APPROVAL;
        "a feature that nobody knows": vec![], off("layer-8") => VALUE;
    }
    after([joined(), bind(""), bind("gz-main")]);
    after([off("anycast"), joined()]);
}
