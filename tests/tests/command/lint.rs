//! `anyedge lint` as a user meets it: what it prints, what it leaves out, how it exits.

use std::process::Output;

use anyedge_tests::binary::{Profile, run};
use serde_json::Value;

const HIT: &str = "topologies/tests/lint/L03-hit.toml";
const MISS: &str = "topologies/tests/lint/L03-miss.toml";
const REFUSED: &str = "topologies/tests/lint/L08-hit.toml";

fn lint(args: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = run(Profile::Debug, &[&["lint"], args].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_finding_exits_1_with_its_place_its_rule_and_its_line() {
    let (code, out, _) = lint(&[HIT]);
    assert_eq!(code, Some(1), "{out}");
    for expected in [
        "L03-hit.toml:34:5: L03 security_group.clients: ",
        "never matches listener 80; did you mean 80?",
        "\"vip.shop+8080 allow\", # <- L03",
        "2 findings; anyedge lint --explain L03 says more",
    ] {
        assert!(out.contains(expected), "no `{expected}` in:\n{out}");
    }
    let (code, out, _) = lint(&[HIT, "--allow", "l03"]);
    assert_eq!(code, Some(0), "{out}");
    let (code, out, _) = lint(&[HIT, "--set", "defaults.sg_egress_port=backend"]);
    assert_eq!(code, Some(0), "{out}");
}

#[test]
fn nothing_found_exits_0_and_a_mistake_exits_2_as_check_shows_it() {
    let (code, out, _) = lint(&[MISS]);
    assert_eq!(
        (code, out.as_str()),
        (Some(0), &*format!("{MISS}: nothing found\n"))
    );
    let (code, _, err) = lint(&[REFUSED, HIT]);
    assert_eq!(code, Some(2), "{err}");
    let checked = run(Profile::Debug, &["check", REFUSED]).stderr;
    assert_eq!(err, String::from_utf8(checked).expect("it prints text"));
    for args in [&["--explain", "L99"][..], &["--allow", "x", HIT], &[]] {
        assert_eq!(lint(args).0, Some(2), "{args:?}");
    }
}

#[test]
fn findings_and_mistakes_are_told_as_json() {
    let (code, out, _) = lint(&["--json", HIT, REFUSED]);
    assert_eq!(code, Some(2));
    let told: Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(told["schema"], 1);
    let first = &told["findings"][0];
    assert_eq!(
        (
            &first["rule"],
            &first["line"],
            &first["column"],
            &first["severity"]
        ),
        (&"L03".into(), &34.into(), &5.into(), &"warning".into())
    );
    assert_eq!(told["mistakes"][0]["file"], REFUSED);
}

#[test]
fn a_rule_explains_itself_without_a_file() {
    let (code, out, _) = lint(&["--explain", "L03"]);
    assert_eq!(code, Some(0));
    for expected in ["L03: an egress rule names", "What ", "Why ", "Mend ", "A22"] {
        assert!(out.contains(expected), "no `{expected}` in:\n{out}");
    }
    let (_, out, _) = lint(&["--explain", "L05"]);
    assert!(out.contains("Not built yet"), "{out}");
}
