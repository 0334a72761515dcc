//! Relocate: flows follow their target to another host.
//!
//! An address may move between hosts while flows to it are under way: an elastic network interface that goes to another
//! server of its zone. New flows take the way that the routes say at once; those that are there have the host in their
//! entry, and a walk over the table, a bounded number at a time, puts the new one in. Until it comes by, packets go to
//! the host that the address has left, as they would in the moment of the move.

use std::collections::BTreeMap;

use anyedge_net::flow::Address;
use anyedge_net::route_table::{Clb, RouteTable, Shared, Target};
use anyedge_net::switch;
use anyedge_net::time::Instant;

use super::ClbNode;
use super::renumber::moves;
use super::unbind::{CUT_EVERY, LOOKS_PER_STEP_MAX};
use crate::edits::Edits;

/// The walk, while there is one.
#[derive(Default)]
pub(super) struct Relocation(Option<Walk>);

#[derive(Clone, Copy)]
struct Walk {
    /// The number of the flow that comes next.
    next: u32,
    at: Instant,
}

impl Relocation {
    /// When [`ClbNode::relocate`] has something to do.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.0.map(|walk| walk.at)
    }

    /// Takes over another version of the routes, which differs by `edits`, or by more when there are none.
    pub(super) fn apply(
        &mut self,
        now: Instant,
        (old, new): (&RouteTable, &RouteTable),
        edits: Option<&Edits<'_>>,
    ) {
        let moved = match edits {
            Some(edits) => {
                let mut listeners = edits.listeners.iter();
                listeners.any(|edit| edit.come.iter().any(|server| server.stays))
            }
            None => some_server_moved(old, new),
        };
        if moved && switch::is_on("S-EN03") {
            self.0 = Some(Walk { next: 0, at: now });
        }
    }
}

/// Whether a listener of the same name has a server at a host of another name.
fn some_server_moved(old: &RouteTable, new: &RouteTable) -> bool {
    let hosts = moves(
        old.nodes.iter().map(|node| &node.name),
        new.nodes.iter().map(|node| &node.name),
    );
    let clbs: BTreeMap<&str, &Shared<Clb>> = old.clbs.iter().map(|clb| (&*clb.name, clb)).collect();
    let stays = |before: &Target, after: &Target| {
        hosts.get(before.host.index()) == Some(&Some(after.host.0))
    };
    let mut listeners = new.clbs.iter().flat_map(|clb| {
        let before = clbs.get(&*clb.name);
        clb.listeners.iter().filter_map(move |listener| {
            let mut before = before?.listeners.iter();
            let before = before.find(|it| it.name == listener.name)?;
            Some((before, listener))
        })
    });
    listeners.any(|(before, after)| {
        // Most often they are the same servers in the same order.
        let mut pairs = before.targets.iter().zip(&after.targets);
        let same_order = before.targets.len() == after.targets.len()
            && pairs.all(|(one, other)| server(one) == server(other));
        if same_order {
            let mut pairs = before.targets.iter().zip(&after.targets);
            return pairs.any(|(one, other)| !stays(one, other));
        }
        let known: BTreeMap<(Address, u16), &Target> =
            before.targets.iter().map(|it| (server(it), it)).collect();
        let mut there = after.targets.iter();
        there.any(|it| known.get(&server(it)).is_some_and(|was| !stays(was, it)))
    })
}

const fn server(target: &Target) -> (Address, u16) {
    (target.address, target.port)
}

impl ClbNode {
    /// Goes on with the walk, when it is time.
    pub(super) fn relocate(&mut self, now: Instant) {
        let Some(mut walk) = self.relocation.0.filter(|walk| walk.at <= now) else {
            return;
        };
        let numbers = self.connections.numbers();
        let end = numbers.min(walk.next.saturating_add(LOOKS_PER_STEP_MAX));
        while walk.next < end {
            let id = walk.next;
            walk.next += 1;
            let Some(flow) = self.connections.held(id) else {
                continue;
            };
            let (target, port) = flow.server();
            let host = self.sync.host_of(&target, port);
            if let Some(host) = host.filter(|host| *host != flow.host) {
                self.connections.set_host(id, host);
            }
        }
        walk.at = now + CUT_EVERY;
        self.relocation.0 = (walk.next < numbers).then_some(walk);
    }
}
