//! Refusals as a client sees them: code and reason of each kind, and what roles may not.
//!
//! Every row of the table's own tests goes through the API's words there; here stands one of each reason, over a connection.

use anyedge_ccn::api::client::Client;
use anyedge_ccn::rpc::{Limits, Role, ServerSecurity};
use anyedge_ccn::table::change::{Change, PutMode};
use anyedge_ccn::table::object::{
    Clb, ClbType, Key, Kind, Listener, Object, Protocol, Region, SchedulerKind, Target, TargetKind,
    Vip,
};
use anyedge_net::host::Host;
use anyedge_proto::control::v1 as pb;
use anyedge_proto::control::v1::clb_client::ClbClient;
use anyedge_proto::control::v1::nodes_client::NodesClient;
use anyedge_proto::control::v1::table_client::TableClient;
use anyedge_proto::control::v1::vip_client::VipClient;
use tonic::Code;

use super::methods::{ask, like_the_others, put};
use super::writes::region;
use super::{alone, client, refused, same, says, serve_too};
use crate::conformance::{Finding, Pair};

type Row = (&'static str, Vec<Change>, Code, &'static str);

fn create(object: Object) -> Vec<Change> {
    vec![Change::Put(object, PutMode::Create)]
}

fn listener(port: u32, change: impl FnOnce(&mut Listener)) -> Vec<Change> {
    let mut listener = Listener::new("main", "new", Protocol::Tcp, port);
    change(&mut listener);
    create(Object::Listener(listener))
}

fn clb(change: impl FnOnce(&mut Clb)) -> Vec<Change> {
    let mut clb = Clb::new("new", "guangzhou");
    change(&mut clb);
    create(Object::Clb(clb))
}

fn secure(protocol: Protocol, port: u32, change: fn(&mut Listener)) -> Vec<Change> {
    listener(port, |it| {
        it.protocol = protocol;
        it.certificate = "own".to_owned();
        change(it);
    })
}

fn vip(clb: &str) -> Vip {
    Vip {
        name: "gold".to_owned(),
        addresses: vec!["203.0.113.11".parse().expect("one")],
        prefix: String::new(),
        clb: clb.to_owned(),
        standby: Vec::new(),
        publish: vec!["pop.tokyo".to_owned()],
        publishers_min: 1,
        withdrawn: false,
    }
}

fn on_public() -> Vec<Change> {
    let public = clb(|it| it.clb_type = ClbType::Public);
    [public, create(Object::Vip(vip("new")))].concat()
}

/// What is refused, and its sign.
macro_rules! rows {
    ($($what:literal: $changes:expr => $code:expr, $reason:literal;)*) => {
        vec![$(($what, $changes, $code, $reason)),*]
    };
}

fn rows(target: &Target) -> Vec<Row> {
    use Code::{
        AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, ResourceExhausted,
    };
    let with = |change: fn(&mut Target)| {
        let mut target = target.clone();
        change(&mut target);
        vec![Change::RegisterTargets(vec![target])]
    };
    let gone = |kind, name: &str| vec![Change::Remove(Key::new(kind, name))];
    let domain = |pops: &[&str]| {
        vec![Change::SetPublishDomain {
            vip: "game".to_owned(),
            publish: pops.iter().map(|pop| (*pop).to_owned()).collect(),
        }]
    };
    let lease = Change::LeaseSnat {
        clb: "main".to_owned(),
        node: "region.guangzhou.clb-1".to_owned(),
        blocks: 1,
    };
    rows! {
        "weight 101": with(|it| it.weight = 101) => OutOfRange, "InvalidParameterValue.Range";
        "port 0": listener(0, |_| {}) => OutOfRange, "InvalidParameterValue.Range";
        "a session of 29 s": listener(81, |it| it.session_expire = 29) => OutOfRange, "InvalidParameterValue.Range";
        "a target twice":
            with(|it| it.address = "10.0.0.11".parse().expect("one")) => AlreadyExists, "InvalidParameterValue.Duplicate";
        "a POP twice": domain(&["pop.tokyo", "pop.tokyo"]) => AlreadyExists, "InvalidParameterValue.Duplicate";
        "a port taken": listener(80, |_| {}) => AlreadyExists, "InvalidParameter.PortCheckFailed";
        "a reserved port": secure(Protocol::Https, 3_306, |_| {}) => InvalidArgument, "InvalidParameterValue";
        "a check of UDP":
            listener(81, |it| { it.protocol = Protocol::Udp; it.health = Some(Default::default()); })
            => FailedPrecondition, "InvalidParameter.ProtocolCheckFailed";
        "QUIC by IP hash":
            secure(Protocol::Quic, 443, |it| it.scheduler = SchedulerKind::IpHash)
            => FailedPrecondition, "InvalidParameter.ProtocolCheckFailed";
        "no such load balancer": gone(Kind::Clb, "none") => NotFound, "InvalidParameter.LBIdNotFound";
        "no such listener": gone(Kind::Listener, "main/none") => NotFound, "InvalidParameter.ListenerIdNotFound";
        "no such rule": gone(Kind::Rule, "main/web/none") => NotFound, "InvalidParameter.LocationNotFound";
        "no such region": clb(|it| it.region = "moon".to_owned()) => NotFound, "InvalidParameter.RegionNotFound";
        "no such POP": domain(&["pop.tokio"]) => NotFound, "ResourceNotFound";
        "an empty publish domain": domain(&[]) => InvalidArgument, "MissingParameter";
        "a name too long": clb(|it| it.name = "a".repeat(81)) => InvalidArgument, "InvalidParameterValue.Length";
        "no name": clb(|it| it.name = "A b".to_owned()) => InvalidArgument, "InvalidParameter.FormatError";
        "a sixth security group":
            clb(|it| it.security_groups = vec!["sg".to_owned(); 6]) => ResourceExhausted, "LimitExceeded";
        "bound to a VIP": gone(Kind::Clb, "main") => FailedPrecondition, "FailedOperation.ResourceInUse";
        "a VIP on a public one": on_public() => FailedPrecondition, "FailedOperation.InvalidLBStatus";
        "on premises, switch off":
            with(|it| it.kind = TargetKind::Idc) => FailedPrecondition, "FailedOperation.InvalidLBStatus";
        "no ports to lease": vec![lease] => ResourceExhausted, "ResourceInsufficient";
    }
}

