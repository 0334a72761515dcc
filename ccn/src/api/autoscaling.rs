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

/// A group that gives no weight has the profile's.
fn take_default(asked: &mut PutRequest, usual: u8) {
    let object = asked.object.as_mut().and_then(|it| it.object.as_mut());
    if let Some(pb::object::Object::AutoScalingGroup(group)) = object {
        group.weight.get_or_insert(usual.into());
    }
}

#[tonic::async_trait]
impl<H: Host> AutoScaling for Api<H> {
    async fn create(&self, mut request: Request<PutRequest>) -> Written {
        let controller = &self.shared.controller;
        let usual = controller.read(|table| table.settings().profile.weight_default());
        take_default(request.get_mut(), usual);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn weight_of(given: Option<i32>) -> Option<i32> {
        let group = pb::AutoScalingGroup {
            weight: given,
            ..pb::AutoScalingGroup::default()
        };
        let object = pb::Object {
            object: Some(pb::object::Object::AutoScalingGroup(group)),
        };
        let mut asked = PutRequest {
            object: Some(object),
            ..PutRequest::default()
        };
        take_default(&mut asked, 128);
        match asked.object?.object? {
            pb::object::Object::AutoScalingGroup(group) => group.weight,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_group_without_a_weight_has_the_profiles_and_one_with_keeps_it() {
        assert_eq!(weight_of(None), Some(128));
        assert_eq!(weight_of(Some(7)), Some(7));
        assert_eq!(weight_of(Some(0)), Some(0));
    }
}
