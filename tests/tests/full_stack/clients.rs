//! Clients of the API: each reads, writes and compares-and-sets two registers, one call at a time, and all that they are told
//! is written down.
//!
//! A register is an object of the table (a path, whose round trip is the value). At the end the table itself says what
//! became of every request, so that no outcome stays unknown.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyedge_ccn::api::client::Client;
use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::{Change, PutMode};
use anyedge_ccn::table::object::{Ends, Key, Kind, Kinded as _, Object, Path, Region};
use anyedge_net::flow::Family;
use anyedge_net::host::Host;
use anyedge_net::rng::Rng;
use anyedge_net::time::Instant;
use anyedge_net::wire::outer::Encap;
use anyedge_proto::control::v1::{ReadOptions, WriteOptions};
use anyedge_proto::table::v1 as pb;
use anyedge_sim::host::SimHost;
use anyedge_tests::linearizability::{Done, Operation, is_linearizable};
use tonic::{Code, Status};

/// Registers.
const KEYS: usize = 2;
/// What a register holds before any client writes.
const FIRST: u64 = 1;
/// A call is given up after this time.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The objects that are the registers.
pub(crate) fn registers() -> Vec<Change> {
    let name = "registers".to_owned();
    let region = Change::Put(Region { name }.into_object(), PutMode::Create);
    let paths = (0..KEYS).map(|key| Change::Put(path(key, FIRST).into_object(), PutMode::Create));
    core::iter::once(region).chain(paths).collect()
}

fn path(key: usize, value: u64) -> Path {
    Path {
        name: format!("register-{key}"),
        ends: Ends::Mesh {
            region: "registers".to_owned(),
        },
        encap: Encap::Gre,
        underlay: Family::V4,
        mtu: 1_500,
        rtt: Duration::from_nanos(value),
        draining: false,
    }
}

/// A call and what came of it.
struct Call {
    key: usize,
    operation: Operation,
    request_id: String,
    called: u64,
    /// The moment, and the revision that it was told; `None`: it was given up.
    returned: Option<(u64, u64)>,
}

/// Everything that was asked and told.
#[derive(Default)]
pub(crate) struct History {
    calls: Vec<Call>,
    moments: u64,
    values: u64,
    /// By client: when it was answered last.
    last: Vec<Instant>,
}

/// Where all clients write.
pub(crate) type Book = Arc<Mutex<History>>;

impl History {
    /// Of so many clients.
    pub(crate) fn of(clients: u64) -> Book {
        Arc::new(Mutex::new(History {
            values: FIRST,
            // The first two are those of the first value.
            moments: 2,
            last: vec![Instant::ZERO; clients as usize],
            ..History::default()
        }))
    }

    /// How many calls were answered.
    pub(crate) fn answers(&self) -> u64 {
        let answered = self.calls.iter().filter(|call| call.returned.is_some());
        answered.count() as u64
    }

    fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }

    /// Who has not been served since then.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn check_progress(&self, since: Instant) -> Result<(), String> {
        let late = self.last.iter().position(|last| *last < since);
        late.map_or(Ok(()), |number| {
            let last = self.last[number];
            Err(format!(
                "no progress: client {number} was answered last at {last:?}"
            ))
        })
    }

    /// Whether `table`, in which all is settled, has what was acknowledged and nothing that was refused, and whether
    /// each register's history is that of one register.
    ///
    /// # Errors
    /// In words, what is wrong.
    pub(crate) fn check(&self, table: &Table) -> Result<(), String> {
        let first = Done {
            operation: Operation::Write(FIRST),
            called: 1,
            returned: Some(2),
        };
        let mut histories: [Vec<Done>; KEYS] = core::array::from_fn(|_| vec![first]);
        for call in &self.calls {
            let found = table.outcome(&call.request_id).map(|it| it.revision);
            if let Some(operation) = certain(call, found)? {
                histories[call.key].push(Done {
                    operation,
                    called: call.called,
                    returned: call.returned.map(|(moment, _)| moment),
                });
            }
        }
        for (key, history) in histories.iter().enumerate() {
            if !is_linearizable(history) {
                let calls = history.len();
                return Err(format!("register {key} is none: {calls} calls"));
            }
        }
        Ok(())
    }
}

/// What a call did, when the table says that its request made the revision `found`; `None`: nothing.
fn certain(call: &Call, found: Option<u64>) -> Result<Option<Operation>, String> {
    let told = call.returned.map(|(_, revision)| revision);
    let id = &call.request_id;
    match (call.operation, told, found) {
        (Operation::Read(_), told, _) => Ok(told.map(|_| call.operation)),
        (Operation::CompareAndSet(_, _, Some(false)), _, None) => Ok(Some(call.operation)),
        (Operation::CompareAndSet(_, _, Some(false)), _, Some(found)) => Err(format!(
            "request {id} was refused and made revision {found}"
        )),
        (_, Some(told), found) if found != Some(told) => Err(format!(
            "request {id} was acknowledged as revision {told}, and the table has {found:?}"
        )),
        (_, None, None) => Ok(None),
        (Operation::CompareAndSet(old, new, _), _, Some(_)) => {
            Ok(Some(Operation::CompareAndSet(old, new, Some(true))))
        }
        _ => Ok(Some(call.operation)),
    }
}

