//! Labs as a user runs them, with the real command: controllers that nodes follow, orders that change who answers curl,
//! and an end without a trace, whatever was killed.
//!
//! Needs root, curl and /dev/net/tun; skipped loudly without.

#[path = "lab/client_address.rs"]
mod client_address;
#[path = "lab/clients.rs"]
mod clients;
#[path = "lab/guarded.rs"]
mod guarded;
#[path = "lab/moved.rs"]
mod moved;
#[path = "lab/nat64.rs"]
mod nat64;
#[path = "lab/routed.rs"]
mod routed;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyedge_live::lab::fault::scenario::Scenario;
use anyedge_live::lab::orders::LinkTold;
use anyedge_tests::binary::{Profile, run};
use anyedge_tests::labs::{Lab, TWO_POPS, text};
use anyedge_tests::processes::{signal, wait_for};
use anyedge_topologies::Topology;
use nix::sys::signal::Signal;

const DOWN_MAX: Duration = Duration::from_secs(10);

#[test]
fn an_order_to_the_controllers_of_a_lab_changes_who_answers_curl() {
    let Some(lab) = Lab::up("nctl", &[]) else {
        return;
    };
    assert!(lab.status().is_healthy(), "{:?}", lab.status());
    assert_eq!(lab.status().controllers.len(), 3);
    lab.set_weight("10.0.0.12", "0");
    lab.wait_for_answers_of("backend.web-1");
    lab.set_weight("10.0.0.12", "10");
    lab.set_weight("10.0.0.11", "0");
    lab.wait_for_answers_of("backend.web-2");
    // The same from inside, by what the lab tells a command of its controllers.
    let own = anyedge_tests::binary::path(Profile::Debug);
    let own = own.to_string_lossy();
    let inside = lab.exec("controller.a", &[&own, "ctl", "targets", "--json"]);
    assert!(
        text(&inside.stdout).contains("10.0.0.12"),
        "{}",
        text(&inside.stderr)
    );

    // Without controllers the last table stays, and with them gone for good a lab still goes.
    lab.kill_those(|name| name.starts_with("controller."));
    for _ in 0..3 {
        assert_eq!(lab.who_answers().as_deref(), Some("backend.web-2"));
    }
    lab.kill_those(|_| true);
    let started = Instant::now();
    assert_eq!(lab.down().status.code(), Some(0));
    assert!(
        started.elapsed() < DOWN_MAX,
        "it took {:?}",
        started.elapsed()
    );
    assert!(!lab.has_traces());
}

#[test]
fn a_node_that_crashes_comes_back_when_the_fault_is_over() {
    let Some(lab) = Lab::up("nfault", &[]) else {
        return;
    };
    let number = || {
        let status = lab.status();
        let mut all = status.nodes.into_iter().flat_map(|node| node.processes);
        all.find(|process| process.name == "pop.tokyo")
            .expect("a node of the file")
    };
    let before = number().pid;
    let lab_name = ["--name", lab.name()];
    let crash = [
        &["lab", "fault"],
        &lab_name[..],
        &["crash", "pop.tokyo", "--for", "10ms"],
    ]
    .concat();
    let struck = run(Profile::Debug, &crash);
    assert_eq!(struck.status.code(), Some(0), "{}", text(&struck.stderr));
    assert_ne!(number().pid, before);
    wait_for("its answer", || number().answering == Some(true));
    wait_for("service", || lab.who_answers().is_some());

    let file = anyedge_tests::two_machines::Scratch::new();
    let out = format!("{}.pcapng", file.path().display());
    let capture = [
        &["lab", "capture"],
        &lab_name[..],
        &[
            "pop.tokyo:ccn0",
            "--packets",
            "5",
            "--for",
            "20s",
            "--out",
            &out,
        ],
    ]
    .concat();
    let captured = run(Profile::Debug, &capture);
    assert_eq!(
        captured.status.code(),
        Some(0),
        "{}",
        text(&captured.stderr)
    );
    // Probes of paths go by all the time.
    assert!(
        text(&captured.stdout).contains("5 packets"),
        "{}",
        text(&captured.stdout)
    );
    let bytes = std::fs::read(&out).expect("it was written");
    assert_eq!(bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a], "a section of pcapng");
    std::fs::remove_file(out).expect("it is there");
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn nginx_sees_the_addresses_of_clients_of_both_families() {
    if Command::new("nginx").arg("-v").output().is_err() {
        eprintln!("SKIPPED: nginx is not installed");
        return;
    }
    let Some(lab) = Lab::up("nginx", &["--backend", "nginx"]) else {
        return;
    };
    let logs = || {
        let status = lab.status();
        let all = status.nodes.into_iter().flat_map(|node| node.processes);
        let backends = all.filter(|process| process.name.starts_with("backend."));
        let read = |log| std::fs::read_to_string(log).unwrap_or_default();
        backends
            .map(|backend| read(backend.log))
            .collect::<String>()
    };
    for (client, url) in [
        ("client.osaka", "http://203.0.113.10/"),
        ("client.berlin", "http://[2001:db8:113::10]/"),
    ] {
        let mut answer = String::new();
        wait_for("an answer of nginx", || {
            let curl = lab.exec(client, &["curl", "-si", "--max-time", "3", url]);
            answer = text(&curl.stdout);
            answer.contains("server backend.web-")
        });
        assert!(answer.contains("Server: nginx"), "{answer}");
        let line = answer.lines().find_map(|line| line.strip_prefix("client "));
        let (address, _) = line
            .and_then(|line| line.rsplit_once(':'))
            .expect("an address");
        let is_of_the_file = address.starts_with("198.") || address.starts_with("2001:db8:c:");
        assert!(is_of_the_file, "{answer}");
        wait_for("its line in the log", || logs().contains(address));
    }
}

