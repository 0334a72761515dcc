//! Edits: what a new version of the routes changes for a node, where it changes listeners and no names.
//!
//! Most new versions are the last one but for a target or two. Then whatever a node derived of the routes is amended
//! where a listener is another, and nothing is gone through for those that are not: to compare two versions costs one
//! comparison of pointers for each load balancer, since what stayed is shared between them. All names, and with them
//! all ids, must be the same; else there are no edits, and everything is laid anew.

use std::sync::Arc;

use anyedge_net::flow::Address;
use anyedge_net::id::{ClbId, NodeId, RegionId};
use anyedge_net::route_table::{Clb, Listener, RouteTable, Target};

/// The listeners of a region that are others than before, in the order of their places.
pub(crate) struct Edits<'a> {
    pub(crate) listeners: Vec<ListenerEdit<'a>>,
}

/// A listener before and after.
pub(crate) struct ListenerEdit<'a> {
    pub(crate) clb: ClbId,
    /// Among the listeners of its load balancer.
    pub(crate) place: u16,
    pub(crate) old: &'a Arc<Listener>,
    pub(crate) new: &'a Arc<Listener>,
    /// How many targets at the beginning are the same servers in both, whatever their weight.
    head: usize,
    /// How many at the end.
    tail: usize,
    /// Servers that are gone, or on another host from here on, in their order.
    pub(crate) gone: Vec<Moved>,
    /// Servers that came, or were on another host, in their order.
    pub(crate) come: Vec<Moved>,
}

/// A target whose server came or went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Moved {
    pub(crate) target: Address,
    pub(crate) port: u16,
    pub(crate) host: NodeId,
    /// Where it stands among the targets, or stood.
    pub(crate) place: u16,
    /// The listener has it before and after, only the host is another.
    pub(crate) stays: bool,
}

impl<'a> Edits<'a> {
    /// What `new` changes of `old` for the nodes of `region`; `None` when it changes more than listeners.
    pub(crate) fn between(
        old: &'a RouteTable,
        new: &'a RouteTable,
        region: RegionId,
    ) -> Option<Edits<'a>> {
        if !has_names_of(old, new) {
            return None;
        }
        let mut listeners = Vec::new();
        for (id, (was, is)) in (0..).map(ClbId).zip(old.clbs.iter().zip(&new.clbs)) {
            if was.is(is) {
                continue;
            }
            if !has_shape_of(was, is) {
                return None;
            }
            if is.region != region {
                continue;
            }
            for (place, (old, new)) in (0..).zip(was.listeners.iter().zip(&is.listeners)) {
                if !Arc::ptr_eq(old, new) || was.fail_open != is.fail_open {
                    listeners.push(ListenerEdit::of((id, place), old, new));
                }
            }
        }
        Some(Edits { listeners })
    }
}

impl<'a> ListenerEdit<'a> {
    fn of(
        (clb, place): (ClbId, u16),
        old: &'a Arc<Listener>,
        new: &'a Arc<Listener>,
    ) -> ListenerEdit<'a> {
        let (was, is) = (&old.targets[..], &new.targets[..]);
        let alike = |(old, new): &(&Target, &Target)| server(old) == server(new);
        let head = was.iter().zip(is).take_while(alike).count();
        let ends = was[head..].iter().rev().zip(is[head..].iter().rev());
        let tail = ends.take_while(alike).count();
        let was = &was[head..was.len() - tail];
        let is = &is[head..is.len() - tail];
        ListenerEdit {
            clb,
            place,
            old,
            new,
            head,
            tail,
            gone: less((head, was), is),
            come: less((head, is), was),
        }
    }

    /// The place among the old targets of the new one at `at`, for those that stay in order at both ends.
    pub(crate) fn place_before(&self, at: usize) -> Option<usize> {
        let (was, is) = (self.old.targets.len(), self.new.targets.len());
        if at < self.head {
            Some(at)
        } else {
            (at >= is - self.tail).then(|| at + was - is)
        }
    }
}

/// The targets of `some` that `others` do not have, or have on another host. `head` stand before `some`.
fn less((head, some): (usize, &[Target]), others: &[Target]) -> Vec<Moved> {
    let mut sorted: Vec<_> = others.iter().map(server).collect();
    sorted.sort_unstable();
    let numbered = (head..).zip(some);
    let alone = numbered.filter(|(_, target)| sorted.binary_search(&server(target)).is_err());
    let moved = alone.map(|(at, target)| {
        let place = (target.address, target.port);
        let next = sorted.partition_point(|(address, port, _)| (*address, *port) < place);
        let next = sorted.get(next).map(|(address, port, _)| (*address, *port));
        Moved {
            target: target.address,
            port: target.port,
            host: target.host,
            place: at as u16,
            stays: next == Some(place),
        }
    });
    moved.collect()
}

fn server(target: &Target) -> (Address, u16, NodeId) {
    (target.address, target.port, target.host)
}

/// Whether all ids mean the same in both, and the same mechanisms are on.
fn has_names_of(old: &RouteTable, new: &RouteTable) -> bool {
    let nodes = || {
        let names = old.nodes.iter().map(|node| &node.name);
        names.eq(new.nodes.iter().map(|node| &node.name))
    };
    let regions = || {
        let names = old.regions.iter().map(|region| &region.name);
        names.eq(new.regions.iter().map(|region| &region.name))
    };
    let vips = || {
        let vips = old.vips.iter().map(|(address, vip)| (address, vip.clb));
        vips.eq(new.vips.iter().map(|(address, vip)| (address, vip.clb)))
    };
    old.mechanisms == new.mechanisms
        && old.clbs.len() == new.clbs.len()
        && (old.nodes.is(&new.nodes) || nodes())
        && (old.regions.is(&new.regions) || regions())
        && (old.vips.is(&new.vips) || vips())
}

/// Whether a load balancer has the name, the region and the ports that it had.
fn has_shape_of(old: &Clb, new: &Clb) -> bool {
    let alike = |(old, new): (&Arc<Listener>, &Arc<Listener>)| {
        let is_it = || {
            let names = old.name == new.name;
            names && (old.protocol, old.port) == (new.protocol, new.port)
        };
        Arc::ptr_eq(old, new) || is_it()
    };
    (&old.name, old.region, old.snat.nat64) == (&new.name, new.region, new.snat.nat64)
        && old.listeners.len() == new.listeners.len()
        && old.listeners.iter().zip(&new.listeners).all(alike)
}
