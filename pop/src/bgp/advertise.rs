//! Adj-RIB-Out (RFC 4271 §3.2): what a peer has been told, and the UPDATEs that make it what is wanted.
//!
//! IPv4 goes in the message's own fields with NEXT_HOP, IPv6 in MP_REACH_NLRI and MP_UNREACH_NLRI. Prefixes of one
//! offer share messages, each of at most 4,096 bytes. Withdrawals go first; after the first whole difference every
//! family is ended by its End-of-RIB (RFC 4724 §2).

use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;
use std::sync::Arc;

use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::community::Community;
use netgauze_bgp_pkt::nlri::{Ipv4Unicast, Ipv4UnicastAddress, Ipv6Unicast, Ipv6UnicastAddress};
use netgauze_bgp_pkt::path_attribute::{
    As4PathSegment, AsPath, AsPathSegmentType, Communities, LocalPreference, MpReach, MpUnreach,
    MultiExitDiscriminator, NextHop, Origin, PathAttribute, PathAttributeValue,
};
use netgauze_bgp_pkt::update::BgpUpdateMessage;

use super::frame::MESSAGE_BYTES_MAX;
use super::nlri::bytes_of;
use super::offer::{COMMUNITIES_MAX, Offer, PREPEND_MAX};
use super::open::message;
use super::{Family, IpNet};

/// What every message has beside attributes and prefixes: header, two lengths, and MP_REACH_NLRI around its prefixes.
const FRAME_BYTES: usize = 23 + 4 + 5 + 32;

/// How routes are written to a peer.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) local_as: u32,
    /// Its value for a peer of our own AS.
    pub(crate) local_pref: Option<u32>,
    pub(crate) next_hop_v4: Option<Ipv4Addr>,
    pub(crate) next_hop_v6: Option<Ipv6Addr>,
    /// What the peer takes.
    pub(crate) families: Vec<Family>,
}

impl Terms {
    fn carries(&self, prefix: &IpNet) -> bool {
        let family = Family::of(prefix);
        let has_next_hop = match family {
            Family::V4 => self.next_hop_v4.is_some(),
            Family::V6 => self.next_hop_v6.is_some(),
        };
        let is_unicast = match prefix {
            IpNet::V4(net) => Ipv4Unicast::from_net(*net).is_ok(),
            IpNet::V6(net) => Ipv6Unicast::from_net(*net).is_ok(),
        };
        has_next_hop && is_unicast && self.families.contains(&family)
    }
}

/// What a peer is to know and what it has been told.
#[derive(Default, Debug)]
pub(crate) struct AdjRibOut {
    wanted: Arc<BTreeMap<IpNet, Offer>>,
    drains: bool,
    told: BTreeMap<IpNet, Offer>,
    /// Families to be told whole again.
    again: Vec<Family>,
    is_ended: bool,
    is_dirty: bool,
}

impl AdjRibOut {
    pub(crate) fn want(&mut self, wanted: Arc<BTreeMap<IpNet, Offer>>, drains: bool) {
        self.is_dirty |= self.wanted != wanted || self.drains != drains;
        (self.wanted, self.drains) = (wanted, drains);
    }

    /// A new session knows nothing.
    pub(crate) fn restart(&mut self) {
        self.told.clear();
        self.again.clear();
        (self.is_ended, self.is_dirty) = (false, true);
    }

    /// Tells a family whole once more (RFC 2918 §4).
    pub(crate) fn repeat(&mut self, family: Family) {
        if !self.again.contains(&family) {
            self.again.push(family);
        }
        self.is_dirty = true;
    }

    pub(crate) const fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// The prefixes that the peer knows of.
    pub(crate) fn told(&self) -> impl Iterator<Item = (&IpNet, &Offer)> {
        self.told.iter()
    }

    /// The messages that make what is told what is wanted.
    pub(crate) fn update(&mut self, terms: &Terms) -> Vec<Vec<u8>> {
        let wanted = Arc::clone(&self.wanted);
        let is_wanted = |prefix: &IpNet| wanted.contains_key(prefix) && terms.carries(prefix);
        let mut gone = Vec::new();
        self.told.retain(|prefix, _| {
            let stays = is_wanted(prefix);
            if !stays {
                gone.push(*prefix);
            }
            stays
        });
        let mut news: BTreeMap<Offer, Vec<IpNet>> = BTreeMap::new();
        for (prefix, offer) in wanted.iter().filter(|(prefix, _)| terms.carries(prefix)) {
            let offer = if self.drains {
                offer.draining()
            } else {
                offer.clone()
            };
            let told = self.told.get(prefix) == Some(&offer);
            if !told || self.again.contains(&Family::of(prefix)) {
                self.told.insert(*prefix, offer.clone());
                news.entry(offer).or_default().push(*prefix);
            }
        }
        let mut messages = Vec::new();
        for family in Family::ALL {
            let of_family = |prefix: &&IpNet| Family::of(prefix) == family;
            let gone: Vec<_> = gone.iter().filter(of_family).copied().collect();
            let room = MESSAGE_BYTES_MAX - FRAME_BYTES;
            messages.extend(packed(&gone, room).map(|gone| withdrawal(family, gone)));
            for (offer, prefixes) in &news {
                let prefixes: Vec<_> = prefixes.iter().filter(of_family).copied().collect();
                let room = room - attribute_bytes(offer);
                let packed = packed(&prefixes, room);
                messages.extend(packed.map(|news| announcement(family, news, offer, terms)));
            }
        }
        if !self.is_ended {
            let families = terms.families.iter();
            messages.extend(families.map(|family| withdrawal(*family, &[])));
        }
        self.again.clear();
        (self.is_ended, self.is_dirty) = (true, false);
        messages
    }
}

