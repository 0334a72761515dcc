//! `anyedge explain` as a user meets it: the way of a flow, its reasons, what is unknown, and its exit codes.

use std::process::Output;

use anyedge_tests::binary::{Profile, run};
use serde_json::Value;

fn explain(args: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = run(Profile::Debug, &[&["explain"], args, &["-q"]].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    (status.code(), text(stdout), text(stderr))
}

const FILE: &str = "topologies/pop-down.toml";

#[test]
fn a_flow_is_told_hop_by_hop_with_the_reason_of_each() {
    let (code, out, _) = explain(&[FILE, "--from", "osaka", "--to", "game:web"]);
    assert_eq!(code, Some(0), "{out}");
    for expected in [
        "client.osaka/1 to game:web at 1 s of pop-down\ntcp 198.18.",
        " > client.osaka put it on client.osaka>pop.tokyo\n",
        "enters at pop.tokyo: by the lowest round trip, with as many networks on the way",
        "pop.singapore: announced, 1 network, 74.140 ms",
        " > pop.tokyo sent it to region.guangzhou.clb-",
        "by revision 1 of the table: the slot is region.guangzhou.clb-",
        "link tokyo-guangzhou to region.guangzhou.clb-",
        " > region.guangzhou.clb-3 chose target 10.0.0.1",
        "listener gz-main/web, weighted round robin: whose turn it is",
        " <- chosen",
        " gave it to the backend, received it",
        "the flow entered by pop.tokyo last",
        " < pop.tokyo let it out to the Internet, put it on pop.tokyo>client.osaka",
        "answer left by pop.tokyo.\nAnswered after ",
    ] {
        assert!(out.contains(expected), "no `{expected}` in\n{out}");
    }
}

#[test]
fn a_flow_in_the_middle_of_a_fault_goes_where_its_client_has_heard_of() {
    let args = [
        FILE,
        "--from",
        "osaka",
        "--to",
        "203.0.113.10:80",
        "--at",
        "10.5s",
        "--json",
    ];
    let (code, out, _) = explain(&args);
    assert_eq!(code, Some(0), "{out}");
    let told: Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(told["entered"], "pop.tokyo");
    assert_eq!(told["left_by"], "pop.singapore");
    assert_eq!(told["dropped"][0], "PopDown at pop.tokyo");
    let steps = told["steps"].as_array().expect("a list");
    let heard = steps
        .iter()
        .map(|step| &step["why"]["candidates"][1]["standing"]);
    let heard: Vec<&str> = heard.filter_map(Value::as_str).collect();
    assert_eq!(heard.first(), Some(&"announced"));
    assert_eq!(heard.last(), Some(&"withdrawn"));
}

#[test]
fn a_flow_without_an_answer_exits_1() {
    let down = "fault=[{ at = \"1s\", for = \"20s\", down = \"region.guangzhou\" }]";
    let args = [
        FILE,
        "--from",
        "osaka",
        "--to",
        "game:tick",
        "--at",
        "2s",
        "--set",
        down,
    ];
    let (code, out, err) = explain(&args);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains("No answer."), "{out}");
}

#[test]
fn what_is_unknown_is_answered_with_the_nearest_right_name() {
    for (from, to, reason, hint) in [
        (
            "osakka",
            "game:web",
            "there is no client \"osakka\"",
            "did you mean `osaka`?",
        ),
        (
            "client.osaka/9",
            "game:web",
            "client.osaka has no host \"9\"",
            "osaka/1 to osaka/1",
        ),
        (
            "osaka",
            "gmae:web",
            "there is no VIP \"gmae\"",
            "did you mean `game`?",
        ),
        (
            "osaka",
            "game:wbe",
            "vip.game has no listener \"wbe\"",
            "did you mean `web`?",
        ),
        (
            "osaka",
            "game:81",
            "vip.game has no listener \"81\"",
            "did you mean `80`?",
        ),
        (
            "osaka",
            "203.0.113.11:80",
            "no VIP has the address 203.0.113.11",
            "did you mean `203.0.113.10`?",
        ),
        (
            "osaka",
            "game",
            "\"game\" is no VIP and port",
            "such as \"game:web\"",
        ),
    ] {
        let (code, out, err) = explain(&[FILE, "--from", from, "--to", to]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.contains(reason) && err.contains(hint), "{err}");
    }
    let (code, _, err) = explain(&["topologies/none.toml", "--from", "a", "--to", "b:1"]);
    assert_eq!(code, Some(2), "{err}");
    let (code, _, err) = explain(&[FILE, "--from", "osaka", "--to", "game:web", "--at", "soon"]);
    assert_eq!(code, Some(2), "{err}");
}
