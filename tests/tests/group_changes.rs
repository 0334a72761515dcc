//! What becomes of a group over time, as its operators see it: members come and go, a group goes on where it was, watchers
//! stop reading, large tables are saved and restored. The real binary, real processes, loopback.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyedge_tests::binary::{Profile, root};
use anyedge_tests::large_table::large_table;
use anyedge_tests::processes::{Controllers, Dev, wait_for};
use anyedge_tests::two_machines::Scratch;
use serde_json::{Value, json};

const TOPOLOGY: &str = "topologies/two-pops.toml";
const TARGET: &str = "gz-main/web/10.0.0.12:8080";

/// Members and what they are, as the group tells.
fn members(group: &Controllers) -> Vec<(u64, String)> {
    let listed = group.json(&["members"]);
    let listed = listed["members"].as_array().expect("a list").clone();
    let member = |member: &Value| {
        let id = member["id"].as_u64().expect("a number");
        (id, member["role"].as_str().expect("a word").to_owned())
    };
    listed.iter().map(member).collect()
}

#[test]
fn a_machine_that_lost_its_disk_joins_under_another_number_and_may_lead() {
    let mut group = Controllers::new(&[1, 2, 3], Profile::Debug);
    for id in [1, 2, 3] {
        group.start(id, Stdio::null());
    }
    group.says(&["apply", TOPOLOGY]);
    group.says(&["target", "set", TARGET, "--weight", "33"]);
    group.kill(3);
    fs::remove_dir_all(group.data(3)).expect("it is there");
    group.says(&["members", "remove", "3"]);
    let address = group.add(4);
    group.says(&["members", "add", &format!("4={address}")]);
    let stderr = group.start(4, Stdio::piped()).expect("it is piped");
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    let told = lines.find(|line| line.contains("members "));
    assert!(
        told.is_some_and(|line| line.contains("controller.4")),
        "who is told of"
    );
    let ids: Vec<u64> = members(&group).iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [1, 2, 4]);
    wait_for("the handing over", || {
        group.ctl(&["leader", "transfer", "4"]).status.code() == Some(0)
    });
    assert!(members(&group).contains(&(4, "leader".to_owned())));
    // One of the first two alone would be no majority; with the new one it is.
    group.kill(1);
    group.says(&["target", "set", TARGET, "--weight", "44"]);
    let found = group.json(&["get", "target", TARGET]);
    assert_eq!(found["object"]["weight"], json!(44));
    let output = group.ctl(&["members", "add", "5"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("ID=ADDRESS:PORT"), "{said}");
}

#[test]
fn a_group_with_a_folder_of_its_own_goes_on_where_it_was() {
    let folder = Scratch::new();
    let data = folder.path().display().to_string();
    let mut dev = Dev::start(TOPOLOGY, &["--data", &data]);
    dev.says(&["drain", "pop.tokyo"]);
    dev.says(&["target", "set", TARGET, "--weight", "33"]);
    let before = dev.json(&["get"])["revision"].as_u64();
    assert_eq!(dev.interrupt(), Some(0));
    assert!(!dev.path().join(".anyedge").exists(), "it is removed");
    drop(dev);
    let dev = Dev::start(TOPOLOGY, &["--data", &data]);
    let after = dev.json(&["get"])["revision"].as_u64();
    assert!(after > before, "{after:?} goes on from {before:?}");
    let pop = dev.json(&["get", "pop", "pop.tokyo"]);
    assert_eq!(pop["object"]["draining"], json!(true), "it was kept");
    let target = dev.json(&["get", "target", TARGET]);
    assert_eq!(target["object"]["weight"], json!(20), "the file says so");
}

/// The revisions that `ctl watch --json` tells, to its end.
fn revisions(mut child: Child) -> Vec<u64> {
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let told = lines.map(|line| {
        let told = serde_json::from_str::<Value>(&line.expect("it is text"));
        let revision = told.expect("it is JSON")["revision"].as_u64();
        revision.expect("a number")
    });
    let told = told.collect();
    assert!(child.wait().expect("it is ours").success());
    told
}

#[test]
fn a_watcher_that_does_not_read_slows_nobody_and_misses_nothing_when_it_does() {
    const WRITES: usize = 20;
    let dev = Dev::start(TOPOLOGY, &[]);
    let from = dev.json(&["get"])["revision"].as_u64().expect("a number") + 1;
    let [from, count] = [from.to_string(), WRITES.to_string()];
    let watch = ["watch", "--json", "--from", &from, "--count", &count];
    // What it is told does not fit into its pipe and the windows on the way.
    let idle = dev.begin(&watch);
    let keen = dev.begin(&watch);
    let keen = thread::spawn(move || revisions(keen));
    let file = root().join(TOPOLOGY);
    let text = fs::read_to_string(&file).expect("the shipped file");
    let mut slowest = Duration::ZERO;
    for round in 0..WRITES {
        let started = Instant::now();
        // A load balancer with 200 targets comes: 40 KB of JSON.
        let servers: Vec<String> = (1..=10)
            .map(|host| format!("{{ ip = \"10.7.0.{host}\" }}"))
            .collect();
        let listener = |port| {
            format!(
                "listener.l-{port} = {{ port = \"tcp/{port}\", scheduler = \"wrr\", targets = \"more\" }}\n"
            )
        };
        let listeners: String = (1_001..=1_020).map(listener).collect();
        let more = format!(
            "{text}\n[targets.more]\nport = 80\nservers = [{}]\n\
             [clb.more-{round}]\nregion = \"guangzhou\"\n{listeners}",
            servers.join(", ")
        );
        let name = format!("more-{round}.toml");
        fs::write(dev.path().join(&name), more).expect("it can be written");
        dev.says(&["apply", &name]);
        slowest = slowest.max(started.elapsed());
    }
    let told = keen.join().expect("it reads to the end");
    assert_eq!(told.len(), WRITES);
    assert!(told.is_sorted(), "{told:?}");
    assert_eq!(revisions(idle), told, "each revision once, in order");
    // A command is a process of its own, on a machine that does other things too.
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
}

#[test]
fn a_table_of_100_000_targets_is_saved_and_restored() {
    let dev = Dev::start(TOPOLOGY, &[]);
    let large = large_table(None);
    fs::write(dev.path().join("large"), large.backup()).expect("it can be written");
    let targets = |dev: &Dev| {
        let counts = dev.json(&["get"]);
        counts["objects"]["target"].as_u64()
    };
    dev.says(&["--timeout", "60s", "restore", "large"]);
    assert_eq!(targets(&dev), Some(100_000));
    dev.says(&["--timeout", "60s", "backup", "again"]);
    let again = fs::read(dev.path().join("again")).expect("it was written");
    let again = anyedge_ccn::table::Table::restore(&again).expect("what was written");
    assert!(again.restorable() == large.restorable(), "all objects");
    dev.says(&[
        "target",
        "set",
        "clb-3/l-7/11.0.61.84:8080",
        "--weight",
        "77",
    ]);
    dev.says(&["--timeout", "60s", "restore", "again"]);
    assert_eq!(targets(&dev), Some(100_000));
}
