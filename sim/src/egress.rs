//! Egress: where hosts of a client population may send, by their security groups.
//!
//! The groups are the file's and never change in a run, so asking them for every packet is asking them for the first of
//! each flow. Rules meet the packet as it is on the wire, VIP and listen port; or, to reproduce a document that writes
//! them so, the port of the targets behind the listener.

use std::collections::BTreeMap;

use anyedge_net::flow::Address;
use anyedge_net::security_group::Filter;
use anyedge_net::switch;
use anyedge_net::wire::{self, tcp, udp};
use anyedge_topologies::{Client, EgressPort, Protocol, Topology};

use crate::internet::PopulationId;

/// The filters of populations that have groups.
#[derive(Default)]
pub(crate) struct Egress {
    filters: BTreeMap<PopulationId, Filter>,
    /// VIP, protocol and listen port to the targets' port, if rules name that one.
    backend_ports: BTreeMap<(Address, u8, u16), u16>,
}

impl Egress {
    /// No filter yet, and the ports that rules of `topology` mean.
    pub(crate) fn of(topology: &Topology) -> Egress {
        let mut egress = Egress::default();
        if topology.defaults.sg_egress_port == EgressPort::Listener {
            return egress;
        }
        for vip in topology.vips.values() {
            let clb = topology.clbs.get(&vip.clb);
            for listener in clb.into_iter().flat_map(|clb| clb.listeners.values()) {
                let protocol = match listener.protocol {
                    Protocol::Tcp => tcp::PROTOCOL,
                    Protocol::Udp => udp::PROTOCOL,
                };
                let targets = topology.targets.get(&listener.targets);
                let Some(server) = targets.and_then(|targets| targets.servers.first()) else {
                    continue;
                };
                for address in vip.address.iter() {
                    let place = (address.into(), protocol, listener.port);
                    egress.backend_ports.insert(place, server.port);
                }
            }
        }
        egress
    }

    /// The population has the groups of `client`.
    pub(crate) fn add(&mut self, topology: &Topology, client: &Client, population: PopulationId) {
        if let Some(filter) = topology.outward(client) {
            self.filters.insert(population, filter);
        }
    }

    /// Whether a packet of a host of the population may leave it.
    pub(crate) fn lets_out(&self, population: PopulationId, packet: &[u8]) -> bool {
        if self.filters.is_empty() {
            return true;
        }
        let Some(filter) = self.filters.get(&population) else {
            return true;
        };
        let Ok(parsed) = wire::parse(packet) else {
            return true;
        };
        if parsed.is_later_fragment() || !switch::is_on("S-SG09") {
            return true;
        }
        let mut flow = parsed.flow;
        let place = (flow.dst, flow.protocol, flow.dst_port);
        if let Some(port) = self.backend_ports.get(&place) {
            flow.dst_port = *port;
        }
        filter.lets_out(&flow)
    }
}
