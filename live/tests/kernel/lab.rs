//! Labs on the real ground: they come up, carry packets, run commands, and go without a trace.
//!
//! Needs root; each test is skipped loudly without it. Every test has a lab of its own.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::lone_lab::{LoneLab, can_make_namespaces, program};
use anyedge_live::lab;
use anyedge_live::lab::state;
use anyedge_live::netns;

const LIMIT: Duration = Duration::from_secs(5);

fn command(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// What is left of a lab on this machine.
fn traces_of(name: &str) -> Vec<String> {
    let lab: lab::name::LabName = name.parse().expect("a lab's name");
    let mut traces = netns::list().expect("the folder of namespaces");
    traces.retain(|namespace| lab.node_of(namespace).is_some());
    let folder = state::folder_of(&lab);
    if folder.exists() {
        traces.push(folder.display().to_string());
    }
    traces
}

#[test]
fn a_lab_carries_tcp_of_both_families_through_its_router() {
    if !can_make_namespaces("a_lab_carries_tcp_of_both_families_through_its_router") {
        return;
    }
    let lone = LoneLab::new();
    let status = lab::up_blueprint(&lone.line_of_three()).expect("the lab comes up");
    assert!(status.is_healthy());
    for address in ["198.51.100.2:0", "[2001:db8:2::2]:0"] {
        let wanted: SocketAddr = address.parse().expect("an address");
        let listener = lone
            .namespace("host.s")
            .run(|| Ok(TcpListener::bind(wanted)?))
            .expect("it binds in its namespace");
        let server = listener.local_addr().expect("it is bound");
        let peer = std::thread::scope(|scope| {
            let served = scope.spawn(|| {
                let (mut stream, peer) = listener.accept().expect("the client comes");
                stream.write_all(b"hello").expect("it listens");
                peer
            });
            let said = lone.namespace("client.c").run(|| {
                let mut stream = TcpStream::connect_timeout(&server, LIMIT)?;
                let mut said = String::new();
                stream.read_to_string(&mut said)?;
                Ok(said)
            });
            assert_eq!(said.expect("the server answers"), "hello");
            served.join().expect("the server ends")
        });
        let client = if wanted.is_ipv4() {
            "192.0.2.2"
        } else {
            "2001:db8:1::2"
        };
        assert_eq!(peer.ip().to_string(), client);
    }
}

#[test]
fn a_lab_of_eight_nodes_is_up_and_down_within_five_seconds() {
    if !can_make_namespaces("a_lab_of_eight_nodes_is_up_and_down_within_five_seconds") {
        return;
    }
    let lone = LoneLab::new();
    let mut blueprint = lone.line_of_three();
    for number in 0..5_u8 {
        let node = format!("host.extra{number}");
        let mut namespace = blueprint.namespaces[2].clone();
        namespace.node.clone_from(&node);
        namespace.routes.clear();
        blueprint.namespaces.push(namespace);
        let mut wire = blueprint.wires[1].clone();
        wire.ends[0].interface = format!("x{number}");
        wire.ends[0].addresses = vec![format!("10.9.{number}.1/24").parse().expect("a prefix")];
        wire.ends[1].node.clone_from(&node);
        wire.ends[1].addresses = vec![format!("10.9.{number}.2/24").parse().expect("a prefix")];
        blueprint.wires.push(wire);
        blueprint
            .processes
            .push(program(&node, &node, "/bin/sleep", &["1000"]));
    }
    let started = Instant::now();
    let status = lab::up_blueprint(&blueprint).expect("the lab comes up");
    assert!(started.elapsed() < LIMIT, "up took {:?}", started.elapsed());
    assert_eq!(status.nodes.len(), 8);
    let started = Instant::now();
    let removed = lab::down(&lone.name).expect("it goes down");
    assert!(
        started.elapsed() < LIMIT,
        "down took {:?}",
        started.elapsed()
    );
    assert_eq!(
        (removed.processes, removed.namespaces, removed.folder),
        (5, 8, true)
    );
}

#[test]
fn a_name_is_refused_while_its_lab_is_up() {
    if !can_make_namespaces("a_name_is_refused_while_its_lab_is_up") {
        return;
    }
    let lone = LoneLab::new();
    lab::up_blueprint(&lone.line_of_three()).expect("the lab comes up");
    let refusal = lab::up_blueprint(&lone.line_of_three())
        .expect_err("the name is taken")
        .to_string();
    assert!(
        refusal.contains(&format!("anyedge lab down --name {}", lone.name)),
        "{refusal}"
    );
    assert!(
        lab::status(&lone.name)
            .expect("the first lab is untouched")
            .is_healthy()
    );
}

#[test]
fn a_lab_that_fails_on_the_way_up_leaves_nothing() {
    if !can_make_namespaces("a_lab_that_fails_on_the_way_up_leaves_nothing") {
        return;
    }
    let lone = LoneLab::new();
    let mut blueprint = lone.line_of_three();
    let mut dying = program(
        "host.s",
        "host.s",
        "/bin/sh",
        &["-c", "echo the reason; exit 3"],
    );
    dying.control = Some(state::control_of(&blueprint.lab, "host.s"));
    blueprint.processes = vec![
        program("client.c", "client.c", "/bin/sleep", &["1000"]),
        dying,
    ];
    let failure = format!(
        "{:#}",
        lab::up_blueprint(&blueprint).expect_err("host.s never answers")
    );
    assert!(failure.contains("host.s"), "{failure}");
    assert_eq!(traces_of(&lone.name), Vec::<String>::new());

    blueprint.processes[1].program = Some("/no/such/program".into());
    let failure = format!(
        "{:#}",
        lab::up_blueprint(&blueprint).expect_err("host.s has no program")
    );
    assert!(failure.contains("/no/such/program"), "{failure}");
    assert_eq!(traces_of(&lone.name), Vec::<String>::new());
}

#[test]
fn a_lab_goes_down_without_its_state_file_and_twice() {
    if !can_make_namespaces("a_lab_goes_down_without_its_state_file_and_twice") {
        return;
    }
    let lone = LoneLab::new();
    let mut blueprint = lone.line_of_three();
    // This one does not end when asked.
    let stubborn = ["-c", "trap '' TERM; while :; do sleep 1000; done"];
    blueprint.processes = vec![program("host.s", "host.s", "/bin/sh", &stubborn)];
    let status = lab::up_blueprint(&blueprint).expect("the lab comes up");
    let pid = status.nodes[2].processes[0].pid;
    std::fs::remove_dir_all(state::folder_of(&blueprint.lab)).expect("the folder stands");
    let removed = lab::down(&lone.name).expect("the names are enough");
    assert_eq!(removed.namespaces, 3);
    assert!(removed.processes >= 1);
    assert!(
        lab::process::ProcessId::of(pid).is_none(),
        "the stubborn process was killed"
    );
    assert_eq!(traces_of(&lone.name), Vec::<String>::new());
    assert!(lab::down(&lone.name).expect("again").is_nothing());
}

#[test]
fn a_command_keeps_its_arguments_and_its_exit_code() {
    if !can_make_namespaces("a_command_keeps_its_arguments_and_its_exit_code") {
        return;
    }
    let lone = LoneLab::new();
    lab::up_blueprint(&lone.line_of_three()).expect("the lab comes up");
    let run = |words: &[&str]| {
        lab::exec(&lone.name, "client.c", &command(words)).expect("the command runs")
    };
    assert_eq!(
        run(&[
            "/bin/sh",
            "-c",
            r#"test "$1" = '--a "b" $c' && test $# = 2"#,
            "sh",
            r#"--a "b" $c"#,
            ""
        ]),
        0
    );
    assert_eq!(run(&["/bin/sh", "-c", "exit 7"]), 7);
    assert_eq!(run(&["/bin/sh", "-c", "kill -9 $$"]), 137);
    // Interfaces are those of the namespace, not of the machine.
    assert_eq!(
        run(&[
            "/bin/sh",
            "-c",
            "grep -q up0: /proc/net/dev && ! grep -q c0: /proc/net/dev"
        ]),
        0
    );
    let unknown = lab::exec(&lone.name, "pop.z", &command(&["true"]))
        .expect_err("no such node")
        .to_string();
    assert!(unknown.contains("client.c"), "{unknown}");
}

#[test]
fn status_tells_a_living_process_from_a_dead_one() {
    if !can_make_namespaces("status_tells_a_living_process_from_a_dead_one") {
        return;
    }
    let lone = LoneLab::new();
    let mut blueprint = lone.line_of_three();
    blueprint.processes = vec![program("host.s", "host.s", "/bin/sleep", &["1000"])];
    let up = lab::up_blueprint(&blueprint).expect("the lab comes up");
    let process = &up.nodes[2].processes[0];
    assert!(process.alive && process.uptime.is_some() && process.answering.is_none());
    assert!(Path::new(&process.log).exists());
    let remembered = lab::process::ProcessId::of(process.pid).expect("it runs");
    lab::process::end_all(&[remembered]).expect("it ends");
    let after = lab::status(&lone.name).expect("the lab is still up");
    assert!(!after.nodes[2].processes[0].alive);
    assert!(!after.is_healthy());
}
