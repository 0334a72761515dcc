//! One member: a replica, its log on a simulated disk, its registers, and whoever waits for an answer.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use anyedge_ccn::raft::{
    Apply, Config, Files, Kept, Place, Planted, Point, ReadTicket, Refused, Replica, Role, Store,
    StoreError, Work, Write, fresh, joining,
};
use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_proto::raft::Message;
use anyedge_sim::disk::{Disk, DiskFile, DiskSpec};
use bytes::Bytes;

use super::Checkers;
use super::register::Registers;

/// A log this long is compacted.
const LOG_MAX: usize = 24;
/// What stays behind a snapshot.
const KEPT: Kept = Kept {
    entries: 6,
    bytes: 2_000,
};

/// A disk that the store can use.
#[derive(Clone)]
struct Shelf(Disk);

impl Files for Shelf {
    type File = DiskFile;

    fn open_file(&self, name: &str) -> io::Result<DiskFile> {
        self.0.open_file(name)
    }

    fn rename_file(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename_file(from, to)
    }
}

/// What a request comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// It did nothing and never will.
    Refused,
    /// Done; whether it changed anything.
    Done(bool),
    Value(Option<u64>),
}

/// A member that runs.
struct Running {
    replica: Replica,
    store: Store<Shelf>,
    writing: Option<Write>,
    queued: Option<Write>,
    registers: Registers,
    applied: u64,
    /// Terms of the log, and the place before it.
    log: BTreeMap<u64, u64>,
    truncated: u64,
    proposals: BTreeMap<u64, (Place, u64)>,
    reads: BTreeMap<ReadTicket, (usize, u64)>,
    waiting_reads: Vec<(u64, usize, u64)>,
    /// A snapshot that is being made.
    snapshot: Option<(Point, Bytes)>,
}

/// A member and its machine.
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) disk: Disk,
    voters: Vec<u64>,
    seed: Seed,
    config: Config,
    running: Option<Running>,
    /// Lives so far: events of an earlier one mean nothing.
    pub(crate) life: u64,
    planted: Option<Planted>,
    /// The member's clock runs so many ppm too fast, and is so many ns ahead.
    pub(crate) ahead: i64,
    pub(crate) rate_ppm: i64,
}

/// What a member's doings come to outside of it.
#[derive(Default)]
pub(crate) struct Doings {
    pub(crate) messages: Vec<Message>,
    pub(crate) answers: Vec<(u64, Answer)>,
    /// A write has begun.
    pub(crate) writes: bool,
}

