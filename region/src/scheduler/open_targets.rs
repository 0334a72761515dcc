//! Open targets: which of a listener's targets may take a new flow, by their health.
//!
//! With none left in a family, all of it are open again (fail open), unless the load balancer refuses that:
//! a view that finds everything dead is more likely to be wrong than right. Weight 0 is not the concern of
//! this table, except that a target of weight 0 does not count among those that are left.
//!
//! Invariant: a family's version changes whenever another set of its targets is open.

use anyedge_net::flow::Family;
use anyedge_net::route_table::Target;

/// The open targets of one listener.
#[derive(Debug)]
pub(crate) struct OpenTargets {
    open: Vec<bool>,
    fail_open: bool,
    v4: Tally,
    v6: Tally,
}

/// How many targets of a family have weight, and how many of those are open.
#[derive(Clone, Copy, Default, Debug)]
struct Tally {
    weighted: usize,
    open: usize,
    version: u32,
}

impl OpenTargets {
    /// The targets for which `is_open` holds; it is asked by their places.
    pub(crate) fn new(
        targets: &[Target],
        fail_open: bool,
        is_open: impl Fn(usize) -> bool,
    ) -> OpenTargets {
        let mut fresh = OpenTargets {
            open: (0..targets.len()).map(is_open).collect(),
            fail_open,
            v4: Tally::default(),
            v6: Tally::default(),
        };
        for (at, target) in targets.iter().enumerate() {
            let open = fresh.open[at];
            let tally = fresh.tally_mut(target.address.family());
            tally.weighted += usize::from(target.weight > 0);
            tally.open += usize::from(target.weight > 0 && open);
        }
        fresh
    }

    /// All of them.
    #[cfg(test)]
    pub(crate) fn all(targets: &[Target]) -> OpenTargets {
        OpenTargets::new(targets, true, |_| true)
    }

    /// Opens or shuts `target`, which stands at place `at`.
    pub(crate) fn set(&mut self, at: usize, target: &Target, open: bool) {
        let Some(place) = self.open.get_mut(at) else {
            return;
        };
        if *place == open {
            return;
        }
        *place = open;
        let tally = self.tally_mut(target.address.family());
        tally.version = tally.version.wrapping_add(1);
        if target.weight > 0 {
            tally.open = if open { tally.open + 1 } else { tally.open - 1 };
        }
    }

    /// Whether the target at that place was found well.
    pub(crate) fn is_open(&self, at: usize) -> bool {
        self.open.get(at).copied().unwrap_or(false)
    }

    /// Whether the target at that place, of that family, may take a new flow.
    #[inline]
    pub(crate) fn takes(&self, at: usize, family: Family) -> bool {
        self.is_open(at) || self.is_failed_open(family)
    }

    /// Whether any target of weight in that family may take a new flow.
    #[inline]
    pub(crate) fn any(&self, family: Family) -> bool {
        self.tally(family).open > 0 || self.is_failed_open(family)
    }

    /// Whether a family has targets of weight, and none of them is open.
    pub(crate) const fn is_all_shut(&self) -> bool {
        self.v4.is_all_shut() || self.v6.is_all_shut()
    }

    /// Another number whenever other targets of the family are open.
    #[inline]
    pub(crate) const fn version(&self, family: Family) -> u32 {
        self.tally(family).version
    }

    const fn is_failed_open(&self, family: Family) -> bool {
        self.fail_open && self.tally(family).is_all_shut()
    }

    const fn tally(&self, family: Family) -> &Tally {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    const fn tally_mut(&mut self, family: Family) -> &mut Tally {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

impl Tally {
    const fn is_all_shut(&self) -> bool {
        self.weighted > 0 && self.open == 0
    }
}
