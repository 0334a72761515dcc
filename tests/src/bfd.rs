//! What BFD over a `Host` promises, written once and run in each world.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::{Arc, Mutex};

use anyedge_net::host::{DatagramMeta, Host, UdpSocket as _};
use anyedge_net::time::Instant;
use anyedge_pop::bfd::speaker::{Neighbour, run};
use anyedge_pop::bfd::{Config, Diagnostic, Event, Packet, State, TTL};
use futures_util::future::{AbortHandle, abortable};

use crate::conformance::{Case, Finding, Pair, case_list};

/// How long anything may take, by the world's clock.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where the two machines listen: on the kernel they may have one address.
const PORTS: [u16; 2] = [3_784, 3_785];
/// The detection time of the default: each 50 ms, three may be missed.
pub const DETECTION: Duration = Duration::from_millis(150);
/// For machines that share their processors with others: a detection time of 500 ms.
pub const PATIENT: Config = Config {
    desired_min_tx_us: 100_000,
    required_min_rx_us: 100_000,
    detect_multiplier: 5,
};

/// Every case.
pub fn cases<H: Host>() -> Vec<Case<H>> {
    case_list![
        a_killed_neighbour_is_missed_within_the_detection_time,
        packets_from_afar_are_not_believed
    ]
}

/// A state that a session came to, when, and why.
pub type Change = (Instant, State, Diagnostic);

/// The sessions of a machine that run beside the case: here one.
pub struct Speaker {
    changes: Arc<Mutex<Vec<Change>>>,
    killed: AbortHandle,
}

impl Speaker {
    /// Starts it on `host`.
    pub fn start<H: Host>(
        host: &H,
        local: SocketAddr,
        remote: SocketAddr,
        config: Config,
    ) -> Speaker {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&changes);
        let own = host.clone();
        let (task, killed) = abortable(async move {
            let neighbours = [Neighbour { remote, config }];
            let observe = |now: Instant, _, event: &Event| {
                let Event::SessionState { to, diagnostic, .. } = *event;
                let mut changes = noted.lock().expect("no observer panics");
                changes.push((now, to, diagnostic));
            };
            run(own, local, &neighbours, observe).await
        });
        host.spawn(async move {
            // It ends by being killed, or its sockets are refused and nothing is ever noted.
            let _ = task.await;
        });
        Speaker { changes, killed }
    }

    /// Ends it without a word.
    pub fn kill(&self) {
        self.killed.abort();
    }

    /// All states that its session came to.
    pub fn changes(&self) -> Vec<Change> {
        self.changes.lock().expect("no observer panics").clone()
    }

    /// Waits until it is in `state`, and tells since when.
    pub async fn until<H: Host>(&self, host: &H, state: State) -> Result<Change, String> {
        let end = host.now() + PATIENCE;
        loop {
            match self.changes().last() {
                Some(last) if last.1 == state => return Ok(*last),
                last if host.now() > end => return Err(format!("never {state:?}: {last:?}")),
                _ => {
                    host.sleep_until(host.now() + Duration::from_millis(5))
                        .await
                }
            }
        }
    }
}

fn start<H: Host>(pair: &Pair<H>, config: Config) -> [Speaker; 2] {
    let [a, b]: [SocketAddr; 2] = [
        (pair.a_address, PORTS[0]).into(),
        (pair.b_address, PORTS[1]).into(),
    ];
    [
        Speaker::start(&pair.a, a, b, config),
        Speaker::start(&pair.b, b, a, config),
    ]
}

async fn a_killed_neighbour_is_missed_within_the_detection_time<H: Host>(pair: Pair<H>) -> Finding {
    let [a, b] = start(&pair, PATIENT);
    a.until(&pair.a, State::Up).await?;
    b.until(&pair.a, State::Up).await?;
    // Both have agreed on the short interval by then.
    pair.a
        .sleep_until(pair.a.now() + Duration::from_secs(1))
        .await;
    let killed_at = pair.a.now();
    b.kill();
    let (at, _, why) = a.until(&pair.a, State::Down).await?;
    // One packet may be on its way; a busy machine wakes us late.
    let took = at.since(killed_at);
    let most = Duration::from_millis(500 + 250);
    if why != Diagnostic::TIME_EXPIRED || took > most {
        return Err(format!("{why:?} after {took:?}"));
    }
    Ok(())
}

/// One that has come over a router has lost at least one of its 255 hops.
async fn packets_from_afar_are_not_believed<H: Host>(pair: Pair<H>) -> Finding {
    let [a, b]: [SocketAddr; 2] = [
        (pair.a_address, PORTS[0]).into(),
        (pair.b_address, PORTS[1]).into(),
    ];
    let speaker = Speaker::start(&pair.a, a, b, PATIENT);
    let afar = pair.b.udp_bind((pair.b_address, 0).into());
    let afar = afar.map_err(|error| error.to_string())?;
    let packet = Packet {
        diagnostic: Diagnostic::NONE,
        state: State::Down,
        poll: false,
        last: false,
        demand: false,
        detect_multiplier: 3,
        my_discriminator: 7,
        your_discriminator: 0,
        desired_min_tx_us: 50_000,
        required_min_rx_us: 50_000,
    };
    for (ttl, is_believed) in [(TTL - 1, false), (TTL, true)] {
        let meta = DatagramMeta {
            ttl,
            ..DatagramMeta::to(a)
        };
        for _ in 0..5 {
            // A port that nobody has opened yet is a refusal, told with the next send.
            let _ = afar.send(&packet.write(), meta);
            let later = pair.a.now() + Duration::from_millis(50);
            pair.a.sleep_until(later).await;
        }
        let is_heard = !speaker.changes().is_empty();
        if is_heard != is_believed {
            return Err(format!("TTL {ttl}: {:?}", speaker.changes()));
        }
    }
    Ok(())
}

/// What the first machine finds in `time` after both came up, and when that was.
pub async fn watched_for<H: Host>(
    pair: Pair<H>,
    time: Duration,
) -> Result<(Instant, Vec<Change>), String> {
    let [a, b] = start(&pair, Config::default());
    a.until(&pair.a, State::Up).await?;
    b.until(&pair.a, State::Up).await?;
    let up_at = pair.a.now();
    let known = a.changes().len();
    pair.a.sleep_until(up_at + time).await;
    Ok((up_at, a.changes().split_off(known)))
}
