//! Auto-scaling groups as messages.

use anyedge_net::flow::Address;
use anyedge_proto::table::v1 as pb;

use super::super::change::Change;
use super::super::object::{AutoScalingGroup, ScalingServer, Target};
use super::super::refusal::Refusal;
use super::{address_from, address_to, addresses_from, addresses_to};

impl From<&AutoScalingGroup> for pb::AutoScalingGroup {
    fn from(group: &AutoScalingGroup) -> pb::AutoScalingGroup {
        pb::AutoScalingGroup {
            name: group.name.clone(),
            listeners: group.listeners.clone(),
            port: group.port,
            weight: Some(group.weight),
            servers: group.servers.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<&pb::AutoScalingGroup> for AutoScalingGroup {
    type Error = Refusal;

    fn try_from(group: &pb::AutoScalingGroup) -> Result<AutoScalingGroup, Refusal> {
        Ok(AutoScalingGroup {
            name: group.name.clone(),
            listeners: group.listeners.clone(),
            port: group.port,
            weight: group.weight.unwrap_or(Target::WEIGHT_DEFAULT),
            servers: servers_from(&group.servers)?,
        })
    }
}

impl From<&ScalingServer> for pb::ScalingServer {
    fn from(server: &ScalingServer) -> pb::ScalingServer {
        pb::ScalingServer {
            address: address_to(&server.address),
            host: server.host.clone(),
        }
    }
}

impl TryFrom<&pb::ScalingServer> for ScalingServer {
    type Error = Refusal;

    fn try_from(server: &pb::ScalingServer) -> Result<ScalingServer, Refusal> {
        Ok(ScalingServer {
            address: address_from(&server.address)?,
            host: server.host.clone(),
        })
    }
}

fn servers_from(servers: &[pb::ScalingServer]) -> Result<Vec<ScalingServer>, Refusal> {
    servers.iter().map(ScalingServer::try_from).collect()
}

pub(super) fn scale_to(
    group: String,
    joins: &[ScalingServer],
    leaves: &[Address],
) -> pb::change::Change {
    pb::change::Change::Scale(pb::change::Scale {
        group,
        joins: joins.iter().map(Into::into).collect(),
        leaves: addresses_to(leaves),
    })
}

pub(super) fn scale_from(it: pb::change::Scale) -> Result<Change, Refusal> {
    Ok(Change::Scale {
        group: it.group,
        joins: servers_from(&it.joins)?,
        leaves: addresses_from(&it.leaves)?,
    })
}
