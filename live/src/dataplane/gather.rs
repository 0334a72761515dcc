//! From datagrams of the tunnel mouth to packets for the forwarder: a train becomes one super-packet.
//!
//! One run is open at a time, since the packets of a train come one behind the other. A datagram that may join it is
//! copied behind the others, headers off; any other closes it and begins the next. All in a run came from one peer by
//! one port, with the same GRE header and the same outer TOS and TTL; what else must agree, [`Run`] says.
//!
//! Invariant: the packet of an open run is on loan; [`Gather::close`] hands it on before anybody counts slots.

use anyedge_net::packet::{HEADROOM, LARGE_SLOT, Meta, Packet, Pool, SMALL_SLOT};
use anyedge_net::wire::coalesce::{LEN_MAX, Run};
use anyedge_net::wire::gre;

/// GRE with a key and nothing else, the only header behind which packets are put together.
const KEY_ALONE: [u8; 2] = [0x20, 0];
/// What a slot for super-packets holds.
const LARGE: usize = LARGE_SLOT - HEADROOM;
const SMALL: usize = SMALL_SLOT - HEADROOM;
const _: () = assert!(
    gre::HEADER_LEN + LEN_MAX <= LARGE,
    "a super-packet and its key"
);

/// The open run, if there is one.
#[derive(Debug, Default)]
pub struct Gather {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    packet: Packet,
    run: Run,
}

impl Gather {
    /// Takes in one datagram; `train` if others of its length came with it. What is closed by it goes behind
    /// `batch`. `false` if no slot was free for it.
    pub fn push(
        &mut self,
        datagram: &[u8],
        (meta, train): (Meta, bool),
        pool: &mut Pool,
        batch: &mut Vec<Packet>,
    ) -> bool {
        if let Some(open) = &mut self.open {
            if open.joins(datagram, &meta) && open.has_room(datagram.len(), pool) {
                let inner = &datagram[gre::HEADER_LEN..];
                let room = &mut open.packet.bytes_mut()[gre::HEADER_LEN..];
                open.run.join(room, inner);
                return true;
            }
            self.close(batch);
        }
        let run = datagram
            .split_at_checked(gre::HEADER_LEN)
            .filter(|(header, _)| header.starts_with(&KEY_ALONE))
            .and_then(|(_, inner)| Run::start(inner));
        let Some(run) = run else {
            let lent = pool.lend_copy(datagram, meta);
            let has_slot = lent.is_some();
            batch.extend(lent);
            return has_slot;
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
        self.open = Some(Open { packet, run });
        true
    }

    /// Hands the open run on.
    pub fn close(&mut self, batch: &mut Vec<Packet>) {
        let Some(Open { mut packet, run }) = self.open.take() else {
            return;
        };
        packet.truncate(gre::HEADER_LEN + run.total_len());
        packet.meta.offload = run.finish(&mut packet.bytes_mut()[gre::HEADER_LEN..]);
        batch.push(packet);
    }
}

impl Open {
    /// Whether a datagram may join the run.
    #[inline]
    fn joins(&mut self, datagram: &[u8], meta: &Meta) -> bool {
        let Open { packet, run } = self;
        let Some((header, inner)) = datagram.split_at_checked(gre::HEADER_LEN) else {
            return false;
        };
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
}

#[cfg(test)]
mod tests;
