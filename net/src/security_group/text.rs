//! Rules as people write them: `PEER+PORTS ACTION`.
//!
//! ```text
//! 203.0.113.0/24+8080 allow          any protocol that has ports
//! 2001:db8::/32+tcp/8000-8099 drop
//! any+icmp accept                    anybody, of both families
//! any deny                           everything
//! 5: 203.0.113.7+udp/53 allow        of priority 5
//! ```
//! `allow` is `accept` and `deny` is `drop`. The direction stands where the rule does.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use ipnet::IpNet;

use super::{ALL_PORTS, Action, Direction, PRIORITY_MAX, Protocol, Rule};

/// Why a text is no rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleError {
    /// There is no action at its end.
    Action,
    /// The other end is no address and no range of them.
    Peer,
    /// The range begins elsewhere than at its first address.
    HostBits,
    /// There is no such protocol.
    Protocol,
    /// Ports are none, or the last stands before the first, or the protocol has none.
    Ports,
    /// The priority is no number up to [`PRIORITY_MAX`].
    Priority,
}

impl RuleError {
    /// What would be right.
    pub const fn hint(self) -> &'static str {
        match self {
            RuleError::Action => {
                "such as \"203.0.113.0/24+8080 allow\"; allow, accept, drop or deny"
            }
            RuleError::Peer => "an address, a range such as 203.0.113.0/24, or any",
            RuleError::HostBits => "the first address of the range",
            RuleError::Protocol => "tcp, udp, icmp or all, such as +tcp/8080",
            RuleError::Ports => "a port or a range, such as +tcp/8080 or +8000-8099; icmp has none",
            RuleError::Priority => "0 to 100 and a colon, such as \"5: any drop\"",
        }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RuleError::Action => "a rule ends in what becomes of the packet",
            RuleError::Peer => "the other end of a rule is no address",
            RuleError::HostBits => "the range of a rule begins at another address",
            RuleError::Protocol => "there is no such protocol in rules",
            RuleError::Ports => "these are no ports of that protocol",
            RuleError::Priority => "this is no priority",
        })
    }
}

impl core::error::Error for RuleError {}

impl Action {
    /// The action of that word.
    pub fn named(word: &str) -> Option<Action> {
        match word {
            "accept" | "allow" => Some(Action::Accept),
            "drop" | "deny" => Some(Action::Drop),
            _ => None,
        }
    }

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Action::Accept => "accept",
            Action::Drop => "drop",
        }
    }
}

impl Direction {
    /// The direction of that word; the other pair of words is as old.
    pub fn named(word: &str) -> Option<Direction> {
        match word {
            "ingress" | "downlink" => Some(Direction::Ingress),
            "egress" | "uplink" => Some(Direction::Egress),
            _ => None,
        }
    }

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        }
    }
}

impl Protocol {
    /// The protocol of that word.
    pub fn named(word: &str) -> Option<Protocol> {
        match word {
            "all" => Some(Protocol::All),
            "tcp" => Some(Protocol::Tcp),
            "udp" => Some(Protocol::Udp),
            "icmp" => Some(Protocol::Icmp),
            _ => None,
        }
    }

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Protocol::All => "all",
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Icmp => "icmp",
        }
    }
}

impl Rule {
    /// The rule that `text` writes, without its other end, which `peers` may know by other names.
    ///
    /// # Errors
    /// What of it is wrong.
    pub fn read(direction: Direction, text: &str) -> Result<(Rule, &str), RuleError> {
        let mut rule = Rule::all(direction, Action::Drop);
        let mut text = text.trim();
        // An IPv6 address may end in a colon too, but has another one before it.
        let priority = text.split_once(": ");
        if let Some((priority, rest)) = priority.filter(|(priority, _)| !priority.contains(':')) {
            let number = priority.trim().parse().ok();
            let number = number.filter(|number| *number <= PRIORITY_MAX);
            rule.priority = number.ok_or(RuleError::Priority)?;
            text = rest.trim();
        }
        let (what, action) = text.rsplit_once(' ').ok_or(RuleError::Action)?;
        rule.action = Action::named(action).ok_or(RuleError::Action)?;
        let (peer, service) = match what.trim().split_once('+') {
            Some((peer, service)) => (peer, Some(service)),
            None => (what, None),
        };
        if let Some(service) = service {
            (rule.protocol, rule.ports) = service_of(service.trim())?;
        }
        Ok((rule, peer.trim()))
    }

    /// The rule that `text` writes.
    ///
    /// # Errors
    /// What of it is wrong.
    pub fn parse(direction: Direction, text: &str) -> Result<Rule, RuleError> {
        let (rule, peer) = Rule::read(direction, text)?;
        let peer = peer_of(peer)?;
        Ok(Rule { peer, ..rule })
    }
}

/// Who is at the other end: an address, a range, or `any`, which is `None`.
///
/// # Errors
/// When it is none of them, or the range begins at another address.
pub fn peer_of(text: &str) -> Result<Option<IpNet>, RuleError> {
    if text == "any" {
        return Ok(None);
    }
    if let Ok(address) = IpAddr::from_str(text) {
        return Ok(Some(IpNet::from(address)));
    }
    let net = IpNet::from_str(text).map_err(|_| RuleError::Peer)?;
    if net.addr() != net.network() {
        return Err(RuleError::HostBits);
    }
    Ok(Some(net))
}

/// `8080`, `tcp/8080`, `8000-8099`, `icmp`.
fn service_of(text: &str) -> Result<(Protocol, (u16, u16)), RuleError> {
    if let Some(protocol) = Protocol::named(text) {
        return Ok((protocol, ALL_PORTS));
    }
    let (protocol, ports) = match text.split_once('/') {
        Some((word, ports)) => (
            Protocol::named(word).ok_or(RuleError::Protocol)?,
            ports_of(ports).ok_or(RuleError::Ports)?,
        ),
        None => match ports_of(text) {
            Some(ports) => (Protocol::All, ports),
            None if text.starts_with(|first: char| first.is_ascii_digit()) => {
                return Err(RuleError::Ports);
            }
            None => return Err(RuleError::Protocol),
        },
    };
    if protocol == Protocol::Icmp {
        return Err(RuleError::Ports);
    }
    Ok((protocol, ports))
}

fn ports_of(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    (first <= last).then_some((first, last))
}

impl fmt::Display for Rule {
    /// As [`Rule::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.priority > 0 {
            write!(f, "{}: ", self.priority)?;
        }
        match self.peer {
            None => f.write_str("any")?,
            Some(net) if net.prefix_len() == net.max_prefix_len() => write!(f, "{}", net.addr())?,
            Some(net) => write!(f, "{net}")?,
        }
        let (first, last) = self.ports;
        match (self.names_ports(), self.protocol) {
            (false, Protocol::All) => {}
            (false, protocol) => write!(f, "+{}", protocol.word())?,
            (true, protocol) => {
                f.write_str("+")?;
                if protocol != Protocol::All {
                    write!(f, "{}/", protocol.word())?;
                }
                write!(f, "{first}")?;
                if last != first {
                    write!(f, "-{last}")?;
                }
            }
        }
        write!(f, " {}", self.action.word())
    }
}
