//! The CCN's routes: learned from what is attached, turned on and off by operators, chosen by longest prefix.
//!
//! A route that overlaps one that is on comes in turned off: the later one loses. Of routes with the same prefix
//! one alone is on, except that direct-connect gateways share it while their AS paths are equally long; a
//! shorter one takes it from longer ones. Operators add and remove none: they come and go with the attachment.

use std::collections::BTreeSet;

use anyedge_net::flow::Address;

use super::object::{Attachment, AttachmentKind, Ccn, CcnRoute, Key, Kind, LearnedRoute, Network};
use super::objects::Objects;
use super::refusal::{Reason, Refusal};
use super::transaction::Transaction;

/// ASNs that a learned route may have passed; what is longer is cut.
pub(super) const AS_PATH_MAX: u32 = 30;
/// Routes that an attachment may bring.
pub(super) const LEARNED_MAX: usize = 1_000;

impl Transaction<'_> {
    pub(super) fn attach(&mut self, mut attachment: Attachment) -> Result<(), Refusal> {
        self.find::<Ccn>(&attachment.ccn)?;
        if attachment.routes.len() > LEARNED_MAX {
            return Err(Reason::Limit.because(format_args!(
                "attachment `{}` brings {} routes; at most {LEARNED_MAX} are learned",
                attachment.full_name(),
                attachment.routes.len()
            )));
        }
        let invalid = attachment
            .routes
            .iter()
            .find(|route| !route.network.is_valid());
        if let Some(route) = invalid {
            return Err(Reason::Value.because(format_args!(
                "{} of attachment `{}` is no network",
                route.network,
                attachment.full_name()
            )));
        }
        for route in &mut attachment.routes {
            route.as_path_len = route.as_path_len.min(AS_PATH_MAX);
        }
        let routes = attachment.routes.clone();
        let (ccn, name) = (attachment.ccn.clone(), attachment.name.clone());
        self.set(attachment);
        let wanted: BTreeSet<Network> = routes.iter().map(|route| route.network).collect();
        let known = self.objects.all_of::<CcnRoute>(&ccn);
        let known = known.filter(|route| route.attachment == name);
        let gone = known.filter(|route| !wanted.contains(&route.network));
        let gone: Vec<Key> = gone
            .map(|route| Key::new(Kind::CcnRoute, route.full_name()))
            .collect();
        for key in &gone {
            self.unset(key);
        }
        for route in routes {
            self.learn(&ccn, &name, route);
        }
        Ok(())
    }

    /// All routes over the attachment of that full name go.
    pub(super) fn forget_routes(&mut self, attachment: &str) {
        let Some((ccn, name)) = attachment.split_once('/') else {
            return;
        };
        let routes = self.objects.all_of::<CcnRoute>(ccn);
        let routes = routes.filter(|route| route.attachment == name);
        let routes: Vec<Key> = routes
            .map(|route| Key::new(Kind::CcnRoute, route.full_name()))
            .collect();
        for key in &routes {
            self.unset(key);
        }
    }

    fn learn(&mut self, ccn: &str, attachment: &str, learned: LearnedRoute) {
        let mut route = CcnRoute {
            ccn: ccn.to_owned(),
            network: learned.network,
            attachment: attachment.to_owned(),
            enabled: true,
            as_path_len: learned.as_path_len,
        };
        let known = self.objects.get::<CcnRoute>(&route.full_name());
        if known.is_some_and(|known| known.as_path_len == route.as_path_len) {
            return;
        }
        let others = self.objects.all_of::<CcnRoute>(ccn);
        let others = others.filter(|other| {
            other.enabled
                && other.attachment != route.attachment
                && other.network.overlaps(&route.network)
        });
        let others: Vec<CcnRoute> = others.cloned().collect();
        let shares = |other: &CcnRoute| {
            other.network == route.network && self.both_direct(ccn, other, attachment)
        };
        route.enabled = others
            .iter()
            .all(|other| shares(other) && other.as_path_len >= route.as_path_len);
        let longer = others
            .into_iter()
            .filter(|other| route.enabled && other.as_path_len > route.as_path_len);
        let longer: Vec<CcnRoute> = longer.collect();
        for other in longer {
            let enabled = false;
            self.set(CcnRoute { enabled, ..other });
        }
        self.set(route);
    }

    fn both_direct(&self, ccn: &str, other: &CcnRoute, attachment: &str) -> bool {
        let is_direct = |name: &str| {
            let attachment = self.objects.get::<Attachment>(&format!("{ccn}/{name}"));
            attachment.is_some_and(|found| found.kind == AttachmentKind::DirectConnect)
        };
        is_direct(&other.attachment) && is_direct(attachment)
    }

    pub(super) fn enable_route(&mut self, name: &str, enabled: bool) -> Result<(), Refusal> {
        let route = self.find::<CcnRoute>(name)?;
        let conflict = |other: &&CcnRoute| {
            let same = other.network == route.network && other.attachment != route.attachment;
            let shares = self.both_direct(&route.ccn, other, &route.attachment)
                && other.as_path_len == route.as_path_len;
            other.enabled && same && !shares
        };
        if enabled && let Some(other) = self.objects.all_of::<CcnRoute>(&route.ccn).find(conflict) {
            return Err(Reason::Operation.because(format_args!(
                "CCN route `{name}` has the prefix of `{}`, which is on; turn that off first",
                other.full_name()
            )));
        }
        self.set(CcnRoute { enabled, ..route });
        Ok(())
    }
}

/// The routes of `ccn` that a packet to `address` may take: those that are on with the longest prefix.
pub(super) fn look_up<'a>(objects: &'a Objects, ccn: &str, address: &Address) -> Vec<&'a CcnRoute> {
    let routes = objects.all_of::<CcnRoute>(ccn);
    let routes = routes.filter(|route| route.enabled && route.network.contains(address));
    let routes: Vec<&CcnRoute> = routes.collect();
    let longest = routes.iter().map(|route| route.network.length).max();
    let is_longest = |route: &&CcnRoute| Some(route.network.length) == longest;
    routes.into_iter().filter(is_longest).collect()
}

/// Whether two networks are attached to one CCN.
pub(super) fn are_joined(objects: &Objects, one: &str, other: &str) -> bool {
    let attached = |ccn: &str, name: &str| {
        let attachment = objects.get::<Attachment>(&format!("{ccn}/{name}"));
        attachment.is_some()
    };
    objects
        .all::<Ccn>()
        .any(|ccn| attached(&ccn.name, one) && attached(&ccn.name, other))
}
