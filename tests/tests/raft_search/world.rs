//! The world of the search: members, their network, their clocks and clients, one event at a time.
//!
//! A seed draws the size of the group, which kinds of faults there are and how bad the network is; then everything
//! that happens. After [`FAULTS_END`] all is healed and the group has to make progress.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyedge_ccn::raft::{Planted, Role};
use anyedge_net::rng::{Rng, Seed};
use anyedge_net::time::Instant;
use anyedge_proto::raft::Message;
use prost::Message as _;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Checkers;
use super::client::{Ask, History};
use super::faults::{Fault, Faults};
use super::member::{Answer, Member};

/// From here on nothing fails any more.
pub(crate) const FAULTS_END: Instant = Instant::from_nanos(2_500_000_000);
/// By here everything has to be well.
pub(crate) const END: Instant = Instant::from_nanos(4_500_000_000);
const CLIENTS: usize = 3;
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_millis(300);

pub(crate) enum Event {
    Tick(u64, u64),
    Message(Box<Message>),
    WriteDone(u64, u64),
    /// Questions have waited long enough for others to come with them.
    Work(u64),
    Think(usize),
    Request(usize, u64, u64, Ask),
    Answer(usize, u64, Answer),
    GiveUp(usize, u64),
    Fault(Fault),
}

/// What came of a seed.
pub(crate) struct Outcome {
    pub(crate) verdict: Result<(), String>,
    /// A fold over all events: the same for the same seed.
    pub(crate) digest: u64,
    pub(crate) elections: usize,
    pub(crate) successes: u64,
    pub(crate) crashes: u64,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    events: BTreeMap<(Instant, u64), Event>,
    scheduled: u64,
    pub(crate) members: BTreeMap<u64, Member>,
    /// Who does not hear whom.
    pub(crate) deaf: BTreeSet<(u64, u64)>,
    pub(crate) faults: Faults,
    pub(crate) crashes: u64,
    /// Whose requests are which, and which of their members a client asks.
    waits: Vec<Option<u64>>,
    asks: Vec<u64>,
    owners: BTreeMap<u64, usize>,
    /// Members that were asked something and have not done what that wants.
    asked: BTreeSet<u64>,
    late_successes: Vec<u64>,
    history: History,
    pub(crate) checkers: Checkers,
    digest: u64,
}

/// Plays a seed.
pub(crate) fn play(seed: u64, planted: Option<Planted>) -> Outcome {
    let mut world = World::new(Seed(seed), planted);
    let verdict = world.run().and_then(|()| world.judge());
    Outcome {
        verdict,
        digest: world.digest,
        elections: world.checkers.election_safety.elections(),
        successes: world.history.successes,
        crashes: world.crashes,
    }
}

