//! What quinn asks of a runtime, answered by a host: tasks, timers and the time.
//!
//! quinn counts in the standard library's instants, which nobody can make but by a clock. One is taken as the host's zero;
//! what it is never shows, since only differences to it are looked at.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;
use std::time::Instant as StdInstant;

use anyedge_net::host::Host;
use anyedge_net::time::Instant;
use quinn::{AsyncTimer, AsyncUdpSocket, Runtime};

use crate::rpc::Tls;

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A host, as quinn sees it.
pub(super) struct HostRuntime<H> {
    host: H,
    tls: Tls,
    zero: StdInstant,
}

impl<H: Host> HostRuntime<H> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a zero to count from, which cancels out of everything"
    )]
    pub(super) fn new(host: &H, tls: &Tls) -> HostRuntime<H> {
        HostRuntime {
            host: host.clone(),
            tls: tls.clone(),
            zero: StdInstant::now(),
        }
    }
}

impl<H: Host> fmt::Debug for HostRuntime<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostRuntime")
            .field(&self.host.name())
            .finish()
    }
}

impl<H: Host> Runtime for HostRuntime<H> {
    fn new_timer(&self, at: StdInstant) -> Pin<Box<dyn AsyncTimer>> {
        let mut timer = Timer {
            host: self.host.clone(),
            zero: self.zero,
            due: Instant::ZERO,
            sleep: None,
        };
        timer.set(at);
        Box::pin(timer)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let tls = self.tls.clone();
        self.host.spawn(Scoped { tls, future });
    }

    #[expect(clippy::disallowed_types, reason = "nobody has one to give")]
    fn wrap_udp_socket(&self, _: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn now(&self) -> StdInstant {
        self.zero + core::time::Duration::from_nanos(self.host.now().as_nanos())
    }
}

/// A task of quinn's, which draws the host's secrets whenever it is polled.
struct Scoped {
    tls: Tls,
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Scoped {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Scoped { tls, future } = self.get_mut();
        tls.scope(|| future.as_mut().poll(context))
    }
}

/// A timer that is moved far more often than it goes off: a sleep that ends too early is slept on, a new one is begun only
/// where it would end too late.
struct Timer<H> {
    host: H,
    zero: StdInstant,
    due: Instant,
    sleep: Option<(Instant, Sleep)>,
}

impl<H> Timer<H> {
    fn set(&mut self, at: StdInstant) {
        let nanos = at.saturating_duration_since(self.zero).as_nanos();
        self.due = Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    }
}

impl<H: Host> fmt::Debug for Timer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timer").field(&self.due).finish()
    }
}

impl<H: Host> AsyncTimer for Timer<H> {
    fn reset(self: Pin<&mut Self>, at: StdInstant) {
        self.get_mut().set(at);
    }

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let timer = self.get_mut();
        loop {
            if timer.host.now() >= timer.due {
                timer.sleep = None;
                return Poll::Ready(());
            }
            match &mut timer.sleep {
                Some((until, sleep)) if *until <= timer.due => {
                    if sleep.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                    timer.sleep = None;
                }
                _ => {
                    let sleep = timer.host.sleep_until(timer.due);
                    timer.sleep = Some((timer.due, Box::pin(sleep)));
                }
            }
        }
    }
}

impl<H: Host> Unpin for Timer<H> {}
