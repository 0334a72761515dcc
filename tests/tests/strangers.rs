//! Callers whom a controller does not let in, or not so far: each is told why and what helps, and so is who runs the
//! controller; nobody else waits.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use anyedge_ccn::rpc::{Issued, Role};
use anyedge_net::rng::Seed;
use anyedge_tests::guarded::{Caller, Guarded, authority};
use serde_json::Value;

const TOPOLOGY: &str = "topologies/two-pops.toml";
const TARGET: &str = "gz-main/web/10.0.0.12:8080";
/// Connections of each of four who disturb.
const STRANGERS: usize = 40;

/// A controller with the topology applied, and an operator of it.
fn served() -> (Guarded, Caller) {
    let mut guarded = Guarded::start();
    let olga = guarded.caller("olga", Role::Operator);
    accepted(&guarded.ctl(Some(&olga), &["apply", TOPOLOGY]));
    (guarded, olga)
}

fn accepted(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
}

#[test]
fn a_stranger_is_told_why_it_is_none_and_so_is_who_runs_the_controller() {
    let (mut guarded, olga) = served();
    let late = guarded.caller_until("late", Role::Operator, (2_020, 1, 1));
    let (_runtime, mut elsewhere) = authority();
    let own = guarded.issue("olga", Role::Operator);
    let issued = elsewhere
        .issue("olga", Role::Operator)
        .expect("a good name");
    let forged = Issued {
        authority: own.authority,
        ..issued.clone()
    };
    let forged = guarded.written("forged", &forged);
    let distrusting = guarded.written("distrusting", &issued);
    let cases = [
        (
            Some(&late),
            "it has expired",
            "have the authority issue another",
            &["certificate has expired"][..],
        ),
        (
            Some(&forged),
            "of another authority",
            "of the controllers' own authority",
            &["is of another authority"],
        ),
        (
            Some(&distrusting),
            "the server's certificate is of another authority",
            "--ca",
            // Its connection may end before it has said why.
            &["it refuses our certificate", "it went away"],
        ),
    ];
    for (caller, said, hint, told) in cases {
        let (code, found) = guarded.refused(caller, &["targets"]);
        assert_eq!(code, Some(2), "{found}");
        assert!(found.contains(said) && found.contains(hint), "{found}");
        guarded.waits_for_one_of(told);
    }
    let (code, found) = guarded.refused(None, &["targets"]);
    assert_eq!(code, Some(3), "{found}");
    assert!(
        found.contains("one with certificates wants --cert"),
        "{found}"
    );
    guarded.waits_for("does not speak TLS");
    accepted(&guarded.ctl(Some(&olga), &["targets"]));
}

#[test]
fn a_role_may_do_what_is_its_own_and_is_told_who_may_do_the_rest() {
    let (mut guarded, olga) = served();
    let set = ["target", "set", TARGET, "--weight", "7"];
    for (name, role) in [("wall-screen", Role::ReadOnly), ("pop.tokyo", Role::Node)] {
        let caller = guarded.caller(name, role);
        accepted(&guarded.ctl(Some(&caller), &["targets"]));
        accepted(&guarded.ctl(Some(&caller), &["members"]));
        for args in [
            &set[..],
            &["drain", "pop.tokyo"],
            &["leader", "transfer", "1"],
        ] {
            let (code, said) = guarded.refused(Some(&caller), args);
            assert_eq!(code, Some(2), "{name} {args:?}: {said}");
            assert!(said.contains("UnauthorizedOperation: "), "{said}");
            assert!(said.contains("an operator's certificate may"), "{said}");
        }
    }
    accepted(&guarded.ctl(Some(&olga), &set));
}

/// Bytes that are no TLS, TLS that breaks off, and connections that say nothing.
fn disturb(guarded: &Guarded, number: u64) {
    let mut rng = Seed(number).stream("disturb", "bytes");
    for _ in 0..STRANGERS {
        let connected = TcpStream::connect(guarded.address());
        let mut stream = connected.expect("it listens");
        let mut bytes = vec![0; rng.below(600) as usize];
        rng.fill(&mut bytes);
        if rng.below(2) == 0 {
            // A good beginning: a record with a hello of TLS.
            bytes.splice(..0, [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
        }
        // It may be cut off before all is written.
        let _ = stream.write_all(&bytes);
        let patience = stream.set_read_timeout(Some(Duration::from_millis(20)));
        patience.expect("not zero");
        let _ = stream.read(&mut [0; 64]);
    }
}

#[test]
fn strangers_by_the_hundred_slow_nobody_and_nothing_is_lost() {
    let (guarded, olga) = served();
    let mut slowest = Duration::ZERO;
    let mut weight = 0;
    thread::scope(|scope| {
        let disturbing = [1, 2, 3, 4].map(|number| {
            let guarded = &guarded;
            scope.spawn(move || disturb(guarded, number))
        });
        while weight < 5 || weight < 100 && !disturbing.iter().all(|one| one.is_finished()) {
            weight += 1;
            let started = Instant::now();
            let wanted = weight.to_string();
            accepted(&guarded.ctl(Some(&olga), &["target", "set", TARGET, "--weight", &wanted]));
            slowest = slowest.max(started.elapsed());
        }
    });
    // Each is a process of its own with a handshake, on a machine that does other things too.
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
    let output = guarded.ctl(Some(&olga), &["--json", "get", "target", TARGET]);
    accepted(&output);
    let found: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(found["object"]["weight"], Value::from(weight));
}
