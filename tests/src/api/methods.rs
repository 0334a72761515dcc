//! Every method of the services of single kinds, once, by what it leaves in the table.

use anyedge_ccn::api::client::Client;
use anyedge_ccn::table::object::{
    Attachment, AttachmentKind, AutoScalingGroup, Ccn, Clb, Eni, Kind, LearnedRoute, Listener,
    Network, Object, Protocol, Region, Rule, SchedulerKind, SecurityGroup, SecurityRule, SnatIp,
    Target, Vip,
};
use anyedge_net::host::Host;
use anyedge_net::security_group::{Direction, Rule as SgRule};
use anyedge_proto::control::v1 as pb;
use anyedge_proto::control::v1::auto_scaling_client::AutoScalingClient;
use anyedge_proto::control::v1::ccn_client::CcnClient;
use anyedge_proto::control::v1::clb_client::ClbClient;
use anyedge_proto::control::v1::ground_client::GroundClient;
use anyedge_proto::control::v1::listener_client::ListenerClient;
use anyedge_proto::control::v1::rule_client::RuleClient;
use anyedge_proto::control::v1::security_group_client::SecurityGroupClient;
use anyedge_proto::control::v1::snat_client::SnatClient;
use anyedge_proto::control::v1::target_client::TargetClient;
use anyedge_proto::control::v1::vip_client::VipClient;
use anyedge_proto::health::HealthCheckRequest;
use anyedge_proto::health::health_client::HealthClient;
use anyedge_proto::table::v1 as table;

use super::{alone, same, says};
use crate::conformance::{Finding, Pair};

/// What a method of a generated client answers.
macro_rules! ask {
    ($client:expr, $stub:ident.$method:ident, $request:expr) => {
        $client
            .send($request, |channel, request| async move {
                $stub::new(channel).$method(request).await
            })
            .await
    };
}
pub(super) use ask;

pub(super) fn put(object: Object) -> pb::PutRequest {
    pb::PutRequest {
        options: None,
        object: Some((&object).into()),
    }
}

pub(super) fn remove(name: &str) -> pb::RemoveRequest {
    pb::RemoveRequest {
        options: None,
        name: name.to_owned(),
    }
}

