//! OPEN (RFC 4271 §4.2): who a speaker is and what it can, by capabilities (RFC 5492).
//!
//! 4-octet AS numbers (RFC 6793), multiprotocol (RFC 4760), route refresh (RFC 2918) and graceful restart
//! (RFC 4724) are said and understood; what else a peer can is passed over. A peer without 4-octet AS numbers is
//! refused, since it could not be told our AS path.

use core::net::Ipv4Addr;
use std::collections::BTreeMap;

use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::capabilities::{
    BgpCapability, FourOctetAsCapability, GracefulRestartAddressFamily, GracefulRestartCapability,
    MultiProtocolExtensionsCapability,
};
use netgauze_bgp_pkt::open::{BgpOpenMessage, BgpOpenMessageParameter};
use netgauze_parse_utils::WritablePdu as _;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFrom as _;

use super::Family;
use super::notification::{Code, Notification};

/// What stands for an AS number that needs four octets where there are two (RFC 6793).
const AS_TRANS: u16 = 23_456;
/// The most seconds of a restart time (RFC 4724 §3).
pub const RESTART_SECONDS_MAX: u16 = 4_095;

/// An OPEN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Open {
    /// The speaker's AS.
    pub as_number: u32,
    /// The hold time that it proposes, in seconds: 0 (none) or at least 3.
    pub hold_seconds: u16,
    /// Its BGP identifier, never zero.
    pub id: Ipv4Addr,
    /// The families that it takes routes of.
    pub families: Vec<Family>,
    /// Whether it resends its routes when asked.
    pub route_refresh: bool,
    /// What it says of its own restart; `None` without the capability.
    pub restart: Option<Restart>,
}

/// The graceful restart capability (RFC 4724 §3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restart {
    /// It has just restarted.
    pub restarting: bool,
    /// How long its routes are worth keeping while it is away, at most [`RESTART_SECONDS_MAX`].
    pub seconds: u16,
    /// Families whose routes may be kept, and whether forwarding did go on. None at all: it sends End-of-RIB, and
    /// does not forward while it is away.
    pub families: BTreeMap<Family, bool>,
}

impl Open {
    /// As a message.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut capabilities: Vec<_> = self
            .families
            .iter()
            .map(|family| MultiProtocolExtensionsCapability::new(family.address_type()))
            .map(BgpCapability::MultiProtocolExtensions)
            .collect();
        if self.route_refresh {
            capabilities.push(BgpCapability::RouteRefresh);
        }
        let four_octet_as = FourOctetAsCapability::new(self.as_number);
        capabilities.push(BgpCapability::FourOctetAs(four_octet_as));
        if let Some(restart) = &self.restart {
            let families: Vec<_> = restart
                .families
                .iter()
                .map(|(family, kept)| (*kept, family.address_type()))
                .map(|(kept, family)| GracefulRestartAddressFamily::new(kept, family))
                .collect();
            let seconds = restart.seconds.min(RESTART_SECONDS_MAX);
            let said = GracefulRestartCapability::new(restart.restarting, false, seconds, families);
            capabilities.push(BgpCapability::GracefulRestartCapability(said));
        }
        let parameters = [BgpOpenMessageParameter::new_capabilities(capabilities)];
        let two_octet_as = u16::try_from(self.as_number).unwrap_or(AS_TRANS);
        let open = BgpOpenMessage::new(two_octet_as, self.hold_seconds, self.id, parameters);
        message(&BgpMessage::Open(open))
    }

    /// Of a message's body, which has at least its ten fixed bytes.
    ///
    /// # Errors
    /// What is wrong with it by RFC 4271 §6.2, but for the AS, which the caller knows.
    pub(crate) fn read(body: &[u8]) -> Result<Open, Notification> {
        let Some((fixed, parameters)) = body.split_first_chunk::<10>() else {
            return Err(Code::OPEN_UNSPECIFIC.into());
        };
        let [
            version,
            as_high,
            as_low,
            hold_high,
            hold_low,
            id @ ..,
            length,
        ] = *fixed;
        if version != 4 {
            return Err(Notification::new(Code::UNSUPPORTED_VERSION, &[0, 4]));
        }
        let id = Ipv4Addr::from(id);
        if id.is_unspecified() {
            return Err(Code::BAD_IDENTIFIER.into());
        }
        let hold = [hold_high, hold_low];
        let hold_seconds = u16::from_be_bytes(hold);
        if (1..3).contains(&hold_seconds) {
            return Err(Notification::new(Code::UNACCEPTABLE_HOLD_TIME, &hold));
        }
        if parameters.len() != usize::from(length) {
            return Err(Code::OPEN_UNSPECIFIC.into());
        }
        let mut open = Open {
            as_number: 0,
            hold_seconds,
            id,
            families: Vec::new(),
            route_refresh: false,
            restart: None,
        };
        let mut four_octet_as = None;
        for capability in capabilities(parameters)? {
            open.learn(capability, &mut four_octet_as);
        }
        // A peer that does not speak of families speaks IPv4 (RFC 4760 §8).
        if open.families.is_empty() {
            open.families.push(Family::V4);
        }
        let Some(as_number) = four_octet_as else {
            let wanted = [65, 4];
            return Err(Notification::new(Code::UNSUPPORTED_CAPABILITY, &wanted));
        };
        let said = u16::from_be_bytes([as_high, as_low]);
        if as_number == 0 || said != u16::try_from(as_number).unwrap_or(AS_TRANS) {
            return Err(Code::BAD_PEER_AS.into());
        }
        open.as_number = as_number;
        Ok(open)
    }

    /// Takes over a capability; one that cannot be read is passed over (RFC 5492 §3).
    fn learn(&mut self, capability: &[u8], four_octet_as: &mut Option<u32>) {
        match BgpCapability::parse(&mut SliceReader::new(capability)) {
            Ok(BgpCapability::MultiProtocolExtensions(said)) => {
                let family = Family::of_address_type(said.address_type());
                let known = family.filter(|family| !self.families.contains(family));
                self.families.extend(known);
            }
            Ok(BgpCapability::RouteRefresh) => self.route_refresh = true,
            Ok(BgpCapability::FourOctetAs(said)) => *four_octet_as = Some(said.asn4()),
            Ok(BgpCapability::GracefulRestartCapability(said)) => {
                let families = said.address_families().iter().filter_map(|said| {
                    let family = Family::of_address_type(said.address_type())?;
                    Some((family, said.forwarding_state()))
                });
                self.restart = Some(Restart {
                    restarting: said.restart(),
                    seconds: said.time(),
                    families: families.collect(),
                });
            }
            _ => {}
        }
    }
}

