//! `ctl watch`: every revision as it comes, once and in order, whichever controller is lost meanwhile.

use std::collections::BTreeSet;

use anyedge_ccn::table::delta::Delta;
use anyedge_ccn::table::object::{Key, Object};
use anyedge_proto::control::v1::table_client::TableClient;
use anyedge_proto::control::v1::watch_reply::Event;
use anyedge_proto::control::v1::{WatchReply, WatchRequest};
use serde_json::{Value, json};
use tonic::Streaming;

use super::kinds::word;
use super::object_json::{plain, value};
use super::session::Session;
use super::show;
use super::trouble::Trouble;

/// Bytes of one event.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// Tells revisions from `from` on, or from the next one on; `count` of them, or for ever.
pub(crate) async fn watch(
    session: &Session,
    from: Option<u64>,
    count: Option<u64>,
    as_json: bool,
) -> Result<(), Trouble> {
    let mut next = match from {
        Some(from) => from,
        None => session.revision().await? + 1,
    };
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let mut events = open(session, next).await?;
        // A stream that breaks is opened again where it ended, at whoever answers.
        while let Ok(Some(reply)) = events.message().await {
            let Some(told) = told(reply.event, as_json)? else {
                continue;
            };
            next = told + 1;
            left -= 1;
            if left == 0 {
                break;
            }
        }
    }
    Ok(())
}

async fn open(session: &Session, from_revision: u64) -> Result<Streaming<WatchReply>, Trouble> {
    let request = WatchRequest {
        from_revision,
        bookmark_every_ns: 0,
    };
    let ask = |channel, request| async move {
        let mut client = TableClient::new(channel).max_decoding_message_size(EVENT_BYTES_MAX);
        client.watch(request).await
    };
    Ok(session.client.send(request, ask).await?)
}

/// Tells one event, and gives the revision that it was about, if about one.
fn told(event: Option<Event>, as_json: bool) -> Result<Option<u64>, Trouble> {
    match event {
        Some(Event::Delta(delta)) => {
            let delta = Delta::try_from(&delta)?;
            if as_json {
                show::json_line(&as_value(&delta))?;
            } else {
                show::print(&lines(&delta))?;
            }
            Ok(Some(delta.revision))
        }
        Some(Event::Snapshot(chunk)) if chunk.last => {
            let revision = chunk.revision;
            if as_json {
                show::json_line(&json!({ "revision": revision, "snapshot": true }))?;
            } else {
                show::print(&format!(
                    "revision {revision}: all before it, as one snapshot\n"
                ))?;
            }
            Ok(Some(revision))
        }
        _ => Ok(None),
    }
}

fn as_value(delta: &Delta) -> Value {
    let change = |(key, object): &(Key, Option<std::sync::Arc<Object>>)| {
        let object = object.as_ref().map_or(Value::Null, |object| value(object));
        json!({ "kind": word(key.kind), "name": key.name, "object": object })
    };
    let changes: Vec<Value> = delta.changes.iter().map(change).collect();
    json!({ "revision": delta.revision, "changes": changes })
}

fn lines(delta: &Delta) -> String {
    let created: BTreeSet<&Key> = delta.outcome.created.iter().collect();
    let mut text = format!("revision {}:\n", delta.revision);
    for (key, object) in &delta.changes {
        let what = format!("{} {}", word(key.kind), key.name);
        text += &match object {
            None => format!("  - {what}\n"),
            Some(object) => {
                let sign = if created.contains(key) { '+' } else { '~' };
                format!("  {sign} {what}: {}\n", plain(&value(object)))
            }
        };
    }
    if delta.changes.is_empty() {
        text += "  no object changed\n";
    }
    text
}
