//! Listeners and rules: ports, protocols, schedulers, sessions, domains and URLs.

use std::sync::Arc;

use anyedge_net::route_table::{Exchange, HealthCheck, Method};
use anyedge_net::wire::proxy::ProxyProtocol;
use anyedge_net::wire::toa::Toa;

use super::*;

#[test]
fn listeners_keep_to_ports_protocols_and_schedulers() {
    let new =
        |protocol, port, change: fn(&mut Listener)| create(new_listener(protocol, port, change));
    let quic = |change: fn(&mut Clb)| {
        let world = vec![create(clb(change))];
        let listener = new_listener(Protocol::Quic, 443, |it| it.clb = "new".to_owned());
        (world, create(listener))
    };
    let (on_classic, classic) = quic(|it| it.classic = true);
    let (on_basic, basic) = quic(|it| it.network = "basic".to_owned());
    let (on_v6, v6) = quic(|it| it.ip_version = IpVersion::V6);
    let strict = Settings {
        strict_ports: true,
        ..Settings::default()
    };
    let many: Vec<Change> = (0..47)
        .map(|number| {
            create(Listener::new(
                "gz-main",
                &format!("l-{number}"),
                Protocol::Tcp,
                10_000 + number,
            ))
        })
        .collect();
    cases! {
        "port 0": vec![], new(Protocol::Tcp, 0, |_| {}) => RANGE;
        "port 65536": vec![], new(Protocol::Quic, 65_536, |_| {}) => RANGE;
        "TCP twice": vec![], new(Protocol::Tcp, 80, |_| {}) => TAKEN;
        "TCP and HTTP": vec![], new(Protocol::Http, 80, |_| {}) => TAKEN;
        "UDP and QUIC": vec![], new(Protocol::Quic, 7_000, |_| {}) => TAKEN;
        "TCP and UDP, strictly": vec![ensure(strict)], new(Protocol::Udp, 80, |_| {}) => TAKEN;
        "a reserved port": vec![], new(Protocol::Https, 3_306, |_| {}) => VALUE;
        "QUIC on a classic one": on_classic, classic => CLB_STATUS;
        "QUIC in the basic network": on_basic, basic => CLB_STATUS;
        "QUIC on IPv6": on_v6, v6 => PROTOCOL;
        "QUIC by IP hash":
            vec![], new(Protocol::Quic, 443, |it| { it.scheduler = SchedulerKind::IpHash }) => PROTOCOL;
        "TCP by IP hash, as the product has it":
            vec![tencent()], new(Protocol::Tcp, 81, |it| it.scheduler = SchedulerKind::IpHash) => PROTOCOL;
        "QUIC with sessions": vec![], new(Protocol::Quic, 443, |it| it.session_expire = 30) => PROTOCOL;
        "WLC with sessions":
            vec![],
            new(Protocol::Tcp, 81, |it| { it.session_expire = 30; it.scheduler = SchedulerKind::LeastConn; }) => PROTOCOL;
        "a session of 29 s": vec![], new(Protocol::Tcp, 81, |it| it.session_expire = 29) => RANGE;
        "a session of 3601 s": vec![], new(Protocol::Tcp, 81, |it| it.session_expire = 3_601) => RANGE;
        "idle for 9 s": vec![], new(Protocol::Tcp, 81, |it| it.idle_timeout = 9) => RANGE;
        "idle for 901 s": vec![], new(Protocol::Tcp, 81, |it| it.idle_timeout = 901) => RANGE;
        "idle UDP": vec![], new(Protocol::Udp, 81, |it| it.idle_timeout = 60) => PROTOCOL;
        "no certificate": vec![], new(Protocol::Quic, 443, |it| it.certificate.clear()) => MISSING;
        "mutual without a CA": vec![], new(Protocol::Quic, 443, |it| it.mutual = true) => MISSING;
        "an access log of layer 4": vec![], new(Protocol::Tcp, 81, |it| it.access_log = true) => PROTOCOL;
        "SNI without HTTPS": vec![], new(Protocol::Http, 81, |it| it.sni = true) => PROTOCOL;
        "SNI taken back":
            vec![new(Protocol::Https, 443, |it| it.sni = true)],
            update(new_listener(Protocol::Https, 443, |_| {})) => PRECONDITION;
        "TCP SSL on an internal one, as the product has it":
            vec![tencent()], new(Protocol::TcpSsl, 443, |_| {}) => PROTOCOL;
        "the 51st": many, new(Protocol::Tcp, 81, |_| {}) => LIMIT;
        "of no load balancer": vec![], create(Listener::new("none", "web", Protocol::Tcp, 80)) => NO_CLB;
        "none to remove": vec![], Change::Remove(Key::new(Kind::Listener, "gz-main/none")) => NO_LISTENER;
        "a check of UDP":
            vec![], new(Protocol::Udp, 81, |it| it.health = Some(Default::default())) => PROTOCOL;
        "a check every second":
            vec![],
            new(Protocol::Tcp, 81, |it| { it.health = Some(anyedge_net::route_table::HealthCheck { interval: Duration::from_secs(1), ..Default::default() }); }) => RANGE;
    }
}