/// The capabilities of all parameters, each with its code and length.
fn capabilities(mut parameters: &[u8]) -> Result<Vec<&[u8]>, Notification> {
    let mut found = Vec::new();
    while let [kind, rest @ ..] = parameters {
        if *kind != 2 {
            return Err(Code::UNSUPPORTED_PARAMETER.into());
        }
        let (mut parameter, after) = counted(rest).ok_or(Code::OPEN_UNSPECIFIC)?;
        while let [_, rest @ ..] = parameter {
            let (_, next) = counted(rest).ok_or(Code::OPEN_UNSPECIFIC)?;
            found.push(&parameter[..parameter.len() - next.len()]);
            parameter = next;
        }
        parameters = after;
    }
    Ok(found)
}

/// What the first byte counts, and what follows it.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

/// A message as bytes.
pub(crate) fn message(message: &BgpMessage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = message.write(&mut bytes);
    written.expect("a Vec takes all, and our messages are short enough");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Open {
        Open {
            as_number: 4_200_000_001,
            hold_seconds: 90,
            id: [192, 0, 2, 1].into(),
            families: vec![Family::V4, Family::V6],
            route_refresh: true,
            restart: Some(Restart {
                restarting: true,
                seconds: 120,
                families: BTreeMap::from([(Family::V4, true), (Family::V6, false)]),
            }),
        }
    }

    fn read(message: &[u8]) -> Result<Open, Notification> {
        Open::read(&message[19..])
    }

    #[test]
    fn what_is_written_is_read() {
        let alone = Open {
            as_number: 65_001,
            hold_seconds: 0,
            restart: None,
            ..open()
        };
        for open in [open(), alone] {
            assert_eq!(read(&open.write()), Ok(open));
        }
    }

    #[test]
    fn every_bad_open_has_its_code_and_data() {
        let good = open().write();
        let changed = |at: usize, bytes: &[u8]| {
            let mut message = good.clone();
            message[at..at + bytes.len()].copy_from_slice(bytes);
            read(&message).expect_err("it is bad")
        };
        let bad = Notification::new;
        assert_eq!(changed(19, &[3]), bad(Code::UNSUPPORTED_VERSION, &[0, 4]));
        assert_eq!(changed(20, &[0, 1]), Code::BAD_PEER_AS.into());
        for seconds in [1, 2] {
            let expected = bad(Code::UNACCEPTABLE_HOLD_TIME, &[0, seconds]);
            assert_eq!(changed(22, &[0, seconds]), expected);
        }
        assert_eq!(changed(24, &[0; 4]), Code::BAD_IDENTIFIER.into());
        assert_eq!(changed(28, &[0]), Code::OPEN_UNSPECIFIC.into());
        assert_eq!(changed(29, &[1]), Code::UNSUPPORTED_PARAMETER.into());
        assert_eq!(changed(30, &[255]), Code::OPEN_UNSPECIFIC.into());
        // The first capability claims more than its parameter has.
        assert_eq!(changed(32, &[255]), Code::OPEN_UNSPECIFIC.into());
        let bare = [&good[..28], &[0]].concat();
        let expected = bad(Code::UNSUPPORTED_CAPABILITY, &[65, 4]);
        assert_eq!(read(&bare), Err(expected));
    }

    #[test]
    fn a_peer_that_speaks_of_no_family_speaks_ipv4_and_unknown_capabilities_are_passed_over() {
        let four_octet_as = [65, 4, 0, 0, 0xfd, 0xe9];
        let unknown = [200, 3, 1, 2, 3];
        let malformed = [1, 1, 0];
        let capabilities = [&four_octet_as[..], &unknown, &malformed].concat();
        let mut body = vec![4, 0xfd, 0xe9, 0, 90, 192, 0, 2, 1];
        body.extend([capabilities.len() as u8 + 2, 2, capabilities.len() as u8]);
        body.extend(capabilities);
        let open = Open::read(&body).expect("it is good");
        assert_eq!(open.families, [Family::V4]);
        assert_eq!(open.as_number, 65_001);
    }
}
