//! The Target service: backends of listeners and rules, in batches that may be done in part, and their health.

use anyedge_net::host::Host;
use anyedge_proto::control::v1::target_server::Target as Service;
use anyedge_proto::control::v1::{
    DeregisterTargetsRequest, HealthReply, HealthStatusDetail, ListReply, ListRequest,
    RegisterTargetsRequest, TargetHealth, TargetPortRequest, TargetWeightRequest,
};
use tonic::{Request, Response, Status};

use super::Api;
use super::allowed::{READERS, WRITERS, allowed};
use super::page::Page;
use super::write::{Written, missing, read};
use crate::keeper::Keeper;
use crate::table::Entry;
use crate::table::change::Change;
use crate::table::object::{Kind, Kinded as _, Object, Target};

#[tonic::async_trait]
impl<H: Host> Service for Api<H> {
    async fn register(&self, request: Request<RegisterTargetsRequest>) -> Written {
        let RegisterTargetsRequest { options, targets } = allowed(request, WRITERS)?;
        let targets = targets.iter().map(read::<_, Target>);
        let targets = targets.collect::<Result<_, _>>()?;
        self.write(options, Change::RegisterTargets(targets)).await
    }

    async fn deregister(&self, request: Request<DeregisterTargetsRequest>) -> Written {
        let DeregisterTargetsRequest { options, targets } = allowed(request, WRITERS)?;
        let change = Change::DeregisterTargets(targets);
        self.write(options, change).await
    }

    async fn set_weight(&self, request: Request<TargetWeightRequest>) -> Written {
        let TargetWeightRequest {
            options,
            targets,
            weight,
        } = allowed(request, WRITERS)?;
        let weight = weight.ok_or_else(|| missing("a weight"))?;
        let change = Change::SetTargetWeight(targets, weight);
        self.write(options, change).await
    }

    async fn set_port(&self, request: Request<TargetPortRequest>) -> Written {
        let TargetPortRequest {
            options,
            targets,
            port,
        } = allowed(request, WRITERS)?;
        let change = Change::SetTargetPort(targets, port);
        self.write(options, change).await
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListReply>, Status> {
        self.list_of(request, Kind::Target).await
    }

    async fn health(&self, request: Request<ListRequest>) -> Result<Response<HealthReply>, Status> {
        let asked = allowed(request, READERS)?;
        self.readable(asked.options.as_ref()).await?;
        let controller = &self.shared.controller;
        let page = controller.read(|table| Page::of(table, Kind::Target, &asked));
        let (revision, entries, next_after) = page.entries();
        Ok(Response::new(HealthReply {
            revision,
            targets: entries
                .iter()
                .filter_map(|entry| health_of(entry, &self.shared.keeper))
                .collect(),
            next_after,
        }))
    }
}

/// What nodes report to the member that leads: the others know nothing.
fn health_of(entry: &Entry, keeper: &Keeper) -> Option<TargetHealth> {
    let object: &Object = &entry.object;
    let target = Target::of(object)?;
    let name = object.name();
    let detail = keeper.health_of(&name);
    Some(TargetHealth {
        target_id: name,
        ip: target.address.to_string(),
        port: target.port,
        health_status: detail == HealthStatusDetail::Alive,
        detail: detail.into(),
    })
}
