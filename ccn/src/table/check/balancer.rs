//! Load balancers, listeners and rules: of which kind may do what, and which ports and numbers are allowed.

use anyedge_net::route_table::{HealthCheck, IDLE_TIMEOUT_S, Method, SourceTold};
use anyedge_net::switch;
use anyedge_net::wire::{tcp, udp};

use super::super::object::{
    Clb, ClbType, CrossRegion, InstanceType, IpVersion, Key, Kind, Listener, Protocol, Region,
    Rule, SchedulerKind, Settings, Target,
};
use super::super::refusal::{Reason, Refusal};
use super::super::transaction::Transaction;
use super::super::{BASIC_NETWORK, CLBS_MAX, DRAIN_MAX, SESSION_S, not_found, unknown_region};
use super::check_count;
use super::names::check_name;

/// Ports that an HTTPS listener may not have.
const HTTPS_RESERVED: [u32; 13] = [
    843, 1020, 1433, 1434, 3306, 3389, 6006, 20000, 36000, 42222, 48369, 56000, 65010,
];
/// Characters of a rule's domain.
const DOMAIN_MAX: usize = 80;
/// Characters of a rule's URL.
const URL_MAX: usize = 200;

impl Transaction<'_> {
    pub(super) fn check_clb_region(&self, clb: &Clb) -> Result<(), Refusal> {
        match self.objects.get::<Region>(&clb.region) {
            Some(_) => Ok(()),
            None => Err(unknown_region(&Key::new(Kind::Clb, &clb.name), &clb.region)),
        }
    }

    pub(super) fn check_clb(&self, clb: &Clb, before: Option<&Clb>) -> Result<(), Refusal> {
        let key = Key::new(Kind::Clb, &clb.name);
        check_name(&key, &clb.name)?;
        self.check_clb_region(clb)?;
        let most = self.settings.quotas.clbs.min(CLBS_MAX as u32);
        self.check_quota(Kind::Clb, most)?;
        if let Some(drain) = clb.unbind_drain.filter(|drain| *drain > DRAIN_MAX) {
            return Err(Reason::Range.because(format_args!(
                "{key} drains unbound targets for {drain:?}; {DRAIN_MAX:?} is the most"
            )));
        }
        if clb.unbind_spread > DRAIN_MAX {
            return Err(Reason::Range.because(format_args!(
                "{key} cuts flows over {:?}; {DRAIN_MAX:?} is the most",
                clb.unbind_spread
            )));
        }
        if !matches!(clb.isp.as_str(), "" | "BGP") {
            return Err(Reason::Value.because(format_args!(
                "{key} has ISP `{}`; BGP alone is sold",
                clb.isp
            )));
        }
        if clb.ip_version == IpVersion::V6 {
            self.check_v6_clb(&key, clb)?;
        }
        if clb.instance_type == InstanceType::Shared && !self.is_tencent() {
            return Err(Reason::ClbStatus.because(format_args!(
                "{key} is a shared instance, which profile `tencent` alone has"
            )));
        }
        self.check_cross_region(&key, clb, before)?;
        self.check_groups(&key, &clb.security_groups)?;
        self.check_clb_security(&key, clb)?;
        if before.is_none() {
            return Ok(());
        }
        let mut listeners = self.objects.all_of::<Listener>(&clb.name);
        listeners.try_for_each(|listener| self.check_listener(listener, None))?;
        let mut targets = self.objects.all_of::<Target>(&clb.name);
        targets.try_for_each(|target| self.check_target(target))?;
        let vips = self.objects.all::<super::super::object::Vip>();
        let mut vips = vips.filter(|vip| vip.clb == clb.name || vip.standby.contains(&clb.name));
        vips.try_for_each(|vip| self.check_vip(vip))
    }

    fn check_v6_clb(&self, key: &Key, clb: &Clb) -> Result<(), Refusal> {
        if clb.classic && switch::is_on("S-V606") {
            return Err(
                Reason::ClbStatus.because(format_args!("{key} is classic, which has no IPv6"))
            );
        }
        let regions = &self.settings.ipv6_regions;
        let is_kept_out = !regions.is_empty() && !regions.contains(&clb.region);
        if is_kept_out && switch::is_on("S-V607") {
            return Err(Reason::NoRegion.because(format_args!(
                "{key} wants IPv6 in region `{}`, which has none",
                clb.region
            )));
        }
        if !clb.network_has_ipv6 && switch::is_on("S-V608") {
            return Err(Reason::Operation.because(format_args!(
                "{key} wants IPv6 in a network without an IPv6 range; give network and subnet one first"
            )));
        }
        if self.is_tencent() && clb.clb_type == ClbType::Internal {
            return Err(Reason::ClbStatus.because(format_args!(
                "{key} is internal; an IPv6 load balancer is public"
            )));
        }
        Ok(())
    }

    /// Versions 1.0 and 2.0 of binding targets elsewhere: either or neither, and 1.0 for good.
    fn check_cross_region(
        &self,
        key: &Key,
        clb: &Clb,
        before: Option<&Clb>,
    ) -> Result<(), Refusal> {
        if let Some(before) = before
            && before.cross_region == CrossRegion::V1
            && (clb.cross_region, &clb.backend_region) != (CrossRegion::V1, &before.backend_region)
        {
            return Err(Reason::Operation.because(format_args!(
                "{key} has its targets in region `{}` by cross-region binding 1.0, which is for good",
                before.backend_region
            )));
        }
        if clb.cross_region == CrossRegion::Off {
            return Ok(());
        }
        if clb.classic {
            return Err(Reason::ClbStatus.because(format_args!(
                "{key} is classic, which binds no targets elsewhere"
            )));
        }
        if clb.cross_region == CrossRegion::V2 {
            self.check_beta(key, Settings::CROSS_REGION_2)?;
            if !clb.backend_region.is_empty() {
                return Err(Reason::Operation.because(format_args!(
                    "{key} cannot have cross-region binding 1.0 and 2.0 at once"
                )));
            }
            return Ok(());
        }
        if clb.clb_type == ClbType::Internal {
            return Err(Reason::ClbStatus.because(format_args!(
                "{key} is internal; cross-region binding 1.0 needs a public one"
            )));
        }
        if self.objects.get::<Region>(&clb.backend_region).is_none() {
            return Err(unknown_region(key, &clb.backend_region));
        }
        if clb.backend_region == clb.region {
            return Err(Reason::Operation.because(format_args!(
                "{key} is in region `{}` itself; cross-region binding 1.0 needs another",
                clb.region
            )));
        }
        Ok(())
    }

    pub(super) fn check_listener(
        &self,
        listener: &Listener,
        before: Option<&Listener>,
    ) -> Result<(), Refusal> {
        let key = Key::new(Kind::Listener, listener.full_name());
        check_name(&key, &listener.name)?;
        let clb = self.objects.get::<Clb>(&listener.clb);
        let clb = clb.ok_or_else(|| not_found(&Key::new(Kind::Clb, &listener.clb)))?;
        self.check_port(&key, listener)?;
        let count = self.objects.entries_of(Kind::Listener, &clb.name).count();
        check_count(count, self.settings.quotas.listeners_per_clb, || {
            format!("load balancer `{}` would have {count} listeners", clb.name)
        })?;
        self.check_protocol(&key, listener, clb)?;
        self.check_scheduler(&key, listener.protocol, listener.scheduler)?;
        check_session(
            &key,
            listener.protocol,
            listener.session_expire,
            listener.scheduler,
        )?;
        check_idle(&key, listener)?;
        check_health(&key, listener.protocol, clb, listener.health.as_ref())?;
        check_source(&key, listener)?;
        if listener.protocol.has_certificate() && listener.certificate.is_empty() && !listener.sni {
            return Err(Reason::Missing.because(format_args!("{key} needs a server certificate")));
        }
        if listener.mutual && listener.client_ca.is_empty() {
            return Err(Reason::Missing.because(format_args!(
                "{key} asks clients for certificates and has no CA for them"
            )));
        }
        if listener.access_log && !listener.protocol.is_layer_7() {
            return Err(Reason::Protocol.because(format_args!(
                "{key} speaks {}; HTTP and HTTPS alone have access logs",
                listener.protocol
            )));
        }
        if listener.sni && listener.protocol != Protocol::Https {
            return Err(Reason::Protocol.because(format_args!(
                "{key} speaks {}; HTTPS alone has SNI",
                listener.protocol
            )));
        }
        if before.is_some_and(|before| before.sni && !listener.sni) {
            return Err(Reason::Operation.because(format_args!("{key} has SNI, which is for good")));
        }
        if before.is_some_and(|before| before.protocol != listener.protocol) {
            let mut targets = self.objects.all_of::<Target>(&listener.full_name());
            targets.try_for_each(|target| self.check_target(target))?;
            let mut rules = self.objects.all_of::<Rule>(&listener.full_name());
            rules.try_for_each(|rule| self.check_rule(rule))?;
        }
        Ok(())
    }

    fn check_port(&self, key: &Key, listener: &Listener) -> Result<(), Refusal> {
        let port = listener.port;
        if !(1..=65_535).contains(&port) {
            return Err(
                Reason::Range.because(format_args!("{key} has port {port}; a port is 1 to 65535"))
            );
        }
        if listener.protocol == Protocol::Https && HTTPS_RESERVED.contains(&port) {
            return Err(
                Reason::Value.because(format_args!("{key} has port {port}, which is reserved"))
            );
        }
        let strict = self.settings.strict_ports;
        let taken = |other: &&Listener| {
            let class = |it: &Listener| it.protocol.is_udp_class() && switch::is_on("P-LB12");
            let same_class = class(other) == class(listener);
            other.name != listener.name && other.port == port && (same_class || strict)
        };
        match self.objects.all_of::<Listener>(&listener.clb).find(taken) {
            Some(other) => Err(Reason::PortTaken.because(format_args!(
                "{key} has port {port} of {}, which listener `{}` ({}) has",
                listener.protocol,
                other.full_name(),
                other.protocol
            ))),
            None => Ok(()),
        }
    }

    fn check_protocol(&self, key: &Key, listener: &Listener, clb: &Clb) -> Result<(), Refusal> {
        match listener.protocol {
            Protocol::Quic if clb.classic => Err(Reason::ClbStatus.because(format_args!(
                "{key} speaks QUIC, which a classic load balancer does not"
            ))),
            Protocol::Quic if clb.network == BASIC_NETWORK => Err(Reason::ClbStatus.because(
                format_args!("{key} speaks QUIC, which needs a VPC and not the basic network"),
            )),
            Protocol::Quic if clb.ip_version == IpVersion::V6 && switch::is_on("S-V604") => {
                Err(Reason::Protocol.because(format_args!(
                    "{key} speaks QUIC, which an IPv6 load balancer does not"
                )))
            }
            Protocol::TcpSsl if self.is_tencent() && clb.clb_type == ClbType::Internal => {
                Err(Reason::Protocol.because(format_args!(
                    "{key} speaks TCP SSL, which needs a public load balancer"
                )))
            }
            _ => Ok(()),
        }
    }

    fn check_scheduler(
        &self,
        key: &Key,
        protocol: Protocol,
        scheduler: SchedulerKind,
    ) -> Result<(), Refusal> {
        let refused = match scheduler {
            SchedulerKind::Wrr | SchedulerKind::LeastConn => false,
            SchedulerKind::IpHash => {
                protocol == Protocol::Quic || (self.is_tencent() && !protocol.is_layer_7())
            }
            SchedulerKind::Maglev => protocol == Protocol::Quic || self.is_tencent(),
        };
        if refused && switch::is_on("P-LB04") {
            return Err(Reason::Protocol.because(format_args!(
                "{key} speaks {protocol}, which is not scheduled by {scheduler:?}"
            )));
        }
        Ok(())
    }

    pub(super) fn check_rule(&self, rule: &Rule) -> Result<(), Refusal> {
        let key = Key::new(Kind::Rule, rule.full_name());
        check_name(&key, &rule.name)?;
        let listener_name = format!("{}/{}", rule.clb, rule.listener);
        let listener = self.objects.get::<Listener>(&listener_name);
        let listener =
            listener.ok_or_else(|| not_found(&Key::new(Kind::Listener, &listener_name)))?;
        if !listener.protocol.is_layer_7() {
            return Err(Reason::Protocol.because(format_args!(
                "{key} belongs to a listener that speaks {}, which has no rules",
                listener.protocol
            )));
        }
        if !(1..=DOMAIN_MAX).contains(&rule.domain.len()) {
            return Err(Reason::Length.because(format_args!(
                "{key} has a domain of {} characters; 1 to {DOMAIN_MAX} are allowed",
                rule.domain.len()
            )));
        }
        if rule.domain.starts_with('_') || rule.domain.matches('*').count() > 1 {
            return Err(Reason::Value.because(format_args!(
                "{key} has domain `{}`; it begins with no `_` and has one `*` at most",
                rule.domain
            )));
        }
        if !(1..=URL_MAX).contains(&rule.url.len()) {
            return Err(Reason::Length.because(format_args!(
                "{key} has a URL of {} characters; 1 to {URL_MAX} are allowed",
                rule.url.len()
            )));
        }
        if !rule.url.starts_with(['/', '=', '^', '~']) {
            return Err(Reason::Value.because(format_args!(
                "{key} has URL `{}`; it begins with `/`, `=`, `^~` or `~`",
                rule.url
            )));
        }
        let rules = self.objects.all_of::<Rule>(&listener_name);
        let count = self.objects.entries_of(Kind::Rule, &listener_name).count();
        let same = |other: &&Rule| {
            other.name != rule.name && (&other.domain, &other.url) == (&rule.domain, &rule.url)
        };
        if let Some(other) = rules.into_iter().find(same) {
            return Err(Reason::Duplicate.because(format_args!(
                "{key} has the domain and URL of rule `{}`",
                other.full_name()
            )));
        }
        check_count(count, self.settings.quotas.rules_per_listener, || {
            format!("listener `{listener_name}` would have {count} rules")
        })?;
        self.check_scheduler(&key, listener.protocol, rule.scheduler)?;
        check_session(&key, listener.protocol, rule.session_expire, rule.scheduler)?;
        let clb = self.objects.get::<Clb>(&rule.clb);
        let clb = clb.ok_or_else(|| not_found(&Key::new(Kind::Clb, &rule.clb)))?;
        check_health(&key, listener.protocol, clb, rule.health.as_ref())
    }
}

