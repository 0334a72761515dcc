//! The services Clb, Listener and Rule: what a load balancer is made of, each with the same four methods.

use anyedge_net::host::Host;
use anyedge_proto::control::v1::clb_server::Clb;
use anyedge_proto::control::v1::listener_server::Listener;
use anyedge_proto::control::v1::rule_server::Rule;
use anyedge_proto::control::v1::{ListReply, ListRequest, PutRequest, RemoveRequest};
use tonic::{Request, Response, Status};

use super::Api;
use super::write::Written;
use crate::table::change::PutMode;
use crate::table::object::Kind;

macro_rules! services {
    ($($service:ident),*) => {$(
        #[tonic::async_trait]
        impl<H: Host> $service for Api<H> {
            async fn create(&self, request: Request<PutRequest>) -> Written {
                self.put(request, Kind::$service, PutMode::Create).await
            }

            async fn list(
                &self,
                request: Request<ListRequest>,
            ) -> Result<Response<ListReply>, Status> {
                self.list_of(request, Kind::$service).await
            }

            async fn update(&self, request: Request<PutRequest>) -> Written {
                self.put(request, Kind::$service, PutMode::Update).await
            }

            async fn delete(&self, request: Request<RemoveRequest>) -> Written {
                self.remove(request, Kind::$service).await
            }
        }
    )*};
}

services!(Clb, Listener, Rule);
