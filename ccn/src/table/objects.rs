//! The objects of a table by kind and name, with what is counted beside them.
//!
//! Beside each listener and rule stands how many targets it has and in which revision one of them last changed, and
//! beside each load balancer when anything of it did, so that neither a quota nor a node that follows has to walk over
//! all targets.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use anyedge_net::flow::{Address, Family};

use super::object::{Key, Kind, Kinded, Object, Vip};

/// An object and when it became what it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The revision of its last change.
    pub revision: u64,
    /// The object.
    pub object: Arc<Object>,
}

/// What is known of the targets of a listener or rule as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Crowd {
    /// How many there are.
    pub(crate) count: u32,
    /// When one of them last changed.
    pub(crate) revision: u64,
}

/// Objects by kind and name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    kinds: BTreeMap<Kind, BTreeMap<String, Entry>>,
    /// Listener or rule to its targets as a whole.
    crowds: BTreeMap<String, Crowd>,
    /// Load balancer to when it or anything of it last changed.
    balancers: BTreeMap<String, u64>,
    /// When an object of the kind last changed.
    changed: BTreeMap<Kind, u64>,
    /// Address to how many VIPs want it: one, once a command is done.
    vip_addresses: BTreeMap<Address, u32>,
    /// Load balancer to how many IPv6 VIPs it may serve.
    v6_vips: BTreeMap<String, u32>,
}

impl PartialEq for Objects {
    /// The same objects; what is counted follows from them.
    fn eq(&self, other: &Objects) -> bool {
        let some = |objects: &Objects| {
            let kinds = objects.kinds.iter().filter(|(_, named)| !named.is_empty());
            kinds
                .map(|(kind, named)| (*kind, named.clone()))
                .collect::<Vec<_>>()
        };
        some(self) == some(other)
    }
}

impl Objects {
    pub(crate) fn entry(&self, kind: Kind, name: &str) -> Option<&Entry> {
        self.kinds.get(&kind)?.get(name)
    }

    pub(crate) fn get<T: Kinded>(&self, name: &str) -> Option<&T> {
        T::of(&self.entry(T::KIND, name)?.object)
    }

    /// Entries of a kind by name.
    pub(crate) fn entries(&self, kind: Kind) -> impl Iterator<Item = (&str, &Entry)> {
        let named = self.kinds.get(&kind).into_iter().flatten();
        named.map(|(name, entry)| (name.as_str(), entry))
    }

    /// Objects of a kind by name.
    pub(crate) fn all<T: Kinded>(&self) -> impl Iterator<Item = &T> {
        self.entries(T::KIND)
            .filter_map(|(_, entry)| T::of(&entry.object))
    }

