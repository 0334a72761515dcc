//! A service that answers and one that asks, for tests of the machines that services run on.
//!
//! The asker opens a TCP connection for each question, waits for the same bytes and writes down how long both took
//! together: two round trips.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::time::Duration;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use anyedge_net::host::{Host, TcpListener as _};
use anyedge_net::time::Instant;
use anyedge_topologies::Topology;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::future::{Either, select};

use super::Services;
use crate::report::Report;
use crate::run::{Options, run_with};

pub(crate) const PORT: u16 = 7;
/// Far more than questions are under way.
const BACKLOG: usize = 128;
const EVERY: Duration = Duration::from_millis(100);
/// How long a question waits for its answer.
pub(crate) const PATIENCE: Duration = Duration::from_millis(900);

/// Controllers at two POPs and in a region; the first has two ways to the region.
pub(crate) const NETWORK: &str = r#"
schema = 1
name = "echo"
duration = "6s"
seed = 5

[defaults]
probe = false
routes = "static"

[vip.game]
address = "203.0.113.10"
publish = ["tokyo", "frankfurt"]
clb = "main"

[pop.tokyo]
[pop.frankfurt]

[region.guangzhou]
clb_nodes = 2
[region.singapore]

[link.tokyo-guangzhou]
between = ["pop.tokyo", "region.guangzhou"]
rtt = "52ms"
[link.frankfurt-guangzhou]
between = ["pop.frankfurt", "region.guangzhou"]
rtt = "178ms"
[link.tokyo-singapore]
between = ["pop.tokyo", "region.singapore"]
rtt = "68ms"
[link.guangzhou-singapore]
between = ["region.guangzhou", "region.singapore"]
rtt = "36ms"

[clb.main]
region = "guangzhou"
listener.web = { port = "tcp/80", scheduler = "wrr", targets = "web" }

[targets.web]
port = 8080
servers = [{ ip = "10.0.0.11" }]

[controller.a]
at = "tokyo"
[controller.b]
at = "frankfurt"
[controller.c]
at = "guangzhou"
"#;

/// One question: when it was asked by the asker's clock, and how long until its answer; `None`: too long.
pub(crate) type Asked = (Duration, Option<Duration>);

/// What the services of a run wrote down.
#[derive(Clone, Default)]
pub(crate) struct Notes {
    asked: Arc<Mutex<Vec<Asked>>>,
    boots: Arc<Mutex<Vec<(String, Duration)>>>,
}

const ONE_THREAD: &str = "one thread runs the whole world";

impl Notes {
    /// Every question.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect(ONE_THREAD).clone()
    }

    /// Whether the questions that were asked within so many milliseconds were answered: all, none, or some.
    pub(crate) fn answered(&self, from_ms: u64, until_ms: u64) -> &'static str {
        let ms = Duration::from_millis;
        let asked = self.asked();
        let within = asked
            .iter()
            .filter(|(at, _)| (ms(from_ms)..ms(until_ms)).contains(at));
        let answers: Vec<bool> = within.map(|(_, answer)| answer.is_some()).collect();
        assert!(!answers.is_empty(), "nothing was asked: {asked:?}");
        match (answers.contains(&true), answers.contains(&false)) {
            (true, false) => "all",
            (false, _) => "none",
            (true, true) => "some",
        }
    }

    /// When which machine started, by its own clock.
    pub(crate) fn boots(&self, machine: &str) -> Vec<Duration> {
        let boots = self.boots.lock().expect(ONE_THREAD);
        let own = boots.iter().filter(|(name, _)| name == machine);
        own.map(|(_, at)| *at).collect()
    }
}

/// The network with `more` at its end.
pub(crate) fn network(more: &str) -> Topology {
    let text = format!("{NETWORK}\n{more}");
    Topology::parse("echo.toml", &text).unwrap_or_else(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

/// Plays the network with `more`: every machine of it answers, and `from` asks `to` ten times a second.
pub(crate) fn play(more: &str, from: &str, to: &str) -> (Notes, Report) {
    let mut services = Services::new();
    play_with(more, from, to, &mut services)
}

/// As [`play`], beside other services.
pub(crate) fn play_with(
    more: &str,
    from: &str,
    to: &str,
    services: &mut Services,
) -> (Notes, Report) {
    let topology = network(more);
    let notes = Notes::default();
    for node in topology.managed() {
        let boots = Arc::clone(&notes.boots);
        services.on_boot(&node.name, move |host| {
            let at = host.now().since(Instant::ZERO);
            let started = (host.name().to_owned(), at);
            boots.lock().expect(ONE_THREAD).push(started);
            answer_all(&host);
        });
    }
    let to = address(&topology, to);
    let asked = Arc::clone(&notes.asked);
    services.on_boot(from, move |host| {
        host.spawn(ask_for_ever(host.clone(), to, Arc::clone(&asked)));
    });
    let report = run_with(&topology, &Options::default(), services, &mut |_| {});
    (notes, report.expect("the network builds"))
}

fn address(topology: &Topology, name: &str) -> SocketAddr {
    let nodes = topology.managed();
    let node = nodes.iter().find(|node| node.name == name);
    let v4 = node.expect("a node of the network").address.v4;
    SocketAddr::new(IpAddr::V4(v4.expect("both families")), PORT)
}

fn answer_all<H: Host>(host: &H) {
    let any = SocketAddr::from(([0, 0, 0, 0], PORT));
    let mut listener = host.tcp_listen(any, BACKLOG).expect("the port is free");
    let own = host.clone();
    host.spawn(async move {
        while let Ok(mut stream) = listener.accept().await {
            own.spawn(async move {
                if let Ok(bytes) = read(&mut stream).await {
                    let _gone = write(&mut stream, &bytes).await;
                }
            });
        }
    });
}

async fn ask_for_ever<H: Host>(host: H, to: SocketAddr, asked: Arc<Mutex<Vec<Asked>>>) {
    let mut due = host.now();
    loop {
        let (host, notes) = (host.clone(), Arc::clone(&asked));
        let own = host.clone();
        own.spawn(async move {
            let at = host.now();
            let late = pin!(host.sleep_until(at + PATIENCE));
            let answer = match select(pin!(ask(&host, to)), late).await {
                Either::Left((Ok(()), _)) => Some(host.now().since(at)),
                Either::Left((Err(_), _)) | Either::Right(_) => None,
            };
            let question = (at.since(Instant::ZERO), answer);
            notes.lock().expect(ONE_THREAD).push(question);
        });
        due += EVERY;
        own.sleep_until(due).await;
    }
}

async fn ask<H: Host>(host: &H, to: SocketAddr) -> io::Result<()> {
    let mut stream = host.tcp_connect(None, to).await?;
    write(&mut stream, b"question").await?;
    assert_eq!(&read(&mut stream).await?, b"question");
    Ok(())
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8; 8]) -> io::Result<()> {
    let written = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await?;
    assert_eq!(written, bytes.len(), "a fresh connection has room");
    Ok(())
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; 8]> {
    let mut bytes = [0; 8];
    let mut len = 0;
    while len < bytes.len() {
        let into = &mut bytes[len..];
        match poll_fn(|context| Pin::new(&mut *stream).poll_read(context, into)).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => len += more,
        }
    }
    Ok(bytes)
}