impl Member {
    pub(crate) fn new(id: u64, voters: &[u64], seed: Seed, planted: Option<Planted>) -> Member {
        let mut config = Config::new(id, Duration::from_millis(150));
        config.tick = Duration::from_millis(10);
        (
            config.heartbeat_ticks,
            config.election_ticks_min,
            config.election_ticks_max,
        ) = (4, 15, 30);
        config.message_bytes_max = 300;
        config.snapshot_ticks = 20;
        let rng = seed.stream(&id.to_string(), "disk");
        Member {
            id,
            disk: Disk::new(DiskSpec::SOLID_STATE, rng),
            voters: voters.to_vec(),
            seed,
            config,
            running: None,
            life: 0,
            planted,
            ahead: 0,
            rate_ppm: 0,
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.running.is_some()
    }

    /// What the member's clock shows at `now`.
    pub(crate) fn clock(&self, now: Instant) -> Instant {
        let now = now.as_nanos() as i64;
        let shown = now + now / 1_000_000 * self.rate_ppm + self.ahead;
        Instant::from_nanos(shown.max(0) as u64)
    }

    pub(crate) fn start(&mut self, now: Instant, checkers: &mut Checkers) -> Result<(), String> {
        let first = if self.voters.contains(&self.id) {
            fresh(&self.voters)
        } else {
            joining()
        };
        let (store, kept) = match Store::open(Shelf(self.disk.clone()), first) {
            Ok(opened) => opened,
            Err(StoreError::Disk(_)) => return Ok(()),
            Err(error) => return Err(format!("{}: {error}", self.id)),
        };
        self.life += 1;
        let truncated = kept.foundation.index;
        let mut before = (truncated > 0).then_some(kept.foundation.term);
        let mut log = BTreeMap::new();
        for entry in &kept.entries {
            checkers.log_matching.holds(entry, before)?;
            before = Some(entry.term);
            log.insert(entry.index, entry.term);
        }
        let snapshot = kept.foundation.snapshot.clone().unwrap_or_default();
        let rng = self
            .seed
            .stream(&self.id.to_string(), &format!("elections {}", self.life));
        let clock = self.clock(now);
        let replica = Replica::new(self.config.clone(), kept, rng, clock);
        let mut replica = replica.map_err(|refused| format!("{}: {refused:?}", self.id))?;
        if let Some(bug) = self.planted {
            replica.plant(bug);
        }
        self.running = Some(Running {
            replica,
            store,
            writing: None,
            queued: None,
            registers: Registers::restore(&snapshot.state),
            applied: snapshot.index,
            log,
            truncated,
            proposals: BTreeMap::new(),
            reads: BTreeMap::new(),
            waiting_reads: Vec::new(),
            snapshot: None,
        });
        Ok(())
    }

    /// The machine loses its power; with `half_way`, in the middle of its write.
    pub(crate) fn crash(&mut self, half_way: bool) {
        if let Some(mut running) = self.running.take() {
            if let Some(write) = running.writing.filter(|_| half_way) {
                self.disk.fail_after_syncs(0);
                // It fails, as it is meant to, with some of it written.
                drop(running.store.write(&write.record));
            }
            self.disk.crash();
        }
    }

    /// When it next wants to be told the time, on its own clock.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.running
            .as_ref()
            .map(|running| running.replica.poll_timeout())
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        let clock = self.clock(now);
        if let Some(running) = &mut self.running {
            running.replica.tick(clock);
        }
    }

    pub(crate) fn hear(&mut self, message: Message) -> Result<(), String> {
        if let Some(running) = &mut self.running {
            match running.replica.step(message) {
                Ok(()) | Err(Refused::Message(anyedge_ccn::raft::Unsound::Stranger)) => {}
                Err(refused) => return Err(format!("{} refuses a message: {refused:?}", self.id)),
            }
        }
        Ok(())
    }

