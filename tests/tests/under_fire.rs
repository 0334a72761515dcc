//! Real controllers under fire: three processes, 16 connections that write and read, 30 times `kill -9`.
//!
//! No acknowledged write is lost, no watcher is told a revision twice, and what the connections saw is the history of
//! registers that each had one value at a time. A register is a host of the table, its value the host's zone; no two
//! writes write the same.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyedge_ccn::api::client::Client;
use anyedge_ccn::api::refusal_of;
use anyedge_ccn::rpc::ClientSecurity;
use anyedge_ccn::table::change::{Change, PutMode};
use anyedge_ccn::table::object::{
    Host as TableHost, HostState, Key, Kind, Kinded as _, Object, Region, Underlay,
};
use anyedge_ccn::table::refusal::Reason;
use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::host::LiveHost;
use anyedge_net::host::Host as _;
use anyedge_net::rng::{Rng, Seed};
use anyedge_proto::control::v1::table_client::TableClient;
use anyedge_proto::control::v1::watch_reply::Event;
use anyedge_proto::control::v1::{ReadOptions, WatchRequest, WriteOptions};
use anyedge_proto::table::v1 as pb;
use anyedge_tests::binary::{Profile, path};
use anyedge_tests::linearizability::{Done, Operation, is_linearizable};
use anyedge_tests::processes::Controllers;
use anyedge_tests::two_machines::bounded;
use tokio::runtime::Handle;

const IDS: [u64; 3] = [1, 2, 3];
const KILLS: usize = 30;
const CONNECTIONS: usize = 16;
/// Two connections for each.
const REGISTERS: usize = 8;
const WATCHERS: usize = 2;
const SEED: Seed = Seed(11);

/// What was done to each register, and what was told.
#[derive(Default)]
struct Book {
    /// Registers by number: their operations.
    done: Mutex<BTreeMap<usize, Vec<Done>>>,
    /// Acknowledged: revision, register, value.
    acknowledged: Mutex<Vec<(u64, usize, u64)>>,
    moment: AtomicU64,
    value: AtomicU64,
    over: AtomicBool,
}

impl Book {
    fn moment(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst)
    }

    fn note(&self, register: usize, done: Done) {
        let mut all = self.done.lock().expect("nobody panics with it");
        all.entry(register).or_default().push(done);
    }
}

fn name(register: usize) -> String {
    format!("host.register-{register}")
}

fn object(register: usize, zone: String) -> Object {
    let underlay = Underlay {
        v4: [10, 9, 0, register as u8 + 1].into(),
        v6: core::net::Ipv6Addr::UNSPECIFIED,
    };
    TableHost {
        name: name(register),
        region: "here".to_owned(),
        underlay,
        zone,
        network: String::new(),
        state: HostState::Normal,
        security_groups: Vec::new(),
    }
    .into_object()
}

fn put(register: usize, value: u64) -> Vec<pb::Change> {
    let change = Change::Put(object(register, value.to_string()), PutMode::Ensure);
    vec![(&change).into()]
}

/// One connection: it reads, writes and compares until it is told that it is over.
async fn work(client: Client<LiveHost>, register: usize, mut rng: Rng, book: Arc<Book>) {
    // What it read last: the register's revision and value.
    let mut known: Option<(u64, u64)> = None;
    while !book.over.load(Ordering::SeqCst) {
        match (rng.below(4), known) {
            (0 | 1, _) => write(&client, register, &book).await,
            (2, Some(seen)) => compare_and_set(&client, register, seen, &book).await,
            _ => known = read(&client, register, &book).await,
        }
    }
}

async fn write(client: &Client<LiveHost>, register: usize, book: &Book) {
    let value = book.value.fetch_add(1, Ordering::SeqCst);
    let called = book.moment();
    let written = client
        .apply_with(WriteOptions::default(), put(register, value))
        .await;
    let returned = match &written {
        Ok(reply) => {
            let mut acknowledged = book.acknowledged.lock().expect("nobody panics with it");
            acknowledged.push((reply.revision, register, value));
            Some(book.moment())
        }
        Err(status) => {
            assert!(
                refusal_of(status).is_none_or(|it| it.reason.code().name() == "UNAVAILABLE"),
                "{status}"
            );
            None
        }
    };
    let operation = Operation::Write(value);
    book.note(
        register,
        Done {
            operation,
            called,
            returned,
        },
    );
}

