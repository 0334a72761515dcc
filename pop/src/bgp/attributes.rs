//! Path attributes (RFC 4271 §5), read as RFC 7606 revised it: what is wrong with one costs as little as it may.
//!
//! The list is walked by its lengths alone, so that a bad value never hides the attributes behind it. A bad
//! attribute either is passed over or makes the UPDATE a withdrawal of its routes; only a well-known attribute that
//! nobody knows, or MP attributes whose routes cannot be told, end the session.

use core::net::{IpAddr, Ipv4Addr};

use netgauze_bgp_pkt::path_attribute::{
    AsPath, AsPathSegmentType, Origin as WireOrigin, PathAttribute, PathAttributeValue,
};
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput as _;

use super::notification::{Code, Notification};

/// Where a route came from first (RFC 4271 §5.1.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Origin {
    /// Inside its AS.
    Igp,
    /// By EGP.
    Egp,
    /// In another way.
    Incomplete,
}

/// A part of an AS path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Segment {
    /// ASes in the order that a packet crosses them.
    Sequence(Vec<u32>),
    /// ASes in no order; all of them count as one.
    Set(Vec<u32>),
}

impl Segment {
    /// Its ASes.
    pub fn ases(&self) -> &[u32] {
        match self {
            Segment::Sequence(ases) | Segment::Set(ases) => ases,
        }
    }
}

/// What is said of a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// ORIGIN.
    pub origin: Origin,
    /// AS_PATH, the neighbour first.
    pub as_path: Vec<Segment>,
    /// Where packets go next.
    pub next_hop: IpAddr,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF; only of a peer in our own AS.
    pub local_pref: Option<u32>,
    /// COMMUNITIES (RFC 1997), as they came.
    pub communities: Vec<u32>,
}

impl Attributes {
    /// Its length as best path selection counts it (RFC 4271 §9.1.2.2 a).
    pub fn as_path_length(&self) -> usize {
        let count = |segment: &Segment| match segment {
            Segment::Sequence(ases) => ases.len(),
            Segment::Set(_) => 1,
        };
        self.as_path.iter().map(count).sum()
    }

    /// Whether its path crosses `as_number`.
    pub fn crosses(&self, as_number: u32) -> bool {
        let mut segments = self.as_path.iter();
        segments.any(|segment| segment.ases().contains(&as_number))
    }
}

/// Attributes of one UPDATE, as far as they could be read.
#[derive(Default, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) origin: Option<Origin>,
    pub(crate) as_path: Option<Vec<Segment>>,
    pub(crate) next_hop: Option<Ipv4Addr>,
    pub(crate) med: Option<u32>,
    pub(crate) local_pref: Option<u32>,
    pub(crate) communities: Vec<u32>,
    /// The value of MP_REACH_NLRI (RFC 4760 §3).
    pub(crate) mp_reach: Option<&'a [u8]>,
    /// The value of MP_UNREACH_NLRI (RFC 4760 §4).
    pub(crate) mp_unreach: Option<&'a [u8]>,
    /// The first attribute for which the UPDATE's routes count as withdrawn (RFC 7606 §2).
    pub(crate) withdraw: Option<u8>,
    pub(crate) count: usize,
}

const ORIGIN: u8 = 1;
const AS_PATH: u8 = 2;
const NEXT_HOP: u8 = 3;
const MED: u8 = 4;
const LOCAL_PREF: u8 = 5;
const ATOMIC_AGGREGATE: u8 = 6;
const AGGREGATOR: u8 = 7;
const COMMUNITIES: u8 = 8;
const ORIGINATOR_ID: u8 = 9;
const CLUSTER_LIST: u8 = 10;
const MP_REACH: u8 = 14;
const MP_UNREACH: u8 = 15;
const EXTENDED_COMMUNITIES: u8 = 16;
const LARGE_COMMUNITIES: u8 = 32;

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const EXTENDED_LENGTH: u8 = 0x10;

/// Reads the list of attributes of a peer, which is in our own AS when `internal`.
///
/// # Errors
/// What ends the session: an unknown well-known attribute, or a second MP attribute of a kind.
pub(crate) fn read(mut list: &[u8], internal: bool) -> Result<Found<'_>, Notification> {
    let mut found = Found::default();
    let mut seen = [false; 256];
    while !list.is_empty() {
        let Some((whole, value, after)) = split(list) else {
            // What follows cannot be told apart (RFC 7606 §4).
            found.withdraw_for(list.get(1).copied().unwrap_or_default());
            break;
        };
        let (flags, code) = (whole[0], whole[1]);
        list = after;
        found.count += 1;
        let doubled = core::mem::replace(&mut seen[usize::from(code)], true);
        if doubled && matches!(code, MP_REACH | MP_UNREACH) {
            return Err(Code::MALFORMED_ATTRIBUTES.into());
        }
        if doubled {
            continue;
        }
        match expected_flags(code) {
            None if flags & OPTIONAL == 0 => {
                return Err(Notification::new(Code::UNRECOGNIZED_WELL_KNOWN, whole));
            }
            None => continue,
            Some(expected) if flags & (OPTIONAL | TRANSITIVE) != expected => {
                found.withdraw_for(code);
            }
            Some(_) => {}
        }
        match code {
            // Even with wrong flags: its routes are what is withdrawn.
            MP_REACH => found.mp_reach = Some(value),
            MP_UNREACH => found.mp_unreach = Some(value),
            LOCAL_PREF | ORIGINATOR_ID | CLUSTER_LIST if !internal => {}
            _ => found.take(code, whole, value),
        }
    }
    Ok(found)
}

