//! SNAT: addresses and ports that stand for clients whom a load balancer's targets could not answer.
//!
//! Ports come in blocks, and each block is one node's, so that no two nodes send from the same port. A port may be in
//! use towards several targets at a time: 55,000 connections of an address to each (220 blocks of 250).

use core::net::Ipv4Addr;

use crate::id::NodeId;

/// Ports of a block.
pub const SNAT_BLOCK_PORTS: u16 = 250;

/// Ports of an address that one node may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnatBlock {
    /// The address that targets see.
    pub address: Ipv4Addr,
    /// The first of [`SNAT_BLOCK_PORTS`].
    pub first_port: u16,
    /// Whose they are.
    pub node: NodeId,
}

/// What a load balancer has of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snat {
    /// Clients of IPv6 get targets of IPv4 (NAT64, RFC 6146).
    pub nat64: bool,
    /// Addresses that it may send from. The flows of one that is taken away end.
    pub addresses: Vec<Ipv4Addr>,
    /// The blocks that are leased, by address and port.
    pub blocks: Vec<SnatBlock>,
}
