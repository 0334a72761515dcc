//! Ticks over UDP, and pings, which are ticks that ICMP echoes: one socket and one task per host, whatever the rate.
//!
//! The task sleeps until the next tick is due and takes answers meanwhile. Per tick it costs one sleep, one
//! send and one receive: no task, no allocation, no timer for the timeout. Timeouts are looked at when
//! something else wakes the task, since nothing but the count depends on them; only when ticks wait for
//! room, or the last one is out, does the task sleep for a timeout's sake.
//!
//! The socket's ticks are one flow: established by the first answer, broken when another backend answers,
//! or at its end when nobody answered the last [`UNANSWERED_MAX`].

use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context, Poll};

use anyedge_net::host::Host;
use anyedge_net::time::Instant;

use super::echoed::Way;
use super::pacer::Pacer;
use super::tick_window::{Tick, Window};
use crate::failure::Failure;
use crate::load::Load;
use crate::stats::{FlowWatch, SharedStats, Stats};
use crate::tick;

/// So many ticks without an answer at the end of a load are no accident.
const UNANSWERED_MAX: u32 = 10;

struct Client<H, W> {
    host: H,
    load: Load,
    way: W,
    pacer: Pacer,
    window: Window,
    /// The tick to be sent; between two of them, what an echo's padding must be.
    blank: Vec<u8>,
    echo: Vec<u8>,
    /// What the ticks of the socket are together, from the first answer on.
    flow: Option<Flow>,
    stats: SharedStats,
}

/// All ticks of one socket, as long as one backend answers them.
struct Flow {
    watch: FlowWatch,
    /// The mark of the backend that answers, if it has one.
    answerer: Option<[u8; 8]>,
    /// Ticks sent since the last answer.
    unanswered: u32,
}

/// Sends the arrivals of `pacer` on `way`; ends when each has its outcome.
pub(super) fn run<H: Host, W: Way>(
    host: H,
    load: &Load,
    way: W,
    pacer: Pacer,
    stats: SharedStats,
) -> impl Future<Output = ()> + Send + 'static {
    let size = usize::try_from(load.size).expect("checked to be no longer than a datagram");
    let mut client = Client {
        host,
        load: load.clone(),
        way,
        pacer,
        window: Window::new(load.in_flight_max),
        blank: tick::blank(size),
        echo: vec![0; size],
        flow: None,
        stats,
    };
    async move {
        client.stats.lock().on_connecting(client.host.now());
        loop {
            client.on_wake(client.host.now());
            if client.is_over() {
                client.end_flow();
                return;
            }
            let mut sleep = pin!(client.host.sleep_until(client.next_wake()));
            poll_fn(|context| {
                if client.poll_answers(context).is_ready() {
                    return Poll::Ready(());
                }
                sleep.as_mut().poll(context)
            })
            .await;
        }
    }
}

impl<H: Host, W: Way> Client<H, W> {
    fn is_over(&self) -> bool {
        self.pacer.is_over() && self.window.is_empty()
    }

    fn next_wake(&self) -> Instant {
        let wake = self.pacer.next_wake();
        if self.pacer.has_waiting() || self.pacer.is_over() {
            let oldest = self.window.oldest();
            let late = oldest.map_or(Instant::FAR_FUTURE, |tick| {
                tick.intended + self.load.timeout
            });
            return wake.min(late);
        }
        wake
    }

    fn on_wake(&mut self, now: Instant) {
        let expired = self.window.expire(now, self.load.timeout);
        if expired > 0 {
            self.stats.lock().on_failed(Failure::Timeout, expired);
        }
        self.pacer.advance(now, &self.stats);
        while self.window.has_room() {
            let Some(intended) = self.pacer.take() else {
                return;
            };
            self.send(Tick {
                intended,
                started: now,
            });
        }
    }

    fn send(&mut self, sent: Tick) {
        let sequence = self.window.next_sequence();
        tick::stamp(&mut self.blank, sequence, sent.intended);
        match self.way.send(&self.blank, sequence) {
            Ok(()) => {
                self.window.push(sent);
                if let Some(flow) = &mut self.flow {
                    flow.watch.wants(sent.started);
                    flow.unanswered += 1;
                }
            }
            Err(error) => self.stats.lock().on_failed(Failure::of(&error), 1),
        }
    }

    /// Takes all answers that have come; ready when that gives the task something to do.
    fn poll_answers(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.way.poll_answer(context, &mut self.echo) {
                Poll::Ready(Ok(Some(length))) => self.on_answer(length),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(error)) => {
                    if !self.window.settle_oldest() {
                        // An error that nobody waits for. The next tick will ask the socket again.
                        return Poll::Pending;
                    }
                    self.stats.lock().on_failed(Failure::of(&error), 1);
                }
                Poll::Pending => break,
            }
        }
        let may_send = self.pacer.has_waiting() && self.window.has_room();
        if may_send || self.is_over() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// An answer of `length` bytes is in `echo`, cut to the size of a tick. One that no outstanding tick
    /// waits for (late, doubled, not ours) changes nothing.
    fn on_answer(&mut self, length: usize) {
        let echo = &self.echo[..length.min(self.echo.len())];
        let Some(sequence) = tick::sequence(echo) else {
            return;
        };
        let Some(sent) = self.window.get(sequence) else {
            return;
        };
        self.window.settle(sequence);
        let now = self.host.now();
        let mut stats = self.stats.lock();
        if sent.intended + self.load.timeout <= now {
            stats.on_failed(Failure::Timeout, 1);
        } else if length == self.blank.len() && tick::is_echo(echo, &self.blank, sent.intended) {
            stats.on_ok(sent.intended, sent.started, now);
            let rests = self.window.is_empty();
            Flow::on_answer(&mut self.flow, tick::answerer(echo), rests, &mut stats, now);
        } else {
            stats.on_failed(Failure::WrongAnswer, 1);
        }
    }

    /// All ticks have their outcomes: the flow was kept, unless its last ones were not answered at all.
    fn end_flow(&mut self) {
        let now = self.host.now();
        let mut stats = self.stats.lock();
        match self.flow.take() {
            Some(flow) => {
                let cause = (flow.unanswered >= UNANSWERED_MAX).then_some(Failure::Timeout);
                stats.on_flow_over(now, flow.watch, cause);
            }
            None => stats.on_not_connected(now),
        }
    }
}

impl Flow {
    /// A tick of the flow was answered by `answerer`; the flow ends if that is another than before, and a
    /// new one begins. `rests`: no tick is outstanding.
    fn on_answer(
        flow: &mut Option<Flow>,
        answerer: Option<[u8; 8]>,
        rests: bool,
        stats: &mut Stats,
        now: Instant,
    ) {
        if let Some(gone) = flow.take_if(|flow| flow.answerer != answerer) {
            stats.on_flow_over(now, gone.watch, Some(Failure::OtherTarget));
            stats.on_connecting(now);
        }
        let flow = flow.get_or_insert_with(|| Flow {
            watch: stats.on_established(now),
            answerer,
            unanswered: 0,
        });
        flow.watch.on_byte(now);
        flow.unanswered = 0;
        if rests {
            flow.watch.rests();
        }
    }
}
