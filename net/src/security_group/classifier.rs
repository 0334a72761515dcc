//! Classifier: many rules in one look-up.
//!
//! The ends of all ranges cut the addresses, and the ports of each protocol, into intervals within which the same rules
//! match. Beside each interval stands the set of those rules as bits, in the rules' order. A packet finds its interval
//! in both tables; the lowest bit that both sets have is the first rule that matches. So 512 rules cost two binary
//! searches and at most eight words.
//!
//! Invariant: the first interval of each table begins at the smallest value, so that every value is in one.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{Action, Protocol, Rule};
use crate::flow::{Address, FlowKey};
use crate::switch;
use crate::wire::{icmp, tcp, udp};

/// Rules of one direction.
#[derive(Clone, Debug)]
pub(super) struct Classifier {
    /// By the place of the rule.
    actions: Vec<Action>,
    /// Where no rule matches.
    otherwise: Action,
    v4: Intervals<u32>,
    v6: Intervals<u128>,
    tcp: Intervals<u16>,
    udp: Intervals<u16>,
    icmp: Intervals<u16>,
    /// Whatever else there is over IP.
    other: Intervals<u16>,
}

/// Intervals of values and who matches in each.
#[derive(Clone, Debug)]
struct Intervals<T> {
    /// The first value of each, in order.
    starts: Vec<T>,
    /// A set for each, of `words` words.
    sets: Vec<u64>,
    words: usize,
}

impl Classifier {
    /// Decides by `rules`, the first of which that matches counts, else `otherwise`.
    pub(super) fn new(rules: &[Rule], otherwise: Action) -> Classifier {
        let ports = |protocol: Option<Protocol>| {
            let of = |rule: &Rule| ports_of(rule, protocol);
            Intervals::new(rules.iter().map(of), 0, |end: u16| end.checked_add(1))
        };
        Classifier {
            actions: rules.iter().map(|rule| rule.action).collect(),
            otherwise,
            v4: Intervals::new(rules.iter().map(v4_of), 0, |end: u32| end.checked_add(1)),
            v6: Intervals::new(rules.iter().map(v6_of), 0, |end: u128| end.checked_add(1)),
            tcp: ports(Some(Protocol::Tcp)),
            udp: ports(Some(Protocol::Udp)),
            icmp: ports(Some(Protocol::Icmp)),
            other: ports(None),
        }
    }

    /// What becomes of a packet of `flow` whose other end is `peer`.
    #[inline]
    pub(super) fn decide(&self, peer: &Address, flow: &FlowKey) -> Action {
        let by_peer = match (peer.v4_octets(), peer.v6_octets()) {
            (Some(octets), _) => self.v4.at(u32::from_be_bytes(octets)),
            (_, octets) => self.v6.at(u128::from_be_bytes(octets.unwrap_or_default())),
        };
        let ports = match flow.protocol {
            tcp::PROTOCOL => &self.tcp,
            udp::PROTOCOL => &self.udp,
            icmp::PROTOCOL_V4 | icmp::PROTOCOL_V6 => &self.icmp,
            _ => &self.other,
        };
        let by_port = ports.at(flow.dst_port);
        let both = by_peer.iter().zip(by_port).map(|(one, other)| one & other);
        match first(both) {
            Some(rule) => self.actions[rule],
            None => self.otherwise,
        }
    }
}

impl Classifier {
    /// The places of the rules that decide about some packet: the first in some interval of peers and one of ports.
    pub(super) fn deciding(&self) -> BTreeSet<usize> {
        let peers = self.v4.each().chain(self.v6.each());
        let ports = [&self.tcp, &self.udp, &self.icmp, &self.other];
        let mut found = BTreeSet::new();
        for by_peer in peers {
            for by_port in ports.iter().flat_map(|ports| ports.each()) {
                let both = by_peer.iter().zip(by_port).map(|(one, other)| one & other);
                found.extend(first(both));
            }
        }
        found
    }
}

