//! What goes wrong in one run: a drawn subset of faults, each drawn in turn, until all is healed.

use std::time::Duration;

use anyedge_net::rng::Rng;
use anyedge_proto::raft::{ChangeKind, MemberChange};
use anyedge_sim::disk::DiskSpec;

use super::world::{Event, FAULTS_END, World};

/// One thing that goes wrong, or is over.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The next one is drawn.
    Draw,
    Start(u64),
    HearAgain,
    ClockRight(u64),
    DiskRoom(u64),
    Heal,
}

/// What a run's faults are like.
pub(crate) struct Faults {
    kinds: Vec<Kind>,
    joins: bool,
    pub(crate) drop_ppm: u32,
    pub(crate) double_ppm: u32,
    late_ppm: u32,
    late_ms: u64,
    pub(crate) crash_at_sync_ppm: u32,
    slow_disk_us: u64,
    gap_ms: u64,
    pub(crate) think_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Crash,
    CrashAll,
    Isolate,
    Split,
    OneWay,
    Clock,
    DiskFull,
    Transfer,
    Members,
}

const KINDS: [Kind; 9] = [
    Kind::Crash,
    Kind::CrashAll,
    Kind::Isolate,
    Kind::Split,
    Kind::OneWay,
    Kind::Clock,
    Kind::DiskFull,
    Kind::Transfer,
    Kind::Members,
];

impl Faults {
    /// Each kind is there in half of the runs: a run of all of them hides what one would show.
    pub(crate) fn draw(rng: &mut Rng) -> Faults {
        let kinds: Vec<Kind> = KINDS.into_iter().filter(|_| rng.below(2) == 0).collect();
        let one_of = |rng: &mut Rng, choices: [u64; 3]| choices[rng.below(3) as usize];
        Faults {
            joins: kinds.contains(&Kind::Members),
            kinds,
            drop_ppm: one_of(rng, [0, 20_000, 150_000]) as u32,
            double_ppm: one_of(rng, [0, 0, 50_000]) as u32,
            late_ppm: one_of(rng, [0, 20_000, 300_000]) as u32,
            late_ms: one_of(rng, [20, 100, 400]),
            crash_at_sync_ppm: one_of(rng, [0, 0, 30_000]) as u32,
            slow_disk_us: one_of(rng, [300, 3_000, 30_000]),
            gap_ms: one_of(rng, [60, 150, 400]),
            think_ms: one_of(rng, [10, 25, 50]),
        }
    }

    /// A member that may join the first ones.
    pub(crate) fn joiner(&self) -> Option<u64> {
        self.joins.then_some(6)
    }

    pub(crate) fn disk_delay(&self, id: u64, healed: bool, rng: &mut Rng) -> Duration {
        // One disk is worse than the others.
        let is_slow = id == 1 && !healed;
        let most = if is_slow { self.slow_disk_us } else { 300 };
        Duration::from_micros(100 + rng.below(most))
    }

    pub(crate) fn delay(&self, healed: bool, rng: &mut Rng) -> Duration {
        let usual = Duration::from_micros(300 + rng.below(3_000));
        if !healed && rng.one_in_ppm(self.late_ppm) {
            return usual + Duration::from_millis(rng.below(self.late_ms));
        }
        usual
    }
}

impl World {
    pub(crate) fn schedule_fault(&mut self) {
        let wait = Duration::from_millis(1 + self.rng.below(2 * self.faults.gap_ms));
        if self.now + wait >= FAULTS_END {
            let wait = FAULTS_END.since(self.now);
            return self.schedule(wait, Event::Fault(Fault::Heal));
        }
        self.schedule(wait, Event::Fault(Fault::Draw));
    }

    pub(crate) fn strike(&mut self, fault: Fault) -> Result<(), String> {
        match fault {
            Fault::Draw => {
                self.strike_anew()?;
                self.schedule_fault();
            }
            Fault::Start(id) => self.start(id)?,
            Fault::HearAgain => self.deaf.clear(),
            Fault::ClockRight(id) => self.member(id).rate_ppm = 0,
            Fault::DiskRoom(id) => self.member(id).disk.set_spec(DiskSpec::SOLID_STATE),
            Fault::Heal => self.heal()?,
        }
        Ok(())
    }

    fn heal(&mut self) -> Result<(), String> {
        self.deaf.clear();
        let ids: Vec<u64> = self.members.keys().copied().collect();
        for id in ids {
            self.member(id).rate_ppm = 0;
            self.member(id).disk.set_spec(DiskSpec::SOLID_STATE);
            self.start(id)?;
        }
        Ok(())
    }

