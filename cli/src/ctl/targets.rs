//! `ctl targets` and `ctl target`: what takes flows, with which weight, and how it fares.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyedge_ccn::table::change::Change;
use anyedge_ccn::table::object::{
    Clb, Host, Kind, Kinded as _, Profile, Settings, Target, TargetKind,
};
use anyedge_net::switch;
use anyedge_proto::control::v1::target_client::TargetClient;
use anyedge_proto::control::v1::{HealthStatusDetail, ListRequest};
use serde_json::{Value, json};
use tonic::Code;

use super::objects::done;
use super::session::Session;
use super::show;
use super::trouble::Trouble;
use crate::args::TargetCommand;

const NAME_HINT: &str = "CLB/LISTENER/IP:PORT, such as gz-main/web/10.0.0.12:8080";

/// Lists targets, those of `of` or all.
pub(crate) async fn list(
    session: &Session,
    of: Option<&str>,
    as_json: bool,
) -> Result<(), Trouble> {
    let found = session.list(Kind::Target, "").await?;
    let networks = Networks::of(session).await?;
    let health = health(session).await?;
    let mut targets: Vec<&Target> = found.iter().filter_map(|(_, it)| Target::of(it)).collect();
    targets.retain(|target| {
        of.is_none_or(|of| {
            let name = target.full_name();
            name == of
                || name
                    .strip_prefix(of)
                    .is_some_and(|rest| rest.starts_with('/'))
        })
    });
    targets.sort_by_key(|target| (target.parent(), target.place));
    let row = |target: &&Target| {
        let health = health.get(&target.full_name()).copied();
        let ip = std::net::IpAddr::from(target.address);
        json!({
            "clb": target.clb, "listener": target.listener, "network": networks.label(target),
            "ip": ip.to_string(), "port": target.port, "weight": target.weight,
            "health": word(health.unwrap_or(HealthStatusDetail::Unknown)),
        })
    };
    let rows: Vec<Value> = targets.iter().map(row).collect();
    if as_json {
        return show::json(&json!({ "targets": rows }));
    }
    if rows.is_empty() {
        return show::print("there is no target\n");
    }
    show::print(&show::table_of(&rows))
}

/// The networks of load balancers and hosts, by their names.
struct Networks {
    clbs: BTreeMap<String, String>,
    hosts: BTreeMap<String, String>,
}

impl Networks {
    async fn of(session: &Session) -> Result<Networks, Trouble> {
        let clbs = session.list(Kind::Clb, "").await?;
        let hosts = session.list(Kind::Host, "").await?;
        let clbs = clbs.iter().filter_map(|(_, it)| Clb::of(it));
        let hosts = hosts.iter().filter_map(|(_, it)| Host::of(it));
        Ok(Networks {
            clbs: clbs
                .map(|it| (it.name.clone(), it.network.clone()))
                .collect(),
            hosts: hosts
                .map(|it| (it.name.clone(), it.network.clone()))
                .collect(),
        })
    }

    /// Whether a target is in the network of its load balancer.
    fn label(&self, target: &Target) -> &'static str {
        let (clb, host) = (self.clbs.get(&target.clb), self.hosts.get(&target.host));
        let same = clb.is_some() && clb == host || !switch::is_on("S-BE19");
        if same && target.kind != TargetKind::Idc {
            "own VPC"
        } else {
            "other network"
        }
    }
}

/// As the product's API says it.
const fn word(detail: HealthStatusDetail) -> &'static str {
    match detail {
        HealthStatusDetail::Alive => "Alive",
        HealthStatusDetail::Dead => "Dead",
        HealthStatusDetail::Close => "Close",
        HealthStatusDetail::Unknown => "Unknown",
    }
}

/// What nodes report of targets, by their names.
async fn health(session: &Session) -> Result<BTreeMap<String, HealthStatusDetail>, Trouble> {
    let mut found = BTreeMap::new();
    let mut request = ListRequest::default();
    loop {
        let ask =
            |channel, request| async move { TargetClient::new(channel).health(request).await };
        let reply = match session.client.send(request.clone(), ask).await {
            Ok(reply) => reply,
            // A controller without a keeper knows nothing of targets.
            Err(status) if status.code() == Code::Unimplemented => return Ok(found),
            Err(status) => return Err(status.into()),
        };
        for target in reply.targets {
            let detail = target.detail();
            found.insert(target.target_id, detail);
        }
        if reply.next_after.is_empty() {
            return Ok(found);
        }
        request.after = reply.next_after;
    }
}

/// Changes one target.
pub(crate) async fn change(
    session: &Session,
    command: &TargetCommand,
    as_json: bool,
) -> Result<(), Trouble> {
    let known = |targets: &[String]| -> Result<Vec<String>, Trouble> {
        for target in targets {
            parse(target)?;
        }
        Ok(targets.to_vec())
    };
    let (names, change, what) = match command {
        TargetCommand::Set { targets, weight } => {
            let what = format!("weight {weight}");
            let change = Change::SetTargetWeight(known(targets)?, *weight);
            (targets.clone(), change, what)
        }
        TargetCommand::Move { targets, port } => {
            let change = Change::SetTargetPort(known(targets)?, (*port).into());
            (targets.clone(), change, format!("port {port}"))
        }
        TargetCommand::Bind {
            targets,
            port,
            weight,
            host,
        } => {
            let weight = match weight {
                Some(weight) => *weight,
                None => usual_weight(session).await?,
            };
            let names: Vec<String> = targets.iter().map(|name| with_port(name, *port)).collect();
            let mut bound_ones = Vec::new();
            for name in &names {
                bound_ones.push(bound(session, name, weight, host.as_deref()).await?);
            }
            let change = Change::RegisterTargets(bound_ones);
            (names, change, "bound".to_owned())
        }
        TargetCommand::Unbind { targets } => {
            let change = Change::DeregisterTargets(known(targets)?);
            (targets.clone(), change, "unbound".to_owned())
        }
    };
    let reply = session.batch(change, names.len()).await?;
    let names = names.join(", ");
    done(reply.revision, &format!("target {names} {what}"), as_json)
}

