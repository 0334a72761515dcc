//! Tuple table: the GRE key that each backend tuple came with.
//!
//! Same storage and same expiry as the connection table; a tuple lives by the same rules as the flow that
//! made it, and is learned again from any packet of the client, so nothing depends on the two expiring at once.
//!
//! Invariant: a tuple is in the index exactly as long as it is in the table.

use anyedge_net::flow::{FlowKey, HashKey};
use anyedge_net::time::Instant;
use anyedge_net::wire::Parsed;
use anyedge_net::wire::gre::GreKey;

use crate::Limits;
use crate::flow_index::FlowIndex;
use crate::flow_life::FlowLife;
use crate::flow_table::{EXPIRED_PER_CALL_MAX, Entry, FlowTable};
use crate::tcp_state::Side;

/// A tuple and where its answers belong.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Tuple {
    /// Target to client.
    reply: FlowKey,
    key: GreKey,
    hash: u32,
    life: FlowLife,
}

// One cache line, which any field fetches.
const _: () = assert!(size_of::<Tuple>() == 64);

impl Entry for Tuple {
    fn life(&self) -> &FlowLife {
        &self.life
    }

    #[inline]
    fn of_each_line(&self) -> u32 {
        self.hash
    }
}

/// The tuples of one host.
pub(super) struct TupleTable {
    tuples: FlowTable<Tuple>,
    by_reply: FlowIndex,
}

impl TupleTable {
    /// An empty table.
    pub(super) fn new(limits: Limits) -> TupleTable {
        TupleTable {
            tuples: FlowTable::new(limits.flows_max),
            by_reply: FlowIndex::new(limits.flows_indexed),
        }
    }

    /// Tuples held, those included that are over but not yet collected.
    pub(super) const fn len(&self) -> usize {
        self.tuples.len()
    }

    /// Numbers found stay good while this stays the same.
    pub(super) const fn generation(&self) -> u64 {
        self.tuples.generation()
    }

    /// Brings what [`TupleTable::find`] will look at into the caches, for a whole batch.
    #[inline]
    pub(super) fn fetch(&self, hashes: impl Iterator<Item = u64> + Clone) {
        let hashes = hashes.map(|hash| hash as u32);
        self.by_reply.fetch(hashes.clone());
        let guesses = hashes.filter_map(|hash| self.by_reply.guess(hash));
        self.tuples.fetch(guesses);
    }

    /// The entry of a tuple from target to client, whether it is alive or only not yet collected.
    #[inline]
    pub(super) fn find(&self, hash: u64, reply: &FlowKey) -> Option<u32> {
        self.by_reply
            .find(hash as u32, |id| self.tuples.entry(id).reply == *reply)
    }

    /// Whether a tuple's deadline is still to come.
    #[inline]
    pub(super) fn is_alive(&self, id: u32, now: Instant) -> bool {
        self.tuples.is_alive(id, now)
    }

    /// Whether the tuple carries a flow that is not over.
    pub(super) fn is_busy(&self, id: u32) -> bool {
        !self.tuples.entry(id).life.is_over()
    }

    /// Whether this packet of the client opens a connection in the place of the tuple's.
    #[inline]
    pub(super) fn is_replaced_by(&self, id: u32, parsed: &Parsed, bytes: &[u8]) -> bool {
        self.tuples.entry(id).life.is_replaced_by(parsed, bytes)
    }

    /// The key that answers are sent with.
    #[inline]
    pub(super) fn key(&self, id: u32) -> GreKey {
        self.tuples.entry(id).key
    }

    /// Remembers the key that answers are sent with.
    #[inline]
    pub(super) fn set_key(&mut self, id: u32, key: GreKey) {
        self.tuples.entry_mut(id).key = key;
    }

    /// Learns the tuple of a client's packet. False when the table is full.
    pub(super) fn learn(
        &mut self,
        now: Instant,
        hash: u64,
        key: GreKey,
        (parsed, bytes): (&Parsed, &[u8]),
    ) -> bool {
        let life = FlowLife::begin(now, parsed, bytes);
        let tuple = Tuple {
            reply: parsed.flow.reversed(),
            key,
            hash: hash as u32,
            life,
        };
        let Some(id) = self.tuples.insert(now, tuple) else {
            return false;
        };
        self.by_reply.insert(tuple.hash, id);
        true
    }

    /// Takes a packet of a living tuple into account.
    #[inline]
    pub(super) fn on_packet(&mut self, id: u32, now: Instant, side: Side, tcp_flags: u8) {
        let step = self
            .tuples
            .entry_mut(id)
            .life
            .on_packet(now, side, tcp_flags);
        if step.shortened {
            self.tuples.shortened(id);
        }
    }

    /// Forgets the tuples of which `stays` says no, by their key and the client's packets.
    pub(super) fn retain(&mut self, stays: impl Fn(GreKey, &FlowKey) -> bool) {
        let ids: Vec<u32> = self.tuples.in_use().collect();
        for id in ids {
            let tuple = self.tuples.entry(id);
            if !stays(tuple.key, &tuple.reply.reversed()) {
                self.remove(id);
            }
        }
    }

    /// Forgets a tuple.
    pub(super) fn remove(&mut self, id: u32) {
        let tuple = self.tuples.remove(id);
        self.by_reply.remove(tuple.hash, id);
    }

    /// Collects tuples that are over, at most [`EXPIRED_PER_CALL_MAX`].
    pub(super) fn expire(&mut self, now: Instant) {
        let mut looks = EXPIRED_PER_CALL_MAX;
        while let Some(id) = self.tuples.next_expired(now, &mut looks) {
            self.remove(id);
        }
    }

    /// When to call [`TupleTable::expire`] next.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.tuples.wake_at()
    }

    /// Files all tuples anew under another hash key.
    pub(super) fn rekey(&mut self, hash_key: &HashKey) {
        self.by_reply.clear();
        let ids: Vec<u32> = self.tuples.in_use().collect();
        for id in ids {
            let tuple = self.tuples.entry_mut(id);
            tuple.hash = tuple.reply.hash(hash_key) as u32;
            let hash = tuple.hash;
            self.by_reply.insert(hash, id);
        }
    }
}
