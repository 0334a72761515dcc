//! Where the control plane of controllers meets the world: tables that nodes' agents bring, what the operator is told,
//! and who leads.

use core::time::Duration;
use std::sync::Arc;

use anyedge_ccn::agent::{AgentHandle, HealthStatusDetail};
use anyedge_ccn::raft::Role;
use anyedge_ccn::table::Table;
use anyedge_net::event::{Event, Health};
use anyedge_net::id::NodeId;
use anyedge_net::route_table::NodeKind;
use anyedge_topologies::{Loss, units};

use super::World;
use crate::control::{Issued, Orders};
use crate::management::{Cut, Member};
use crate::steward::Order;

/// Partitions of nodes that are cut off from controllers have numbers of their own, above those of all faults.
const CUT_OFF: usize = usize::MAX / 2;

impl World {
    /// The agent of the node of that name came to `table`.
    pub(crate) fn table_comes(&mut self, node: &str, table: &Table) {
        let Some(id) = self.table.node_named(node) else {
            return;
        };
        let Some(control) = &mut self.control else {
            return;
        };
        let Some(made) = control.tables.of(table) else {
            return;
        };
        if made.revision > self.table.revision {
            self.table = Arc::clone(&made);
        }
        let revision = made.revision.0;
        control.account.saw(revision);
        self.table_reaches(id, made);
        if let Some(agent) = self.control.as_ref().and_then(|own| own.agents.get(&id)) {
            agent.in_force(revision);
        }
        self.account_in_force();
    }

    /// The machine of the node of that name has started, and this is its agent.
    pub(crate) fn agent_starts(&mut self, node: &str, agent: AgentHandle) {
        let id = self.table.node_named(node);
        if let Some((id, control)) = id.zip(self.control.as_mut()) {
            control.agents.insert(id, agent);
        }
    }

    /// The node's agent is told what the node's forwarder found out.
    pub(super) fn tell_agent(&self, node: NodeId, event: &Event) {
        let Some(control) = &self.control else {
            return;
        };
        let Some(agent) = control.agents.get(&node) else {
            return;
        };
        match *event {
            Event::PeerState { path, peer, up } => {
                let peer = self.table.nodes.get(peer.index());
                let path = self.table.paths.get(path.index());
                if let Some((peer, path)) = peer.zip(path) {
                    agent.path_state(&peer.name, &path.name, up);
                }
            }
            Event::TargetHealth {
                target,
                target_port,
                health,
            } => {
                let detail = match health {
                    Health::Detecting => HealthStatusDetail::Unknown,
                    Health::Healthy => HealthStatusDetail::Alive,
                    Health::Closed => HealthStatusDetail::Close,
                    Health::Abnormal | Health::Blocked => HealthStatusDetail::Dead,
                };
                let names = control.targets.get(&(target, target_port));
                for name in names.into_iter().flatten() {
                    agent.target_health(name, detail);
                }
            }
            _ => {}
        }
    }

    /// A command came through at the leader; `revision`: what it made, if anything.
    pub(crate) fn command_came_through(&mut self, took: Duration, revision: Option<u64>) {
        let now = self.now;
        if let Some(control) = &mut self.control {
            control.account.committed(now, took, revision);
        }
    }

    /// A controller tells what it is.
    pub(crate) fn controller_stands(&mut self, controller: &str, role: Role, term: u64) {
        if let Some(control) = &mut self.control {
            control.account.stands(controller, role, term);
        }
    }

    /// A controller takes part no more until its machine starts anew.
    pub(crate) fn controller_stopped(&mut self, controller: &str, why: &str) {
        if let Some(control) = &mut self.control {
            control.account.stopped(controller, why);
        }
    }

    /// How often the machine of that name has lost its disk.
    pub(crate) fn wipes(&self, machine: &str) -> u64 {
        let management = self.management.as_ref();
        let host = management.and_then(|own| own.host_named(machine));
        host.map_or(0, |host| self.hosts[host.index()].wipes)
    }

    /// What the operator asked for at `issued` was refused.
    pub(crate) fn order_refused(&mut self, issued: &Issued, why: &str) {
        self.budget.refused(issued.at, &issued.object, why);
    }

    /// The orders that the operator has yet to carry out.
    pub(crate) fn orders(&self) -> Option<Orders> {
        self.control.as_ref().map(|own| own.orders.clone())
    }

    /// Gives the operator an order, if there is one.
    pub(super) fn instruct(&mut self, object: &str, order: &Order) {
        let issued = Issued {
            at: self.now,
            object: object.to_owned(),
            order: order.clone(),
        };
        if let Some(control) = &self.control {
            control.orders.change(|waiting| {
                waiting.push_back(issued);
                true
            });
        }
    }

    /// The full name of the controller that leads and runs.
    pub(super) fn leading_controller(&self) -> Option<String> {
        let management = self.management.as_ref()?;
        let mut leading = self.control.as_ref()?.account.leading();
        let is_up = |name: &&str| {
            let host = management.host_named(name);
            host.is_some_and(|host| self.hosts[host.index()].down.is_none())
        };
        leading.find(is_up).map(str::to_owned)
    }

    /// The node's machine cannot reach anybody over the management network, or it can again.
    pub(super) fn cut_off(&mut self, node: NodeId, is_cut: bool) {
        let name = &self.table.nodes[node.index()].name;
        let Some(management) = &mut self.management else {
            return;
        };
        let fault = CUT_OFF + node.index();
        if !is_cut {
            return management.partitions.end(fault);
        }
        let all = Loss::Share(units::PPM_WHOLE);
        let machine = management.host_named(name).map(Member::Host);
        let cut = Cut {
            fault,
            nodes: machine.into_iter().collect(),
            against: None,
            outwards: all,
            inwards: all,
        };
        management.partitions.begin(&cut, None);
    }

    /// Looks which revisions every POP that is up has.
    pub(super) fn account_in_force(&mut self) {
        let Some(control) = &mut self.control else {
            return;
        };
        let pops = self.nodes.iter().filter(|node| {
            node.down.is_none() && self.table.nodes[node.id.index()].kind == NodeKind::Pop
        });
        let oldest = pops
            .map(|node| node.revision.map_or(0, |revision| revision.0))
            .min();
        if let Some(oldest) = oldest {
            control.account.in_force(self.now, oldest);
        }
    }
}
