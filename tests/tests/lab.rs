//! Labs as a user runs them, with the real command: controllers that nodes follow, orders that change who answers curl,
//! and an end without a trace, whatever was killed.
//!
//! Needs root, curl and /dev/net/tun; skipped loudly without.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyedge_live::lab;
use anyedge_live::lab::status::LabStatus;
use anyedge_live::netns;
use anyedge_tests::binary::{Profile, run};
use anyedge_tests::processes::{signal, wait_for};
use nix::sys::signal::Signal;

const TWO_POPS: &str = "topologies/two-pops.toml";
/// Five seconds are the promise, for a machine that does nothing else (docs/lab.md); tests run beside each other.
const UP_MAX: Duration = Duration::from_secs(20);
const DOWN_MAX: Duration = Duration::from_secs(10);
/// An order is in force within a few round trips; the machine that runs tests does other things too.
const ORDER_MAX: Duration = Duration::from_secs(20);

/// A lab that goes whatever happens.
struct Lab(String);

impl Lab {
    /// Up, or `None` where this machine cannot have one.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn up(word: &str, args: &[&str]) -> Option<Lab> {
        let has_curl = Command::new("curl").arg("--version").output().is_ok();
        if !nix::unistd::geteuid().is_root() || !Path::new("/dev/net/tun").exists() || !has_curl {
            eprintln!("SKIPPED: a lab needs root, network namespaces, /dev/net/tun and curl");
            return None;
        }
        let lab = Lab(format!("{word}-{}", std::process::id()));
        // The command is built before the time counts.
        anyedge_tests::binary::path(Profile::Debug);
        let started = Instant::now();
        let own = ["lab", "up", "--name", &lab.0, TWO_POPS];
        let up = run(Profile::Debug, &[&own, args].concat());
        assert_eq!(up.status.code(), Some(0), "{}", text(&up.stderr));
        assert!(
            started.elapsed() < UP_MAX,
            "it took {:?}",
            started.elapsed()
        );
        Some(lab)
    }

    fn status(&self) -> LabStatus {
        lab::status(&self.0).expect("it is up")
    }

    fn ctl(&self, words: &[&str]) -> Output {
        let own = ["ctl", "--lab", &self.0, "--timeout", "20s"];
        run(Profile::Debug, &[&own, words].concat())
    }

    fn exec(&self, node: &str, words: &[&str]) -> Output {
        let own = ["lab", "exec", "--name", &self.0, node];
        run(Profile::Debug, &[&own, words].concat())
    }

    /// Who answers a request of Osaka's, if anybody does.
    fn who_answers(&self) -> Option<String> {
        let curl = ["curl", "-s", "--max-time", "3", "http://203.0.113.10/"];
        let answer = text(&self.exec("client.osaka", &curl).stdout);
        let server = answer
            .lines()
            .find_map(|line| line.strip_prefix("server "))?;
        Some(server.to_owned())
    }

    /// Waits until each of so many requests is answered by `server`.
    fn wait_for_answers_of(&self, server: &str) {
        let mut in_a_row = 0;
        let since = Instant::now();
        while in_a_row < 6 {
            let is_it = self.who_answers().is_some_and(|who| who == server);
            in_a_row = if is_it { in_a_row + 1 } else { 0 };
            assert!(since.elapsed() < ORDER_MAX, "others than {server} answer");
        }
    }

    fn set_weight(&self, address: &str, weight: &str) {
        let target = format!("gz-main/web/{address}:8080");
        let set = self.ctl(&["target", "set", &target, "--weight", weight]);
        assert_eq!(set.status.code(), Some(0), "{}", text(&set.stderr));
    }

    fn kill_those(&self, is_one: impl Fn(&str) -> bool) {
        let status = self.status();
        let all = status.nodes.iter().flat_map(|node| &node.processes);
        for process in all.filter(|process| is_one(&process.name)) {
            signal(process.pid, Signal::SIGKILL);
        }
    }

    fn down(&self) -> Output {
        run(Profile::Debug, &["lab", "down", "--name", &self.0])
    }

    fn has_traces(&self) -> bool {
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

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_order_to_the_controllers_of_a_lab_changes_who_answers_curl() {
    let Some(lab) = Lab::up("nctl", &[]) else {
        return;
    };
    assert!(lab.status().is_healthy(), "{:?}", lab.status());
    assert_eq!(lab.status().controllers.len(), 3);
    lab.set_weight("10.0.0.12", "0");
    lab.wait_for_answers_of("backend.web-1");
    lab.set_weight("10.0.0.12", "10");
    lab.set_weight("10.0.0.11", "0");
    lab.wait_for_answers_of("backend.web-2");
    // The same from inside, by what the lab tells a command of its controllers.
    let own = anyedge_tests::binary::path(Profile::Debug);
    let own = own.to_string_lossy();
    let inside = lab.exec("controller.a", &[&own, "ctl", "targets", "--json"]);
    assert!(
        text(&inside.stdout).contains("10.0.0.12"),
        "{}",
        text(&inside.stderr)
    );

    // Without controllers the last table stays, and with them gone for good a lab still goes.
    lab.kill_those(|name| name.starts_with("controller."));
    for _ in 0..3 {
        assert_eq!(lab.who_answers().as_deref(), Some("backend.web-2"));
    }
    lab.kill_those(|_| true);
    let started = Instant::now();
    assert_eq!(lab.down().status.code(), Some(0));
    assert!(
        started.elapsed() < DOWN_MAX,
        "it took {:?}",
        started.elapsed()
    );
    assert!(!lab.has_traces());
}

#[test]
fn a_node_that_crashes_comes_back_when_the_fault_is_over() {
    let Some(lab) = Lab::up("nfault", &[]) else {
        return;
    };
    let number = || {
        let status = lab.status();
        let mut all = status.nodes.into_iter().flat_map(|node| node.processes);
        all.find(|process| process.name == "pop.tokyo")
            .expect("a node of the file")
    };
    let before = number().pid;
    let lab_name = ["--name", &lab.0];
    let crash = [
        &["lab", "fault"],
        &lab_name[..],
        &["crash", "pop.tokyo", "--for", "10ms"],
    ]
    .concat();
    let struck = run(Profile::Debug, &crash);
    assert_eq!(struck.status.code(), Some(0), "{}", text(&struck.stderr));
    assert_ne!(number().pid, before);
    wait_for("its answer", || number().answering == Some(true));
    wait_for("service", || lab.who_answers().is_some());

    let file = anyedge_tests::two_machines::Scratch::new();
    let out = format!("{}.pcapng", file.path().display());
    let capture = [
        &["lab", "capture"],
        &lab_name[..],
        &[
            "pop.tokyo:ccn0",
            "--packets",
            "5",
            "--for",
            "20s",
            "--out",
            &out,
        ],
    ]
    .concat();
    let captured = run(Profile::Debug, &capture);
    assert_eq!(
        captured.status.code(),
        Some(0),
        "{}",
        text(&captured.stderr)
    );
    // Probes of paths go by all the time.
    assert!(
        text(&captured.stdout).contains("5 packets"),
        "{}",
        text(&captured.stdout)
    );
    let bytes = std::fs::read(&out).expect("it was written");
    assert_eq!(bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a], "a section of pcapng");
    std::fs::remove_file(out).expect("it is there");
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn nginx_sees_the_addresses_of_clients_of_both_families() {
    if Command::new("nginx").arg("-v").output().is_err() {
        eprintln!("SKIPPED: nginx is not installed");
        return;
    }
    let Some(lab) = Lab::up("nginx", &["--backend", "nginx"]) else {
        return;
    };
    let logs = || {
        let status = lab.status();
        let all = status.nodes.into_iter().flat_map(|node| node.processes);
        let backends = all.filter(|process| process.name.starts_with("backend."));
        let read = |log| std::fs::read_to_string(log).unwrap_or_default();
        backends
            .map(|backend| read(backend.log))
            .collect::<String>()
    };
    for (client, url) in [
        ("client.osaka", "http://203.0.113.10/"),
        ("client.berlin", "http://[2001:db8:113::10]/"),
    ] {
        let mut answer = String::new();
        wait_for("an answer of nginx", || {
            let curl = lab.exec(client, &["curl", "-si", "--max-time", "3", url]);
            answer = text(&curl.stdout);
            answer.contains("server backend.web-")
        });
        assert!(answer.contains("Server: nginx"), "{answer}");
        let line = answer.lines().find_map(|line| line.strip_prefix("client "));
        let (address, _) = line
            .and_then(|line| line.rsplit_once(':'))
            .expect("an address");
        let is_of_the_file = address.starts_with("198.") || address.starts_with("2001:db8:c:");
        assert!(is_of_the_file, "{answer}");
        wait_for("its line in the log", || logs().contains(address));
    }
}

#[test]
fn a_node_of_a_lab_that_is_asked_to_end_does_within_a_second() {
    let Some(lab) = Lab::up("nstop", &[]) else {
        return;
    };
    let status = lab.status();
    let mut processes = status.nodes.iter().flat_map(|node| &node.processes);
    let tokyo = processes.find(|process| process.name == "pop.tokyo");
    let tokyo = tokyo.expect("a node of the file").pid;
    let is_gone = || !Path::new(&format!("/proc/{tokyo}/exe")).exists();
    let started = Instant::now();
    signal(tokyo, Signal::SIGTERM);
    wait_for("its end", is_gone);
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

/// The same arrivals in both worlds, and over wires with the file's links nothing that is sooner than in the simulator.
#[test]
fn both_worlds_send_the_same_and_a_lab_is_no_sooner_than_its_links() {
    // For its skip alone, and that the machine can have one.
    let Some(lab) = Lab::up("links", &["--links", "file"]) else {
        return;
    };
    drop(lab);
    let compared = run(
        Profile::Debug,
        &["compare", TWO_POPS, "--duration", "3s", "--json"],
    );
    // How near they are is for a quiet machine to say.
    let code = compared.status.code();
    assert!(matches!(code, Some(0 | 1)), "{}", text(&compared.stderr));
    let pairs: Vec<serde_json::Value> =
        serde_json::from_slice(&compared.stdout).expect("it is JSON");
    assert_eq!(pairs.len(), 4, "two loads of two populations");
    for pair in pairs {
        let count = |key: &str| pair[key].as_u64().expect("a count");
        let median = |key: &str| pair[key][0].as_f64().expect("a time");
        assert_eq!(
            count("sim_answered"),
            count("lab_answered") + count("lab_failed"),
            "{pair}"
        );
        if pair["kind"] == "tick" {
            assert!(median("lab_ms") > 0.99 * median("sim_ms"), "{pair}");
        }
    }
}
