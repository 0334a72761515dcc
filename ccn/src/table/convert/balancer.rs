//! Load balancers and what belongs to them as messages.

use core::time::Duration;
use std::sync::Arc;

use anyedge_net::route_table::{
    Exchange, HealthCheck, Method, ProbeSource, RescheduleOn, SourceTold,
};
use anyedge_net::time::Instant;
use anyedge_net::wire::proxy::ProxyProtocol;
use anyedge_net::wire::toa::Toa;
use anyedge_proto::table::v1 as pb;

use super::super::BASIC_NETWORK;
use super::super::object::{
    Clb, ClbType, CrossRegion, InstanceType, IpVersion, Listener, Protocol, Rule, SchedulerKind,
    SnatBlock, SnatIp, Target, TargetKind, Vip,
};
use super::super::refusal::{Reason, Refusal};
use super::{address_from, address_to, addresses_from, addresses_to, choice, nanos_to};

/// Both ways between an enumeration of the table and one of messages.
macro_rules! pairs {
    ($own:ident, $wire:ident, $say:literal, $($variant:ident),*) => {
        impl From<$own> for pb::$wire {
            fn from(own: $own) -> pb::$wire {
                match own {
                    $($own::$variant => pb::$wire::$variant,)*
                }
            }
        }

        impl $own {
            #[expect(unreachable_patterns, reason = "some messages have a number for nothing")]
            fn from_number(number: i32) -> Result<$own, Refusal> {
                match choice(number, $say)? {
                    $(pb::$wire::$variant => Ok($own::$variant),)*
                    _ => Err(Reason::Missing.because(concat!("a ", $say))),
                }
            }
        }
    };
}

pairs!(
    InstanceType,
    InstanceType,
    "instance type",
    Unlimited,
    Shared
);
pairs!(ClbType, ClbType, "type of load balancer", Internal, Public);
pairs!(IpVersion, IpVersion, "IP version", Dual, V4, V6, Nat64);
pairs!(
    CrossRegion,
    CrossRegion,
    "kind of cross-region binding",
    Off,
    V1,
    V2
);
pairs!(
    SchedulerKind,
    Scheduler,
    "scheduler",
    Wrr,
    LeastConn,
    IpHash,
    Maglev
);
pairs!(TargetKind, TargetKind, "kind of target", Instance, Eni, Idc);

impl From<Protocol> for pb::Protocol {
    fn from(protocol: Protocol) -> pb::Protocol {
        match protocol {
            Protocol::Tcp => pb::Protocol::Tcp,
            Protocol::Udp => pb::Protocol::Udp,
            Protocol::TcpSsl => pb::Protocol::TcpSsl,
            Protocol::Quic => pb::Protocol::Quic,
            Protocol::Http => pb::Protocol::Http,
            Protocol::Https => pb::Protocol::Https,
        }
    }
}

fn protocol_from(number: i32) -> Result<Protocol, Refusal> {
    Ok(match choice(number, "protocol")? {
        pb::Protocol::Tcp => Protocol::Tcp,
        pb::Protocol::Udp => Protocol::Udp,
        pb::Protocol::TcpSsl => Protocol::TcpSsl,
        pb::Protocol::Quic => Protocol::Quic,
        pb::Protocol::Http => Protocol::Http,
        pb::Protocol::Https => Protocol::Https,
        pb::Protocol::Unspecified => return Err(Reason::Missing.because("a protocol")),
    })
}

fn health_to(health: Option<&HealthCheck>) -> Option<pb::HealthCheck> {
    health.map(|check| {
        let bytes = |of: fn(&Exchange) -> &[u8]| {
            let exchange = check.method.exchange();
            exchange.map_or_else(Vec::new, |exchange| of(exchange).to_vec())
        };
        pb::HealthCheck {
            interval_ns: nanos_to(check.interval),
            timeout_ns: nanos_to(check.timeout),
            unhealthy: check.unhealthy.into(),
            healthy: check.healthy.into(),
            kind: match check.method {
                Method::Tcp => pb::HealthCheckKind::Tcp,
                Method::TcpExchange(_) => pb::HealthCheckKind::TcpCustom,
                Method::Ping => pb::HealthCheckKind::Ping,
                Method::UdpPort => pb::HealthCheckKind::UdpPort,
                Method::UdpExchange(_) => pb::HealthCheckKind::UdpCustom,
            }
            .into(),
            request: bytes(|exchange| &exchange.request),
            reply: bytes(|exchange| &exchange.reply),
            port: check.port.unwrap_or_default().into(),
            source: match check.source {
                ProbeSource::Vip => pb::ProbeSource::Vip,
                ProbeSource::Shared => pb::ProbeSource::Shared,
            }
            .into(),
            passive: check.passive,
            damping_ns: check.damping.map_or(0, nanos_to),
        }
    })
}

