//! Security groups: who may open a flow, by rules in order, of which the first that matches decides.
//!
//! The rules of all groups bound to one object are compiled into a [`Filter`], so that a packet asks two sorted
//! tables and not up to 2,560 rules. What no rule matches is dropped inward and accepted outward. A group without rules
//! drops all, both ways; without any group there is no filter. Filters know no flows: whoever keeps them asks for
//! the packet that opens one, so that replies need no rule.
//!
//! Invariant: [`Filter`] decides as the first matching rule of the list would. docs/security-groups.md has the choices.
//! Reference: T. V. Lakshman, D. Stiliadis, "High-speed policy-based packet forwarding using efficient
//! multi-dimensional range matching", 1998.

mod classifier;
mod text;

use ipnet::IpNet;

use crate::flow::FlowKey;
use crate::switch;
use classifier::Classifier;

pub use text::{RuleError, peer_of};

/// The greatest number that a rule may have for its place; the smaller goes first.
pub const PRIORITY_MAX: u8 = 100;

/// Which way a flow is opened, as seen from what the group is bound to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// From others to it; a rule names the source.
    Ingress,
    /// From it to others; a rule names the destination.
    Egress,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Action {
    /// It goes on.
    Accept,
    /// It ends, and nobody is told.
    Drop,
}

/// What a rule matches of protocols.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Protocol {
    /// Any; with ports, any that has ports.
    #[default]
    All,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP and ICMPv6.
    Icmp,
}

/// One line of a group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rule {
    /// Which way.
    pub direction: Direction,
    /// What becomes of what it matches.
    pub action: Action,
    /// Of which protocol.
    pub protocol: Protocol,
    /// Who is at the other end; `None`: anybody, of both families.
    pub peer: Option<IpNet>,
    /// First and last destination port.
    pub ports: (u16, u16),
    /// The smaller goes first in its group; rules of one number go in the order of the list.
    pub priority: u8,
}

/// All ports.
pub const ALL_PORTS: (u16, u16) = (0, u16::MAX);

/// Which of two rules of one priority goes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Precedence {
    /// The one that stands first.
    #[default]
    First,
    /// The one that drops.
    Drop,
}

/// The rules of some groups, ready to be asked.
#[derive(Clone, Debug)]
pub struct Filter {
    ingress: Classifier,
    egress: Classifier,
}

impl Rule {
    /// Everything in that direction.
    pub const fn all(direction: Direction, action: Action) -> Rule {
        Rule {
            direction,
            action,
            protocol: Protocol::All,
            peer: None,
            ports: ALL_PORTS,
            priority: 0,
        }
    }

    /// Whether it names ports, so that only protocols with ports match.
    fn names_ports(&self) -> bool {
        self.ports != ALL_PORTS
    }

    /// Whether it matches every packet that `other` matches.
    pub fn covers(&self, other: &Rule) -> bool {
        let peers = match (self.peer, other.peer) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => own.contains(&other),
        };
        self.direction == other.direction
            && peers
            && (self.protocol == Protocol::All || self.protocol == other.protocol)
            && self.ports.0 <= other.ports.0
            && other.ports.1 <= self.ports.1
    }
}

impl Filter {
    /// The filter of `groups`, each a list of rules, in the order of their binding.
    pub fn compile(groups: &[&[Rule]], precedence: Precedence) -> Filter {
        let rules = in_order(groups, precedence);
        let of = |direction| {
            let rules = rules.iter().filter(move |rule| rule.direction == direction);
            rules.copied().collect::<Vec<Rule>>()
        };
        Filter {
            ingress: Classifier::new(&of(Direction::Ingress), Action::Drop),
            egress: Classifier::new(&of(Direction::Egress), Action::Accept),
        }
    }

    /// Whether the source of `flow` may open it.
    #[inline]
    pub fn admits(&self, flow: &FlowKey) -> bool {
        self.ingress.decide(&flow.src, flow) == Action::Accept
    }

    /// Whether its destination may be reached by it.
    #[inline]
    pub fn lets_out(&self, flow: &FlowKey) -> bool {
        self.egress.decide(&flow.dst, flow) == Action::Accept
    }
}

/// The places of a group's rules, in the order in which they are asked.
pub fn order(group: &[Rule], precedence: Precedence) -> Vec<usize> {
    let drops_first = precedence == Precedence::Drop && switch::is_on("P-SG4");
    let mut places: Vec<usize> = (0..group.len()).collect();
    places.sort_by_key(|place| {
        let rule = &group[*place];
        let accepts = rule.action == Action::Accept;
        (rule.priority, drops_first && accepts)
    });
    places
}

/// Of each rule of a group whether it decides about any packet: one that does not has others before it that match all
/// that it matches, by themselves or between them.
pub fn deciding(group: &[Rule], precedence: Precedence) -> Vec<bool> {
    let order = order(group, precedence);
    let mut decides = vec![false; group.len()];
    for direction in [Direction::Ingress, Direction::Egress] {
        let own = order.iter().copied();
        let own: Vec<usize> = own
            .filter(|place| group[*place].direction == direction)
            .collect();
        let rules: Vec<Rule> = own.iter().map(|place| group[*place]).collect();
        for asked in Classifier::new(&rules, Action::Drop).deciding() {
            decides[own[asked]] = true;
        }
    }
    decides
}

/// All rules in the order in which they are asked.
fn in_order(groups: &[&[Rule]], precedence: Precedence) -> Vec<Rule> {
    let mut rules = Vec::new();
    for group in groups {
        let own = order(group, precedence);
        let mut own: Vec<Rule> = own.into_iter().map(|place| group[place]).collect();
        if own.is_empty() {
            own.push(Rule::all(Direction::Ingress, Action::Drop));
            own.push(Rule::all(Direction::Egress, Action::Drop));
        }
        rules.append(&mut own);
    }
    rules
}

#[cfg(test)]
mod tests;