async fn compare_and_set(
    client: &Client<LiveHost>,
    register: usize,
    (revision, old): (u64, u64),
    book: &Book,
) {
    let value = book.value.fetch_add(1, Ordering::SeqCst);
    let key = Key::new(Kind::Host, name(register));
    let condition = pb::Condition {
        key: Some((&key).into()),
        revision,
    };
    let options = WriteOptions {
        conditions: vec![condition],
        ..WriteOptions::default()
    };
    let called = book.moment();
    let written = client.apply_with(options, put(register, value)).await;
    let (succeeded, returned) = match &written {
        Ok(reply) => {
            let mut acknowledged = book.acknowledged.lock().expect("nobody panics with it");
            acknowledged.push((reply.revision, register, value));
            (Some(true), Some(book.moment()))
        }
        Err(status) => match refusal_of(status).map(|refusal| refusal.reason) {
            Some(Reason::Revision) => (Some(false), Some(book.moment())),
            _ => (None, None),
        },
    };
    let operation = Operation::CompareAndSet(old, value, succeeded);
    book.note(
        register,
        Done {
            operation,
            called,
            returned,
        },
    );
}

/// The register's revision and value; `None` when nobody told.
async fn read(client: &Client<LiveHost>, register: usize, book: &Book) -> Option<(u64, u64)> {
    let key = Key::new(Kind::Host, name(register));
    let called = book.moment();
    let entry = client.get(ReadOptions::default(), &key).await.ok()?.entry;
    let found = entry.map(|entry| {
        let object = entry.object.as_ref().expect("an entry has an object");
        (entry.revision, value_of(object).expect("it is a register"))
    });
    let operation = Operation::Read(found.map(|(_, value)| value));
    let returned = Some(book.moment());
    book.note(
        register,
        Done {
            operation,
            called,
            returned,
        },
    );
    found
}

fn value_of(object: &pb::Object) -> Option<u64> {
    let object = Object::try_from(object).ok()?;
    TableHost::of(&object)?.zone.parse().ok()
}

/// What one watcher was told.
#[derive(Default)]
struct Told {
    /// By revision: the registers that it changed.
    deltas: BTreeMap<u64, Vec<(String, Option<u64>)>>,
    /// Revisions that came in snapshots: up to the second, what came after the first was not told one by one.
    gaps: Vec<(u64, u64)>,
    last: u64,
    streams: usize,
    mistakes: Vec<String>,
}

impl Told {
    fn take(&mut self, event: Event) {
        match event {
            Event::Delta(delta) => {
                if delta.revision <= self.last {
                    let mistake = format!("{} after {}", delta.revision, self.last);
                    self.mistakes.push(mistake);
                }
                self.last = self.last.max(delta.revision);
                let changed = delta.changes.iter().filter_map(|changed| {
                    let value = changed.object.as_ref().and_then(value_of);
                    Some((changed.key.as_ref()?.name.clone(), value))
                });
                self.deltas.insert(delta.revision, changed.collect());
            }
            Event::Snapshot(chunk) if chunk.last => {
                self.gaps.push((self.last, chunk.revision));
                if chunk.revision < self.last {
                    let mistake = format!("back to {} from {}", chunk.revision, self.last);
                    self.mistakes.push(mistake);
                }
                self.last = chunk.revision;
            }
            _ => {}
        }
    }
}

/// Follows from revision 1 on, at whoever answers, until `last` was told.
async fn watch(client: Client<LiveHost>, told: Arc<Mutex<Told>>) {
    loop {
        let from_revision = told.lock().expect("nobody panics with it").last + 1;
        let request = WatchRequest {
            from_revision,
            bookmark_every_ns: 0,
        };
        let ask = |channel, request| async move { TableClient::new(channel).watch(request).await };
        let Ok(mut events) = client.send(request, ask).await else {
            continue;
        };
        told.lock().expect("nobody panics with it").streams += 1;
        while let Ok(Some(reply)) = events.message().await {
            let mut told = told.lock().expect("nobody panics with it");
            reply.event.into_iter().for_each(|event| told.take(event));
        }
    }
}