/// Thresholds that do not fit are cut to what is out of range anyway.
fn health_from(health: Option<&pb::HealthCheck>) -> Result<Option<HealthCheck>, Refusal> {
    let byte = |count: u32| u8::try_from(count).unwrap_or(u8::MAX);
    let Some(check) = health else {
        return Ok(None);
    };
    let exchange = || {
        Arc::new(Exchange {
            request: check.request.clone(),
            reply: check.reply.clone(),
        })
    };
    let port = u16::try_from(check.port)
        .map_err(|_| Reason::Range.because(format_args!("a check of port {}", check.port)))?;
    Ok(Some(HealthCheck {
        interval: Duration::from_nanos(check.interval_ns),
        timeout: Duration::from_nanos(check.timeout_ns),
        unhealthy: byte(check.unhealthy),
        healthy: byte(check.healthy),
        method: match choice(check.kind, "kind of health check")? {
            pb::HealthCheckKind::Tcp => Method::Tcp,
            pb::HealthCheckKind::TcpCustom => Method::TcpExchange(exchange()),
            pb::HealthCheckKind::Ping => Method::Ping,
            pb::HealthCheckKind::UdpPort => Method::UdpPort,
            pb::HealthCheckKind::UdpCustom => Method::UdpExchange(exchange()),
        },
        port: Some(port).filter(|port| *port > 0),
        source: match choice(check.source, "source of health checks")? {
            pb::ProbeSource::Vip => ProbeSource::Vip,
            pb::ProbeSource::Shared => ProbeSource::Shared,
        },
        passive: check.passive,
        damping: Some(Duration::from_nanos(check.damping_ns)).filter(|it| !it.is_zero()),
    }))
}

/// What a message has to say: nothing, where it is as usual.
fn told(given: bool, usual: bool) -> Option<bool> {
    (given != usual).then_some(given)
}

/// Whether only a load balancer's own security groups are asked, where nobody says.
fn passes_by_default(ip_version: IpVersion, cross_region: CrossRegion) -> bool {
    ip_version == IpVersion::V6 && cross_region != CrossRegion::V2
}

/// Whether health checks are let in, where nobody says.
fn probes_exempt(clb_type: ClbType, classic: bool, network: &str) -> bool {
    clb_type == ClbType::Internal && (classic || network == BASIC_NETWORK)
}

const fn toa_to(toa: Option<Toa>) -> pb::Toa {
    match toa {
        None => pb::Toa::Off,
        Some(Toa::Kind254) => pb::Toa::Toa254,
        Some(Toa::Kind200) => pb::Toa::Toa200,
    }
}

fn toa_from(number: i32) -> Result<Option<Toa>, Refusal> {
    Ok(match choice(number, "kind of TOA")? {
        pb::Toa::Off => None,
        pb::Toa::Toa254 => Some(Toa::Kind254),
        pb::Toa::Toa200 => Some(Toa::Kind200),
    })
}

const fn proxy_to(proxy: Option<ProxyProtocol>) -> pb::ProxyProtocol {
    match proxy {
        None => pb::ProxyProtocol::Off,
        Some(ProxyProtocol::V1) => pb::ProxyProtocol::V1,
        Some(ProxyProtocol::V2) => pb::ProxyProtocol::V2,
    }
}

fn proxy_from(number: i32) -> Result<Option<ProxyProtocol>, Refusal> {
    Ok(match choice(number, "version of the PROXY protocol")? {
        pb::ProxyProtocol::Off => None,
        pb::ProxyProtocol::V1 => Some(ProxyProtocol::V1),
        pb::ProxyProtocol::V2 => Some(ProxyProtocol::V2),
    })
}

impl From<&Clb> for pb::Clb {
    fn from(clb: &Clb) -> pb::Clb {
        pb::Clb {
            name: clb.name.clone(),
            region: clb.region.clone(),
            r#type: pb::ClbType::from(clb.clb_type).into(),
            classic: clb.classic,
            ip_version: pb::IpVersion::from(clb.ip_version).into(),
            network: clb.network.clone(),
            network_has_ipv6: clb.network_has_ipv6,
            isp: clb.isp.clone(),
            cross_region: pb::CrossRegion::from(clb.cross_region).into(),
            backend_region: clb.backend_region.clone(),
            client_affinity: clb.client_affinity,
            rst_on_unbind: clb.rst_on_unbind,
            unbind_drain_ns: clb.unbind_drain.map_or(0, nanos_to),
            unbind_spread_ns: nanos_to(clb.unbind_spread),
            fail_open: clb.fail_open,
            security_groups: clb.security_groups.clone(),
            sg_pass_by_default: told(
                clb.sg_pass_by_default,
                passes_by_default(clb.ip_version, clb.cross_region),
            ),
            eip_bypasses_clb_sg: clb.eip_bypasses_clb_sg,
            sg_probes_exempt: told(
                clb.sg_probes_exempt,
                probes_exempt(clb.clb_type, clb.classic, &clb.network),
            ),
            instance_type: pb::InstanceType::from(clb.instance_type).into(),
        }
    }
}

