//! What the kernel threw away because nobody read it in time: at the UDP and raw sockets of a node and at its TUN device.
//!
//! The kernel counts it; it is asked when somebody wants to know, so that no packet pays for it. A socket counts messages: of a
//! train that found no room it may count one. Its counter has 32 bits, hence somebody has to ask before it has gone round.

use std::fs;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nix::libc;
use nix::sys::socket::getsockopt;

/// So many closed sockets may be kept in mind, or as many as there are open ones.
const SOCKETS_KEPT: usize = 16;

/// Sockets and devices under watch.
#[derive(Debug, Default)]
pub struct Overruns(Mutex<Watched>);

#[derive(Debug, Default)]
struct Watched {
    sockets: Vec<Counter<Weak<dyn AsFd + Send + Sync>, u32>>,
    /// With so many it looks which of them were closed.
    looks_at: usize,
    devices: Vec<Counter<String, u64>>,
    /// Lost at sockets so far.
    at_sockets: u64,
    /// Lost at devices so far.
    at_devices: u64,
}

/// A counter of the kernel's, and where it stood when it was last read.
#[derive(Debug)]
struct Counter<T, N> {
    of: T,
    stood: N,
}

impl Overruns {
    /// What `socket` has no room for counts, from its opening on.
    pub fn watch<S: AsFd + Send + Sync + 'static>(&self, socket: &Arc<S>) {
        let of: Weak<dyn AsFd + Send + Sync> = Arc::<S>::downgrade(socket);
        let mut watched = self.lock();
        // Nobody may ever ask, and those that were closed are not to pile up.
        if watched.sockets.len() >= watched.looks_at {
            watched.sockets.retain(|own| own.of.strong_count() > 0);
            watched.looks_at = 2 * watched.sockets.len().max(SOCKETS_KEPT);
        }
        watched.sockets.push(Counter { of, stood: 0 });
    }

    /// What a device of this network namespace has no room for counts from here on. One that is under watch already is not
    /// counted twice.
    pub fn watch_device(&self, interface: &str) {
        let mut watched = self.lock();
        if !watched.devices.iter().any(|device| device.of == interface) {
            let of = interface.to_owned();
            let stood = lost_at_device(interface).unwrap_or_default();
            watched.devices.push(Counter { of, stood });
        }
    }

    /// What sockets had no room for, those that were closed meanwhile included as of the last time that this was asked.
    pub fn at_sockets(&self) -> u64 {
        let mut watched = self.lock();
        let mut lost = 0;
        watched.sockets.retain_mut(|counter| {
            let Some(socket) = counter.of.upgrade() else {
                return false;
            };
            if let Some(stands) = lost_at(&*socket) {
                lost += u64::from(stands.wrapping_sub(counter.stood));
                counter.stood = stands;
            }
            true
        });
        watched.at_sockets += lost;
        watched.at_sockets
    }

    /// What devices had no room for.
    pub fn at_devices(&self) -> u64 {
        let mut watched = self.lock();
        let mut lost = 0;
        for counter in &mut watched.devices {
            if let Some(stands) = lost_at_device(&counter.of) {
                lost += stands.saturating_sub(counter.stood);
                counter.stood = stands;
            }
        }
        watched.at_devices += lost;
        watched.at_devices
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Index of the messages that found no room, and how many numbers there are (`linux/sock_diag.h`).
const DROPS: usize = 8;
const NUMBERS: usize = 9;

#[derive(Clone, Copy, Debug)]
struct MemInfo;

nix::getsockopt_impl!(
    MemInfo,
    libc::SOL_SOCKET,
    libc::SO_MEMINFO,
    [u32; NUMBERS],
    nix::sys::socket::sockopt::GetStruct<[u32; NUMBERS]>
);

/// Messages that `socket` had no room for since it was opened, modulo 2^32 (`SO_MEMINFO`, Linux 4.12).
fn lost_at(socket: &dyn AsFd) -> Option<u32> {
    let numbers = getsockopt(&socket.as_fd(), MemInfo).ok()?;
    Some(numbers[DROPS])
}

/// Packets that a device of this thread's network namespace had no room for on their way out: for a TUN, to whoever reads
/// it (proc_net_dev(5)).
fn lost_at_device(interface: &str) -> Option<u64> {
    dropped_in(
        &fs::read_to_string("/proc/thread-self/net/dev").ok()?,
        interface,
    )
}

/// Of a table of devices the fourth number of `interface` behind the eight of what it received.
fn dropped_in(table: &str, interface: &str) -> Option<u64> {
    let mut lines = table.lines();
    let numbers = lines.find_map(|line| {
        let (name, numbers) = line.trim_start().split_once(':')?;
        (name == interface).then_some(numbers)
    })?;
    numbers.split_whitespace().nth(8 + 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

    use socket2::{Domain, Socket, Type};

    use super::*;

    fn receiver() -> (Arc<Socket>, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("loopback");
        socket.set_nonblocking(true).expect("it can");
        socket.set_recv_buffer_size(0).expect("the least there is");
        let at = socket.local_addr().expect("its address").as_socket();
        (Arc::new(socket), at.expect("of IPv4"))
    }

    fn send(count: u64, to: SocketAddr) {
        let sender = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        for _ in 0..count {
            sender.send_to(&[7; 500], to).expect("loopback takes it");
        }
    }

    fn read_all(socket: &Socket) -> u64 {
        let mut bytes = [std::mem::MaybeUninit::uninit(); 600];
        (0..)
            .find(|_| socket.recv(&mut bytes).is_err())
            .expect("some time it is empty")
    }

    #[test]
    fn what_is_sent_is_read_or_counted_and_a_socket_that_is_closed_takes_nothing_back() {
        let overruns = Overruns::default();
        let (first, to_first) = receiver();
        send(1_000, to_first);
        overruns.watch(&first);
        let lost = 1_000 - read_all(&first);
        assert!(lost > 900, "a buffer for a few: {lost}");
        assert_eq!(overruns.at_sockets(), lost);
        assert_eq!(overruns.at_sockets(), lost, "once");
        let (second, to_second) = receiver();
        overruns.watch(&second);
        drop(first);
        send(10, to_second);
        let more = 10 - read_all(&second);
        assert!(more > 0);
        assert_eq!(overruns.at_sockets(), lost + more);
    }

    #[test]
    fn sockets_that_were_closed_do_not_pile_up_where_nobody_asks() {
        let overruns = Overruns::default();
        let (open, _) = receiver();
        overruns.watch(&open);
        for _ in 0..1_000 {
            overruns.watch(&receiver().0);
        }
        assert!(overruns.lock().sockets.len() <= 2 * SOCKETS_KEPT);
        assert!(overruns.lock().sockets[0].of.strong_count() > 0);
    }

    #[test]
    fn a_devices_losses_are_those_on_the_way_out() {
        let table = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo:     100       1    2    3    4     5          6         7      100       1    8    9   10    11      12         13\n \
            tun0: 1 2 3 4 5 6 7 8 9 10 11 120 13 14 15 16\n";
        assert_eq!(dropped_in(table, "lo"), Some(9));
        assert_eq!(dropped_in(table, "tun0"), Some(120));
        assert_eq!(dropped_in(table, "tun"), None);
        assert_eq!(dropped_in("tun0: 1 2 3", "tun0"), None);
        assert!(lost_at_device("lo").is_some(), "there is one everywhere");
    }

    #[test]
    fn a_device_is_watched_once_and_one_that_is_gone_loses_nothing() {
        let overruns = Overruns::default();
        overruns.watch_device("lo");
        overruns.watch_device("lo");
        overruns.watch_device("nowhere0");
        assert_eq!(overruns.lock().devices.len(), 2);
        assert_eq!(overruns.at_devices(), 0);
    }
}
