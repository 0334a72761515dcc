//! Bundles: each machine of two-pops starts from its own folder alone, and together they serve; and what is written for
//! other tools can be read by them.
//!
//! Starting them needs root, curl and /dev/net/tun; that test is skipped loudly without.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyedge_live::lab::blueprint::Blueprint;
use anyedge_live::lab::{self, plan};
use anyedge_live::netns::{self, Namespace};
use anyedge_tests::binary::{Profile, path, root, run};
use anyedge_tests::two_machines::Scratch;
use anyedge_topologies::Topology;

const TWO_POPS: &str = "topologies/two-pops.toml";
const SERVED_MAX: Duration = Duration::from_secs(30);

/// The bundle of two-pops.
fn bundle(folder: &Scratch) -> PathBuf {
    let out = folder.path().join("bundle");
    let text = out.to_string_lossy();
    let written = run(Profile::Debug, &["bundle", TWO_POPS, "--out", &text]);
    let error = String::from_utf8_lossy(&written.stderr).into_owned();
    assert_eq!(written.status.code(), Some(0), "{error}");
    out
}

#[test]
fn a_bundle_has_a_folder_for_each_machine_and_no_authority() {
    let folder = Scratch::new();
    fs::create_dir_all(folder.path()).expect("a folder");
    let out = bundle(&folder);
    let listed = fs::read_dir(out.join("hosts")).expect("it is there");
    let mut hosts: Vec<String> = listed
        .map(|entry| entry.expect("it is there").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    hosts.sort();
    let expected = [
        "controller.a",
        "controller.b",
        "controller.c",
        "host.web-1",
        "host.web-2",
        "pop.frankfurt",
        "pop.tokyo",
        "region.guangzhou.clb-1",
    ];
    assert_eq!(hosts, expected);
    let mut certificates = BTreeMap::new();
    for host in &hosts {
        let own = out.join("hosts").join(host);
        let mode = |path: &Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
        };
        assert_eq!(mode(&own) & 0o077, 0, "{host}");
        assert_eq!(mode(&own.join("founding.table")) & 0o077, 0, "{host}");
        let unit = fs::read_to_string(own.join("anyedge.service")).expect("a unit");
        assert!(unit.contains("NoNewPrivileges=yes"), "{unit}");
        if let Ok(identity) = fs::read_to_string(own.join("identity.json")) {
            assert_eq!(mode(&own.join("identity.json")) & 0o077, 0, "{host}");
            let others = certificates.insert(identity, host);
            assert!(others.is_none(), "{host} has a certificate of its own");
        }
    }
    assert_eq!(certificates.len(), 5);
    let operator = fs::read_dir(out.join("operator")).expect("it is there");
    let mut operator: Vec<_> = operator
        .map(|entry| entry.expect("it is there").file_name())
        .collect();
    operator.sort();
    assert_eq!(operator, ["ca.pem", "client.key", "client.pem", "servers"]);
    let text = out.to_string_lossy();
    let again = run(Profile::Debug, &["bundle", TWO_POPS, "--out", &text]);
    assert_eq!(again.status.code(), Some(2), "it is there already");
}

#[test]
fn what_is_written_for_containerlab_is_yaml_of_its_shape() {
    let written = run(Profile::Debug, &["export", "containerlab", TWO_POPS]);
    assert_eq!(written.status.code(), Some(0));
    let text = String::from_utf8(written.stdout).expect("it is text");
    assert!(text.contains("\ntopology:\n"), "{text}");
    let nodes = text
        .lines()
        .filter(|line| line.starts_with("    ") && line.ends_with(':'));
    let nodes: Vec<&str> = nodes.filter(|line| !line.starts_with("     ")).collect();
    assert_eq!(nodes.len(), 12, "{nodes:?}");
    for endpoint in text.lines().filter(|line| line.contains("endpoints")) {
        assert!(
            endpoint.trim_start().starts_with("endpoints:"),
            "{endpoint}"
        );
    }
    let folder = Scratch::new();
    fs::create_dir_all(folder.path()).expect("a folder");
    let file = folder.path().join("two-pops.clab.yml");
    fs::write(&file, &text).expect("it is ours");
    // The reader that most machines have; where it is not there the shape above has to do.
    let script = "import sys, yaml\nlab = yaml.safe_load(open(sys.argv[1]))\n\
        nodes = lab['topology']['nodes']\n\
        for node in nodes.values(): assert node['kind'] == 'linux' and all(isinstance(line, str) for line in node['exec'])\n\
        for link in lab['topology']['links']:\n    assert len(link['endpoints']) == 2\n    \
        assert all(end.split(':')[0] in nodes for end in link['endpoints'])\n\
        assert len(lab['topology']['links']) == 17 and lab['name'] == 'two-pops'\n";
    let has_yaml = Command::new("python3").args(["-c", "import yaml"]).output();
    if has_yaml.is_ok_and(|output| output.status.success()) {
        let read = Command::new("python3")
            .args(["-c", script])
            .arg(&file)
            .output();
        let read = read.expect("it was there just now");
        assert!(
            read.status.success(),
            "{}",
            String::from_utf8_lossy(&read.stderr)
        );
    }
}

