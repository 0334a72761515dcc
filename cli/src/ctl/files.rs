//! `ctl snapshot`, `backup` and `restore`: the table in a file.
//!
//! A file takes its name when all of it is written. A snapshot has the keys of the network in it and is readable by
//! its owner alone.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyedge_proto::control::v1::table_client::TableClient;
use anyedge_proto::control::v1::{
    BackupRequest, RestoreRequest, SnapshotChunk, SnapshotRequest, WriteOptions,
};
use futures_util::stream;
use tonic::Streaming;

use super::objects::done;
use super::session::Session;
use super::show;
use super::trouble::Trouble;

const WRITTEN_BY_US: &str = "a file that `anyedge ctl backup` or `anyedge ctl snapshot` wrote";
/// Bytes of a file in one message.
const CHUNK_BYTES: usize = 256 << 10;

/// Writes the table to `file`; `secrets` and all, or without them.
pub(crate) async fn save(
    session: &Session,
    file: &Path,
    secrets: bool,
    as_json: bool,
) -> Result<(), Trouble> {
    let mut chunks: Streaming<SnapshotChunk> = if secrets {
        let ask =
            |channel, request| async move { TableClient::new(channel).snapshot(request).await };
        session.client.send(SnapshotRequest::default(), ask).await?
    } else {
        let ask = |channel, request| async move { TableClient::new(channel).backup(request).await };
        session.client.send(BackupRequest::default(), ask).await?
    };
    let mut bytes = Vec::new();
    let revision = loop {
        let chunk = chunks.message().await?;
        let chunk = chunk.ok_or_else(|| Trouble::failed("the controller broke off"))?;
        bytes.extend_from_slice(&chunk.bytes);
        if chunk.last {
            break chunk.revision;
        }
    };
    write(file, &bytes, if secrets { 0o600 } else { 0o644 }).map_err(|error| {
        Trouble::refused(
            format_args!("{}: {error}", file.display()),
            "a file that can be written",
        )
    })?;
    if as_json {
        let name = file.display().to_string();
        let answer =
            serde_json::json!({ "revision": revision, "bytes": bytes.len(), "file": name });
        return show::json(&answer);
    }
    let size = bytes.len();
    show::print(&format!(
        "revision {revision}: {size} bytes in {}\n",
        file.display()
    ))
}

fn write(file: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut aside = file.as_os_str().to_owned();
    aside.push(".new");
    let mut options = OpenOptions::new();
    let mut open = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&aside)?;
    open.write_all(bytes)?;
    open.sync_all()?;
    fs::rename(aside, file)
}

/// Makes the table what `file` says.
pub(crate) async fn restore(session: &Session, file: &Path, as_json: bool) -> Result<(), Trouble> {
    let bytes = fs::read(file).map_err(|error| {
        Trouble::refused(format_args!("{}: {error}", file.display()), WRITTEN_BY_US)
    })?;
    let mut pieces: Vec<&[u8]> = bytes.chunks(CHUNK_BYTES).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let last = pieces.len() - 1;
    let options = session.client.with_id(WriteOptions::default());
    let request = |(place, bytes): (usize, &&[u8])| RestoreRequest {
        options: (place == 0).then(|| options.clone()),
        chunk: Some(SnapshotChunk {
            revision: 0,
            bytes: bytes.to_vec().into(),
            last: place == last,
        }),
    };
    let requests: Vec<RestoreRequest> = pieces.iter().enumerate().map(request).collect();
    let ask = |channel, requests| async move {
        TableClient::new(channel)
            .restore(stream::iter(requests))
            .await
    };
    let reply = session.client.send(requests, ask).await;
    let reply = reply.map_err(|status| Trouble::from(status).or_hint(WRITTEN_BY_US))?;
    done(
        reply.revision,
        &format!("restored from {}", file.display()),
        as_json,
    )
}
