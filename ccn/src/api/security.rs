//! The SecurityGroup service: groups with their rules, and what they are bound to.

use anyedge_net::host::Host;
use anyedge_proto::control::v1::security_group_server::SecurityGroup;
use anyedge_proto::control::v1::{
    BindSecurityGroupsRequest, ListReply, ListRequest, PutRequest, RemoveRequest,
};
use tonic::{Request, Response, Status};

use super::Api;
use super::allowed::{WRITERS, allowed};
use super::write::{Written, read_key};
use crate::table::change::{Change, PutMode};
use crate::table::object::Kind;

#[tonic::async_trait]
impl<H: Host> SecurityGroup for Api<H> {
    async fn create(&self, request: Request<PutRequest>) -> Written {
        self.put(request, Kind::SecurityGroup, PutMode::Create)
            .await
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        self.list_of(request, Kind::SecurityGroup).await
    }

    async fn update(&self, request: Request<PutRequest>) -> Written {
        self.put(request, Kind::SecurityGroup, PutMode::Update)
            .await
    }

    async fn delete(&self, request: Request<RemoveRequest>) -> Written {
        self.remove(request, Kind::SecurityGroup).await
    }

    async fn bind(&self, request: Request<BindSecurityGroupsRequest>) -> Written {
        let BindSecurityGroupsRequest {
            options,
            key,
            groups,
        } = allowed(request, WRITERS)?;
        let key = read_key(key.as_ref())?;
        let change = Change::SetSecurityGroups { key, groups };
        self.write(options, change).await
    }
}