/// Kills members and starts them again.
async fn strike(host: LiveHost, mut group: Controllers) -> Controllers {
    let mut rng = SEED.stream("strike", "whom and when");
    let mut pause = |least: u64, more: u64| Duration::from_millis(least + rng.below(more));
    let mut whom = SEED.stream("strike", "whom");
    for _ in 0..KILLS {
        let id = IDS[whom.below(3) as usize];
        host.sleep_until(host.now() + pause(300, 900)).await;
        group.kill(id);
        host.sleep_until(host.now() + pause(50, 400)).await;
        group.start(id, Stdio::null());
    }
    group
}

async fn play(host: LiveHost) -> Result<(), String> {
    let mut group = Controllers::new(&IDS, Profile::Debug);
    for id in IDS {
        drop(group.start(id, Stdio::null()));
    }
    let addresses: Vec<SocketAddr> = group.addresses();
    let client = |name: &str| Client::named(&host, name, addresses.clone(), ClientSecurity::Plain);
    let first = client("first").within(Duration::from_secs(30));
    let region = Region {
        name: "here".to_owned(),
    };
    let region = Change::Put(region.into_object(), PutMode::Create);
    first
        .apply(&[region])
        .await
        .map_err(|status| format!("no group: {status}"))?;
    let book = Arc::new(Book::default());
    book.value.store(1, Ordering::SeqCst);
    let told: Vec<Arc<Mutex<Told>>> = (0..WATCHERS).map(|_| Arc::default()).collect();
    for (number, told) in told.iter().enumerate() {
        let client = client(&format!("watcher-{number}"));
        host.spawn(watch(client, Arc::clone(told)));
    }
    let workers = (0..CONNECTIONS).map(|number| {
        let name = format!("worker-{number}");
        let rng = SEED.stream(&name, "what");
        let worker = work(client(&name), number % REGISTERS, rng, Arc::clone(&book));
        tokio::spawn(worker)
    });
    let workers: Vec<_> = workers.collect();
    let group = strike(host.clone(), group).await;
    book.over.store(true, Ordering::SeqCst);
    for worker in workers {
        worker
            .await
            .map_err(|error| format!("a connection: {error}"))?;
    }
    // What is there at the end is part of the history.
    for register in 0..REGISTERS {
        read(&first, register, &book).await;
    }
    let last = book
        .acknowledged
        .lock()
        .expect("nobody panics with it")
        .iter()
        .map(|it| it.0)
        .max();
    let last = last.ok_or("nothing was acknowledged")?;
    for told in &told {
        while told.lock().expect("nobody panics with it").last < last {
            host.sleep_until(host.now() + Duration::from_millis(20))
                .await;
        }
    }
    drop(group);
    judge(&book, &told)
}

/// What is wrong, if anything.
fn judge(book: &Book, told: &[Arc<Mutex<Told>>]) -> Result<(), String> {
    let acknowledged = book.acknowledged.lock().expect("nobody panics with it");
    if acknowledged.len() < 10 * KILLS {
        return Err(format!(
            "{} acknowledged writes are too few",
            acknowledged.len()
        ));
    }
    for told in told {
        let told = told.lock().expect("nobody panics with it");
        if let Some(mistake) = told.mistakes.first() {
            return Err(format!("a watcher was told {mistake}"));
        }
        if told.streams < 2 {
            return Err("no watcher ever lost its controller".to_owned());
        }
        for (revision, register, value) in acknowledged.iter() {
            if told
                .gaps
                .iter()
                .any(|(from, to)| revision > from && revision <= to)
            {
                continue;
            }
            let expected = (name(*register), Some(*value));
            let delta = told.deltas.get(revision);
            if !delta.is_some_and(|changes| changes.contains(&expected)) {
                return Err(format!(
                    "{expected:?} was acknowledged at {revision}: told {delta:?}"
                ));
            }
        }
    }
    let done = book.done.lock().expect("nobody panics with it");
    for (register, history) in done.iter() {
        if !is_linearizable(history) {
            return Err(format!(
                "the {} operations on {register} have no order",
                history.len()
            ));
        }
    }
    Ok(())
}

#[test]
fn thirty_kills_lose_no_acknowledged_write_and_no_watcher_is_told_twice() {
    // Building the command is no part of what is bounded.
    assert!(path(Profile::Debug).exists());
    let found = bounded(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let finding = runtime.block_on(async {
            let clock = MonotonicClock::start();
            let host = LiveHost::new("clients", clock, SEED, Handle::current());
            play(host).await
        });
        // Watchers never end by themselves.
        runtime.shutdown_background();
        finding
    });
    assert_eq!(found, Ok(()));
}
