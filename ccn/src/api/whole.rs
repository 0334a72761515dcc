//! The Table service: the table as a whole, objects of any kind, what waits in stages.

use core::pin::Pin;

use anyedge_net::host::Host;
use anyedge_proto::control::v1 as pb;
use anyedge_proto::control::v1::table_server::Table as Service;
use anyedge_proto::control::v1::{
    ApplyRequest, BackupRequest, GetReply, GetRequest, ListKindRequest, ListReply, PendingReply,
    PendingRequest, RestoreRequest, SnapshotChunk, SnapshotRequest, StageRequest, WatchRequest,
};
use futures_util::stream::{self, Stream};
use tonic::{Request, Response, Status, Streaming};

use super::Api;
use super::allowed::{NODES, READERS, WRITERS, allowed};
use super::page::Page;
use super::refused::refused;
use super::write::{Written, missing, read, read_key};
use crate::controller::{Told, chunks_of};
use crate::table::change::{Change, Stage};
use crate::table::object::{Key, Kind};
use crate::table::refusal::Reason;
use crate::table::{Difference, Table};

type Chunks = Pin<Box<dyn Stream<Item = Result<SnapshotChunk, Status>> + Send>>;

#[tonic::async_trait]
impl<H: Host> Service for Api<H> {
    async fn apply(&self, request: Request<ApplyRequest>) -> Written {
        let ApplyRequest { options, changes } = allowed(request, WRITERS)?;
        let changes = changes.unwrap_or_default().changes;
        if changes.is_empty() {
            return Err(missing("a change"));
        }
        let changes = changes.iter().map(read::<_, Change>);
        self.write_all(options, changes.collect::<Result<_, _>>()?)
            .await
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetReply>, Status> {
        let GetRequest { options, key } = allowed(request, READERS)?;
        let key = read_key(key.as_ref())?;
        if key.kind == Kind::Secret {
            return Err(refused(
                &Reason::Unauthorized.because(format_args!("{key} is told to nodes alone")),
            ));
        }
        self.readable(options.as_ref()).await?;
        let (revision, entry) = self
            .shared
            .controller
            .read(|table| (table.revision(), table.entry(&key).cloned()));
        let entry = entry.as_ref().map(Into::into);
        Ok(Response::new(GetReply { revision, entry }))
    }

    async fn list(&self, request: Request<ListKindRequest>) -> Result<Response<ListReply>, Status> {
        let ListKindRequest { kind, list } = allowed(request, READERS)?;
        let name = String::new();
        let key = anyedge_proto::table::v1::Key { kind, name };
        let key: Key = read(&key)?;
        self.list_kind(key.kind, &list.unwrap_or_default()).await
    }

    async fn pending(
        &self,
        request: Request<PendingRequest>,
    ) -> Result<Response<PendingReply>, Status> {
        let PendingRequest { options, stage } = allowed(request, READERS)?;
        self.readable(options.as_ref()).await?;
        let table = self.shared.controller.read(Table::clone);
        let is_there = table.get::<Stage>(&stage).is_some();
        let mut reply = PendingReply {
            revision: table.revision(),
            ..PendingReply::default()
        };
        match table.pending(&stage) {
            Ok(differences) => reply.differences = differences.iter().map(difference).collect(),
            Err(refusal) if !is_there => return Err(refused(&refusal)),
            Err(refusal) => reply.refusal = Some((&refusal).into()),
        }
        Ok(Response::new(reply))
    }

    async fn apply_stage(&self, request: Request<StageRequest>) -> Written {
        let StageRequest { options, stage } = allowed(request, WRITERS)?;
        self.write(options, Change::ApplyStage(stage)).await
    }

    async fn discard_stage(&self, request: Request<StageRequest>) -> Written {
        let StageRequest { options, stage } = allowed(request, WRITERS)?;
        self.write(options, Change::DiscardStage(stage)).await
    }

    type WatchStream = Told;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Told>, Status> {
        let asked = allowed(request, READERS)?;
        let told = self.shared.watch.told(asked, false)?;
        Ok(Response::new(told))
    }

    type SnapshotStream = Chunks;

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Chunks>, Status> {
        let SnapshotRequest { options } = allowed(request, NODES)?;
        self.readable(options.as_ref()).await?;
        self.chunks(Table::snapshot).await
    }

    type BackupStream = Chunks;

    async fn backup(&self, request: Request<BackupRequest>) -> Result<Response<Chunks>, Status> {
        let BackupRequest { options } = allowed(request, READERS)?;
        self.readable(options.as_ref()).await?;
        self.chunks(Table::backup).await
    }

    async fn restore(&self, request: Request<Streaming<RestoreRequest>>) -> Written {
        let pieces = allowed(request, WRITERS)?;
        self.restore_from(pieces).await
    }
}

impl<H: Host> Api<H> {
    /// A page of the objects of a kind.
    pub(super) async fn list_kind(
        &self,
        kind: Kind,
        asked: &pb::ListRequest,
    ) -> Result<Response<ListReply>, Status> {
        self.readable(asked.options.as_ref()).await?;
        let controller = &self.shared.controller;
        let page = controller.read(|table| Page::of(table, kind, asked));
        Ok(Response::new(page.reply()))
    }

    async fn chunks(&self, write: fn(&Table) -> Vec<u8>) -> Result<Response<Chunks>, Status> {
        let place = self.large_place()?;
        let table = self.shared.controller.read(Table::clone);
        let revision = table.revision();
        let bytes = self.shared.host.run_blocking(move || write(&table)).await;
        let chunks = chunks_of(revision, bytes.into()).map(move |chunk| {
            let _held = &place;
            Ok(chunk)
        });
        Ok(Response::new(Box::pin(stream::iter(chunks))))
    }
}

fn difference(difference: &Difference) -> pb::Difference {
    pb::Difference {
        key: Some((&difference.key).into()),
        before: difference.before.as_ref().map(|object| (&**object).into()),
        after: difference.after.as_ref().map(|object| (&**object).into()),
    }
}
