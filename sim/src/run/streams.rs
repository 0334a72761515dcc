//! What runs at the ends of tunnels that are streams: ports, who calls and who answers.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyedge_ccn::carry::{self, Answerer, Caller, CarryLimits, PORT, Port, Ports, QUIC_PORT};
use anyedge_ccn::rpc::{Authority, Identity, Role, Tls};
use anyedge_net::flow::Family;
use anyedge_net::host::Host as _;
use anyedge_net::id::NodeId;
use anyedge_net::route_table::{Node, RouteTable};
use anyedge_net::wire::outer::Encap;

use crate::build::StreamHost;
use crate::executor::HostId;
use crate::host::{Shared, SimHost};

/// Callers that wait to be answered at one end: each has at most a few connections.
const BACKLOG: usize = 1_024;
const FRESH: &str = "a fresh host has every port free";

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
        let path = &table.paths[own.end.path.index()];
        let ports: Vec<Joined> = ports(shared, own, &host)
            .into_iter()
            .map(|(peer, port)| {
                let node = &table.nodes[peer.index()];
                let (name, address) = (node.name.clone(), address_of(node, path.underlay));
                (name, address, port)
            })
            .collect();
        match path.encap {
            Encap::Quic => {
                let address = address_of(&table.nodes[own.end.node.index()], path.underlay);
                join_by_quic(&host, own.end.calls, (address, path.mtu), &tls, ports);
            }
            Encap::Gre | Encap::GreUdp | Encap::Grpc | Encap::Plain => {
                join_by_grpc(&host, own.end.calls, path.underlay, &tls, ports);
            }
        }
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

/// A peer's name, its tunnel address and the port for it.
type Joined = (String, IpAddr, Arc<Port<SimHost>>);

fn join_by_grpc(host: &SimHost, calls: bool, underlay: Family, tls: &Tls, ports: Vec<Joined>) {
    if calls {
        for (name, address, port) in &ports {
            carry::call(port, SocketAddr::new(*address, PORT), tls.clone(), name);
        }
        return keep(host, ports);
    }
    let named: BTreeMap<String, _> = ports
        .into_iter()
        .map(|(name, _, port)| (name, port))
        .collect();
    let any: IpAddr = match underlay {
        Family::V4 => [0; 4].into(),
        Family::V6 => [0; 16].into(),
    };
    let listener = host.tcp_listen(SocketAddr::new(any, PORT), BACKLOG);
    let server = carry::serve(host, listener.expect(FRESH), named, tls.clone());
    keep(host, server);
}

fn join_by_quic(
    host: &SimHost,
    calls: bool,
    (own, mtu): (IpAddr, u16),
    tls: &Tls,
    ports: Vec<Joined>,
) {
    if calls {
        let caller = Caller::open(host, own, tls, mtu).expect(FRESH);
        for (name, address, port) in &ports {
            caller.call(port, SocketAddr::new(*address, QUIC_PORT), name, mtu);
        }
        return keep(host, (caller, ports));
    }
    let admitted = Ports::default();
    for (name, address, port) in ports {
        admitted.admit_from(&name, port, address, mtu);
    }
    let at = SocketAddr::new(own, QUIC_PORT);
    let answerer = Answerer::open(host, at, admitted, tls, mtu).expect(FRESH);
    keep(host, answerer);
}

/// Holds `what` as long as the machine runs: a port or an answering end is over when nobody holds it.
fn keep(host: &SimHost, what: impl Send + 'static) {
    host.spawn(async move {
        let _what = what;
        pending::<()>().await;
    });
}

fn address_of(node: &Node, underlay: Family) -> IpAddr {
    match underlay {
        Family::V4 => node.underlay_v4.into(),
        Family::V6 => node.underlay_v6.into(),
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
