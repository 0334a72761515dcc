//! The agent on every POP, CLB node and backend's host: follows the table, hands each to the node's forwarder, and
//! tells the controllers how the node stands.
//!
//! Nodes of a network that is in service begin with the table in force, as if they had followed it. A machine that
//! starts later has nothing: its forwarder gets a table when its agent has found a controller.

use std::rc::Rc;
use std::sync::Arc;

use anyedge_ccn::agent::{Agent, Config};
use anyedge_ccn::rpc::ClientSecurity;
use anyedge_ccn::table::Table;
use anyedge_net::host::Host as _;
use anyedge_net::time::Instant;
use anyedge_topologies::{OPERATOR, Topology};

use super::credentials::Credentials;
use super::{Services, controllers};
use crate::control::Beginning;
use crate::host::SimHost;

/// An agent on each node's machine.
pub(super) fn add(
    topology: &Topology,
    beginning: &Arc<Beginning>,
    credentials: &Rc<Credentials>,
    services: &mut Services,
) {
    let controllers = controllers::addresses(topology);
    let is_node = |name: &str| {
        name != OPERATOR
            && topology
                .controllers
                .values()
                .all(|own| own.object() != name)
    };
    for node in topology.managed() {
        if !is_node(&node.name) {
            continue;
        }
        let config = Config::new(&node.name, controllers.clone(), ClientSecurity::Plain);
        let beginning = Arc::clone(beginning);
        let credentials = Rc::clone(credentials);
        services.on_boot(&node.name, move |host| {
            let mut config = config.clone();
            config.follow.security = credentials.of_node(&host);
            start(&host, config, &beginning);
        });
    }
}

fn start(host: &SimHost, mut config: Config, beginning: &Beginning) {
    let is_first = host.with_world(|world| world.now() == Instant::ZERO);
    if is_first && !beginning.is_cold {
        config.begins_with = beginning.table.clone();
    }
    let own = host.clone();
    let agent = Agent::start(host, config, move |table: &Table| {
        own.with_world(|world| world.table_comes(own.name(), table));
    });
    host.with_world(|world| world.agent_starts(host.name(), agent));
}
