//! Who may call an end that answers, and the service that answers gRPC links: a port for each node.
//!
//! Who calls is what the certificate says; a node without a port here, or one that is no node, is refused.

use core::net::IpAddr;
use core::pin::Pin;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use anyedge_net::host::Host;
use anyedge_proto::tunnel::Frames;
use anyedge_proto::tunnel::tunnel_server::{Tunnel, TunnelServer};
use futures_util::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::{MESSAGE_BYTES_MAX, Port};
use crate::rpc::refusals::NO_LINK;
use crate::rpc::{Peer, Refusals, Role};

/// The nodes that may call, each with its port. Clones are the same ports, so nodes come and go while a server answers.
pub struct Ports<H> {
    seats: Arc<RwLock<BTreeMap<String, Seat<H>>>>,
    refusals: Refusals,
}

/// A node that may call.
struct Seat<H> {
    port: Arc<Port<H>>,
    /// Its address and the MTU of the path from there, where it has to call from one.
    from: Option<(IpAddr, u16)>,
}

impl<H> Clone for Ports<H> {
    fn clone(&self) -> Ports<H> {
        Ports {
            seats: Arc::clone(&self.seats),
            refusals: self.refusals.clone(),
        }
    }
}

impl<H> Default for Ports<H> {
    fn default() -> Ports<H> {
        Ports {
            seats: Arc::default(),
            refusals: Refusals::default(),
        }
    }
}

impl<H> From<BTreeMap<String, Arc<Port<H>>>> for Ports<H> {
    fn from(ports: BTreeMap<String, Arc<Port<H>>>) -> Ports<H> {
        let seats = ports.into_iter();
        let seats = seats.map(|(name, port)| (name, Seat { port, from: None }));
        Ports {
            seats: Arc::new(RwLock::new(seats.collect())),
            refusals: Refusals::default(),
        }
    }
}

impl<H: Host> Ports<H> {
    /// The node of that name may call from here on.
    pub fn admit(&self, name: &str, port: Arc<Port<H>>) {
        self.seat(name, Seat { port, from: None });
    }

    /// The node of that name may call from here on, from `address`, over a path whose packets have at most `mtu` bytes.
    pub fn admit_from(&self, name: &str, port: Arc<Port<H>>, address: IpAddr, mtu: u16) {
        let from = Some((address, mtu));
        self.seat(name, Seat { port, from });
    }

    fn seat(&self, name: &str, seat: Seat<H>) {
        let mut seats = self.seats.write().unwrap_or_else(PoisonError::into_inner);
        seats.insert(name.to_owned(), seat);
    }

    /// The node of that name calls `port` no more, if it was that one.
    pub fn dismiss(&self, name: &str, port: &Arc<Port<H>>) {
        let mut seats = self.seats.write().unwrap_or_else(PoisonError::into_inner);
        let seat = seats.get(name);
        if seat.is_some_and(|seat| Arc::ptr_eq(&seat.port, port)) {
            seats.remove(name);
        }
    }

    /// Callers that were refused for want of a port, by cause; of QUIC all of them.
    pub fn refusals(&self) -> Refusals {
        self.refusals.clone()
    }

    /// Whether nobody may call.
    pub fn is_empty(&self) -> bool {
        let ports = self.seats.read().unwrap_or_else(PoisonError::into_inner);
        ports.is_empty()
    }

    fn of(&self, name: &str) -> Option<Arc<Port<H>>> {
        let ports = self.seats.read().unwrap_or_else(PoisonError::into_inner);
        ports.get(name).map(|seat| Arc::clone(&seat.port))
    }

    /// The port of the node of that name, if it may call from `address`.
    pub(super) fn of_caller(&self, name: &str, address: IpAddr) -> Option<Arc<Port<H>>> {
        let seats = self.seats.read().unwrap_or_else(PoisonError::into_inner);
        let seat = seats.get(name)?;
        let is_from = seat.from.is_some_and(|(from, _)| from == address);
        is_from.then(|| Arc::clone(&seat.port))
    }

    /// The least MTU of nodes that may call from `address`; `None` where nobody may.
    pub(super) fn mtu_from(&self, address: IpAddr) -> Option<u16> {
        let seats = self.seats.read().unwrap_or_else(PoisonError::into_inner);
        let known = seats.values().filter_map(|seat| seat.from);
        let here = known.filter(|(from, _)| *from == address);
        here.map(|(_, mtu)| mtu).min()
    }
}

/// Answers nodes that dial.
pub struct TunnelService<H> {
    ports: Ports<H>,
}

impl<H: Host> TunnelService<H> {
    /// Joins each caller with the port under its name.
    pub fn server(ports: impl Into<Ports<H>>) -> TunnelServer<TunnelService<H>> {
        let ports = ports.into();
        TunnelServer::new(TunnelService { ports }).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl<H: Host> Tunnel for TunnelService<H> {
    type CarryStream = Pin<Box<dyn Stream<Item = Result<Frames, Status>> + Send>>;

    async fn carry(
        &self,
        request: Request<Streaming<Frames>>,
    ) -> Result<Response<Self::CarryStream>, Status> {
        let peer = Peer::of(&request)?;
        peer.require(&[Role::Node])?;
        let port = peer.name.as_ref().and_then(|name| self.ports.of(name));
        let port = port.ok_or_else(|| {
            self.ports.refusals.count(NO_LINK);
            Status::permission_denied(NO_LINK)
        })?;
        let batches = port.batches();
        let stream = batches.stream;
        let mut incoming = request.into_inner();
        // A task of its own: what comes in does not wait until the caller takes what goes out.
        port.host.clone().spawn(async move {
            while let Ok(Some(frames)) = incoming.message().await {
                if !port.inlet.queue().is_current(stream) {
                    return;
                }
                port.take_in(frames);
            }
            let waker = port.inlet.queue().end_stream(stream);
            if let Some(waker) = waker {
                waker.wake();
            }
        });
        Ok(Response::new(Box::pin(batches.map(Ok))))
    }
}