impl TryFrom<&pb::Clb> for Clb {
    type Error = Refusal;

    fn try_from(clb: &pb::Clb) -> Result<Clb, Refusal> {
        let drain = Some(clb.unbind_drain_ns).filter(|nanos| *nanos > 0);
        let clb_type = ClbType::from_number(clb.r#type)?;
        let ip_version = IpVersion::from_number(clb.ip_version)?;
        let cross_region = CrossRegion::from_number(clb.cross_region)?;
        Ok(Clb {
            name: clb.name.clone(),
            region: clb.region.clone(),
            clb_type,
            classic: clb.classic,
            ip_version,
            network: clb.network.clone(),
            network_has_ipv6: clb.network_has_ipv6,
            isp: clb.isp.clone(),
            cross_region,
            backend_region: clb.backend_region.clone(),
            client_affinity: clb.client_affinity,
            rst_on_unbind: clb.rst_on_unbind,
            unbind_drain: drain.map(Duration::from_nanos),
            unbind_spread: Duration::from_nanos(clb.unbind_spread_ns),
            fail_open: clb.fail_open,
            security_groups: clb.security_groups.clone(),
            sg_pass_by_default: clb
                .sg_pass_by_default
                .unwrap_or_else(|| passes_by_default(ip_version, cross_region)),
            eip_bypasses_clb_sg: clb.eip_bypasses_clb_sg,
            sg_probes_exempt: clb
                .sg_probes_exempt
                .unwrap_or_else(|| probes_exempt(clb_type, clb.classic, &clb.network)),
            instance_type: InstanceType::from_number(clb.instance_type)?,
        })
    }
}

impl From<&Listener> for pb::Listener {
    fn from(listener: &Listener) -> pb::Listener {
        pb::Listener {
            clb: listener.clb.clone(),
            name: listener.name.clone(),
            protocol: pb::Protocol::from(listener.protocol).into(),
            port: listener.port,
            scheduler: pb::Scheduler::from(listener.scheduler).into(),
            session_expire: listener.session_expire,
            health: health_to(listener.health.as_ref()),
            certificate: listener.certificate.clone(),
            mutual: listener.mutual,
            client_ca: listener.client_ca.clone(),
            max_conn: listener.max_conn,
            max_cps: listener.max_cps,
            access_log: listener.access_log,
            sni: listener.sni,
            idle_timeout: listener.idle_timeout,
            reschedule_on: reschedule_to(listener.reschedule_on),
            toa: toa_to(listener.source.toa).into(),
            proxy_protocol: proxy_to(listener.source.proxy).into(),
        }
    }
}

fn reschedule_to(on: RescheduleOn) -> Option<pb::RescheduleOn> {
    (on != RescheduleOn::default()).then_some(pb::RescheduleOn {
        unbind: on.unbind,
        weight_zero: on.weight_zero,
        unhealthy: on.unhealthy,
        scale_out: on.scale_out,
    })
}

fn reschedule_from(on: Option<&pb::RescheduleOn>) -> RescheduleOn {
    on.map_or_else(RescheduleOn::default, |on| RescheduleOn {
        unbind: on.unbind,
        weight_zero: on.weight_zero,
        unhealthy: on.unhealthy,
        scale_out: on.scale_out,
    })
}

impl TryFrom<&pb::Listener> for Listener {
    type Error = Refusal;

