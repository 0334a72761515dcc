//! The table as a whole: watched, backed up, restored.

use std::collections::BTreeMap;

use anyedge_ccn::controller::Config;
use anyedge_ccn::rpc::Channel;
use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::{Change, Command, PutMode};
use anyedge_ccn::table::object::{Key, Kind, Object, Secret};
use anyedge_net::host::{Host, TcpListener as _};
use anyedge_net::time::Instant;
use anyedge_proto::control::v1::nodes_client::NodesClient;
use anyedge_proto::control::v1::table_client::TableClient;
use anyedge_proto::control::v1::watch_reply::Event;
use anyedge_proto::control::v1::{
    BackupRequest, RestoreRequest, SnapshotChunk, SnapshotRequest, WatchReply, WatchRequest,
};
use tonic::{Code, Status, Streaming};

use super::methods::all;
use super::writes::{region, with_id};
use super::{ELECTION, alone, client, listen, network, refused, same, says, start_with};
use crate::conformance::{Finding, Pair};

fn secret(value: u8) -> Change {
    let secret = Secret {
        name: "cid-key".to_owned(),
        value: vec![value; 16],
    };
    Change::Put(Object::Secret(secret), PutMode::Ensure)
}

/// The snapshot that a stream begins with, and the keys of what follows up to the first bookmark after `until`.
async fn watched(
    stream: &mut Streaming<WatchReply>,
    until: u64,
) -> Result<(Table, Vec<String>), String> {
    let mut bytes = Vec::new();
    let mut keys = Vec::new();
    loop {
        let reply = stream.message().await.map_err(says)?;
        match reply.and_then(|reply| reply.event).ok_or("it ended")? {
            Event::Snapshot(chunk) => bytes.extend_from_slice(&chunk.bytes),
            Event::Delta(delta) => {
                let changes = delta.changes.into_iter();
                keys.extend(changes.filter_map(|it| it.key.map(|key| key.name)));
            }
            Event::Bookmark(revision) if revision >= until => {
                let table = Table::restore(&bytes).map_err(|error| error.to_string())?;
                return Ok((table, keys));
            }
            Event::Bookmark(_) | Event::Compacted(_) => {}
        }
    }
}

pub(super) async fn watchers_see_all_but_secrets<H: Host>(pair: Pair<H>) -> Finding {
    let (member, client) = alone(&pair).await?;
    client.apply(&[secret(1)]).await.map_err(says)?;
    let from_now = || WatchRequest {
        from_revision: 0,
        bookmark_every_ns: 0,
    };
    let mut table = TableClient::new(client.channel(member.at));
    let mut nodes = NodesClient::new(client.channel(member.at));
    let mut open = table.watch(from_now()).await.map_err(says)?.into_inner();
    let mut whole = nodes.follow(from_now()).await.map_err(says)?.into_inner();
    // Both have their snapshots before the table goes on.
    let first = watched(&mut open, 1).await?;
    same("secrets that are seen", first.0.count(Kind::Secret), 0)?;
    let first = watched(&mut whole, 1).await?;
    same("secrets that nodes get", first.0.count(Kind::Secret), 1)?;
    let from = WatchRequest {
        from_revision: first.0.revision() + 1,
        bookmark_every_ns: 0,
    };
    let mut open = table.watch(from).await.map_err(says)?.into_inner();
    client.apply(&[secret(2)]).await.map_err(says)?;
    let seoul = region("seoul", PutMode::Create);
    let last = client.apply(&[seoul]).await.map_err(says)?.revision;
    let mut seen = Vec::new();
    loop {
        let reply = open.message().await.map_err(says)?;
        match reply.and_then(|reply| reply.event).ok_or("it ended")? {
            Event::Delta(delta) => {
                let changes = delta.changes.into_iter();
                seen.extend(changes.filter_map(|it| it.key.map(|key| key.name)));
            }
            Event::Bookmark(revision) if revision >= last => break,
            _ => {}
        }
    }
    same("what is seen", seen, vec!["seoul".to_owned()])
}

async fn gathered(mut chunks: Streaming<SnapshotChunk>) -> Result<Vec<SnapshotChunk>, Status> {
    let mut all = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        all.push(chunk);
    }
    Ok(all)
}

/// The table, as nodes get it.
async fn whole<H: Host>(table: &mut TableClient<Channel<H>>) -> Result<Table, String> {
    let snapshot = table.snapshot(SnapshotRequest::default()).await;
    let chunks = gathered(snapshot.map_err(says)?.into_inner()).await;
    let chunks = chunks.map_err(says)?;
    let bytes: Vec<u8> = chunks.iter().flat_map(|it| it.bytes.to_vec()).collect();
    Table::restore(&bytes).map_err(|error| error.to_string())
}

