//! What each fault of machines and of the management network does to a small service that asks and one that answers.

use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex};

use anyedge_net::host::{DurableFile as _, Host};
use anyedge_net::time::Instant;

use crate::host::SimHost;
use crate::report::{FaultReport, Report};
use crate::services::Services;
use crate::services::echo::{Notes, play, play_with};

const ONE_THREAD: &str = "one thread runs the whole world";

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A fault from 2 s to 4 s.
fn fault(words: &str) -> String {
    format!("[[fault]]\nat = \"2s\"\nfor = \"2s\"\n{words}\n")
}

/// How `from` fared with `to` before, during and after a fault from 2 s to 4 s. A lost SYN comes again after 1 s, so
/// that the end is given time.
fn fared(notes: &Notes) -> [&'static str; 3] {
    [(0, 1_500), (2_000, 3_000), (4_000, 5_000)].map(|(from, until)| notes.answered(from, until))
}

const STRUCK: [&str; 3] = ["all", "none", "all"];
const UNTOUCHED: [&str; 3] = ["all", "all", "all"];

fn dropped(report: &Report, reason: &str) -> u64 {
    report.drops.get(reason).copied().unwrap_or_default()
}

fn told<'r>(report: &'r Report, what: &str) -> &'r FaultReport {
    let found = report.faults.iter().find(|fault| fault.what == what);
    found.unwrap_or_else(|| panic!("no {what} in {:?}", report.faults))
}

#[test]
fn a_controller_that_is_down_answers_nothing_and_starts_again() {
    let down = fault("down = \"controller.c\"");
    let (notes, report) = play(&down, "controller.a", "controller.c");
    assert_eq!(fared(&notes), STRUCK);
    assert_eq!(notes.boots("controller.c"), [ms(0), ms(4_000)]);
    assert!(dropped(&report, "ControllerDown") > 0);
    told(&report, "down controller.c");
    told(&report, "up controller.c");
}

#[test]
fn a_machine_keeps_its_disk_unless_that_is_wiped() {
    for (words, found) in [
        ("down = \"controller.c\"", [0, 1]),
        ("down = \"controller.c\"\nwipe = true", [0, 0]),
        ("down = \"pop.tokyo\"\nwipe = true", [0, 1]),
    ] {
        let lengths = Arc::new(Mutex::new(Vec::new()));
        let mut services = Services::new();
        let noted = Arc::clone(&lengths);
        // A boot later than the fault's, so that there are two of it in each case.
        services.on_boot("controller.c", move |host: SimHost| {
            let file = host.open_file("boots").expect("the disk is sound");
            let len = file.len().expect("it is open");
            noted.lock().expect(ONE_THREAD).push(len);
            file.write_at(len, b"+").expect("there is room");
            file.sync().expect("the disk is sound");
        });
        let mut faults = fault(words);
        if !words.contains("controller.c") {
            faults += "[[fault]]\nat = \"4.5s\"\nfor = \"100ms\"\ndown = \"controller.c\"\n";
        }
        play_with(&faults, "controller.a", "controller.c", &mut services);
        assert_eq!(*lengths.lock().expect(ONE_THREAD), found, "{words}");
    }
}

#[test]
fn a_partition_cuts_off_its_nodes_from_all_others_or_from_some() {
    let [a, b, c] = ["controller.a", "controller.b", "controller.c"];
    let alone = fault("partition = \"controller.a\"");
    let (notes, report) = play(&alone, a, c);
    assert_eq!(fared(&notes), STRUCK);
    assert!(dropped(&report, "Partition") > 0);
    told(&report, "partition controller.a");
    told(&report, "heal controller.a");
    assert_eq!(fared(&play(&alone, b, c).0), UNTOUCHED);
    let two = fault("partition = [\"controller.a\", \"controller.c\"]");
    assert_eq!(fared(&play(&two, a, c).0), UNTOUCHED);
    assert_eq!(fared(&play(&two, b, c).0), STRUCK);
    let some = fault("partition = \"controller.a\"\nagainst = [\"controller.b\", \"pop.tokyo\"]");
    assert_eq!(fared(&play(&some, a, b).0), STRUCK);
    assert_eq!(fared(&play(&some, "pop.tokyo", a).0), STRUCK);
    assert_eq!(fared(&play(&some, a, c).0), UNTOUCHED);
}

