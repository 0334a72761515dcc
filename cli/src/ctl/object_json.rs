//! Objects of the table as JSON: the names of fields are those of topology files where those have them.
//!
//! Durations are milliseconds and say so in their names; choices are words in kebab-case. Keys of secrets never come
//! here: controllers do not list them.

use core::fmt::Debug;
use core::time::Duration;
use std::net::IpAddr;

use anyedge_ccn::table::object::{
    Attachment, AutoScalingGroup, Clb, Ends, Host, Listener, Object, Path, Rule, SecurityGroup,
    Settings, Target, Underlay, Vip,
};
use anyedge_net::flow::Address;
use anyedge_net::route_table::{HealthCheck, Method, ProbeSource, RescheduleOn};
use anyedge_net::security_group::Direction;
use anyedge_net::wire::toa::Toa;
use data_encoding::HEXUPPER;
use serde_json::{Map, Value, json};

use super::kinds::kebab;

/// The object without its kind.
pub(crate) fn value(object: &Object) -> Value {
    match object {
        Object::Settings(it) => settings(it),
        Object::Secret(it) => json!({ "name": it.name }),
        Object::Region(it) => json!({ "name": it.name }),
        Object::Pop(it) => json!({
            "name": it.name, "underlay": underlay(&it.underlay), "draining": it.draining,
        }),
        Object::ClbNode(it) => json!({
            "name": it.name, "region": it.region, "underlay": underlay(&it.underlay),
            "membership": word(it.membership), "weight": it.weight,
        }),
        Object::Host(it) => host(it),
        Object::Eni(it) => json!({
            "name": it.name, "zone": it.zone, "network": it.network, "host": it.host,
            "primary": it.primary, "addresses": addresses(&it.addresses),
        }),
        Object::Path(it) => path(it),
        Object::Prefix(it) => json!({ "name": it.name, "network": it.network.to_string() }),
        Object::Clb(it) => clb(it),
        Object::Listener(it) => listener(it),
        Object::Rule(it) => rule(it),
        Object::Target(it) => target(it),
        Object::Vip(it) => vip(it),
        Object::SnatIp(it) => json!({ "clb": it.clb, "address": it.address.to_string() }),
        Object::SnatBlock(it) => json!({
            "clb": it.clb, "address": it.address.to_string(), "first_port": it.first_port,
            "node": it.node, "free_at_ns": it.free_at.as_nanos(), "home": it.home,
        }),
        Object::Ccn(it) => json!({ "name": it.name }),
        Object::Attachment(it) => attachment(it),
        Object::CcnRoute(it) => json!({
            "ccn": it.ccn, "network": it.network.to_string(), "attachment": it.attachment,
            "enabled": it.enabled, "as_path_len": it.as_path_len,
        }),
        Object::Stage(it) => json!({ "name": it.name, "changes": it.changes.len() }),
        Object::SecurityGroup(it) => security_group(it),
        Object::AutoScalingGroup(it) => scaling_group(it),
    }
}

/// Fields of two JSON objects that differ, as `field before -> after`.
pub(crate) fn differences(before: &Value, after: &Value) -> Vec<String> {
    let empty = Map::new();
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_else(|| empty.clone());
    let (before, after) = (fields(before), fields(after));
    let mut found = Vec::new();
    for (name, value) in &after {
        let old = before.get(name).unwrap_or(&Value::Null);
        if old != value {
            found.push(format!("{name} {} -> {}", plain(old), plain(value)));
        }
    }
    found
}

/// A value in a table's cell.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| format!("{name}={}", plain(value)));
            fields.collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

fn word(choice: impl Debug) -> String {
    kebab(&format!("{choice:?}"))
}

fn ms(duration: Duration) -> Value {
    let ms = duration.as_secs_f64() * 1e3;
    if ms.fract() == 0.0 {
        json!(ms as u64)
    } else {
        json!(ms)
    }
}

fn address(address: &Address) -> String {
    IpAddr::from(*address).to_string()
}

fn addresses(all: &[Address]) -> Vec<String> {
    all.iter().map(address).collect()
}