#[test]
fn a_node_of_a_lab_that_is_asked_to_end_does_within_a_second() {
    let Some(lab) = Lab::up("nstop", &[]) else {
        return;
    };
    let status = lab.status();
    let mut processes = status.nodes.iter().flat_map(|node| &node.processes);
    let tokyo = processes.find(|process| process.name == "pop.tokyo");
    let tokyo = tokyo.expect("a node of the file").pid;
    let is_gone = || !Path::new(&format!("/proc/{tokyo}/exe")).exists();
    let started = Instant::now();
    signal(tokyo, Signal::SIGTERM);
    wait_for("its end", is_gone);
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

/// How long Osaka's SYN and its answer take, in ms; `None`: nobody served it.
fn connects_in(lab: &Lab) -> Option<u64> {
    let told = [
        "-s",
        "--max-time",
        "3",
        "-o",
        "/dev/null",
        "-w",
        "%{time_connect}",
    ];
    let curl = [&["curl"], &told[..], &["http://203.0.113.10/"]].concat();
    let served = lab.exec("client.osaka", &curl);
    let seconds: f64 = text(&served.stdout).trim().parse().ok()?;
    (served.status.code() == Some(0)).then_some((seconds * 1e3) as u64)
}

#[test]
fn a_link_of_a_lab_goes_down_and_gets_worse_as_it_is_told_and_is_then_as_in_the_file() {
    let Some(lab) = Lab::up("slinks", &["--links", "file"]) else {
        return;
    };
    let links = || {
        let listed = run(
            Profile::Debug,
            &["lab", "links", "--name", lab.name(), "--json"],
        );
        assert_eq!(listed.status.code(), Some(0), "{}", text(&listed.stderr));
        let links: Vec<LinkTold> = serde_json::from_slice(&listed.stdout).expect("it is JSON");
        links
    };
    let link = |name: &str| {
        let found = links().into_iter().find(|link| link.name == name);
        found.unwrap_or_else(|| panic!("{:?}", links()))
    };
    wait_for("service", || connects_in(&lab).is_some());
    let sound = connects_in(&lab).expect("it is served");
    lab.fault(&["link", "client.osaka--pop.tokyo", "latency", "150ms"]);
    assert!(link("client.osaka>pop.tokyo").worse && link("pop.tokyo>client.osaka").worse);
    let slow = connects_in(&lab).expect("it is served");
    assert!(slow >= sound.max(20) + 250, "{sound} ms, then {slow} ms");

    // One direction of the backbone: the node at its other end hears, and is not heard.
    lab.fault(&[
        "link",
        "tokyo-guangzhou",
        "loss",
        "100%",
        "--from",
        "pop.tokyo",
    ]);
    let lost = || {
        link("pop.tokyo>region.guangzhou")
            .dropped
            .get("LinkLoss")
            .copied()
    };
    wait_for("losses", || lost() > Some(3));
    assert!(!link("region.guangzhou>pop.tokyo").worse);
    lab.fault(&["clear"]);
    assert!(links().iter().all(|link| link.up && !link.worse));

    lab.fault(&["link", "link.tokyo-guangzhou", "down", "--for", "300ms"]);
    let cut = link("pop.tokyo>region.guangzhou");
    assert!(cut.up && cut.dropped["LinkDown"] > 0, "{cut:?}");
    wait_for("service", || connects_in(&lab).is_some());

    for (words, reason) in [
        (
            &["tokyo-canton", "down"][..],
            "there is no link `tokyo-canton`; known: ",
        ),
        (&["tokyo-guangzhou", "loss"], "`loss` has no value"),
        (
            &["client.osaka--pop.paris", "down"],
            "no wire of the lab is the link",
        ),
    ] {
        let own = ["lab", "fault", "--name", lab.name(), "link"];
        let refused = run(Profile::Debug, &[&own, words].concat());
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn a_wire_as_the_kernel_has_it_can_go_down_and_come_back_and_no_more() {
    let Some(lab) = Lab::up("sbare", &[]) else {
        return;
    };
    wait_for("service", || connects_in(&lab).is_some());
    let own = ["lab", "fault", "--name", lab.name(), "link"];
    let refused = run(
        Profile::Debug,
        &[&own, &["tokyo-guangzhou", "loss", "5%"][..]].concat(),
    );
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused.stderr).contains("--links file"),
        "{}",
        text(&refused.stderr)
    );
    // Both backends' wires, one after the other, until an order to clear.
    lab.fault(&["link", "host.web-1", "down"]);
    lab.fault(&["link", "host.web-2", "down"]);
    wait_for("nobody's answer", || lab.who_answers().is_none());
    lab.fault(&["clear"]);
    wait_for("service", || lab.who_answers().is_some());
    lab.fault(&["link", "tokyo-guangzhou", "down", "--for", "50ms"]);
    wait_for("service", || lab.who_answers().is_some());
}

#[test]
fn the_faults_of_a_file_are_played_in_its_lab_and_leave_it_whole() {
    let Some(lab) = Lab::up("splay", &["--links", "file"]) else {
        return;
    };
    wait_for("service", || lab.who_answers().is_some());
    let faults = [
        r#"{ at = "0.2s", for = "1s", down = "host.web-1" }"#,
        r#"{ at = "0.3s", for = "1s", degrade = "link.tokyo-guangzhou", loss = "5%", delay = "5ms" }"#,
        r#"{ at = "0.4s", for = "1s", weight = "host.web-2", to = 3 }"#,
        r#"{ at = "0.5s", for = "1s", down = "link.frankfurt-guangzhou" }"#,
        r#"{ at = "0.6s", for = "1s", stale = "pop.tokyo" }"#,
        r#"{ at = "1.9s", for = "500ms", hang = "host.web-2" }"#,
        r#"{ at = "2s", for = "1s", down = "controller.leader" }"#,
    ];
    let overrides = [format!("fault=[{}]", faults.join(",")), "slo=[]".to_owned()];
    let file = anyedge_tests::binary::root().join(TWO_POPS);
    let topology = Topology::load_with(&file, &overrides).expect("faults of the format");
    let name = lab.name().parse().expect("a lab's name");
    let pid_of = |wanted: &str| {
        let nodes = lab.status().nodes.into_iter();
        let mut all = nodes.flat_map(|node| node.processes);
        all.find(|own| own.name == wanted).map(|own| own.pid)
    };
    let struck = ["host.web-1", "backend.web-1"];
    let before = struck.map(pid_of);
    let mut scenario = Scenario::new(&name, &topology);
    let played = scenario.play(Instant::now(), Duration::from_secs(60));
    let played = played.expect("a lab plays all of these");
    let said: Vec<&str> = played.iter().map(|one| one.what.as_str()).collect();
    assert_eq!(said.len(), 2 * faults.len(), "{said:?}");
    assert_eq!(said[0], "down host.web-1");
    assert!(played.iter().all(|one| one.done >= one.due), "{played:?}");
    assert!(
        struck
            .map(pid_of)
            .iter()
            .zip(before)
            .all(|(now, then)| *now != then)
    );
    lab.await_health();
    wait_for("service", || lab.who_answers().is_some());
    let links = anyedge_live::lab::fault::links::list(&name).expect("they have the file's");
    assert!(links.iter().all(|link| link.up && !link.worse), "{links:?}");

    let wipe = r#"fault=[{ at = "1s", down = "controller.a", wipe = true }]"#;
    let wipe = [wipe.to_owned(), "slo=[]".to_owned()];
    let topology = Topology::load_with(&file, &wipe).expect("a fault of the format");
    let refused = Scenario::new(&name, &topology)
        .check()
        .expect_err("no disk is emptied");
    assert!(refused.to_string().contains("disks of a lab"), "{refused}");
}