fn names(names: &[&str]) -> pb::NamesRequest {
    pb::NamesRequest {
        options: None,
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn key(kind: Kind, name: &str) -> Option<table::Key> {
    let name = name.to_owned();
    let kind = kind as i32;
    Some(table::Key { kind, name })
}

/// Full names of all objects of a kind.
pub(super) async fn all<H: Host>(client: &Client<H>, kind: Kind) -> Result<Vec<String>, String> {
    let entries = client.list_all(kind, "").await.map_err(says)?;
    let objects = entries.iter().filter_map(|entry| entry.object.as_ref());
    let names = objects.map(|object| Object::try_from(object).map(|object| object.name()));
    names
        .collect::<Result<_, _>>()
        .map_err(|refusal| refusal.to_string())
}

fn listed(reply: &pb::ListReply) -> usize {
    reply.entries.len()
}

pub(super) async fn load_balancers_come_change_and_go<H: Host>(pair: Pair<H>) -> Finding {
    let (_member, client) = alone(&pair).await?;
    let mut clb = Clb::new("new", "guangzhou");
    let made = ask!(client, ClbClient.create, put(Object::Clb(clb.clone()))).map_err(says)?;
    same(
        "created",
        made.created,
        vec![key(Kind::Clb, "new").expect("it is one")],
    )?;
    clb.fail_open = false;
    ask!(client, ClbClient.update, put(Object::Clb(clb))).map_err(says)?;
    let mut site = Listener::new("new", "site", Protocol::Http, 80);
    ask!(
        client,
        ListenerClient.create,
        put(Object::Listener(site.clone()))
    )
    .map_err(says)?;
    site.access_log = true;
    ask!(client, ListenerClient.update, put(Object::Listener(site))).map_err(says)?;
    let mut rule = Rule {
        clb: "new".to_owned(),
        listener: "site".to_owned(),
        name: "shop".to_owned(),
        domain: "example.com".to_owned(),
        url: "/shop".to_owned(),
        scheduler: SchedulerKind::Wrr,
        session_expire: 0,
        health: None,
    };
    ask!(client, RuleClient.create, put(Object::Rule(rule.clone()))).map_err(says)?;
    rule.url = "/store".to_owned();
    ask!(client, RuleClient.update, put(Object::Rule(rule))).map_err(says)?;
    let list = pb::ListRequest {
        name_prefix: "new".to_owned(),
        ..pb::ListRequest::default()
    };
    let clbs = ask!(client, ClbClient.list, list.clone()).map_err(says)?;
    let listeners = ask!(client, ListenerClient.list, list.clone()).map_err(says)?;
    let rules = ask!(client, RuleClient.list, list.clone()).map_err(says)?;
    let counts = [listed(&clbs), listed(&listeners), listed(&rules)];
    same("what is there", counts, [1, 1, 1])?;
    ask!(client, RuleClient.delete, remove("new/site/shop")).map_err(says)?;
    ask!(client, ListenerClient.delete, remove("new/site")).map_err(says)?;
    ask!(client, ClbClient.delete, remove("new")).map_err(says)?;
    let left = ask!(client, ClbClient.list, list).map_err(says)?;
    same("what is left", listed(&left), 0)
}

/// A target of `main/web` like those that are there.
pub(super) async fn like_the_others<H: Host>(
    client: &Client<H>,
    ip: &str,
) -> Result<Target, String> {
    let there = client.list_all(Kind::Target, "main/web/").await;
    let there = there.map_err(says)?;
    let first = there.first().and_then(|entry| entry.object.as_ref());
    let first = first.ok_or("no targets")?;
    match Object::try_from(first) {
        Ok(Object::Target(target)) => Ok(Target {
            address: ip.parse().map_err(|_| "no address")?,
            place: 0,
            ..target
        }),
        _ => Err("no target".to_owned()),
    }
}

pub(super) async fn targets_are_done_in_batches<H: Host>(pair: Pair<H>) -> Finding {
    let (_member, client) = alone(&pair).await?;
    let good = like_the_others(&client, "10.0.0.13").await?;
    let heavy = Target {
        weight: 101,
        ..like_the_others(&client, "10.0.0.14").await?
    };
    let there = like_the_others(&client, "10.0.0.11").await?;
    let request = pb::RegisterTargetsRequest {
        default_port: 0,
        default_weight: None,
        options: None,
        targets: [&heavy, &good, &there].map(Into::into).to_vec(),
    };
    let done = ask!(client, TargetClient.register, request).map_err(says)?;
    let failures: Vec<(u32, String)> = done
        .failures
        .into_iter()
        .map(|failure| (failure.item, failure.refusal.unwrap_or_default().reason))
        .collect();
    let reason = |name: &str| format!("InvalidParameterValue.{name}");
    let expected = vec![(0, reason("Range")), (2, reason("Duplicate"))];
    same("refused items", failures, expected)?;
    let name = "main/web/10.0.0.13:8080";
    let weight = pb::TargetWeightRequest {
        options: None,
        targets: vec![name.to_owned()],
        weight: Some(7),
    };
    ask!(client, TargetClient.set_weight, weight).map_err(says)?;
    let port = pb::TargetPortRequest {
        options: None,
        targets: vec![name.to_owned()],
        port: 9_090,
    };
    ask!(client, TargetClient.set_port, port).map_err(says)?;
    let list = pb::ListRequest::default();
    let health = ask!(client, TargetClient.health, list.clone()).map_err(says)?;
    let told = health.targets.iter().find(|it| it.ip == "10.0.0.13");
    let told = told.map(|it| {
        (
            it.target_id.as_str(),
            it.port,
            it.detail(),
            it.health_status,
        )
    });
    let unknown = pb::HealthStatusDetail::Unknown;
    let expected = ("main/web/10.0.0.13:9090", 9_090, unknown, false);
    same("health", told, Some(expected))?;
    let request = pb::DeregisterTargetsRequest {
        options: None,
        targets: vec!["main/web/10.0.0.13:9090".to_owned()],
    };
    ask!(client, TargetClient.deregister, request).map_err(says)?;
    let left = ask!(client, TargetClient.list, list).map_err(says)?;
    same("what is left", listed(&left), 2)
}

pub(super) async fn vips_are_bound_and_published<H: Host>(pair: Pair<H>) -> Finding {
    let (_member, client) = alone(&pair).await?;
    let mut gold = Vip {
        name: "gold".to_owned(),
        addresses: vec!["203.0.113.11".parse().map_err(|_| "no address")?],
        prefix: String::new(),
        clb: String::new(),
        standby: Vec::new(),
        publish: vec!["pop.tokyo".to_owned()],
        publishers_min: 1,
        withdrawn: false,
    };
    ask!(client, VipClient.allocate, put(Object::Vip(gold.clone()))).map_err(says)?;
    gold.publish.push("pop.osaka".to_owned());
    ask!(client, VipClient.update, put(Object::Vip(gold))).map_err(says)?;
    let bind = pb::BindVipRequest {
        options: None,
        vip: "gold".to_owned(),
        clb: "main".to_owned(),
    };
    ask!(client, VipClient.bind, bind).map_err(says)?;
    let domain = pb::PublishDomainRequest {
        options: None,
        vip: "gold".to_owned(),
        publish: vec!["pop.osaka".to_owned()],
    };
    ask!(client, VipClient.set_publish_domain, domain).map_err(says)?;
    let gold = pb::VipRequest {
        options: None,
        vip: "gold".to_owned(),
    };
    ask!(client, VipClient.withdraw, gold.clone()).map_err(says)?;
    let list = pb::ListRequest {
        name_prefix: "gold".to_owned(),
        ..pb::ListRequest::default()
    };
    let there = ask!(client, VipClient.list, list).map_err(says)?;
    let object = there
        .entries
        .first()
        .and_then(|entry| entry.object.as_ref());
    let vip = object.and_then(|object| match Object::try_from(object) {
        Ok(Object::Vip(vip)) => Some((vip.clb, vip.publish, vip.withdrawn)),
        _ => None,
    });
    let expected = ("main".to_owned(), vec!["pop.osaka".to_owned()], true);
    same("the VIP", vip, Some(expected))?;
    ask!(client, VipClient.publish, gold.clone()).map_err(says)?;
    ask!(client, VipClient.unbind, gold).map_err(says)?;
    ask!(client, VipClient.release, remove("gold")).map_err(says)?;
    same(
        "what is left",
        all(&client, Kind::Vip).await?,
        vec!["game".to_owned()],
    )
}

pub(super) async fn ports_are_leased_and_routes_turned_on<H: Host>(pair: Pair<H>) -> Finding {
    let (_member, client) = alone(&pair).await?;
    let ip = SnatIp {
        clb: "main".to_owned(),
        address: "10.0.9.1".parse().map_err(|_| "no address")?,
    };
    let name = ip.full_name();
    ask!(client, SnatClient.create_ip, put(Object::SnatIp(ip))).map_err(says)?;
    let lease = pb::LeaseSnatRequest {
        options: None,
        clb: "main".to_owned(),
        node: "region.guangzhou.clb-1".to_owned(),
        blocks: 2,
    };
    ask!(client, SnatClient.lease, lease).map_err(says)?;
    let list = pb::ListRequest::default();
    let ips = ask!(client, SnatClient.list_ips, list.clone()).map_err(says)?;
    let blocks = ask!(client, SnatClient.list_blocks, list.clone()).map_err(says)?;
    same(
        "addresses and blocks",
        (listed(&ips), listed(&blocks)),
        (1, 2),
    )?;
    let block = all(&client, Kind::SnatBlock).await?;
    ask!(client, SnatClient.release, names(&[&block[0]])).map_err(says)?;
    ask!(client, SnatClient.delete_ip, remove(&name)).map_err(says)?;

    let ccn = Ccn {
        name: "c".to_owned(),
    };
    ask!(client, CcnClient.create, put(Object::Ccn(ccn))).map_err(says)?;
    let network = Network {
        address: "10.9.0.0".parse().map_err(|_| "no address")?,
        length: 16,
    };
    let attachment = Attachment {
        ccn: "c".to_owned(),
        name: "vpc-9".to_owned(),
        kind: AttachmentKind::Vpc,
        routes: vec![LearnedRoute {
            network,
            as_path_len: 0,
        }],
    };
    ask!(
        client,
        CcnClient.attach,
        put(Object::Attachment(attachment))
    )
    .map_err(says)?;
    let ccns = ask!(client, CcnClient.list, list.clone()).map_err(says)?;
    let attached = ask!(client, CcnClient.list_attachments, list.clone()).map_err(says)?;
    let routes = ask!(client, CcnClient.list_routes, list.clone()).map_err(says)?;
    let counts = [listed(&ccns), listed(&attached), listed(&routes)];
    same("CCN, attachment, route", counts, [1, 1, 1])?;
    let route = all(&client, Kind::CcnRoute).await?;
    ask!(client, CcnClient.disable_routes, names(&[&route[0]])).map_err(says)?;
    ask!(client, CcnClient.enable_routes, names(&[&route[0]])).map_err(says)?;
    ask!(client, CcnClient.detach, remove("c/vpc-9")).map_err(says)?;
    ask!(client, CcnClient.delete, remove("c")).map_err(says)?;
    same(
        "what is left",
        all(&client, Kind::CcnRoute).await?,
        Vec::new(),
    )
}

pub(super) async fn the_ground_is_put_drained_and_removed<H: Host>(pair: Pair<H>) -> Finding {
    let (_member, client) = alone(&pair).await?;
    let region = Region {
        name: "seoul".to_owned(),
    };
    ask!(client, GroundClient.put, put(Object::Region(region))).map_err(says)?;
    let drain = |draining| pb::DrainRequest {
        options: None,
        key: key(Kind::Pop, "pop.tokyo"),
        draining,
    };
    ask!(client, GroundClient.drain, drain(true)).map_err(says)?;
    ask!(client, GroundClient.drain, drain(false)).map_err(says)?;
    let eni = Eni {
        name: "eni-1".to_owned(),
        zone: String::new(),
        network: String::new(),
        host: String::new(),
        primary: false,
        addresses: vec!["10.0.0.99".parse().map_err(|_| "no address")?],
    };
    ask!(client, GroundClient.put, put(Object::Eni(eni))).map_err(says)?;
    let host = like_the_others(&client, "10.0.0.99").await?.host;
    let to = pb::MoveEniRequest {
        options: None,
        eni: "eni-1".to_owned(),
        host,
    };
    ask!(client, GroundClient.move_eni, to).map_err(says)?;
    let gone = pb::RemoveKeyRequest {
        options: None,
        key: key(Kind::Region, "seoul"),
    };
    ask!(client, GroundClient.remove, gone).map_err(says)?;
    let regions = all(&client, Kind::Region).await?;
    same("regions", regions, vec!["guangzhou".to_owned()])
}

pub(super) async fn security_groups_come_are_bound_and_go<H: Host>(pair: Pair<H>) -> Finding {
    let (_member, client) = alone(&pair).await?;
    let group = |text: &str| {
        let rule = SgRule::parse(Direction::Ingress, text).map_err(|wrong| wrong.to_string())?;
        let name = "web".to_owned();
        let rules = vec![SecurityRule::from(&rule)];
        Ok::<_, String>(put(Object::SecurityGroup(SecurityGroup { name, rules })))
    };
    let open = group("0.0.0.0/0+8080 allow")?;
    ask!(client, SecurityGroupClient.create, open).map_err(says)?;
    let shut = group("any drop")?;
    ask!(client, SecurityGroupClient.update, shut).map_err(says)?;
    let bind = |groups: &[&str]| pb::BindSecurityGroupsRequest {
        options: None,
        key: key(Kind::Clb, "main"),
        groups: groups.iter().map(|name| (*name).to_owned()).collect(),
    };
    ask!(client, SecurityGroupClient.bind, bind(&["web"])).map_err(says)?;
    let groups = ask!(client, SecurityGroupClient.list, pb::ListRequest::default());
    same("groups", listed(&groups.map_err(says)?), 1)?;
    let used = ask!(client, SecurityGroupClient.delete, remove("web"));
    same("one in use stays", used.is_err(), true)?;
    ask!(client, SecurityGroupClient.bind, bind(&[])).map_err(says)?;
    ask!(client, SecurityGroupClient.delete, remove("web")).map_err(says)?;
    same(
        "groups",
        all(&client, Kind::SecurityGroup).await?,
        Vec::new(),
    )
}

pub(super) async fn servers_of_a_group_come_and_go<H: Host>(pair: Pair<H>) -> Finding {
    let (_member, client) = alone(&pair).await?;
    let before = all(&client, Kind::Target).await?;
    let group = AutoScalingGroup {
        name: "rush".to_owned(),
        listeners: vec!["main/web".to_owned()],
        port: 8_080,
        weight: 20,
        servers: Vec::new(),
    };
    let object = || put(Object::AutoScalingGroup(group.clone()));
    ask!(client, AutoScalingClient.create, object()).map_err(says)?;
    let server = table::ScalingServer {
        address: vec![10, 0, 0, 21],
        host: "host.web-1".to_owned(),
    };
    let out = pb::ScaleRequest {
        group: "rush".to_owned(),
        joins: vec![server.clone()],
        ..Default::default()
    };
    let reply = ask!(client, AutoScalingClient.scale, out.clone()).map_err(says)?;
    same("created", reply.created.len(), 1)?;
    let twice = ask!(client, AutoScalingClient.scale, out);
    same(
        "twice",
        twice.map_err(|it| it.code()).err(),
        Some(tonic::Code::AlreadyExists),
    )?;
    let targets = all(&client, Kind::Target).await?;
    same("joined", targets.len(), before.len() + 1)?;
    let inwards = pb::ScaleRequest {
        group: "rush".to_owned(),
        leaves: vec![server.address],
        ..Default::default()
    };
    ask!(client, AutoScalingClient.scale, inwards).map_err(says)?;
    ask!(client, AutoScalingClient.update, object()).map_err(says)?;
    let groups = ask!(client, AutoScalingClient.list, pb::ListRequest::default());
    same("groups", listed(&groups.map_err(says)?), 1)?;
    ask!(client, AutoScalingClient.delete, remove("rush")).map_err(says)?;
    same("left", all(&client, Kind::Target).await?, before)
}

pub(super) async fn everything_is_described_and_healthy<H: Host>(pair: Pair<H>) -> Finding {
    use anyedge_proto::reflection::ServerReflectionRequest;
    use anyedge_proto::reflection::server_reflection_client::ServerReflectionClient;
    use anyedge_proto::reflection::server_reflection_request::MessageRequest;
    use anyedge_proto::reflection::server_reflection_response::MessageResponse;
    let (member, client) = alone(&pair).await?;
    for service in ["", "anyedge.control.v1.Table"] {
        let service = service.to_owned();
        let answer = ask!(client, HealthClient.check, HealthCheckRequest { service });
        same("health", answer.map_err(says)?.status, 1)?;
    }
    let asked = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("anyedge.table.v1.Refusal".to_owned()),
        MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".to_owned()),
    ];
    let asked = asked.map(|request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(request),
    });
    let mut reflection = ServerReflectionClient::new(client.channel(member.at));
    let asked = futures_util::stream::iter(asked);
    let answers = reflection.server_reflection_info(asked).await;
    let mut answers = answers.map_err(says)?.into_inner();
    let mut services = Vec::new();
    let mut files = 0;
    while let Some(answer) = answers.message().await.map_err(says)? {
        match answer.message_response {
            Some(MessageResponse::ListServicesResponse(list)) => services = list.service,
            Some(MessageResponse::FileDescriptorResponse(_)) => files += 1,
            other => return Err(format!("{other:?}")),
        }
    }
    let ours = services
        .iter()
        .filter(|it| it.name.starts_with("anyedge.control.v1."));
    same("services and files", (ours.count(), files), (15, 2))
}
