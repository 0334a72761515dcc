//! The format of flow entries between the CLB nodes of a region.
//!
//! A message is the payload of a GRE packet of type [`gre::PROTOCOL_ENTRIES`](anyedge_net::wire::gre): a header
//! of 6 bytes (version, 0, number of items, Internet checksum of the message), then the items, each with its kind
//! in the first byte:
//!
//! ```text
//! entry  kk c h nsss | client | VIP | their ports | target | its port | slot | ISN | POP    27 bytes, IPv6 51
//! state  10 0 0 ssss | 40 bits of the keyed hash of the flow's tuple                        6 bytes
//! load   11 0 0 000f | load balancer | protocol | port | server | its port | its flows     18 bytes, IPv6 30
//! ```
//! kk: 00 IPv4, 01 IPv6. n: of IPv6 with a target of IPv4 (NAT64), followed by the address and the port that it comes from
//! there, 45 bytes in all. c: the sender serves the flow. h: a byte more at the end, the version of the PROXY header in front
//! of the client's data. ssss, sss: 0 UDP, 1-7 TCP's states, 8 gone. f: the server's family, 0 IPv4, 1 IPv6. Nothing in it
//! means something in one revision alone: a VIP goes by a tag of its address, a POP and a load balancer by one of its name,
//! and the host follows from the target. Integers are big-endian.

use anyedge_net::checksum;
use anyedge_net::flow::{Address, Family, FlowKey};
use anyedge_net::wire::proxy::ProxyProtocol;
use anyedge_net::wire::{tcp, udp};

use super::gossip::{ClbTag, Load};
use super::pop_tags::PopTag;
use super::vip_tags::VipTag;
use crate::connection_table::HASH_MARK;
use crate::snat::Source;
use crate::tcp_state::TcpState;

/// The version of the format.
const VERSION: u8 = 2;
/// Bytes before the first item.
pub(super) const HEADER_LEN: usize = 6;
/// Where the header has the checksum.
const CHECKSUM_AT: usize = 4;
/// Bytes of an IPv4 entry.
#[cfg(test)]
pub(super) const ENTRY_V4_LEN: usize = 27;
/// Bytes of an IPv6 entry with a PROXY header, the longest item.
pub(super) const ITEM_LEN_MAX: usize = 52;
/// Bytes of a state.
#[cfg(test)]
pub(super) const STATE_LEN: usize = 6;

const KIND: u8 = 0b1100_0000;
const KIND_V4: u8 = 0;
const KIND_V6: u8 = 0b0100_0000;
const KIND_STATE: u8 = 0b1000_0000;
const KIND_LOAD: u8 = 0b1100_0000;
const CLAIMED: u8 = 0b0010_0000;
const HEADED: u8 = 0b0001_0000;
const STATE: u8 = 0b0000_1111;
const GONE: u8 = 8;
const TRANSLATED: u8 = 0b0000_1000;

/// A flow and where it goes, as told to another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FlowEntry {
    pub(super) client: Address,
    pub(super) client_port: u16,
    /// Of the client's family.
    pub(super) vip: VipTag,
    pub(super) vip_port: u16,
    /// Of the client's family, or of IPv4 with a source.
    pub(super) target: Address,
    pub(super) target_port: u16,
    /// Whom the target takes for its client.
    pub(super) source: Option<Source>,
    pub(super) slot: u16,
    /// The client's initial sequence number.
    pub(super) isn: u32,
    /// The POP that it entered by last.
    pub(super) pop: PopTag,
    /// Where TCP stands; `None` for UDP.
    pub(super) tcp: Option<TcpState>,
    /// The sender serves it.
    pub(super) claimed: bool,
    /// The header in front of the client's data.
    pub(super) proxy: Option<ProxyProtocol>,
}

impl FlowEntry {
    /// The flow's tuple, client to VIP, `vip` being the address that the tag means.
    pub(super) fn key(&self, vip: Address) -> FlowKey {
        FlowKey {
            src: self.client,
            dst: vip,
            src_port: self.client_port,
            dst_port: self.vip_port,
            protocol: self.tcp.map_or(udp::PROTOCOL, |_| tcp::PROTOCOL),
        }
    }
}

/// One item of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Item {
    /// A flow.
    Entry(FlowEntry),
    /// What became of a flow whose entry was told before.
    State {
        /// The part of the keyed hash of its tuple that is in [`HASH_MARK`].
        hash: u64,
        /// Where it stands; `None`: its owner has forgotten it.
        stand: Option<TcpState>,
    },
    /// How many flows the sender has of a server.
    Load(Load),
}

