//! The calls that programs of this network make, by name; all others go through [`Client::send`].

use anyedge_net::host::Host;
use anyedge_proto::control::v1::members_client::MembersClient;
use anyedge_proto::control::v1::table_client::TableClient;
use anyedge_proto::control::v1::task_client::TaskClient;
use anyedge_proto::control::v1::{
    ApplyRequest, ChangeMembersRequest, GetReply, GetRequest, ListKindRequest, ListReply,
    ListRequest, Member, MembersReply, MembersRequest, PendingReply, PendingRequest, ReadOptions,
    StageRequest, TaskReply, TaskRequest, TransferRequest, WriteOptions, WriteReply,
};
use anyedge_proto::table::v1 as pb;
use tonic::Status;

use super::Client;
use crate::rpc::Channel;
use crate::table::change::Change;
use crate::table::object::{Key, Kind};

/// Bytes of an answer: a page has less, but one object may have more.
const ANSWER_BYTES_MAX: usize = 16 << 20;

impl<H: Host> Client<H> {
    /// Has all of `changes` applied, or none.
    ///
    /// # Errors
    /// As for [`Client::call`]: the refusal, for one.
    pub async fn apply(&self, changes: &[Change]) -> Result<WriteReply, Status> {
        let changes = changes.iter().map(pb::Change::from).collect();
        self.apply_with(WriteOptions::default(), changes).await
    }

    /// As [`Client::apply`], with a request id of one's own, conditions, or a stage.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn apply_with(
        &self,
        options: WriteOptions,
        changes: Vec<pb::Change>,
    ) -> Result<WriteReply, Status> {
        let request = ApplyRequest {
            options: Some(self.with_id(options)),
            changes: Some(pb::Changes { changes }),
        };
        let ask = |channel, request| async move { table(channel).apply(request).await };
        self.send(request, ask).await
    }

    /// The options of a write that may be repeated: with a request id, if they have none.
    pub fn with_id(&self, mut options: WriteOptions) -> WriteOptions {
        if options.request_id.is_empty() {
            options.request_id = self.request_id();
        }
        options
    }

    /// One object, if it is there.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn get(&self, options: ReadOptions, key: &Key) -> Result<GetReply, Status> {
        let request = GetRequest {
            options: Some(options),
            key: Some(key.into()),
        };
        let ask = |channel, request| async move { table(channel).get(request).await };
        self.send(request, ask).await
    }

    /// One page of the objects of a kind.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn list(&self, kind: Kind, list: ListRequest) -> Result<ListReply, Status> {
        let request = ListKindRequest {
            kind: kind as i32,
            list: Some(list),
        };
        let ask = |channel, request| async move { table(channel).list(request).await };
        self.send(request, ask).await
    }

    /// All objects of a kind whose names begin so, page after page. They may change between two pages.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn list_all(&self, kind: Kind, name_prefix: &str) -> Result<Vec<pb::Entry>, Status> {
        let mut entries = Vec::new();
        let mut list = ListRequest {
            name_prefix: name_prefix.to_owned(),
            ..ListRequest::default()
        };
        loop {
            let reply = self.list(kind, list.clone()).await?;
            entries.extend(reply.entries);
            if reply.next_after.is_empty() {
                return Ok(entries);
            }
            list.after = reply.next_after;
        }
    }

    /// What a stage would change.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn pending(&self, stage: &str) -> Result<PendingReply, Status> {
        let request = PendingRequest {
            options: None,
            stage: stage.to_owned(),
        };
        let ask = |channel, request| async move { table(channel).pending(request).await };
        self.send(request, ask).await
    }

    /// Has a stage take effect.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn apply_stage(
        &self,
        options: WriteOptions,
        stage: &str,
    ) -> Result<WriteReply, Status> {
        let ask = |channel, request| async move { table(channel).apply_stage(request).await };
        self.send(self.stage_request(options, stage), ask).await
    }

    /// Forgets a stage.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn discard_stage(
        &self,
        options: WriteOptions,
        stage: &str,
    ) -> Result<WriteReply, Status> {
        let ask = |channel, request| async move { table(channel).discard_stage(request).await };
        self.send(self.stage_request(options, stage), ask).await
    }

    /// What became of a request.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn task(&self, request_id: &str) -> Result<TaskReply, Status> {
        let request_id = request_id.to_owned();
        let ask = |channel, request| async move { TaskClient::new(channel).get(request).await };
        self.send(TaskRequest { request_id }, ask).await
    }

    /// Who the controllers are, as one of them knows it.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn members(&self) -> Result<MembersReply, Status> {
        let ask = |channel, request| async move { MembersClient::new(channel).list(request).await };
        self.send(MembersRequest {}, ask).await
    }

    /// Has another controller lead.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn transfer_leader(&self, to: u64) -> Result<MembersReply, Status> {
        let ask = |channel, request| async move {
            let mut client = MembersClient::new(channel);
            client.transfer_leader(request).await
        };
        self.send(TransferRequest { to }, ask).await
    }

    /// Adds controllers, with their addresses, and removes others.
    ///
    /// # Errors
    /// As for [`Client::call`].
    pub async fn change_members(
        &self,
        add: Vec<Member>,
        remove: Vec<u64>,
    ) -> Result<MembersReply, Status> {
        let ask =
            |channel, request| async move { MembersClient::new(channel).change(request).await };
        self.send(ChangeMembersRequest { add, remove }, ask).await
    }

    fn stage_request(&self, options: WriteOptions, stage: &str) -> StageRequest {
        StageRequest {
            options: Some(self.with_id(options)),
            stage: stage.to_owned(),
        }
    }
}

fn table<H: Host>(channel: Channel<H>) -> TableClient<Channel<H>> {
    TableClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}
