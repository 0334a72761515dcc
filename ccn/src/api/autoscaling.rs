//! The AutoScaling service: groups of servers, and who joins or leaves them.

use anyedge_net::host::Host;
use anyedge_proto::control::v1::auto_scaling_server::AutoScaling;
use anyedge_proto::control::v1::{ListReply, ListRequest, PutRequest, RemoveRequest, ScaleRequest};
use anyedge_proto::table::v1 as pb;
use tonic::{Request, Response, Status};

use super::Api;
use super::allowed::{WRITERS, allowed};
use super::objects::named;
use super::write::{Written, read};
use crate::table::change::PutMode;
use crate::table::object::Kind;

#[tonic::async_trait]
impl<H: Host> AutoScaling for Api<H> {
    async fn create(&self, request: Request<PutRequest>) -> Written {
        self.put(request, Kind::AutoScalingGroup, PutMode::Create)
            .await
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        self.list_of(request, Kind::AutoScalingGroup).await
    }

    async fn update(&self, request: Request<PutRequest>) -> Written {
        self.put(request, Kind::AutoScalingGroup, PutMode::Update)
            .await
    }

    async fn delete(&self, request: Request<RemoveRequest>) -> Written {
        self.remove(request, Kind::AutoScalingGroup).await
    }

    async fn scale(&self, request: Request<ScaleRequest>) -> Written {
        let ScaleRequest {
            options,
            group,
            joins,
            leaves,
        } = allowed(request, WRITERS)?;
        let group = named(group, "auto-scaling group")?;
        let scale = pb::change::Scale {
            group,
            joins,
            leaves,
        };
        let change = pb::Change {
            change: Some(pb::change::Change::Scale(scale)),
        };
        self.write(options, read(&change)?).await
    }
}
