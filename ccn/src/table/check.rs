//! What must hold of every object, given all others: each rule stands here once, for the API and for files.
//!
//! An object is checked when it has been set or taken away, as it is when its command is done. When nodes or
//! paths are others, all that stands on them is checked too.

mod autoscaling;
mod balancer;
mod ground;
mod names;
mod security;
mod target;
mod vip;

use anyedge_net::switch;

use super::change::Stage;
use super::object::{Key, Kind, Object, Profile, Settings, SnatIp, Target};
use super::refusal::{Reason, Refusal};
use super::snat::BLOCKS_PER_ADDRESS;
use super::transaction::Transaction;
use super::{DRAIN_MAX, TARGETS_MAX};
use names::check_name;

/// Secrets of a table.
const SECRETS_MAX: u32 = 64;
/// Elastic network interfaces of a table.
const ENIS_MAX: u32 = 65_535;
/// Prefixes of a table.
const PREFIXES_MAX: u32 = 1_024;

impl Transaction<'_> {
    /// Checks what is there under `key`; `before` is what was there before the command.
    pub(super) fn check(&self, key: &Key, before: Option<&Object>) -> Result<(), Refusal> {
        let Some(entry) = self.objects.entry(key.kind, &key.name) else {
            return self.check_gone(key);
        };
        match (&*entry.object, before) {
            (Object::Settings(settings), _) => self.check_settings(settings),
            (Object::Secret(secret), _) => {
                check_name(key, &secret.name)?;
                self.check_quota(Kind::Secret, SECRETS_MAX)?;
                names::check_secret(secret)
            }
            (Object::Region(it), _) => check_name(key, &it.name),
            (Object::Pop(it), _) => check_name(key, &it.name),
            (Object::ClbNode(node), _) => self.check_clb_node(node),
            (Object::Host(host), _) => self.check_host(host),
            (Object::Eni(eni), _) => {
                self.check_quota(Kind::Eni, ENIS_MAX)?;
                self.check_eni(eni)
            }
            (Object::Path(path), _) => self.check_path(path),
            (Object::Prefix(prefix), _) => {
                self.check_quota(Kind::Prefix, PREFIXES_MAX)?;
                self.check_prefix(prefix)
            }
            (Object::Clb(clb), Some(Object::Clb(before))) => self.check_clb(clb, Some(before)),
            (Object::Clb(clb), _) => self.check_clb(clb, None),
            (Object::Listener(it), Some(Object::Listener(before))) => {
                self.check_listener(it, Some(before))
            }
            (Object::Listener(it), _) => self.check_listener(it, None),
            (Object::Rule(rule), _) => self.check_rule(rule),
            (Object::Target(target), _) => self.check_target(target),
            (Object::Vip(vip), _) => self.check_vip(vip),
            (Object::SnatIp(ip), _) => self.check_snat_ip(ip),
            (Object::Ccn(ccn), _) => {
                check_name(key, &ccn.name)?;
                self.check_quota(Kind::Ccn, self.settings.quotas.ccns)
            }
            (Object::Attachment(attachment), _) => {
                check_name(key, &attachment.name)?;
                let count = self
                    .objects
                    .entries_of(Kind::Attachment, &attachment.ccn)
                    .count();
                let most = self.settings.quotas.attachments_per_ccn;
                check_count(count, most, || {
                    format!("CCN `{}` would have {count} attachments", attachment.ccn)
                })
            }
            (Object::Stage(Stage { name, .. }), _) => check_name(key, name),
            (Object::SecurityGroup(group), _) => self.check_security_group(key, group),
            (Object::AutoScalingGroup(group), _) => self.check_scaling_group(key, group),
            (Object::SnatBlock(_) | Object::CcnRoute(_), _) => Ok(()),
        }
    }

    /// What has to hold when something is gone: whoever needs it is gone, too.
    fn check_gone(&self, key: &Key) -> Result<(), Refusal> {
        match key.kind {
            Kind::SnatIp | Kind::Attachment | Kind::Eni => {
                let clb = key.name.split('/').next().unwrap_or_default();
                let targets = self.objects.all::<Target>();
                let concerned = |target: &&Target| key.kind != Kind::SnatIp || target.clb == clb;
                let mut targets = targets.filter(concerned);
                targets.try_for_each(|target| self.check_target(target))
            }
            _ => Ok(()),
        }
    }

    fn check_settings(&self, settings: &Settings) -> Result<(), Refusal> {
        if settings.slot_settle > DRAIN_MAX {
            return Err(Reason::Range.because(format_args!(
                "slots settle after {:?}; {DRAIN_MAX:?} is the most",
                settings.slot_settle
            )));
        }
        if settings.quotas.targets_per_rule as usize > TARGETS_MAX {
            return Err(Reason::Range.because(format_args!(
                "the quota of targets is {}; {TARGETS_MAX} have a place",
                settings.quotas.targets_per_rule
            )));
        }
        let mut off = settings.betas_off.iter();
        if let Some(name) = off.find(|name| !Settings::BETAS.contains(&name.as_str())) {
            return Err(Reason::Value.because(format_args!(
                "`{name}` is no feature in closed beta; those are {}",
                Settings::BETAS.join(", ")
            )));
        }
        let Some(probing) = settings.probing else {
            return Ok(());
        };
        if probing.interval.is_zero() || probing.multiplier == 0 {
            return Err(Reason::Range.because("probes need an interval and a multiplier"));
        }
        Ok(())
    }

    /// Whether a feature in closed beta, of which `key` makes use, is approved.
    fn check_beta(&self, key: &Key, feature: &str) -> Result<(), Refusal> {
        let off = self.settings.betas_off.iter().any(|name| name == feature);
        if off && switch::is_on("S-AC13") {
            return Err(Reason::Unauthorized.because(format_args!(
                "{key} needs `{feature}`, which is in closed beta and not approved"
            )));
        }
        Ok(())
    }

    fn check_snat_ip(&self, ip: &SnatIp) -> Result<(), Refusal> {
        if self.objects.get::<super::object::Clb>(&ip.clb).is_none() {
            return Err(Reason::NoClb.because(format_args!(
                "SNAT address {} refers to load balancer `{}`, which does not exist",
                ip.address, ip.clb
            )));
        }
        let count = self.objects.entries_of(Kind::SnatIp, &ip.clb).count();
        let most = self.settings.quotas.snat_ips_per_clb;
        check_count(count, most, || {
            format!(
                "load balancer `{}` would have {count} SNAT addresses with {BLOCKS_PER_ADDRESS} blocks of ports each",
                ip.clb
            )
        })
    }

    /// Objects of a kind within their quota.
    fn check_quota(&self, kind: Kind, most: u32) -> Result<(), Refusal> {
        let count = self.objects.count(kind);
        check_count(count, most, || {
            format!("there would be {count} objects of kind {}", kind.say())
        })
    }

    fn is_tencent(&self) -> bool {
        self.settings.profile == Profile::Tencent
    }
}

fn check_count(count: usize, most: u32, say: impl Fn() -> String) -> Result<(), Refusal> {
    if count > most as usize && switch::is_on("P-LB11") {
        return Err(Reason::Limit.because(format_args!("{}; the quota is {most}", say())));
    }
    Ok(())
}
