//! Lists, a page at a time: objects of a kind by name, as many as were asked for and fit into a message.

use anyedge_proto::control::v1::{ListReply, ListRequest};
use anyedge_proto::table::v1 as pb;
use prost::Message as _;

use crate::table::object::Kind;
use crate::table::{Entry, Table};

/// Entries of a page.
const ENTRIES_MAX: usize = 4_096;
/// Bytes of a page, by its encoded entries; one entry always fits.
const BYTES_MAX: usize = 2 << 20;

/// One page of a list, taken from the table before it is made into a message.
pub(super) struct Page {
    revision: u64,
    entries: Vec<Entry>,
    limit: usize,
}

impl Page {
    /// What `asked` asks of `kind`.
    pub(super) fn of(table: &Table, kind: Kind, asked: &ListRequest) -> Page {
        let limit = match asked.limit {
            0 => ENTRIES_MAX,
            limit => ENTRIES_MAX.min(limit as usize),
        };
        let entries = table.list(kind, &asked.name_prefix, &asked.after);
        // One more says whether there are more.
        let entries = entries.map(|(_, entry)| entry.clone()).take(limit + 1);
        Page {
            revision: table.revision(),
            entries: entries.collect(),
            limit,
        }
    }

    /// Its revision, its entries, and where it ends, if there are more.
    pub(super) fn entries(mut self) -> (u64, Vec<Entry>, String) {
        let mut next_after = String::new();
        if self.entries.len() > self.limit {
            self.entries.truncate(self.limit);
            let last = self.entries.last();
            next_after = last.map_or_else(String::new, |last| last.object.name());
        }
        (self.revision, self.entries, next_after)
    }

    /// The page as an answer.
    pub(super) fn reply(self) -> ListReply {
        let mut reply = ListReply {
            revision: self.revision,
            ..ListReply::default()
        };
        let mut bytes = 0;
        let mut last = String::new();
        for entry in &self.entries {
            let message = pb::Entry::from(entry);
            bytes += message.encoded_len();
            let is_full = reply.entries.len() == self.limit || bytes > BYTES_MAX;
            if is_full && !reply.entries.is_empty() {
                reply.next_after = last;
                return reply;
            }
            last = entry.object.name();
            reply.entries.push(message);
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::change::{Change, Command, PutMode};
    use crate::table::object::{Object, Region, Secret};
    use anyedge_net::time::Instant;

    fn table(names: &[&str]) -> Table {
        let region = |name: &&str| {
            let name = (*name).to_owned();
            Change::Put(Object::Region(Region { name }), PutMode::Create)
        };
        let secret = Object::Secret(Secret {
            name: Secret::SLOT_HASH_KEY.to_owned(),
            value: vec![7; 16],
        });
        let mut changes: Vec<Change> = names.iter().map(region).collect();
        changes.push(Change::Put(secret, PutMode::Create));
        let mut table = Table::new();
        let command = Command::new(Instant::ZERO, Change::All(changes));
        table.apply(3, &command).expect("they are sound");
        table
    }

    fn names(reply: &ListReply) -> Vec<String> {
        let objects = reply
            .entries
            .iter()
            .filter_map(|entry| entry.object.as_ref());
        let named = objects.filter_map(|object| match &object.object {
            Some(pb::object::Object::Region(region)) => Some(region.name.clone()),
            _ => None,
        });
        named.collect()
    }

    #[test]
    fn pages_follow_each_other_to_the_end_without_gap_or_repeat() {
        let all = ["a", "b", "b-1", "b-2", "c"];
        let table = table(&all);
        for limit in 1..=6 {
            let mut found = Vec::new();
            let mut asked = ListRequest {
                limit,
                ..ListRequest::default()
            };
            loop {
                let reply = Page::of(&table, Kind::Region, &asked).reply();
                assert!(reply.entries.len() <= limit as usize);
                assert_eq!(reply.revision, 3);
                found.extend(names(&reply));
                if reply.next_after.is_empty() {
                    break;
                }
                asked.after = reply.next_after;
            }
            assert_eq!(found, all, "limit {limit}");
        }
    }

    #[test]
    fn a_prefix_shows_what_begins_so_and_secrets_are_never_shown() {
        let table = table(&["a", "b", "b-1", "b-2", "c"]);
        let mut asked = ListRequest {
            name_prefix: "b-".to_owned(),
            ..ListRequest::default()
        };
        let reply = Page::of(&table, Kind::Region, &asked).reply();
        assert_eq!(names(&reply), ["b-1", "b-2"]);
        asked.name_prefix = String::new();
        assert!(
            Page::of(&table, Kind::Secret, &asked)
                .reply()
                .entries
                .is_empty()
        );
    }
}
