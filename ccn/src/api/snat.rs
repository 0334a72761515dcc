//! The Snat service: addresses that load balancers speak to targets from, and who may use which of their ports.

use anyedge_net::host::Host;
use anyedge_proto::control::v1::snat_server::Snat;
use anyedge_proto::control::v1::{
    LeaseSnatRequest, ListReply, ListRequest, NamesRequest, PutRequest, RemoveRequest,
};
use tonic::{Request, Response, Status};

use super::Api;
use super::allowed::{WRITERS, allowed};
use super::objects::named;
use super::write::Written;
use crate::table::change::{Change, PutMode};
use crate::table::object::Kind;

#[tonic::async_trait]
impl<H: Host> Snat for Api<H> {
    async fn create_ip(&self, request: Request<PutRequest>) -> Written {
        self.put(request, Kind::SnatIp, PutMode::Create).await
    }

    async fn delete_ip(&self, request: Request<RemoveRequest>) -> Written {
        self.remove(request, Kind::SnatIp).await
    }

    async fn list_ips(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        self.list_of(request, Kind::SnatIp).await
    }

    async fn lease(&self, request: Request<LeaseSnatRequest>) -> Written {
        let LeaseSnatRequest {
            options,
            clb,
            node,
            blocks,
        } = allowed(request, WRITERS)?;
        let change = Change::LeaseSnat {
            clb: named(clb, "load balancer")?,
            node: named(node, "CLB node")?,
            blocks,
        };
        self.write(options, change).await
    }

    async fn release(&self, request: Request<NamesRequest>) -> Written {
        self.write_names(request, Change::ReleaseSnat).await
    }

    async fn list_blocks(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<ListReply>, Status> {
        self.list_of(request, Kind::SnatBlock).await
    }
}
