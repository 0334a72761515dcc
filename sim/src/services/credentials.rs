//! How machines of a run know each other on the management network: by certificates of the run's own authority, or not
//! at all.
//!
//! As on real machines all controllers go by one name, nodes by their own, and the operator alone may do everything. All
//! certificates are issued when the first machine starts, by an authority that is nobody's afterwards.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use anyedge_ccn::rpc::{Authority, ClientSecurity, Identity, Role, ServerSecurity, Tls};
use anyedge_net::host::Host as _;
use anyedge_topologies::{OPERATOR, Topology};

use crate::host::SimHost;

/// The name of every controller, whichever is reached.
const CONTROLLER: &str = "controller";
const SEEDED: &str = "simulated secrets are seeded and never fail";

/// The certificates of a run, if it has any.
pub(super) struct Credentials {
    /// Full names of the nodes that get one; `None`: connections are plain.
    nodes: Option<Vec<String>>,
    issued: OnceCell<BTreeMap<String, Identity>>,
}

impl Credentials {
    /// Those that `topology` wants.
    pub(super) fn of(topology: &Topology) -> Credentials {
        let nodes = topology.defaults.management_tls.then(|| {
            let nodes = topology.managed().into_iter().map(|node| node.name);
            let is_controller = |name: &String| name.starts_with("controller.");
            nodes.filter(|name| !is_controller(name)).collect()
        });
        Credentials {
            nodes,
            issued: OnceCell::new(),
        }
    }

    /// How a controller calls the others.
    pub(super) fn of_controller(&self, host: &SimHost) -> ClientSecurity {
        self.client(host, CONTROLLER)
    }

    /// How the operator calls controllers, from `host`.
    pub(super) fn of_operator(&self, host: &SimHost) -> ClientSecurity {
        self.client(host, OPERATOR)
    }

    /// How the node on `host` calls controllers.
    pub(super) fn of_node(&self, host: &SimHost) -> ClientSecurity {
        self.client(host, host.name())
    }

    /// What the controller on `host` asks of its callers.
    pub(super) fn of_server(&self, host: &SimHost) -> ServerSecurity {
        match self.tls(host, CONTROLLER) {
            Some(tls) => ServerSecurity::Tls(tls),
            None => ServerSecurity::Plain(Role::Operator),
        }
    }

    fn client(&self, host: &SimHost, name: &str) -> ClientSecurity {
        match self.tls(host, name) {
            Some(tls) => ClientSecurity::Tls {
                tls,
                server: CONTROLLER.to_owned(),
            },
            None => ClientSecurity::Plain,
        }
    }

    fn tls(&self, host: &SimHost, name: &str) -> Option<Tls> {
        let nodes = self.nodes.as_ref()?;
        let issued = self.issued.get_or_init(|| issue(host, nodes));
        let identity = &issued[name];
        Some(Tls::new(host, identity).expect("the run's own certificate"))
    }
}

fn issue(host: &SimHost, nodes: &[String]) -> BTreeMap<String, Identity> {
    let mut authority = Authority::new(host).expect(SEEDED);
    let mut issue = |name: &str| {
        let role = if name == OPERATOR {
            Role::Operator
        } else {
            Role::Node
        };
        let issued = authority.issue(name, role).expect(SEEDED);
        (name.to_owned(), issued.identity().expect(SEEDED))
    };
    let names = nodes.iter().map(String::as_str).chain([CONTROLLER]);
    names.map(&mut issue).collect()
}
