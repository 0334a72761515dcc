//! UPDATE as it comes (RFC 4271 §4.3, §6.3; RFC 4760; RFC 7606): which routes are there, and which are gone.
//!
//! Errors are judged from the outside in: lengths, then each attribute, then what the routes need. A route is
//! withdrawn rather than believed when something that it needs is wrong or missing.

use core::net::{IpAddr, Ipv6Addr};

use super::attributes::{self, Attributes, Found, Segment};
use super::notification::{Code, Notification};
use super::{Family, IpNet, nlri};

/// Whose UPDATE is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    /// The peer's AS.
    pub(crate) as_number: u32,
    /// Whether that is our own AS as well.
    pub(crate) internal: bool,
}

/// What an UPDATE says.
#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Update {
    /// Routes that are gone.
    pub(crate) withdrawn: Vec<IpNet>,
    /// Routes that are there.
    pub(crate) announced: Vec<(Attributes, Vec<IpNet>)>,
    /// All routes of this family have been told (RFC 4724 §2).
    pub(crate) end_of_rib: Option<Family>,
    /// The attribute for which announced routes stand among the withdrawn.
    pub(crate) malformed: Option<u8>,
}

/// Reads the body of an UPDATE.
///
/// # Errors
/// What ends the session.
pub(crate) fn read(body: &[u8], sender: Sender) -> Result<Update, Notification> {
    let malformed = || Notification::from(Code::MALFORMED_ATTRIBUTES);
    let (gone, rest) = counted(body).ok_or_else(malformed)?;
    let (list, routes) = counted(rest).ok_or_else(malformed)?;
    let unreadable = |_| Notification::from(Code::INVALID_NETWORK);
    let mut update = Update {
        withdrawn: nlri::read(Family::V4, gone).map_err(unreadable)?,
        ..Update::default()
    };
    let routes = nlri::read(Family::V4, routes).map_err(unreadable)?;
    let mut found = attributes::read(list, sender.internal)?;
    if body.len() == 4 {
        update.end_of_rib = Some(Family::V4);
    }
    if let Some(value) = found.mp_unreach {
        let (family, prefixes) = mp_unreach(value)?;
        if prefixes.is_empty() && found.count == 1 && gone.is_empty() && routes.is_empty() {
            update.end_of_rib = family;
        }
        update.withdrawn.extend(prefixes);
    }
    let reached = match found.mp_reach {
        Some(value) => mp_reach(value)?,
        None => None,
    };
    let next_hop = found.next_hop.map(IpAddr::V4);
    // Well-known attributes that routes must have (RFC 7606 §3 d).
    if !routes.is_empty() || reached.is_some() {
        check_path(&mut found, sender);
    }
    for (next_hop, prefixes) in [(next_hop, routes)].into_iter().chain(reached) {
        if prefixes.is_empty() {
            continue;
        }
        match judged(&found, next_hop.filter(is_usable)) {
            Ok(attributes) => update.announced.push((attributes, prefixes)),
            Err(code) => {
                update.malformed = Some(code);
                update.withdrawn.extend(prefixes);
            }
        }
    }
    Ok(update)
}

/// What two bytes count, and what follows it.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// A neighbour in another AS stands first in its path (RFC 4271 §6.3, RFC 7606 §7.2).
fn check_path(found: &mut Found<'_>, sender: Sender) {
    let Some(path) = &found.as_path else {
        return;
    };
    let begins_with_it = match path.first() {
        Some(Segment::Sequence(ases)) => ases.first() == Some(&sender.as_number),
        _ => false,
    };
    if !sender.internal && !begins_with_it {
        found.withdraw.get_or_insert(2);
    }
}

/// The attributes of routes, or the code of the one that is wrong or missing.
fn judged(found: &Found<'_>, next_hop: Option<IpAddr>) -> Result<Attributes, u8> {
    if let Some(code) = found.withdraw {
        return Err(code);
    }
    Ok(Attributes {
        origin: found.origin.ok_or(1u8)?,
        as_path: found.as_path.clone().ok_or(2u8)?,
        next_hop: next_hop.ok_or(3u8)?,
        med: found.med,
        local_pref: found.local_pref,
        communities: found.communities.clone(),
    })
}

fn is_usable(next_hop: &IpAddr) -> bool {
    let is_reserved = match next_hop {
        IpAddr::V4(address) => address.octets()[0] == 0 || address.octets()[0] >= 224,
        IpAddr::V6(address) => address.is_unspecified() || address.is_multicast(),
    };
    !is_reserved && !next_hop.is_loopback()
}

type Reached = (Option<IpAddr>, Vec<IpNet>);

/// Next hop and routes of MP_REACH_NLRI; nothing for families that are not ours.
fn mp_reach(value: &[u8]) -> Result<Option<Reached>, Notification> {
    let bad = || Notification::from(Code::OPTIONAL_ATTRIBUTE);
    let [high, low, safi, length, rest @ ..] = value else {
        return Err(bad());
    };
    let (hop, rest) = rest
        .split_at_checked(usize::from(*length))
        .ok_or_else(bad)?;
    let (_reserved, list) = rest.split_first().ok_or_else(bad)?;
    let Some(family) = Family::from_wire(u16::from_be_bytes([*high, *low]), *safi) else {
        return Ok(None);
    };
    let next_hop = match (family, hop.len()) {
        (Family::V4, 4) => hop.first_chunk::<4>().map(|hop| IpAddr::from(*hop)),
        // The second of two is for the link alone (RFC 2545 §3).
        (Family::V6, 16 | 32) => {
            let global = hop.first_chunk::<16>();
            global.map(|hop| IpAddr::V6(Ipv6Addr::from(*hop)))
        }
        _ => return Err(bad()),
    };
    let prefixes = nlri::read(family, list).map_err(|_| bad())?;
    Ok(Some((next_hop, prefixes)))
}

/// Family and routes of MP_UNREACH_NLRI; no family when it is not ours.
fn mp_unreach(value: &[u8]) -> Result<(Option<Family>, Vec<IpNet>), Notification> {
    let bad = || Notification::from(Code::OPTIONAL_ATTRIBUTE);
    let [high, low, safi, list @ ..] = value else {
        return Err(bad());
    };
    let Some(family) = Family::from_wire(u16::from_be_bytes([*high, *low]), *safi) else {
        return Ok((None, Vec::new()));
    };
    let prefixes = nlri::read(family, list).map_err(|_| bad())?;
    Ok((Some(family), prefixes))
}

#[cfg(test)]
mod tests;
