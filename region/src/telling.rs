//! Telling: how a flow's target is told who the client is, and which numbers that shifts.
//!
//! TOA is an option of the client's first segments and shifts nothing. A header of the PROXY protocol takes the place
//! of the client's first bytes, so from there on what the client sends is so many bytes further at the target, and
//! what the target acknowledges so many bytes less at the client. All numbers that a node keeps of a flow are the
//! client's.
//!
//! ```text
//!   client   ISN | ISN+1 .. data
//!   target   ISN | ISN+1 .. header | data
//! ```
//! docs/client-address.md has the choices.

use anyedge_net::flow::FlowKey;
use anyedge_net::route_table::SourceTold;
use anyedge_net::wire::proxy::{self, ProxyProtocol};
use anyedge_net::wire::toa::Toa;

/// What a flow's target is told, and how far that has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Telling {
    pub(crate) toa: Option<Toa>,
    pub(crate) proxy: Option<ProxyProtocol>,
    /// Bytes of the PROXY header.
    header_len: u8,
    header: Header,
}

/// Where the header is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) enum Header {
    /// Not sent by this node.
    #[default]
    Owed,
    /// Sent, maybe lost.
    Sent,
    /// The target has it.
    Arrived,
}

impl Telling {
    /// As a listener asks for a flow of TCP.
    pub(crate) fn of(source: SourceTold, flow: &FlowKey) -> Telling {
        let header_len = source.proxy.map_or(0, |version| {
            let mut out = [0; proxy::LEN_MAX];
            proxy::write(version, flow, &mut out) as u8
        });
        Telling {
            toa: source.toa,
            proxy: source.proxy,
            header_len,
            header: Header::Owed,
        }
    }

    /// Where the header is.
    pub(crate) const fn header(&self) -> Header {
        self.header
    }

    /// The header is that far, if it was not further.
    pub(crate) fn header_is(&mut self, header: Header) {
        self.header = self.header.max(header);
    }

    /// A number behind the client's ISN as the target knows it.
    pub(crate) const fn to_target(self, number: u32) -> u32 {
        number.wrapping_add(self.header_len as u32)
    }

    /// The number that the target expects when the client has come to `number`: it may not have been sent the header.
    pub(crate) const fn expected(&self, number: u32, isn: u32) -> u32 {
        if matches!(self.header, Header::Owed) && number == isn.wrapping_add(1) {
            return number;
        }
        self.to_target(number)
    }

    /// A number of the client's stream, whose ISN is `isn`, that the target names, as the client knows it; whatever
    /// of the header it stands in, that is its first.
    pub(crate) const fn to_client(self, number: u32, isn: u32) -> u32 {
        let beyond = number.wrapping_sub(isn.wrapping_add(1));
        if beyond >= 1 << 31 {
            return number; // the SYN's own, or older
        }
        if beyond <= self.header_len as u32 {
            return isn.wrapping_add(1);
        }
        number.wrapping_sub(self.header_len as u32)
    }

    /// Whether a number that the target acknowledges is behind the header.
    pub(crate) const fn covers_header(&self, acknowledged: u32, isn: u32) -> bool {
        let beyond = acknowledged.wrapping_sub(isn.wrapping_add(1));
        beyond >= self.header_len as u32 && beyond < 1 << 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISN: u32 = u32::MAX - 10;

    fn telling() -> Telling {
        let address = |text: &str| text.parse().expect("a literal address");
        let flow = FlowKey {
            src: address("192.0.2.33"),
            dst: address("203.0.113.7"),
            src_port: 49_152,
            dst_port: 443,
            protocol: 6,
        };
        let source = SourceTold {
            proxy: Some(ProxyProtocol::V2),
            ..SourceTold::default()
        };
        Telling::of(source, &flow)
    }

    #[test]
    fn numbers_go_there_and_back_round_the_end_of_the_numbers() {
        let telling = telling();
        for offset in [1, 2, 10, 11, 12, 100, 1 << 30] {
            let number = ISN.wrapping_add(offset);
            assert_eq!(telling.to_client(telling.to_target(number), ISN), number);
        }
        assert_eq!(telling.to_target(ISN.wrapping_add(1)), ISN.wrapping_add(29));
    }

    #[test]
    fn what_is_acknowledged_of_the_header_is_nothing_of_the_client() {
        let telling = telling();
        for offset in 1..=29 {
            let number = ISN.wrapping_add(offset);
            assert_eq!(telling.to_client(number, ISN), ISN.wrapping_add(1));
            assert_eq!(telling.covers_header(number, ISN), offset == 29);
        }
        assert_eq!(telling.to_client(ISN, ISN), ISN);
        assert!(!telling.covers_header(ISN, ISN));
    }
}
