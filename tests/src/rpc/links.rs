//! Links that gRPC carries: frames both ways, bounded queues, streams that end and begin again.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyedge_ccn::carry::{CarryLimits, Frame, Port, TunnelService, dial};
use anyedge_ccn::rpc::{Authority, HealthBook, Limits, Role};
use anyedge_net::host::Host;
use tonic::service::Routes;

use super::certificates::{channel_of, issue, serve_as_server, serve_secure};
use super::{LIMITS, Served, becomes, pause, same};
use crate::conformance::{Finding, Pair};

/// Frames that came in, and when.
pub(super) type Inbox = Arc<Mutex<Vec<(Duration, Frame)>>>;

/// One end of a link and what came in at it.
pub(super) struct End<H> {
    pub(super) port: Arc<Port<H>>,
    pub(super) inbox: Inbox,
}

impl<H: Host> End<H> {
    pub(super) fn new(host: &H, limits: CarryLimits) -> End<H> {
        let inbox = Inbox::default();
        let into = Arc::clone(&inbox);
        let clock = host.clone();
        let port = Port::new(host, limits, move |frame| {
            let now = Duration::from_nanos(clock.now().as_nanos());
            into.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((now, frame));
        });
        End { port, inbox }
    }

    pub(super) fn send(&self, number: u32, bytes: usize) {
        let mut gre = vec![0; bytes];
        gre[..4].copy_from_slice(&number.to_be_bytes());
        let tos = (number % 256) as u8;
        let gre = gre.into();
        self.port.send(Frame { gre, tos });
    }

    /// The numbers of what came in.
    pub(super) fn numbers(&self) -> Vec<u32> {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let number = |frame: &Frame| {
            let first = frame.gre.first_chunk::<4>();
            first.map_or(0, |bytes| u32::from_be_bytes(*bytes))
        };
        inbox.iter().map(|(_, frame)| number(frame)).collect()
    }
}

/// A server with a port for `pop.tokyo`.
fn serve_link<H: Host>(
    pair: &Pair<H>,
    limits: CarryLimits,
) -> Result<(Served, Authority, End<H>), String> {
    let end = End::new(&pair.b, limits);
    let ports = BTreeMap::from([("pop.tokyo".to_owned(), Arc::clone(&end.port))]);
    let routes = Routes::new(TunnelService::server(ports));
    let (served, authority) = serve_secure(pair, routes, HealthBook::new())?;
    Ok((served, authority, end))
}

/// An end that dials as `name`.
fn dial_as<H: Host>(
    pair: &Pair<H>,
    served: &Served,
    authority: &mut Authority,
    name: &str,
    limits: CarryLimits,
) -> Result<End<H>, String> {
    let end = End::new(&pair.a, limits);
    let issued = issue(authority, name, Role::Node)?;
    dial(
        &end.port,
        channel_of(pair, served, &issued, CarryLimits::rpc())?,
    );
    Ok(end)
}

pub(super) async fn frames_arrive_in_order_both_ways<H: Host>(pair: Pair<H>) -> Finding {
    let limits = CarryLimits {
        queue_bytes_max: 4 << 20,
        wait_max: Duration::from_secs(20),
        ..CarryLimits::default()
    };
    let (served, mut authority, far) = serve_link(&pair, limits)?;
    let near = dial_as(&pair, &served, &mut authority, "pop.tokyo", limits)?;
    let expected: Vec<u32> = (0..1_000).collect();
    for number in 0..1_000 {
        near.send(number, 1_400);
        far.send(number, 40 + number as usize);
    }
    becomes(&pair.a, "1,000 frames each way", || {
        near.port.counts().received >= 1_000 && far.port.counts().received >= 1_000
    })
    .await?;
    same("to the far end", far.numbers() == expected, true)?;
    same("to the near end", near.numbers() == expected, true)?;
    let is_whole = |end: &End<H>, bytes: fn(usize) -> usize| {
        let inbox = end.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let mut frames = inbox.iter().zip(0..);
        frames.all(|((_, frame), at)| frame.gre.len() == bytes(at) && frame.tos == at as u8)
    };
    same("whole at the far end", is_whole(&far, |_| 1_400), true)?;
    same("whole at the near end", is_whole(&near, |at| 40 + at), true)?;
    let counts = near.port.counts();
    same("sent", counts.sent, 1_000)?;
    same("dropped", counts.dropped_full + counts.dropped_late, 0)
}

pub(super) async fn a_link_that_leads_nowhere_keeps_the_newest_frames_for_a_while<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let limits = CarryLimits {
        queue_bytes_max: 10_000,
        ..CarryLimits::default()
    };
    let (served, mut authority, far) = serve_link(&pair, limits)?;
    let near = End::new(&pair.a, limits);
    for number in 0..100 {
        near.send(number, 1_000);
    }
    same("no room", near.port.counts().dropped_full, 90)?;
    pause(&pair.a, 2 * limits.wait_max).await;
    for number in 100..105 {
        near.send(number, 1_000);
    }
    let issued = issue(&mut authority, "pop.tokyo", Role::Node)?;
    dial(
        &near.port,
        channel_of(&pair, &served, &issued, CarryLimits::rpc())?,
    );
    becomes(&pair.a, "frames", || far.port.counts().received == 5).await?;
    same("arrived", far.numbers(), (100..105).collect())?;
    let counts = near.port.counts();
    same("too late", counts.dropped_late, 5)?;
    same("sent", counts.sent, 5)?;
    same("no room", counts.dropped_full, 95)
}

