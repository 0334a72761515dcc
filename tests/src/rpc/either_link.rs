//! What a link promises whether gRPC or QUIC carries it: the cases that are the same for both.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use anyedge_ccn::carry::{CarryLimits, Frame, Port};
use anyedge_net::host::Host;

use super::{becomes, pause, same};
use crate::conformance::{Finding, Pair};

/// The node that has a link to the answering end.
pub(super) const CALLER: &str = "pop.tokyo";

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

    pub(super) fn received(&self) -> u64 {
        self.port.counts().received
    }
}

/// The answering end of a link, and how to call it.
pub(super) trait Carrier<H: Host>: Sized {
    /// What has to live as long as the call shall.
    type Call;

    /// An end on the second machine that answers [`CALLER`].
    fn serve(pair: &Pair<H>, limits: CarryLimits) -> Result<(Self, End<H>), String>;

    /// Has `near`, on the first machine, call as [`CALLER`].
    fn call(&mut self, pair: &Pair<H>, near: &End<H>) -> Result<Self::Call, String>;

    /// An end on the first machine that calls as [`CALLER`].
    fn call_from_new_end(
        &mut self,
        pair: &Pair<H>,
        limits: CarryLimits,
    ) -> Result<(Self::Call, End<H>), String> {
        let near = End::new(&pair.a, limits);
        let call = self.call(pair, &near)?;
        Ok((call, near))
    }
}

pub(super) async fn newest_frames_wait_a_while<H: Host, C: Carrier<H>>(pair: Pair<H>) -> Finding {
    let limits = CarryLimits {
        queue_bytes_max: 10_000,
        ..CarryLimits::default()
    };
    let (mut carrier, far) = C::serve(&pair, limits)?;
    let near = End::new(&pair.a, limits);
    for number in 0..100 {
        near.send(number, 1_000);
    }
    same("no room", near.port.counts().dropped_full, 90)?;
    pause(&pair.a, 2 * limits.wait_max).await;
    for number in 100..105 {
        near.send(number, 1_000);
    }
    let _call = carrier.call(&pair, &near)?;
    becomes(&pair.a, "frames", || far.received() == 5).await?;
    same("arrived", far.numbers(), (100..105).collect())?;
    let counts = near.port.counts();
    same("too late", counts.dropped_late, 5)?;
    same("sent", counts.sent, 5)?;
    same("no room", counts.dropped_full, 95)
}

pub(super) async fn a_second_call_ends_the_first<H: Host, C: Carrier<H>>(pair: Pair<H>) -> Finding {
    let limits = CarryLimits {
        redial: Duration::from_secs(30),
        ..CarryLimits::default()
    };
    let (mut carrier, far) = C::serve(&pair, limits)?;
    let (_first_call, first) = carrier.call_from_new_end(&pair, limits)?;
    first.send(1, 100);
    becomes(&pair.a, "the first call", || far.received() == 1).await?;
    let (_second_call, second) = carrier.call_from_new_end(&pair, limits)?;
    second.send(2, 100);
    becomes(&pair.a, "the second call", || far.received() == 2).await?;
    far.send(3, 100);
    becomes(&pair.a, "an answer", || second.received() == 1).await?;
    same("to the first", first.numbers(), vec![])?;
    same("calls", far.port.counts().streams, 2)
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
pub(super) async fn paced<H: Host, C: Carrier<H>>(pair: Pair<H>) -> Result<PacedFlow, String> {
    const FRAMES: u32 = 6_000;
    let every = Duration::from_millis(10);
    let limits = CarryLimits::default();
    let (mut carrier, far) = C::serve(&pair, limits)?;
    let (_call, near) = carrier.call_from_new_end(&pair, limits)?;
    becomes(&pair.a, "a call", || far.port.counts().streams == 1).await?;
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
