//! Clients: one request at a time each, and the history of what they were told.

use std::collections::BTreeMap;

use anyedge_net::rng::Rng;
use anyedge_tests::linearizability::{Done, Operation, is_linearizable};

use super::member::Answer;
use super::register::{Command, KEYS};

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask {
    Read(usize),
    Do(Command),
}

/// Everything that was asked, by the request's number.
#[derive(Default)]
pub(crate) struct History {
    open: BTreeMap<u64, (Ask, u64)>,
    done: [Vec<Done>; KEYS],
    moments: u64,
    requests: u64,
    /// Requests that were answered with what they asked for.
    pub(crate) successes: u64,
}

impl History {
    /// A request that nobody made before: its values are new, but that a compare-and-set may guess a recent one.
    pub(crate) fn ask(&mut self, rng: &mut Rng) -> (u64, Ask) {
        self.requests += 1;
        let (request, key) = (self.requests, rng.below(KEYS as u64) as usize);
        let ask = match rng.below(10) {
            0..5 => Ask::Read(key),
            5..8 => Ask::Do(Command::Write(key, request)),
            _ => {
                let old = request.saturating_sub(1 + rng.below(8)).max(1);
                Ask::Do(Command::CompareAndSet(key, old, request))
            }
        };
        let called = self.moment();
        self.open.insert(request, (ask, called));
        (request, ask)
    }

    /// The request came to nothing or to something; false when nobody waits for it any more.
    pub(crate) fn answered(&mut self, request: u64, answer: Answer) -> bool {
        let Some((ask, called)) = self.open.remove(&request) else {
            return false;
        };
        let (key, operation) = match (ask, answer) {
            (_, Answer::Refused) => return true,
            (Ask::Read(key), Answer::Value(value)) => (key, Operation::Read(value)),
            (Ask::Do(Command::Write(key, value)), _) => (key, Operation::Write(value)),
            (Ask::Do(Command::CompareAndSet(key, old, new)), answer) => {
                let succeeded = Some(answer == Answer::Done(true));
                (key, Operation::CompareAndSet(old, new, succeeded))
            }
            (Ask::Read(_), Answer::Done(_)) => return true,
        };
        let returned = Some(self.moment());
        self.successes += 1;
        self.done[key].push(Done {
            operation,
            called,
            returned,
        });
        true
    }

    /// The client waits no longer: a command may have been done, or may yet be.
    pub(crate) fn given_up(&mut self, request: u64) -> bool {
        let Some((ask, called)) = self.open.remove(&request) else {
            return false;
        };
        let (key, operation) = match ask {
            Ask::Read(_) => return true,
            Ask::Do(Command::Write(key, value)) => (key, Operation::Write(value)),
            Ask::Do(Command::CompareAndSet(key, old, new)) => {
                (key, Operation::CompareAndSet(old, new, None))
            }
        };
        self.done[key].push(Done {
            operation,
            called,
            returned: None,
        });
        true
    }

    /// Whether each register's history is that of one register.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        let open: Vec<u64> = self.open.keys().copied().collect();
        for request in open {
            self.given_up(request);
        }
        for (key, history) in self.done.iter().enumerate() {
            if !is_linearizable(history) {
                return Err(format!(
                    "linearizability: register {key}, {} operations",
                    history.len()
                ));
            }
        }
        Ok(())
    }

    fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }
}