/// Options of TCP and a header in front of a stream are for TCP that goes through as it is.
fn check_source(key: &Key, listener: &Listener) -> Result<(), Refusal> {
    let tells = listener.source != SourceTold::default();
    if listener.protocol == Protocol::Tcp || !tells || !switch::is_on("P-SA02") {
        return Ok(());
    }
    Err(Reason::Protocol.because(format_args!(
        "{key} speaks {}; TCP alone tells clients by TOA or the PROXY protocol",
        listener.protocol
    )))
}

fn check_session(
    key: &Key,
    protocol: Protocol,
    seconds: u32,
    scheduler: SchedulerKind,
) -> Result<(), Refusal> {
    if seconds == 0 {
        return Ok(());
    }
    if !SESSION_S.contains(&seconds) {
        return Err(Reason::Range.because(format_args!(
            "{key} keeps sessions for {seconds} s; {} to {} s are allowed, and 0 is off",
            SESSION_S.start(),
            SESSION_S.end()
        )));
    }
    if protocol == Protocol::Quic || scheduler != SchedulerKind::Wrr {
        return Err(Reason::Protocol.because(format_args!(
            "{key} speaks {protocol} and is scheduled by {scheduler:?}, which keeps no sessions"
        )));
    }
    Ok(())
}

fn check_idle(key: &Key, listener: &Listener) -> Result<(), Refusal> {
    let seconds = listener.idle_timeout;
    if seconds == 0 {
        return Ok(());
    }
    if listener.protocol != Protocol::Tcp {
        return Err(Reason::Protocol.because(format_args!(
            "{key} speaks {}; an idle timeout is of TCP",
            listener.protocol
        )));
    }
    if !IDLE_TIMEOUT_S.contains(&seconds) {
        return Err(Reason::Range.because(format_args!(
            "{key} forgets flows that are silent for {seconds} s; {} to {} s are allowed",
            IDLE_TIMEOUT_S.start(),
            IDLE_TIMEOUT_S.end()
        )));
    }
    Ok(())
}

