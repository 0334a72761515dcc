//! The watch over CLB nodes: what many nodes' own probes say of one, made into its membership.
//!
//! Whoever probes a CLB node reports when it comes up or goes down. When more than half of those that report
//! on a node have seen it down for `confirm` on end, it is lost; when more than half see it up for as long, it
//! is in again. With neither majority it stays what it is, so that a single reporter with a broken link, or one
//! that cannot make up its mind, moves nothing. A node that nobody reports on stays what it is as well.
//!
//! Invariant: the watch is a pure function of what it was told and when; opinions are bounded.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use anyedge_net::time::Instant;

use super::Membership;

/// Opinions (reporter and subject) that are kept; further ones are ignored and counted.
pub const OPINIONS_MAX: usize = 1 << 20;

/// What is known of all CLB nodes that somebody reports on.
#[derive(Clone, Debug)]
pub struct Watch {
    confirm: Duration,
    subjects: BTreeMap<String, Subject>,
    /// Subjects whose majority is against what they are taken for.
    contested: BTreeSet<String>,
    /// Subjects that changed, for the next poll.
    changed: BTreeMap<String, Membership>,
    opinions: usize,
    ignored: u64,
    /// The latest time that was handed in.
    now: Instant,
}

#[derive(Clone, Default, Debug)]
struct Subject {
    lost: bool,
    /// Reporter to whether it sees the subject up.
    opinions: BTreeMap<String, bool>,
    /// How many do not.
    down: usize,
    /// Since when the subject has been contested. `None` when it is not, or since a reporter was forgotten:
    /// then it counts from the next time that is handed in.
    since: Option<Instant>,
}

impl Watch {
    /// A watch that takes everybody for alive, and believes a majority after `confirm`.
    pub fn new(confirm: Duration) -> Watch {
        Watch {
            confirm,
            subjects: BTreeMap::new(),
            contested: BTreeSet::new(),
            changed: BTreeMap::new(),
            opinions: 0,
            ignored: 0,
            now: Instant::ZERO,
        }
    }

    /// Takes in that `reporter` sees `subject` up or down, until it says otherwise or is forgotten.
    pub fn report(&mut self, now: Instant, reporter: &str, subject: &str, up: bool) {
        self.advance(now);
        let known = self.subjects.get(subject);
        let opinion = known
            .and_then(|known| known.opinions.get(reporter))
            .copied();
        if opinion == Some(up) {
            return;
        }
        if opinion.is_none() && self.opinions == OPINIONS_MAX {
            self.ignored += 1;
            return;
        }
        self.opinions += usize::from(opinion.is_none());
        let entry = self.subjects.entry(subject.to_owned()).or_default();
        entry.down = entry.down + usize::from(!up) - usize::from(opinion == Some(false));
        entry.opinions.insert(reporter.to_owned(), up);
        if entry.is_contested() {
            entry.since.get_or_insert(self.now);
            self.contested.insert(subject.to_owned());
        } else {
            entry.since = None;
            self.contested.remove(subject);
        }
    }

    /// Drops all that `reporter` said: it is down itself, or gone.
    pub fn forget(&mut self, reporter: &str) {
        for (name, subject) in &mut self.subjects {
            if subject.forget(reporter) {
                self.opinions -= 1;
                settle(&mut self.contested, name, subject);
            }
        }
    }

    /// Drops what `reporter` said of `subject`: it does not look there any more.
    pub fn withdraw(&mut self, reporter: &str, subject: &str) {
        let Some(known) = self.subjects.get_mut(subject) else {
            return;
        };
        if known.forget(reporter) {
            self.opinions -= 1;
            settle(&mut self.contested, subject, known);
        }
    }

    /// Takes `subject` for lost or alive, until a majority says otherwise for long enough.
    pub fn assume(&mut self, subject: &str, lost: bool) {
        let known = self.subjects.entry(subject.to_owned()).or_default();
        if known.lost == lost {
            return;
        }
        known.lost = lost;
        known.since = None;
        self.changed.remove(subject);
        settle(&mut self.contested, subject, known);
    }

    /// Whether `subject` is taken for lost.
    pub fn is_lost(&self, subject: &str) -> bool {
        self.subjects.get(subject).is_some_and(|known| known.lost)
    }

    /// Who was found lost, or in again, since the last poll: by name, as it is at `now`.
    pub fn poll(&mut self, now: Instant) -> Vec<(String, Membership)> {
        self.advance(now);
        core::mem::take(&mut self.changed).into_iter().collect()
    }

    /// When a poll will find something if nobody reports before; `None` when nothing is contested.
    pub fn wake_at(&self) -> Option<Instant> {
        if !self.changed.is_empty() {
            return Some(self.now);
        }
        let contested = self
            .contested
            .iter()
            .filter_map(|name| self.subjects.get(name));
        contested
            .map(|subject| subject.since.map_or(self.now, |since| since + self.confirm))
            .min()
    }

    /// Reports that were ignored because [`OPINIONS_MAX`] were kept.
    pub const fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Believes the majorities that have lasted until `now`. What is found does not depend on how often it
    /// is asked for.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let (now, confirm) = (self.now, self.confirm);
        let (subjects, changed) = (&mut self.subjects, &mut self.changed);
        self.contested.retain(|name| {
            let Some(subject) = subjects.get_mut(name) else {
                return false;
            };
            let since = *subject.since.get_or_insert(now);
            if since + confirm > now {
                return true;
            }
            subject.lost = !subject.lost;
            subject.since = None;
            let membership = if subject.lost {
                Membership::Lost
            } else {
                Membership::In
            };
            changed.insert(name.clone(), membership);
            false
        });
    }
}

/// A subject without a new opinion is contested or is not.
fn settle(contested: &mut BTreeSet<String>, name: &str, subject: &mut Subject) {
    if subject.is_contested() {
        contested.insert(name.to_owned());
    } else {
        subject.since = None;
        contested.remove(name);
    }
}

impl Subject {
    /// Whether `reporter` had an opinion, which is gone.
    fn forget(&mut self, reporter: &str) -> bool {
        let Some(up) = self.opinions.remove(reporter) else {
            return false;
        };
        self.down -= usize::from(!up);
        true
    }

    /// Whether more than half say that the subject is not what it is taken for.
    fn is_contested(&self) -> bool {
        let against = if self.lost {
            self.opinions.len() - self.down
        } else {
            self.down
        };
        against * 2 > self.opinions.len()
    }
}

#[cfg(test)]
mod tests;
