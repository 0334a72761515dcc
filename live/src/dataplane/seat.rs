//! A worker's seat: the devices that are its own, and how it waits for them.
//!
//! It asks by poll(2), which hears of packets that come while it sleeps; an epoll(7) is told of each, also while the worker
//! is at work. Before it sleeps it looks again for a while ([`Lookout::busy_poll`]), for as long as nobody else wants the
//! processor: one that falls asleep takes long to wake, in a virtual machine tens of microseconds.
//!
//! A seat is shared, so that another worker may give it devices; a [`Lookout`] is what its own worker waits with. Whoever
//! changes a seat rings, since a worker that sleeps polls what was its own when it fell asleep.

use std::io::Error;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant as Wall};

use anyedge_net::time::Instant;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::mouth::Side;
use super::shared::UNBROKEN;

/// A worker has been asleep for as long before it is given a ground: less is a pause between two packets.
const IDLE_MIN: Duration = Duration::from_micros(100);
/// Giving the processor away takes less if nobody wants it.
const UNWANTED_MAX: Duration = Duration::from_micros(5);
const AWAKE: u64 = u64::MAX;

/// A worker's place: what it wakes for.
#[derive(Debug)]
pub(super) struct Seat {
    watched: Mutex<Vec<Watched>>,
    /// Rung for every change of `watched`.
    bell: EventFd,
    changes: AtomicU64,
    /// By the data plane's clock, in nanoseconds; or [`AWAKE`].
    asleep_since: AtomicU64,
}

/// A descriptor, open for as long as it is in a seat.
#[derive(Clone, Copy, Debug)]
struct Watched {
    fd: RawFd,
    wake: Wake,
}

/// Why a worker wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// A table waits, or the data plane shall end.
    Tables,
    /// A deadline has come, or would have if it had not been put off.
    Timer,
    /// A device of the ground of that number has something.
    Device(usize, Source),
}

/// A device that a packet can be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Tun,
    Mouth(Side),
    Raw(Side),
    Streams,
}

impl Seat {
    pub(super) fn new() -> Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self {
            watched: Mutex::default(),
            bell: EventFd::from_flags(flags).context("cannot make what a worker waits on")?,
            changes: AtomicU64::new(0),
            asleep_since: AtomicU64::new(AWAKE),
        })
    }

    /// From here on its worker wakes for `fd`, which stays open until [`Seat::unwatch`].
    pub(super) fn watch(&self, fd: impl AsFd, wake: Wake) {
        let fd = fd.as_fd().as_raw_fd();
        self.change(|watched| watched.push(Watched { fd, wake }));
    }

    /// It wakes no more for what `gone` says.
    pub(super) fn unwatch(&self, gone: impl Fn(Wake) -> bool) {
        self.change(|watched| watched.retain(|one| !gone(one.wake)));
    }

    /// Whether its worker has had nothing to do for a while.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let since = self.asleep_since.load(Ordering::Relaxed);
        let asleep = now.as_nanos().checked_sub(since);
        asleep.is_some_and(|nanos| Duration::from_nanos(nanos) >= IDLE_MIN)
    }

    #[cfg(test)]
    pub(super) fn is_awake(&self) -> bool {
        self.asleep_since.load(Ordering::Relaxed) == AWAKE
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Watched>)) {
        let mut watched = self.watched();
        change(&mut watched);
        self.changes.fetch_add(1, Ordering::Release);
        drop(watched);
        // It fails when it has rung as often as it can count: nobody needs to hear it once more.
        let _ = self.bell.write(1);
    }

    fn watched(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().expect(UNBROKEN)
    }
}

/// What a worker waits with.
#[derive(Debug)]
pub(super) struct Lookout {
    seat: Arc<Seat>,
    /// Of what the seat was when it had changed so often.
    changes: Option<u64>,
    /// The bell, and what is watched, in the order of `wakes`.
    polled: Vec<libc::pollfd>,
    wakes: Vec<Wake>,
    busy_poll: Duration,
}

