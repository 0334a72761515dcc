//! Settings and the CCN's objects as messages.

use core::time::Duration;

use anyedge_net::route_table::{Announcing, Mechanisms, Probing};
use anyedge_proto::table::v1 as pb;

use super::super::object::{
    Attachment, AttachmentKind, CcnRoute, LearnedRoute, Profile, Quotas, Settings,
};
use super::super::refusal::{Reason, Refusal};
use super::{choice, format, nanos_to, network_from, network_to};

/// A mechanism by its name.
type Named = (&'static str, fn(&mut Mechanisms) -> &mut bool);

macro_rules! mechanisms {
    ($($name:ident),*) => {
        const MECHANISMS: &[Named] = &[
            $((stringify!($name), |mechanisms| &mut mechanisms.$name)),*
        ];
    };
}

mechanisms!(
    replication,
    bulk_sync,
    second_chance,
    fallback,
    slot_history,
    return_pop,
    detour,
    grey,
    full_size_probes,
    reset_on_miss,
    health,
    fail_open,
    mss_clamp,
    icmp_errors,
    fragments,
    syn_gate
);

impl From<&Settings> for pb::Settings {
    fn from(settings: &Settings) -> pb::Settings {
        let mut mechanisms = settings.mechanisms;
        let off = MECHANISMS.iter().filter(|(_, of)| !*of(&mut mechanisms));
        let mechanisms_off = off.map(|(name, _)| (*name).to_owned()).collect();
        let probing = settings.probing.map(|probing| pb::Probing {
            interval_ns: nanos_to(probing.interval),
            multiplier: probing.multiplier.into(),
            grey_loss_ppm: probing.grey_loss_ppm,
        });
        let Announcing {
            withdraw_after,
            readvertise_after,
            blackhole,
        } = settings.announcing;
        pb::Settings {
            profile: match settings.profile {
                Profile::Default => pb::Profile::Default,
                Profile::Tencent => pb::Profile::Tencent,
                Profile::Qingcloud => pb::Profile::Qingcloud,
                Profile::Aws => pb::Profile::Aws,
            }
            .into(),
            quotas: Some((&settings.quotas).into()),
            probing,
            announcing: Some(pb::Announcing {
                withdraw_after_ns: nanos_to(withdraw_after),
                readvertise_after_ns: nanos_to(readvertise_after),
                blackhole,
            }),
            slot_settle_ns: nanos_to(settings.slot_settle),
            strict_ports: settings.strict_ports,
            mechanisms_off,
            ipv6_regions: settings.ipv6_regions.clone(),
            hybrid_regions: settings.hybrid_regions.clone(),
            sg_flush_on_change: settings.sg_flush_on_change,
            betas_off: settings.betas_off.clone(),
        }
    }
}

impl TryFrom<&pb::Settings> for Settings {
    type Error = Refusal;

    fn try_from(settings: &pb::Settings) -> Result<Settings, Refusal> {
        let mut mechanisms = Mechanisms::ALL;
        for off in &settings.mechanisms_off {
            let found = MECHANISMS.iter().find(|(name, _)| name == off);
            let (_, of) = found.ok_or_else(|| format("a mechanism that nobody knows"))?;
            *of(&mut mechanisms) = false;
        }
        let probing = settings.probing.as_ref().map(|probing| {
            Ok(Probing {
                interval: Duration::from_nanos(probing.interval_ns),
                multiplier: u8::try_from(probing.multiplier).map_err(|_| {
                    Reason::Range.because(format_args!("a multiplier of {}", probing.multiplier))
                })?,
                grey_loss_ppm: probing.grey_loss_ppm,
            })
        });
        let announcing = settings.announcing.as_ref();
        let announcing = announcing.map_or_else(Announcing::default, |it| Announcing {
            withdraw_after: Duration::from_nanos(it.withdraw_after_ns),
            readvertise_after: Duration::from_nanos(it.readvertise_after_ns),
            blackhole: it.blackhole,
        });
        Ok(Settings {
            profile: match choice(settings.profile, "profile")? {
                pb::Profile::Default => Profile::Default,
                pb::Profile::Tencent => Profile::Tencent,
                pb::Profile::Qingcloud => Profile::Qingcloud,
                pb::Profile::Aws => Profile::Aws,
            },
            quotas: settings.quotas.as_ref().map(Into::into).unwrap_or_default(),
            probing: probing.transpose()?,
            announcing,
            slot_settle: Duration::from_nanos(settings.slot_settle_ns),
            strict_ports: settings.strict_ports,
            mechanisms,
            ipv6_regions: settings.ipv6_regions.clone(),
            hybrid_regions: settings.hybrid_regions.clone(),
            sg_flush_on_change: settings.sg_flush_on_change,
            betas_off: settings.betas_off.clone(),
        })
    }
}

const RULES_DEFAULT: u32 = Quotas::RULES_PER_SECURITY_GROUP;

macro_rules! quotas {
    ($($name:ident),*) => {
        impl From<&Quotas> for pb::Quotas {
            fn from(quotas: &Quotas) -> pb::Quotas {
                let rules = quotas.rules_per_security_group;
                pb::Quotas {
                    rules_per_security_group: if rules == RULES_DEFAULT { 0 } else { rules },
                    $($name: quotas.$name),*
                }
            }
        }

        impl From<&pb::Quotas> for Quotas {
            fn from(quotas: &pb::Quotas) -> Quotas {
                let rules = quotas.rules_per_security_group;
                Quotas {
                    rules_per_security_group: if rules == 0 { RULES_DEFAULT } else { rules },
                    $($name: quotas.$name),*
                }
            }
        }
    };
}

quotas!(
    listeners_per_clb,
    rules_per_listener,
    targets_per_rule,
    clbs,
    snat_ips_per_clb,
    targets_per_call,
    security_groups_per_clb,
    ccns,
    attachments_per_ccn
);

impl From<&Attachment> for pb::Attachment {
    fn from(attachment: &Attachment) -> pb::Attachment {
        let route = |route: &LearnedRoute| pb::LearnedRoute {
            network: network_to(route.network),
            as_path_len: route.as_path_len,
        };
        pb::Attachment {
            ccn: attachment.ccn.clone(),
            name: attachment.name.clone(),
            kind: match attachment.kind {
                AttachmentKind::Vpc => pb::AttachmentKind::Vpc,
                AttachmentKind::DirectConnect => pb::AttachmentKind::DirectConnect,
                AttachmentKind::Vpn => pb::AttachmentKind::Vpn,
                AttachmentKind::SdWanEdge => pb::AttachmentKind::SdWanEdge,
            }
            .into(),
            routes: attachment.routes.iter().map(route).collect(),
        }
    }
}

impl TryFrom<&pb::Attachment> for Attachment {
    type Error = Refusal;

    fn try_from(attachment: &pb::Attachment) -> Result<Attachment, Refusal> {
        let route = |route: &pb::LearnedRoute| {
            Ok(LearnedRoute {
                network: network_from(route.network.as_ref())?,
                as_path_len: route.as_path_len,
            })
        };
        let routes = attachment.routes.iter().map(route);
        Ok(Attachment {
            ccn: attachment.ccn.clone(),
            name: attachment.name.clone(),
            kind: match choice(attachment.kind, "kind of attachment")? {
                pb::AttachmentKind::Vpc => AttachmentKind::Vpc,
                pb::AttachmentKind::DirectConnect => AttachmentKind::DirectConnect,
                pb::AttachmentKind::Vpn => AttachmentKind::Vpn,
                pb::AttachmentKind::SdWanEdge => AttachmentKind::SdWanEdge,
            },
            routes: routes.collect::<Result<_, Refusal>>()?,
        })
    }
}

impl From<&CcnRoute> for pb::CcnRoute {
    fn from(route: &CcnRoute) -> pb::CcnRoute {
        pb::CcnRoute {
            ccn: route.ccn.clone(),
            network: network_to(route.network),
            attachment: route.attachment.clone(),
            enabled: route.enabled,
            as_path_len: route.as_path_len,
        }
    }
}

impl TryFrom<&pb::CcnRoute> for CcnRoute {
    type Error = Refusal;

    fn try_from(route: &pb::CcnRoute) -> Result<CcnRoute, Refusal> {
        Ok(CcnRoute {
            ccn: route.ccn.clone(),
            network: network_from(route.network.as_ref())?,
            attachment: route.attachment.clone(),
            enabled: route.enabled,
            as_path_len: route.as_path_len,
        })
    }
}