impl World {
    fn new(seed: Seed, planted: Option<Planted>) -> World {
        let mut rng = seed.stream("search", "world");
        let voters: Vec<u64> = (1..=if rng.below(3) == 0 { 5 } else { 3 }).collect();
        let faults = Faults::draw(&mut rng);
        let ids = voters.iter().copied().chain(faults.joiner());
        let members = ids.map(|id| (id, Member::new(id, &voters, seed, planted)));
        World {
            now: Instant::ZERO,
            events: BTreeMap::new(),
            scheduled: 0,
            members: members.collect(),
            deaf: BTreeSet::new(),
            faults,
            crashes: 0,
            waits: vec![None; CLIENTS],
            asks: vec![1; CLIENTS],
            owners: BTreeMap::new(),
            asked: BTreeSet::new(),
            late_successes: vec![0; CLIENTS],
            history: History::default(),
            checkers: Checkers::default(),
            digest: 0,
            rng,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        let ids: Vec<u64> = self.members.keys().copied().collect();
        for id in ids {
            self.start(id)?;
        }
        for client in 0..CLIENTS {
            self.schedule(Duration::from_millis(5), Event::Think(client));
        }
        self.schedule_fault();
        while let Some(((at, number), event)) = self.events.pop_first() {
            if at > END {
                return Ok(());
            }
            self.now = at;
            self.digest = xxh3_64_with_seed(&at.as_nanos().to_be_bytes(), self.digest ^ number);
            self.happen(event)?;
        }
        Ok(())
    }

    /// Everything well at the end: all members say the same, every client was served, nothing was lost.
    fn judge(&mut self) -> Result<(), String> {
        let end = self.checkers.state_machine_safety.end();
        let leader = self.members.values_mut().filter_map(Member::replica);
        let leader = leader.filter(|replica| replica.leadership().role == Role::Leader);
        let members = leader.max_by_key(|replica| replica.leadership().term);
        let members = members
            .ok_or("no progress: nobody leads")?
            .members()
            .clone();
        // Who was taken out hears nothing any more.
        for id in members.voters.iter().chain(&members.learners) {
            let state = self.members[id].state();
            // What is on its way may be missing.
            if state.is_none_or(|(applied, _)| applied + 8 < end) {
                return Err(format!("no progress: {id} is at {state:?} of {end}"));
            }
        }
        if let Some(client) = self.late_successes.iter().position(|count| *count < 3) {
            return Err(format!("no progress: client {client} is not served"));
        }
        self.checkers.state_machine_safety.nothing_is_lost()?;
        self.history.check()
    }

    pub(crate) fn schedule(&mut self, after: Duration, event: Event) {
        self.scheduled += 1;
        self.events
            .insert((self.now + after, self.scheduled), event);
    }

    pub(crate) fn is_healed(&self) -> bool {
        self.now >= FAULTS_END
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Tick(id, life) => self.tick(id, life),
            Event::Message(message) => {
                let (from, to) = (message.from, message.to);
                if self.deaf.contains(&(from, to)) {
                    return Ok(());
                }
                // As it travels: bytes.
                let message = Message::decode(&message.encode_to_vec()[..]);
                let message = message.map_err(|error| error.to_string())?;
                self.with(to, |member| member.hear(message))
            }
            Event::WriteDone(id, life) => self.write_done(id, life),
            Event::Work(id) if self.asked.contains(&id) => self.with(id, |_| Ok(())),
            Event::Work(_) => Ok(()),
            Event::Think(client) => self.think(client),
            Event::Request(client, id, request, ask) => self.request(client, id, request, ask),
            Event::Answer(client, request, answer) => {
                if self.history.answered(request, answer) {
                    self.served(client, answer);
                }
                Ok(())
            }
            Event::GiveUp(client, request) => {
                if self.history.given_up(request) {
                    self.owners.remove(&request);
                    self.ask_another(client);
                }
                Ok(())
            }
            Event::Fault(fault) => self.strike(fault),
        }
    }

    fn tick(&mut self, id: u64, life: u64) -> Result<(), String> {
        let now = self.now;
        if self.members[&id].life != life || !self.members[&id].runs() {
            return Ok(());
        }
        self.with(id, |member| {
            member.tick(now);
            Ok(())
        })?;
        self.schedule_tick(id);
        Ok(())
    }

    fn schedule_tick(&mut self, id: u64) {
        let member = &self.members[&id];
        if let Some(deadline) = member.deadline() {
            let wait = deadline.since(member.clock(self.now));
            let (life, wait) = (member.life, wait.max(Duration::from_millis(1)));
            self.schedule(wait, Event::Tick(id, life));
        }
    }

    /// Starts a member that does not run; when its disk refuses, again later.
    pub(crate) fn start(&mut self, id: u64) -> Result<(), String> {
        let now = self.now;
        let member = self.members.get_mut(&id).expect("a member");
        if !member.runs() {
            member.start(now, &mut self.checkers)?;
            if member.runs() {
                self.schedule_tick(id);
                self.with(id, |_| Ok(()))?;
            } else {
                self.schedule(Duration::from_millis(50), Event::Fault(Fault::Start(id)));
            }
        }
        Ok(())
    }

    fn write_done(&mut self, id: u64, life: u64) -> Result<(), String> {
        if self.members[&id].life != life {
            return Ok(());
        }
        let mut durable = false;
        self.with(id, |member| {
            durable = member.write_done()?;
            Ok(())
        })?;
        if durable && !self.is_healed() && self.rng.one_in_ppm(self.faults.crash_at_sync_ppm) {
            // The moment at which most is promised.
            self.crash_for_a_while(id);
        }
        Ok(())
    }

