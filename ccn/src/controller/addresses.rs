//! Where members are: replicated beside the state machine, so that a member that joins is found by all.
//!
//! A command of the log that has a context is one of ours: the context is a member's address. A snapshot holds the
//! addresses and the state machine's own.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use anyedge_proto::raft::{MemberAddress, MemberState};
use bytes::Bytes;
use prost::Message as _;

use super::machine::{StateMachine, Unreadable};
use crate::raft::MEMBERS_MAX;

/// What the group keeps, and what this member was told.
#[derive(Clone)]
pub(super) struct Addresses {
    told: BTreeMap<u64, SocketAddr>,
    kept: BTreeMap<u64, SocketAddr>,
}

impl Addresses {
    pub(super) const fn new(told: BTreeMap<u64, SocketAddr>) -> Addresses {
        let kept = BTreeMap::new();
        Addresses { told, kept }
    }

    pub(super) fn get(&self, id: u64) -> Option<SocketAddr> {
        self.kept.get(&id).or_else(|| self.told.get(&id)).copied()
    }

    /// All that are known.
    pub(super) fn known(&self) -> BTreeMap<u64, SocketAddr> {
        let mut known = self.told.clone();
        known.extend(&self.kept);
        known
    }

    /// The context of an entry that tells where a member is.
    pub(super) fn context(id: u64, address: Option<SocketAddr>) -> Bytes {
        let address = address.map_or_else(String::new, |address| address.to_string());
        MemberAddress { id, address }.encode_to_vec().into()
    }

    /// Applies such an entry; one that cannot be read is nothing, everywhere alike.
    pub(super) fn apply(&mut self, context: &[u8]) {
        let Ok(entry) = MemberAddress::decode(context) else {
            return;
        };
        match entry.address.parse() {
            Ok(address) if self.kept.len() < MEMBERS_MAX || self.kept.contains_key(&entry.id) => {
                self.kept.insert(entry.id, address);
            }
            Ok(_) => {}
            Err(_) => drop(self.kept.remove(&entry.id)),
        }
    }

    /// A snapshot of the addresses, and of a state machine that was taken at the same place.
    pub(super) fn state(&self, machine: Bytes) -> Bytes {
        let addresses = self.kept.iter().map(|(id, address)| MemberAddress {
            id: *id,
            address: address.to_string(),
        });
        let state = MemberState {
            addresses: addresses.collect(),
            machine,
        };
        state.encode_to_vec().into()
    }

    /// Takes the addresses of such a snapshot, and gives its state machine. No bytes: nothing was ever applied.
    pub(super) fn restore<M: StateMachine>(&mut self, state: &[u8]) -> Result<M, Unreadable> {
        if state.is_empty() {
            self.kept.clear();
            return Ok(M::default());
        }
        let state = MemberState::decode(state).map_err(|error| Unreadable(error.to_string()))?;
        let machine = M::restore(&state.machine)?;
        let known = state.addresses.into_iter().filter_map(|entry| {
            let address = entry.address.parse().ok()?;
            Some((entry.id, address))
        });
        self.kept = known.take(MEMBERS_MAX).collect();
        Ok(machine)
    }
}
