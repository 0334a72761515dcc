//! One contract, two worlds: every case of the host conformance suite on the simulator and on this machine's
//! kernel, over IPv4 and IPv6.
//!
//! What differs must stand in `docs/parity.md`, word for word, and what stands there must differ. Every case
//! has a thread and a world of its own and a limit, so that one that hangs fails under its name.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::host::LiveHost;
use anyedge_net::rng::Seed;
use anyedge_sim::host::SimHost;
use anyedge_sim::pair::{HOST_A, HOST_B, NOWHERE, Wire, run_pair};
use anyedge_tests::binary::root;
use anyedge_tests::conformance::parity::{Parity, World};
use anyedge_tests::conformance::{Finding, Pair, Run, cases};
use socket2::{Domain, Socket, Type};
use tokio::runtime::Handle;

const SEED: Seed = Seed(7);
const RTT: Duration = Duration::from_millis(20);
/// For one case, by the clock of its world.
const LIMIT: Duration = Duration::from_secs(60);
/// For one case, on the wall, when even its world does not end it.
const HANGS: Duration = Duration::from_secs(120);

/// Loopback addresses of the two machines, and one that is nobody's, for each family.
const LOOPBACKS: [[&str; 3]; 2] = [
    ["127.0.0.2", "127.0.0.3", "192.0.2.1"],
    ["::1", "::1", "2001:db8::1"],
];

#[test]
fn the_simulator_keeps_the_contract_of_hosts() {
    let families = [0, 1];
    keeps_the_contract(
        World::Simulator,
        families.map(|family| move |run| simulate(family, run)),
    );
}

#[test]
fn the_kernel_keeps_the_contract_of_hosts() {
    let families = LOOPBACKS.map(|texts| texts.map(|text| text.parse().expect("an address")));
    keeps_the_contract(
        World::Kernel,
        families.map(|family| move |run| live(family, run)),
    );
}

/// Runs every case in each of a world's families and compares with the table of known differences.
#[expect(
    clippy::print_stdout,
    reason = "the list of cases is what this test tells"
)]
fn keeps_the_contract<H, D>(world: World, families: [D; 2])
where
    H: anyedge_net::host::Host,
    D: Fn(fn(Pair<H>) -> Run) -> Finding + Copy + Send + 'static,
{
    let text = fs::read_to_string(root().join("docs/parity.md")).expect("the table is committed");
    let parity = Parity::read(&text).expect("the table is sound");
    let mut findings = Vec::new();
    for case in cases::<H>() {
        let [v4, v6] = families.map(|family| bounded(move || family(case.run)));
        let finding = if v4 == v6 {
            v4
        } else {
            Err(format!("IPv4: {v4:?}, IPv6: {v6:?}"))
        };
        findings.push((case.name, finding));
    }
    let (lines, wrong) = parity.judge(world, &findings);
    println!("{world:?}\n{lines}");
    assert!(wrong.is_empty(), "{world:?}:\n{}", wrong.join("\n"));
}

/// What `case` finds, or that it found nothing in time.
fn bounded(case: impl FnOnce() -> Finding + Send + 'static) -> Finding {
    let (found, finding) = mpsc::channel();
    thread::spawn(move || found.send(case()));
    match finding.recv_timeout(HANGS) {
        Ok(finding) => finding,
        Err(mpsc::RecvTimeoutError::Timeout) => Err("hangs".to_owned()),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("panics".to_owned()),
    }
}

fn simulate(family: usize, run: fn(Pair<SimHost>) -> Run) -> Finding {
    let wire = Wire {
        rtt: RTT,
        loss_ppm: 0,
    };
    let finding = run_pair(SEED, wire, LIMIT, |a, b| {
        run(Pair {
            a,
            b,
            a_address: HOST_A.1[family],
            b_address: HOST_B.1[family],
            silent: SocketAddr::new(NOWHERE[family], 9),
            foreign: NOWHERE[family],
        })
    });
    finding.unwrap_or_else(|| Err("does not end".to_owned()))
}

fn live([a_address, b_address, foreign]: [IpAddr; 3], run: fn(Pair<LiveHost>) -> Run) -> Finding {
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
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("anyedge-conformance-{}-{number}", std::process::id());
        Scratch(std::env::temp_dir().join(name))
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
