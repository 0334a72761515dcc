//! Security groups: their rules, who may have which, and what load balancers may do about them.

use anyedge_net::security_group::{ALL_PORTS, PRIORITY_MAX, Protocol};
use anyedge_net::switch;

use super::super::object::{
    Clb, CrossRegion, IpVersion, Key, Kind, Profile, SecurityGroup, SecurityRule,
};
use super::super::refusal::{Reason, Refusal};
use super::super::transaction::Transaction;
use super::super::{SECURITY_GROUPS_MAX, unknown};
use super::check_count;
use super::names::check_name;

impl Transaction<'_> {
    pub(super) fn check_security_group(
        &self,
        key: &Key,
        group: &SecurityGroup,
    ) -> Result<(), Refusal> {
        check_name(key, &group.name)?;
        self.check_quota(Kind::SecurityGroup, SECURITY_GROUPS_MAX as u32)?;
        let count = group.rules.len();
        if switch::is_on("P-SG1") {
            check_count(count, self.settings.quotas.rules_per_security_group, || {
                format!("{key} would have {count} rules")
            })?;
        }
        let rules = group.rules.iter().enumerate();
        rules
            .into_iter()
            .try_for_each(|(at, rule)| check_rule(key, at + 1, rule))
    }

    /// The groups of a load balancer or a host.
    pub(super) fn check_groups(&self, key: &Key, groups: &[String]) -> Result<(), Refusal> {
        let count = groups.len();
        if switch::is_on("P-SG1") {
            check_count(count, self.settings.quotas.security_groups_per_clb, || {
                format!("{key} would have {count} security groups")
            })?;
        }
        for (at, group) in groups.iter().enumerate() {
            if self.objects.get::<SecurityGroup>(group).is_none() {
                return Err(unknown(key, "security group", group));
            }
            if groups[..at].contains(group) {
                return Err(Reason::Duplicate
                    .because(format_args!("{key} has security group `{group}` twice")));
            }
        }
        Ok(())
    }

    /// Whose groups are asked, where the product leaves no choice.
    pub(super) fn check_clb_security(&self, key: &Key, clb: &Clb) -> Result<(), Refusal> {
        if !switch::is_on("P-SG2") {
            return Ok(());
        }
        let is_v6 = clb.ip_version == IpVersion::V6;
        if self.settings.profile == Profile::Tencent && is_v6 && !clb.sg_pass_by_default {
            return Err(Reason::Operation.because(format_args!(
                "{key} is an IPv6 load balancer, of which only its own security groups are asked; `sg_pass_by_default` stays on"
            )));
        }
        if clb.sg_pass_by_default && clb.cross_region == CrossRegion::V2 {
            return Err(Reason::Operation.because(format_args!(
                "{key} has cross-region binding 2.0, with which the security groups of its targets are asked; `sg_pass_by_default` stays off"
            )));
        }
        Ok(())
    }
}

/// The rule at a place, counted from 1.
fn check_rule(key: &Key, at: usize, rule: &SecurityRule) -> Result<(), Refusal> {
    let SecurityRule {
        first_port: first,
        last_port: last,
        priority,
        ..
    } = *rule;
    if first > last || last > u32::from(ALL_PORTS.1) {
        return Err(Reason::Range.because(format_args!(
            "rule {at} of {key} is for ports {first} to {last}; ports are 0 to 65535, the first not above the last"
        )));
    }
    if priority > u32::from(PRIORITY_MAX) {
        return Err(Reason::Range.because(format_args!(
            "rule {at} of {key} has priority {priority}; 0 to {PRIORITY_MAX} are allowed"
        )));
    }
    let all = (u32::from(ALL_PORTS.0), u32::from(ALL_PORTS.1));
    if rule.protocol == Protocol::Icmp && (first, last) != all {
        return Err(Reason::Protocol.because(format_args!(
            "rule {at} of {key} is for ICMP, which has no ports"
        )));
    }
    if let Some(peer) = rule.peer.filter(|peer| !peer.is_valid()) {
        return Err(Reason::Value.because(format_args!(
            "rule {at} of {key} is for {peer}, which is no range that begins at its first address"
        )));
    }
    Ok(())
}
