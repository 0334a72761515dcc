//! Nodes, interfaces and paths as messages.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use anyedge_net::flow::Family;
use anyedge_net::wire::outer::Encap;
use anyedge_proto::table::v1 as pb;

use super::super::object::{ClbNode, Ends, Eni, Host, HostState, Path, Pop, Underlay};
use super::super::refusal::{Reason, Refusal};
use super::{
    addresses_from, addresses_to, choice, format, membership_from, membership_to, nanos_to,
};

fn underlay_to(underlay: Underlay) -> Option<pb::Underlay> {
    let Underlay { v4, v6 } = underlay;
    let present = |given: bool, octets: &[u8]| if given { octets.to_vec() } else { Vec::new() };
    Some(pb::Underlay {
        v4: present(!v4.is_unspecified(), &v4.octets()),
        v6: present(!v6.is_unspecified(), &v6.octets()),
    })
}

fn underlay_from(underlay: Option<&pb::Underlay>) -> Result<Underlay, Refusal> {
    let (mut v4, mut v6) = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
    let Some(underlay) = underlay else {
        return Ok(Underlay { v4, v6 });
    };
    if !underlay.v4.is_empty() {
        let octets = <[u8; 4]>::try_from(underlay.v4.as_slice());
        v4 = octets
            .map_err(|_| format("an IPv4 address has 4 bytes"))?
            .into();
    }
    if !underlay.v6.is_empty() {
        let octets = <[u8; 16]>::try_from(underlay.v6.as_slice());
        v6 = octets
            .map_err(|_| format("an IPv6 address has 16 bytes"))?
            .into();
    }
    Ok(Underlay { v4, v6 })
}

impl From<&Pop> for pb::Pop {
    fn from(pop: &Pop) -> pb::Pop {
        pb::Pop {
            name: pop.name.clone(),
            underlay: underlay_to(pop.underlay),
            draining: pop.draining,
        }
    }
}

impl TryFrom<&pb::Pop> for Pop {
    type Error = Refusal;

    fn try_from(pop: &pb::Pop) -> Result<Pop, Refusal> {
        Ok(Pop {
            name: pop.name.clone(),
            underlay: underlay_from(pop.underlay.as_ref())?,
            draining: pop.draining,
        })
    }
}

impl From<&ClbNode> for pb::ClbNode {
    fn from(node: &ClbNode) -> pb::ClbNode {
        pb::ClbNode {
            name: node.name.clone(),
            region: node.region.clone(),
            underlay: underlay_to(node.underlay),
            membership: membership_to(node.membership).into(),
            weight: node.weight,
            returns_drained: node.returns_drained,
        }
    }
}

impl TryFrom<&pb::ClbNode> for ClbNode {
    type Error = Refusal;

    fn try_from(node: &pb::ClbNode) -> Result<ClbNode, Refusal> {
        Ok(ClbNode {
            name: node.name.clone(),
            region: node.region.clone(),
            underlay: underlay_from(node.underlay.as_ref())?,
            membership: membership_from(node.membership)?,
            weight: node.weight,
            returns_drained: node.returns_drained,
        })
    }
}

impl From<&Host> for pb::Host {
    fn from(host: &Host) -> pb::Host {
        pb::Host {
            name: host.name.clone(),
            region: host.region.clone(),
            underlay: underlay_to(host.underlay),
            zone: host.zone.clone(),
            network: host.network.clone(),
            state: match host.state {
                HostState::Normal => pb::HostState::Normal,
                HostState::Isolated => pb::HostState::Isolated,
                HostState::Expired => pb::HostState::Expired,
                HostState::NoBandwidth => pb::HostState::NoBandwidth,
            }
            .into(),
            security_groups: host.security_groups.clone(),
        }
    }
}

impl TryFrom<&pb::Host> for Host {
    type Error = Refusal;

