//! Auto-scaling groups at work: servers that join one are bound to its listeners, those that leave it are unbound.
//!
//! All of a change of a group is one transaction, by the code that binds and unbinds targets by hand, so that quotas,
//! rules of who is eligible and drains hold for it too. What an operator does to such a target by hand stands until its
//! server leaves or joins.

use std::collections::BTreeSet;

use anyedge_net::flow::Address;
use anyedge_net::switch;

use super::object::{AutoScalingGroup, Key, Kind, ScalingServer, Target};
use super::refusal::{Reason, Refusal};
use super::transaction::Transaction;

impl Transaction<'_> {
    /// Servers leave a group, others join it.
    pub(super) fn scale(
        &mut self,
        name: &str,
        joins: &[ScalingServer],
        leaves: &[Address],
    ) -> Result<(), Refusal> {
        let mut group = self.find::<AutoScalingGroup>(name)?;
        if joins.is_empty() && leaves.is_empty() {
            return Err(Reason::Missing.because("servers that join or leave"));
        }
        for address in leaves {
            let is_it = |server: &ScalingServer| server.address == *address;
            let place = group.servers.iter().position(is_it).ok_or_else(|| {
                Reason::NoResource.because(format_args!(
                    "server {address} is not in auto-scaling group `{name}`"
                ))
            })?;
            group.servers.remove(place);
        }
        group.servers.extend(joins.iter().cloned());
        self.put_scaling_group(group)
    }

    /// The group is as `group` says from now on, and so are the targets of its listeners.
    pub(super) fn put_scaling_group(&mut self, group: AutoScalingGroup) -> Result<(), Refusal> {
        let before = self.objects.get::<AutoScalingGroup>(&group.name).cloned();
        self.set(group.clone());
        if !switch::is_on("S-BE14") {
            return Ok(());
        }
        let is_of = |target: &Target| (target.full_name(), target.host.clone());
        let old: BTreeSet<_> = before
            .iter()
            .flat_map(|it| it.targets())
            .map(|it| is_of(&it))
            .collect();
        let new: BTreeSet<_> = group.targets().map(|it| is_of(&it)).collect();
        for (name, _) in old.difference(&new) {
            if self.objects.get::<Target>(name).is_some() {
                self.deregister_target(name)?;
            }
        }
        let joined = group
            .targets()
            .filter(|target| !old.contains(&is_of(target)));
        let joined: Vec<Target> = joined.collect();
        if joined.is_empty() {
            return Ok(());
        }
        self.whole(|this| this.register_targets(&joined))
    }

    /// Without servers, a group has no targets.
    pub(super) fn empty_scaling_group(&mut self, name: &str) -> Result<(), Refusal> {
        let group = self.find::<AutoScalingGroup>(name)?;
        let servers = Vec::new();
        self.put_scaling_group(AutoScalingGroup { servers, ..group })
    }

    /// A host that is gone is in no group.
    pub(super) fn leave_scaling_groups(&mut self, host: &str) {
        let groups = self.objects.all::<AutoScalingGroup>();
        let has = |group: &&AutoScalingGroup| group.servers.iter().any(|it| it.host == host);
        let groups: Vec<AutoScalingGroup> = groups.filter(has).cloned().collect();
        for mut group in groups {
            group.servers.retain(|server| server.host != host);
            self.set(group);
        }
    }

    /// A group that is associated with the load balancer, listener or rule, or with what belongs to it.
    pub(super) fn scaled_by(&self, name: &str) -> Option<Key> {
        let below = |listener: &String| {
            let rest = listener.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut groups = self.objects.all::<AutoScalingGroup>();
        let found = groups.find(|group| group.listeners.iter().any(below))?;
        Some(Key::new(Kind::AutoScalingGroup, &found.name))
    }
}
