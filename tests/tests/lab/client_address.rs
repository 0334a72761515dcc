//! Targets of a lab that are told who the client is: what tshark reads on the wire, and what the demo backend answers.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyedge_tests::binary::{self, Profile};
use anyedge_tests::labs::{Lab, text};
use anyedge_tests::processes::wait_for;
use anyedge_tests::two_machines::Scratch;

const LISTENER: &str = "clb.gz-main.listener.web";
const VIPS: [&str; 2] = ["http://203.0.113.10/", "http://[2001:db8:113::10]/"];

fn fetched(lab: &Lab, url: &str) -> String {
    text(&bytes_of(lab, url))
}

fn bytes_of(lab: &Lab, url: &str) -> Vec<u8> {
    let curl = ["curl", "-gs", "--max-time", "5", url];
    lab.exec("client.osaka", &curl).stdout
}

/// What follows `word` in an answer.
fn line<'a>(answer: &'a str, word: &str) -> Option<&'a str> {
    answer
        .lines()
        .find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
}

/// A lab whose listener tells clients so, once it answers both families.
fn up(word: &str, settings: &[&str]) -> Option<Lab> {
    let settings: Vec<String> = settings
        .iter()
        .map(|way| format!("{LISTENER}.{way}"))
        .collect();
    let args: Vec<&str> = settings
        .iter()
        .flat_map(|way| ["--set", way.as_str()])
        .collect();
    let lab = Lab::up(word, &args)?;
    for url in VIPS {
        wait_for("an answer", || !fetched(&lab, url).is_empty());
    }
    Some(lab)
}

#[test]
fn the_kernel_of_a_target_sees_toa_and_tshark_finds_nothing_malformed() {
    let Some(lab) = up("toa", &["toa=\"254\""]) else {
        return;
    };
    for url in VIPS {
        let answer = fetched(&lab, url);
        assert_eq!(line(&answer, "toa"), line(&answer, "client"), "{answer}");
        assert!(line(&answer, "toa").is_some(), "{answer}");
    }
    for url in VIPS {
        let body = bytes_of(&lab, &format!("{url}bytes/3000000"));
        assert_eq!(body.len(), 3_000_000);
    }
    tshark_reads(&lab);
}

/// TOA on the way to a target, as somebody else reads it.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn tshark_reads(lab: &Lab) {
    if Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("SKIPPED: tshark is not installed");
        return;
    }
    let scratch = Scratch::new();
    let out = format!("{}.pcapng", scratch.path().display());
    let captured = Command::new(binary::path(Profile::Debug))
        .args(["lab", "capture", "--name", lab.name(), "host.web-1"])
        .args(["--for", "4s", "--out", &out])
        .stdout(Stdio::null())
        .spawn();
    let mut captured = captured.expect("the command was built");
    let mut clients = Vec::new();
    while captured.try_wait().expect("it is ours").is_none() {
        for url in VIPS {
            let answer = fetched(lab, url);
            clients.extend(line(&answer, "client").map(str::to_owned));
        }
    }
    let read = |words: &[&str]| {
        let tshark = Command::new("tshark")
            .args(["-n", "-r", &out])
            .args(words)
            .output();
        text(&tshark.expect("it is installed").stdout)
    };
    assert_eq!(
        read(&["-Y", "_ws.malformed || _ws.expert.severity >= 8388608"]),
        ""
    );
    let v4 = read(&[
        "-Y",
        "tcp.option_kind == 254",
        "-T",
        "fields",
        "-e",
        "tcp.options",
    ]);
    let v6 = read(&[
        "-Y",
        "tcp.option_kind == 253",
        "-T",
        "fields",
        "-e",
        "tcp.options",
    ]);
    let written = |client: &str| {
        let client: SocketAddr = client.parse().expect("an address with its port");
        let address = anyedge_net::flow::Address::from(client.ip());
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let head = if client.is_ipv4() { "fe08" } else { "fd14" };
        format!(
            "{head}{}{}",
            hex(&client.port().to_be_bytes()),
            hex(address.octets())
        )
    };
    for all in [&v4, &v6] {
        let is_told = |client: &String| all.contains(&written(client));
        assert!(clients.iter().any(is_told), "{all}");
    }
    std::fs::remove_file(out).expect("it was written");
}

#[test]
fn headers_of_both_versions_reach_the_targets_of_a_lab_in_front_of_whole_bodies() {
    for (word, way) in [("pv1", "proxy_protocol=v1"), ("pv2", "proxy_protocol=v2")] {
        let Some(lab) = up(word, &[way, "toa=\"200\""]) else {
            return;
        };
        for url in VIPS {
            let answer = fetched(&lab, url);
            let client = line(&answer, "client");
            assert!(client.is_some(), "{answer}");
            let told = [line(&answer, "proxy"), line(&answer, "toa")];
            assert_eq!(told, [client; 2], "{answer}");
            let body = bytes_of(&lab, &format!("{url}bytes/3000000"));
            assert_eq!(body.len(), 3_000_000);
        }
    }
}