fn check_health(
    key: &Key,
    protocol: Protocol,
    clb: &Clb,
    health: Option<&HealthCheck>,
) -> Result<(), Refusal> {
    let Some(check) = health else {
        return Ok(());
    };
    // Targets of all others speak TCP, also those of a QUIC listener.
    let is_udp = protocol == Protocol::Udp;
    let number = if is_udp { udp::PROTOCOL } else { tcp::PROTOCOL };
    if !check.method.is_of(number) {
        let (one, other) = if is_udp {
            ("TCP", "UDP")
        } else {
            ("UDP", "TCP")
        };
        return Err(Reason::Protocol.because(format_args!(
            "{key} has a health check by {one}; its targets speak {other}"
        )));
    }
    let not_v6 = match check.method {
        Method::UdpPort => Some("of a UDP port; a ping or a custom one is possible"),
        Method::TcpExchange(_) => Some("with bytes of its own over TCP; a handshake is possible"),
        Method::Tcp | Method::Ping | Method::UdpExchange(_) => None,
    };
    if let Some(what) = not_v6
        && clb.ip_version == IpVersion::V6
        && switch::is_on("P-HC09")
    {
        return Err(Reason::Protocol.because(format_args!(
            "{key} has a health check {what}: `{}` is an IPv6 load balancer",
            clb.name
        )));
    }
    if check.passive && is_udp {
        return Err(Reason::Protocol.because(format_args!(
            "{key} has passive checks, which see clients refused by a TCP target; it is a UDP listener"
        )));
    }
    check
        .check_ranges()
        .map_err(|what| Reason::Range.because(format_args!("{key} has a health check with {what}")))
}
