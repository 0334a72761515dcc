//! What has to change for the table to be what a topology file says.
//!
//! A file says what it has words for. What an operator or the controllers did meanwhile with what it has no words
//! for stays: where interfaces are, drains, who is lost, withdrawn VIPs, quotas, weights of CLB nodes, who is in an
//! auto-scaling group, who has which SNAT ports. Each change is on the condition that its object is still as it was read,
//! so that nobody's work is overwritten unseen. The ports of a new SNAT address are leased as the file's own table has them.

use std::collections::BTreeMap;

use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::{Change, Condition, PutMode};
use anyedge_ccn::table::object::{
    AutoScalingGroup, Key, Kind, Kinded as _, Listener, Object, SnatBlock, TargetKind,
};

/// What a file says, or lets go of, in the order in which it can go.
const OF_FILES: [Kind; 13] = [
    Kind::Vip,
    Kind::Target,
    Kind::AutoScalingGroup,
    Kind::Eni,
    Kind::SnatIp,
    Kind::Listener,
    Kind::Clb,
    Kind::Path,
    Kind::Host,
    Kind::SecurityGroup,
    Kind::ClbNode,
    Kind::Pop,
    Kind::Region,
];

/// Objects as they are in the table, with the revisions of their last changes.
pub(crate) type Found = BTreeMap<Key, (u64, Object)>;

/// One object's change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) key: Key,
    pub(crate) before: Option<Object>,
    pub(crate) after: Option<Object>,
}

/// All that has to change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) conditions: Vec<Condition>,
    /// Ports of new SNAT addresses: blocks by load balancer and CLB node.
    leases: BTreeMap<(String, String), u32>,
    /// Objects of such kinds that the file does not have, and that stay.
    pub(crate) strays: Vec<Key>,
}

impl Plan {
    /// From what was found to what the file's own table holds. `prune`: what the file does not have goes.
    pub(crate) fn new(wanted: &Table, found: &Found, prune: bool) -> Plan {
        let mut plan = Plan::default();
        let own = |kind: &&Kind| !matches!(kind, Kind::Secret | Kind::SnatBlock);
        for kind in Kind::ALL.iter().filter(own) {
            let mut objects: Vec<&Object> = wanted
                .list(*kind, "", "")
                .map(|(_, entry)| &*entry.object)
                .collect();
            // New ones come behind all others, in the file's order.
            objects.sort_by_key(|object| match object {
                Object::Target(target) => (target.parent(), target.place),
                _ => (String::new(), 0),
            });
            for object in objects {
                if !is_brought(object, wanted.all::<AutoScalingGroup>()) {
                    plan.consider(object, found);
                }
            }
        }
        for block in wanted.all::<SnatBlock>() {
            let ip = Key::new(Kind::SnatIp, format!("{}/{}", block.clb, block.address));
            if !found.contains_key(&ip) {
                let lease = (block.clb.clone(), block.node.clone());
                *plan.leases.entry(lease).or_default() += 1;
            }
        }
        let kept = found
            .values()
            .filter_map(|(_, object)| AutoScalingGroup::of(object));
        let kept: Vec<&AutoScalingGroup> = kept
            .filter(|group| wanted.get::<AutoScalingGroup>(&group.name).is_some())
            .collect();
        for kind in OF_FILES {
            for (key, (revision, object)) in found.iter().filter(|(key, _)| key.kind == kind) {
                let stays = is_brought(object, kept.iter().copied());
                if wanted.entry(key).is_some() || stays {
                    continue;
                }
                if prune {
                    plan.step(key, *revision, Some(object.clone()), None);
                } else {
                    plan.strays.push(key.clone());
                }
            }
        }
        plan
    }

