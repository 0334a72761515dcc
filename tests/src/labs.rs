//! Labs as a user has them, by the real command: up, asked and told, broken, and down again whatever happens.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyedge_live::lab;
use anyedge_live::lab::name::LabName;
use anyedge_live::lab::status::LabStatus;
use anyedge_live::netns::{self, Namespace};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::binary::{self, Profile, run};
use crate::processes::signal;

/// The smallest topology.
pub const TWO_POPS: &str = "topologies/two-pops.toml";
/// Its nodes with a data plane.
pub const FORWARDERS: [&str; 5] = [
    "pop.tokyo",
    "pop.frankfurt",
    "region.guangzhou.clb-1",
    "host.web-1",
    "host.web-2",
];
/// Five seconds are the promise, for a machine that does nothing else (docs/lab.md); tests run beside each other.
const UP_MAX: Duration = Duration::from_secs(20);
/// An order is in force within a few round trips; the machine that runs tests does other things too.
const ORDER_MAX: Duration = Duration::from_secs(20);
/// How long a lab may take to be well after what befell it.
const HEALTHY_MAX: Duration = Duration::from_secs(60);
/// How often it is asked.
const HEALTH_EVERY: Duration = Duration::from_millis(20);
/// How much of the log of a process that is not well is shown.
const LOG_LINES: usize = 12;

/// A lab that goes whatever happens.
#[derive(Debug)]
pub struct Lab(String);

