//! Filters of a route table: the rules of all groups that an object has, compiled.
//!
//! A filter is made once for each list of groups and is shared by all that have that list, and with the next revision
//! while its groups are the same: a forwarder knows by its pointer that nothing changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_net::route_table::{ClbSecurity, Security};
use anyedge_net::security_group::{Filter, Precedence, Rule};
use anyedge_net::switch;

use super::ground::Ground;
use crate::table::Table;
use crate::table::object::{
    Clb as ClbObject, ClbType, Host, Key, Kind, Kinded as _, Profile, SecurityGroup, SecurityRule,
};

/// Groups by name and revision, in order.
type Groups = Vec<(String, u64)>;

/// The filters of one revision.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters {
    precedence: Precedence,
    made: BTreeMap<Groups, Arc<Filter>>,
    /// Those of the revision before.
    before: BTreeMap<Groups, Arc<Filter>>,
}

impl Filters {
    /// No filter yet; those of `last` are taken again where their groups are the same.
    pub(super) fn begin(table: &Table, last: Option<Filters>) -> Filters {
        let precedence = match table.settings().profile {
            Profile::Qingcloud => Precedence::Drop,
            Profile::Default | Profile::Tencent | Profile::Aws => Precedence::First,
        };
        let last = last.filter(|last| last.precedence == precedence);
        Filters {
            precedence,
            made: BTreeMap::new(),
            before: last.map(|last| last.made).unwrap_or_default(),
        }
    }

    /// All were asked for.
    pub(super) fn end(mut self) -> Filters {
        self.before.clear();
        self
    }

    /// Who may open flows to a load balancer.
    pub(super) fn of_clb(&mut self, table: &Table, clb: &ClbObject) -> ClbSecurity {
        let is_internal = clb.clb_type == ClbType::Internal;
        let bypassed = clb.eip_bypasses_clb_sg && is_internal && switch::is_on("P-SG3");
        ClbSecurity {
            filter: match bypassed {
                true => None,
                false => self.of(table, &clb.security_groups),
            },
            passes_by_default: clb.sg_pass_by_default,
            probes_exempt: clb.sg_probes_exempt,
        }
    }

    /// Who may open flows to hosts.
    pub(super) fn of_hosts(&mut self, table: &Table, ground: &Ground) -> Security {
        let mut security = Security {
            flush_on_change: table.settings().sg_flush_on_change,
            ..Security::default()
        };
        for host in table.all::<Host>() {
            let filter = self.of(table, &host.security_groups);
            let node = ground.node(&host.name);
            if let Some((filter, node)) = filter.zip(node) {
                security.hosts.insert(node, filter);
            }
        }
        security
    }

    /// The filter of `groups`; none without any.
    fn of(&mut self, table: &Table, groups: &[String]) -> Option<Arc<Filter>> {
        if groups.is_empty() {
            return None;
        }
        let mut wanted = Groups::new();
        let mut rules: Vec<Vec<Rule>> = Vec::new();
        for name in groups {
            let entry = table.entry(&Key::new(Kind::SecurityGroup, name))?;
            let group = SecurityGroup::of(&entry.object)?;
            wanted.push((name.clone(), entry.revision));
            rules.push(
                group
                    .rules
                    .iter()
                    .filter_map(SecurityRule::checked)
                    .collect(),
            );
        }
        if let Some(filter) = self.made.get(&wanted) {
            return Some(Arc::clone(filter));
        }
        let filter = self.before.remove(&wanted).unwrap_or_else(|| {
            let rules: Vec<&[Rule]> = rules.iter().map(Vec::as_slice).collect();
            Arc::new(Filter::compile(&rules, self.precedence))
        });
        self.made.insert(wanted, Arc::clone(&filter));
        Some(filter)
    }
}