    /// A client's command: whether it waits for an answer now.
    pub(crate) fn propose(&mut self, request: u64, data: Vec<u8>) -> bool {
        let Some(running) = &mut self.running else {
            return false;
        };
        match running.replica.propose(data.into(), Bytes::new()) {
            Ok(place) => {
                running.proposals.insert(place.index, (place, request));
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn read(&mut self, request: u64, key: usize) -> bool {
        let Some(running) = &mut self.running else {
            return false;
        };
        match running.replica.read_index() {
            Ok(ticket) => {
                running.reads.insert(ticket, (key, request));
                true
            }
            Err(_) => false,
        }
    }

    /// The replica, for what needs nothing else of the member.
    pub(crate) fn replica(&mut self) -> Option<&mut Replica> {
        self.running.as_mut().map(|running| &mut running.replica)
    }

    /// The write that had begun is at its end. True when it is durable.
    pub(crate) fn write_done(&mut self) -> Result<bool, String> {
        let Some(running) = &mut self.running else {
            return Ok(false);
        };
        let Some(write) = running.writing.take() else {
            return Ok(false);
        };
        match running.store.write(&write.record) {
            Ok(()) => {
                running.replica.persisted(write.number);
                Ok(true)
            }
            // There is no room: again later, with what came meanwhile.
            Err(StoreError::Disk(_)) => {
                let mut again = write;
                if let Some(queued) = running.queued.take() {
                    again.absorb(queued);
                }
                running.queued = Some(again);
                Ok(false)
            }
            Err(error) => Err(format!("{}: {error}", self.id)),
        }
    }

    /// Does all that the replica wants done.
    pub(crate) fn work(&mut self, checkers: &mut Checkers) -> Result<Doings, String> {
        let mut doings = Doings::default();
        let Some(running) = &mut self.running else {
            return Ok(doings);
        };
        let work = running.replica.ready();
        let wants_snapshot = work.wants_snapshot;
        running.do_all(work, &mut doings, checkers)?;
        // What was begun when there was work last is done by now.
        if let Some((point, state)) = running.snapshot.take() {
            running.replica.compact(point, state, KEPT);
            let work = running.replica.ready();
            running.do_all(work, &mut doings, checkers)?;
        } else if wants_snapshot || running.replica.log_size().0 > LOG_MAX {
            let point = running.replica.point();
            let state = running.registers.snapshot();
            running.snapshot = point.map(|point| (point, state.into()));
        }
        if running.writing.is_none() && running.queued.is_some() {
            running.writing = running.queued.take();
            doings.writes = true;
        }
        Ok(doings)
    }

    /// Place and state, when it runs.
    pub(crate) fn state(&self) -> Option<(u64, Registers)> {
        let running = self.running.as_ref()?;
        Some((running.applied, running.registers))
    }
}

impl Running {
    fn do_all(
        &mut self,
        work: Work,
        doings: &mut Doings,
        checkers: &mut Checkers,
    ) -> Result<(), String> {
        doings.messages.extend(work.messages);
        if let Some(write) = work.write {
            self.take_write(write, checkers)?;
        }
        let term = self.replica.leadership().term;
        for apply in work.apply {
            self.apply(apply, term, doings, checkers)?;
        }
        for (ticket, index) in work.reads {
            if let Some((key, request)) = self.reads.remove(&ticket) {
                self.waiting_reads.push((index, key, request));
            }
        }
        for (index, key, request) in std::mem::take(&mut self.waiting_reads) {
            if index <= self.applied {
                let value = Answer::Value(self.registers.read(key));
                doings.answers.push((request, value));
            } else {
                self.waiting_reads.push((index, key, request));
            }
        }
        if let Some(now) = work.leadership.filter(|now| now.role == Role::Leader) {
            checkers
                .election_safety
                .elected(now.term, self.replica.id())?;
            checkers
                .leader_completeness
                .elected(now.term, self.truncated, &self.log)?;
        }
        Ok(())
    }

    /// Keeps a mirror of the log, which the checkers look at.
    fn take_write(&mut self, write: Write, checkers: &mut Checkers) -> Result<(), String> {
        let record = &write.record;
        let mut before = None;
        if let Some(foundation) = &record.foundation {
            self.log.clear();
            self.truncated = foundation.index;
            before = Some(foundation.term);
        }
        if let Some(first) = record.entries.first() {
            self.log.split_off(&first.index);
            before = before.or_else(|| self.log.get(&(first.index - 1)).copied());
        }
        for entry in &record.entries {
            checkers.log_matching.holds(entry, before)?;
            before = Some(entry.term);
            self.log.insert(entry.index, entry.term);
        }
        match &mut self.queued {
            Some(queued) => queued.absorb(write),
            None => self.queued = Some(write),
        }
        Ok(())
    }

    fn apply(
        &mut self,
        apply: Apply,
        known_in: u64,
        doings: &mut Doings,
        checkers: &mut Checkers,
    ) -> Result<(), String> {
        let index = apply.index();
        let (term, changed) = match apply {
            Apply::Restore(snapshot) => {
                self.registers = Registers::restore(&snapshot.state);
                (snapshot.term, false)
            }
            Apply::Command { term, data, .. } => {
                checkers
                    .leader_completeness
                    .committed(index, term, known_in);
                (term, self.registers.apply(&data))
            }
            Apply::Nothing { term, .. } => {
                checkers
                    .leader_completeness
                    .committed(index, term, known_in);
                (term, false)
            }
        };
        self.applied = index;
        checkers
            .state_machine_safety
            .applied(index, term, self.registers)?;
        if let Some((place, request)) = self.proposals.remove(&index) {
            let is_ours = place.term == term;
            if is_ours {
                checkers.state_machine_safety.acknowledged(index, term);
            }
            let answer = if is_ours {
                Answer::Done(changed)
            } else {
                Answer::Refused
            };
            doings.answers.push((request, answer));
        }
        Ok(())
    }
}
