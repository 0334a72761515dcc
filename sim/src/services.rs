//! What runs on the nodes' own machines, beside the load and the backends that every run has.
//!
//! A service is a function of a host, called each time the machine starts: when the run begins, and when a fault
//! that stopped the machine is over. What it spawned before is gone by then, as are its sockets; its disk keeps what
//! was synced. Machines go by the names of their nodes on the management network.

mod agents;
mod controllers;
mod credentials;
mod operator;

use std::rc::Rc;
use std::sync::Arc;

use anyedge_topologies::Topology;

use crate::control::Beginning;
use crate::host::SimHost;
use credentials::Credentials;

#[cfg(test)]
pub(crate) mod echo;

/// The services of a network whose tables controllers write: on the controllers' own machines, at the operator, and
/// an agent on every other node.
pub(crate) fn control_plane(topology: &Topology, beginning: Beginning) -> Services {
    let beginning = Arc::new(beginning);
    let credentials = Rc::new(Credentials::of(topology));
    let mut services = Services::new();
    controllers::add(topology, &beginning, &credentials, &mut services);
    agents::add(topology, &beginning, &credentials, &mut services);
    operator::add(topology, beginning, credentials, &mut services);
    services
}

type Start = Box<dyn Fn(SimHost)>;

/// Services by machine, and who of them leads.
#[derive(Default)]
pub struct Services {
    starts: Vec<(String, Start)>,
    leader: Option<LeaderHook>,
}

/// Tells the full name of the controller that leads, as far as anybody knows.
pub(crate) type LeaderHook = Arc<dyn Fn() -> Option<String> + Send + Sync>;

impl Services {
    /// No services.
    pub fn new() -> Services {
        Services::default()
    }

    /// Calls `start` each time the machine of that full name starts, such as `controller.a` or `pop.tokyo`. Several
    /// services of one machine start in the order in which they were given.
    pub fn on_boot(&mut self, machine: &str, start: impl Fn(SimHost) + 'static) {
        self.starts.push((machine.to_owned(), Box::new(start)));
    }

    /// Asks `who` when a fault strikes `controller.leader`: the full name of the controller that leads then. It is
    /// called while the world stands still, so it may read what services wrote down, and call no host.
    pub fn set_leader(&mut self, who: impl Fn() -> Option<String> + Send + Sync + 'static) {
        self.leader = Some(Arc::new(who));
    }

    pub(crate) fn leader(&self) -> Option<LeaderHook> {
        self.leader.clone()
    }

    /// What starts on the machine of that name.
    pub(crate) fn of<'s>(&'s self, machine: &'s str) -> impl Iterator<Item = &'s Start> {
        let own = self.starts.iter().filter(move |(name, _)| name == machine);
        own.map(|(_, start)| start)
    }

    /// Every machine that something starts on.
    pub(crate) fn machines(&self) -> impl Iterator<Item = &str> {
        self.starts.iter().map(|(machine, _)| machine.as_str())
    }
}

#[cfg(test)]
mod tests;