    /// The changes, for one command.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let change = |step: &Step| match (&step.before, &step.after) {
            (None, Some(after)) => Change::Put(after.clone(), PutMode::Create),
            (Some(_), Some(after)) => Change::Put(after.clone(), PutMode::Update),
            (_, None) => Change::Remove(step.key.clone()),
        };
        let lease = |((clb, node), blocks): (&(String, String), &u32)| Change::LeaseSnat {
            clb: clb.clone(),
            node: node.clone(),
            blocks: *blocks,
        };
        let steps = self.steps.iter().map(change);
        steps.chain(self.leases.iter().map(lease)).collect()
    }

    fn consider(&mut self, wanted: &Object, found: &Found) {
        let key = wanted.key();
        let Some((revision, before)) = found.get(&key) else {
            let mut after = wanted.clone();
            if let Object::Target(target) = &mut after {
                target.place = 0;
            }
            return self.step(&key, 0, None, Some(after));
        };
        let after = merged(before, wanted);
        if after != *before {
            self.step(&key, *revision, Some(before.clone()), Some(after));
        }
    }

    fn step(&mut self, key: &Key, revision: u64, before: Option<Object>, after: Option<Object>) {
        self.conditions.push(Condition {
            key: key.clone(),
            revision,
        });
        self.steps.push(Step {
            key: key.clone(),
            before,
            after,
        });
    }
}

/// Whether it is a target that one of `groups` brings: those come and go with their servers.
fn is_brought<'a>(object: &Object, mut groups: impl Iterator<Item = &'a AutoScalingGroup>) -> bool {
    match object {
        Object::Target(target) => groups.any(|group| group.brings(target)),
        _ => false,
    }
}

/// `wanted` with all that a file has no words for as it is in `before`.
fn merged(before: &Object, wanted: &Object) -> Object {
    let mut after = before.clone();
    match (&mut after, wanted) {
        (Object::Settings(after), Object::Settings(wanted)) => {
            after.probing = wanted.probing;
            after.announcing = wanted.announcing;
            after.slot_settle = wanted.slot_settle;
            after.profile = wanted.profile;
            after.sg_flush_on_change = wanted.sg_flush_on_change;
            after.betas_off.clone_from(&wanted.betas_off);
        }
        (Object::Pop(after), Object::Pop(wanted)) => after.underlay = wanted.underlay,
        (Object::ClbNode(after), Object::ClbNode(wanted)) => {
            after.underlay = wanted.underlay;
            after.region.clone_from(&wanted.region);
        }
        (Object::Host(after), Object::Host(wanted)) => {
            after.security_groups.clone_from(&wanted.security_groups);
            after.underlay = wanted.underlay;
            after.region.clone_from(&wanted.region);
            if !wanted.zone.is_empty() {
                after.zone.clone_from(&wanted.zone);
            }
        }
        (Object::Eni(after), Object::Eni(wanted)) => after.addresses.clone_from(&wanted.addresses),
        (Object::Path(after), Object::Path(wanted)) => {
            let draining = after.draining;
            after.clone_from(wanted);
            after.draining = draining;
        }
        (Object::Clb(after), Object::Clb(wanted)) => {
            after.region.clone_from(&wanted.region);
            after.rst_on_unbind = wanted.rst_on_unbind;
            after.unbind_drain = wanted.unbind_drain;
            after.unbind_spread = wanted.unbind_spread;
            after.fail_open = wanted.fail_open;
            after.security_groups.clone_from(&wanted.security_groups);
            after.sg_pass_by_default = wanted.sg_pass_by_default;
            after.eip_bypasses_clb_sg = wanted.eip_bypasses_clb_sg;
            after.sg_probes_exempt = wanted.sg_probes_exempt;
            after.instance_type = wanted.instance_type;
            after.ip_version = wanted.ip_version;
        }
        (Object::Listener(after), Object::Listener(wanted)) => merge_listener(after, wanted),
        (Object::Target(after), Object::Target(wanted)) => {
            after.weight = wanted.weight;
            // An interface may have been moved.
            if after.kind != TargetKind::Eni {
                after.host.clone_from(&wanted.host);
            }
        }
        (Object::Vip(after), Object::Vip(wanted)) => {
            let (withdrawn, prefix) = (after.withdrawn, core::mem::take(&mut after.prefix));
            after.clone_from(wanted);
            (after.withdrawn, after.prefix) = (withdrawn, prefix);
        }
        (Object::AutoScalingGroup(after), Object::AutoScalingGroup(wanted)) => {
            after.listeners.clone_from(&wanted.listeners);
            (after.port, after.weight) = (wanted.port, wanted.weight);
        }
        (after, wanted) => after.clone_from(wanted),
    }
    after
}

