//! Whole labs, end to end: real clients fetch from real backends through POP, CLB node and vSwitch, also when one of
//! these is killed.
//!
//! The lab's nodes are processes of the same binary, here of this test itself: called with `node` it is a node, called
//! otherwise it runs its cases (hence no test harness). Needs root, curl and /dev/net/tun; skipped loudly without.

#[path = "served_lab/fetches.rs"]
mod fetches;
#[path = "served_lab/stage.rs"]
mod stage;
#[path = "served_lab/survives.rs"]
mod survives;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyedge_live::node::{self, NodeArgs};

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
    let cases: [(&str, fn()); 4] = [
        (
            "a client fetches through all three forwarders over both families",
            fetches::a_client_fetches_through_all_three_forwarders,
        ),
        (
            "a client fetches through streams with certificates",
            fetches::a_client_fetches_through_streams,
        ),
        (
            "a download survives the kill of its POP when the client's route moves to another",
            survives::a_download_survives_the_kill_of_its_pop,
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

fn node_args(arguments: &[String]) -> NodeArgs {
    let values = |flag: &'static str| {
        let pairs = arguments.windows(2).filter(move |pair| pair[0] == flag);
        pairs.map(|pair| pair[1].clone())
    };
    let value = |flag| values(flag).next().expect("the lab passes it always");
    NodeArgs {
        topology: value("--topology").into(),
        overrides: values("--set").collect(),
        identity: values("--identity").next().map(Into::into),
        name: value("--name"),
        ready: Some(value("--ready").into()),
    }
}
