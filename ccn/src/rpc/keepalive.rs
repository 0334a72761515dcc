//! Whether the peer of a connection still answers.
//!
//! TCP notices a vanished peer only by unanswered data, and the simulated one never gives up. So each end
//! asks with an HTTP/2 PING from time to time and takes silence for death. A peer that does not read its socket
//! does not answer either: what is queued for it goes with the connection.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use anyedge_net::host::Host;
use h2::{Ping, PingPong};

/// Asks and waits for answers; one question at a time.
pub(super) struct Keepalive<H> {
    host: H,
    pings: PingPong,
    every: Duration,
    wait: Duration,
    asked: bool,
    sleep: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<H: Host> Keepalive<H> {
    /// Asks `pings` after each `every`, waits `wait` for the answer.
    pub(super) fn new(host: &H, pings: PingPong, every: Duration, wait: Duration) -> Keepalive<H> {
        Keepalive {
            host: host.clone(),
            pings,
            every,
            wait,
            asked: false,
            sleep: Box::pin(host.sleep_until(host.now() + every)),
        }
    }

    /// Ready once the peer is taken for dead. The connection is polled after this one: it writes the question.
    pub(super) fn poll_dead(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.asked {
                match self.pings.poll_pong(context) {
                    Poll::Ready(Ok(_)) => self.rest(false, self.every),
                    // The connection itself tells of its end.
                    Poll::Ready(Err(_)) => return Poll::Pending,
                    Poll::Pending => {
                        ready!(self.sleep.as_mut().poll(context));
                        return Poll::Ready(());
                    }
                }
            }
            ready!(self.sleep.as_mut().poll(context));
            if self.pings.send_ping(Ping::opaque()).is_err() {
                return Poll::Pending;
            }
            self.rest(true, self.wait);
        }
    }

    fn rest(&mut self, asked: bool, time: Duration) {
        self.asked = asked;
        self.sleep = Box::pin(self.host.sleep_until(self.host.now() + time));
    }
}
