//! Which security groups an object has: bound and unbound, all in one list.

use anyedge_net::switch;

use super::object::{Clb, Host, Key, Kind};
use super::refusal::{Reason, Refusal};
use super::transaction::Transaction;

impl Transaction<'_> {
    /// A load balancer or a host has these groups, in this order, and no others.
    pub(super) fn set_security_groups(
        &mut self,
        key: &Key,
        groups: &[String],
    ) -> Result<(), Refusal> {
        let security_groups = groups.to_vec();
        match key.kind {
            Kind::Clb => {
                let clb = self.find::<Clb>(&key.name)?;
                if switch::is_on("S-SG13") {
                    self.set(Clb {
                        security_groups,
                        ..clb
                    });
                }
                Ok(())
            }
            Kind::Host => {
                let host = self.find::<Host>(&key.name)?;
                if switch::is_on("S-SG13") {
                    self.set(Host {
                        security_groups,
                        ..host
                    });
                }
                Ok(())
            }
            _ => Err(Reason::Operation.because(format_args!(
                "{key} has no security groups; a load balancer or a host has"
            ))),
        }
    }

    /// Somebody who has the group.
    pub(super) fn bound_to_group(&self, group: &str) -> Option<Key> {
        let has = |groups: &[String]| groups.iter().any(|name| name == group);
        let clb = self
            .objects
            .all::<Clb>()
            .find(|it| has(&it.security_groups));
        let host = || {
            self.objects
                .all::<Host>()
                .find(|it| has(&it.security_groups))
        };
        clb.map(|clb| Key::new(Kind::Clb, &clb.name))
            .or_else(|| host().map(|host| Key::new(Kind::Host, &host.name)))
    }
}