impl Lookout {
    pub(super) fn new(seat: Arc<Seat>) -> Self {
        Self {
            seat,
            changes: None,
            polled: Vec::new(),
            wakes: Vec::new(),
            busy_poll: Duration::ZERO,
        }
    }

    /// For how long it looks again before it sleeps.
    pub(super) fn busy_poll(&mut self, time: Duration) {
        self.busy_poll = time;
    }

    /// Sleeps from `now` until something is there, but no longer than `longest`, in whole milliseconds. What it wakes for goes
    /// into `ready`, in the place of what is there; nothing, if it was rung for.
    pub(super) fn wait(
        &mut self,
        longest: Duration,
        now: Instant,
        ready: &mut Vec<Wake>,
    ) -> Result<()> {
        ready.clear();
        self.catch_up();
        let since = now.as_nanos();
        self.seat.asleep_since.store(since, Ordering::Relaxed);
        let soon = self.look_again(self.busy_poll.min(longest));
        let waited = soon.and_then(|found| Ok(found || look(&mut self.polled, longest)?));
        self.seat.asleep_since.store(AWAKE, Ordering::Relaxed);
        let found = waited.context("cannot wait for packets")?;
        let Some((_, polled)) = self.polled.split_first().filter(|_| found) else {
            return Ok(());
        };
        let polled = polled.iter().zip(&self.wakes);
        // What has been closed meanwhile is not there.
        let has_something = |fd: &libc::pollfd| fd.revents & !libc::POLLNVAL != 0;
        ready.extend(
            polled
                .filter(|(fd, _)| has_something(fd))
                .map(|(_, wake)| *wake),
        );
        Ok(())
    }

    /// Polls what the seat has, if that is not what it was.
    fn catch_up(&mut self) {
        if self.changes == Some(self.seat.changes.load(Ordering::Acquire)) {
            return;
        }
        // Whoever rings behind this has changed something behind it.
        let _ = self.seat.bell.read();
        let watched = self.seat.watched();
        let entry = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        self.polled.clear();
        self.polled.push(entry(self.seat.bell.as_fd().as_raw_fd()));
        self.polled.extend(watched.iter().map(|one| entry(one.fd)));
        self.wakes.clear();
        self.wakes.extend(watched.iter().map(|one| one.wake));
        self.changes = Some(self.seat.changes.load(Ordering::Acquire));
    }

    /// Looks for at most `time`, and for as long as nobody else wants the processor; whether there is something.
    fn look_again(&mut self, time: Duration) -> Result<bool, Error> {
        let begun = Wall::now();
        let mut asked = begun;
        while asked.duration_since(begun) < time {
            if look(&mut self.polled, Duration::ZERO)? {
                return Ok(true);
            }
            asked = Wall::now();
            thread::yield_now();
            if asked.elapsed() > UNWANTED_MAX {
                break;
            }
        }
        Ok(false)
    }
}

