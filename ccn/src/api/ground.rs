//! The Ground service: nodes, paths, interfaces, prefixes and settings; what load balancers and VIPs stand on.

use anyedge_net::host::Host;
use anyedge_proto::control::v1::ground_server::Ground;
use anyedge_proto::control::v1::{DrainRequest, MoveEniRequest, PutRequest, RemoveKeyRequest};
use tonic::{Request, Status};

use super::Api;
use super::allowed::{WRITERS, allowed};
use super::objects::{named, read_object};
use super::refused::refused;
use super::write::{Written, read_key};
use crate::table::change::{Change, PutMode};
use crate::table::object::{Key, Kind};
use crate::table::refusal::Reason;

#[tonic::async_trait]
impl<H: Host> Ground for Api<H> {
    async fn put(&self, request: Request<PutRequest>) -> Written {
        let PutRequest { options, object } = allowed(request, WRITERS)?;
        let object = read_object(object.as_ref())?;
        check_ground(&object.key())?;
        let change = Change::Put(object, PutMode::Ensure);
        self.write(options, change).await
    }

    async fn remove(&self, request: Request<RemoveKeyRequest>) -> Written {
        let RemoveKeyRequest { options, key } = allowed(request, WRITERS)?;
        let key = read_key(key.as_ref())?;
        check_ground(&key)?;
        self.write(options, Change::Remove(key)).await
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Written {
        let DrainRequest {
            options,
            key,
            draining,
        } = allowed(request, WRITERS)?;
        let key = read_key(key.as_ref())?;
        self.write(options, Change::SetDraining(key, draining))
            .await
    }

    async fn move_eni(&self, request: Request<MoveEniRequest>) -> Written {
        let MoveEniRequest { options, eni, host } = allowed(request, WRITERS)?;
        let eni = named(eni, "network interface")?;
        self.write(options, Change::MoveEni { eni, host }).await
    }
}

/// Whether `key` is of a kind that has no service but this.
fn check_ground(key: &Key) -> Result<(), Status> {
    if key.kind <= Kind::Prefix {
        return Ok(());
    }
    Err(refused(
        &Reason::Value.because(format_args!("{key} has a service of its own")),
    ))
}