    fn try_from(listener: &pb::Listener) -> Result<Listener, Refusal> {
        Ok(Listener {
            clb: listener.clb.clone(),
            name: listener.name.clone(),
            protocol: protocol_from(listener.protocol)?,
            port: listener.port,
            scheduler: SchedulerKind::from_number(listener.scheduler)?,
            session_expire: listener.session_expire,
            health: health_from(listener.health.as_ref())?,
            source: SourceTold {
                toa: toa_from(listener.toa)?,
                proxy: proxy_from(listener.proxy_protocol)?,
            },
            certificate: listener.certificate.clone(),
            mutual: listener.mutual,
            client_ca: listener.client_ca.clone(),
            max_conn: listener.max_conn,
            max_cps: listener.max_cps,
            access_log: listener.access_log,
            sni: listener.sni,
            idle_timeout: listener.idle_timeout,
            reschedule_on: reschedule_from(listener.reschedule_on.as_ref()),
        })
    }
}

impl From<&Rule> for pb::Rule {
    fn from(rule: &Rule) -> pb::Rule {
        pb::Rule {
            clb: rule.clb.clone(),
            listener: rule.listener.clone(),
            name: rule.name.clone(),
            domain: rule.domain.clone(),
            url: rule.url.clone(),
            scheduler: pb::Scheduler::from(rule.scheduler).into(),
            session_expire: rule.session_expire,
            health: health_to(rule.health.as_ref()),
        }
    }
}

impl TryFrom<&pb::Rule> for Rule {
    type Error = Refusal;

    fn try_from(rule: &pb::Rule) -> Result<Rule, Refusal> {
        Ok(Rule {
            clb: rule.clb.clone(),
            listener: rule.listener.clone(),
            name: rule.name.clone(),
            domain: rule.domain.clone(),
            url: rule.url.clone(),
            scheduler: SchedulerKind::from_number(rule.scheduler)?,
            session_expire: rule.session_expire,
            health: health_from(rule.health.as_ref())?,
        })
    }
}

impl From<&Target> for pb::Target {
    fn from(target: &Target) -> pb::Target {
        pb::Target {
            clb: target.clb.clone(),
            listener: target.listener.clone(),
            rule: target.rule.clone(),
            address: address_to(&target.address),
            port: target.port,
            weight: Some(target.weight),
            host: target.host.clone(),
            kind: pb::TargetKind::from(target.kind).into(),
            place: target.place,
        }
    }
}

impl TryFrom<&pb::Target> for Target {
    type Error = Refusal;

    fn try_from(target: &pb::Target) -> Result<Target, Refusal> {
        Ok(Target {
            clb: target.clb.clone(),
            listener: target.listener.clone(),
            rule: target.rule.clone(),
            address: address_from(&target.address)?,
            port: target.port,
            weight: target.weight.unwrap_or(Target::WEIGHT_DEFAULT),
            host: target.host.clone(),
            kind: TargetKind::from_number(target.kind)?,
            place: target.place,
        })
    }
}

impl From<&Vip> for pb::Vip {
    fn from(vip: &Vip) -> pb::Vip {
        pb::Vip {
            name: vip.name.clone(),
            addresses: addresses_to(&vip.addresses),
            prefix: vip.prefix.clone(),
            clb: vip.clb.clone(),
            standby: vip.standby.clone(),
            publish: vip.publish.clone(),
            publishers_min: vip.publishers_min,
            withdrawn: vip.withdrawn,
        }
    }
}

impl TryFrom<&pb::Vip> for Vip {
    type Error = Refusal;

    fn try_from(vip: &pb::Vip) -> Result<Vip, Refusal> {
        Ok(Vip {
            name: vip.name.clone(),
            addresses: addresses_from(&vip.addresses)?,
            prefix: vip.prefix.clone(),
            clb: vip.clb.clone(),
            standby: vip.standby.clone(),
            publish: vip.publish.clone(),
            publishers_min: vip.publishers_min,
            withdrawn: vip.withdrawn,
        })
    }
}

impl From<&SnatIp> for pb::SnatIp {
    fn from(ip: &SnatIp) -> pb::SnatIp {
        pb::SnatIp {
            clb: ip.clb.clone(),
            address: address_to(&ip.address),
        }
    }
}

impl TryFrom<&pb::SnatIp> for SnatIp {
    type Error = Refusal;

    fn try_from(ip: &pb::SnatIp) -> Result<SnatIp, Refusal> {
        Ok(SnatIp {
            clb: ip.clb.clone(),
            address: address_from(&ip.address)?,
        })
    }
}

impl From<&SnatBlock> for pb::SnatBlock {
    fn from(block: &SnatBlock) -> pb::SnatBlock {
        pb::SnatBlock {
            clb: block.clb.clone(),
            address: address_to(&block.address),
            first_port: block.first_port,
            node: block.node.clone(),
            free_at: block.free_at.as_nanos(),
            home: block.home.clone(),
        }
    }
}

impl TryFrom<&pb::SnatBlock> for SnatBlock {
    type Error = Refusal;

    fn try_from(block: &pb::SnatBlock) -> Result<SnatBlock, Refusal> {
        Ok(SnatBlock {
            clb: block.clb.clone(),
            address: address_from(&block.address)?,
            first_port: block.first_port,
            node: block.node.clone(),
            free_at: Instant::from_nanos(block.free_at),
            home: block.home.clone(),
        })
    }
}
