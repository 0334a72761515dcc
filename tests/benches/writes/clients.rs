//! Clients that write one after another, each on a connection of its own.

use core::fmt;
use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;

use anyedge_ccn::rpc::{Channel, ClientSecurity, Limits};
use anyedge_live::host::LiveHost;
use anyedge_net::host::Host as _;

use crate::CLIENTS;
use crate::processes::{Running, cpu_seconds};

/// What came of one round.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) a_second: f64,
    p50: Duration,
    p99: Duration,
    /// Of the members, for one write.
    cpu: Duration,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Round {
            a_second,
            p50,
            p99,
            cpu,
        } = self;
        write!(
            f,
            "{a_second:.0} writes a second, p50 {p50:.1?}, p99 {p99:.1?}, {cpu:.0?} of the members' CPU for each"
        )
    }
}

impl Round {
    /// The median of each figure.
    pub(crate) fn median(rounds: &[Round]) -> Option<Round> {
        let middle = |mut all: Vec<Duration>| {
            all.sort_unstable();
            all[all.len() / 2]
        };
        let mut rates: Vec<f64> = rounds.iter().map(|round| round.a_second).collect();
        rates.sort_by(f64::total_cmp);
        Some(Round {
            a_second: *rates.get(rates.len() / 2)?,
            p50: middle(rounds.iter().map(|round| round.p50).collect()),
            p99: middle(rounds.iter().map(|round| round.p99).collect()),
            cpu: middle(rounds.iter().map(|round| round.cpu).collect()),
        })
    }
}

/// A group that is written to.
pub(crate) struct Group {
    pub(crate) running: Running,
    pub(crate) leader: SocketAddr,
    pub(crate) security: ClientSecurity,
}

impl Group {
    /// Has every client write for `length`, each on a connection to the leader; `write` is given that, which client it
    /// is, and the number of the write.
    pub(crate) async fn load<F>(
        &self,
        host: &LiveHost,
        length: Duration,
        write: impl Fn(Channel<LiveHost>, usize, u64) -> F + Copy + Send + 'static,
    ) -> Round
    where
        F: Future<Output = ()> + Send,
    {
        let members = self.running.ids();
        let channel = |_| Channel::new(host, self.leader, self.security.clone(), Limits::default());
        let channels: Vec<_> = (0..CLIENTS).map(channel).collect();
        // Connections are made before.
        for (client, channel) in channels.iter().enumerate() {
            write(channel.clone(), client, 0).await;
        }
        let before = cpu_seconds(&members);
        let began = host.now();
        let one = |(client, channel): (usize, Channel<LiveHost>)| {
            let host = host.clone();
            async move {
                let mut took = Vec::new();
                let mut at = began;
                while at < began + length {
                    write(channel.clone(), client, took.len() as u64 + 1).await;
                    let now = host.now();
                    took.push(now.since(at));
                    at = now;
                }
                took
            }
        };
        let clients = channels.into_iter().enumerate();
        let tasks: Vec<_> = clients.map(|client| tokio::spawn(one(client))).collect();
        let mut took = Vec::new();
        for task in tasks {
            took.extend(task.await.expect("a client's writes succeed"));
        }
        let lasted = host.now().since(began).as_secs_f64();
        let cpu = (cpu_seconds(&members) - before) / took.len() as f64;
        took.sort_unstable();
        let at = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)];
        Round {
            a_second: took.len() as f64 / lasted,
            p50: at(50),
            p99: at(99),
            cpu: Duration::from_secs_f64(cpu),
        }
    }
}
