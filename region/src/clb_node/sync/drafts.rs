//! Drafts: entries and states that wait for the end of the call, one message for each node.
//!
//! Memory is reserved when the routes name the nodes, so that drafting asks for none. A message is sent early
//! when the next item would not fit the path.

use anyedge_ccn::exits::Exits;
use anyedge_net::id::NodeId;
use anyedge_net::outbox::Outbox;
use anyedge_net::wire::gre::{self, GreKey};

use super::{SyncCounts, straight_to};
use crate::clb_node::entries::{HEADER_LEN, ITEM_LEN_MAX, Item, write_header};

/// Largest message, in bytes, where the path would carry more.
pub const MESSAGE_LEN_MAX: usize = 1_400;

/// Items for one node.
struct Draft {
    to: NodeId,
    items: Vec<u8>,
    count: u16,
}

/// The drafts of a node.
#[derive(Default)]
pub(super) struct Drafts {
    drafts: Vec<Draft>,
    /// Places in `drafts` of those with items.
    begun: Vec<u16>,
}

impl Drafts {
    /// Makes room for a draft to each of `nodes`; all were sent before.
    pub(super) fn renew(&mut self, nodes: impl Iterator<Item = NodeId>) {
        self.drafts = nodes
            .map(|to| Draft {
                to,
                items: Vec::with_capacity(MESSAGE_LEN_MAX),
                count: 0,
            })
            .collect();
        self.begun = Vec::with_capacity(self.drafts.len());
    }

    /// Whether nothing waits.
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    /// Adds `item` to the draft for `to`.
    pub(super) fn add(
        &mut self,
        to: NodeId,
        item: &Item,
        exits: &Exits,
        counts: &mut SyncCounts,
        out: &mut Outbox,
    ) {
        let place = self.drafts.iter().position(|draft| draft.to == to);
        let (Some(place), Some(exit)) = (place, straight_to(exits, to)) else {
            counts.unsent += 1;
            return;
        };
        let draft = &mut self.drafts[place];
        let items_len_max = MESSAGE_LEN_MAX
            .min(usize::from(exit.inner_mtu))
            .saturating_sub(HEADER_LEN);
        if draft.items.len() + ITEM_LEN_MAX > items_len_max && draft.count > 0 {
            draft.send(exits, counts, out);
        }
        if draft.count == 0 && !self.begun.contains(&(place as u16)) {
            self.begun.push(place as u16);
        }
        let before = draft.items.len();
        item.write(&mut draft.items);
        draft.count += 1;
        counts.bytes += (draft.items.len() - before) as u64;
        match item {
            Item::Entry(_) => counts.entries += 1,
            Item::State { .. } => counts.states += 1,
            Item::Load(_) => counts.loads += 1,
        }
    }

    /// Sends all that waits.
    pub(super) fn send(&mut self, exits: &Exits, counts: &mut SyncCounts, out: &mut Outbox) {
        for place in self.begun.drain(..) {
            self.drafts[usize::from(place)].send(exits, counts, out);
        }
    }
}

impl Draft {
    fn send(&mut self, exits: &Exits, counts: &mut SyncCounts, out: &mut Outbox) {
        let count = core::mem::take(&mut self.count);
        let exit = straight_to(exits, self.to);
        let len = gre::HEADER_LEN + HEADER_LEN + self.items.len();
        let packet = exit.and_then(|exit| Some((exit, out.originate(len)?)));
        if let Some((exit, mut packet)) = packet {
            let bytes = packet.bytes_mut();
            gre::write(bytes, gre::PROTOCOL_ENTRIES, GreKey::new(0, false, 0));
            let message = &mut bytes[gre::HEADER_LEN..];
            message[HEADER_LEN..].copy_from_slice(&self.items);
            write_header(message, count);
            out.transmit_tunnel(packet, exit.port, exit.peer, 0, 0);
            counts.messages += 1;
        } else {
            counts.unsent += u64::from(count);
        }
        self.items.clear();
    }
}
