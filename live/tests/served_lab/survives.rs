//! What a download does not notice: the loss of the POP or of the CLB node that carries it.
//!
//! curl reads a paced download, byte by byte compared with the pattern; in the middle of it a process is killed as
//! by a crash. Nothing is told to anybody: the nodes find out by their probes. The Internet's part, that the client's
//! packets come to enter by another POP, is one route that the test moves, or where BIRD is installed BGP's.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyedge_live::lab::{self, blueprint::Blueprint, plan, process, routers, state};
use anyedge_live::netns::Namespace;
use anyedge_topologies::Topology;
use anyedge_traffic::pattern;

use crate::stage::Lab;

const VIP: &str = "203.0.113.10";
const BYTES: u64 = 24_000_000;
const BYTES_PER_S: u64 = 4_000_000;
/// Where the process is killed.
const KILL_AT: u64 = BYTES / 4;
/// What is still to come then. Each node that carries it has it come in and go out, and some was on its way.
const REST: u64 = BYTES - KILL_AT;
/// What a killed node may cost at most: its detection, and the sender's backed-off timer.
const GAP_MAX: Duration = Duration::from_secs(4);

/// How long routers may take for anything.
const ROUTER_MAX: Duration = Duration::from_secs(20);
/// Three packets of BFD at 300 ms, and as much again for a busy machine.
const MISSED_MAX: Duration = Duration::from_millis(1_800);
/// The VIPs' prefixes.
const PREFIXES: [&str; 2] = ["203.0.113.0/24", "2001:db8:113::/48"];

/// The shipped topology with two CLB nodes and one address family, and a lab of it.
struct Stage {
    lab: Lab,
    blueprint: Blueprint,
    file: PathBuf,
}

impl Stage {
    fn up(word: &str) -> Self {
        Self::up_with(word, None)
    }

    fn up_with(word: &str, bird: Option<&Path>) -> Self {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/two-pops.toml");
        let text = fs::read_to_string(shipped).expect("a shipped topology");
        let text = text.replace("clb_nodes = 1", "clb_nodes = 2");
        let lab = Lab::named(word);
        let file = std::env::temp_dir().join(format!("{}.toml", lab.name));
        fs::write(&file, text).expect("the folder of temporary files takes it");
        let topology = Topology::load(&file).expect("a topology");
        let name = lab.name.parse().expect("a lab's name");
        let blueprint = plan::plan_with(&topology, &file, &name, bird);
        let blueprint = blueprint.expect("it can be built");
        let status = lab::up_blueprint(&blueprint).expect("the lab comes up");
        assert!(status.is_healthy(), "{status:?}");
        Self {
            lab,
            blueprint,
            file,
        }
    }

    /// Moves Osaka's way to the VIP to another POP.
    fn enter_by(&self, pop: &str) {
        let wires = &self.blueprint.wires;
        let wire = wires
            .iter()
            .find(|wire| wire.ends[0].node == pop && wire.ends[1].node == "client.osaka");
        let ends = &wire.expect("a client has a wire to every POP").ends;
        let gateway = ends[0].addresses.iter().find(|held| held.ip().is_ipv4());
        let gateway = gateway.expect("wires speak IPv4").ip().to_string();
        let route = format!("{VIP}/32");
        let words = ["ip", "route", "change", &route, "via", &gateway];
        let own = self
            .blueprint
            .namespaces
            .iter()
            .find(|namespace| namespace.node == "client.osaka");
        let own = own.expect("it is a node").addresses[0].ip().to_string();
        let words = [&words[..], &["src", &own]].concat();
        assert_eq!(self.lab.exec("client.osaka", &words), 0);
    }

    /// Waits until what a router shows is so, and tells how long that took.
    fn until(&self, node: &str, question: &str, is_so: impl Fn(&str) -> bool) -> Duration {
        let since = Instant::now();
        loop {
            let shown = routers::shows(&self.blueprint.lab, node, question);
            if is_so(&shown) {
                return since.elapsed();
            }
            assert!(since.elapsed() < ROUTER_MAX, "{node}: {question}: {shown}");
            std::thread::yield_now();
        }
    }

    /// Starts a process of the lab again, as it was started.
    fn start_again(&self, name: &str) {
        let processes = &self.blueprint.processes;
        let plan = processes.iter().find(|process| process.name == name);
        let plan = plan.expect("a process of the lab");
        let namespace = Namespace::open(&self.blueprint.lab.namespace_of(&plan.node));
        let own = std::env::current_exe().expect("a test has a file");
        let log = state::log_of(&self.blueprint.lab, name);
        let started = process::start(&namespace.expect("it is up"), &own, &plan.arguments, &log);
        started.expect("it starts again");
    }

    /// How many bytes all interfaces of a node carried so far, by the kernel's count. Not packets: some of those are
    /// super-packets, and how many depends on the machine.
    fn bytes_of(&self, node: &str) -> u64 {
        let namespace = Namespace::open(&self.blueprint.lab.namespace_of(node));
        let counts = namespace.expect("it is up").run(|| {
            let text = fs::read_to_string("/proc/thread-self/net/dev")?;
            Ok(text)
        });
        let counts = counts.expect("the kernel counts");
        // Behind an interface's name: eight figures of what came in, and eight of what went out, bytes first.
        let lines = counts.lines().filter_map(|line| line.split_once(':'));
        let bytes = lines.flat_map(|(_, figures)| {
            let figures = figures.split_whitespace().step_by(8).take(2);
            figures.map(|figure| figure.parse::<u64>().expect("a figure"))
        });
        bytes.sum()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_logs();
        }
        // The folder of temporary files is cleared by others if not by us.
        let _ = fs::remove_file(&self.file);
    }
}

