//! What runs at the ends of tunnels that are streams: ports, who calls and who answers.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyedge_ccn::carry::{self, CarryLimits, PORT, Port};
use anyedge_ccn::rpc::{Authority, Identity, Role, Tls};
use anyedge_net::flow::Family;
use anyedge_net::host::Host as _;
use anyedge_net::id::NodeId;
use anyedge_net::route_table::RouteTable;

use crate::build::StreamHost;
use crate::executor::HostId;
use crate::host::{Shared, SimHost};

/// Callers that wait to be answered at one end: each has at most a few connections.
const BACKLOG: usize = 1_024;

/// The ends of all streams and who their nodes are.
pub(super) struct StreamServices {
    ends: Vec<StreamHost>,
    /// Issued when the run begins, by an authority that is nobody's afterwards.
    identities: OnceCell<BTreeMap<NodeId, Identity>>,
}

impl StreamServices {
    pub(super) fn new(ends: Vec<StreamHost>) -> StreamServices {
        StreamServices {
            ends,
            identities: OnceCell::new(),
        }
    }

    /// Starts every end whose node is there.
    pub(super) fn start_all(&self, shared: &Arc<Shared>) {
        for end in &self.ends {
            let is_down = shared.world().hosts[end.host.index()].down.is_some();
            if !is_down {
                self.boot(shared, end);
            }
        }
    }

    /// Starts the end at that host, if one is.
    pub(super) fn start(&self, shared: &Arc<Shared>, host: HostId) -> bool {
        let end = self.ends.iter().find(|end| end.host == host);
        if let Some(end) = end {
            self.boot(shared, end);
        }
        end.is_some()
    }

    fn boot(&self, shared: &Arc<Shared>, own: &StreamHost) {
        let host = SimHost::new(shared, own.host, &own.name);
        let table = Arc::clone(&shared.world().table);
        let identity = &self.identities(shared, &table)[&own.end.node];
        let tls = Tls::new(&host, identity).expect("the run's own certificate");
        let ports = ports(shared, own, &host);
        let underlay = table.paths[own.end.path.index()].underlay;
        if own.end.calls {
            for (peer, port) in &ports {
                let peer = &table.nodes[peer.index()];
                let address: IpAddr = match underlay {
                    Family::V4 => peer.underlay_v4.into(),
                    Family::V6 => peer.underlay_v6.into(),
                };
                let at = SocketAddr::new(address, PORT);
                carry::call(port, at, tls.clone(), &peer.name);
            }
            // A port ends when nobody holds it: these end with the machine.
            host.spawn(async move {
                let _ports = ports;
                pending::<()>().await;
            });
            return;
        }
        let named = ports
            .into_iter()
            .map(|(peer, port)| (table.nodes[peer.index()].name.clone(), port));
        let named: BTreeMap<String, _> = named.collect();
        let any: IpAddr = match underlay {
            Family::V4 => [0; 4].into(),
            Family::V6 => [0; 16].into(),
        };
        let listener = host.tcp_listen(SocketAddr::new(any, PORT), BACKLOG);
        let listener = listener.expect("a fresh host has every port free");
        let server = carry::serve(&host, listener, named, tls);
        host.spawn(async move {
            let _server = server;
            pending::<()>().await;
        });
    }

    /// The certificates of all nodes with streams.
    fn identities(&self, shared: &Arc<Shared>, table: &RouteTable) -> &BTreeMap<NodeId, Identity> {
        self.identities.get_or_init(|| {
            const SEEDED: &str = "simulated secrets are seeded and never fail";
            let first = self.ends.first().expect("an end asks");
            let issuer = SimHost::new(shared, first.host, "streams");
            let mut authority = Authority::new(&issuer).expect(SEEDED);
            let mut identities = BTreeMap::new();
            for node in self.ends.iter().map(|own| own.end.node) {
                let name = &table.nodes[node.index()].name;
                identities.entry(node).or_insert_with(|| {
                    let issued = authority.issue(name, Role::Node).expect(SEEDED);
                    issued.identity().expect(SEEDED)
                });
            }
            identities
        })
    }
}

/// A port for each peer, whose frames come out at the node's forwarder.
fn ports(
    shared: &Arc<Shared>,
    own: &StreamHost,
    host: &SimHost,
) -> Vec<(NodeId, Arc<Port<SimHost>>)> {
    let (node, path) = (own.end.node, own.end.path);
    let port = |peer: &NodeId| {
        let peer = *peer;
        let inlet = shared.world().streams.inlet(node, path, peer).cloned();
        let inlet = inlet.expect("the builder made one for each peer");
        let world = Arc::clone(shared);
        let deliver = move |frame| world.world().came_out(node, path, peer, &frame);
        let port = Port::behind(inlet, host, CarryLimits::default(), deliver);
        (peer, port)
    };
    own.end.peers.iter().map(port).collect()
}
