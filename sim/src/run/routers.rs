//! What runs on the wires between POPs and their routers: the POP's own speakers, and the router.
//!
//! The router is the same session and the same BFD from the passive side. It never stops, and what it hears the world
//! is told.

use std::net::SocketAddr;
use std::sync::Arc;

use anyedge_net::host::Host as _;
use anyedge_net::id::NodeId;
use anyedge_pop::advertise::{self, Wire};
use anyedge_pop::bfd;
use anyedge_pop::bgp::speaker::{self, BGP_PORT, Orders};
use anyedge_pop::bgp::{Event, Session};
use tokio::sync::mpsc;

use crate::build::PeeringHosts;
use crate::executor::HostId;
use crate::host::{Shared, SimHost};

/// Connections that wait for a router.
const BACKLOG: usize = 4;
const ORDERS_MAX: usize = 4;
const FRESH: &str = "a fresh host has every port free";

/// POPs and their routers.
pub(super) struct RouterServices {
    peerings: Vec<PeeringHosts>,
}

impl RouterServices {
    pub(super) fn new(peerings: Vec<PeeringHosts>) -> RouterServices {
        RouterServices { peerings }
    }

    /// Starts every router, and every POP's speakers.
    pub(super) fn start_all(&self, shared: &Arc<Shared>) {
        for own in &self.peerings {
            let (name, host) = &own.router;
            start_router(&SimHost::new(shared, *host, name), own.pop, &own.wires);
            start_speakers(shared, own);
        }
    }

    /// Starts the speakers at that host, if they are a POP's.
    pub(super) fn start(&self, shared: &Arc<Shared>, host: HostId) -> bool {
        let own = self.peerings.iter().find(|own| own.speakers.1 == host);
        if let Some(own) = own {
            start_speakers(shared, own);
        }
        own.is_some()
    }
}

fn start_speakers(shared: &Arc<Shared>, own: &PeeringHosts) {
    let (name, id) = &own.speakers;
    let inbox = shared
        .world()
        .peerings
        .of_node(own.pop)
        .map(|own| own.inbox.clone());
    let inbox = inbox.expect("the builder made one for each");
    let host = SimHost::new(shared, *id, name);
    host.spawn(advertise::run(host.clone(), own.plan.clone(), inbox));
}

/// Starts the router at the far end of the wire.
fn start_router(host: &SimHost, pop: NodeId, [near, far]: &[Wire; 2]) {
    let (Some(own), Some([_, at])) = (far.neighbour(), near.ends()) else {
        return;
    };
    let mut peer = own.peer;
    peer.config.passive = true;
    let at = SocketAddr::new(at, BGP_PORT);
    let listener = host.tcp_listen(at, BACKLOG).expect(FRESH);
    let (orders, receiver) = mpsc::channel(ORDERS_MAX);
    if let Some((local, config)) = own.bfd {
        let remote = SocketAddr::new(peer.remote.ip(), bfd::PORT);
        let neighbour = bfd::speaker::Neighbour { remote, config };
        let local = SocketAddr::new(local, bfd::PORT);
        host.spawn(watch(host.clone(), local, neighbour, orders.clone()));
    }
    let task = host.clone();
    host.spawn(async move {
        // It has no routes of its own, and its session lasts as long as somebody could give it any.
        let _orders = orders;
        let witness = task.clone();
        let observe = move |_, session: &Session, event: &Event| {
            witness.with_world(|world| world.router_tells(pop, session, event));
        };
        speaker::run(task, peer, Some(listener), receiver, observe).await;
    });
}

/// Ends the router's session when BFD does.
async fn watch(
    host: SimHost,
    local: SocketAddr,
    neighbour: bfd::speaker::Neighbour,
    orders: mpsc::Sender<Orders>,
) {
    let mut bfd_downs = 0;
    let observe = |_, _, event: &bfd::Event| {
        let bfd::Event::SessionState { from, .. } = *event;
        if from == bfd::State::Up {
            bfd_downs += 1;
            let order = Orders {
                bfd_downs,
                ..Orders::default()
            };
            // The count goes with the next one where the speaker is behind.
            let _ = orders.try_send(order);
        }
    };
    let Err(_) = bfd::speaker::run(host, local, &[neighbour], observe).await;
}
