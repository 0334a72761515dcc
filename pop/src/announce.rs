//! Announcement: which VIPs this POP is to announce now.
//!
//! A POP that announces a VIP attracts its clients, so it must have somewhere to send them: a live path, a detour
//! included, to an owner of slots in the VIP's region. One that lost all of them withdraws after a while, so that a
//! path that is only being changed moves nobody, and one that has them back announces again after a longer while, so
//! that a path that flaps moves clients once. Abnormal targets change nothing, nor does the silence of whoever
//! publishes tables. That the POP drains is told apart, by [`Event::Drains`] before anything else: how its clients are
//! sent away is for those who speak with routers to say ([`crate::advertise`]), and it forwards on.
//!
//! Invariant: what was told of a VIP by [`Event::Announcement`] is what is in `told`, and of draining by [`Event::Drains`] in `drains`.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_ccn::exits::Exits;
use anyedge_net::event::Event;
use anyedge_net::flow::Address;
use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::route_table::{Announcing, Region, RouteTable};
use anyedge_net::slot::{SLOTS, SlotMap};
use anyedge_net::switch;
use anyedge_net::time::{Deadline, Instant};

/// What this POP announces, and why.
#[derive(Default)]
pub(crate) struct Announcer {
    announcing: Announcing,
    regions: Vec<Watched>,
    /// VIPs published here: the place of their region, and whether nothing but paths keeps them from being
    /// announced.
    vips: BTreeMap<Address, (usize, bool)>,
    told: BTreeMap<Address, bool>,
    drains: bool,
    /// The changes of exits that were looked at.
    seen: u64,
    wake_at: Option<Instant>,
}

/// A region as seen from here.
#[derive(Clone)]
struct Watched {
    name: String,
    slots: Arc<SlotMap>,
    owners: Vec<NodeId>,
    is_alive: bool,
    /// It has been so since then.
    since: Instant,
    is_announced: bool,
}

impl Announcer {
    /// Takes over another revision; what is known of regions is kept by their names.
    pub(crate) fn renew(
        &mut self,
        now: Instant,
        table: &RouteTable,
        own: NodeId,
        exits: &Exits,
        out: &mut Outbox,
    ) {
        let before = core::mem::take(&mut self.regions);
        let watch = |region: &Region| {
            let known = before.iter().find(|known| known.name == region.name);
            // Ids of the same slot map are the same ids: it need not be read again.
            let same = known.filter(|known| Arc::ptr_eq(&known.slots, &region.slots));
            let owners = match same {
                Some(same) => same.owners.clone(),
                None => owners(&region.slots, table.nodes.len()),
            };
            match known.cloned() {
                Some(known) => Watched {
                    slots: Arc::clone(&region.slots),
                    owners,
                    ..known
                },
                None => {
                    let is_alive = is_reached(&owners, exits);
                    Watched {
                        name: region.name.clone(),
                        slots: Arc::clone(&region.slots),
                        owners,
                        is_alive,
                        since: now,
                        is_announced: is_alive,
                    }
                }
            }
        };
        self.regions = table.regions.iter().map(watch).collect();
        self.announcing = table.announcing;
        let node = table.nodes.get(own.index());
        let drains = node.is_some_and(|node| node.draining);
        if core::mem::replace(&mut self.drains, drains) != drains {
            out.event(Event::Drains { begins: drains });
        }
        let published = table
            .vips
            .iter()
            .filter(|(_, vip)| vip.publishers.contains(&own) && switch::is_on("S-AC01"));
        self.vips = published
            .filter_map(|(address, vip)| {
                let clb = table.clbs.get(vip.clb.index())?;
                let has_targets = clb
                    .listeners
                    .iter()
                    .any(|listener| !listener.targets.is_empty());
                Some((*address, (clb.region.index(), has_targets)))
            })
            .collect();
        self.look(now, exits, out);
    }

    /// Looks whether paths or the time changed anything.
    #[inline]
    pub(crate) fn poll(&mut self, now: Instant, exits: &Exits, out: &mut Outbox) {
        if exits.changes() != self.seen || self.wake_at.is_some_and(|at| at <= now) {
            self.look(now, exits, out);
        }
    }

    /// When to call [`Announcer::poll`] next, if nothing happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        let reason = "a VIP is announced or withdrawn";
        self.wake_at.map(|at| Deadline { at, reason })
    }

    fn look(&mut self, now: Instant, exits: &Exits, out: &mut Outbox) {
        self.seen = exits.changes();
        self.wake_at = None;
        for region in &mut self.regions {
            let is_alive = is_reached(&region.owners, exits);
            if is_alive != region.is_alive {
                (region.is_alive, region.since) = (is_alive, now);
            }
            if is_alive == region.is_announced {
                continue;
            }
            let patience = if is_alive {
                self.announcing.readvertise_after
            } else if !switch::is_on("S-AC02") {
                Duration::from_secs(3_600)
            } else {
                self.announcing.withdraw_after
            };
            let due = region.since + patience;
            if due <= now {
                region.is_announced = is_alive;
            } else {
                self.wake_at = Some(self.wake_at.map_or(due, |at| at.min(due)));
            }
        }
        self.tell(out);
    }

    /// Tells what changed. A VIP that is published here no longer is withdrawn and forgotten.
    fn tell(&mut self, out: &mut Outbox) {
        let vips = &self.vips;
        self.told.retain(|vip, announced| {
            let is_known = vips.contains_key(vip);
            if !is_known && *announced {
                let (vip, announced) = (*vip, false);
                out.event(Event::Announcement { vip, announced });
            }
            is_known
        });
        for (vip, (region, may_be)) in vips {
            let leads_on = self
                .regions
                .get(*region)
                .is_some_and(|region| region.is_announced);
            let announced = *may_be && (leads_on || self.announcing.blackhole);
            if self.told.insert(*vip, announced) != Some(announced) {
                out.event(Event::Announcement {
                    vip: *vip,
                    announced,
                });
            }
        }
    }
}

fn is_reached(owners: &[NodeId], exits: &Exits) -> bool {
    owners.iter().any(|owner| exits.to(*owner).is_some())
}

/// The nodes that own slots, by id.
fn owners(slots: &SlotMap, nodes: usize) -> Vec<NodeId> {
    let mut is_owner = vec![false; nodes];
    for slot in 0..SLOTS {
        let owners = slots.owners(slot as u16);
        for owner in [owners.primary, owners.secondary] {
            if let Some(is_owner) = is_owner.get_mut(owner.index()) {
                *is_owner = true;
            }
        }
    }
    let nodes = is_owner.iter().zip(0..).filter(|(is_owner, _)| **is_owner);
    nodes.map(|(_, node)| NodeId(node)).collect()
}
