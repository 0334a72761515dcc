//! Security groups: who may open flows to what they are bound to, and from there.

use core::net::IpAddr;

use anyedge_net::security_group::{ALL_PORTS, Action, Direction, PRIORITY_MAX, Protocol, Rule};

use super::ccn::Network;

/// Rules in order, of which the first that matches decides. Without any it rejects all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecurityGroup {
    /// Bare name.
    pub name: String,
    /// In order.
    pub rules: Vec<SecurityRule>,
}

/// A rule, whose numbers may be out of range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SecurityRule {
    /// Which way.
    pub direction: Direction,
    /// What becomes of what it matches.
    pub action: Action,
    /// Of which protocol.
    pub protocol: Protocol,
    /// Who is at the other end; `None`: anybody, of both families.
    pub peer: Option<Network>,
    /// 0-65535.
    pub first_port: u32,
    /// 0-65535.
    pub last_port: u32,
    /// 0-100; the smaller goes first in its group.
    pub priority: u32,
}

impl From<&Rule> for SecurityRule {
    fn from(rule: &Rule) -> SecurityRule {
        let network = |net: ipnet::IpNet| Network {
            address: net.network().into(),
            length: net.prefix_len().into(),
        };
        let (first_port, last_port) = rule.ports;
        SecurityRule {
            direction: rule.direction,
            action: rule.action,
            protocol: rule.protocol,
            peer: rule.peer.map(network),
            first_port: first_port.into(),
            last_port: last_port.into(),
            priority: rule.priority.into(),
        }
    }
}

impl SecurityRule {
    /// The rule, if its numbers are in range and fit together.
    pub fn checked(&self) -> Option<Rule> {
        let port = |port: u32| u16::try_from(port).ok();
        let ports = (port(self.first_port)?, port(self.last_port)?);
        let peer = match self.peer {
            Some(network) if network.is_valid() => {
                let length = u8::try_from(network.length).ok()?;
                Some(ipnet::IpNet::new(IpAddr::from(network.address), length).ok()?)
            }
            Some(_) => return None,
            None => None,
        };
        let priority = u8::try_from(self.priority).ok()?;
        let has_ports = self.protocol != Protocol::Icmp || ports == ALL_PORTS;
        let fits = priority <= PRIORITY_MAX && ports.0 <= ports.1 && has_ports;
        fits.then_some(Rule {
            direction: self.direction,
            action: self.action,
            protocol: self.protocol,
            peer,
            ports,
            priority,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_the_same_in_the_table_and_out_of_it() {
        for text in [
            "203.0.113.0/24+8080 accept",
            "3: any+icmp drop",
            "::/0+udp/1-2 accept",
        ] {
            let rule = Rule::parse(Direction::Ingress, text).expect("a sound rule");
            let kept = SecurityRule::from(&rule);
            assert_eq!(kept.checked(), Some(rule), "{text}");
            let wrong = [
                SecurityRule {
                    first_port: 65_536,
                    ..kept
                },
                SecurityRule {
                    last_port: 0,
                    first_port: 1,
                    ..kept
                },
                SecurityRule {
                    priority: 101,
                    ..kept
                },
            ];
            assert!(wrong.iter().all(|rule| rule.checked().is_none()), "{text}");
        }
    }
}
