//! The Ccn service: backbones of customers, what is attached to them, and which of their routes are on.

use anyedge_net::host::Host;
use anyedge_proto::control::v1::ccn_server::Ccn;
use anyedge_proto::control::v1::{ListReply, ListRequest, NamesRequest, PutRequest, RemoveRequest};
use tonic::{Request, Response, Status};

use super::Api;
use super::write::Written;
use crate::table::change::{Change, PutMode};
use crate::table::object::Kind;

#[tonic::async_trait]
impl<H: Host> Ccn for Api<H> {
    async fn create(&self, request: Request<PutRequest>) -> Written {
        self.put(request, Kind::Ccn, PutMode::Create).await
    }

    async fn delete(&self, request: Request<RemoveRequest>) -> Written {
        self.remove(request, Kind::Ccn).await
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        self.list_of(request, Kind::Ccn).await
    }

    async fn attach(&self, request: Request<PutRequest>) -> Written {
        self.put(request, Kind::Attachment, PutMode::Create).await
    }

    async fn detach(&self, request: Request<RemoveRequest>) -> Written {
        self.remove(request, Kind::Attachment).await
    }

    async fn list_attachments(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<ListReply>, Status> {
        self.list_of(request, Kind::Attachment).await
    }

    async fn list_routes(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<ListReply>, Status> {
        self.list_of(request, Kind::CcnRoute).await
    }

    async fn enable_routes(&self, request: Request<NamesRequest>) -> Written {
        let enable = |names| Change::EnableRoutes(names, true);
        self.write_names(request, enable).await
    }

    async fn disable_routes(&self, request: Request<NamesRequest>) -> Written {
        let disable = |names| Change::EnableRoutes(names, false);
        self.write_names(request, disable).await
    }
}
