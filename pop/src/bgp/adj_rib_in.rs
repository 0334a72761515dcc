//! Adj-RIB-In (RFC 4271 §3.2): the routes that a peer has told and not withdrawn.
//!
//! It is bounded: a peer that tells more prefixes than it may ends its session (RFC 4486 §4). While a peer restarts
//! its routes are kept as stale, until it has told them again or its time is over (RFC 4724 §4.2).
//!
//! Invariant: never more than `prefixes_max` routes. Routes of one UPDATE share their attributes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Attributes, Family, IpNet};

/// A route that a peer has told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// What it said of it.
    pub attributes: Arc<Attributes>,
    /// It is from before the peer went away.
    pub is_stale: bool,
}

/// There are as many prefixes as there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

/// Routes by prefix.
#[derive(Debug)]
pub struct AdjRibIn {
    routes: BTreeMap<IpNet, Route>,
    prefixes_max: usize,
}

impl AdjRibIn {
    pub(crate) const fn new(prefixes_max: usize) -> AdjRibIn {
        AdjRibIn {
            routes: BTreeMap::new(),
            prefixes_max,
        }
    }

    /// The route to exactly `prefix`.
    pub fn get(&self, prefix: &IpNet) -> Option<&Route> {
        self.routes.get(prefix)
    }

    /// All of them, IPv4 first, by address.
    pub fn iter(&self) -> impl Iterator<Item = (&IpNet, &Route)> {
        self.routes.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Takes over a route; `true` when that changes what is known of its prefix.
    pub(crate) fn insert(
        &mut self,
        prefix: IpNet,
        attributes: &Arc<Attributes>,
    ) -> Result<bool, Full> {
        if let Some(route) = self.routes.get_mut(&prefix) {
            let is_same = route.attributes == *attributes;
            route.attributes = Arc::clone(attributes);
            route.is_stale = false;
            return Ok(!is_same);
        }
        if self.routes.len() >= self.prefixes_max {
            return Err(Full);
        }
        let attributes = Arc::clone(attributes);
        let is_stale = false;
        self.routes.insert(
            prefix,
            Route {
                attributes,
                is_stale,
            },
        );
        Ok(true)
    }

    /// Forgets a route; `true` when there was one.
    pub(crate) fn remove(&mut self, prefix: &IpNet) -> bool {
        self.routes.remove(prefix).is_some()
    }

    /// Marks the routes of `kept` families stale and takes out all others; what was stale already goes as well.
    pub(crate) fn go_stale(&mut self, kept: &[Family]) -> Vec<IpNet> {
        let gone = self.take(|prefix, route| route.is_stale || !kept.contains(&Family::of(prefix)));
        self.routes
            .values_mut()
            .for_each(|route| route.is_stale = true);
        gone
    }

    /// Takes out the stale routes of `family`.
    pub(crate) fn take_stale(&mut self, family: Family) -> Vec<IpNet> {
        self.take(|prefix, route| route.is_stale && Family::of(prefix) == family)
    }

    fn take(&mut self, goes: impl Fn(&IpNet, &Route) -> bool) -> Vec<IpNet> {
        let mut gone = Vec::new();
        self.routes.retain(|prefix, route| {
            let goes = goes(prefix, route);
            if goes {
                gone.push(*prefix);
            }
            !goes
        });
        gone
    }
}
