//! What the scenario does to the world: nodes, machines and links that stop, get worse and come back.
//!
//! A machine's tasks are the executor's, which the world cannot reach: the world stops or starts what it has
//! of the machine and notes it for the run's loop, which looks before any service runs again.

use std::sync::Arc;

use super::World;
use crate::executor::HostId;
use crate::node::AnyForwarder;
use crate::scenario::Act;
use anyedge_net::id::NodeId;

/// What became of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Power {
    Off,
    On,
}

impl World {
    pub(super) fn act(&mut self, act: Act) {
        match act {
            Act::NodeDown(node, reason) => self.nodes[node.index()].down = Some(reason),
            Act::NodeUp(node) => self.start_node(node),
            Act::Announce(site, announced) => self.internet.announce(site, announced),
            Act::HostDown(host) => {
                self.hosts[host.index()].stack.crash(self.out.pool_mut());
                self.power.push((host, Power::Off));
            }
            Act::HostUp(host) => self.power.push((host, Power::On)),
            Act::LinkDown(link) => self.links[link.index()].go_down(),
            Act::LinkUp(link) => self.links[link.index()].come_up(),
            Act::Degrade(link, change) => self.links[link.index()].degrade(self.now, &change),
            Act::Restore(link) => self.links[link.index()].restore(self.now),
        }
    }

    /// Whether a machine stopped or started since [`World::take_power`].
    pub(crate) fn power_changed(&self) -> bool {
        !self.power.is_empty()
    }

    /// The machines that stopped or started, in the order in which they did.
    pub(crate) fn take_power(&mut self) -> Vec<(HostId, Power)> {
        std::mem::take(&mut self.power)
    }

    /// The node starts: what it knew when it crashed is gone.
    fn start_node(&mut self, node: NodeId) {
        let entry = &mut self.nodes[node.index()];
        let own = &self.table.nodes[node.index()];
        entry.down = None;
        entry.forwarder = AnyForwarder::fresh(own.kind, &own.name, entry.limits, self.seed);
        let table = Arc::clone(&self.table);
        entry
            .ledger
            .apply(&mut entry.forwarder, self.now, table, &mut self.out);
        self.after_node(node.index());
    }
}
