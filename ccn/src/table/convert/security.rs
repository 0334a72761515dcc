//! Security groups as messages.

use anyedge_net::security_group::{ALL_PORTS, Action, Direction, Protocol};
use anyedge_proto::table::v1 as pb;

use super::super::object::{SecurityGroup, SecurityRule};
use super::super::refusal::Refusal;
use super::{choice, network_from, network_to};

impl From<&SecurityGroup> for pb::SecurityGroup {
    fn from(group: &SecurityGroup) -> pb::SecurityGroup {
        pb::SecurityGroup {
            name: group.name.clone(),
            rules: group.rules.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<&pb::SecurityGroup> for SecurityGroup {
    type Error = Refusal;

    fn try_from(group: &pb::SecurityGroup) -> Result<SecurityGroup, Refusal> {
        let rules = group.rules.iter().map(SecurityRule::try_from);
        Ok(SecurityGroup {
            name: group.name.clone(),
            rules: rules.collect::<Result<_, Refusal>>()?,
        })
    }
}

impl From<&SecurityRule> for pb::SecurityRule {
    fn from(rule: &SecurityRule) -> pb::SecurityRule {
        pb::SecurityRule {
            direction: match rule.direction {
                Direction::Ingress => pb::SecurityDirection::Ingress,
                Direction::Egress => pb::SecurityDirection::Egress,
            }
            .into(),
            action: match rule.action {
                Action::Drop => pb::SecurityAction::Drop,
                Action::Accept => pb::SecurityAction::Accept,
            }
            .into(),
            protocol: match rule.protocol {
                Protocol::All => pb::SecurityProtocol::All,
                Protocol::Tcp => pb::SecurityProtocol::Tcp,
                Protocol::Udp => pb::SecurityProtocol::Udp,
                Protocol::Icmp => pb::SecurityProtocol::Icmp,
            }
            .into(),
            peer: rule.peer.and_then(network_to),
            first_port: Some(rule.first_port),
            last_port: Some(rule.last_port),
            priority: rule.priority,
        }
    }
}

impl TryFrom<&pb::SecurityRule> for SecurityRule {
    type Error = Refusal;

    fn try_from(rule: &pb::SecurityRule) -> Result<SecurityRule, Refusal> {
        let peer = rule.peer.as_ref();
        let peer = peer.map(|peer| network_from(Some(peer))).transpose()?;
        let (first, last) = ALL_PORTS;
        Ok(SecurityRule {
            direction: match choice(rule.direction, "direction of a rule")? {
                pb::SecurityDirection::Ingress => Direction::Ingress,
                pb::SecurityDirection::Egress => Direction::Egress,
            },
            action: match choice(rule.action, "action of a rule")? {
                pb::SecurityAction::Drop => Action::Drop,
                pb::SecurityAction::Accept => Action::Accept,
            },
            protocol: match choice(rule.protocol, "protocol of a rule")? {
                pb::SecurityProtocol::All => Protocol::All,
                pb::SecurityProtocol::Tcp => Protocol::Tcp,
                pb::SecurityProtocol::Udp => Protocol::Udp,
                pb::SecurityProtocol::Icmp => Protocol::Icmp,
            },
            peer,
            first_port: rule.first_port.unwrap_or(first.into()),
            last_port: rule.last_port.or(rule.first_port).unwrap_or(last.into()),
            priority: rule.priority,
        })
    }
}
