//! The end of a gRPC link that is called: a port for each node that may call.
//!
//! Who calls is what the certificate says; a node without a port here, or one that is no node, is refused.

use core::pin::Pin;
use std::collections::BTreeMap;
use std::sync::Arc;

use anyedge_net::host::Host;
use anyedge_proto::tunnel::Frames;
use anyedge_proto::tunnel::tunnel_server::{Tunnel, TunnelServer};
use futures_util::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::{MESSAGE_BYTES_MAX, Port};
use crate::rpc::{Peer, Role};

/// Answers nodes that dial.
pub struct TunnelService<H> {
    ports: BTreeMap<String, Arc<Port<H>>>,
}

impl<H: Host> TunnelService<H> {
    /// Joins each caller with the port under its name.
    pub fn server(ports: BTreeMap<String, Arc<Port<H>>>) -> TunnelServer<TunnelService<H>> {
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
        let port = peer.name.as_ref().and_then(|name| self.ports.get(name));
        let port = port
            .cloned()
            .ok_or_else(|| Status::permission_denied("no link ends here for this node"))?;
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