pub(super) async fn every_refusal_has_its_code_and_reason<H: Host>(pair: Pair<H>) -> Finding {
    let (_member, client) = alone(&pair).await?;
    let target = like_the_others(&client, "10.0.0.13").await?;
    let state = |client: Client<H>| async move {
        let pages = [Kind::Clb, Kind::Listener, Kind::Target, Kind::Vip];
        let mut found = Vec::new();
        for kind in pages {
            found.push(client.list_all(kind, "").await.map_err(says)?);
        }
        Ok::<_, String>(found)
    };
    let before = state(client.clone()).await?;
    for (what, changes, code, reason) in rows(&target) {
        refused(what, client.apply(&changes).await, code, reason)?;
    }
    same(
        "nothing has changed",
        state(client.clone()).await? == before,
        true,
    )?;

    // What has no shape, or lacks something, is refused before it is written.
    let missing = "MissingParameter";
    let nothing = client.apply(&[]).await;
    refused("nothing", nothing, Code::InvalidArgument, missing)?;
    let none = ask!(client, ClbClient.create, pb::PutRequest::default());
    refused("no object", none, Code::InvalidArgument, missing)?;
    let nameless = ask!(client, ClbClient.delete, pb::RemoveRequest::default());
    refused("no name", nameless, Code::InvalidArgument, missing)?;
    let unbound = ask!(client, VipClient.bind, pb::BindVipRequest::default());
    refused("no VIP", unbound, Code::InvalidArgument, missing)?;
    let seoul = Region {
        name: "seoul".to_owned(),
    };
    let other = ask!(client, ClbClient.create, put(Object::Region(seoul)));
    refused(
        "a region",
        other,
        Code::InvalidArgument,
        "InvalidParameterValue",
    )?;
    let mut vip = put(Object::Vip(vip("")));
    if let Some(table) = &mut vip.object
        && let Some(anyedge_proto::table::v1::object::Object::Vip(vip)) = &mut table.object
    {
        vip.addresses.push(vec![1; 5]);
    }
    let format = "InvalidParameter.FormatError";
    let strange = ask!(client, VipClient.allocate, vip);
    refused(
        "an address of 5 bytes",
        strange,
        Code::InvalidArgument,
        format,
    )?;
    let kind = pb::ListKindRequest {
        kind: 99,
        list: None,
    };
    let kind = ask!(client, TableClient.list, kind);
    refused("no kind", kind, Code::InvalidArgument, format)
}

pub(super) async fn roles_allow_what_is_theirs<H: Host>(pair: Pair<H>) -> Finding {
    let (member, _operator) = alone(&pair).await?;
    let denied = "UnauthorizedOperation";
    for role in [Role::ReadOnly, Role::Node] {
        let security = ServerSecurity::Plain(role);
        let (_server, at) = serve_too(&pair, &member, security, Limits::default())?;
        let client = client(&pair, &[at]);
        let name = role.name();
        client.list_all(Kind::Clb, "").await.map_err(says)?;
        client.members().await.map_err(says)?;
        let write = client.apply(&[region("seoul", PutMode::Create)]).await;
        refused(name, write, Code::PermissionDenied, denied)?;
        let moved = client.transfer_leader(1).await;
        refused(name, moved, Code::PermissionDenied, denied)?;
        let mut table = TableClient::new(client.channel(at));
        table
            .watch(pb::WatchRequest::default())
            .await
            .map_err(says)?;
        let snapshot = table.snapshot(pb::SnapshotRequest::default()).await;
        let mut nodes = NodesClient::new(client.channel(at));
        let follow = nodes.follow(pb::WatchRequest::default()).await;
        if role == Role::Node {
            snapshot.map_err(says)?;
            follow.map_err(says)?;
            continue;
        }
        refused(name, snapshot, Code::PermissionDenied, denied)?;
        let code = follow.err().map(|status| status.code());
        same("to follow", code, Some(Code::PermissionDenied))?;
    }
    Ok(())
}