/// Sleeps until one of `polled` has something, for at most `longest`; whether one has.
fn look(polled: &mut [libc::pollfd], longest: Duration) -> Result<bool, Error> {
    let millis = longest.as_nanos().div_ceil(1_000_000);
    let millis = i32::try_from(millis).unwrap_or(i32::MAX);
    #[expect(
        unsafe_code,
        reason = "safe wrappers borrow descriptors, which here belong to whoever works on a ground"
    )]
    // SAFETY: the kernel reads and writes the entries of the slice alone. A descriptor that was closed meanwhile is
    // answered with POLLNVAL; one whose number is another's by then wakes the worker for nothing.
    let count = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, millis) };
    match Errno::result(count) {
        Ok(count) => Ok(count > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const NOW: Instant = Instant::from_nanos(1_000_000_000);

    fn bell() -> EventFd {
        EventFd::new().expect("a bell")
    }

    fn wakes(lookout: &mut Lookout, longest: Duration) -> Vec<Wake> {
        let mut ready = vec![Wake::Tables];
        lookout
            .wait(longest, NOW, &mut ready)
            .expect("it can be waited");
        ready
    }

    fn once_asleep(seat: &Seat) {
        while seat.is_awake() {
            thread::yield_now();
        }
    }

    #[test]
    fn a_worker_wakes_for_what_is_watched_and_for_nothing_else() {
        let seat = Arc::new(Seat::new().expect("a seat"));
        let mut lookout = Lookout::new(Arc::clone(&seat));
        let (timer, other) = (bell(), bell());
        let tun = Wake::Device(3, Source::Tun);
        seat.watch(&timer, Wake::Timer);
        seat.watch(&other, tun);
        assert_eq!(wakes(&mut lookout, Duration::ZERO), []);
        for one in [&timer, &other] {
            one.write(1).expect("it rings");
        }
        assert_eq!(wakes(&mut lookout, SOON), [Wake::Timer, tun]);
        seat.unwatch(|wake| wake == Wake::Timer);
        assert_eq!(wakes(&mut lookout, SOON), [tun]);
    }

    #[test]
    fn what_has_been_closed_wakes_nobody() {
        let seat = Arc::new(Seat::new().expect("a seat"));
        // No process has as many.
        let (fd, wake) = (RawFd::MAX, Wake::Timer);
        seat.change(|watched| watched.push(Watched { fd, wake }));
        assert_eq!(wakes(&mut Lookout::new(seat), Duration::ZERO), []);
    }

    #[test]
    fn who_sleeps_wakes_for_what_is_given_to_it_meanwhile() {
        let seat = Arc::new(Seat::new().expect("a seat"));
        let mut lookout = Lookout::new(Arc::clone(&seat));
        // What it was rung for before is no cause to wake.
        assert_eq!(wakes(&mut lookout, Duration::ZERO), []);
        let given = bell();
        given.write(1).expect("it rings");
        thread::scope(|scope| {
            let sleeping = scope.spawn(|| [0, 1].map(|_| wakes(&mut lookout, SOON)));
            once_asleep(&seat);
            seat.watch(&given, Wake::Timer);
            let [rung_for, then] = sleeping.join().expect("no panic");
            assert_eq!((rung_for, then), (vec![], vec![Wake::Timer]));
        });
    }

    #[test]
    fn looking_again_ends_with_what_comes_and_with_its_time() {
        let seat = Arc::new(Seat::new().expect("a seat"));
        let mut lookout = Lookout::new(Arc::clone(&seat));
        let there = bell();
        seat.watch(&there, Wake::Timer);
        lookout.busy_poll(Duration::from_millis(1));
        assert_eq!(wakes(&mut lookout, Duration::ZERO), []);
        assert!(
            !lookout
                .look_again(Duration::from_millis(1))
                .expect("it looks")
        );
        assert_eq!(wakes(&mut lookout, Duration::from_millis(2)), []);
        there.write(1).expect("it rings");
        assert!(lookout.look_again(SOON).expect("it looks"));
        assert_eq!(wakes(&mut lookout, SOON), [Wake::Timer]);
    }

    #[test]
    fn who_was_asleep_for_a_while_is_idle() {
        let seat = Arc::new(Seat::new().expect("a seat"));
        let mut lookout = Lookout::new(Arc::clone(&seat));
        let timer = bell();
        seat.watch(&timer, Wake::Timer);
        assert!(!seat.is_idle(NOW), "it has not slept yet");
        assert_eq!(wakes(&mut lookout, Duration::ZERO), []);
        thread::scope(|scope| {
            let sleeping = scope.spawn(|| wakes(&mut lookout, SOON));
            once_asleep(&seat);
            let just = Duration::from_nanos(1);
            assert!(!seat.is_idle(NOW + (IDLE_MIN - just)));
            assert!(seat.is_idle(NOW + IDLE_MIN));
            timer.write(1).expect("it rings");
            assert_eq!(sleeping.join().expect("no panic"), [Wake::Timer]);
        });
        assert!(!seat.is_idle(NOW + SOON), "it is awake");
    }
}
