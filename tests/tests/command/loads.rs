//! `anyedge load` against `anyedge serve`, as a user meets them, on loopback.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

use anyedge_tests::binary::{Profile, path, run};
use anyedge_tests::processes::{signal, wait_for};
use anyedge_tests::two_machines::Scratch;
use nix::sys::signal::Signal;
use serde_json::Value;

/// A server of this test's own, killed when it ends.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Server {
        let address = free_address();
        let child = Command::new(path(Profile::Debug))
            .args(["serve", "--listen", &address.to_string()])
            .stdout(Stdio::null())
            .spawn();
        let child = child.expect("the command can be run");
        wait_for("the server", || TcpStream::connect(address).is_ok());
        Server { child, address }
    }

    fn load(&self, args: &[&str]) -> Output {
        let to = self.address.to_string();
        run(
            Profile::Debug,
            &[&["load", "--quiet", "--json", "-", "--to", &to], args].concat(),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
    listener.local_addr().expect("it is bound")
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn millis(account: &Value, of: &str, percentile: &str) -> f64 {
    let figure = account[of][percentile].as_f64();
    figure.unwrap_or_else(|| panic!("no {of}.{percentile} in {account}"))
}

#[test]
fn a_load_is_what_was_ordered_and_its_percentiles_are_written() {
    let server = Server::start();
    let folder = Scratch::new();
    fs::create_dir_all(folder.path()).expect("a folder");
    let hgrm = folder.path().join("out.hgrm");
    let name = hgrm.to_str().expect("our own name is UTF-8");
    for kind in ["request", "tick"] {
        let output = server.load(&[
            "--kind",
            kind,
            "--rate",
            "100/s",
            "--duration",
            "1s",
            "--arrivals",
            "fixed",
            "--hgrm",
            name,
        ]);
        let account = json(&output);
        assert_eq!(output.status.code(), Some(0), "{account}");
        let requests = &account["requests"];
        assert_eq!(
            (&requests["sent"], &requests["ok"]),
            (&Value::from(100), &Value::from(100))
        );
        assert!(millis(&account, "latency_ms", "p50") >= millis(&account, "actual_ms", "p50"));
        for file in [hgrm.clone(), folder.path().join("out.actual.hgrm")] {
            let text = fs::read_to_string(&file).expect("it was written");
            assert!(text.contains("Total count    =          100]"), "{text}");
        }
    }
    let output = server.load(&[
        "--kind",
        "bulk",
        "--rate",
        "2/s",
        "--duration",
        "1s",
        "--size",
        "1MiB",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", json(&output));
}

/// The proof of an open loop: what is sent does not wait for who does not answer, and latency says how long it was.
#[test]
fn a_server_that_stands_still_makes_no_load_lighter() {
    let server = Server::start();
    let to = server.address.to_string();
    let mut load = Command::new(path(Profile::Debug));
    let load = load
        .args([
            "load",
            "--to",
            &to,
            "--rate",
            "200/s",
            "--duration",
            "3s",
            "--arrivals",
            "fixed",
        ])
        .args(["--json", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut load = load.expect("the command can be run");
    // Its first line of progress comes after a second.
    let mut told = std::io::BufReader::new(load.stderr.take().expect("it is piped"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut told, &mut line).expect("it says how it goes");
    signal(server.child.id(), Signal::SIGSTOP);
    std::io::BufRead::read_line(&mut told, &mut line).expect("it says how it goes");
    signal(server.child.id(), Signal::SIGCONT);
    let output = load.wait_with_output().expect("it ends");
    let account = json(&output);
    assert_eq!(account["requests"]["sent"], 600, "{account}");
    assert_eq!(account["requests"]["ok"], 600, "{account}");
    // A second of requests found nobody: those due first waited for nearly all of it.
    assert!(millis(&account, "latency_ms", "p90") > 300.0, "{account}");
}

#[test]
fn nobody_there_is_a_broken_promise_and_nonsense_is_bad_input() {
    let nobody = free_address().to_string();
    let output = run(
        Profile::Debug,
        &[
            "load",
            "-q",
            "--to",
            &nobody,
            "--rate",
            "50/s",
            "--duration",
            "1s",
            "--arrivals",
            "fixed",
            "--json",
            "-",
        ],
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(json(&output)["requests"]["failed"]["refused"], 50);
    for nonsense in [
        &["--rate", "0/s"][..],
        &["--kind", "tick", "--size", "1MiB"],
        &["--size", "10parsecs"],
        &["--in-flight", "0"],
    ] {
        let output = run(
            Profile::Debug,
            &[&["load", "--to", &nobody], nonsense].concat(),
        );
        assert_eq!(output.status.code(), Some(2), "{nonsense:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_load_that_is_interrupted_tells_what_came_of_it() {
    let server = Server::start();
    let load = Command::new(path(Profile::Debug))
        .args([
            "load",
            "--to",
            &server.address.to_string(),
            "--rate",
            "100/s",
            "--duration",
            "10m",
        ])
        .args(["--json", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut load = load.expect("the command can be run");
    let mut line = String::new();
    let mut told = std::io::BufReader::new(load.stderr.take().expect("it is piped"));
    std::io::BufRead::read_line(&mut told, &mut line).expect("it says how it goes");
    signal(load.id(), Signal::SIGINT);
    let account = json(&load.wait_with_output().expect("it ends"));
    assert_eq!(account["cut_short"], true);
    assert!(
        account["requests"]["ok"].as_u64().is_some_and(|ok| ok > 0),
        "{account}"
    );
}
