//! A whole lab, end to end: real clients fetch from real backends through POP, CLB node and vSwitch.
//!
//! The lab's nodes are processes of the same binary, here of this test itself: called with `node` it is a node, called
//! otherwise it runs its cases (hence no test harness). Needs root, curl and /dev/net/tun; skipped loudly without.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyedge_live::lab::{self, status::LabStatus};
use anyedge_live::node::{self, NodeArgs};
use anyedge_topologies::Topology;

const UP_MAX: Duration = Duration::from_secs(5);

#[expect(
    clippy::print_stderr,
    reason = "a test without harness reports by itself"
)]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "node") {
        let Err(error) = node::run(&node_args(&arguments)) else {
            return ExitCode::FAILURE;
        };
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    if !arguments.is_empty() && arguments.iter().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    let has_curl = Command::new("curl").arg("--version").output().is_ok();
    if !nix::unistd::geteuid().is_root() || !Path::new("/dev/net/tun").exists() || !has_curl {
        eprintln!("SKIPPED: a served lab needs root, network namespaces, /dev/net/tun and curl");
        return ExitCode::SUCCESS;
    }
    eprintln!("a client fetches through all three forwarders over both families");
    a_client_fetches_through_all_three_forwarders();
    eprintln!("ok");
    ExitCode::SUCCESS
}

fn node_args(arguments: &[String]) -> NodeArgs {
    let value = |flag: &str| {
        let at = arguments
            .iter()
            .position(|word| word == flag)
            .expect("the lab passes every flag");
        arguments[at + 1].clone()
    };
    NodeArgs {
        topology: value("--topology").into(),
        name: value("--name"),
        ready: Some(value("--ready").into()),
    }
}

/// Takes the lab down whatever happens.
struct Lab {
    name: String,
}

impl Lab {
    fn exec(&self, node: &str, words: &[&str]) -> i32 {
        let argv: Vec<OsString> = words.iter().map(OsString::from).collect();
        lab::exec(&self.name, node, &argv).expect("the command runs")
    }

    /// Fetches `url` from `node` into a file and returns what came.
    fn fetch(&self, node: &str, url: &str) -> Vec<u8> {
        let into: PathBuf = std::env::temp_dir().join(format!("{}-fetched", self.name));
        let file = into.to_string_lossy();
        assert_eq!(
            self.exec(
                node,
                &[
                    "curl",
                    "-sS",
                    "--fail",
                    "--max-time",
                    "5",
                    "-o",
                    &*file,
                    url
                ]
            ),
            0,
            "{url}"
        );
        let bytes = fs::read(&into).expect("curl wrote it");
        fs::remove_file(&into).expect("it is there");
        bytes
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let removed = lab::down(&self.name);
        if !std::thread::panicking() {
            removed.expect("the lab can be taken down");
        }
    }
}

/// What the backends wrote about their requests.
fn backend_logs(status: &LabStatus) -> String {
    let processes = status.nodes.iter().flat_map(|node| &node.processes);
    let backends = processes.filter(|process| process.name.starts_with("backend."));
    backends
        .map(|backend| fs::read_to_string(&backend.log).expect("a log"))
        .collect()
}

fn a_client_fetches_through_all_three_forwarders() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/two-pops.toml");
    let topology = Topology::load(&file).expect("a shipped topology");
    let lab = Lab {
        name: format!("served-{}", std::process::id()),
    };
    let started = Instant::now();
    let status = lab::up(&file, &topology, &lab.name).expect("the lab comes up");
    assert!(
        started.elapsed() < UP_MAX,
        "up took {:?}",
        started.elapsed()
    );
    assert!(status.is_healthy(), "{status:?}");

    for (client, vip) in [("osaka", "203.0.113.10"), ("berlin", "[2001:db8:113::10]")] {
        let node = format!("client.{client}");
        for _ in 0..3 {
            lab.fetch(&node, &format!("http://{vip}/"));
        }
        // Far more than a window and a segment: MSS clamping and the way back hold.
        assert_eq!(
            lab.fetch(&node, &format!("http://{vip}/bytes/3000000"))
                .len(),
            3_000_000
        );
        let (v4, v6) = topology.clients[client].address(0);
        let own = if vip.starts_with('[') {
            format!("[{v6}]:")
        } else {
            format!("{v4}:")
        };
        let logs = backend_logs(&status);
        assert_eq!(
            logs.lines().filter(|line| line.contains(&own)).count(),
            4,
            "from {own}\n{logs}"
        );
    }
    let no_listener = ["curl", "-s", "--max-time", "1", "http://203.0.113.10:81/"];
    assert_ne!(lab.exec("client.osaka", &no_listener), 0);
    every_forwarder_carried_packets(&lab::status(&lab.name).expect("the lab is up"));
}

fn every_forwarder_carried_packets(status: &LabStatus) {
    assert!(status.is_healthy(), "{status:?}");
    for name in [
        "pop.tokyo",
        "pop.frankfurt",
        "region.guangzhou.clb-1",
        "host.web-1",
        "host.web-2",
    ] {
        let mut processes = status.nodes.iter().flat_map(|node| &node.processes);
        let process = processes
            .find(|process| process.name == name)
            .expect("a process of the lab");
        let is_idle = process.summary.contains(" 0 out");
        assert!(!is_idle, "{name}: {}", process.summary);
    }
}
