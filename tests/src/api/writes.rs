//! Writes: once by their request id, on what was read, later by a stage, and what became of them.

use anyedge_ccn::table::change::{Change, PutMode};
use anyedge_ccn::table::object::{Key, Kind, Object, Region};
use anyedge_net::host::Host;
use anyedge_proto::control::v1::task_client::TaskClient;
use anyedge_proto::control::v1::{ReadOptions, TaskRequest, TaskStatus, WriteOptions};
use anyedge_proto::table::v1 as table;
use futures_util::future::join;
use tonic::Code;

use super::methods::all;
use super::{alone, both, refused, same, says};
use crate::conformance::{Finding, Pair};

pub(super) fn region(name: &str, mode: PutMode) -> Change {
    let name = name.to_owned();
    Change::Put(Object::Region(Region { name }), mode)
}

fn wire(changes: &[Change]) -> Vec<table::Change> {
    changes.iter().map(Into::into).collect()
}

pub(super) fn with_id(request_id: &str) -> WriteOptions {
    WriteOptions {
        request_id: request_id.to_owned(),
        ..WriteOptions::default()
    }
}

pub(super) async fn a_repeated_request_applies_once<H: Host>(pair: Pair<H>) -> Finding {
    let (_member, client) = alone(&pair).await?;
    let seoul = wire(&[region("seoul", PutMode::Create)]);
    let first = client.apply_with(with_id("r-1"), seoul.clone()).await;
    let first = first.map_err(says)?;
    let again = client.apply_with(with_id("r-1"), seoul).await;
    let again = again.map_err(says)?;
    same(
        "the first",
        (first.repeated_request, &*first.request_id),
        (false, "r-1"),
    )?;
    same(
        "the second",
        (again.repeated_request, again.revision),
        (true, first.revision),
    )?;
    same("what came to be", again.created, first.created)?;
    let other = wire(&[region("osaka", PutMode::Create)]);
    let other = client.apply_with(with_id("r-1"), other).await;
    let reused = "InvalidParameterValue.RequestIdReused";
    refused("another change", other, Code::AlreadyExists, reused)?;
    let made_up = client.apply(&[region("osaka", PutMode::Create)]).await;
    same(
        "an id is made up",
        made_up.map_err(says)?.request_id.is_empty(),
        false,
    )
}

pub(super) async fn a_repeated_request_applies_once_also_through_another_leader<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let (_members, client) = both(&pair).await?;
    let seoul = wire(&[region("seoul", PutMode::Create)]);
    let first = client.apply_with(with_id("r-1"), seoul.clone()).await;
    let first = first.map_err(says)?;
    let leader = client.members().await.map_err(says)?.leader;
    let moved = client.transfer_leader(3 - leader).await.map_err(says)?;
    same("who leads", moved.leader, 3 - leader)?;
    let again = client.apply_with(with_id("r-1"), seoul).await;
    let again = again.map_err(says)?;
    same(
        "the second",
        (again.repeated_request, again.revision),
        (true, first.revision),
    )?;
    let task = client.task("r-1").await.map_err(says)?;
    same(
        "its task",
        (task.status(), task.revision),
        (TaskStatus::Success, first.revision),
    )
}

pub(super) async fn of_two_that_compare_one_sets<H: Host>(pair: Pair<H>) -> Finding {
    let (_member, client) = alone(&pair).await?;
    let key = Key::new(Kind::Pop, "pop.tokyo");
    let read = client.get(ReadOptions::default(), &key).await;
    let revision = read.map_err(says)?.entry.ok_or("no such POP")?.revision;
    let options = || WriteOptions {
        conditions: vec![table::Condition {
            key: Some((&key).into()),
            revision,
        }],
        ..WriteOptions::default()
    };
    let drain = || wire(&[Change::SetDraining(key.clone(), true)]);
    let one = client.apply_with(options(), drain());
    let other = client.apply_with(options(), drain());
    let (one, other) = join(one, other).await;
    same("one of them", one.is_ok() != other.is_ok(), true)?;
    let lost = if one.is_ok() { other } else { one };
    let reason = "FailedOperation.RevisionChanged";
    refused("the other", lost, Code::Aborted, reason)?;
    let fresh = WriteOptions {
        conditions: vec![table::Condition {
            key: Some((&Key::new(Kind::Region, "guangzhou")).into()),
            revision: 0,
        }],
        ..WriteOptions::default()
    };
    let create = wire(&[region("seoul", PutMode::Create)]);
    let there = client.apply_with(fresh, create).await;
    refused("only if it is not there", there, Code::Aborted, reason)
}