/// What is sent into one direction is lost, so a connection from either side fails, for different reasons: the far
/// side hears the question or it does not.
#[test]
fn a_partition_of_one_direction_lets_the_other_pass() {
    for (direction, asks, heard) in [
        ("out", "controller.a", false),
        ("in", "controller.a", true),
        ("out", "controller.c", true),
        ("in", "controller.c", false),
    ] {
        let answers = if asks == "controller.a" {
            "controller.c"
        } else {
            "controller.a"
        };
        let words = format!("partition = \"controller.a\"\ndirection = \"{direction}\"");
        let (notes, report) = play(&fault(&words), asks, answers);
        assert_eq!(fared(&notes), STRUCK, "{direction} {asks}");
        // Who hears a question repeats the answer to it, which is lost as often.
        let (_, both) = play(&fault("partition = \"controller.a\""), asks, answers);
        let more = dropped(&report, "Partition") > dropped(&both, "Partition");
        assert_eq!(more, heard, "{direction} {asks}");
    }
}

#[test]
fn a_grey_partition_takes_some_packets() {
    let grey = fault("partition = \"controller.a\"\nloss = \"30%\"");
    let (notes, report) = play(&grey, "controller.a", "controller.c");
    assert_eq!(fared(&notes), ["all", "some", "all"]);
    assert!(dropped(&report, "Partition") > 0);
}

#[test]
fn whoever_leads_is_struck_when_a_fault_says_so() {
    let leader = Arc::new(Mutex::new("controller.c"));
    let mut services = Services::new();
    let known = Arc::clone(&leader);
    services.set_leader(move || Some((*known.lock().expect(ONE_THREAD)).to_owned()));
    services.on_boot("controller.a", move |host: SimHost| {
        let leader = Arc::clone(&leader);
        let own = host.clone();
        host.spawn(async move {
            own.sleep_until(Instant::ZERO + ms(3_000)).await;
            *leader.lock().expect(ONE_THREAD) = "controller.b";
        });
    });
    let twice = fault("down = \"controller.leader\"")
        + "[[fault]]\nat = \"3.5s\"\nfor = \"1s\"\ndown = \"controller.leader\"\n";
    let (notes, report) = play_with(&twice, "controller.a", "controller.c", &mut services);
    assert_eq!(notes.boots("controller.c"), [ms(0), ms(4_000)]);
    assert_eq!(notes.boots("controller.b"), [ms(0), ms(4_500)]);
    assert_eq!(notes.boots("controller.a"), [ms(0)]);
    assert_eq!(fared(&notes), STRUCK);
    assert_eq!(told(&report, "down controller.leader").refused, None);
}

#[test]
fn a_leader_is_partitioned_and_without_one_nothing_happens() {
    let words = fault("partition = \"controller.leader\"\nagainst = \"controller.a\"");
    let mut services = Services::new();
    services.set_leader(|| Some("controller.c".to_owned()));
    let (notes, _) = play_with(&words, "controller.a", "controller.c", &mut services);
    assert_eq!(fared(&notes), STRUCK);
    let (notes, report) = play(&words, "controller.a", "controller.c");
    assert_eq!(fared(&notes), UNTOUCHED);
    let entry = told(&report, "partition controller.leader from controller.a");
    assert_eq!(entry.refused.as_deref(), Some("no controller leads"));
    let down = fault("down = \"controller.leader\"");
    let (_, report) = play(&down, "controller.a", "controller.c");
    let entry = told(&report, "down controller.leader");
    assert_eq!(entry.refused.as_deref(), Some("no controller leads"));
}

#[test]
fn a_clock_that_drifts_stretches_what_its_machine_measures_and_waits_for() {
    let fast = fault("clock = \"controller.a\"\ndrift = \"100000ppm\"");
    let (notes, _) = play(&fast, "controller.a", "controller.c");
    let asked = notes.asked();
    let took = |from, until| {
        let within = move |(at, _): &&(Duration, _)| (ms(from)..ms(until)).contains(at);
        let answers = asked.iter().filter(within);
        answers
            .map(|(_, took)| took.expect("an answer"))
            .collect::<Vec<_>>()
    };
    let around = |all: Vec<Duration>, low, high| {
        !all.is_empty() && all.iter().all(|took| (ms(low)..ms(high)).contains(took))
    };
    // Two round trips of 52 ms.
    assert!(around(took(0, 1_800), 104, 105));
    assert!(
        around(took(2_000, 4_000), 114, 115),
        "{:?}",
        took(2_000, 4_000)
    );
    assert!(
        around(took(4_300, 5_500), 104, 105),
        "{:?}",
        took(4_300, 5_500)
    );
    // 2 s of the world are 2.2 s of that clock, and it asks by its own.
    let last = asked.last().expect("it asked").0;
    assert!((ms(5_950)..ms(6_150)).contains(&last), "{last:?}");
    let (slow, _) = play(
        &fault("clock = \"controller.a\"\ndrift = \"-100000ppm\""),
        "controller.a",
        "controller.c",
    );
    assert!(slow.asked().len() + 2 <= asked.len());
}