impl Lab {
    /// Up, or `None` where this machine cannot have one.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn up(word: &str, args: &[&str]) -> Option<Lab> {
        Lab::of(TWO_POPS, word, args)
    }

    /// The lab of another file.
    ///
    /// # Panics
    /// When it does not come up.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    pub fn of(file: &str, word: &str, args: &[&str]) -> Option<Lab> {
        let has_curl = Command::new("curl").arg("--version").output().is_ok();
        if !nix::unistd::geteuid().is_root() || !Path::new("/dev/net/tun").exists() || !has_curl {
            eprintln!("SKIPPED: a lab needs root, network namespaces, /dev/net/tun and curl");
            return None;
        }
        let lab = Lab(format!("{word}-{}", std::process::id()));
        // The command is built before the time counts.
        binary::path(Profile::Debug);
        let started = Instant::now();
        let own = ["lab", "up", "--name", &lab.0, file];
        let up = run(Profile::Debug, &[&own, args].concat());
        assert_eq!(up.status.code(), Some(0), "{}", text(&up.stderr));
        assert!(
            started.elapsed() < UP_MAX,
            "it took {:?}",
            started.elapsed()
        );
        Some(lab)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// How it is.
    ///
    /// # Panics
    /// When it is not up.
    pub fn status(&self) -> LabStatus {
        lab::status(&self.0).expect("it is up")
    }

    /// Waits until all of it is well.
    ///
    /// # Panics
    /// With what is not, and what it said last, when that takes longer than a minute.
    pub fn await_health(&self) {
        let started = Instant::now();
        while !self.status().is_healthy() {
            assert!(started.elapsed() < HEALTHY_MAX, "{}", self.ailments());
            thread::sleep(HEALTH_EVERY);
        }
    }

    /// Each process that is not well, with the end of its log.
    fn ailments(&self) -> String {
        let nodes = self.status().nodes.into_iter();
        let all = nodes.flat_map(|node| node.processes);
        let told = all.filter(|process| !process.is_well()).map(|process| {
            let log = fs::read_to_string(&process.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
            let last: Vec<&str> = lines.into_iter().rev().collect();
            format!("{process:?}\n{}\n", last.join("\n"))
        });
        told.collect()
    }

    /// `anyedge ctl` with its controllers.
    pub fn ctl(&self, words: &[&str]) -> Output {
        let own = ["ctl", "--lab", &self.0, "--timeout", "20s"];
        run(Profile::Debug, &[&own, words].concat())
    }

    /// A command in the namespace of a node.
    pub fn exec(&self, node: &str, words: &[&str]) -> Output {
        let own = ["lab", "exec", "--name", &self.0, node];
        run(Profile::Debug, &[&own, words].concat())
    }

    /// Works in the namespace of a node.
    ///
    /// # Panics
    /// When there is no such node or the work fails.
    pub fn inside<T: Send>(
        &self,
        node: &str,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> T {
        let name: LabName = self.0.parse().expect("a lab's name");
        let namespace = Namespace::open(&name.namespace_of(node)).expect("a node of the lab");
        namespace.run(work).expect("it works inside")
    }

    /// Who answers a request of Osaka's, if anybody does.
    pub fn who_answers(&self) -> Option<String> {
        let curl = ["curl", "-s", "--max-time", "3", "http://203.0.113.10/"];
        let answer = text(&self.exec("client.osaka", &curl).stdout);
        let server = answer
            .lines()
            .find_map(|line| line.strip_prefix("server "))?;
        Some(server.to_owned())
    }

    /// Waits until each of so many requests is answered by `server`.
    ///
    /// # Panics
    /// When others go on answering.
    pub fn wait_for_answers_of(&self, server: &str) {
        let mut in_a_row = 0;
        let since = Instant::now();
        while in_a_row < 6 {
            let is_it = self.who_answers().is_some_and(|who| who == server);
            in_a_row = if is_it { in_a_row + 1 } else { 0 };
            assert!(since.elapsed() < ORDER_MAX, "others than {server} answer");
        }
    }

    /// Gives the target at `address` another weight.
    ///
    /// # Panics
    /// When that is refused.
    pub fn set_weight(&self, address: &str, weight: &str) {
        let target = format!("gz-main/web/{address}:8080");
        let set = self.ctl(&["target", "set", &target, "--weight", weight]);
        assert_eq!(set.status.code(), Some(0), "{}", text(&set.stderr));
    }

    /// `kill -9` of the processes with such names.
    pub fn kill_those(&self, is_one: impl Fn(&str) -> bool) {
        let status = self.status();
        let all = status.nodes.iter().flat_map(|node| &node.processes);
        for process in all.filter(|process| is_one(&process.name)) {
            signal(process.pid, Signal::SIGKILL);
        }
    }

    /// Has a fault befall it, as `lab fault` would.
    ///
    /// # Panics
    /// When that is refused.
    pub fn fault(&self, words: &[&str]) {
        let own = ["lab", "fault", "--name", &self.0];
        let struck = run(Profile::Debug, &[&own, words].concat());
        assert_eq!(struck.status.code(), Some(0), "{}", text(&struck.stderr));
    }

    /// Sends a load from a node in the background, with `anyedge load`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn begin_load(&self, node: &str, words: &[&str]) -> Loading {
        let own = binary::path(Profile::Debug);
        let mut command = Command::new(own);
        command.args(["lab", "exec", "--name", &self.0, node]);
        command
            .arg(own)
            .args(["load", "--quiet", "--json", "-"])
            .args(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Loading(Some(command.spawn().expect("the command was built")))
    }

    /// The counters of a node, by name and labels: `anyedge_packets_received_total`.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn metrics(&self, node: &str) -> BTreeMap<String, f64> {
        let url = format!("http://{}/metrics", lab::plan::METRICS);
        let told = self.exec(node, &["curl", "-s", "--max-time", "3", &url]);
        assert_eq!(
            told.status.code(),
            Some(0),
            "{node}: {}",
            text(&told.stderr)
        );
        let told = text(&told.stdout);
        let lines = told.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.rsplit_once(' '));
        pairs
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// Takes it down.
    pub fn down(&self) -> Output {
        run(Profile::Debug, &["lab", "down", "--name", &self.0])
    }

    /// Whether anything of it is left.
    ///
    /// # Panics
    /// When namespaces cannot be listed.
    pub fn has_traces(&self) -> bool {
        let name: lab::name::LabName = self.0.parse().expect("a lab's name");
        let namespaces = netns::list().expect("the folder of namespaces");
        let mut own = namespaces.iter().filter(|own| name.node_of(own).is_some());
        own.next().is_some() || lab::state::folder_of(&name).exists()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.down();
    }
}

/// A load under way.
#[derive(Debug)]
pub struct Loading(Option<Child>);

impl Loading {
    /// Waits for its end: what came of it.
    ///
    /// # Panics
    /// When it tells nothing.
    pub fn finish(mut self) -> Value {
        let child = self.0.take().expect("it is finished once");
        let told = child.wait_with_output().expect("it ends");
        serde_json::from_slice(&told.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", text(&told.stderr)))
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // `lab exec` hands it on, and ends with the load.
            signal(child.id(), Signal::SIGTERM);
            let _ = child.wait();
        }
    }
}

/// What a command said.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