/// The place of the lowest bit.
#[inline]
fn first(words: impl DoubleEndedIterator<Item = u64> + ExactSizeIterator) -> Option<usize> {
    if !switch::is_on("S-SG02") {
        let (word, bits) = words.enumerate().rfind(|(_, bits)| *bits != 0)?;
        return Some(word * 64 + 63 - bits.leading_zeros() as usize);
    }
    let mut words = words.enumerate();
    let (word, bits) = words.find(|(_, bits)| *bits != 0)?;
    Some(word * 64 + bits.trailing_zeros() as usize)
}

impl<T: Ord + Copy> Intervals<T> {
    /// Who of `ranges`, first and last value of each, matches where. `after` is the value behind one, if there is one.
    fn new(
        ranges: impl Iterator<Item = Option<(T, T)>>,
        smallest: T,
        after: impl Fn(T) -> Option<T>,
    ) -> Intervals<T> {
        let ranges: Vec<Option<(T, T)>> = ranges.collect();
        let mut starts = vec![smallest];
        for (first, last) in ranges.iter().flatten() {
            starts.push(*first);
            starts.extend(after(*last));
        }
        starts.sort_unstable();
        starts.dedup();
        let words = ranges.len().div_ceil(64);
        let mut sets = vec![0; words * starts.len()];
        for (rule, range) in ranges.iter().enumerate() {
            let Some((first, last)) = range else {
                continue;
            };
            let from = starts.partition_point(|start| start < first);
            let to = starts.partition_point(|start| start <= last);
            for interval in from..to {
                sets[interval * words + rule / 64] |= 1 << (rule % 64);
            }
        }
        Intervals {
            starts,
            sets,
            words,
        }
    }

    /// The set of those that match at `value`.
    #[inline]
    fn at(&self, value: T) -> &[u64] {
        let interval = self.starts.partition_point(|start| *start <= value) - 1;
        &self.sets[interval * self.words..][..self.words]
    }

    /// The set of each interval.
    fn each(&self) -> impl Iterator<Item = &[u64]> {
        self.sets.chunks(self.words.max(1))
    }
}

/// The IPv4 addresses of a rule.
fn v4_of(rule: &Rule) -> Option<(u32, u32)> {
    match rule.peer {
        Some(IpNet::V4(net)) => Some((net.network().to_bits(), net.broadcast().to_bits())),
        Some(IpNet::V6(_)) => None,
        None => Some((0, u32::MAX)),
    }
}

/// The IPv6 addresses of a rule.
fn v6_of(rule: &Rule) -> Option<(u128, u128)> {
    match rule.peer {
        Some(IpNet::V6(net)) => Some((net.network().to_bits(), net.broadcast().to_bits())),
        Some(IpNet::V4(_)) => None,
        None => Some((0, u128::MAX)),
    }
}

/// The ports of a rule in packets of a protocol, where those without ports have port 0; `None`: of any that is not
/// named in rules.
fn ports_of(rule: &Rule, protocol: Option<Protocol>) -> Option<(u16, u16)> {
    let has_ports = matches!(protocol, Some(Protocol::Tcp | Protocol::Udp));
    let fits = rule.protocol == Protocol::All || Some(rule.protocol) == protocol;
    let matches = fits && (has_ports || !rule.names_ports());
    matches.then_some(rule.ports)
}

/// What a packet is compared with by hand: the oracle of the tables.
#[cfg(test)]
pub(super) fn matches(rule: &Rule, peer: &Address, flow: &FlowKey) -> bool {
    let protocol = match flow.protocol {
        tcp::PROTOCOL => Some(Protocol::Tcp),
        udp::PROTOCOL => Some(Protocol::Udp),
        icmp::PROTOCOL_V4 | icmp::PROTOCOL_V6 => Some(Protocol::Icmp),
        _ => None,
    };
    let is_peer = |net: IpNet| net.contains(&core::net::IpAddr::from(*peer));
    let (first, last) = rule.ports;
    let port = match protocol {
        Some(Protocol::Tcp | Protocol::Udp) => (first..=last).contains(&flow.dst_port),
        _ => (first, last) == super::ALL_PORTS,
    };
    let is_protocol = rule.protocol == Protocol::All || Some(rule.protocol) == protocol;
    is_protocol && port && rule.peer.is_none_or(is_peer)
}
