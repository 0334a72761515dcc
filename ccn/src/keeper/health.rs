//! What CLB nodes say of targets, as one answer for each.
//!
//! Every CLB node checks targets by itself and reports what it finds. A target is dead when more than half of those who
//! have an opinion say so, as a CLB node is lost when a majority says so.
//!
//! Invariant: the counts of a target are those of the opinions kept; opinions are bounded.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use anyedge_proto::control::v1::HealthStatusDetail as Detail;

/// Opinions (node and target) that are kept; further ones are ignored and counted.
pub const TARGET_OPINIONS_MAX: usize = 1 << 21;

/// Opinions on targets, by name.
#[derive(Default, Debug)]
pub(super) struct Health {
    targets: BTreeMap<Arc<str>, Counts>,
    nodes: BTreeMap<String, BTreeMap<Arc<str>, Detail>>,
    opinions: usize,
    pub(super) ignored: u64,
}

/// How many nodes find a target in which state.
#[derive(Clone, Copy, Default, Debug)]
struct Counts {
    alive: u32,
    dead: u32,
    unchecked: u32,
}

impl Counts {
    fn of(&mut self, detail: Detail) -> &mut u32 {
        match detail {
            Detail::Dead => &mut self.dead,
            Detail::Close => &mut self.unchecked,
            // Unknown is never kept.
            Detail::Alive | Detail::Unknown => &mut self.alive,
        }
    }

    const fn all(self) -> u32 {
        self.alive + self.dead + self.unchecked
    }

    const fn verdict(self) -> Detail {
        if self.all() == 0 {
            Detail::Unknown
        } else if self.dead * 2 > self.all() {
            Detail::Dead
        } else if self.alive >= self.unchecked {
            Detail::Alive
        } else {
            Detail::Close
        }
    }
}

impl Health {
    /// Takes in what `node` says of `target`; `Unknown` takes back what it said.
    pub(super) fn hear(&mut self, node: &str, target: &str, detail: Detail) {
        self.drop_opinion(node, target);
        if detail == Detail::Unknown {
            return;
        }
        if self.opinions == TARGET_OPINIONS_MAX {
            self.ignored += 1;
            return;
        }
        let known = self.targets.get_key_value(target);
        let name = known.map_or_else(|| Arc::from(target), |(name, _)| Arc::clone(name));
        *self
            .targets
            .entry(Arc::clone(&name))
            .or_default()
            .of(detail) += 1;
        let of_node = self.nodes.entry(node.to_owned()).or_default();
        of_node.insert(name, detail);
        self.opinions += 1;
    }

    /// Drops all that `node` said.
    pub(super) fn forget(&mut self, node: &str) {
        for (target, detail) in self.nodes.remove(node).unwrap_or_default() {
            self.uncount(target, detail);
        }
    }

    /// What is known of a target.
    pub(super) fn of(&self, target: &str) -> Detail {
        let counts = self.targets.get(target).copied().unwrap_or_default();
        counts.verdict()
    }

    fn drop_opinion(&mut self, node: &str, target: &str) {
        let of_node = self.nodes.get_mut(node);
        let opinion = of_node.and_then(|of_node| of_node.remove_entry(target));
        if let Some((target, detail)) = opinion {
            self.uncount(target, detail);
        }
    }

    fn uncount(&mut self, target: Arc<str>, detail: Detail) {
        self.opinions -= 1;
        if let Entry::Occupied(mut entry) = self.targets.entry(target) {
            *entry.get_mut().of(detail) -= 1;
            if entry.get().all() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_dead_when_more_than_half_say_so() {
        let mut health = Health::default();
        assert_eq!(health.of("web"), Detail::Unknown);
        health.hear("clb-1", "web", Detail::Dead);
        assert_eq!(health.of("web"), Detail::Dead);
        health.hear("clb-2", "web", Detail::Alive);
        assert_eq!(health.of("web"), Detail::Alive);
        health.hear("clb-2", "web", Detail::Dead);
        assert_eq!(health.of("web"), Detail::Dead);
        health.hear("clb-1", "web", Detail::Close);
        health.hear("clb-2", "web", Detail::Close);
        assert_eq!(health.of("web"), Detail::Close);
    }

    #[test]
    fn who_takes_it_back_or_is_forgotten_leaves_nothing_behind() {
        let mut health = Health::default();
        health.hear("clb-1", "web", Detail::Dead);
        health.hear("clb-2", "web", Detail::Dead);
        health.hear("clb-1", "web", Detail::Unknown);
        assert_eq!(health.of("web"), Detail::Dead);
        health.forget("clb-2");
        assert_eq!(health.of("web"), Detail::Unknown);
        assert!(health.targets.is_empty() && health.opinions == 0);
    }
}