    fn member(&mut self, id: u64) -> &mut super::member::Member {
        self.members.get_mut(&id).expect("a member")
    }

    fn any(&mut self) -> u64 {
        let at = self.rng.below(self.members.len() as u64) as usize;
        *self.members.keys().nth(at).expect("it is one of them")
    }

    fn strike_anew(&mut self) -> Result<(), String> {
        if self.faults.kinds.is_empty() {
            return Ok(());
        }
        let kind = self.faults.kinds[self.rng.below(self.faults.kinds.len() as u64) as usize];
        let id = self.any();
        match kind {
            Kind::Crash => self.crash_for_a_while(id),
            Kind::CrashAll => {
                let ids: Vec<u64> = self.members.keys().copied().collect();
                ids.into_iter().for_each(|id| self.crash_for_a_while(id));
            }
            Kind::Isolate | Kind::Split | Kind::OneWay => self.cut(kind, id),
            Kind::Clock => {
                let jump = self.rng.below(2_000_000_000) as i64 - 1_000_000_000;
                let rate = self.rng.below(600_000) as i64 - 300_000;
                let member = self.member(id);
                (member.ahead, member.rate_ppm) = (member.ahead + jump, rate);
                self.schedule(
                    Duration::from_millis(500),
                    Event::Fault(Fault::ClockRight(id)),
                );
            }
            Kind::DiskFull => {
                let full = DiskSpec {
                    capacity_bytes: 0,
                    ..DiskSpec::SOLID_STATE
                };
                self.member(id).disk.set_spec(full);
                let wait = Duration::from_millis(self.rng.below(300));
                self.schedule(wait, Event::Fault(Fault::DiskRoom(id)));
            }
            Kind::Transfer => {
                let to = self.any();
                // Whoever leads hands over; the others refuse.
                for id in self.members.keys().copied().collect::<Vec<_>>() {
                    self.with(id, |member| {
                        let _ = member.replica().map(|replica| replica.transfer(to));
                        Ok(())
                    })?;
                }
            }
            Kind::Members => self.change_members()?,
        }
        Ok(())
    }

    /// A member goes down, now or in the middle of its write, and comes back at once or later.
    pub(crate) fn crash_for_a_while(&mut self, id: u64) {
        let half_way = self.rng.below(2) == 0;
        let most = if self.rng.below(2) == 0 { 20 } else { 400 };
        let wait = Duration::from_millis(1 + self.rng.below(most));
        self.member(id).crash(half_way);
        self.crashes += 1;
        self.schedule(wait, Event::Fault(Fault::Start(id)));
    }

    fn cut(&mut self, kind: Kind, id: u64) {
        let split = self.rng.bits();
        let ids: Vec<u64> = self.members.keys().copied().collect();
        for (from, to) in ids
            .iter()
            .flat_map(|from| ids.iter().map(move |to| (*from, *to)))
        {
            let is_cut = match kind {
                Kind::Isolate => (from == id) != (to == id),
                Kind::Split => (split >> from) & 1 != (split >> to) & 1,
                // It is heard and hears nobody, or the other way round.
                _ => from != to && if split & 1 == 0 { to == id } else { from == id },
            };
            if is_cut {
                self.deaf.insert((from, to));
            }
        }
        let wait = Duration::from_millis(50 + self.rng.below(700));
        self.schedule(wait, Event::Fault(Fault::HearAgain));
    }

    /// The sixth joins as a listener, then votes, then goes; a first one goes and comes back.
    fn change_members(&mut self) -> Result<(), String> {
        let kinds = [
            ChangeKind::AddLearner,
            ChangeKind::AddVoter,
            ChangeKind::Remove,
        ];
        let kind = kinds[self.rng.below(3) as usize];
        let mut changes = vec![MemberChange {
            kind: kind.into(),
            id: 6,
        }];
        if self.rng.below(3) == 0 {
            let kinds = [ChangeKind::AddVoter, ChangeKind::AddLearner];
            let kind = kinds[self.rng.below(2) as usize];
            changes.push(MemberChange {
                kind: kind.into(),
                id: 1,
            });
        }
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            let changes = changes.clone();
            self.with(id, |member| {
                let _ = member
                    .replica()
                    .map(|replica| replica.change_members(changes));
                Ok(())
            })?;
        }
        Ok(())
    }
}
