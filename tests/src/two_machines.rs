//! Two machines that reach each other, in each world: what cases written over a `Host` run on.
//!
//! In the simulator two hosts on one wire, on the kernel two loopback addresses. A case has a limit by the
//! clock of its world, and one on the wall for when even its world does not end it.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::host::LiveHost;
use anyedge_net::host::Host;
use anyedge_net::rng::Seed;
use anyedge_sim::host::SimHost;
use anyedge_sim::pair::{HOST_A, HOST_B, NOWHERE, Wire, run_pair};
use socket2::{Domain, Socket, Type};
use tokio::runtime::Handle;

use crate::conformance::{Case, Finding, Pair, Run};

const SEED: Seed = Seed(7);
/// The simulated wire's round trip.
pub const RTT: Duration = Duration::from_millis(20);
/// For one case, by the clock of its world.
pub const LIMIT: Duration = Duration::from_secs(60);
/// For one case, on the wall, when even its world does not end it.
const HANGS: Duration = Duration::from_secs(120);

/// Loopback addresses of the two machines, and one that is nobody's, for each family.
const LOOPBACKS: [[&str; 3]; 2] = [
    ["127.0.0.2", "127.0.0.3", "192.0.2.1"],
    ["::1", "::1", "2001:db8::1"],
];

/// What `case` finds on a thread of its own, or that it found nothing in time.
pub fn bounded(case: impl FnOnce() -> Finding + Send + 'static) -> Finding {
    let (found, finding) = mpsc::channel();
    thread::spawn(move || found.send(case()));
    match finding.recv_timeout(HANGS) {
        Ok(finding) => finding,
        Err(mpsc::RecvTimeoutError::Timeout) => Err("hangs".to_owned()),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("panics".to_owned()),
    }
}

/// Has each of `cases` run in `world`.
///
/// # Panics
/// With all that was found.
pub fn all_hold<H: Host>(
    cases: Vec<Case<H>>,
    world: impl Fn(fn(Pair<H>) -> Run) -> Finding + Copy + Send + 'static,
) {
    let broken = cases.into_iter().filter_map(|case| {
        let finding = bounded(move || world(case.run));
        finding.err().map(|what| format!("{}: {what}", case.name))
    });
    let broken: Vec<String> = broken.collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// What `run` finds in the simulator, over IPv4 (`family` 0) or IPv6 (1).
pub fn simulate(family: usize, run: fn(Pair<SimHost>) -> Run) -> Finding {
    let wire = Wire {
        rtt: RTT,
        loss_ppm: 0,
    };
    let finding = run_pair(SEED, wire, LIMIT, |a, b| run(simulated(a, b, family)));
    finding.unwrap_or_else(|| Err("does not end".to_owned()))
}

/// The two hosts of a simulated wire, by their addresses of one family.
pub fn simulated(a: SimHost, b: SimHost, family: usize) -> Pair<SimHost> {
    Pair {
        a,
        b,
        a_address: HOST_A.1[family],
        b_address: HOST_B.1[family],
        silent: SocketAddr::new(NOWHERE[family], 9),
        foreign: NOWHERE[family],
    }
}

/// What `run` finds on this machine's kernel, over IPv4 (`family` 0) or IPv6 (1).
pub fn live(family: usize, run: fn(Pair<LiveHost>) -> Run) -> Finding {
    let [a_address, b_address, foreign]: [IpAddr; 3] =
        LOOPBACKS[family].map(|text| text.parse().expect("an address"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let (silent, _waiting) = silent_listener(b_address);
    let finding = runtime.block_on(async {
        let clock = MonotonicClock::start();
        let folder = Scratch::new();
        let [a, b] = ["host.a", "host.b"].map(|name| {
            let host = LiveHost::new(name, clock, SEED, Handle::current());
            let host = host.with_files_in(&folder.0.join(name));
            host.expect("a folder of its own")
        });
        let silent = address_of(&silent);
        let pair = Pair {
            a,
            b,
            a_address,
            b_address,
            silent,
            foreign,
        };
        tokio::time::timeout(LIMIT, run(pair)).await
    });
    finding.unwrap_or_else(|_| Err("does not end".to_owned()))
}

/// A folder that goes when it is done with.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

impl Scratch {
    /// A name that nobody else has; whoever uses it makes the folder.
    pub fn new() -> Scratch {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("anyedge-conformance-{}-{number}", std::process::id());
        Scratch(std::env::temp_dir().join(name))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: it lies where old files are swept away.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A listener that ignores every SYN: the one connection that it lets wait is there.
fn silent_listener(address: IpAddr) -> (Socket, TcpStream) {
    let any_port = SocketAddr::new(address, 0);
    let listener = Socket::new(Domain::for_address(any_port), Type::STREAM, None);
    let listener = listener.expect("a socket");
    let bound = listener.bind(&any_port.into());
    bound.expect("loopback has a free port");
    listener.listen(0).expect("it is bound");
    let waiting = TcpStream::connect(address_of(&listener)).expect("one may wait");
    (listener, waiting)
}

fn address_of(socket: &Socket) -> SocketAddr {
    let address = socket.local_addr().expect("it is bound");
    address.as_socket().expect("an Internet address")
}