impl Stage {
    #[expect(clippy::print_stderr, reason = "what a failed case leaves to see")]
    fn tell_logs(&self) {
        for process in &self.blueprint.processes {
            let log = state::log_of(&self.blueprint.lab, &process.name);
            let text = fs::read_to_string(log).unwrap_or_default();
            let summary = self.lab.process(&process.name).summary;
            eprintln!("{}: {summary}\n{text}", process.name);
        }
    }
}

/// A download under way: ended by its own process id when it is dropped.
struct Download {
    curl: Child,
    stdout: ChildStdout,
    received: u64,
    longest_gap: Duration,
}

impl Download {
    fn start(lab: &Lab) -> Self {
        let name: lab::name::LabName = lab.name.parse().expect("a lab's name");
        let client = Namespace::open(&name.namespace_of("client.osaka")).expect("it is up");
        let url = format!("http://{VIP}/bytes/{BYTES}?pace={BYTES_PER_S}");
        let mut curl = client
            .run(|| {
                Ok(Command::new("curl")
                    .args(["-sS", "--fail", "--max-time", "40", &url])
                    .stdout(Stdio::piped())
                    .spawn()?)
            })
            .expect("curl runs");
        let stdout = curl.stdout.take().expect("it is piped");
        Self {
            curl,
            stdout,
            received: 0,
            longest_gap: Duration::ZERO,
        }
    }

    /// Reads on until `until` bytes are here, or the end.
    fn read(&mut self, until: u64) {
        let mut piece = vec![0; 64 * 1024];
        while self.received < until {
            let since = Instant::now();
            let count = self.stdout.read(&mut piece).expect("a pipe can be read");
            self.longest_gap = self.longest_gap.max(since.elapsed());
            assert!(count > 0, "it ended after {} bytes", self.received);
            assert!(
                pattern::matches(self.received, &piece[..count]),
                "a wrong byte after {}",
                self.received
            );
            self.received += count as u64;
        }
    }

    /// Reads to the end, which must be a good one.
    fn finish(mut self) -> Duration {
        self.read(BYTES);
        let status = self.curl.wait().expect("curl ends");
        assert!(status.success(), "{status}");
        assert_eq!(self.received, BYTES);
        self.longest_gap
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // It has ended already where all is well.
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

pub(crate) fn a_download_survives_the_kill_of_its_pop() {
    let stage = Stage::up("lostpop");
    let mut download = Download::start(&stage.lab);
    download.read(KILL_AT);
    let before = stage.bytes_of("pop.frankfurt");
    stage.lab.kill("pop.tokyo");
    stage.enter_by("pop.frankfurt");
    let gap = download.finish();
    assert!(gap < GAP_MAX, "{gap:?} without a byte");
    let carried = stage.bytes_of("pop.frankfurt") - before;
    assert!(carried > REST / 2, "{carried} bytes by the other POP");
}

#[expect(
    clippy::print_stderr,
    reason = "a test without harness reports by itself"
)]
pub(crate) fn a_download_survives_the_kill_of_its_pop_by_bgp_alone() {
    let Some(bird) = routers::installed() else {
        eprintln!("SKIPPED: this case needs bird");
        return;
    };
    let stage = Stage::up_with("bgp", Some(&bird));
    let has_all = |shown: &str| PREFIXES.iter().all(|prefix| shown.contains(prefix));
    let has_none = |shown: &str| !PREFIXES.iter().any(|prefix| shown.contains(prefix));
    for pop in ["tokyo", "frankfurt"] {
        let router = format!("router.{pop}");
        stage.until(&router, "show route", has_all);
        stage.until(&router, "show bfd sessions", |shown| shown.contains("Up"));
    }
    let by = |router: &'static str| {
        move |shown: &str| {
            let best = shown.lines().filter(|line| line.contains('*'));
            best.filter(|line| line.contains(router)).count() == PREFIXES.len()
        }
    };
    stage.until("client.osaka", "show route", by("router_tokyo"));
    let mut download = Download::start(&stage.lab);
    download.read(KILL_AT);
    let before = stage.bytes_of("pop.frankfurt");
    stage.lab.kill("pop.tokyo");
    let missed = stage.until("router.tokyo", "show route", has_none);
    assert!(missed < MISSED_MAX, "{missed:?}");
    stage.until("client.osaka", "show route", by("router_frankfurt"));
    let gap = download.finish();
    assert!(gap < GAP_MAX, "{gap:?} without a byte");
    let carried = stage.bytes_of("pop.frankfurt") - before;
    assert!(carried > REST / 2, "{carried} bytes by the other POP");

    stage.start_again("pop.tokyo");
    stage.until("router.tokyo", "show route", has_all);
    stage.until("client.osaka", "show route", by("router_tokyo"));
    let page = stage
        .lab
        .fetch("client.osaka", &format!("http://{VIP}/bytes/1000"));
    assert_eq!(page.len(), 1_000);
}

pub(crate) fn a_download_survives_the_kill_of_its_clb_node() {
    const NODES: [&str; 2] = ["region.guangzhou.clb-1", "region.guangzhou.clb-2"];
    let stage = Stage::up("lostclb");
    let mut download = Download::start(&stage.lab);
    download.read(KILL_AT);
    let carried = NODES.map(|node| stage.bytes_of(node));
    let [carrier, other] = if carried[0] > carried[1] {
        NODES
    } else {
        [NODES[1], NODES[0]]
    };
    // The other one has seen probes.
    assert!(carried[0].abs_diff(carried[1]) > KILL_AT / 2, "{carried:?}");
    let before = stage.bytes_of(other);
    stage.lab.kill(carrier);
    let gap = download.finish();
    assert!(gap < GAP_MAX, "{gap:?} without a byte");
    let carried = stage.bytes_of(other) - before;
    assert!(carried > REST / 2, "{carried} bytes by the other node");
}
