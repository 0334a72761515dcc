//! Clients that write one after another, each on a connection of its own.

use core::fmt;
use core::future::Future;
use core::time::Duration;

use anyedge_live::host::LiveHost;
use anyedge_net::host::Host as _;

use crate::processes::cpu_seconds;

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

/// Has every one of `clients` write for `length`; `write` is given a client and the number of the write.
pub(crate) async fn load<C, F>(
    host: &LiveHost,
    clients: Vec<C>,
    length: Duration,
    members: &[u32],
    write: impl Fn(C, u64) -> F + Copy + Send + 'static,
) -> Round
where
    C: Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    // Connections are made before.
    for client in &clients {
        write(client.clone(), 0).await;
    }
    let before = cpu_seconds(members);
    let began = host.now();
    let one = |client: C| {
        let host = host.clone();
        async move {
            let mut took = Vec::new();
            let mut at = began;
            while at < began + length {
                write(client.clone(), took.len() as u64 + 1).await;
                let now = host.now();
                took.push(now.since(at));
                at = now;
            }
            took
        }
    };
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(one(client)))
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.expect("a client's writes succeed"));
    }
    let lasted = host.now().since(began).as_secs_f64();
    took.sort_unstable();
    let at = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)];
    let cpu = (cpu_seconds(members) - before) / took.len() as f64;
    Round {
        a_second: took.len() as f64 / lasted,
        p50: at(50),
        p99: at(99),
        cpu: Duration::from_secs_f64(cpu),
    }
}
