//! Grounds: a data plane's devices in shares, and which worker has which.
//!
//! A ground is a queue of the TUN and the receiving sockets beside it. The kernel puts a flow on one of them, by a hash;
//! were there one for each worker, a few large flows would as often as not be all one worker's. So there are more grounds
//! than workers, and a worker that finds several with something, while another has been asleep for a while, gives one away.
//! Whoever has a ground works on it alone, and gives it away between two turns: so a flow's packets keep their order.
//!
//! Each worker has a seat: an epoll(7) of the devices that are its own. Tables and the timer of deadlines are the first
//! one's.

use std::io::Result as IoResult;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use anyedge_net::time::Instant;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::Ground;
use super::mouth::Side;
use super::moving::Move;
use super::raw_gre::RawGre;
use super::shared::UNBROKEN;

/// Devices that a worker hears of at a time.
const READY_MAX: usize = 16;
/// In the place of a ground and a source.
const TABLES: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;
/// A worker has been asleep for as long before it is given a ground: less is a pause between two packets.
const IDLE_MIN: Duration = Duration::from_micros(100);
const AWAKE: u64 = u64::MAX;

/// All grounds of a data plane.
#[derive(Debug)]
pub(super) struct Grounds {
    all: Vec<Mutex<Held>>,
    seats: Mutex<Vec<Arc<Seat>>>,
}

/// A ground and whose it is.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) ground: Ground,
    seat: Arc<Seat>,
}

/// A worker's place: the devices that it wakes for.
#[derive(Debug)]
pub(super) struct Seat {
    devices: Epoll,
    /// By the data plane's clock, in nanoseconds; or [`AWAKE`].
    asleep_since: AtomicU64,
}

/// What a worker wakes for.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// A table waits, or the data plane shall end.
    pub(super) tables: bool,
    /// A deadline has come, or would have if it had not been put off.
    pub(super) timer: bool,
    /// Devices that have something, by the number of their ground.
    pub(super) sources: [Option<(usize, Source)>; READY_MAX],
}

/// A device that a packet can be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Tun,
    Mouth(Side),
    Raw(Side),
    Streams,
}

impl Grounds {
    /// Those of `all`, of which there is one at least, and the seat of the first worker, who has them all, and hears what
    /// rings for tables and for deadlines.
    pub(super) fn new(
        all: Vec<Ground>,
        tables: impl AsFd,
        timer: impl AsFd,
    ) -> Result<(Self, Arc<Seat>)> {
        let first = Arc::new(Seat::new()?);
        let watch = || {
            first.devices.add(tables, event(TABLES))?;
            first.devices.add(timer, event(TIMER))?;
            let hold = |(number, ground)| {
                first.watch(number, &ground)?;
                let seat = Arc::clone(&first);
                Ok(Mutex::new(Held { ground, seat }))
            };
            all.into_iter()
                .enumerate()
                .map(hold)
                .collect::<IoResult<_>>()
        };
        let all = watch().context("cannot watch the devices of a data plane")?;
        let seats = Mutex::new(vec![Arc::clone(&first)]);
        Ok((Self { all, seats }, first))
    }

    /// The seat of one more worker, who has no ground until it is given one.
    pub(super) fn enrol(&self) -> Result<Arc<Seat>> {
        let seat = Arc::new(Seat::new()?);
        self.seats().push(Arc::clone(&seat));
        Ok(seat)
    }