/// Processes that end with this.
struct Ended(Vec<Child>, Option<String>);

impl Drop for Ended {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(lab) = &self.1 {
            let _ = lab::down(lab);
        }
    }
}

/// The command line of a machine, as its unit has it, with its state in its own folder.
fn command_of(folder: &Path) -> Vec<String> {
    let unit = fs::read_to_string(folder.join("anyedge.service")).expect("a unit");
    let mut lines = unit.lines();
    let line = lines.find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/anyedge "));
    let state = folder.join("state");
    let words = line.expect("it starts something").split(' ');
    let words = words.map(|word| word.replace("${STATE_DIRECTORY}", &state.to_string_lossy()));
    words.collect()
}

/// The namespaces and wires of two-pops without its processes.
fn bare(lab: &str) -> Blueprint {
    let file = root().join(TWO_POPS);
    let topology = Topology::load(&file).expect("it is shipped");
    let mut blueprint =
        plan::plan(&topology, &file, &lab.parse().expect("a lab's name")).expect("it can be a lab");
    blueprint.processes.clear();
    blueprint.identities.clear();
    blueprint.group = None;
    blueprint
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn each_machine_starts_from_its_own_folder_alone() {
    let has_curl = Command::new("curl").arg("--version").output().is_ok();
    if !nix::unistd::geteuid().is_root() || !Path::new("/dev/net/tun").exists() || !has_curl {
        eprintln!("SKIPPED: it needs root, network namespaces, /dev/net/tun and curl");
        return;
    }
    let folder = Scratch::new();
    fs::create_dir_all(folder.path()).expect("a folder");
    let out = bundle(&folder);
    let hosts: Vec<PathBuf> = fs::read_dir(out.join("hosts"))
        .expect("it is there")
        .map(|entry| entry.expect("it is there").path())
        .collect();
    let name = format!("nbundle-{}", std::process::id());
    let mut ended = Ended(Vec::new(), Some(name.clone()));
    lab::up_blueprint(&bare(&name)).expect("namespaces and wires");
    let lab_name: lab::name::LabName = name.parse().expect("a lab's name");
    let namespace = |node: &str| Namespace::open(&lab_name.namespace_of(node)).expect("it is up");
    let own = path(Profile::Debug);
    let mut start = |node: &str, folder: &Path, words: Vec<String>| {
        let log = fs::File::create(folder.join(format!("{node}.log"))).expect("a log");
        let child = namespace(node).run(|| {
            let mut command = Command::new(own);
            command.args(&words).current_dir(folder).env_clear();
            Ok(command.stdin(Stdio::null()).stderr(log).spawn()?)
        });
        ended.0.push(child.expect("it can be started"));
    };
    // Each elsewhere, and then nothing but these.
    for host in hosts {
        let node = host
            .file_name()
            .expect("it has a name")
            .to_string_lossy()
            .into_owned();
        let elsewhere = folder.path().join("machines").join(&node);
        fs::create_dir_all(folder.path().join("machines")).expect("a folder");
        fs::rename(&host, &elsewhere).expect("it is ours");
        start(&node, &elsewhere, command_of(&elsewhere));
        if let Some(web) = node.strip_prefix("host.") {
            let words = format!("node --topology topology.toml --name backend.{web}");
            start(
                &node,
                &elsewhere,
                words.split(' ').map(str::to_owned).collect(),
            );
        }
    }
    fs::remove_dir_all(&out).expect("it is ours");
    let client = namespace("client.osaka");
    let since = Instant::now();
    loop {
        let answer = client.run(|| {
            let curl = ["-s", "--max-time", "2", "http://203.0.113.10/"];
            Ok(Command::new("curl").args(curl).output()?)
        });
        let answer = answer.expect("curl runs").stdout;
        if String::from_utf8_lossy(&answer).contains("server backend.web-") {
            break;
        }
        assert!(since.elapsed() < SERVED_MAX, "nobody is served");
    }
    drop(ended);
    let left = netns::list().expect("the folder of namespaces");
    assert!(
        left.iter().all(|own| lab_name.node_of(own).is_none()),
        "{left:?}"
    );
}