fn underlay(underlay: &Underlay) -> Vec<String> {
    let mut found = Vec::new();
    if !underlay.v4.is_unspecified() {
        found.push(underlay.v4.to_string());
    }
    if !underlay.v6.is_unspecified() {
        found.push(underlay.v6.to_string());
    }
    found
}

fn health(check: Option<&HealthCheck>) -> Value {
    check.map_or(Value::Null, |check| {
        let kind = match check.method {
            Method::Tcp => "tcp",
            Method::Ping => "ping",
            Method::UdpPort => "port",
            Method::TcpExchange(_) | Method::UdpExchange(_) => "custom",
        };
        let exchange = check.method.exchange();
        json!({
            "interval_ms": ms(check.interval), "timeout_ms": ms(check.timeout),
            "unhealthy": check.unhealthy, "healthy": check.healthy,
            "kind": kind, "port": check.port, "passive": check.passive,
            "request": exchange.map(|it| HEXUPPER.encode(&it.request)),
            "reply": exchange.map(|it| HEXUPPER.encode(&it.reply)),
            "source": match check.source {
                ProbeSource::Vip => "vip",
                ProbeSource::Shared => "100.64.0.0/10",
            },
            "flap_damping_ms": check.damping.map(ms),
        })
    })
}

fn settings(it: &Settings) -> Value {
    let probing = it.probing.map_or(Value::Null, |probing| {
        json!({
            "interval_ms": ms(probing.interval), "multiplier": probing.multiplier,
            "grey_loss_ppm": probing.grey_loss_ppm,
        })
    });
    let quotas = &it.quotas;
    json!({
        "profile": word(it.profile),
        "probing": probing,
        "withdraw_after_ms": ms(it.announcing.withdraw_after),
        "readvertise_after_ms": ms(it.announcing.readvertise_after),
        "blackhole": it.announcing.blackhole,
        "slot_settle_ms": ms(it.slot_settle),
        "strict_ports": it.strict_ports,
        "ipv6_regions": it.ipv6_regions,
        "hybrid_regions": it.hybrid_regions,
        "sg_flush_on_change": it.sg_flush_on_change,
        "betas_off": it.betas_off,
        "quotas": {
            "listeners_per_clb": quotas.listeners_per_clb,
            "rules_per_listener": quotas.rules_per_listener,
            "targets_per_rule": quotas.targets_per_rule,
            "clbs": quotas.clbs,
            "snat_ips_per_clb": quotas.snat_ips_per_clb,
            "targets_per_call": quotas.targets_per_call,
            "security_groups_per_clb": quotas.security_groups_per_clb,
            "ccns": quotas.ccns,
            "attachments_per_ccn": quotas.attachments_per_ccn,
            "rules_per_security_group": quotas.rules_per_security_group,
        },
    })
}

fn host(it: &Host) -> Value {
    json!({
        "name": it.name, "region": it.region, "underlay": underlay(&it.underlay), "zone": it.zone,
        "network": it.network, "state": word(it.state), "security_groups": it.security_groups,
    })
}

fn path(it: &Path) -> Value {
    let between = match &it.ends {
        Ends::Ccn { pop, region } => vec![pop.clone(), format!("region.{region}")],
        Ends::Fabric { host } => vec![host.clone()],
        Ends::Mesh { region } => vec![format!("region.{region}")],
        Ends::Backbone { regions } => regions.iter().map(|it| format!("region.{it}")).collect(),
    };
    json!({
        "name": it.name, "between": between, "encap": word(it.encap), "underlay": word(it.underlay),
        "mtu": it.mtu, "rtt_ms": ms(it.rtt), "draining": it.draining,
    })
}

fn clb(it: &Clb) -> Value {
    json!({
        "name": it.name, "region": it.region, "type": word(it.clb_type), "classic": it.classic,
        "ip_version": word(it.ip_version), "network": it.network,
        "network_has_ipv6": it.network_has_ipv6, "isp": it.isp,
        "cross_region": word(it.cross_region), "backend_region": it.backend_region,
        "client_affinity": it.client_affinity, "rst_on_unbind": it.rst_on_unbind,
        "unbind_drain_ms": it.unbind_drain.map(ms), "unbind_spread_ms": ms(it.unbind_spread),
        "fail_open": it.fail_open, "instance": word(it.instance_type),
        "security_groups": it.security_groups, "sg_pass_by_default": it.sg_pass_by_default,
        "eip_bypasses_clb_sg": it.eip_bypasses_clb_sg, "sg_probes_exempt": it.sg_probes_exempt,
    })
}

