//! Grounds: a data plane's devices in shares, and which worker has which.
//!
//! A ground is a queue of the TUN and the receiving sockets beside it. The kernel puts a flow on one of them, by a hash;
//! were there one for each worker, a few large flows would as often as not be all one worker's. So there are more grounds
//! than workers, and a worker that finds several with something, while another has been asleep for a while, gives one away.
//! Whoever has a ground works on it alone, and gives it away between two turns: so a flow's packets keep their order.
//!
//! Each worker wakes for the devices that are its own ([`Seat`]). Tables and the timer of deadlines are the first one's.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use anyedge_net::time::Instant;
use anyhow::Result;

use super::Ground;
use super::mouth::Side;
use super::moving::Move;
use super::raw_gre::RawGre;
use super::seat::{Seat, Source, Wake};
use super::shared::UNBROKEN;
use crate::overruns::Overruns;

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

impl Grounds {
    /// Those of `all`, of which there is one at least, and the seat of the first worker, who has them all, and hears what
    /// rings for tables and for deadlines.
    pub(super) fn new(
        all: Vec<Ground>,
        tables: impl AsFd,
        timer: impl AsFd,
    ) -> Result<(Self, Arc<Seat>)> {
        let first = Arc::new(Seat::new()?);
        first.watch(tables, Wake::Tables);
        first.watch(timer, Wake::Timer);
        let hold = |(number, ground)| {
            watch(&first, number, &ground);
            let seat = Arc::clone(&first);
            Mutex::new(Held { ground, seat })
        };
        let all = all.into_iter().enumerate().map(hold).collect();
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
    pub(super) fn give(&self, number: usize, to: Arc<Seat>) {
        let mut held = self.take(number);
        held.seat
            .unwatch(|wake| matches!(wake, Wake::Device(of, _) if of == number));
        watch(&to, number, &held.ground);
        held.seat = to;
    }

    /// Puts each of `moves` in the place of what the ground of its number has, under the same watch.
    pub(super) fn take_over(&self, moves: Vec<Move>, overruns: &Overruns) {
        for (number, (held, one)) in self.all.iter().zip(moves).enumerate() {
            let mut held = held.lock().expect(UNBROKEN);
            let Held { ground, seat } = &mut *held;
            let [v4, v6] = one.families;
            let moves = |side| if side == Side::V4 { v4 } else { v6 };
            seat.unwatch(|wake| match wake {
                Wake::Device(of, Source::Mouth(side)) => of == number && moves(side),
                _ => false,
            });
            // What the old ones lost counts, as of now.
            overruns.at_sockets();
            one.mouth.sockets().for_each(|own| overruns.watch(own));
            ground.mouth.take_over(one.mouth, one.families);
            let receivers = ground.mouth.receivers();
            for (side, fd) in receivers.filter(|(side, _)| moves(*side)) {
                seat.watch(fd, Wake::Device(number, Source::Mouth(side)));
            }
        }
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.seats.lock().expect(UNBROKEN)
    }
}

/// A ground that has something beside another that has.
pub(super) fn spare(ready: &[Wake]) -> Option<usize> {
    let mut numbers = ready.iter().filter_map(|wake| match wake {
        Wake::Device(number, _) => Some(*number),
        Wake::Tables | Wake::Timer => None,
    });
    let first = numbers.next()?;
    numbers.find(|number| *number != first)
}

/// Has the worker of `seat` wake for what comes by the devices of a ground.
fn watch(seat: &Seat, number: usize, ground: &Ground) {
    for (source, fd) in devices(ground) {
        seat.watch(fd, Wake::Device(number, source));
    }
}

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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::time::Duration;

    use anyedge_net::port::PortId;
    use anyedge_net::wire::udp;
    use nix::sys::eventfd::EventFd;

    use super::super::mouth::{Mouth, Trains};
    use super::super::seat::Lookout;
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

    fn wait(lookout: &mut Lookout, longest: Duration) -> Vec<Wake> {
        let mut ready = Vec::new();
        lookout.wait(longest, NOW, &mut ready).expect("it waits");
        ready
    }

    /// The grounds that have something, with what they have taken.
    fn heard(grounds: &Grounds, lookout: &mut Lookout) -> Vec<usize> {
        let mut trains = Trains::new();
        let take = |wake| {
            let Wake::Device(number, Source::Mouth(Side::V4)) = wake else {
                panic!("nothing else was sent: {wake:?}");
            };
            let held = grounds.take(number);
            held.ground
                .mouth
                .recv(Side::V4, &mut trains)
                .expect("it is open");
            number
        };
        let ready = wait(lookout, Duration::ZERO);
        let mut numbers: Vec<usize> = ready.into_iter().map(take).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn a_ground_that_is_given_away_wakes_its_new_worker_alone() {
        let bells = [EventFd::new(), EventFd::new()].map(|bell| bell.expect("a bell"));
        let all = vec![ground(1), ground(2)];
        let (grounds, first) = Grounds::new(all, &bells[0], &bells[1]).expect("two");
        let second = grounds.enrol().expect("a seat");
        let mut first = Lookout::new(first);
        let mut its = Lookout::new(Arc::clone(&second));
        // What rang while the seat was set up.
        assert_eq!(wait(&mut first, Duration::ZERO), []);
        send(1);
        let ready = wait(&mut first, SOON);
        assert_eq!(spare(&ready), None, "one alone is kept");
        send(2);
        let ready = wait(&mut first, SOON);
        let given = spare(&ready).expect("two have something");
        grounds.give(given, second);
        // What had come before it went is there.
        assert_eq!(heard(&grounds, &mut its), [given]);
        assert_eq!(heard(&grounds, &mut first), [1 - given]);
        for last in [1, 2] {
            send(last);
        }
        assert_eq!(heard(&grounds, &mut its), [given]);
        assert_eq!(heard(&grounds, &mut first), [1 - given]);
        bells[0].write(1).expect("it rings");
        assert_eq!(wait(&mut first, SOON), [Wake::Tables]);
        assert_eq!(wait(&mut its, Duration::ZERO), []);
    }

    #[test]
    fn a_ground_that_moves_wakes_its_worker_by_its_other_address_alone() {
        let bells = [EventFd::new(), EventFd::new()].map(|bell| bell.expect("a bell"));
        let (grounds, seat) = Grounds::new(vec![ground(4)], &bells[0], &bells[1]).expect("one");
        let mut lookout = Lookout::new(seat);
        send(4);
        assert_eq!(heard(&grounds, &mut lookout), [0]);
        let mouth = ground(5).mouth;
        let families = [true, false];
        grounds.take_over(vec![Move { mouth, families }], &Overruns::default());
        assert!(heard(&grounds, &mut lookout).is_empty());
        send(5);
        assert_eq!(heard(&grounds, &mut lookout), [0]);
    }
}
