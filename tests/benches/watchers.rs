//! How soon 1,000 watchers see a write: three controllers in one process on loopback, logs on disk, a connection for
//! each watcher, one write every 100 ms.
//!
//! Measured from before the write is asked for to when a watcher has read its delta.

#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use anyedge_ccn::api::Api;
use anyedge_ccn::api::client::Client;
use anyedge_ccn::controller::{Config, Controller};
use anyedge_ccn::keeper::{Keeper, Patience};
use anyedge_ccn::rpc::{Channel, ClientSecurity, Limits, Role, Server, ServerSecurity};
use anyedge_ccn::table::Table;
use anyedge_ccn::table::change::{Change, PutMode};
use anyedge_ccn::table::object::{Object, Settings};
use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::host::LiveHost;
use anyedge_net::host::{Host, TcpListener as _};
use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_proto::control::v1::WatchRequest;
use anyedge_proto::control::v1::nodes_client::NodesClient;
use anyedge_proto::control::v1::watch_reply::Event;
use anyedge_tests::two_machines::Scratch;
use tokio::runtime::Handle;

const MEMBERS: u64 = 3;
const WATCHERS: usize = 1_000;
const WRITES: u64 = 100;
const GAP: Duration = Duration::from_millis(100);
const ELECTION: Duration = Duration::from_secs(1);
const BACKLOG: usize = 1_024;

/// What watchers saw: the revision, and when.
type Seen = Arc<Mutex<Vec<(u64, Instant)>>>;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let folder = Scratch::new();
    runtime.block_on(run(&folder));
    // Watchers would be told for ever.
    runtime.shutdown_background();
}

async fn run(folder: &Scratch) {
    let clock = MonotonicClock::start();
    let host = |name: &str| LiveHost::new(name, clock, Seed(7), Handle::current());
    let hosts = (1..=MEMBERS).map(|id| {
        let name = format!("controller.{id}");
        let host = host(&name).with_files_in(&folder.path().join(name));
        (id, host.expect("a folder of its own"))
    });
    let hosts: BTreeMap<u64, LiveHost> = hosts.collect();
    let free = |(id, host): (&u64, &LiveHost)| {
        let listener = host.tcp_listen(SocketAddr::from(([127, 0, 3, *id as u8], 0)), 1);
        (
            *id,
            listener.expect("loopback has a free port").local_addr(),
        )
    };
    let peers: BTreeMap<u64, SocketAddr> = hosts.iter().map(free).collect();
    let mut servers = Vec::new();
    for (id, host) in &hosts {
        servers.push(serve(host, *id, &peers).await);
    }
    let own = host("operator");
    let addresses: Vec<SocketAddr> = peers.into_values().collect();
    let client = Client::new(&own, addresses.clone(), ClientSecurity::Plain);
    // Waits for a leader, too.
    client.apply(&[write(0)]).await.expect("a group that works");
    let seen = Seen::default();
    let begun = Arc::new(tokio::sync::Semaphore::new(0));
    for (number, address) in addresses.iter().cycle().take(WATCHERS).enumerate() {
        let own = host(&format!("watcher-{number}"));
        own.spawn(watch(
            own.clone(),
            *address,
            Arc::clone(&seen),
            Arc::clone(&begun),
        ));
    }
    let all = begun.acquire_many(WATCHERS as u32).await;
    drop(all.expect("it is never closed"));
    let mut asked = BTreeMap::new();
    for number in 1..=WRITES {
        let at = own.now();
        let reply = client.apply(&[write(number)]).await.expect("it is sound");
        asked.insert(reply.revision, (at, own.now()));
        own.sleep_until(at + GAP).await;
    }
    own.sleep_until(own.now() + ELECTION).await;
    tell(&asked, &seen.lock().expect("nobody panics with it"));
}

async fn serve(host: &LiveHost, id: u64, peers: &BTreeMap<u64, SocketAddr>) -> Server {
    let config = Config::new(id, peers.clone(), ELECTION);
    let controller = Controller::start(host, config, Table::new()).await;
    let controller = controller.expect("a fresh disk");
    let keeper = Keeper::start(host, &controller, Patience::default());
    let routes = Api::new(host, controller, keeper).routes();
    let listener = host.tcp_listen(peers[&id], BACKLOG);
    let security = ServerSecurity::Plain(Role::Operator);
    let listener = listener.expect("the port is still free");
    Server::serve(host, listener, routes, security, Limits::default())
}

/// A change of one object of some hundred bytes.
fn write(number: u64) -> Change {
    let settings = Settings {
        ipv6_regions: vec![format!("region-{number}")],
        ..Settings::default()
    };
    Change::Put(Object::Settings(settings), PutMode::Ensure)
}

async fn watch(
    host: LiveHost,
    address: SocketAddr,
    seen: Seen,
    begun: Arc<tokio::sync::Semaphore>,
) {
    let channel = Channel::new(&host, address, ClientSecurity::Plain, Limits::default());
    let request = WatchRequest {
        from_revision: 0,
        bookmark_every_ns: 0,
    };
    let events = NodesClient::new(channel).follow(request).await;
    let mut events = events.expect("there is room for it").into_inner();
    let mut is_told = false;
    while let Ok(Some(reply)) = events.message().await {
        match reply.event {
            Some(Event::Delta(delta)) => {
                let mut seen = seen.lock().expect("nobody panics with it");
                seen.push((delta.revision, host.now()));
            }
            Some(Event::Bookmark(_)) if !is_told => {
                is_told = true;
                begun.add_permits(1);
            }
            _ => {}
        }
    }
}

fn tell(asked: &BTreeMap<u64, (Instant, Instant)>, seen: &[(u64, Instant)]) {
    let own = seen.iter().filter_map(|(revision, at)| {
        let (asked, _) = asked.get(revision)?;
        Some(at.since(*asked))
    });
    let mut all: Vec<Duration> = own.collect();
    let mut answers: Vec<Duration> = asked.values().map(|(from, to)| to.since(*from)).collect();
    println!(
        "{} deltas of {} writes at {WATCHERS} watchers: {} missing",
        all.len(),
        asked.len(),
        WATCHERS * asked.len() - all.len()
    );
    for (what, times) in [("seen", &mut all), ("acknowledged", &mut answers)] {
        times.sort_unstable();
        let at = |part: usize| times[(times.len() * part / 1_000).min(times.len() - 1)];
        println!(
            "{what}: median {:?}, p99 {:?}, worst {:?}",
            at(500),
            at(990),
            at(1_000)
        );
    }
}