    /// The ground of that number, once nobody else works on it.
    pub(super) fn take(&self, number: usize) -> MutexGuard<'_, Held> {
        self.all[number].lock().expect(UNBROKEN)
    }

    /// Whichever nobody works on.
    pub(super) fn take_any(&self) -> MutexGuard<'_, Held> {
        let free = self.all.iter().find_map(|held| match held.try_lock() {
            Ok(held) => Some(held),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(_)) => panic!("{UNBROKEN}"),
        });
        free.unwrap_or_else(|| self.take(0))
    }

    /// A worker who has had nothing to do for a while, if there is one.
    pub(super) fn idle(&self, now: Instant) -> Option<Arc<Seat>> {
        let seats = self.seats();
        let mut seats = seats.iter();
        seats.find(|seat| seat.is_idle(now)).map(Arc::clone)
    }

    /// Gives a ground to the worker of another seat. The caller is the one who has it.
    pub(super) fn give(&self, number: usize, to: Arc<Seat>) -> Result<()> {
        let mut held = self.take(number);
        let given = held.seat.unwatch(&held.ground);
        let given = given.and_then(|()| to.watch(number, &held.ground));
        held.seat = to;
        given.context("cannot hand over the devices of a data plane")
    }

    /// Puts each of `moves` in the place of what the ground of its number has.
    pub(super) fn take_over(&self, moves: Vec<Move>) -> Result<()> {
        for (number, (held, one)) in self.all.iter().zip(moves).enumerate() {
            let mut held = held.lock().expect(UNBROKEN);
            let Held { ground, seat } = &mut *held;
            // The old sockets close, and are watched no more by that.
            ground.mouth.take_over(one.mouth, one.families);
            let [v4, v6] = one.families;
            let receivers = ground.mouth.receivers();
            receivers
                .filter(|(side, _)| if *side == Side::V4 { v4 } else { v6 })
                .try_for_each(|(side, fd)| {
                    let arrivals = arrivals(number, Source::Mouth(side));
                    seat.devices.add(fd, arrivals)
                })
                .context("cannot watch new tunnel sockets")?;
        }
        Ok(())
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.seats.lock().expect(UNBROKEN)
    }
}

impl Seat {
    fn new() -> Result<Self> {
        let devices = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC);
        Ok(Self {
            devices: devices.context("cannot make what a worker waits on")?,
            asleep_since: AtomicU64::new(AWAKE),
        })
    }

    /// Sleeps from `now` until something is there, but no longer than `longest`, in whole milliseconds.
    pub(super) fn wait(&self, longest: Duration, now: Instant) -> Result<Ready> {
        let millis = longest.as_nanos().div_ceil(1_000_000);
        let timeout = EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX);
        let mut events = [EpollEvent::empty(); READY_MAX];
        self.asleep_since.store(now.as_nanos(), Ordering::Relaxed);
        let waited = self.devices.wait(&mut events, timeout);
        self.asleep_since.store(AWAKE, Ordering::Relaxed);
        let count = match waited {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error).context("cannot wait for packets"),
        };
        let mut ready = Ready::default();
        for (event, place) in events[..count].iter().zip(&mut ready.sources) {
            match event.data() {
                TABLES => ready.tables = true,
                TIMER => ready.timer = true,
                data => {
                    let [number, source] =
                        [data as usize / SOURCES.len(), data as usize % SOURCES.len()];
                    *place = Some((number, SOURCES[source]));
                }
            }
        }
        Ok(ready)
    }

    fn is_idle(&self, now: Instant) -> bool {
        let since = self.asleep_since.load(Ordering::Relaxed);
        let asleep = now.as_nanos().checked_sub(since);
        asleep.is_some_and(|nanos| Duration::from_nanos(nanos) >= IDLE_MIN)
    }

    fn watch(&self, number: usize, ground: &Ground) -> IoResult<()> {
        for (source, fd) in devices(ground) {
            self.devices.add(fd, arrivals(number, source))?;
        }
        Ok(())
    }

    fn unwatch(&self, ground: &Ground) -> IoResult<()> {
        for (_, fd) in devices(ground) {
            self.devices.delete(fd)?;
        }
        Ok(())
    }
}

impl Ready {
    /// A ground that has something beside another that has.
    pub(super) fn spare(&self) -> Option<usize> {
        let mut numbers = self.sources.iter().flatten().map(|(number, _)| *number);
        let first = numbers.next()?;
        numbers.find(|number| *number != first)
    }
}

/// The sources that there may be, by the number that epoll knows each by.
const SOURCES: [Source; 6] = [
    Source::Tun,
    Source::Mouth(Side::V4),
    Source::Mouth(Side::V6),
    Source::Raw(Side::V4),
    Source::Raw(Side::V6),
    Source::Streams,
];

/// What can be waited on.
fn devices(ground: &Ground) -> impl Iterator<Item = (Source, BorrowedFd<'_>)> {
    let tun = ground.tun.iter().map(|tun| (Source::Tun, tun.as_fd()));
    let mouth = ground.mouth.receivers();
    let mouth = mouth.map(|(side, fd)| (Source::Mouth(side), fd));
    let raw = ground.raw_gre.iter().flat_map(RawGre::receivers);
    let raw = raw.map(|(side, fd)| (Source::Raw(side), fd));
    let streams = ground.streams.iter();
    let streams = streams.map(|streams| (Source::Streams, streams.bell()));
    tun.chain(mouth).chain(raw).chain(streams)
}

