//! Restoring: the table becomes what a backup holds, in one command.
//!
//! All objects but secrets are replaced: a backup has none, and those that are there stay. Slots, requests and the
//! revision go on; to those who follow it is a delta like any other. What a backup holds was checked when it came to
//! be, and is checked again, as if all of it were new: a table of another version of this program may know other rules.

use std::collections::BTreeMap;

use super::object::{Attachment, CcnRoute, ClbNode, Key, Kind, Object, SnatBlock, SnatIp};
use super::refusal::{Reason, Refusal};
use super::transaction::{CHANGES_MAX, Transaction};
use super::{Table, unknown};

impl Table {
    /// All objects but secrets: what [`Change::Restore`](super::change::Change::Restore) takes.
    pub fn restorable(&self) -> Vec<Object> {
        let kinds = Kind::ALL.iter().filter(|kind| **kind != Kind::Secret);
        let entries = kinds.flat_map(|kind| self.objects.entries(*kind));
        entries.map(|(_, entry)| (*entry.object).clone()).collect()
    }
}

impl Transaction<'_> {
    pub(super) fn restore(&mut self, objects: &[Object]) -> Result<(), Refusal> {
        if objects.len() > CHANGES_MAX {
            return Err(Reason::Limit.because(format_args!(
                "a backup of {} objects; at most {CHANGES_MAX} are restored",
                objects.len()
            )));
        }
        let mut wanted: BTreeMap<Key, &Object> = BTreeMap::new();
        for object in objects {
            let key = object.key();
            if object.is_secret() {
                return Err(Reason::Value.because("a backup has no secrets"));
            }
            if wanted.insert(key.clone(), object).is_some() {
                return Err(Reason::Duplicate.because(format_args!("{key} is there twice")));
            }
        }
        let mut gone = Vec::new();
        for kind in Kind::ALL.iter().filter(|kind| **kind != Kind::Secret) {
            let keys = self.objects.entries(*kind);
            let keys = keys.map(|(name, _)| Key::new(*kind, name));
            gone.extend(keys.filter(|key| !wanted.contains_key(key)));
        }
        gone.iter().for_each(|key| self.unset(key));
        for object in wanted.values() {
            self.set_object((*object).clone());
        }
        self.checks_as_new();
        wanted.iter().try_for_each(|(key, object)| {
            self.check(key, None)?;
            self.check_made(object)
        })
    }

    /// What the table makes by itself must stand on something, too.
    fn check_made(&self, object: &Object) -> Result<(), Refusal> {
        match object {
            Object::SnatBlock(block) => {
                let ip = SnatIp {
                    clb: block.clb.clone(),
                    address: block.address,
                }
                .full_name();
                if self.objects.get::<SnatIp>(&ip).is_none() {
                    return Err(unknown(object.key(), "SNAT address", ip));
                }
                self.check_lessee(block)
            }
            Object::CcnRoute(CcnRoute {
                ccn, attachment, ..
            }) => {
                let name = format!("{ccn}/{attachment}");
                if self.objects.get::<Attachment>(&name).is_none() {
                    return Err(unknown(object.key(), "attachment", name));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_lessee(&self, block: &SnatBlock) -> Result<(), Refusal> {
        if !block.node.is_empty() && self.objects.get::<ClbNode>(&block.node).is_none() {
            return Err(unknown(block.full_name(), "CLB node", &block.node));
        }
        Ok(())
    }
}