fn listener(it: &Listener) -> Value {
    json!({
        "clb": it.clb, "name": it.name, "protocol": word(it.protocol), "port": it.port,
        "scheduler": word(it.scheduler), "session_expire": it.session_expire,
        "health": health(it.health.as_ref()), "certificate": it.certificate, "mutual": it.mutual,
        "client_ca": it.client_ca, "max_conn": it.max_conn, "max_cps": it.max_cps,
        "access_log": it.access_log, "sni": it.sni, "idle_timeout": it.idle_timeout,
        "reschedule_on": reschedule(it.reschedule_on),
        "toa": it.source.toa.map(Toa::number), "proxy_protocol": it.source.proxy.map(word),
    })
}

fn reschedule(on: RescheduleOn) -> Vec<&'static str> {
    let all = [
        (on.unbind, "unbind"),
        (on.weight_zero, "weight_zero"),
        (on.unhealthy, "unhealthy"),
        (on.scale_out, "scale_out"),
    ];
    let on = all.into_iter().filter(|(is_on, _)| *is_on);
    on.map(|(_, name)| name).collect()
}

fn rule(it: &Rule) -> Value {
    json!({
        "clb": it.clb, "listener": it.listener, "name": it.name, "domain": it.domain, "url": it.url,
        "scheduler": word(it.scheduler), "session_expire": it.session_expire,
        "health": health(it.health.as_ref()),
    })
}

fn target(it: &Target) -> Value {
    json!({
        "clb": it.clb, "listener": it.listener, "rule": it.rule, "ip": address(&it.address),
        "port": it.port, "weight": it.weight, "host": it.host, "kind": word(it.kind),
    })
}

fn vip(it: &Vip) -> Value {
    json!({
        "name": it.name, "address": addresses(&it.addresses), "prefix": it.prefix, "clb": it.clb,
        "standby": it.standby, "publish": it.publish, "publishers_min": it.publishers_min,
        "withdrawn": it.withdrawn,
    })
}

fn attachment(it: &Attachment) -> Value {
    let routes: Vec<String> = it
        .routes
        .iter()
        .map(|route| route.network.to_string())
        .collect();
    json!({ "ccn": it.ccn, "name": it.name, "kind": word(it.kind), "routes": routes })
}

/// Rules as files have them.
fn security_group(it: &SecurityGroup) -> Value {
    let of = |direction: Direction| -> Vec<String> {
        let own = it.rules.iter().filter(|rule| rule.direction == direction);
        own.filter_map(|rule| Some(rule.checked()?.to_string()))
            .collect()
    };
    json!({
        "name": it.name, "ingress": of(Direction::Ingress), "egress": of(Direction::Egress),
    })
}

fn scaling_group(it: &AutoScalingGroup) -> Value {
    let servers = it.servers.iter();
    let servers: Vec<Value> = servers
        .map(|server| json!({ "ip": server.address.to_string(), "host": server.host }))
        .collect();
    json!({
        "name": it.name, "listeners": it.listeners, "port": it.port, "weight": it.weight,
        "servers": servers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyedge_ccn::table::object::Protocol;

    #[test]
    fn what_changed_is_told_field_by_field() {
        let before = Listener::new("gz-main", "web", Protocol::Tcp, 80);
        let after = Listener {
            port: 8080,
            health: Some(HealthCheck::default()),
            ..before.clone()
        };
        let [before, after] = [before, after].map(|it| value(&Object::Listener(it)));
        let told = differences(&before, &after);
        assert_eq!(told[0], "port 80 -> 8080");
        assert!(
            told[1].starts_with("health - -> interval_ms=5000"),
            "{told:?}"
        );
        assert_eq!(told.len(), 2);
        assert!(differences(&after, &after).is_empty());
    }
}
