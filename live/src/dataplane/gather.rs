//! From datagrams of the tunnel mouth to packets for the forwarder: a train becomes one super-packet.
//!
//! Several runs are open at a time, one a flow, since packets of flows that share a link come in turns. A datagram that
//! may join its flow's run is copied behind the others, headers off; any other of that flow closes it, so that none
//! overtakes another. All in a run came from one peer by one port, with the same GRE header and the same outer TOS;
//! what else must agree, [`Run`] says.
//!
//! Invariant: packets of open runs are on loan, [`Gather::len`] of them; runs of one flow are closed in the order that
//! they were opened in.

use anyedge_net::packet::{HEADROOM, LARGE_SLOT, Meta, Packet, Pool, SMALL_SLOT};
use anyedge_net::wire::coalesce::{LEN_MAX, Run};
use anyedge_net::wire::gre;

/// Runs that are open at a time: flows that take turns on a link.
pub(super) const RUNS_MAX: usize = 8;
/// GRE with a key and nothing else, the only header behind which packets are put together.
const KEY_ALONE: [u8; 2] = [0x20, 0];
/// What a slot for super-packets holds.
const LARGE: usize = LARGE_SLOT - HEADROOM;
const SMALL: usize = SMALL_SLOT - HEADROOM;
const _: () = assert!(
    gre::HEADER_LEN + LEN_MAX <= LARGE,
    "a super-packet and its key"
);

/// The open runs, oldest first.
#[derive(Debug)]
pub struct Gather {
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    packet: Packet,
    run: Run,
}

impl Default for Gather {
    fn default() -> Self {
        Self {
            open: Vec::with_capacity(RUNS_MAX),
        }
    }
}

impl Gather {
    /// Takes in one datagram; `train` if others of its length came with it. What is closed by it goes behind
    /// `batch`: [`Gather::len`] and the length of `batch` grow by one at most, taken together. `false` if no slot was
    /// free for it.
    pub fn push(
        &mut self,
        datagram: &[u8],
        (meta, train): (Meta, bool),
        pool: &mut Pool,
        batch: &mut Vec<Packet>,
    ) -> bool {
        let keyed = datagram
            .split_at_checked(gre::HEADER_LEN)
            .filter(|(header, _)| header.starts_with(&KEY_ALONE));
        let Some((_, inner)) = keyed else {
            // Whatever it is, it may be of any flow.
            self.close(batch);
            return pass(datagram, meta, pool, batch);
        };
        let of_flow = self.open.iter().position(|open| open.may_precede(inner));
        if let Some(index) = of_flow {
            let open = &mut self.open[index];
            if open.joins(datagram, &meta) && open.has_room(datagram.len(), pool) {
                let room = &mut open.packet.bytes_mut()[gre::HEADER_LEN..];
                open.run.join(room, inner);
                return true;
            }
            self.close_one(index, batch);
        }
        let Some(run) = Run::start(inner) else {
            // What has no ports may be of several flows.
            while let Some(index) = self.open.iter().position(|open| open.may_precede(inner)) {
                self.close_one(index, batch);
            }
            return pass(datagram, meta, pool, batch);
        };
        let room = if train || datagram.len() > SMALL {
            LARGE
        } else {
            SMALL
        };
        let Some(mut packet) = pool.lend(room, meta) else {
            return false;
        };
        packet.bytes_mut()[..datagram.len()].copy_from_slice(datagram);
        if self.open.len() == RUNS_MAX {
            self.close_one(0, batch);
        }
        self.open.push(Open { packet, run });
        true
    }

    /// Hands the open runs on.
    pub fn close(&mut self, batch: &mut Vec<Packet>) {
        batch.extend(self.open.drain(..).map(Open::finish));
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn close_one(&mut self, index: usize, batch: &mut Vec<Packet>) {
        batch.push(self.open.remove(index).finish());
    }
}

/// Hands on a datagram that nothing can join.
fn pass(datagram: &[u8], meta: Meta, pool: &mut Pool, batch: &mut Vec<Packet>) -> bool {
    let lent = pool.lend_copy(datagram, meta);
    let has_slot = lent.is_some();
    batch.extend(lent);
    has_slot
}

impl Open {
    /// Whether `inner` may be of the same flow, hence has to come after it.
    #[inline]
    fn may_precede(&self, inner: &[u8]) -> bool {
        let head = &self.packet.bytes()[gre::HEADER_LEN..];
        self.run.may_share_flow(head, inner)
    }

    /// Whether a datagram, which has a GRE header, may join the run.
    #[inline]
    fn joins(&mut self, datagram: &[u8], meta: &Meta) -> bool {
        let Open { packet, run } = self;
        let (header, inner) = datagram.split_at(gre::HEADER_LEN);
        let (own_header, head) = packet.bytes().split_at(gre::HEADER_LEN);
        packet.meta == *meta && header == own_header && run.accepts(head, inner)
    }

    /// Makes room for one datagram more.
    fn has_room(&mut self, more: usize, pool: &mut Pool) -> bool {
        let len = gre::HEADER_LEN + self.run.total_len();
        if len + more <= self.packet.len() {
            return true;
        }
        if self.packet.len() == LARGE {
            return false;
        }
        let Some(mut larger) = pool.lend(LARGE, self.packet.meta) else {
            return false;
        };
        larger.bytes_mut()[..len].copy_from_slice(&self.packet.bytes()[..len]);
        pool.take_back(std::mem::replace(&mut self.packet, larger));
        true
    }

    fn finish(self) -> Packet {
        let Self { mut packet, run } = self;
        packet.truncate(gre::HEADER_LEN + run.total_len());
        packet.meta.offload = run.finish(&mut packet.bytes_mut()[gre::HEADER_LEN..]);
        packet
    }
}

#[cfg(test)]
mod tests;
