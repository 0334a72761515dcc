//! The VIPs as a POP needs them: one small entry each, found by address in one or two cache lines.
//!
//! Open addressing over a power of two of slots, at most half of them full. The hash is fixed and not secret:
//! operators choose the VIPs, and a client's choice of destination makes no run of slots longer.
//!
//! Invariant: at least one slot is empty, so that every search ends.

use anyedge_net::flow::{Address, Family};
use anyedge_net::id::{ClbId, NodeId, RegionId};
use anyedge_net::route_table::RouteTable;

const TCP_AND_IPV4_HEADERS: u16 = 40;
const TCP_AND_IPV6_HEADERS: u16 = 60;
/// 2^64 divided by the golden ratio (D. Knuth, TAOCP vol. 3, §6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a POP does with packets to and from a VIP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LocalVip {
    /// Its load balancer, for the GRE key.
    pub(crate) clb: ClbId,
    /// Where its CLB nodes are.
    pub(crate) region: RegionId,
    /// Greatest segment that fits through every candidate path.
    pub(crate) mss_max: u16,
    /// The slot depends on source and destination only.
    pub(crate) client_affinity: bool,
    /// This POP announces it.
    pub(crate) published_here: bool,
}

/// VIPs by address.
pub(crate) struct VipTable {
    slots: Box<[Option<(Address, LocalVip)>]>,
}

impl VipTable {
    /// All VIPs of `table`, as the POP `own` sees them.
    pub(crate) fn new(table: &RouteTable, own: NodeId) -> VipTable {
        let slot_count = (table.vips.len() * 2 + 1).next_power_of_two();
        let mut vips = VipTable {
            slots: vec![None; slot_count].into_boxed_slice(),
        };
        for (address, vip) in &table.vips {
            let Some(clb) = table.clbs.get(vip.clb.index()) else {
                continue;
            };
            let headers = match address.family() {
                Family::V4 => TCP_AND_IPV4_HEADERS,
                Family::V6 => TCP_AND_IPV6_HEADERS,
            };
            let local = LocalVip {
                clb: vip.clb,
                region: clb.region,
                mss_max: if table.mechanisms.mss_clamp {
                    clb.inner_mtu.saturating_sub(headers)
                } else {
                    u16::MAX
                },
                client_affinity: clb.client_affinity,
                published_here: vip.publishers.contains(&own),
            };
            let mut at = vips.first_slot(address);
            while vips.slots[at].is_some() {
                at = vips.next_slot(at);
            }
            vips.slots[at] = Some((*address, local));
        }
        vips
    }

    /// The VIP with that address.
    #[inline]
    pub(crate) fn find(&self, address: &Address) -> Option<&LocalVip> {
        let mut at = self.first_slot(address);
        while let Some((found, vip)) = &self.slots[at] {
            if found == address {
                return Some(vip);
            }
            at = self.next_slot(at);
        }
        None
    }

    #[inline]
    fn first_slot(&self, address: &Address) -> usize {
        let folded = match (address.v4_octets(), address.v6_octets()) {
            (Some(octets), _) => u64::from(u32::from_ne_bytes(octets)),
            (None, Some(octets)) => {
                let wide = u128::from_ne_bytes(octets);
                (wide as u64).wrapping_mul(GOLDEN) ^ (wide >> 64) as u64
            }
            (None, None) => 0,
        };
        (folded.wrapping_mul(GOLDEN) >> 32) as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn next_slot(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use anyedge_net::route_table::{Clb, ClbSecurity, Shared, Vip};

    use super::*;

    const OWN: NodeId = NodeId(3);

    fn v4(number: u16) -> Address {
        let [high, low] = number.to_be_bytes();
        Address::v4([203, 0, high, low])
    }

    fn v6(number: u16) -> Address {
        let [high, low] = number.to_be_bytes();
        Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low])
    }

    /// `count` VIPs of each family; each second load balancer's VIPs are published at `OWN`.
    fn table(count: u16) -> RouteTable {
        let mut table = RouteTable::empty();
        for number in 0..count {
            let clb = Clb {
                name: format!("clb-{number}"),
                region: RegionId(number / 2),
                inner_mtu: 1_400 + number % 100,
                client_affinity: number % 3 == 0,
                rst_on_unbind: true,
                unbind_drain: None,
                unbind_spread: core::time::Duration::ZERO,
                fail_open: true,
                limits: anyedge_net::route_table::FlowLimits::default(),
                security: ClbSecurity::default(),
                snat: Shared::default(),
                listeners: Vec::new(),
            };
            table.clbs.push(clb.into());
            let publishers = if number % 2 == 0 {
                vec![NodeId(1)]
            } else {
                vec![NodeId(1), OWN]
            };
            let vip = Arc::new(Vip {
                name: format!("vip-{number}"),
                clb: ClbId(number),
                publishers,
            });
            table.vips.insert(v4(number), Arc::clone(&vip));
            table.vips.insert(v6(number), vip);
        }
        table
    }

    #[test]
    fn every_vip_is_found_and_nothing_else() {
        for count in [1, 2, 100, 5_000] {
            let vips = VipTable::new(&table(count), OWN);
            for number in 0..count {
                let expected = |headers: u16| LocalVip {
                    clb: ClbId(number),
                    region: RegionId(number / 2),
                    mss_max: 1_400 + number % 100 - headers,
                    client_affinity: number % 3 == 0,
                    published_here: number % 2 == 1,
                };
                assert_eq!(vips.find(&v4(number)), Some(&expected(40)));
                assert_eq!(vips.find(&v6(number)), Some(&expected(60)));
            }
            assert_eq!(vips.find(&v4(count)), None);
            assert_eq!(vips.find(&v6(count)), None);
        }
    }

    #[test]
    fn a_table_of_no_vips_answers_too() {
        let vips = VipTable::new(&RouteTable::empty(), OWN);
        assert_eq!(vips.find(&v4(1)), None);
    }

    #[test]
    fn an_entry_is_half_a_cache_line() {
        assert!(size_of::<Option<(Address, LocalVip)>>() <= 32);
    }
}
