//! Auto-scaling groups: what they are associated with, and what their servers get.

use anyedge_net::flow::Address;
use std::collections::BTreeSet;

use super::super::object::{AutoScalingGroup, Host, Key, Kind, Listener, Rule};
use super::super::refusal::{Reason, Refusal};
use super::super::transaction::Transaction;
use super::super::{
    SCALING_GROUPS_MAX, SCALING_LISTENERS_MAX, SCALING_SERVERS_MAX, not_found, unknown,
};
use super::check_count;
use super::names::check_name;

impl Transaction<'_> {
    pub(super) fn check_scaling_group(
        &self,
        key: &Key,
        group: &AutoScalingGroup,
    ) -> Result<(), Refusal> {
        check_name(key, &group.name)?;
        self.check_quota(Kind::AutoScalingGroup, SCALING_GROUPS_MAX as u32)?;
        let counts = [
            ("listeners", group.listeners.len(), SCALING_LISTENERS_MAX),
            ("servers", group.servers.len(), SCALING_SERVERS_MAX),
        ];
        for (what, count, most) in counts {
            check_count(count, most as u32, || {
                format!("{key} would have {count} {what}")
            })?;
        }
        let port = group.port;
        if !(1..=65_535).contains(&port) {
            return Err(
                Reason::Range.because(format_args!("{key} has port {port}; a port is 1 to 65535"))
            );
        }
        let (weight, most) = (
            group.weight,
            i32::from(*self.settings.profile.weights().end()),
        );
        if !(0..=most).contains(&weight) {
            return Err(Reason::Range.because(format_args!(
                "{key} has weight {weight}; a weight is 0 to {most}"
            )));
        }
        let mut listeners = BTreeSet::new();
        for listener in &group.listeners {
            self.check_associated(listener)?;
            if !listeners.insert(listener) {
                return Err(Reason::Duplicate
                    .because(format_args!("{key} has listener `{listener}` twice")));
            }
        }
        let mut addresses: BTreeSet<Address> = BTreeSet::new();
        for server in &group.servers {
            if !addresses.insert(server.address) {
                return Err(Reason::Duplicate
                    .because(format_args!("{key} has server {} twice", server.address)));
            }
            if self.objects.get::<Host>(&server.host).is_none() {
                return Err(unknown(key, "host", &server.host));
            }
        }
        Ok(())
    }

    /// A listener or a rule; which of the two its targets want, they say themselves.
    fn check_associated(&self, name: &str) -> Result<(), Refusal> {
        let (kind, is_there) = if name.matches('/').count() > 1 {
            (Kind::Rule, self.objects.get::<Rule>(name).is_some())
        } else {
            (Kind::Listener, self.objects.get::<Listener>(name).is_some())
        };
        match is_there {
            true => Ok(()),
            false => Err(not_found(&Key::new(kind, name))),
        }
    }
}
