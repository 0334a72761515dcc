//! How a POP chooses a CLB node: hash the flow, look up its slot's primary, take the cheapest live path there.
//!
//! Nothing here is the POP's own opinion but the path. The hash key and the slot map come from the route table,
//! so that every POP sends a flow to the same node and clients may change their POP in the middle of a flow.
//! With client affinity the hash covers source and destination only.

use std::sync::Arc;

use anyedge_ccn::exits::{Exit, Exits};
use anyedge_net::drop_reason::DropReason;
use anyedge_net::flow::{FlowKey, HashKey};
use anyedge_net::route_table::RouteTable;
use anyedge_net::slot::{self, SlotMap};

use crate::vips::LocalVip;

/// Where a packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Choice {
    /// The flow's slot.
    pub(crate) slot: u16,
    /// The way to the slot's CLB node.
    pub(crate) exit: Exit,
    /// Bits of the flow's hash, for the outer source port.
    pub(crate) entropy: u16,
}

/// What the choice depends on.
pub(crate) struct Chooser {
    hash_key: HashKey,
    /// Of packets in pieces: another key, or a sender could choose whose slot they load.
    fragments_key: HashKey,
    /// By region.
    slots: Vec<Arc<SlotMap>>,
}

impl Chooser {
    /// The chooser of that revision.
    pub(crate) fn new(table: &RouteTable) -> Chooser {
        let slots = table
            .regions
            .iter()
            .map(|region| Arc::clone(&region.slots))
            .collect();
        Chooser {
            hash_key: table.hash_key,
            fragments_key: table.hash_key.derived("fragments"),
            slots,
        }
    }

    /// The CLB node of `flow`, which goes to `vip`.
    ///
    /// # Errors
    /// [`DropReason::NoSlotOwner`] when the region has no CLB node, [`DropReason::NoPath`] when no live path
    /// leads to the slot's owners.
    #[inline(always)]
    pub(crate) fn choose(
        &self,
        flow: &FlowKey,
        vip: &LocalVip,
        exits: &Exits,
    ) -> Result<Choice, DropReason> {
        let hash = if vip.client_affinity {
            flow.hash_two_tuple(&self.hash_key)
        } else {
            flow.hash(&self.hash_key)
        };
        self.choose_by(hash, vip, exits)
    }

    /// The CLB node of a fragment: the same for all that share `packet`, the key of their packet. It knows the
    /// packet's flow when it has the first of them.
    ///
    /// # Errors
    /// As [`Chooser::choose`].
    #[cold]
    pub(crate) fn choose_for_fragment(
        &self,
        packet: &FlowKey,
        vip: &LocalVip,
        exits: &Exits,
    ) -> Result<Choice, DropReason> {
        self.choose_by(packet.hash(&self.fragments_key), vip, exits)
    }

    #[inline]
    fn choose_by(&self, hash: u64, vip: &LocalVip, exits: &Exits) -> Result<Choice, DropReason> {
        let slot = slot::of_hash(hash);
        let slots = self
            .slots
            .get(vip.region.index())
            .ok_or(DropReason::NoSlotOwner)?;
        let (_, exit) = exits.owner(slots.owners(slot))?;
        Ok(Choice {
            slot,
            exit,
            entropy: (hash >> 48) as u16,
        })
    }
}