fn pieces(id: &str, chunks: &[SnapshotChunk]) -> Vec<RestoreRequest> {
    let piece = |chunk: &SnapshotChunk| RestoreRequest {
        options: Some(with_id(id)),
        chunk: Some(chunk.clone()),
    };
    chunks.iter().map(piece).collect()
}

pub(super) async fn a_backup_is_restored<H: Host>(pair: Pair<H>) -> Finding {
    let (member, client) = alone(&pair).await?;
    client.apply(&[secret(1)]).await.map_err(says)?;
    let mut table = TableClient::new(client.channel(member.at));
    let before = whole(&mut table).await?;
    let backup = table.backup(BackupRequest::default()).await;
    let backup = gathered(backup.map_err(says)?.into_inner()).await;
    let backup = backup.map_err(says)?;

    let gone = Change::Remove(Key::new(Kind::Vip, "game"));
    let seoul = region("seoul", PutMode::Create);
    client
        .apply(&[gone, seoul, secret(2)])
        .await
        .map_err(says)?;
    let requests = futures_util::stream::iter(pieces("restore-1", &backup));
    let restored = table.restore(requests).await.map_err(says)?.into_inner();
    same("its id", &*restored.request_id, "restore-1")?;
    same(
        "regions",
        all(&client, Kind::Region).await?,
        vec!["guangzhou".to_owned()],
    )?;
    same(
        "VIPs",
        all(&client, Kind::Vip).await?,
        vec!["game".to_owned()],
    )?;
    let requests = futures_util::stream::iter(pieces("restore-1", &backup));
    let again = table.restore(requests).await.map_err(says)?.into_inner();
    same("repeated", again.repeated_request, true)?;
    let after = whole(&mut table).await?;
    same(
        "all objects",
        after.restorable() == before.restorable(),
        true,
    )?;
    let kept = after.get::<Secret>("cid-key").map(|it| it.value[0]);
    same("the secret that was there", kept, Some(2))?;

    let mut damaged = backup.clone();
    damaged[0].bytes = damaged[0].bytes.slice(..damaged[0].bytes.len() / 2);
    let requests = futures_util::stream::iter(pieces("restore-2", &damaged));
    let damaged = table.restore(requests).await;
    let reason = "InvalidParameter.FormatError";
    refused("a damaged one", damaged, Code::InvalidArgument, reason)?;
    let endless = backup.iter().cloned().map(|chunk| SnapshotChunk {
        last: false,
        ..chunk
    });
    let endless: Vec<SnapshotChunk> = endless.collect();
    let requests = futures_util::stream::iter(pieces("restore-3", &endless));
    let torn = table.restore(requests).await;
    refused(
        "a torn one",
        torn,
        Code::InvalidArgument,
        "MissingParameter",
    )
}

pub(super) async fn a_backup_larger_than_an_entry_is_refused<H: Host>(pair: Pair<H>) -> Finding {
    const ENTRY_BYTES_MAX: usize = 512;
    let mut table = Table::new();
    let all_of_it = Command::new(Instant::ZERO, Change::All(network()));
    table.apply(1, &all_of_it).expect("the network makes sense");
    let backup = SnapshotChunk {
        revision: 1,
        bytes: table.backup().into(),
        last: true,
    };
    let listener = listen(&pair.b, pair.b_address)?;
    let peers = BTreeMap::from([(1, listener.local_addr())]);
    let mut config = Config::new(1, peers, ELECTION);
    config.raft.entry_bytes_max = ENTRY_BYTES_MAX;
    let small = start_with(&pair.b, config, listener).await?;
    let operator = client(&pair, &[small.at]);
    let seoul = region("seoul", PutMode::Create);
    operator.apply(&[seoul]).await.map_err(says)?;
    let mut table = TableClient::new(operator.channel(small.at));
    let requests = futures_util::stream::iter(pieces("restore-1", &[backup]));
    let outcome = table.restore(requests).await;
    let said = outcome.as_ref().err().map(|it| it.message().to_owned());
    let said = said.unwrap_or_default();
    let names_limit = said.starts_with("a command of ") && said.ends_with(" at most 512");
    same(&said, names_limit, true)?;
    let reason = "InvalidParameterValue.Length";
    refused("too large", outcome, Code::InvalidArgument, reason)?;
    let regions = all(&operator, Kind::Region).await?;
    same("regions", regions, vec!["seoul".to_owned()])
}
