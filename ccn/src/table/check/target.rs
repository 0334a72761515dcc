//! Targets: where a backend may be, of which kind, and with what port and weight.

use anyedge_net::flow::{Address, Family};
use anyedge_net::switch;

use super::super::ccn_routes::are_joined;
use super::super::object::{
    Clb, CrossRegion, Eni, Host, HostState, IpVersion, Key, Kind, Listener, Rule, SnatIp, Target,
    TargetKind,
};
use super::super::refusal::{Reason, Refusal};
use super::super::transaction::Transaction;
use super::super::verbs::{parent_sentence, target_sentence};
use super::super::{INNER_MTU_MIN_V6, not_found, unknown};
use super::check_count;

impl Transaction<'_> {
    pub(super) fn check_target(&self, target: &Target) -> Result<(), Refusal> {
        let clb = self.objects.get::<Clb>(&target.clb);
        let clb = clb.ok_or_else(|| not_found(&Key::new(Kind::Clb, &target.clb)))?;
        let listener = self.check_parent(target)?;
        let port = target.port;
        if !(1..=65_535).contains(&port) && switch::is_on("S-BE11") {
            let object = target_sentence(target);
            return Err(Reason::Range.because(format_args!(
                "{object} has port {port}; a port is 1 to 65535"
            )));
        }
        let weight = target.weight;
        let most = i32::from(*self.settings.profile.weights().end());
        if !(0..=most).contains(&weight) && switch::is_on("S-BE03") {
            let object = target_sentence(target);
            return Err(Reason::Range.because(format_args!(
                "{object} has weight {weight}; a weight is 0 to {most}"
            )));
        }
        let count = self.objects.crowd(&target.parent()).count as usize;
        check_count(count, self.settings.quotas.targets_per_rule, || {
            format!("{} would have {count} targets", parent_sentence(target))
        })?;
        self.check_address(target, clb)?;
        let is_strict = self.is_tencent() && switch::is_on("P-LB13");
        if is_strict && !listener.protocol.is_layer_7() {
            self.check_four_tuple(target, listener)?;
        }
        if target.kind == TargetKind::Idc {
            return self.check_idc(target, clb);
        }
        match target.kind {
            TargetKind::Eni if !switch::is_on("S-EN01") => {
                return Err(Reason::Value.because("without S-EN01"));
            }
            TargetKind::Eni => self.check_eni_target(target)?,
            TargetKind::Instance | TargetKind::Idc => self.check_server_target(target)?,
        }
        self.check_place(target, clb, listener)
    }

    /// The listener that the target is bound to, by a rule if it is of layer 7.
    fn check_parent(&self, target: &Target) -> Result<&Listener, Refusal> {
        let name = format!("{}/{}", target.clb, target.listener);
        let listener = self.objects.get::<Listener>(&name);
        let listener = listener.ok_or_else(|| not_found(&Key::new(Kind::Listener, &name)))?;
        match (listener.protocol.is_layer_7(), target.rule.is_empty()) {
            (false, true) => Ok(listener),
            (true, false) if self.objects.get::<Rule>(&target.parent()).is_some() => Ok(listener),
            (true, false) => Err(not_found(&Key::new(Kind::Rule, target.parent()))),
            (true, true) if !switch::is_on("S-BE01") => Ok(listener),
            (true, true) => Err(Reason::NoRule.because(format_args!(
                "{} names no rule, and listener `{name}` speaks {}",
                target_sentence(target),
                listener.protocol
            ))),
            (false, false) => Err(Reason::Protocol.because(format_args!(
                "{} names a rule, and listener `{name}` speaks {}",
                target_sentence(target),
                listener.protocol
            ))),
        }
    }

    fn check_address(&self, target: &Target, clb: &Clb) -> Result<(), Refusal> {
        let address = &target.address;
        if address.is_unspecified() || address.is_multicast() || self.objects.vips_at(address) > 0 {
            return Err(Reason::Value.because(format_args!(
                "{} has an address that no backend has: it is a VIP, or nobody's",
                target_sentence(target)
            )));
        }
        let wanted = match clb.ip_version {
            IpVersion::Dual => return Ok(()),
            IpVersion::V4 | IpVersion::Nat64 => Family::V4,
            IpVersion::V6 => Family::V6,
        };
        if address.family() != wanted && switch::is_on("S-V601") {
            return Err(Reason::Operation.because(format_args!(
                "{} has no address of the family that load balancer `{}` forwards to; make sure it has one first",
                target_sentence(target),
                clb.name
            )));
        }
        Ok(())
    }

    /// The product's own rule: one backend port behind one listener of a protocol.
    fn check_four_tuple(&self, target: &Target, listener: &Listener) -> Result<(), Refusal> {
        let listeners = self.objects.all_of::<Listener>(&target.clb);
        let mut others = listeners
            .filter(|other| other.protocol == listener.protocol && other.name != listener.name);
        let twin = |other: &&Listener| {
            let name = format!("{}/{}", other.full_name(), target.own_name());
            self.objects.get::<Target>(&name).is_some()
        };
        match others.find(twin) {
            Some(other) => Err(Reason::Duplicate.because(format_args!(
                "{} is bound to listener `{}` of the same protocol",
                target_sentence(target),
                other.full_name()
            ))),
            None => Ok(()),
        }
    }

    fn check_idc(&self, target: &Target, clb: &Clb) -> Result<(), Refusal> {
        let object = || target_sentence(target);
        if clb.cross_region != CrossRegion::V2 {
            return Err(Reason::ClbStatus.because(format_args!(
                "{} is outside the network of load balancer `{}`; turn on cross-region binding 2.0 first",
                object(),
                clb.name
            )));
        }
        let regions = &self.settings.hybrid_regions;
        if !regions.is_empty() && !regions.contains(&clb.region) {
            return Err(Reason::NoRegion.because(format_args!(
                "{} is on premises, and region `{}` has no hybrid cloud",
                object(),
                clb.region
            )));
        }
        if !is_private(&target.address) {
            return Err(Reason::Value.because(format_args!(
                "{} is on premises and has a public address",
                object()
            )));
        }
        if self.objects.all_of::<SnatIp>(&clb.name).next().is_none() {
            return Err(Reason::Operation.because(format_args!(
                "{} is on premises, and load balancer `{}` has no SNAT address; add one first",
                object(),
                clb.name
            )));
        }
        Ok(())
    }

    /// A server is bound by the primary address of its primary interface, every other address by its interface.
    fn check_server_target(&self, target: &Target) -> Result<(), Refusal> {
        let is_its = |eni: &&Eni| {
            let is_servers = eni.primary && eni.addresses.first() == Some(&target.address);
            eni.addresses.contains(&target.address) && !is_servers
        };
        match self.objects.all::<Eni>().find(is_its) {
            Some(eni) if switch::is_on("S-EN04") => Err(Reason::Value.because(format_args!(
                "{} is an address of elastic network interface `{}` and not a server's: bind the interface",
                target_sentence(target),
                eni.name
            ))),
            Some(_) | None => Ok(()),
        }
    }

    fn check_eni_target(&self, target: &Target) -> Result<(), Refusal> {
        let has = |eni: &&Eni| eni.addresses.contains(&target.address);
        let eni = self.objects.all::<Eni>().find(has).ok_or_else(|| {
            let object = target_sentence(target);
            unknown(object, "elastic network interface", target.address)
        })?;
        if eni.host.is_empty() && switch::is_on("S-EN02") {
            return Err(Reason::Operation.because(format_args!(
                "{} is on elastic network interface `{}`, which is not attached",
                target_sentence(target),
                eni.name
            )));
        }
        let is_servers = eni.primary && eni.addresses.first() == Some(&target.address);
        if is_servers && switch::is_on("S-EN05") {
            return Err(Reason::Value.because(format_args!(
                "{} is the primary address of the primary interface of `{}`: bind the server",
                target_sentence(target),
                eni.host
            )));
        }
        if eni.host != target.host {
            return Err(Reason::Value.because(format_args!(
                "{} is on elastic network interface `{}`, which is attached to `{}` and not to `{}`",
                target_sentence(target),
                eni.name,
                eni.host,
                target.host
            )));
        }
        Ok(())
    }

    /// A server may be bound when it is of the region and network, or the load balancer reaches further.
    fn check_place(&self, target: &Target, clb: &Clb, listener: &Listener) -> Result<(), Refusal> {
        let Some(host) = self.objects.get::<Host>(&target.host) else {
            if clb.cross_region == CrossRegion::V2 && self.was_released(target) {
                return Ok(());
            }
            return Err(unknown(parent_sentence(target), "host", &target.host));
        };
        let refuse = |reason: Reason, what: &str| {
            Err(reason.because(format_args!(
                "{} is on `{}`, which {what}",
                target_sentence(target),
                host.name
            )))
        };
        match host.state {
            HostState::Normal => {}
            _ if !switch::is_on("S-BE09") => {}
            HostState::Isolated => return refuse(Reason::TargetIsolated, "is isolated"),
            HostState::Expired => return refuse(Reason::TargetExpired, "has expired"),
            HostState::NoBandwidth => {
                return refuse(Reason::TargetBandwidth, "has a bandwidth peak of 0");
            }
        }
        let same_region = host.region == clb.region;
        let same_network = same_region && host.network == clb.network;
        match clb.cross_region {
            CrossRegion::Off if !same_region => {
                let what = format!("is not in region `{}`", clb.region);
                return refuse(Reason::TargetRegion, &what);
            }
            CrossRegion::Off if !same_network => {
                return refuse(Reason::TargetNetwork, "is in another network");
            }
            CrossRegion::V1 if host.region != clb.backend_region => {
                let what = format!("is not in region `{}`", clb.backend_region);
                return refuse(Reason::TargetRegion, &what);
            }
            CrossRegion::V2 if !same_network => {
                if clb.ip_version == IpVersion::V6 && !listener.protocol.is_layer_7() {
                    return refuse(
                        Reason::Protocol,
                        "an IPv6 load balancer reaches by layer 7 only",
                    );
                }
                let (own, other) = (clb.joined_as(), host.joined_as());
                if !are_joined(self.objects, own, other) {
                    return refuse(
                        Reason::TargetNetwork,
                        "is in another network, and no CCN joins the two",
                    );
                }
            }
            CrossRegion::Off | CrossRegion::V1 | CrossRegion::V2 => {}
        }
        if !same_region {
            return Ok(());
        }
        let Some(mtu) = self.reach.host_mtu(&host.name) else {
            return Err(self.no_path(target));
        };
        if mtu < INNER_MTU_MIN_V6 && self.objects.serves_v6(&clb.name) {
            return Err(Reason::Range.because(format_args!(
                "the way to {} carries inner packets of {mtu} bytes; {INNER_MTU_MIN_V6} are needed",
                target_sentence(target)
            )));
        }
        Ok(())
    }

    fn no_path(&self, target: &Target) -> Refusal {
        Reason::Operation.because(format_args!(
            "{} is on `{}`, to which its region has no path",
            target_sentence(target),
            target.host
        ))
    }

    /// Whether the target is there from before this command: its host was released, and it stays until somebody
    /// unbinds it.
    fn was_released(&self, target: &Target) -> bool {
        let entry = self.objects.entry(Kind::Target, &target.full_name());
        entry.is_some_and(|entry| entry.revision < self.revision)
    }
}

impl Clb {
    /// The name under which its network is attached to a CCN.
    fn joined_as(&self) -> &str {
        if self.network.is_empty() {
            &self.region
        } else {
            &self.network
        }
    }
}

impl Host {
    /// The name under which its network is attached to a CCN.
    fn joined_as(&self) -> &str {
        if self.network.is_empty() {
            &self.region
        } else {
            &self.network
        }
    }
}

/// RFC 1918 and RFC 6598 for IPv4, RFC 4193 for IPv6.
fn is_private(address: &Address) -> bool {
    match (address.v4_octets(), address.v6_octets()) {
        (Some([10, ..]), _) | (Some([192, 168, ..]), _) => true,
        (Some([172, second, ..]), _) => (16..32).contains(&second),
        (Some([100, second, ..]), _) => (64..128).contains(&second),
        (_, Some([first, ..])) => first & 0xfe == 0xfc,
        _ => false,
    }
}
