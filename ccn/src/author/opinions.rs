//! What many nodes' sessions say of CLB nodes, and what comes of it.
//!
//! A node may reach another over several paths; it sees it up when one of its sessions does. Those opinions go to the
//! [`Watch`], which believes majorities. Whoever keeps a table stands behind this: the simulator's steward with ids of
//! paths, controllers with their names.
//!
//! Invariant: sessions are bounded; the watch knows exactly the opinions that follow of them.

use core::time::Duration;
use std::collections::BTreeMap;

use anyedge_net::time::Instant;

use super::Membership;
use super::watch::Watch;

/// Sessions that are kept; further ones are ignored and counted.
pub const SESSIONS_MAX: usize = 1 << 20;

/// Sessions by who has them and whom they are with, and the watch over the latter.
#[derive(Clone, Debug)]
pub struct Opinions<P> {
    confirm: Duration,
    watch: Watch,
    sessions: BTreeMap<String, BTreeMap<String, BTreeMap<P, bool>>>,
    count: usize,
    ignored: u64,
}

impl<P: Ord> Opinions<P> {
    /// No session; a majority is believed after `confirm`.
    pub fn new(confirm: Duration) -> Opinions<P> {
        Opinions {
            confirm,
            watch: Watch::new(confirm),
            sessions: BTreeMap::new(),
            count: 0,
            ignored: 0,
        }
    }

    /// The session of `reporter` with `subject` over `path` came up or went down.
    pub fn hear(&mut self, now: Instant, (reporter, subject): (&str, &str), path: P, up: bool) {
        let is_full = self.count == SESSIONS_MAX;
        let of_reporter = self.sessions.entry(reporter.to_owned()).or_default();
        let sessions = of_reporter.entry(subject.to_owned()).or_default();
        if is_full && !sessions.contains_key(&path) {
            self.ignored += 1;
            return;
        }
        self.count += usize::from(sessions.insert(path, up).is_none());
        let up = sessions.values().any(|up| *up);
        self.watch.report(now, reporter, subject, up);
    }

    /// Of the sessions of `reporter` only those are left that `stays` says so of.
    pub fn retain(
        &mut self,
        now: Instant,
        reporter: &str,
        mut stays: impl FnMut(&str, &P) -> bool,
    ) {
        let Some(of_reporter) = self.sessions.get_mut(reporter) else {
            return;
        };
        let (watch, count) = (&mut self.watch, &mut self.count);
        of_reporter.retain(|subject, sessions| {
            let before = sessions.len();
            sessions.retain(|path, _| stays(subject, path));
            *count -= before - sessions.len();
            if sessions.is_empty() {
                watch.withdraw(reporter, subject);
            } else if sessions.len() < before {
                let up = sessions.values().any(|up| *up);
                watch.report(now, reporter, subject, up);
            }
            !sessions.is_empty()
        });
    }

    /// Drops all that `reporter` said: it is down itself, or gone.
    pub fn forget(&mut self, reporter: &str) {
        let of_reporter = self.sessions.remove(reporter).unwrap_or_default();
        self.count -= of_reporter.values().map(BTreeMap::len).sum::<usize>();
        self.watch.forget(reporter);
    }

    /// Begins to watch with the sessions as they are: `lost` are taken for lost, everybody else for alive, and what
    /// contradicts that has to last from `now` on.
    pub fn begin<'l>(&mut self, now: Instant, lost: impl Iterator<Item = &'l str>) {
        self.watch = Watch::new(self.confirm);
        for subject in lost {
            self.watch.assume(subject, true);
        }
        for (reporter, of_reporter) in &self.sessions {
            for (subject, sessions) in of_reporter {
                let up = sessions.values().any(|up| *up);
                self.watch.report(now, reporter, subject, up);
            }
        }
    }

    /// Takes `subject` for lost or alive, until a majority says otherwise for long enough.
    pub fn assume(&mut self, subject: &str, lost: bool) {
        self.watch.assume(subject, lost);
    }

    /// Whether `subject` is taken for lost.
    pub fn is_lost(&self, subject: &str) -> bool {
        self.watch.is_lost(subject)
    }

    /// Who was found lost, or in again, since the last poll: by name, as it is at `now`.
    pub fn poll(&mut self, now: Instant) -> Vec<(String, Membership)> {
        self.watch.poll(now)
    }

    /// When a poll will find something if nobody reports before.
    pub fn wake_at(&self) -> Option<Instant> {
        self.watch.wake_at()
    }

    /// What was ignored because a table was full.
    pub const fn ignored(&self) -> u64 {
        self.ignored + self.watch.ignored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIRM: Duration = Duration::from_millis(100);

    const fn ms(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn lost(opinions: &mut Opinions<u8>, now: Instant) -> Vec<String> {
        let found = opinions.poll(now).into_iter();
        found.map(|(name, _)| name).collect()
    }

    #[test]
    fn a_node_sees_another_while_one_of_its_sessions_does() {
        let mut opinions = Opinions::new(CONFIRM);
        opinions.hear(ms(0), ("pop.a", "clb-1"), 1, true);
        opinions.hear(ms(0), ("pop.a", "clb-1"), 2, false);
        assert!(lost(&mut opinions, ms(500)).is_empty());
        opinions.hear(ms(500), ("pop.a", "clb-1"), 1, false);
        assert_eq!(opinions.wake_at(), Some(ms(600)));
        assert_eq!(lost(&mut opinions, ms(600)), ["clb-1"]);
        assert!(opinions.is_lost("clb-1"));
    }

    #[test]
    fn sessions_that_are_gone_have_no_say() {
        let mut opinions = Opinions::new(CONFIRM);
        opinions.hear(ms(0), ("pop.a", "clb-1"), 1, true);
        opinions.hear(ms(0), ("pop.a", "clb-1"), 2, false);
        opinions.retain(ms(10), "pop.a", |_, path| *path == 2);
        assert_eq!(lost(&mut opinions, ms(110)), ["clb-1"]);
        opinions.retain(ms(120), "pop.a", |_, _| false);
        opinions.hear(ms(130), ("pop.b", "clb-1"), 1, true);
        assert_eq!(
            opinions.poll(ms(230)),
            [("clb-1".to_owned(), Membership::In)]
        );
        opinions.forget("pop.b");
        assert_eq!(opinions.count, 0);
    }

    #[test]
    fn a_watch_that_begins_believes_nothing_that_was_said_before_it() {
        let mut opinions = Opinions::new(CONFIRM);
        opinions.hear(ms(0), ("pop.a", "clb-1"), 1, false);
        opinions.hear(ms(0), ("pop.a", "clb-2"), 1, true);
        opinions.begin(ms(1_000), ["clb-2"].into_iter());
        assert_eq!(opinions.wake_at(), Some(ms(1_100)));
        assert!(opinions.is_lost("clb-2"));
        assert!(opinions.poll(ms(1_099)).is_empty());
        let found = [
            ("clb-1".to_owned(), Membership::Lost),
            ("clb-2".to_owned(), Membership::In),
        ];
        assert_eq!(opinions.poll(ms(1_100)), found);
    }
}
