//! Little's law over every queue of a whole edge: six wires, each slower than it likes, and a server with one worker.
//!
//! Little 1961: as many are there in the mean as come in the time that one stays. How long a packet stays is what the wire
//! said when it took it; how many are there is seen by one who counts what goes on each wire and what comes off it,
//! and looks at random times, whom what he looks at does not know (Wolff 1982). A request stays at its server from the end
//! of the wire to it until the end of the wire back. Where its client may have one request under way at a time, it waits
//! from when it is due, which the file says, until its connection's first packet is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyedge_net::flow::FlowKey;
use anyedge_net::rng::Seed;
use anyedge_net::time::Instant;
use anyedge_sim::run::{Options, run_watched};
use anyedge_sim::watch::{Delivery, Did, Handled, Watcher};
use anyedge_topologies::Topology;

use super::edge::Edge;
use super::theory::{Row, Within};

/// How long clients send.
const LASTING: Duration = Duration::from_secs(400);
/// Between two looks, in the mean.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Above this a packet carries a request or an answer, and below it nothing.
const CARRIES_BYTES: usize = 400;
const PORT: u16 = 7_000;
/// The queue of requests at the server; its wires have names of their own.
const SERVER: &str = "the server's worker and the wire back";

/// The queue of requests at their client.
const CLIENT: &str = "the client's in_flight_max";
/// Requests of that client in a second, at equal distances.
const DUE_PER_SECOND: u64 = 30;

/// Whether something came or went, and when.
type Steps = Vec<(Instant, i64)>;

/// What was seen of one queue.
#[derive(Default)]
struct Queue {
    steps: Steps,
    /// How long all stayed, together.
    stayed: Duration,
}

#[derive(Default)]
struct Account {
    queues: BTreeMap<String, Queue>,
    /// When each flow's request came to the server.
    asked: BTreeMap<FlowKey, Instant>,
    /// When clients sent the first packet of each flow.
    begun: Vec<Instant>,
    seen: BTreeSet<FlowKey>,
}

impl Account {
    fn queue(&mut self, name: &str) -> &mut Queue {
        self.queues.entry(name.to_owned()).or_default()
    }
}

struct Observer(Arc<Mutex<Account>>);

impl Watcher for Observer {
    fn asks(&self, flow: &FlowKey) -> bool {
        flow.dst_port == PORT
    }

    fn handled(&mut self, flow: &FlowKey, handled: &Handled) {
        let mut account = self.0.lock().expect("one thread");
        let came = instant(handled.at_s);
        if account.seen.insert(*flow) {
            account.begun.push(came);
        }
        for did in &handled.did {
            if let Did::OnLink { link, arrives_s } = did {
                let queue = account.queue(link);
                queue.steps.push((came, 1));
                queue.stayed += instant(*arrives_s).since(came);
            }
        }
    }

    fn delivered(&mut self, delivery: &Delivery<'_>) {
        let Some(flow) = delivery.flow.filter(|flow| self.asks(flow)) else {
            return;
        };
        let mut account = self.0.lock().expect("one thread");
        account.queue(delivery.name).steps.push((delivery.at, -1));
        if delivery.bytes.len() < CARRIES_BYTES {
            return;
        }
        if delivery.name.contains(">host.") {
            account.queue(SERVER).steps.push((delivery.at, 1));
            account.asked.insert(flow, delivery.at);
        } else if delivery.name.starts_with("host.")
            && let Some(came) = account.asked.remove(&flow)
        {
            let queue = account.queue(SERVER);
            queue.steps.push((delivery.at, -1));
            queue.stayed += delivery.at.since(came);
        }
    }
}

fn instant(seconds: f64) -> Instant {
    Instant::from_nanos((seconds * 1e9).round() as u64)
}