    fn try_from(host: &pb::Host) -> Result<Host, Refusal> {
        Ok(Host {
            name: host.name.clone(),
            region: host.region.clone(),
            underlay: underlay_from(host.underlay.as_ref())?,
            zone: host.zone.clone(),
            network: host.network.clone(),
            state: match choice(host.state, "state of a host")? {
                pb::HostState::Normal => HostState::Normal,
                pb::HostState::Isolated => HostState::Isolated,
                pb::HostState::Expired => HostState::Expired,
                pb::HostState::NoBandwidth => HostState::NoBandwidth,
            },
            security_groups: host.security_groups.clone(),
        })
    }
}

impl From<&Eni> for pb::Eni {
    fn from(eni: &Eni) -> pb::Eni {
        pb::Eni {
            name: eni.name.clone(),
            zone: eni.zone.clone(),
            network: eni.network.clone(),
            host: eni.host.clone(),
            primary: eni.primary,
            addresses: addresses_to(&eni.addresses),
        }
    }
}

impl TryFrom<&pb::Eni> for Eni {
    type Error = Refusal;

    fn try_from(eni: &pb::Eni) -> Result<Eni, Refusal> {
        Ok(Eni {
            name: eni.name.clone(),
            zone: eni.zone.clone(),
            network: eni.network.clone(),
            host: eni.host.clone(),
            primary: eni.primary,
            addresses: addresses_from(&eni.addresses)?,
        })
    }
}

impl From<&Path> for pb::Path {
    fn from(path: &Path) -> pb::Path {
        use pb::path_ends::{Backbone, Ccn, Ends as Kind, Fabric, Mesh};
        let ends = match path.ends.clone() {
            Ends::Ccn { pop, region } => Kind::Ccn(Ccn { pop, region }),
            Ends::Fabric { host } => Kind::Fabric(Fabric { host }),
            Ends::Mesh { region } => Kind::Mesh(Mesh { region }),
            Ends::Backbone {
                regions: [one, other],
            } => Kind::Backbone(Backbone { one, other }),
        };
        pb::Path {
            name: path.name.clone(),
            ends: Some(pb::PathEnds { ends: Some(ends) }),
            encap: match path.encap {
                Encap::Gre => pb::Encap::Gre,
                Encap::GreUdp => pb::Encap::GreUdp,
                Encap::Grpc => pb::Encap::Grpc,
                Encap::Plain => pb::Encap::Plain,
                Encap::Quic => pb::Encap::Quic,
            }
            .into(),
            underlay_v6: path.underlay == Family::V6,
            mtu: path.mtu,
            rtt_ns: nanos_to(path.rtt),
            draining: path.draining,
        }
    }
}

impl TryFrom<&pb::Path> for Path {
    type Error = Refusal;

    fn try_from(path: &pb::Path) -> Result<Path, Refusal> {
        use pb::path_ends::Ends as Kind;
        let ends = path.ends.as_ref().and_then(|ends| ends.ends.clone());
        let ends = match ends.ok_or_else(|| Reason::Missing.because("the ends of a path"))? {
            Kind::Ccn(it) => Ends::Ccn {
                pop: it.pop,
                region: it.region,
            },
            Kind::Fabric(it) => Ends::Fabric { host: it.host },
            Kind::Mesh(it) => Ends::Mesh { region: it.region },
            Kind::Backbone(it) => Ends::Backbone {
                regions: [it.one, it.other],
            },
        };
        Ok(Path {
            name: path.name.clone(),
            ends,
            encap: match choice(path.encap, "encapsulation")? {
                pb::Encap::Gre => Encap::Gre,
                pb::Encap::GreUdp => Encap::GreUdp,
                pb::Encap::Grpc => Encap::Grpc,
                pb::Encap::Plain => Encap::Plain,
                pb::Encap::Quic => Encap::Quic,
                pb::Encap::Unspecified => {
                    return Err(Reason::Missing.because("an encapsulation"));
                }
            },
            underlay: if path.underlay_v6 {
                Family::V6
            } else {
                Family::V4
            },
            mtu: path.mtu,
            rtt: Duration::from_nanos(path.rtt_ns),
            draining: path.draining,
        })
    }
}