    /// Entries of a kind whose names begin with `parent` and a slash, by name.
    pub(crate) fn entries_of(
        &self,
        kind: Kind,
        parent: &str,
    ) -> impl Iterator<Item = (&str, &Entry)> + use<'_> {
        let prefix = format!("{parent}/");
        self.entries_from(kind, &prefix)
            .take_while(move |(name, _)| name.starts_with(&prefix))
    }

    /// Entries of a kind from that name on.
    pub(crate) fn entries_from(
        &self,
        kind: Kind,
        from: &str,
    ) -> impl Iterator<Item = (&str, &Entry)> + use<'_> {
        let named = self.kinds.get(&kind);
        let range = (Bound::Included(from), Bound::Unbounded);
        let entries = named.map(|named| named.range::<str, _>(range));
        let entries = entries.into_iter().flatten();
        entries.map(|(name, entry)| (name.as_str(), entry))
    }

    /// Objects of a kind whose names begin with `parent` and a slash, by name.
    pub(crate) fn all_of<T: Kinded>(&self, parent: &str) -> impl Iterator<Item = &T> + use<'_, T> {
        self.entries_of(T::KIND, parent)
            .filter_map(|(_, entry)| T::of(&entry.object))
    }

    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.kinds.get(&kind).map_or(0, BTreeMap::len)
    }

    /// What is known of the targets of a listener or rule.
    pub(crate) fn crowd(&self, parent: &str) -> Crowd {
        self.crowds.get(parent).copied().unwrap_or_default()
    }

    /// When the load balancer, or a listener, rule, target or SNAT port of it, last changed.
    pub(crate) fn balancer(&self, clb: &str) -> u64 {
        self.balancers.get(clb).copied().unwrap_or(0)
    }

    /// When an object of the kind last changed.
    pub(crate) fn changed(&self, kind: Kind) -> u64 {
        self.changed.get(&kind).copied().unwrap_or(0)
    }

    /// Puts the object there, or takes it away; gives what was there. `revision` is that of the change.
    pub(crate) fn set(&mut self, key: &Key, entry: Option<Entry>, revision: u64) -> Option<Entry> {
        let named = self.kinds.entry(key.kind).or_default();
        let comes = entry.is_some();
        let vip = entry.as_ref().map(|entry| Arc::clone(&entry.object));
        let before = match entry {
            Some(entry) => named.insert(key.name.clone(), entry),
            None => named.remove(&key.name),
        };
        self.changed.insert(key.kind, revision);
        if key.kind == Kind::Target
            && let Some((parent, _)) = key.name.rsplit_once('/')
        {
            let more = i64::from(comes) - i64::from(before.is_some());
            self.crowd_changes(parent, more, revision);
        }
        if matches!(key.kind, Kind::Listener | Kind::Rule) && !comes {
            self.crowds.remove(&key.name);
        }
        self.balancer_changes(key, comes, revision);
        if key.kind == Kind::Vip {
            let before = before.as_ref().and_then(|entry| Vip::of(&entry.object));
            self.count_vip(before, -1);
            self.count_vip(vip.as_ref().and_then(|object| Vip::of(object)), 1);
        }
        before
    }

    /// How many VIPs want the address.
    pub(crate) fn vips_at(&self, address: &Address) -> u32 {
        self.vip_addresses.get(address).copied().unwrap_or(0)
    }

    /// Whether an IPv6 VIP is bound to the load balancer, or may come to it.
    pub(crate) fn serves_v6(&self, clb: &str) -> bool {
        self.v6_vips.get(clb).is_some_and(|count| *count > 0)
    }

    fn count_vip(&mut self, vip: Option<&Vip>, more: i64) {
        let Some(vip) = vip else {
            return;
        };
        for address in &vip.addresses {
            count(&mut self.vip_addresses, address, more);
        }
        if vip.addresses.iter().any(|it| it.family() == Family::V6) {
            for clb in core::iter::once(&vip.clb).chain(&vip.standby) {
                count(&mut self.v6_vips, clb, more);
            }
        }
    }

    fn balancer_changes(&mut self, key: &Key, comes: bool, revision: u64) {
        let clb = match key.kind {
            Kind::Clb => key.name.as_str(),
            Kind::Listener | Kind::Rule | Kind::Target | Kind::SnatIp | Kind::SnatBlock => {
                key.name.split('/').next().unwrap_or_default()
            }
            _ => return,
        };
        if key.kind == Kind::Clb && !comes {
            self.balancers.remove(clb);
        } else if let Some(known) = self.balancers.get_mut(clb) {
            *known = revision;
        } else if comes {
            self.balancers.insert(clb.to_owned(), revision);
        }
    }

    fn crowd_changes(&mut self, parent: &str, more: i64, revision: u64) {
        let known = match self.crowds.get_mut(parent) {
            Some(known) => known,
            None => self.crowds.entry(parent.to_owned()).or_default(),
        };
        let count = i64::from(known.count) + more;
        known.count = u32::try_from(count).unwrap_or(0);
        known.revision = revision;
    }
}

/// One more or less of `key`; what is not there any more is not counted either.
fn count<K: Ord + Clone>(counts: &mut BTreeMap<K, u32>, key: &K, more: i64) {
    let known = counts.get(key).copied().unwrap_or(0);
    let count = u32::try_from(i64::from(known) + more).unwrap_or(0);
    if count == 0 {
        counts.remove(key);
    } else {
        counts.insert(key.clone(), count);
    }
}