fn arrivals(number: usize, source: Source) -> EpollEvent {
    let place = SOURCES.iter().position(|one| *one == source);
    let place = place.expect("every source has a number");
    event((number * SOURCES.len() + place) as u64)
}

fn event(data: u64) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN, data)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use anyedge_net::port::PortId;
    use anyedge_net::wire::udp;
    use nix::sys::eventfd::EventFd;

    use super::super::mouth::{Mouth, Trains};
    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const NOW: Instant = Instant::from_nanos(1_000_000_000);

    fn ground(last: u8) -> Ground {
        let address = Ipv4Addr::new(127, 0, 79, last);
        Ground {
            tun: None,
            tun_port: PortId::LOCAL,
            mouth: Mouth::open(Some(address), None).expect("loopback"),
            raw_gre: None,
            streams: None,
            packet_bytes_max: 1_500,
        }
    }

    fn send(to: u8) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let to = (Ipv4Addr::new(127, 0, 79, to), udp::PORT_GRE);
        socket.send_to(&[7], to).expect("loopback");
    }

    /// The grounds that have something, with what they have taken.
    fn heard(grounds: &Grounds, seat: &Seat) -> Vec<usize> {
        let ready = seat.wait(Duration::ZERO, NOW).expect("it waits");
        let mut trains = Trains::new();
        let take = |(number, source)| {
            assert_eq!(source, Source::Mouth(Side::V4));
            let held = grounds.take(number);
            held.ground
                .mouth
                .recv(Side::V4, &mut trains)
                .expect("it is open");
            number
        };
        let mut numbers: Vec<usize> = ready.sources.into_iter().flatten().map(take).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn a_ground_that_is_given_away_wakes_its_new_worker_alone() {
        let bells = [EventFd::new(), EventFd::new()].map(|bell| bell.expect("a bell"));
        let all = vec![ground(1), ground(2)];
        let (grounds, first) = Grounds::new(all, &bells[0], &bells[1]).expect("two");
        let second = grounds.enrol().expect("a seat");
        send(1);
        let ready = first.wait(SOON, NOW).expect("it waits");
        assert_eq!(ready.spare(), None, "one alone is kept");
        send(2);
        let ready = first.wait(SOON, NOW).expect("it waits");
        let spare = ready.spare().expect("two have something");
        grounds
            .give(spare, Arc::clone(&second))
            .expect("it goes over");
        // What had come before it went is there.
        assert_eq!(heard(&grounds, &second), [spare]);
        assert_eq!(heard(&grounds, &first), [1 - spare]);
        for last in [1, 2] {
            send(last);
        }
        assert_eq!(heard(&grounds, &second), [spare]);
        assert_eq!(heard(&grounds, &first), [1 - spare]);
        bells[0].write(1).expect("it rings");
        assert!(first.wait(SOON, NOW).expect("it waits").tables);
        assert!(!second.wait(Duration::ZERO, NOW).expect("it waits").tables);
    }

    #[test]
    fn who_was_asleep_for_a_while_is_idle() {
        let bells = [EventFd::new(), EventFd::new()].map(|bell| bell.expect("a bell"));
        let (grounds, first) = Grounds::new(vec![ground(3)], &bells[0], &bells[1]).expect("one");
        assert!(grounds.idle(NOW).is_none(), "it has not slept yet");
        std::thread::scope(|scope| {
            let sleeping = scope.spawn(|| first.wait(SOON, NOW).expect("it waits"));
            while first.asleep_since.load(Ordering::Relaxed) == AWAKE {
                std::thread::yield_now();
            }
            let just = Duration::from_nanos(1);
            assert!(grounds.idle(NOW + (IDLE_MIN - just)).is_none());
            assert!(grounds.idle(NOW + IDLE_MIN).is_some());
            bells[1].write(1).expect("it rings");
            assert!(sleeping.join().expect("no panic").timer);
        });
        assert!(grounds.idle(NOW + SOON).is_none(), "it is awake");
    }
}