/// As many of `prefixes` at a time as `room` bytes hold.
fn packed(prefixes: &[IpNet], room: usize) -> impl Iterator<Item = &[IpNet]> {
    let mut rest = prefixes;
    core::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |prefix: &&IpNet| {
            bytes += bytes_of(prefix);
            bytes <= room
        };
        let count = rest.iter().take_while(fits).count();
        let (now, later) = rest.split_at(count);
        rest = later;
        (count > 0).then_some(now)
    })
}

/// The most that the attributes of an offer take, prefixes apart.
fn attribute_bytes(offer: &Offer) -> usize {
    let path = 4 * (2 + usize::from(offer.prepend.min(PREPEND_MAX)));
    path + 4 * offer.communities.len().min(COMMUNITIES_MAX) + 48
}

/// A message that withdraws; of nothing, it is the family's End-of-RIB.
fn withdrawal(family: Family, prefixes: &[IpNet]) -> Vec<u8> {
    let update = match family {
        Family::V4 => BgpUpdateMessage::new(v4(prefixes), [], []),
        Family::V6 => {
            let gone = MpUnreach::Ipv6Unicast {
                nlri: v6(prefixes).into(),
            };
            let gone = attribute(true, false, PathAttributeValue::MpUnreach(gone));
            BgpUpdateMessage::new([], [gone], [])
        }
    };
    message(&BgpMessage::Update(update))
}

fn announcement(family: Family, prefixes: &[IpNet], offer: &Offer, terms: &Terms) -> Vec<u8> {
    let mut attributes = vec![attribute(
        false,
        true,
        PathAttributeValue::Origin(Origin::IGP),
    )];
    attributes.push(as_path(offer, terms));
    if let (Family::V4, Some(hop)) = (family, terms.next_hop_v4) {
        let hop = PathAttributeValue::NextHop(NextHop::new(hop));
        attributes.push(attribute(false, true, hop));
    }
    if let Some(med) = offer.med {
        let med = PathAttributeValue::MultiExitDiscriminator(MultiExitDiscriminator::new(med));
        attributes.push(attribute(true, false, med));
    }
    if let Some(pref) = terms.local_pref {
        let pref = PathAttributeValue::LocalPreference(LocalPreference::new(pref));
        attributes.push(attribute(false, true, pref));
    }
    if !offer.communities.is_empty() {
        let communities = offer.communities.iter().take(COMMUNITIES_MAX);
        let communities: Vec<_> = communities.map(|value| Community::new(*value)).collect();
        let communities = PathAttributeValue::Communities(Communities::new(communities));
        attributes.push(attribute(true, true, communities));
    }
    if let (Family::V6, Some(next_hop_global)) = (family, terms.next_hop_v6) {
        let reach = MpReach::Ipv6Unicast {
            next_hop_global,
            next_hop_local: None,
            nlri: v6(prefixes).into(),
        };
        attributes.push(attribute(true, false, PathAttributeValue::MpReach(reach)));
    }
    let update = BgpUpdateMessage::new([], attributes, v4(prefixes));
    message(&BgpMessage::Update(update))
}

/// Empty to a peer of our own AS, else our AS, once and as often as the offer prepends.
fn as_path(offer: &Offer, terms: &Terms) -> PathAttribute {
    let segments = if terms.local_pref.is_some() {
        vec![]
    } else {
        let ases = vec![terms.local_as; 1 + usize::from(offer.prepend.min(PREPEND_MAX))];
        vec![As4PathSegment::new(AsPathSegmentType::AsSequence, ases)]
    };
    let path = AsPath::as4_path_segments(segments);
    attribute(false, true, PathAttributeValue::AsPath(path))
}

/// With the length in two bytes, as the lists of prefixes and communities may need.
fn attribute(optional: bool, transitive: bool, value: PathAttributeValue) -> PathAttribute {
    let made = PathAttribute::from(optional, transitive, false, true, value);
    made.expect("the flags are those of the attribute")
}

fn v4(prefixes: &[IpNet]) -> Vec<Ipv4UnicastAddress> {
    let unicast = |net: &IpNet| match net {
        IpNet::V4(net) => Ipv4Unicast::from_net(*net).ok(),
        IpNet::V6(_) => None,
    };
    let unicast = prefixes.iter().filter_map(unicast);
    unicast.map(Ipv4UnicastAddress::new_no_path_id).collect()
}

fn v6(prefixes: &[IpNet]) -> Vec<Ipv6UnicastAddress> {
    let unicast = |net: &IpNet| match net {
        IpNet::V4(_) => None,
        IpNet::V6(net) => Ipv6Unicast::from_net(*net).ok(),
    };
    let unicast = prefixes.iter().filter_map(unicast);
    unicast
        .map(|net| Ipv6UnicastAddress::new(None, net))
        .collect()
}

#[cfg(test)]
mod tests;
