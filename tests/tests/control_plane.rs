//! The control plane as a user meets it: one command starts a group, another changes what it serves.
//!
//! The real binary, real processes, loopback; every group ends with its test.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use anyedge_tests::binary::{Profile, root, run};
use anyedge_tests::processes::{Controllers, Dev, signal, wait_for};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const TOPOLOGY: &str = "topologies/two-pops.toml";
const TARGET: &str = "gz-main/web/10.0.0.12:8080";

fn weight_of(dev: &Dev, name: &str) -> Value {
    let object = dev.json(&["get", "target", name]);
    object["object"]["weight"].clone()
}

#[test]
fn one_command_starts_a_group_and_ctrl_c_leaves_nothing_behind() {
    let mut dev = Dev::start(TOPOLOGY, &[]);
    let members = dev.members();
    assert_eq!(members.keys().copied().collect::<Vec<_>>(), [1, 2, 3]);
    let listed = dev.json(&["members"]);
    let listed = listed["members"].as_array().expect("a list").clone();
    assert_eq!(listed.len(), 3);
    for member in &listed {
        let fields: Vec<&String> = member.as_object().expect("an object").keys().collect();
        assert_eq!(fields, ["id", "address", "role"]);
    }
    let examined = dev.run(&["doctor", "--json"]);
    let findings: Value = serde_json::from_slice(&examined.stdout).expect("JSON");
    let findings = findings.as_array().expect("a list");
    let skews = findings.iter().filter(|finding| finding["check"] == "skew");
    let skews: Vec<&Value> = skews.map(|finding| &finding["gravity"]).collect();
    assert_eq!(skews, ["well"; 3], "one clock, asked three times");
    let leaders = listed.iter().filter(|member| member["role"] == "leader");
    assert_eq!(leaders.count(), 1);
    let file = root().join(TOPOLOGY).display().to_string();
    let second = dev.run(&["dev", &file]);
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains("in this folder already"), "{said}");
    assert_eq!(dev.interrupt(), Some(0));
    assert!(!dev.path().join(".anyedge").exists(), "it is removed");
    wait_for("end of its controllers", || {
        let lives = |process: &u32| fs::exists(format!("/proc/{process}")).unwrap_or(true);
        !members.values().any(lives)
    });
    let (code, said) = dev.refused(&["targets"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("anyedge dev FILE"), "{said}");
}

#[test]
fn a_user_changes_weights_and_the_file_brings_them_back() {
    let dev = Dev::start(TOPOLOGY, &[]);
    let targets = dev.json(&["targets"]);
    let targets = targets["targets"].as_array().expect("a list").clone();
    assert_eq!(
        targets.len(),
        8,
        "two servers of two addresses, for two listeners"
    );
    for target in &targets {
        let fields: Vec<&String> = target.as_object().expect("an object").keys().collect();
        assert_eq!(
            fields,
            [
                "clb", "listener", "network", "ip", "port", "weight", "health"
            ]
        );
    }
    let ours = targets.iter().find(|target| {
        target["listener"] == "web" && target["ip"] == "10.0.0.12" && target["port"] == 8080
    });
    assert_eq!(ours.map(|target| &target["weight"]), Some(&json!(20)));
    let file = root().join(TOPOLOGY).display().to_string();
    let said = dev.says(&["apply", &file]);
    assert!(said.contains("no change"), "{said}");
    let said = dev.says(&["target", "set", TARGET, "--weight", "77"]);
    assert!(said.contains("weight 77"), "{said}");
    assert_eq!(weight_of(&dev, TARGET), json!(77));
    let said = dev.says(&["apply", &file]);
    assert!(
        said.contains(&format!("~ target {TARGET}: weight 77 -> 20")),
        "{said}"
    );
    assert!(said.contains("0 added, 1 changed, 0 removed"), "{said}");
    assert_eq!(weight_of(&dev, TARGET), json!(20));
    dev.says(&["target", "unbind", TARGET]);
    dev.says(&["target", "bind", TARGET, "--weight", "5"]);
    assert_eq!(weight_of(&dev, TARGET), json!(5));
    dev.says(&["drain", "pop.tokyo"]);
    assert_eq!(
        dev.json(&["get", "pop", "pop.tokyo"])["object"]["draining"],
        json!(true)
    );
    dev.says(&["apply", &file]);
    let pop = dev.json(&["get", "pop", "pop.tokyo"]);
    assert_eq!(
        pop["object"]["draining"],
        json!(true),
        "a file has no word for it"
    );
    dev.says(&["drain", "pop.tokyo", "--undo"]);
    dev.says(&["vip", "withdraw", "game"]);
    assert_eq!(
        dev.json(&["get", "vip", "game"])["object"]["withdrawn"],
        json!(true)
    );
    dev.says(&["vip", "publish", "game", "--at", "frankfurt"]);
    let vip = dev.json(&["get", "vip", "game"]);
    assert_eq!(vip["object"]["publish"], json!(["pop.frankfurt"]));
    assert_eq!(vip["object"]["withdrawn"], json!(false));
}