#[test]
fn targets_are_checked_by_what_they_speak_and_ipv6_ones_in_fewer_ways() {
    let exchange = Arc::new(Exchange {
        request: b"ping".to_vec(),
        reply: b"pong".to_vec(),
    });
    let over_tcp = Method::TcpExchange(Arc::clone(&exchange));
    let over_udp = Method::UdpExchange(exchange);
    let on = |clb: &str, protocol, check: HealthCheck| {
        let mut listener = Listener::new(clb, "checked", protocol, 81);
        listener.health = Some(check);
        create(listener)
    };
    let by = |method: &Method| HealthCheck {
        method: method.clone(),
        ..HealthCheck::default()
    };
    let v6 = || vec![create(clb(|it| it.ip_version = IpVersion::V6))];
    let on_v6 = |protocol, method: &Method| on("new", protocol, by(method));
    for (protocol, method) in [
        (Protocol::Tcp, &Method::Tcp),
        (Protocol::Tcp, &Method::Ping),
        (Protocol::Udp, &Method::Ping),
        (Protocol::Udp, &over_udp),
    ] {
        after([on("gz-main", protocol, by(method))]);
        after(v6().into_iter().chain([on_v6(protocol, method)]));
    }
    after([on("gz-main", Protocol::Tcp, by(&over_tcp))]);
    after([on("gz-main", Protocol::Udp, by(&Method::UdpPort))]);
    let passive = HealthCheck {
        passive: true,
        ..by(&Method::Ping)
    };
    after([on("gz-main", Protocol::Tcp, passive.clone())]);
    let silent = Method::UdpExchange(Arc::new(Exchange {
        request: Vec::new(),
        reply: b"pong".to_vec(),
    }));
    cases! {
        "UDP by a handshake": vec![], on("gz-main", Protocol::Udp, by(&Method::Tcp)) => PROTOCOL;
        "TCP by a datagram": vec![], on("gz-main", Protocol::Tcp, by(&Method::UdpPort)) => PROTOCOL;
        "an IPv6 one by a UDP port": v6(), on_v6(Protocol::Udp, &Method::UdpPort) => PROTOCOL;
        "an IPv6 one by bytes over TCP": v6(), on_v6(Protocol::Tcp, &over_tcp) => PROTOCOL;
        "UDP passively": vec![], on("gz-main", Protocol::Udp, passive.clone()) => PROTOCOL;
        "nothing to send": vec![], on("gz-main", Protocol::Udp, by(&silent)) => RANGE;
    }
}

#[test]
fn listeners_of_ipv6_load_balancers_are_made_like_any_other() {
    let with = |weight: i32| {
        let mut listener = Listener::new("new", "web", Protocol::Tcp, 80);
        listener.scheduler = SchedulerKind::Wrr;
        listener.health = Some(HealthCheck::default());
        listener.session_expire = 60;
        let server = register("new/web", "fd00:1::11", 8_080, move |it| it.weight = weight);
        let v6 = create(clb(|it| it.ip_version = IpVersion::V6));
        (vec![v6, create(listener)], server)
    };
    let (world, server) = with(20);
    let table = after(world.into_iter().chain([server]));
    let bound = table.get::<Target>("new/web/[fd00:1::11]:8080");
    assert_eq!(bound.map(|target| target.weight), Some(20));
    let (world, heavy) = with(101);
    cases! {
        "a weight of 101": world, heavy => RANGE;
    }
}

#[test]
fn listeners_of_tcp_alone_tell_clients_by_toa_or_a_proxy_header() {
    let told = |protocol| {
        new_listener(protocol, 81, |it| {
            it.source.toa = Some(Toa::Kind254);
            it.source.proxy = Some(ProxyProtocol::V1);
        })
    };
    after([create(told(Protocol::Tcp))]);
    cases! {
        "UDP": vec![], create(told(Protocol::Udp)) => PROTOCOL;
        "HTTPS": vec![], create(told(Protocol::Https)) => PROTOCOL;
    }
}

#[test]
fn ports_of_different_classes_may_be_the_same() {
    let both = new_listener(Protocol::Udp, 80, |_| {});
    after([create(both)]);
    for session in [0, 30, 3_600] {
        after([create(new_listener(Protocol::Tcp, 81, |it| {
            it.session_expire = session
        }))]);
    }
}

#[test]
fn rules_have_domains_and_urls() {
    let with = |change: fn(&mut Rule)| {
        let mut rule = rule("new", "/new");
        change(&mut rule);
        create(rule)
    };
    cases! {
        "on layer 4": vec![], with(|it| it.listener = "web".to_owned()) => PROTOCOL;
        "on no listener": vec![], with(|it| it.listener = "none".to_owned()) => NO_LISTENER;
        "no domain": vec![], with(|it| it.domain.clear()) => LENGTH;
        "81 characters": vec![], with(|it| it.domain = "a".repeat(81)) => LENGTH;
        "a domain with `_`": vec![], with(|it| it.domain = "_x.org".to_owned()) => VALUE;
        "a URL of 201": vec![], with(|it| it.url = "/".repeat(201)) => LENGTH;
        "a URL without `/`": vec![], with(|it| it.url = "shop".to_owned()) => VALUE;
        "the same twice": vec![], with(|it| it.url = "/shop".to_owned()) => DUPLICATE;
        "one too many": vec![quotas(|it| it.rules_per_listener = 1)], with(|_| {}) => LIMIT;
        "none to remove": vec![], Change::Remove(Key::new(Kind::Rule, "gz-main/site/none")) => NO_RULE;
    }
}
