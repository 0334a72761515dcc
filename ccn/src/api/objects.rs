//! What the services of single kinds have in common: put an object, remove one, list them, do something to some by name.

use anyedge_net::host::Host;
use anyedge_proto::control::v1::{ListReply, ListRequest, NamesRequest, PutRequest, RemoveRequest};
use anyedge_proto::table::v1 as pb;
use tonic::{Request, Response, Status};

use super::Api;
use super::allowed::{READERS, WRITERS, allowed};
use super::refused::refused;
use super::write::{Written, missing, read};
use crate::table::change::{Change, PutMode};
use crate::table::object::{Key, Kind, Object};
use crate::table::refusal::Reason;

impl<H: Host> Api<H> {
    /// An object of `kind` comes in or is replaced.
    pub(super) async fn put(
        &self,
        request: Request<PutRequest>,
        kind: Kind,
        mode: PutMode,
    ) -> Written {
        let PutRequest { options, object } = allowed(request, WRITERS)?;
        let object = read_object(object.as_ref())?;
        if object.kind() != kind {
            return Err(refused(&Reason::Value.because(format_args!(
                "{} is no {}: other kinds have services of their own",
                object.key(),
                kind.say()
            ))));
        }
        self.write(options, Change::Put(object, mode)).await
    }

    /// An object of `kind` goes.
    pub(super) async fn remove(&self, request: Request<RemoveRequest>, kind: Kind) -> Written {
        let RemoveRequest { options, name } = allowed(request, WRITERS)?;
        let key = Key::new(kind, named(name, kind.say())?);
        self.write(options, Change::Remove(key)).await
    }

    /// A page of the objects of `kind`.
    pub(super) async fn list_of(
        &self,
        request: Request<ListRequest>,
        kind: Kind,
    ) -> Result<Response<ListReply>, Status> {
        let asked = allowed(request, READERS)?;
        self.list_kind(kind, &asked).await
    }

    /// What `change` does to the objects that are named.
    pub(super) async fn write_names(
        &self,
        request: Request<NamesRequest>,
        change: impl FnOnce(Vec<String>) -> Change,
    ) -> Written {
        let NamesRequest { options, names } = allowed(request, WRITERS)?;
        self.write(options, change(names)).await
    }
}

/// The object that a request needs.
pub(super) fn read_object(object: Option<&pb::Object>) -> Result<Object, Status> {
    let object = object.ok_or_else(|| missing("an object"))?;
    read(object)
}

/// A name that a request needs.
pub(super) fn named(name: String, whose: &str) -> Result<String, Status> {
    if name.is_empty() {
        return Err(missing(&format!("the name of a {whose}")));
    }
    Ok(name)
}