fn merge_listener(after: &mut Listener, wanted: &Listener) {
    after.protocol = wanted.protocol;
    after.port = wanted.port;
    after.scheduler = wanted.scheduler;
    after.session_expire = wanted.session_expire;
    (after.max_conn, after.max_cps) = (wanted.max_conn, wanted.max_cps);
    after.idle_timeout = wanted.idle_timeout;
    after.reschedule_on = wanted.reschedule_on;
    after.health = wanted.health.clone();
    after.source = wanted.source;
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyedge_ccn::table::change::Command;
    use anyedge_ccn::table::object::{Clb, Pop, Region, ScalingServer, Target, Vip};
    use anyedge_net::flow::HashKey;
    use anyedge_net::time::Instant;
    use anyedge_topologies::{Topology, author};
    use std::path::Path;

    fn table() -> Table {
        table_with("")
    }

    /// Of a shipped file with more at its end.
    fn table_with(more: &str) -> Table {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/two-pops.toml");
        let text = std::fs::read_to_string(root).expect("a shipped file is readable") + more;
        let topology = Topology::parse("two-pops.toml", &text).expect("it is sound");
        let mut author = author(&topology, HashKey::new([1; 16])).expect("it makes a table");
        author.publish(Instant::ZERO).expect("it makes a table");
        author.table().clone()
    }

    fn found(table: &Table) -> Found {
        let kinds = Kind::ALL.iter().filter(|kind| **kind != Kind::Secret);
        let entries = kinds.flat_map(|kind| table.list(*kind, "", ""));
        let entry = |(_, entry): (&str, &anyedge_ccn::table::Entry)| {
            (
                entry.object.key(),
                (entry.revision, Object::clone(&entry.object)),
            )
        };
        entries.map(entry).collect()
    }

    #[test]
    fn an_empty_table_gets_all_and_a_second_time_nothing() {
        let wanted = table();
        let plan = Plan::new(&wanted, &Found::new(), false);
        assert!(plan.steps.iter().all(|step| step.before.is_none()));
        assert_eq!(plan.steps.len(), found(&wanted).len());
        assert!(
            plan.conditions
                .iter()
                .all(|condition| condition.revision == 0)
        );
        let again = Plan::new(&wanted, &found(&wanted), true);
        assert_eq!(again, Plan::default());
    }

    #[test]
    fn what_a_file_has_no_words_for_stays_and_what_it_says_comes_back() {
        let wanted = table();
        let mut now = found(&wanted);
        for (_, object) in now.values_mut() {
            match object {
                Object::Pop(pop) => pop.draining = true,
                Object::Vip(vip) => vip.withdrawn = true,
                Object::Target(target) => target.place += 7,
                Object::Settings(settings) => settings.quotas.clbs = 7,
                _ => {}
            }
        }
        assert_eq!(Plan::new(&wanted, &now, false), Plan::default());
        let key = Key::new(Kind::Target, "gz-main/web/10.0.0.12:8080");
        if let Some((_, Object::Target(target))) = now.get_mut(&key) {
            target.weight = 77;
        }
        let plan = Plan::new(&wanted, &now, false);
        let [step] = &plan.steps[..] else {
            panic!("one target has another weight: {plan:?}");
        };
        let weight = |object: &Option<Object>| {
            object
                .as_ref()
                .and_then(Target::of)
                .map(|target| target.weight)
        };
        assert_eq!(
            (weight(&step.before), weight(&step.after)),
            (Some(77), Some(20))
        );
    }

    #[test]
    fn the_ports_of_new_snat_addresses_are_leased_and_then_the_tables_own() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/nat64.toml");
        let text = std::fs::read_to_string(root).expect("a shipped file is readable");
        let of = |text: &str| {
            let topology = Topology::parse("nat64.toml", text).expect("it is sound");
            let mut author = author(&topology, HashKey::new([1; 16])).expect("it makes a table");
            author.publish(Instant::ZERO).expect("it makes a table");
            author.table().clone()
        };
        let wanted = of(&text.replace("[\"10.0.9.1\"]", "[\"10.0.9.1\", \"10.0.9.2\"]"));
        let mut now = of(&text);
        let apply = |now: &mut Table, change: Change| {
            let command = Command::new(now.at(), change);
            now.apply(now.revision() + 1, &command).expect("it can be");
        };
        let plan = Plan::new(&wanted, &found(&now), true);
        assert_eq!(plan.steps.len(), 1, "{:?}", plan.steps);
        apply(&mut now, Change::All(plan.changes()));
        let blocks = |table: &Table| table.all::<SnatBlock>().count();
        assert_eq!((blocks(&now), blocks(&wanted)), (440, 440));
        let lost = Change::SetMember {
            clb_node: "region.guangzhou.clb-1".to_owned(),
            membership: Some(anyedge_ccn::author::Membership::Lost),
            weight: None,
        };
        apply(&mut now, lost);
        assert_eq!(Plan::new(&wanted, &found(&now), true), Plan::default());
        let back = Plan::new(&of(&text), &found(&now), true);
        apply(&mut now, Change::All(back.changes()));
        assert_eq!(blocks(&now), 220);
    }

    #[test]
    fn who_is_in_a_group_is_for_the_controllers_to_say_and_so_are_its_targets() {
        let wanted = table_with(
            "[autoscaling.rush]\nlisteners = [\"gz-main/web\"]\nport = 8080\nsize = 1\n\
             servers = [{ ip = [\"10.0.9.1\", \"fd00:a::91\"] }, { ip = [\"10.0.9.2\", \"fd00:a::92\"] }]\n",
        );
        let group = wanted.get::<AutoScalingGroup>("rush").expect("it is there");
        let other = |address: &str| ScalingServer {
            address: address.parse().expect("an address"),
            host: "host.rush-as-2".to_owned(),
        };
        let scale = Change::Scale {
            group: "rush".to_owned(),
            leaves: group.servers.iter().map(|server| server.address).collect(),
            joins: ["10.0.9.2", "fd00:a::92"].map(other).to_vec(),
        };
        let mut now = wanted.clone();
        let command = Command::new(now.at(), scale);
        now.apply(now.revision() + 1, &command).expect("they scale");
        assert_eq!(Plan::new(&wanted, &found(&now), true), Plan::default());
        let plan = Plan::new(&table(), &found(&now), true);
        let gone = |kind| plan.steps.iter().any(|step| step.key.kind == kind);
        assert!(gone(Kind::Target) && gone(Kind::AutoScalingGroup));
        now.apply(
            now.revision() + 1,
            &Command::new(now.at(), Change::All(plan.changes())),
        )
        .expect("in that order they can go");
    }

    #[test]
    fn what_a_file_does_not_have_stays_unless_it_is_to_be_pruned() {
        let wanted = table();
        let mut now = found(&wanted);
        let region = Object::Region(Region {
            name: "moon".to_owned(),
        });
        let clb = Object::Clb(Clb::new("moon-main", "moon"));
        let strays = [region.key(), clb.key()];
        for object in [region, clb] {
            now.insert(object.key(), (9, object));
        }
        let plan = Plan::new(&wanted, &now, false);
        assert!(plan.steps.is_empty());
        assert_eq!(plan.strays.len(), 2);
        let plan = Plan::new(&wanted, &now, true);
        let gone: Vec<&Key> = plan.steps.iter().map(|step| &step.key).collect();
        assert_eq!(
            gone,
            [&strays[1], &strays[0]],
            "the load balancer goes before its region"
        );
        assert_eq!((Pop::KIND, Vip::KIND), (Kind::Pop, Kind::Vip));
    }
}
