//! Gossip: what each node of a region tells the others of its load, for schedulers that go by it.
//!
//! The flows of a target are those of all nodes, and each node knows its own. It tells the others of a server whose count
//! has changed, ten times a second, and once a second of all that have flows, so that a lost message is made good and a
//! node that says nothing is taken to have none. Between two messages a node decides by what it last heard: many flows
//! that come within a tenth of a second may meet the same target on several nodes.
//!
//! Nothing is sent, and no timer runs, where no listener counts loads or no flow has come.

use core::time::Duration;
use std::collections::BTreeMap;

use anyedge_net::flow::{Address, HashKey};
use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::time::Instant;

use super::ClbNode;
use super::entries::Item;
use crate::scheduler::counts_loads;

/// How often counts that changed are told.
pub const LOADS_EVERY: Duration = Duration::from_millis(100);
/// How often all are.
pub const LOADS_REFRESH: Duration = Duration::from_secs(1);
/// For how long what a silent node told holds.
pub const LOADS_GOOD_FOR: Duration = Duration::from_secs(3);

/// A load balancer by 32 bits of a hash of its name, which means the same under every revision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ClbTag(pub(super) u32);

impl ClbTag {
    /// The tag of the load balancer of that name.
    pub(super) fn of(name: &str) -> ClbTag {
        // Names are no secret, so the key is none.
        const KEY: HashKey = HashKey::new([0; 16]);
        ClbTag(KEY.hash_bytes(name.as_bytes()) as u32)
    }
}

/// What a node tells of a server of a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Load {
    pub(super) clb: ClbTag,
    pub(super) protocol: u8,
    pub(super) port: u16,
    pub(super) server: (Address, u16),
    /// Those of the teller.
    pub(super) flows: u32,
}

/// When a node tells of its load, and of whom it has heard.
#[derive(Default)]
pub(super) struct Gossip {
    at: Option<Instant>,
    refresh_at: Instant,
    heard: BTreeMap<NodeId, Instant>,
}

impl Gossip {
    /// A flow came to a listener that counts loads.
    pub(super) fn begin(&mut self, now: Instant) {
        self.at.get_or_insert(now + LOADS_EVERY);
    }

    /// When it goes on.
    pub(super) const fn wake_at(&self) -> Option<Instant> {
        self.at
    }
}

impl ClbNode {
    /// Tells the other nodes of the region what changed, when it is time.
    pub(super) fn step_gossip(&mut self, now: Instant, out: &mut Outbox) {
        if self.gossip.at.is_none_or(|at| now < at) {
            return;
        }
        self.forget_silent(now);
        let region = self
            .region
            .and_then(|id| self.routes.regions.get(id.index()));
        let nodes = region.map_or(&[][..], |region| &region.clb_nodes);
        let is_full = self.gossip.refresh_at <= now;
        if is_full {
            self.gossip.refresh_at = now + LOADS_REFRESH;
        }
        let mut is_idle = self.gossip.heard.is_empty();
        for (clb, served) in self.served.listeners_by_clb() {
            let listener = served.listener();
            if !counts_loads(listener) {
                continue;
            }
            let servers = self.connections.loads_mut().servers_mut(served.number());
            for server in servers.into_iter().flat_map(|servers| servers.all_mut()) {
                let flows = server.own();
                is_idle &= flows == 0;
                if flows == server.last_told && !(is_full && flows > 0) {
                    continue;
                }
                server.last_told = flows;
                let load = Load {
                    clb: ClbTag::of(clb),
                    protocol: listener.protocol,
                    port: listener.port,
                    server: server.place(),
                    flows,
                };
                for node in nodes.iter().filter(|node| **node != self.own) {
                    self.sync.draft(*node, &Item::Load(load), &self.exits, out);
                }
            }
        }
        self.gossip.at = (!is_idle).then_some(now + LOADS_EVERY);
    }

    /// Takes in what another node tells of its load.
    pub(super) fn take_load(&mut self, now: Instant, from: NodeId, load: &Load) {
        let clb = self.served.clb_tagged(load.clb);
        let listener = clb.and_then(|clb| self.served.listener(clb, load.protocol, load.port));
        let number = listener.map(|listener| listener.number());
        let loads = self.connections.loads_mut();
        let Some(servers) = number.and_then(|number| loads.servers_mut(number)) else {
            self.sync.counts.unknown += 1;
            return;
        };
        servers.set_peer(load.server, from, load.flows);
        self.sync.counts.taken += 1;
        self.gossip.heard.insert(from, now);
        self.gossip.begin(now);
    }

    /// Nobody has told anything: nodes have other numbers.
    pub(super) fn forget_loads(&mut self) {
        let heard = core::mem::take(&mut self.gossip.heard);
        heard.into_keys().for_each(|peer| self.forget_load(peer));
    }

    fn forget_silent(&mut self, now: Instant) {
        let is_silent = |heard: &Instant| now.since(*heard) > LOADS_GOOD_FOR;
        let heard = self.gossip.heard.iter();
        let silent: Vec<NodeId> = heard
            .filter(|(_, heard)| is_silent(heard))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in silent {
            self.gossip.heard.remove(&peer);
            self.forget_load(peer);
        }
    }

    fn forget_load(&mut self, peer: NodeId) {
        for served in self.served.listeners() {
            let loads = self.connections.loads_mut();
            if let Some(servers) = loads.servers_mut(served.number()) {
                servers.forget_peer(peer);
            }
        }
    }
}
