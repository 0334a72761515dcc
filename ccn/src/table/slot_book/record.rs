//! Slot books in a snapshot: who owns each slot by place, and which slots have moved a short while ago.
//!
//! Where slots are wanted follows from the parts and is made anew. Whatever does not fit together is refused.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use anyedge_net::id::NodeId;
use anyedge_net::slot::{Owners, SLOTS, SlotMap};
use anyedge_net::time::{Instant, nanos};
use anyedge_proto::table::v1 as pb;

use super::super::convert;
use super::super::membership::Part;
use super::super::snapshot::SnapshotError;
use super::{Move, Moved, Moves, Rules, SlotBook, SlotBooks, wanted};

impl SlotBooks {
    pub(in super::super) fn to_record(&self) -> Vec<pb::SlotBook> {
        let books = self.0.iter();
        books.map(|(region, book)| book.to_record(region)).collect()
    }

    pub(in super::super) fn from_record(
        records: Vec<pb::SlotBook>,
    ) -> Result<SlotBooks, SnapshotError> {
        let mut books = SlotBooks::default();
        for record in records {
            let region = record.region.clone();
            let book = SlotBook::from_record(record).ok_or(SnapshotError::SlotBook)?;
            books.0.insert(region, book);
        }
        Ok(books)
    }
}

impl SlotBook {
    fn to_record(&self, region: &str) -> pb::SlotBook {
        let owners = |owner: fn(Owners) -> NodeId| -> Vec<u8> {
            let slots = (0..SLOTS as u16).map(|slot| owner(self.actual.owners(slot)).0);
            slots.flat_map(u16::to_be_bytes).collect()
        };
        let part = |(_, name, part): &(NodeId, String, Part)| pb::slot_book::Part {
            clb_node: name.clone(),
            membership: convert::membership_to(part.membership).into(),
            weight: part.weight.into(),
        };
        let step = |step: &Move| pb::slot_book::Move {
            at: step.at.as_nanos(),
            handed: step.why == Moved::Handed,
            pending: step.pending,
        };
        let moved = self.moved.iter().enumerate();
        let moved = moved.filter(|(_, number)| **number != 0);
        pb::SlotBook {
            region: region.to_owned(),
            parts: self.parts.iter().map(part).collect(),
            primaries: owners(|owners| owners.primary),
            secondaries: owners(|owners| owners.secondary),
            moved: moved
                .flat_map(|(slot, number)| [slot as u32, *number])
                .collect(),
            first_move: self.moves.first,
            moves: self.moves.list.iter().map(step).collect(),
            settle_ns: nanos(self.rules.settle),
            history: self.rules.history,
        }
    }

    fn from_record(record: pb::SlotBook) -> Option<SlotBook> {
        let size = 2 * SLOTS as usize;
        if record.primaries.len() != size || record.secondaries.len() != size {
            return None;
        }
        let owner = |bytes: &[u8], slot: u16| {
            let at = 2 * usize::from(slot);
            NodeId(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
        };
        let actual = SlotMap::from_fn(|slot| Owners {
            primary: owner(&record.primaries, slot),
            secondary: owner(&record.secondaries, slot),
        });
        let part = |(place, part): (usize, &pb::slot_book::Part)| {
            let membership = convert::membership_from(part.membership).ok()?;
            let weight = u8::try_from(part.weight).ok()?;
            let place = NodeId(u16::try_from(place).ok()?);
            Some((place, part.clb_node.clone(), Part { membership, weight }))
        };
        let parts = record.parts.iter().enumerate().map(part);
        let parts = parts.collect::<Option<Vec<_>>>()?;
        let mut moved = vec![0; SLOTS as usize];
        for pair in record.moved.chunks(2) {
            let [slot, number] = *pair else {
                return None;
            };
            *moved.get_mut(slot as usize)? = number;
        }
        let step = |step: &pb::slot_book::Move| Move {
            at: Instant::from_nanos(step.at),
            why: if step.handed {
                Moved::Handed
            } else {
                Moved::Bereft
            },
            pending: step.pending,
        };
        // A region that never had anybody alive has no wanted map of its own: it is made when somebody is.
        let map = wanted(&parts);
        Some(SlotBook {
            rules: Rules {
                history: record.history,
                settle: Duration::from_nanos(record.settle_ns),
            },
            wanted: map,
            actual: Arc::new(actual),
            moved,
            moves: Moves {
                first: record.first_move,
                list: record.moves.iter().map(step).collect::<VecDeque<_>>(),
            },
            parts,
        })
    }
}
