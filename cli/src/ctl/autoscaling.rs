//! `ctl autoscaling`: groups of servers, and who joins or leaves them.

use std::net::IpAddr;

use anyedge_ccn::table::change::{Change, PutMode};
use anyedge_ccn::table::object::{AutoScalingGroup, Key, Kind, Kinded as _, ScalingServer};

use super::objects::done;
use super::session::Session;
use super::targets::usual_weight;
use super::trouble::Trouble;
use crate::args::AutoscalingCommand;

/// Does what `command` says.
pub(crate) async fn change(
    session: &Session,
    command: &AutoscalingCommand,
    as_json: bool,
) -> Result<(), Trouble> {
    let usual = match command {
        AutoscalingCommand::Create { weight: None, .. } => usual_weight(session).await?,
        _ => 0,
    };
    let (change, what) = read(command, usual);
    let reply = session.change(change).await?;
    done(reply.revision, &what, as_json)
}

/// The change of the table, and what it does in words; `usual` is the weight where none is given.
fn read(command: &AutoscalingCommand, usual: i32) -> (Change, String) {
    match command {
        AutoscalingCommand::Create {
            group,
            listeners,
            port,
            weight,
        } => {
            let object = AutoScalingGroup {
                name: group.clone(),
                listeners: listeners.clone(),
                port: (*port).into(),
                weight: weight.unwrap_or(usual),
                servers: Vec::new(),
            };
            let change = Change::Put(object.into_object(), PutMode::Create);
            (change, format!("auto-scaling group {group} created"))
        }
        AutoscalingCommand::Out {
            group,
            servers,
            host,
        } => {
            let server = |ip: &IpAddr| ScalingServer {
                address: (*ip).into(),
                host: host.clone(),
            };
            let change = Change::Scale {
                group: group.clone(),
                joins: servers.iter().map(server).collect(),
                leaves: Vec::new(),
            };
            (change, format!("{} joined {group}", listed(servers)))
        }
        AutoscalingCommand::In { group, servers } => {
            let change = Change::Scale {
                group: group.clone(),
                joins: Vec::new(),
                leaves: servers.iter().map(|ip| (*ip).into()).collect(),
            };
            (change, format!("{} left {group}", listed(servers)))
        }
        AutoscalingCommand::Remove { group } => {
            let key = Key::new(Kind::AutoScalingGroup, group);
            let what = format!("auto-scaling group {group} removed");
            (Change::Remove(key), what)
        }
    }
}

fn listed(servers: &[IpAddr]) -> String {
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    servers.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_join_with_their_host_and_leave_by_their_addresses() {
        let servers = vec![IpAddr::from([10, 0, 0, 21])];
        let group = || "web".to_owned();
        let (out, told) = read(
            &AutoscalingCommand::Out {
                group: group(),
                servers: servers.clone(),
                host: "host.web-3".to_owned(),
            },
            10,
        );
        assert_eq!(told, "10.0.0.21 joined web");
        let Change::Scale { joins, leaves, .. } = out else {
            panic!("a scaling: {out:?}");
        };
        assert_eq!((joins[0].host.as_str(), leaves.len()), ("host.web-3", 0));
        let inwards = AutoscalingCommand::In {
            group: group(),
            servers,
        };
        let (back, told) = read(&inwards, 10);
        assert_eq!(told, "10.0.0.21 left web");
        let leaves = vec![joins[0].address];
        let expected = Change::Scale {
            group: group(),
            joins: Vec::new(),
            leaves,
        };
        assert_eq!(back, expected);
    }
}