pub(super) async fn a_stage_waits_until_it_is_applied<H: Host>(pair: Pair<H>) -> Finding {
    let (_member, client) = alone(&pair).await?;
    let staged = || WriteOptions {
        stage: "night".to_owned(),
        ..WriteOptions::default()
    };
    let changes = wire(&[
        region("seoul", PutMode::Create),
        region("osaka", PutMode::Create),
    ]);
    client.apply_with(staged(), changes).await.map_err(says)?;
    same("without effect", all(&client, Kind::Region).await?.len(), 1)?;
    let pending = client.pending("night").await.map_err(says)?;
    let names: Vec<String> = pending
        .differences
        .iter()
        .filter(|it| it.before.is_none() && it.after.is_some())
        .filter_map(|it| it.key.as_ref().map(|key| key.name.clone()))
        .collect();
    same(
        "what waits",
        names,
        vec!["osaka".to_owned(), "seoul".to_owned()],
    )?;
    let secret = Object::Secret(anyedge_ccn::table::object::Secret {
        name: "cid-key".to_owned(),
        value: vec![1; 16],
    });
    let secret = wire(&[Change::Put(secret, PutMode::Create)]);
    let hidden = client.apply_with(staged(), secret).await;
    refused(
        "a secret",
        hidden,
        Code::InvalidArgument,
        "InvalidParameterValue",
    )?;
    let none = client.pending("day").await;
    refused("no such stage", none, Code::NotFound, "ResourceNotFound")?;

    // What has become impossible is told, refused, and waits on.
    let seoul = region("seoul", PutMode::Create);
    client.apply(&[seoul]).await.map_err(says)?;
    let pending = client.pending("night").await.map_err(says)?;
    let reason = pending.refusal.map(|refusal| refusal.reason);
    let duplicate = "InvalidParameterValue.Duplicate";
    same("why not", reason.as_deref(), Some(duplicate))?;
    let applied = client.apply_stage(WriteOptions::default(), "night").await;
    refused("the stage", applied, Code::AlreadyExists, duplicate)?;
    let gone = Change::Remove(Key::new(Kind::Region, "seoul"));
    client.apply(&[gone]).await.map_err(says)?;
    let applied = client.apply_stage(WriteOptions::default(), "night").await;
    applied.map_err(says)?;
    same("in effect", all(&client, Kind::Region).await?.len(), 3)?;
    let discarded = client.discard_stage(WriteOptions::default(), "night");
    let reason = "ResourceNotFound";
    refused("none is left", discarded.await, Code::NotFound, reason)
}

pub(super) async fn what_became_of_a_request_is_told<H: Host>(pair: Pair<H>) -> Finding {
    let (member, client) = alone(&pair).await?;
    let seoul = wire(&[region("seoul", PutMode::Create)]);
    let done = client.apply_with(with_id("r-1"), seoul.clone()).await;
    let done = done.map_err(says)?;
    let failed = client.apply_with(with_id("r-2"), seoul).await;
    let duplicate = "InvalidParameterValue.Duplicate";
    refused("twice", failed, Code::AlreadyExists, duplicate)?;
    let task = client.task("r-1").await.map_err(says)?;
    same(
        "done",
        (task.status(), task.revision),
        (TaskStatus::Success, done.revision),
    )?;
    let task = client.task("r-2").await.map_err(says)?;
    let reason = task.failures.first().and_then(|it| it.refusal.clone());
    let reason = reason.unwrap_or_default().reason;
    same(
        "refused",
        (task.status(), &*reason),
        (TaskStatus::Failed, duplicate),
    )?;
    let nobody = client.task("r-3").await;
    refused("unknown", nobody, Code::NotFound, "ResourceNotFound")?;
    let mut tasks = TaskClient::new(client.channel(member.at));
    let request_id = "r-1".to_owned();
    let watched = tasks
        .watch(TaskRequest { request_id })
        .await
        .map_err(says)?;
    let mut watched = watched.into_inner();
    let first = watched.message().await.map_err(says)?;
    let status = first.map(|reply| reply.status());
    same("watched", status, Some(TaskStatus::Success))?;
    same(
        "its end",
        watched.message().await.map_err(says)?.is_none(),
        true,
    )
}
