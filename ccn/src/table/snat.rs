//! SNAT ports: each CLB node works with blocks of its own, so that no two of them use one port at a time.
//!
//! An address has 220 blocks of 250 ports. A block that is given back rests for twice the idle timeout, since a
//! backend may still hold connections from its ports. The blocks of a node that is lost go to the next node of
//! its region, by name.

use core::time::Duration;

use anyedge_net::route_table::SNAT_BLOCK_PORTS;
use anyedge_net::switch;

use super::membership::Membership;
use super::object::{Clb, ClbNode, SnatBlock, SnatIp};
use super::refusal::{Reason, Refusal};
use super::transaction::Transaction;
use super::{not_found, unknown};

/// Ports of a block.
pub const BLOCK_PORTS: u32 = SNAT_BLOCK_PORTS as u32;
/// Blocks of an address: 55,000 connections to one backend's port.
pub const BLOCKS_PER_ADDRESS: u32 = 220;
/// The first port of an address's first block.
pub const FIRST_PORT: u32 = 10_024;
/// How long a block rests: twice the idle timeout of TCP flows.
pub const REST: Duration = Duration::from_secs(2 * 900);

impl Transaction<'_> {
    pub(super) fn lease_snat(&mut self, clb: &str, node: &str, blocks: u32) -> Result<(), Refusal> {
        let region = self.find::<Clb>(clb)?.region;
        let by = "a lease of SNAT ports";
        let found = self.objects.get::<ClbNode>(node);
        let found = found.ok_or_else(|| unknown(by, "CLB node", node))?;
        if found.region != region {
            return Err(Reason::Operation.because(format_args!(
                "CLB node `{node}` is not in region `{region}` of load balancer `{clb}`"
            )));
        }
        let wanted = blocks as usize;
        let at = self.at;
        let addresses = self.objects.all_of::<SnatIp>(clb);
        let most = if switch::is_on("P-SA06") {
            BLOCKS_PER_ADDRESS
        } else {
            BLOCKS_PER_ADDRESS + 1
        };
        let numbers = addresses.flat_map(|ip| (0..most).map(move |number| (ip, number)));
        let block = |(ip, number): (&SnatIp, u32)| SnatBlock {
            clb: clb.to_owned(),
            address: ip.address,
            first_port: FIRST_PORT + number * BLOCK_PORTS,
            node: node.to_owned(),
            free_at: at,
        };
        let is_free = |block: &SnatBlock| {
            let known = self.objects.get::<SnatBlock>(&block.full_name());
            known.is_none_or(|known| known.is_free(at))
        };
        let free: Vec<SnatBlock> = numbers.map(block).filter(is_free).take(wanted).collect();
        if wanted == 0 || free.len() < wanted {
            return Err(Reason::Insufficient.because(format_args!(
                "load balancer `{clb}` has {} free blocks of SNAT ports of {wanted} wanted",
                free.len()
            )));
        }
        for block in free {
            self.set(block);
        }
        Ok(())
    }

    pub(super) fn release_snat(&mut self, name: &str) -> Result<(), Refusal> {
        let block = self.find::<SnatBlock>(name)?;
        if block.node.is_empty() {
            let key = super::object::Object::SnatBlock(block).key();
            return Err(not_found(&key));
        }
        let free_at = self.at + REST;
        self.set(SnatBlock {
            node: String::new(),
            free_at,
            ..block
        });
        Ok(())
    }

    /// The blocks of `lost` go to its successor, if there is one.
    pub(super) fn hand_over_snat(&mut self, lost: &ClbNode) {
        let serves = |node: &&ClbNode| {
            node.region == lost.region
                && node.membership == Membership::In
                && node.name != lost.name
        };
        let nodes = || self.objects.all::<ClbNode>().filter(serves);
        let behind = nodes().find(|node| node.name > lost.name);
        let Some(successor) = behind.or_else(|| nodes().next()) else {
            return;
        };
        let successor = successor.name.clone();
        let blocks = self.objects.all::<SnatBlock>();
        let blocks: Vec<SnatBlock> = blocks
            .filter(|block| block.node == lost.name)
            .cloned()
            .collect();
        for block in blocks {
            let node = successor.clone();
            self.set(SnatBlock { node, ..block });
        }
    }
}