/// One client.
pub(crate) struct Caller {
    host: SimHost,
    client: Client<SimHost>,
    number: usize,
    book: Book,
    rng: Rng,
    /// Of each register: value and revision, as it was read last.
    known: [Option<(u64, u64)>; KEYS],
}

impl Caller {
    pub(crate) fn new(
        host: &SimHost,
        client: Client<SimHost>,
        number: usize,
        book: &Book,
    ) -> Caller {
        Caller {
            client: client.within(PATIENCE),
            rng: host.rng(&format!("caller {number}")),
            host: host.clone(),
            number,
            book: Arc::clone(book),
            known: [None; KEYS],
        }
    }

    /// Calls until `stop`.
    pub(crate) async fn run(mut self, stop: Instant) {
        while self.host.now() < stop {
            let key = self.rng.below(KEYS as u64) as usize;
            match (self.rng.below(10), self.known[key]) {
                (0..4, _) => self.read(key).await,
                (7.., Some(old)) => self.write(key, Some(old)).await,
                _ => self.write(key, None).await,
            }
            let pause = Duration::from_millis(20) + self.rng.up_to(Duration::from_millis(60));
            self.host.sleep_until(self.host.now() + pause).await;
        }
    }

    async fn read(&mut self, key: usize) {
        let called = self.moment();
        let name = Key::new(Kind::Path, path(key, 0).name);
        let reply = self.client.get(ReadOptions::default(), &name).await;
        let Ok(reply) = reply else {
            return;
        };
        let Some(entry) = reply.entry else {
            panic!("register {key} is gone");
        };
        let object = entry.object.as_ref().map(Object::try_from);
        let Some(Ok(Object::Path(path))) = object else {
            panic!("register {key} is no path");
        };
        let value = path.rtt.as_nanos() as u64;
        self.known[key] = Some((value, entry.revision));
        let read = Operation::Read(Some(value));
        self.note(key, read, String::new(), called, Some(entry.revision));
    }

    /// Writes a new value; if there is an `old` one, only over that.
    async fn write(&mut self, key: usize, old: Option<(u64, u64)>) {
        let called = self.moment();
        let value = {
            let mut book = self.book.lock().expect("sound");
            book.values += 1;
            book.values
        };
        let key_of = Key::new(Kind::Path, path(key, 0).name);
        let condition = old.map(|(_, revision)| pb::Condition {
            key: Some((&key_of).into()),
            revision,
        });
        let options = WriteOptions {
            request_id: self.client.request_id(),
            conditions: condition.into_iter().collect(),
            stage: String::new(),
        };
        let request_id = options.request_id.clone();
        let change = Change::Put(path(key, value).into_object(), PutMode::Update);
        let reply = self
            .client
            .apply_with(options, vec![(&change).into()])
            .await;
        let old = old.map(|(old, _)| old);
        let operation = |succeeded| match old {
            Some(old) => Operation::CompareAndSet(old, value, succeeded),
            None => Operation::Write(value),
        };
        match reply {
            Ok(reply) => {
                self.known[key] = Some((value, reply.revision));
                let told = Some(reply.revision);
                self.note(key, operation(Some(true)), request_id, called, told);
            }
            Err(status) if old.is_some() && is_refused(&status) => {
                self.known[key] = None;
                self.note(key, operation(Some(false)), request_id, called, Some(0));
            }
            Err(status) => {
                assert!(may_be_tried_again(&status), "{status}");
                self.note(key, operation(None), request_id, called, None);
            }
        }
    }

    fn note(
        &self,
        key: usize,
        operation: Operation,
        request_id: String,
        called: u64,
        told: Option<u64>,
    ) {
        let now = self.host.now();
        let mut book = self.book.lock().expect("sound");
        let returned = told.map(|revision| (book.moment(), revision));
        if returned.is_some() {
            book.last[self.number] = now;
        }
        book.calls.push(Call {
            key,
            operation,
            request_id,
            called,
            returned,
        });
    }

    fn moment(&self) -> u64 {
        self.book.lock().expect("sound").moment()
    }
}

/// What was compared with is not there any more.
fn is_refused(status: &Status) -> bool {
    status.code() == Code::Aborted
}

/// Nobody was there, or too much was to do: no other error is right in this network.
fn may_be_tried_again(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::ResourceExhausted
    )
}
