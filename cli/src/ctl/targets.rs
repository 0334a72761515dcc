//! `ctl targets` and `ctl target`: what takes flows, with which weight, and how it fares.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyedge_ccn::table::change::Change;
use anyedge_ccn::table::object::{Kind, Kinded as _, Target, TargetKind};
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
            "clb": target.clb, "listener": target.listener, "ip": ip.to_string(),
            "port": target.port, "weight": target.weight,
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
    let (name, change, what) = match command {
        TargetCommand::Set { target, weight } => {
            parse(target)?;
            let names = vec![target.clone()];
            let what = format!("weight {weight}");
            (target, Change::SetTargetWeight(names, *weight), what)
        }
        TargetCommand::Bind {
            target,
            weight,
            host,
        } => {
            let weight = weight.unwrap_or(Target::WEIGHT_DEFAULT);
            let bound = bound(session, target, weight, host.as_deref()).await?;
            (
                target,
                Change::RegisterTargets(vec![bound]),
                "bound".to_owned(),
            )
        }
        TargetCommand::Unbind { target } => {
            parse(target)?;
            let names = vec![target.clone()];
            (
                target,
                Change::DeregisterTargets(names),
                "unbound".to_owned(),
            )
        }
    };
    let reply = session.change(change).await?;
    done(reply.revision, &format!("target {name} {what}"), as_json)
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