#[test]
fn a_clock_that_jumps_takes_the_timers_of_its_machine_along_and_nobody_elses() {
    let jump = "[[fault]]\nat = \"2.05s\"\nclock = \"controller.a\"\njump = \"5s\"\n";
    let restart = "[[fault]]\nat = \"3s\"\nfor = \"1s\"\ndown = \"controller.c\"\n";
    let (notes, _) = play(&(jump.to_owned() + restart), "controller.a", "controller.c");
    let mut times: Vec<Duration> = notes.asked().iter().map(|(at, _)| *at).collect();
    times.sort();
    assert!(times.contains(&ms(2_000)));
    assert!(
        !times.iter().any(|at| (ms(2_001)..ms(7_050)).contains(at)),
        "{times:?}"
    );
    // What was due in the 5 s is asked at once.
    let at_once = times.iter().filter(|at| **at == ms(7_050)).count();
    assert_eq!(at_once, 50, "{times:?}");
    assert_eq!(notes.boots("controller.c"), [ms(0), ms(4_000)]);
}

#[test]
fn a_hanging_controller_accepts_and_answers_when_it_goes_on() {
    let hang = fault("hang = \"controller.c\"");
    let (notes, _) = play(&hang, "controller.a", "controller.c");
    assert_eq!(fared(&notes), STRUCK);
    assert_eq!(notes.boots("controller.c"), [ms(0)]);
}

/// What a machine's writer met: when it began to append a byte, how long the sync took, how it ended.
type Written = (Duration, Duration, Result<(), io::ErrorKind>);

/// Appends a byte ten times a second, and syncs it.
fn written_under(words: &str) -> Vec<Written> {
    let written = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&written);
    let mut services = Services::new();
    services.on_boot("controller.c", move |host: SimHost| {
        let noted = Arc::clone(&noted);
        let own = host.clone();
        host.spawn(async move {
            let file = Arc::new(own.open_file("log").expect("the disk is sound"));
            loop {
                let at = own.now();
                let file = Arc::clone(&file);
                let append = move || {
                    file.write_at(file.len()?, b"+")?;
                    file.sync()
                };
                let result = own.run_blocking(append).await;
                let result = result.map_err(|error| error.kind());
                let entry = (at.since(Instant::ZERO), own.now().since(at), result);
                noted.lock().expect(ONE_THREAD).push(entry);
                own.sleep_until(at + ms(100)).await;
            }
        });
    });
    play_with(&fault(words), "controller.a", "controller.c", &mut services);
    let written = written.lock().expect(ONE_THREAD);
    written.clone()
}

/// Those that began in the time of the fault, and the others.
fn split(written: &[Written]) -> (Vec<Written>, Vec<Written>) {
    let during = |(at, _, _): &Written| (ms(2_000)..ms(4_000)).contains(at);
    written.iter().partition(|entry| during(entry))
}

#[test]
fn a_slow_disk_makes_its_machine_wait_for_every_sync() {
    let (during, else_) = split(&written_under("disk = \"controller.c\"\nsync = \"60ms\""));
    assert!(during.len() >= 15 && else_.len() >= 30);
    assert!(
        during
            .iter()
            .all(|(_, took, end)| *took >= ms(60) && end.is_ok())
    );
    assert!(
        else_
            .iter()
            .all(|(_, took, end)| *took < ms(1) && end.is_ok())
    );
    let (during, _) = split(&written_under("disk = \"controller.c\"\nrate = \"100B/s\""));
    assert!(during.iter().all(|(_, took, _)| *took >= ms(10)));
}

#[test]
fn a_full_disk_refuses_to_grow_until_there_is_room() {
    let (during, else_) = split(&written_under("disk = \"controller.c\"\nfull = true"));
    let full = Err(io::ErrorKind::StorageFull);
    assert!(during.len() >= 15 && during.iter().all(|(_, _, end)| *end == full));
    assert!(else_.len() >= 30 && else_.iter().all(|(_, _, end)| end.is_ok()));
}
