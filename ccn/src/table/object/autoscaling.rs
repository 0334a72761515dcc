//! Auto-scaling groups: servers that are targets of some listeners for as long as they are in the group.

use anyedge_net::flow::Address;

use super::balancer::{Target, TargetKind};

/// Servers that come to all of its listeners when they join, and go from there when they leave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AutoScalingGroup {
    /// Bare name.
    pub name: String,
    /// Listeners, or rules of layer 7: `gz-main/web`, `gz-main/site/shop`.
    pub listeners: Vec<String>,
    /// The port of its servers, 1-65535.
    pub port: u32,
    /// The weight of a server that joins, 0-100.
    pub weight: i32,
    /// Who is in it, in the order in which they joined.
    pub servers: Vec<ScalingServer>,
}

/// A server of an auto-scaling group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ScalingServer {
    /// Its address.
    pub address: Address,
    /// Full name of the host that has it.
    pub host: String,
}

impl AutoScalingGroup {
    /// What its servers are to its listeners, listener by listener.
    pub fn targets(&self) -> impl Iterator<Item = Target> + '_ {
        let listeners = self.listeners.iter();
        listeners.flat_map(|listener| {
            let servers = self.servers.iter();
            servers.map(|server| self.target(listener, server))
        })
    }

    /// Whether the target is there because of this group.
    pub fn brings(&self, target: &Target) -> bool {
        let is_it = |server: &ScalingServer| server.address == target.address;
        self.port == target.port
            && self.servers.iter().any(is_it)
            && self.listeners.contains(&target.parent())
    }

    fn target(&self, listener: &str, server: &ScalingServer) -> Target {
        let mut names = listener.splitn(3, '/').map(str::to_owned);
        let mut name = || names.next().unwrap_or_default();
        Target {
            clb: name(),
            listener: name(),
            rule: name(),
            address: server.address,
            port: self.port,
            weight: self.weight,
            host: server.host.clone(),
            kind: TargetKind::Instance,
            place: 0,
        }
    }
}