    /// Acts on a member, then does what it wants done; what questions before wanted, first.
    pub(crate) fn with(
        &mut self,
        id: u64,
        act: impl FnOnce(&mut Member) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.asked.remove(&id) {
            self.work(id)?;
        }
        act(self.members.get_mut(&id).expect("a member"))?;
        self.work(id)
    }

    fn work(&mut self, id: u64) -> Result<(), String> {
        let member = self.members.get_mut(&id).expect("a member");
        let doings = member.work(&mut self.checkers)?;
        let life = member.life;
        if doings.writes {
            let healed = self.is_healed();
            let wait = self.faults.disk_delay(id, healed, &mut self.rng);
            self.schedule(wait, Event::WriteDone(id, life));
        }
        for (request, answer) in doings.answers {
            if let Some(client) = self.owners.remove(&request) {
                let wait = Duration::from_micros(200 + self.rng.below(3_000));
                self.schedule(wait, Event::Answer(client, request, answer));
            }
        }
        for message in doings.messages {
            self.send(message);
        }
        Ok(())
    }

    fn send(&mut self, message: Message) {
        let healed = self.is_healed();
        if !self.members.contains_key(&message.to) {
            return;
        }
        if !healed && self.rng.one_in_ppm(self.faults.drop_ppm) {
            return;
        }
        if !healed && self.rng.one_in_ppm(self.faults.double_ppm) {
            let wait = self.faults.delay(healed, &mut self.rng);
            self.schedule(wait, Event::Message(Box::new(message.clone())));
        }
        let wait = self.faults.delay(healed, &mut self.rng);
        self.schedule(wait, Event::Message(Box::new(message)));
    }

    fn think(&mut self, client: usize) -> Result<(), String> {
        let (request, ask) = self.history.ask(&mut self.rng);
        self.waits[client] = Some(request);
        let wait = Duration::from_micros(200 + self.rng.below(3_000));
        self.schedule(
            wait,
            Event::Request(client, self.asks[client], request, ask),
        );
        self.schedule(PATIENCE, Event::GiveUp(client, request));
        Ok(())
    }

    fn request(&mut self, client: usize, id: u64, request: u64, ask: Ask) -> Result<(), String> {
        self.owners.insert(request, client);
        let member = self.members.get_mut(&id).expect("a member");
        let taken = match ask {
            Ask::Read(key) => member.read(request, key),
            Ask::Do(command) => member.propose(request, command.bytes()),
        };
        // Half of the time others may come with it, as they do to a busy engine.
        if self.rng.below(2) == 0 {
            self.asked.insert(id);
            let wait = Duration::from_micros(self.rng.below(2_000));
            self.schedule(wait, Event::Work(id));
        } else {
            self.asked.remove(&id);
            self.work(id)?;
        }
        if !taken {
            self.owners.remove(&request);
            self.history.answered(request, Answer::Refused);
            self.ask_another(client);
        }
        Ok(())
    }

    /// The client had no luck: somebody else, soon.
    fn ask_another(&mut self, client: usize) {
        let leads = |member: &mut Member| {
            let replica = member.replica();
            replica.is_some_and(|replica| replica.leadership().role == Role::Leader)
        };
        let leaders: Vec<u64> = self
            .members
            .values_mut()
            .filter_map(|member| leads(member).then_some(member.id))
            .collect();
        let others: Vec<u64> = self.members.keys().copied().collect();
        // Any of those who believe that they lead, or sometimes anybody.
        let among = if leaders.is_empty() || self.rng.below(5) == 0 {
            others
        } else {
            leaders
        };
        self.asks[client] = among[self.rng.below(among.len() as u64) as usize];
        let wait = Duration::from_millis(5 + self.rng.below(20));
        self.schedule(wait, Event::Think(client));
    }

    fn served(&mut self, client: usize, answer: Answer) {
        if answer == Answer::Refused {
            return self.ask_another(client);
        }
        if self.is_healed() {
            self.late_successes[client] += 1;
        }
        let wait = Duration::from_millis(1 + self.rng.below(self.faults.think_ms));
        self.schedule(wait, Event::Think(client));
    }
}