#[test]
fn what_cannot_be_is_refused_with_its_reason_and_what_helps() {
    let dev = Dev::start(TOPOLOGY, &[]);
    let before = dev.json(&["get"])["revision"].clone();
    for (args, expected) in [
        (
            &["target", "set", TARGET, "--weight", "101"][..],
            "InvalidParameterValue.Range: ",
        ),
        (
            &["target", "set", TARGET, "--weight", "-1"],
            "InvalidParameterValue.Range: ",
        ),
        (
            &["target", "set", "gz-main/web/10.9.9.9:80", "--weight", "1"],
            "ResourceNotFound: ",
        ),
        (
            &["target", "set", "gz-main/10.0.0.12:8080", "--weight", "1"],
            "CLB/LISTENER/IP:PORT",
        ),
        (
            &["target", "bind", "gz-main/web/10.9.9.9:80"],
            "--host NAME",
        ),
        (&["drain", "pop.tokio"], "pop.tokio"),
        (&["vip", "withdraw", "gome"], "gome"),
        (&["get", "nodes"], "clb-node, host"),
        (&["get", "clb", "gz-moon"], "does not exist"),
        (&["leader", "transfer", "9"], "hint"),
        (&["restore", "no-such-file"], "no-such-file"),
    ] {
        let (code, said) = dev.refused(args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    let (code, said) = dev.refused(&["--json", "target", "set", TARGET, "--weight", "101"]);
    let said: Value = serde_json::from_str(&said).expect("it is JSON");
    assert_eq!(
        (code, &said["error"]["reason"]),
        (Some(2), &json!("InvalidParameterValue.Range"))
    );
    assert_eq!(
        dev.json(&["get"])["revision"],
        before,
        "nothing was changed"
    );
    let nobody = ["--server", "127.0.0.1:1", "--timeout", "300ms", "targets"];
    let (code, said) = dev.refused(&nobody);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("is it running?"), "{said}");
}

#[test]
fn a_watcher_is_told_every_change_once_and_in_order() {
    let dev = Dev::start(TOPOLOGY, &[]);
    let from = dev.json(&["get"])["revision"].as_u64().expect("a number") + 1;
    let from = from.to_string();
    let mut watcher = dev.begin(&["watch", "--json", "--from", &from, "--count", "3"]);
    for weight in ["1", "2", "3"] {
        dev.says(&["target", "set", TARGET, "--weight", weight]);
    }
    let lines = BufReader::new(watcher.stdout.take().expect("it is piped")).lines();
    let told: Vec<Value> = lines
        .map(|line| serde_json::from_str(&line.expect("it is text")).expect("it is JSON"))
        .collect();
    assert!(watcher.wait().expect("it is ours").success());
    let weights: Vec<&Value> = told
        .iter()
        .map(|told| &told["changes"][0]["object"]["weight"])
        .collect();
    assert_eq!(weights, [&json!(1), &json!(2), &json!(3)], "{told:?}");
    assert!(told.is_sorted_by_key(|told| told["revision"].as_u64()));
}

#[test]
fn a_group_goes_on_when_the_process_that_leads_is_killed() {
    let dev = Dev::start(TOPOLOGY, &[]);
    let leader = |dev: &Dev| {
        let listed = dev.json(&["members"]);
        let members = listed["members"].as_array().expect("a list").clone();
        let leads = members.iter().find(|member| member["role"] == "leader");
        leads.and_then(|member| member["id"].as_u64())
    };
    let before = leader(&dev).expect("somebody leads");
    let processes = dev.members();
    signal(processes[&before], Signal::SIGKILL);
    dev.says(&["target", "set", TARGET, "--weight", "42"]);
    assert_eq!(weight_of(&dev, TARGET), json!(42));
    wait_for("return of the one that was killed", || {
        let again = dev.members().get(&before).copied();
        again.is_some_and(|process| process != processes[&before])
    });
    let next = leader(&dev).expect("somebody leads");
    let other = [1, 2, 3]
        .into_iter()
        .find(|id| *id != next)
        .expect("there are three");
    wait_for("the handing over", || {
        let (code, _) = dev.refused(&["leader", "transfer", &other.to_string()]);
        code == Some(0)
    });
    assert_eq!(leader(&dev), Some(other));
}

#[test]
fn a_backup_brings_the_table_back() {
    let dev = Dev::start(TOPOLOGY, &[]);
    for (word, file) in [("backup", "table.backup"), ("snapshot", "table.snapshot")] {
        dev.says(&[word, file]);
        dev.says(&["target", "set", TARGET, "--weight", "99"]);
        dev.says(&["target", "unbind", "gz-main/tick/10.0.0.11:8080"]);
        let said = dev.says(&["restore", file]);
        assert!(said.contains("restored"), "{said}");
        assert_eq!(weight_of(&dev, TARGET), json!(20));
        let targets = dev.json(&["targets", "gz-main/tick"]);
        assert_eq!(targets["targets"].as_array().map(Vec::len), Some(4));
    }
    fs::write(dev.path().join("letter"), "dear").expect("it can be written");
    let (code, said) = dev.refused(&["restore", "letter"]);
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn a_member_that_is_not_itself_is_refused_with_what_to_do() {
    let mut group = Controllers::new(&[1, 2, 3], Profile::Debug);
    for id in [1, 2, 3] {
        let stderr = group.start(id, Stdio::piped()).expect("it is piped");
        // It has spoken with the others when it says who leads.
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        if id == 3 {
            let told = lines.find(|line| line.contains("follows") || line.contains("leads"));
            assert!(told.is_some(), "an election is told");
        }
    }
    assert_eq!(group.stop(3), Some(0), "it ends in order");
    fs::remove_dir_all(group.data(3)).expect("it is there");
    let output = group.command(3, &[]).stdin(Stdio::null()).output();
    let output = output.expect("the command can be run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("has heard member 3 before"), "{said}");
    assert!(said.contains("members remove 3"), "{said}");
    assert_eq!(group.stop(2), Some(0));
    fs::remove_dir_all(group.data(3)).expect("it is there");
    fs::rename(group.data(2), group.data(3)).expect("a name is free");
    let mut child = group
        .command(3, &[])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be run");
    let mut said = String::new();
    let stderr = child.stderr.take().expect("it is piped");
    BufReader::new(stderr)
        .read_to_string(&mut said)
        .expect("it is text");
    assert_eq!(child.wait().expect("it is ours").code(), Some(2), "{said}");
    assert!(said.contains("of member 2, not of member 3"), "{said}");
}

#[test]
fn plain_controllers_are_for_loopback_and_members_have_numbers() {
    let peers = "1=192.0.2.1:7000,2=192.0.2.2:7000";
    let base = ["controller", "--data", "/nonexistent/x", "--peers", peers];
    for (args, expected) in [
        (
            &["--id", "1", "--listen", "192.0.2.1:7000", "--plain"][..],
            "for loopback alone",
        ),
        (
            &["--id", "1", "--listen", "192.0.2.1:7000"],
            "--cert, --key and --ca",
        ),
        (
            &["--id", "3", "--listen", "127.0.0.1:0", "--plain"],
            "--peers has no member 3",
        ),
        (
            &["--id", "0", "--listen", "127.0.0.1:0", "--plain"],
            "numbered from 1 on",
        ),
        (
            &["--id", "1", "--listen", "127.0.0.1", "--plain"],
            "--listen",
        ),
    ] {
        let output = run(Profile::Debug, &[&base[..], args].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}