/// Why bytes are no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum MessageError {
    /// They end too early, or not with the last item.
    Length,
    /// Another version of the format.
    Version,
    /// Changed on the way.
    Checksum,
    /// An item that is none.
    Item,
}

/// Writes the header of `message`, whose `count` items are in their places.
///
/// # Panics
/// If `message` is shorter than [`HEADER_LEN`].
pub(super) fn write_header(message: &mut [u8], count: u16) {
    let [high, low] = count.to_be_bytes();
    message[..HEADER_LEN].copy_from_slice(&[VERSION, 0, high, low, 0, 0]);
    let check = checksum::internet(message).to_be_bytes();
    message[CHECKSUM_AT..HEADER_LEN].copy_from_slice(&check);
}

impl Item {
    /// Appends the item, at most [`ITEM_LEN_MAX`] bytes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Item::Entry(entry) => {
                let kind = match entry.client.family() {
                    Family::V4 => KIND_V4,
                    Family::V6 => KIND_V6,
                };
                let claimed = if entry.claimed { CLAIMED } else { 0 };
                let headed = if entry.proxy.is_some() { HEADED } else { 0 };
                let translated = entry.source.map_or(0, |_| TRANSLATED);
                let state = entry.tcp.map_or(0, code_of);
                out.push(kind | claimed | headed | translated | state);
                out.extend_from_slice(entry.client.octets());
                out.extend_from_slice(&entry.vip.0.to_be_bytes());
                out.extend_from_slice(&entry.client_port.to_be_bytes());
                out.extend_from_slice(&entry.vip_port.to_be_bytes());
                out.extend_from_slice(entry.target.octets());
                out.extend_from_slice(&entry.target_port.to_be_bytes());
                if let Some(source) = entry.source {
                    out.extend_from_slice(source.address().octets());
                    out.extend_from_slice(&source.port().to_be_bytes());
                }
                out.extend_from_slice(&entry.slot.to_be_bytes());
                out.extend_from_slice(&entry.isn.to_be_bytes());
                out.extend_from_slice(&entry.pop.0.to_be_bytes());
                out.extend(entry.proxy.map(version_of));
            }
            Item::State { hash, stand } => {
                out.push(KIND_STATE | stand.map_or(GONE, code_of));
                let [_, _, _, mark @ ..] = (hash & HASH_MARK).to_be_bytes();
                out.extend_from_slice(&mark);
            }
            Item::Load(load) => {
                let (server, server_port) = load.server;
                out.push(KIND_LOAD | u8::from(server.family() == Family::V6));
                out.extend_from_slice(&load.clb.0.to_be_bytes());
                out.push(load.protocol);
                out.extend_from_slice(&load.port.to_be_bytes());
                out.extend_from_slice(server.octets());
                out.extend_from_slice(&server_port.to_be_bytes());
                out.extend_from_slice(&load.flows.to_be_bytes());
            }
        }
    }
}

/// The items of a message, in order; an error is the last of them.
pub(super) struct Items<'a> {
    rest: &'a [u8],
    left: u16,
}