/// What was seen of an edge with such a client and such a server, whose wires have such `defaults`.
fn observe(defaults: &str, client: &str, service: &str) -> Account {
    let edge = Edge {
        top: "drain = \"30s\"",
        defaults,
        rtt: "1ms",
        listener: "web",
        port: "tcp/7000",
        client,
    };
    let text = edge.text();
    let text = text.replace("port = 7000\n", &format!("port = 7000\n{service}\n"));
    // Checks would be packets of the CLB node's own on two of the wires.
    let unchecked = "targets = \"web\", health = false }";
    let text = text.replace("targets = \"web\" }", unchecked);
    let topology = Topology::parse("little.toml", &text).expect("no mistakes");
    let options = Options {
        duration: Some(LASTING),
        ..Options::default()
    };
    let kept = Arc::new(Mutex::new(Account::default()));
    let observer = Box::new(Observer(Arc::clone(&kept)));
    let report = run_watched(&topology, &options, observer, &mut |_| {}).expect("it is built");
    let load = &report.clients[0].loads[0];
    assert_eq!(load.service.requests.ok, load.service.requests.sent);
    std::mem::take(&mut *kept.lock().expect("one thread"))
}

/// Requests at random times, one to a connection, over an edge whose wires and whose server are about half in use.
fn at_wires_and_server() -> BTreeMap<String, Queue> {
    let defaults = "ccn.rate = \"600Kbps\"\nccn.queue = \"1MiB\"\nhost.rate = \"500Kbps\"\nhost.queue = \"1MiB\"";
    let client = "count = 40
public = { tokyo = \"1ms\" }
public_rate = \"700Kbps\"
public_queue = \"1MiB\"
load = { kind = \"request\", rate = \"30/s\", arrivals = \"poisson\", request_size = \"600B\", size = \"600B\", timeout = \"30s\", to = \"game:web\" }";
    let service = "service = { kind = \"exponential\", mean = \"18ms\" }\nworkers = 1";
    observe(defaults, client, service).queues
}

/// Requests at equal distances, of which one may be under way: it is four fifths of the time.
fn at_client() -> Queue {
    let client = format!(
        "public = {{ tokyo = \"1ms\" }}
load = {{ kind = \"request\", rate = \"{DUE_PER_SECOND}/s\", arrivals = \"fixed\", in_flight_max = 1, request_size = \"600B\", size = \"600B\", timeout = \"30s\", to = \"game:web\" }}"
    );
    let service = "service = { kind = \"exponential\", mean = \"22ms\" }\nworkers = 1";
    let begun = observe("", &client, service).begun;
    assert_eq!(begun.len() as u64, LASTING.as_secs() * DUE_PER_SECOND);
    let mut queue = Queue::default();
    // The first that is due is the first to be sent.
    for (number, begun) in (0..).zip(begun) {
        let due = Instant::from_nanos(number * 1_000_000_000 / DUE_PER_SECOND);
        assert!(begun >= due, "sent {begun:?} and due {due:?}");
        queue.steps.extend([(due, 1), (begun, -1)]);
        queue.stayed += begun.since(due);
    }
    queue
}

/// How many are there in the mean for one who looks at random times.
fn found_there(name: &str, mut steps: Steps) -> f64 {
    steps.sort_unstable();
    let mut looks = Seed(7).stream("little", name);
    let (mut at, mut there, mut found, mut looked) = (Instant::ZERO, 0, 0, 0);
    let mut steps = steps.into_iter().peekable();
    while at < Instant::ZERO + LASTING {
        while let Some((_, step)) = steps.next_if(|(when, _)| *when <= at) {
            there += step;
        }
        found += there;
        looked += 1;
        at += looks.exponential(LOOK_EVERY);
    }
    found as f64 / f64::from(looked)
}

pub(super) fn rows() -> Vec<Row> {
    let mut queues = at_wires_and_server();
    queues.insert(CLIENT.to_owned(), at_client());
    let row = |(name, queue): (String, Queue)| Row {
        what: format!("{name}: there (rate x mean stay)"),
        theory: queue.stayed.as_secs_f64() / LASTING.as_secs_f64(),
        found: found_there(&name, queue.steps),
        within: Within::Share(0.03),
    };
    let rows: Vec<Row> = queues.into_iter().map(row).collect();
    assert_eq!(rows.len(), 8, "six wires, the server and the client");
    rows
}
