//! Reads: who answers them, what they know, and who the members are.

use anyedge_ccn::api::leader_of;
use anyedge_ccn::table::change::PutMode;
use anyedge_ccn::table::object::{Key, Kind};
use anyedge_net::host::Host;
use anyedge_proto::control::v1::members_client::MembersClient;
use anyedge_proto::control::v1::table_client::TableClient;
use anyedge_proto::control::v1::{
    ChangeMembersRequest, GetRequest, ListRequest, Member as MemberRow, ReadOptions,
    TransferRequest,
};
use tonic::Code;

use super::methods::ask;
use super::writes::region;
use super::{alone, both, client, refused, same, says};
use crate::conformance::{Finding, Pair};

fn get(options: ReadOptions) -> GetRequest {
    GetRequest {
        options: Some(options),
        key: Some((&Key::new(Kind::Region, "guangzhou")).into()),
    }
}

const STALE: ReadOptions = ReadOptions {
    min_index: 0,
    stale: true,
};

const fn at_least(min_index: u64) -> ReadOptions {
    ReadOptions {
        min_index,
        stale: false,
    }
}

pub(super) async fn a_member_that_does_not_lead_says_who_does<H: Host>(pair: Pair<H>) -> Finding {
    let (members, finder) = both(&pair).await?;
    let leader = finder.members().await.map_err(says)?.leader;
    let [one, two] = [members[0].at, members[1].at];
    let (leading, following) = if leader == 1 { (one, two) } else { (two, one) };
    let mut table = TableClient::new(finder.channel(following));
    let read = table.get(get(ReadOptions::default())).await;
    let told = read.as_ref().err().and_then(leader_of);
    same("where a read goes", told, Some(leading))?;
    refused(
        "a read",
        read,
        Code::Unavailable,
        "FailedOperation.NotLeader",
    )?;
    let stale = table.get(get(STALE)).await.map_err(says)?.into_inner();
    same("stale", stale.entry.is_some() || stale.revision == 0, true)?;
    // A client that was told of the wrong one alone gets there.
    let misled = client(&pair, &[following]);
    let seoul = region("seoul", PutMode::Create);
    let done = misled.apply(&[seoul]).await.map_err(says)?;
    let read = table.get(get(at_least(done.revision))).await;
    let read = read.map_err(says)?.into_inner();
    same("at least that", read.revision >= done.revision, true)
}

pub(super) async fn lists_come_in_pages<H: Host>(pair: Pair<H>) -> Finding {
    let (_member, client) = alone(&pair).await?;
    let names: Vec<String> = (0..25).map(|number| format!("r-{number:02}")).collect();
    let create = |name: &String| region(name, PutMode::Create);
    let changes: Vec<_> = names.iter().map(create).collect();
    client.apply(&changes).await.map_err(says)?;
    let mut list = ListRequest {
        name_prefix: "r-".to_owned(),
        limit: 10,
        ..ListRequest::default()
    };
    let mut pages = Vec::new();
    loop {
        let page = client
            .list(Kind::Region, list.clone())
            .await
            .map_err(says)?;
        pages.push(page.entries.len());
        if page.next_after.is_empty() {
            break;
        }
        list.after = page.next_after;
    }
    same("pages", pages, vec![10, 10, 5])?;
    let secrets = client.list_all(Kind::Secret, "").await.map_err(says)?;
    same("secrets", secrets.len(), 0)?;
    let key = Key::new(Kind::Secret, "slot-hash-key");
    let secret = client.get(STALE, &key).await;
    let reason = "UnauthorizedOperation";
    refused("a secret", secret, Code::PermissionDenied, reason)
}

pub(super) async fn a_revision_is_waited_for<H: Host>(pair: Pair<H>) -> Finding {
    let (_member, client) = alone(&pair).await?;
    let now = client.get(STALE, &Key::new(Kind::Region, "none")).await;
    let revision = now.map_err(says)?.revision;
    let key = Key::new(Kind::Region, "seoul");
    let wanted = client.get(at_least(revision + 1), &key);
    let seoul = [region("seoul", PutMode::Create)];
    let write = client.apply(&seoul);
    let (read, written) = futures_util::future::join(wanted, write).await;
    written.map_err(says)?;
    same("it came", read.map_err(says)?.entry.is_some(), true)?;
    let never = client.get(at_least(revision + 1_000), &key).await;
    refused("never", never, Code::Aborted, "FailedOperation.StaleRead")
}

pub(super) async fn members_are_listed_and_led_by_another<H: Host>(pair: Pair<H>) -> Finding {
    let (members, client) = both(&pair).await?;
    let list = client.members().await.map_err(says)?;
    let rows: Vec<(u64, String)> = list
        .members
        .iter()
        .map(|row| (row.id, row.address.clone()))
        .collect();
    let expected = vec![
        (1, members[0].at.to_string()),
        (2, members[1].at.to_string()),
    ];
    same("members", rows, expected)?;
    let leading = list.members.iter().filter(|row| row.role == "leader");
    same(
        "leaders",
        leading.map(|row| row.id).collect(),
        vec![list.leader],
    )?;
    let nobody = ask!(
        client,
        MembersClient.transfer_leader,
        TransferRequest { to: 0 }
    );
    refused(
        "to nobody",
        nobody,
        Code::InvalidArgument,
        "MissingParameter",
    )?;
    let moved = client
        .transfer_leader(3 - list.leader)
        .await
        .map_err(says)?;
    same("who leads", moved.leader, 3 - list.leader)?;
    let nothing = ChangeMembersRequest::default();
    let nothing = ask!(client, MembersClient.change, nothing);
    refused(
        "no change",
        nothing,
        Code::InvalidArgument,
        "MissingParameter",
    )?;
    let nowhere = MemberRow {
        id: 3,
        address: "nowhere".to_owned(),
        ..MemberRow::default()
    };
    let nowhere = client.change_members(vec![nowhere], Vec::new()).await;
    let reason = "InvalidParameter.FormatError";
    refused("no address", nowhere, Code::InvalidArgument, reason)?;
    // The one that does not lead goes; the other goes on alone.
    let gone = client.change_members(Vec::new(), vec![list.leader]).await;
    let left = gone.map_err(says)?.members;
    let ids: Vec<u64> = left.iter().map(|row| row.id).collect();
    same("who is left", ids, vec![3 - list.leader])?;
    let seoul = region("seoul", PutMode::Create);
    client.apply(&[seoul]).await.map(drop).map_err(says)
}