impl Found<'_> {
    fn withdraw_for(&mut self, code: u8) {
        self.withdraw.get_or_insert(code);
    }

    /// Takes over an attribute, or has the routes withdrawn for it (RFC 7606 §7).
    fn take(&mut self, code: u8, whole: &[u8], value: &[u8]) {
        let length = value.len();
        let is_right = match code {
            ORIGIN => length == 1,
            NEXT_HOP | MED | LOCAL_PREF | ORIGINATOR_ID => length == 4,
            COMMUNITIES | CLUSTER_LIST => length > 0 && length.is_multiple_of(4),
            EXTENDED_COMMUNITIES => length > 0 && length.is_multiple_of(8),
            LARGE_COMMUNITIES => length > 0 && length.is_multiple_of(12),
            // Of no use here, and passed over when they are wrong (§7.6, §7.7).
            ATOMIC_AGGREGATE | AGGREGATOR => return,
            _ => true,
        };
        if !is_right {
            return self.withdraw_for(code);
        }
        if matches!(
            code,
            ORIGINATOR_ID | CLUSTER_LIST | EXTENDED_COMMUNITIES | LARGE_COMMUNITIES
        ) {
            return;
        }
        let mut context = BgpParsingContext::default();
        match PathAttribute::parse(&mut SliceReader::new(whole), &mut context) {
            Ok(attribute) => self.keep(code, attribute.value()),
            Err(_) => self.withdraw_for(code),
        }
    }

    fn keep(&mut self, code: u8, value: &PathAttributeValue) {
        match value {
            PathAttributeValue::Origin(WireOrigin::IGP) => self.origin = Some(Origin::Igp),
            PathAttributeValue::Origin(WireOrigin::EGP) => self.origin = Some(Origin::Egp),
            PathAttributeValue::Origin(WireOrigin::Incomplete) => {
                self.origin = Some(Origin::Incomplete);
            }
            PathAttributeValue::AsPath(AsPath::As4PathSegments(segments)) => {
                let segments: Vec<_> = segments
                    .iter()
                    .map(|segment| match segment.segment_type() {
                        AsPathSegmentType::AsSequence => {
                            Segment::Sequence(segment.as_numbers().to_vec())
                        }
                        AsPathSegmentType::AsSet => Segment::Set(segment.as_numbers().to_vec()),
                    })
                    .collect();
                // AS 0 is nobody's (RFC 7607).
                if segments.iter().any(|segment| segment.ases().contains(&0)) {
                    return self.withdraw_for(code);
                }
                self.as_path = Some(segments);
            }
            PathAttributeValue::NextHop(hop) => self.next_hop = Some(hop.next_hop()),
            PathAttributeValue::MultiExitDiscriminator(med) => self.med = Some(med.metric()),
            PathAttributeValue::LocalPreference(pref) => self.local_pref = Some(pref.metric()),
            PathAttributeValue::Communities(said) => {
                let said = said.communities().iter();
                self.communities = said.map(|community| community.value()).collect();
            }
            _ => self.withdraw_for(code),
        }
    }
}

/// The first attribute whole, its value, and the rest of the list; `None` when its length has no room.
fn split(list: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let flags = *list.first()?;
    let (head, length) = if flags & EXTENDED_LENGTH == 0 {
        (3, usize::from(*list.get(2)?))
    } else {
        let length = [*list.get(2)?, *list.get(3)?];
        (4, usize::from(u16::from_be_bytes(length)))
    };
    let (whole, after) = list.split_at_checked(head + length)?;
    Some((whole, &whole[head..], after))
}

/// The flags of a known attribute that say whether it is optional and transitive.
const fn expected_flags(code: u8) -> Option<u8> {
    match code {
        ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | ATOMIC_AGGREGATE => Some(TRANSITIVE),
        MED | ORIGINATOR_ID | CLUSTER_LIST | MP_REACH | MP_UNREACH => Some(OPTIONAL),
        AGGREGATOR | COMMUNITIES | EXTENDED_COMMUNITIES | LARGE_COMMUNITIES => {
            Some(OPTIONAL | TRANSITIVE)
        }
        _ => None,
    }
}
