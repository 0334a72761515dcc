//! Whole labs, end to end: real clients fetch from real backends through POP, CLB node and vSwitch, also when one of
//! these is killed.
//!
//! The lab's nodes are processes of the same binary, here of this test itself: called with `node` it is a node, with
//! `controller` a controller, called otherwise it runs its cases (hence no test harness). Needs root, curl and /dev/net/tun; skipped loudly without.

#[path = "served_lab/fetches.rs"]
mod fetches;
#[path = "served_lab/stage.rs"]
mod stage;
#[path = "served_lab/survives.rs"]
mod survives;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyedge_live::controller::{self, CertificateFiles, ControllerArgs, Security};
use anyedge_live::node::{self, NodeArgs};
use anyedge_topologies::units;

#[expect(
    clippy::print_stderr,
    reason = "a test without harness reports by itself"
)]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("node") => Some(node::run(&node_args(&arguments))),
        Some("controller") => Some(controller::run(controller_args(&arguments))),
        _ => None,
    };
    if let Some(outcome) = outcome {
        return match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    if !arguments.is_empty() && arguments.iter().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    let has_curl = Command::new("curl").arg("--version").output().is_ok();
    if !nix::unistd::geteuid().is_root() || !Path::new("/dev/net/tun").exists() || !has_curl {
        eprintln!("SKIPPED: a served lab needs root, network namespaces, /dev/net/tun and curl");
        return ExitCode::SUCCESS;
    }
    let cases: [(&str, fn()); 7] = [
        (
            "a client fetches through all three forwarders over both families",
            fetches::a_client_fetches_through_all_three_forwarders,
        ),
        (
            "a client fetches through plain GRE inside of regions and between them",
            fetches::a_client_fetches_through_plain_gre,
        ),
        (
            "a client fetches through streams with certificates",
            fetches::a_client_fetches_through_streams,
        ),
        (
            "a client fetches through QUIC datagrams with certificates",
            fetches::a_client_fetches_through_datagrams,
        ),
        (
            "a download survives the kill of its POP when the client's route moves to another",
            survives::a_download_survives_the_kill_of_its_pop,
        ),
        (
            "a download survives the kill of its POP when BGP alone moves the client's route",
            survives::a_download_survives_the_kill_of_its_pop_by_bgp_alone,
        ),
        (
            "a download survives the kill of the CLB node that carries it",
            survives::a_download_survives_the_kill_of_its_clb_node,
        ),
    ];
    for (sentence, case) in cases {
        eprintln!("{sentence}");
        case();
        eprintln!("ok");
    }
    ExitCode::SUCCESS
}

/// The values of a flag.
fn values<'a>(arguments: &'a [String], flag: &'a str) -> impl Iterator<Item = String> + 'a {
    let pairs = arguments.windows(2).filter(move |pair| pair[0] == flag);
    pairs.map(|pair| pair[1].clone())
}

fn value(arguments: &[String], flag: &str) -> String {
    let first = values(arguments, flag).next();
    first.expect("the lab passes it always")
}

fn node_args(arguments: &[String]) -> NodeArgs {
    let file = |flag| values(arguments, flag).next().map(Into::into);
    let addresses = values(arguments, "--controllers")
        .next()
        .unwrap_or_default();
    let addresses = addresses.split(',').filter_map(|at| at.parse().ok());
    NodeArgs {
        topology: value(arguments, "--topology").into(),
        overrides: values(arguments, "--set").collect(),
        identity: file("--identity"),
        name: value(arguments, "--name"),
        ready: file("--ready"),
        controllers: addresses.collect(),
        founding: file("--founding"),
        data: file("--data"),
        metrics: None,
        workers: None,
        busy_poll: Duration::ZERO,
        clients: Vec::new(),
        lab: None,
        user: None,
    }
}

fn controller_args(arguments: &[String]) -> ControllerArgs {
    let file = |flag: &str| value(arguments, flag).into();
    let peers = value(arguments, "--peers");
    let peers = peers.split(',').filter_map(|peer| {
        let (id, address) = peer.split_once('=')?;
        Some((id.parse().ok()?, address.parse().ok()?))
    });
    let timeout = value(arguments, "--election-timeout");
    ControllerArgs {
        id: value(arguments, "--id").parse().expect("a number"),
        data: file("--data"),
        listen: value(arguments, "--listen").parse().expect("an address"),
        peers: peers.collect(),
        joins: false,
        security: Security::Tls(CertificateFiles {
            certificate: file("--cert"),
            key: file("--key"),
            authority: file("--ca"),
        }),
        election_timeout: units::duration_above_zero(&timeout).expect("a time"),
        founding: Some(file("--founding")),
        ready: Some(file("--ready")),
        ends_with_stdin: false,
    }
}
