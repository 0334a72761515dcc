//! Relocate: flows follow their target to another host.
//!
//! An address may move between hosts while flows to it are under way: an elastic network interface that goes to another
//! server of its zone. New flows take the way that the routes say at once; those that are there have the host in their
//! entry, and a walk over the table, a bounded number at a time, puts the new one in. Until it comes by, packets go to
//! the host that the address has left, as they would in the moment of the move.

use std::collections::BTreeMap;

use anyedge_net::flow::Address;
use anyedge_net::route_table::RouteTable;
use anyedge_net::switch;
use anyedge_net::time::Instant;

use super::ClbNode;
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
            None => {
                let (before, after) = (hosts(old), hosts(new));
                let mut servers = after.iter();
                servers.any(|(server, host)| before.get(server).is_some_and(|was| was != host))
            }
        };
        if moved && switch::is_on("S-EN03") {
            self.0 = Some(Walk { next: 0, at: now });
        }
    }
}

/// A server of a listener, by names.
type Bound<'t> = (&'t str, &'t str, Address, u16);

/// The name of the host of every server of every listener.
fn hosts(table: &RouteTable) -> BTreeMap<Bound<'_>, &str> {
    let mut hosts = BTreeMap::new();
    for clb in &table.clbs {
        for listener in &clb.listeners {
            for target in &listener.targets {
                let bound = (&*clb.name, &*listener.name, target.address, target.port);
                if let Some(host) = table.nodes.get(target.host.index()) {
                    hosts.insert(bound, host.name.as_str());
                }
            }
        }
    }
    hosts
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
            let host = self.sync.host_of(&flow.target, flow.target_port);
            if let Some(host) = host.filter(|host| *host != flow.host) {
                self.connections.set_host(id, host);
            }
        }
        walk.at = now + CUT_EVERY;
        self.relocation.0 = (walk.next < numbers).then_some(walk);
    }
}