pub(super) async fn a_node_that_calls_again_ends_its_earlier_stream<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let limits = CarryLimits {
        redial: Duration::from_secs(30),
        ..CarryLimits::default()
    };
    let (served, mut authority, far) = serve_link(&pair, limits)?;
    let first = dial_as(&pair, &served, &mut authority, "pop.tokyo", limits)?;
    first.send(1, 100);
    becomes(&pair.a, "the first stream", || {
        far.port.counts().received == 1
    })
    .await?;
    let second = dial_as(&pair, &served, &mut authority, "pop.tokyo", limits)?;
    second.send(2, 100);
    becomes(&pair.a, "the second stream", || {
        far.port.counts().received == 2
    })
    .await?;
    far.send(3, 100);
    becomes(&pair.a, "an answer", || second.port.counts().received == 1).await?;
    same("to the first", first.numbers(), vec![])?;
    same("calls", served.server.counts().calls_total, 2)
}

pub(super) async fn a_link_comes_back_with_its_server<H: Host>(pair: Pair<H>) -> Finding {
    let limits = CarryLimits::default();
    let far = End::new(&pair.b, limits);
    let service = || {
        let ports = BTreeMap::from([("pop.tokyo".to_owned(), Arc::clone(&far.port))]);
        Routes::new(TunnelService::server(ports))
    };
    let mut authority = Authority::new(&pair.b).map_err(|error| error.to_string())?;
    let quick = Limits {
        ping_every: Duration::from_millis(500),
        ping_wait: Duration::from_millis(500),
        ..LIMITS
    };
    let first = serve_as_server(&pair, 0, service(), &mut authority, quick)?;
    let at = first.at;
    let near = dial_as(&pair, &first, &mut authority, "pop.tokyo", limits)?;
    near.send(1, 100);
    becomes(&pair.a, "a frame", || far.port.counts().received == 1).await?;
    drop(first);
    // The server leaves once the call has ended: the far end ends it, as a node that stops does.
    far.port.hang_up();
    pause(&pair.a, Duration::from_millis(600)).await;
    let _second = serve_as_server(&pair, at.port(), service(), &mut authority, quick)?;
    for number in 2..200 {
        near.send(number, 100);
        pause(&pair.a, Duration::from_millis(20)).await;
        if far.port.counts().received > 1 {
            break;
        }
    }
    same("again", far.port.counts().received > 1, true)
}

pub(super) async fn a_node_without_a_link_here_is_refused<H: Host>(pair: Pair<H>) -> Finding {
    let limits = CarryLimits {
        redial: Duration::from_millis(50),
        ..CarryLimits::default()
    };
    let (served, mut authority, far) = serve_link(&pair, limits)?;
    let stranger = dial_as(&pair, &served, &mut authority, "pop.osaka", limits)?;
    stranger.send(1, 100);
    becomes(&pair.a, "attempts", || {
        served.server.counts().calls_total > 2
    })
    .await?;
    same("received", far.port.counts().received, 0)?;
    same("streams", far.port.counts().streams, 0)
}

/// What became of a paced flow of frames, one way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacedFlow {
    /// Frames that arrived, of 6,000.
    pub arrived: usize,
    /// How long half of those took at most.
    pub p50: Duration,
    /// How long 99 of 100 took at most.
    pub p99: Duration,
    /// How long the slowest took.
    pub max: Duration,
}

/// 6,000 frames of 1,200 bytes over a link, one every 10 ms.
///
/// # Errors
/// When no link comes about, or frames arrive out of order.
pub async fn paced_flow<H: Host>(pair: Pair<H>) -> Result<PacedFlow, String> {
    let limits = CarryLimits::default();
    let (served, mut authority, far) = serve_link(&pair, limits)?;
    let near = dial_as(&pair, &served, &mut authority, "pop.tokyo", limits)?;
    pace(&pair, &near, &far).await
}

/// The same over a link that is there already.
pub(super) async fn pace<H: Host>(
    pair: &Pair<H>,
    near: &End<H>,
    far: &End<H>,
) -> Result<PacedFlow, String> {
    const FRAMES: u32 = 6_000;
    let every = Duration::from_millis(10);
    becomes(&pair.a, "a stream", || far.port.counts().streams == 1).await?;
    pause(&pair.a, Duration::from_secs(1)).await;
    let begin = pair.a.now();
    for number in 0..FRAMES {
        pair.a.sleep_until(begin + every * number).await;
        near.send(number, 1_200);
    }
    pause(&pair.a, Duration::from_secs(20)).await;
    let numbers = far.numbers();
    same("in order", numbers.is_sorted(), true)?;
    let begin = Duration::from_nanos(begin.as_nanos());
    let inbox = far.inbox.lock().unwrap_or_else(PoisonError::into_inner);
    let delay = |(number, (at, _)): (&u32, &(Duration, Frame))| *at - (begin + every * *number);
    let mut delays: Vec<_> = numbers.iter().zip(inbox.iter()).map(delay).collect();
    delays.sort_unstable();
    let at = |percent| delays.get(delays.len() * percent / 100).copied();
    Ok(PacedFlow {
        arrived: delays.len(),
        p50: at(50).unwrap_or_default(),
        p99: at(99).unwrap_or_default(),
        max: delays.last().copied().unwrap_or_default(),
    })
}