/// The weight of a target that gives none, by the table's profile.
pub(crate) async fn usual_weight(session: &Session) -> Result<i32, Trouble> {
    let found = session.list(Kind::Settings, "").await?;
    let settings = found.iter().find_map(|(_, it)| Settings::of(it));
    let profile = settings.map_or_else(Profile::default, |settings| settings.profile);
    Ok(profile.weight_default().into())
}

/// The name of a target, with that port where it has none.
fn with_port(name: &str, port: Option<u16>) -> String {
    let bare = address_text(name)
        .trim_start_matches('[')
        .trim_end_matches(']');
    match (bare.parse::<std::net::IpAddr>(), port) {
        (Ok(address), Some(port)) => {
            let parent = name.strip_suffix(address_text(name)).unwrap_or_default();
            format!("{parent}{}", SocketAddr::new(address, port))
        }
        _ => name.to_owned(),
    }
}

/// What stands behind the last slash of a target's name.
fn address_text(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The target that is to be bound, with the host that has its address.
async fn bound(
    session: &Session,
    name: &str,
    weight: i32,
    host: Option<&str>,
) -> Result<Target, Trouble> {
    let (parent, address) = parse(name)?;
    let host = match host {
        Some(host) => host.to_owned(),
        None => {
            let found = session.list(Kind::Target, "").await?;
            let mut targets = found.iter().filter_map(|(_, it)| Target::of(it));
            let same = targets.find(|it| std::net::IpAddr::from(it.address) == address.ip());
            let same = same.ok_or_else(|| {
                Trouble::refused(
                    format_args!(
                        "no target has the address {} yet, so its host is not known",
                        address.ip()
                    ),
                    "--host NAME; `anyedge ctl get host` lists them",
                )
            })?;
            same.host.clone()
        }
    };
    let (clb, listener, rule) = match parent[..] {
        [clb, listener] => (clb, listener, ""),
        [clb, listener, rule] => (clb, listener, rule),
        _ => {
            return Err(Trouble::refused(
                format_args!("`{name}` is no target"),
                NAME_HINT,
            ));
        }
    };
    Ok(Target {
        clb: clb.to_owned(),
        listener: listener.to_owned(),
        rule: rule.to_owned(),
        address: address.ip().into(),
        port: address.port().into(),
        weight,
        host,
        kind: TargetKind::Instance,
        place: 0,
    })
}

/// What it belongs to, and its address.
fn parse(name: &str) -> Result<(Vec<&str>, SocketAddr), Trouble> {
    let wrong = || Trouble::refused(format_args!("`{name}` is no target"), NAME_HINT);
    let (parent, address) = name.rsplit_once('/').ok_or_else(wrong)?;
    let parent: Vec<&str> = parent.split('/').collect();
    if !(2..=3).contains(&parent.len()) || parent.iter().any(|part| part.is_empty()) {
        return Err(wrong());
    }
    Ok((parent, address.parse().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_port_is_for_targets_that_name_none() {
        let named = |name| with_port(name, Some(8_080));
        assert_eq!(named("gz-main/web/10.0.0.12"), "gz-main/web/10.0.0.12:8080");
        assert_eq!(
            named("gz-main/web/10.0.0.12:80"),
            "gz-main/web/10.0.0.12:80"
        );
        assert_eq!(named("gz-main/web/fd00::1"), "gz-main/web/[fd00::1]:8080");
        assert_eq!(
            with_port("gz-main/web/10.0.0.12", None),
            "gz-main/web/10.0.0.12"
        );
    }

    #[test]
    fn a_target_is_in_the_network_of_its_load_balancer_or_in_another() {
        let of = |network: &str| [("it".to_owned(), network.to_owned())].into();
        let networks = |clb, host| Networks {
            clbs: of(clb),
            hosts: of(host),
        };
        let target = Target {
            clb: "it".to_owned(),
            listener: "web".to_owned(),
            rule: String::new(),
            address: "10.0.0.12".parse().expect("an address"),
            port: 80,
            weight: 10,
            host: "it".to_owned(),
            kind: TargetKind::Instance,
            place: 0,
        };
        assert_eq!(networks("vpc-1", "vpc-1").label(&target), "own VPC");
        assert_eq!(networks("vpc-1", "vpc-2").label(&target), "other network");
    }

    #[test]
    fn a_target_is_read_by_its_full_name() {
        let (parent, address) = parse("gz-main/web/10.0.0.12:8080").expect("it is one");
        assert_eq!((parent, address.port()), (vec!["gz-main", "web"], 8080));
        assert!(parse("gz-main/site/shop/[fd00::1]:443").is_ok());
        for wrong in [
            "gz-main/10.0.0.12:8080",
            "gz-main/web/10.0.0.12",
            "web",
            "//10.0.0.1:80",
        ] {
            let trouble = parse(wrong).expect_err("it is none");
            assert_eq!(trouble.hint.as_deref(), Some(NAME_HINT), "{wrong}");
        }
    }
}
