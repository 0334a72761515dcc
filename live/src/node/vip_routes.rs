//! The VIPs of a POP as routes of its kernel: each address that the table has it publish is led to its TUN.
//!
//! They follow the table, which is why the thread that does this alone keeps the right to administer the network.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyedge_net::id::NodeId;
use anyedge_net::route_table::RouteTable;

use crate::netlink::{Netlink, Route};
use crate::prefix::Prefix;

/// What is led to the device.
pub(super) struct VipRoutes {
    interface: String,
    led: BTreeSet<IpAddr>,
}

impl VipRoutes {
    /// `led` is led to `interface` already.
    pub(super) fn new(interface: &str, led: BTreeSet<IpAddr>) -> VipRoutes {
        VipRoutes {
            interface: interface.to_owned(),
            led,
        }
    }

    /// Leads what `table` adds.
    pub(super) fn add(&mut self, table: &RouteTable, own: NodeId) {
        let wanted = published(table, own);
        let added: Vec<IpAddr> = wanted.difference(&self.led).copied().collect();
        self.change(&added, Netlink::add_route);
        self.led.extend(added);
    }

    /// Leads no more what `table` does not have.
    pub(super) fn remove(&mut self, table: &RouteTable, own: NodeId) {
        let wanted = published(table, own);
        let gone: Vec<IpAddr> = self.led.difference(&wanted).copied().collect();
        self.change(&gone, Netlink::remove_route);
        self.led = wanted;
    }

    fn change(
        &self,
        addresses: &[IpAddr],
        change: impl Fn(&Netlink, &Route) -> anyhow::Result<()>,
    ) {
        if addresses.is_empty() {
            return;
        }
        let route = |address: &IpAddr| Route {
            destination: Prefix::host(*address),
            via: None,
            interface: Some(self.interface.clone()),
            source: None,
        };
        let changed = Netlink::open().and_then(|netlink| {
            let mut routes = addresses.iter().map(route);
            routes.try_for_each(|route| change(&netlink, &route))
        });
        if let Err(error) = changed {
            tracing::error!(event = "VipRouteTrouble", "{error:#}");
        }
    }
}

/// The addresses that `own` publishes by `table`.
pub(super) fn published(table: &RouteTable, own: NodeId) -> BTreeSet<IpAddr> {
    let vips = table.vips.iter();
    let own = vips.filter(|(_, vip)| vip.publishers.contains(&own));
    own.map(|(address, _)| IpAddr::from(*address)).collect()
}