impl Items<'_> {
    /// Reads the header of the message that `bytes` are.
    ///
    /// # Errors
    /// A message that is too short for its header, of another version, or with a wrong checksum.
    pub(super) fn of(bytes: &[u8]) -> Result<Items<'_>, MessageError> {
        let (header, rest) = bytes
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(MessageError::Length)?;
        let [version, _, high, low, ..] = *header;
        if version != VERSION {
            return Err(MessageError::Version);
        }
        if checksum::internet(bytes) != 0 {
            return Err(MessageError::Checksum);
        }
        let left = u16::from_be_bytes([high, low]);
        Ok(Items { rest, left })
    }

    fn read(&mut self) -> Result<Item, MessageError> {
        let [head] = self.array()?;
        let state = head & STATE;
        match head & KIND {
            KIND_V4 if head & TRANSLATED != 0 => Err(MessageError::Item),
            KIND_V4 => self.entry(head, |octets: [u8; 4]| Address::v4(octets)),
            KIND_V6 => self.entry(head, |octets: [u8; 16]| Address::v6(octets)),
            KIND_STATE if head & HEADED == 0 => {
                let [high, rest @ ..] = self.array::<5>()?;
                let hash = u64::from(high) << 32 | u64::from(u32::from_be_bytes(rest));
                let stand = match state {
                    GONE => None,
                    code => Some(state_of(code).ok_or(MessageError::Item)?),
                };
                Ok(Item::State { hash, stand })
            }
            _ if head & (CLAIMED | HEADED) != 0 => Err(MessageError::Item),
            _ => match state {
                0 => self.load(|octets: [u8; 4]| Address::v4(octets)),
                1 => self.load(|octets: [u8; 16]| Address::v6(octets)),
                _ => Err(MessageError::Item),
            },
        }
    }

    fn load<const LEN: usize>(
        &mut self,
        address: impl Fn([u8; LEN]) -> Address,
    ) -> Result<Item, MessageError> {
        let clb = ClbTag(u32::from_be_bytes(self.array()?));
        let [protocol] = self.array()?;
        let port = u16::from_be_bytes(self.array()?);
        let server = address(self.array()?);
        Ok(Item::Load(Load {
            clb,
            protocol,
            port,
            server: (server, u16::from_be_bytes(self.array()?)),
            flows: u32::from_be_bytes(self.array()?),
        }))
    }

    fn entry<const LEN: usize>(
        &mut self,
        head: u8,
        address: impl Fn([u8; LEN]) -> Address,
    ) -> Result<Item, MessageError> {
        let tcp = match head & STATE & !TRANSLATED {
            0 => None,
            code => Some(state_of(code).ok_or(MessageError::Item)?),
        };
        let client = address(self.array()?);
        let vip = VipTag(u32::from_be_bytes(self.array()?));
        let client_port = u16::from_be_bytes(self.array()?);
        let vip_port = u16::from_be_bytes(self.array()?);
        let translated = head & TRANSLATED != 0;
        let target = if translated {
            Address::v4(self.array()?)
        } else {
            address(self.array()?)
        };
        let target_port = u16::from_be_bytes(self.array()?);
        let source = if translated {
            let address = self.array()?;
            Some(Source::new(address, u16::from_be_bytes(self.array()?)))
        } else {
            None
        };
        Ok(Item::Entry(FlowEntry {
            client,
            vip,
            client_port,
            vip_port,
            target,
            target_port,
            source,
            slot: u16::from_be_bytes(self.array()?),
            isn: u32::from_be_bytes(self.array()?),
            pop: PopTag(u16::from_be_bytes(self.array()?)),
            tcp,
            claimed: head & CLAIMED != 0,
            proxy: match head & HEADED {
                0 => None,
                _ => Some(proxy_of(self.array()?).ok_or(MessageError::Item)?),
            },
        }))
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], MessageError> {
        let (first, rest) = self
            .rest
            .split_first_chunk::<LEN>()
            .ok_or(MessageError::Length)?;
        self.rest = rest;
        Ok(*first)
    }
}

impl Iterator for Items<'_> {
    type Item = Result<Item, MessageError>;

    fn next(&mut self) -> Option<Result<Item, MessageError>> {
        if self.left == 0 {
            let trailing = !core::mem::take(&mut self.rest).is_empty();
            return trailing.then_some(Err(MessageError::Length));
        }
        self.left -= 1;
        let item = self.read();
        if item.is_err() {
            (self.left, self.rest) = (0, &[]);
        }
        Some(item)
    }
}

const fn version_of(proxy: ProxyProtocol) -> u8 {
    match proxy {
        ProxyProtocol::V1 => 1,
        ProxyProtocol::V2 => 2,
    }
}

const fn proxy_of(version: [u8; 1]) -> Option<ProxyProtocol> {
    match version {
        [1] => Some(ProxyProtocol::V1),
        [2] => Some(ProxyProtocol::V2),
        _ => None,
    }
}

const fn code_of(state: TcpState) -> u8 {
    match state {
        TcpState::SynSent => 1,
        TcpState::SynReceived => 2,
        TcpState::Established => 3,
        TcpState::ClientClosed => 4,
        TcpState::TargetClosed => 5,
        TcpState::Closing => 6,
        TcpState::Reset => 7,
    }
}

const fn state_of(code: u8) -> Option<TcpState> {
    Some(match code {
        1 => TcpState::SynSent,
        2 => TcpState::SynReceived,
        3 => TcpState::Established,
        4 => TcpState::ClientClosed,
        5 => TcpState::TargetClosed,
        6 => TcpState::Closing,
        7 => TcpState::Reset,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
