//! The Target service: backends of listeners and rules, in batches that may be done in part, and their health.

use anyedge_net::host::Host;
use anyedge_net::switch;
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
        let mut asked = allowed(request, WRITERS)?;
        let controller = &self.shared.controller;
        let usual = controller.read(|table| table.settings().profile.weight_default());
        take_defaults(&mut asked, usual);
        let RegisterTargetsRequest {
            options, targets, ..
        } = asked;
        let targets = targets.iter().map(read::<_, Target>);
        let targets = targets.collect::<Result<_, _>>()?;
        self.write(options, Change::RegisterTargets(targets)).await
    }

    async fn deregister(&self, request: Request<DeregisterTargetsRequest>) -> Written {
        if !switch::is_on("S-BE17") {
            return Err(Status::unimplemented("without S-BE17"));
        }
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

/// Gives targets what the batch has for those that name none themselves; `usual`: the weight where the batch has none.
fn take_defaults(asked: &mut RegisterTargetsRequest, usual: u8) {
    let (port, weight) = (asked.default_port, asked.default_weight);
    for target in &mut asked.targets {
        if target.port == 0 && switch::is_on("S-BE08") {
            target.port = port;
        }
        if target.weight.is_none() || !switch::is_on("P-LB04b") {
            target.weight = weight.or(Some(usual.into()));
        }
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

#[cfg(test)]
mod tests {
    use anyedge_proto::table::v1 as pb;

    use super::*;

    fn batch(port: u32, weight: Option<i32>, own: (u32, Option<i32>)) -> (u32, Option<i32>) {
        let mut asked = RegisterTargetsRequest {
            options: None,
            targets: vec![pb::Target {
                port: own.0,
                weight: own.1,
                ..pb::Target::default()
            }],
            default_port: port,
            default_weight: weight,
        };
        take_defaults(&mut asked, 128);
        let target = &asked.targets[0];
        (target.port, target.weight)
    }

    #[test]
    fn a_default_port_is_for_targets_that_name_none() {
        assert_eq!(batch(8_080, None, (0, None)).0, 8_080);
        assert_eq!(batch(8_080, None, (80, None)).0, 80);
        assert_eq!(
            batch(0, None, (0, None)).0,
            0,
            "which is refused as no port"
        );
    }

    #[test]
    fn a_targets_own_weight_beats_that_of_the_batch() {
        assert_eq!(batch(0, Some(30), (0, None)).1, Some(30));
        assert_eq!(batch(0, Some(30), (0, Some(5))).1, Some(5));
        assert_eq!(batch(0, Some(30), (0, Some(0))).1, Some(0), "0 is a weight");
        assert_eq!(batch(0, None, (0, None)).1, Some(128), "the profile's");
    }
}
