//! One node as a process in a namespace of its own: what rights it has, what it tells, and how it takes a file that was
//! changed, a file that is wrong, and the wish that it ends.
//!
//! Needs root and /dev/net/tun; skipped loudly without.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyedge_live::control;
use anyedge_live::netlink::Netlink;
use anyedge_live::netns::{self, Namespace};
use anyedge_live::prefix::Prefix;
use anyedge_tests::binary::{Profile, path, root};
use anyedge_tests::processes::{signal, wait_for};
use anyedge_tests::two_machines::Scratch;
use anyedge_topologies::Topology;
use nix::sys::signal::Signal;

const NODE: &str = "pop.tokyo";
/// Bits of CAP_NET_ADMIN and CAP_NET_RAW.
const OF_A_NODE: u64 = 1 << 12 | 1 << 13;
const NET_ADMIN: u64 = 1 << 12;
const METRICS: &str = "127.0.0.1:9464";

/// A POP on its own.
struct Alone {
    folder: Scratch,
    namespace: Namespace,
    child: Child,
}

impl Alone {
    /// Starts it with `args` besides, or `None` where this machine cannot.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn start(args: &[&str]) -> Option<Alone> {
        if !nix::unistd::geteuid().is_root() || !Path::new("/dev/net/tun").exists() {
            eprintln!("SKIPPED: a node needs root, network namespaces and /dev/net/tun");
            return None;
        }
        let folder = Scratch::new();
        fs::create_dir_all(folder.path()).expect("a folder");
        let file = folder.path().join("two-pops.toml");
        fs::copy(root().join("topologies/two-pops.toml"), &file).expect("it is shipped");
        let name = folder.path().file_name().expect("it has a name");
        let namespace = Namespace::create(&name.to_string_lossy()).expect("root may");
        let topology = Topology::load(&file).expect("it is sound");
        let underlay = topology.pops["tokyo"].underlay;
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let started = namespace.run(|| {
            let netlink = Netlink::open()?;
            for address in underlay.iter() {
                netlink.add_address("lo", Prefix::host(address))?;
            }
            netlink.set_up("lo")?;
            for address in underlay.iter() {
                netlink.await_address(Prefix::host(address))?;
            }
            let child = Command::new(path(Profile::Debug))
                .args(["node", "--name", NODE, "--log-format", "json"])
                .args(["--metrics", METRICS])
                .arg("--topology")
                .arg(&file)
                .arg("--ready")
                .arg(folder.path().join("ready"))
                .args(args)
                .stdin(Stdio::null())
                .stderr(log)
                .spawn()?;
            Ok(child)
        });
        let mut alone = Alone {
            child: started.expect("it can be started"),
            folder,
            namespace,
        };
        wait_for("a node", || {
            let ended = alone.child.try_wait().expect("it is ours");
            assert!(ended.is_none(), "{ended:?}: {}", alone.log());
            alone.summary().is_some()
        });
        Some(alone)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("two-pops.toml")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn summary(&self) -> Option<String> {
        let answer = control::ask(&self.folder.path().join("ready"))?;
        Some(answer.summary)
    }

    fn reload(&self) {
        signal(self.child.id(), Signal::SIGHUP);
    }

    /// What it tells a Prometheus server.
    fn metrics(&self) -> String {
        let asked = self.namespace.run(|| {
            use std::io::{Read as _, Write as _};
            let at: SocketAddr = METRICS.parse()?;
            let mut stream = std::net::TcpStream::connect(at)?;
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        });
        asked.expect("it answers")
    }

    /// Asks it to end; its exit code, and how long it took.
    fn end(&mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        signal(self.child.id(), Signal::SIGTERM);
        let ended = self.child.wait().expect("it is ours");
        (ended.code(), started.elapsed())
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = netns::delete(self.namespace.name());
    }
}

/// Name and the named bits of each thread of a process.
fn threads_of(process: u32, field: &str) -> Vec<(String, u64)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let threads = tasks.map(|task| {
        let status = task.expect("a thread").path().join("status");
        let status = fs::read_to_string(status).expect("it runs");
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.expect("a field")
                .trim_start_matches(':')
                .trim()
                .to_owned()
        };
        let bits = u64::from_str_radix(&value(field), 16).expect("a number");
        (value("Name"), bits)
    });
    threads.collect()
}

#[test]
fn a_node_keeps_no_right_but_to_lead_vips_to_its_device() {
    let Some(mut alone) = Alone::start(&[]) else {
        return;
    };
    let process = alone.child.id();
    let threads = threads_of(process, "CapPrm");
    assert!(threads.len() >= 4, "{threads:?}");
    for (name, bits) in threads {
        let may = if name == "tables" { NET_ADMIN } else { 0 };
        assert_eq!(bits & !may, 0, "{name} may {bits:x}");
    }
    for (name, bits) in threads_of(process, "CapBnd") {
        assert_eq!(bits & !OF_A_NODE, 0, "{name} could get {bits:x}");
    }
    for (name, no_more) in threads_of(process, "NoNewPrivs") {
        assert_eq!(no_more, 1, "{name}");
    }
    let socket = fs::metadata(alone.folder.path().join("ready")).expect("it is bound");
    let mode = std::os::unix::fs::PermissionsExt::mode(&socket.permissions());
    assert_eq!(mode & 0o077, 0, "strangers may not call");
    let metrics = alone.metrics();
    for wanted in [
        "anyedge_table_revision 1.0",
        "anyedge_session_up{path=\"tokyo-guangzhou\"",
    ] {
        assert!(metrics.contains(wanted), "{metrics}");
    }
    let (code, took) = alone.end();
    assert_eq!(code, Some(0), "{}", alone.log());
    assert!(took < Duration::from_secs(1), "it took {took:?}");
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_a_sound_one_does() {
    let Some(mut alone) = Alone::start(&[]) else {
        return;
    };
    let sound = fs::read_to_string(alone.file()).expect("it is there");
    fs::write(
        alone.file(),
        sound.replace("publish = [\"tokyo\"", "publish = [\"tokio\""),
    )
    .expect("it is ours");
    alone.reload();
    wait_for("a refusal", || alone.log().contains("ReloadRefused"));
    let place = "two-pops.toml:";
    assert!(
        alone.log().contains(place) && alone.log().contains("tokio"),
        "{}",
        alone.log()
    );
    assert!(alone.summary().expect("it lives").contains("revision 1"));

    let led = |address: &str| {
        let listed = alone.namespace.run(|| {
            let output = Command::new("ip").args(["route", "get", address]).output();
            Ok(output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()))
        });
        // Where there is no such command the revision has to do.
        listed
            .expect("it runs")
            .map_or(true, |route| route.contains("tun0"))
    };
    fs::write(
        alone.file(),
        sound.replace("\"203.0.113.10\"", "\"203.0.113.77\""),
    )
    .expect("it is ours");
    alone.reload();
    wait_for("the other table", || {
        alone
            .summary()
            .is_some_and(|summary| summary.contains("revision 2"))
    });
    assert!(led("203.0.113.77"), "{}", alone.log());
    let (code, _) = alone.end();
    assert_eq!(code, Some(0));
}

#[test]
fn a_table_that_moves_the_nodes_tunnel_address_waits_for_the_machine_and_then_needs_no_restart() {
    let Some(mut alone) = Alone::start(&["--workers", "2"]) else {
        return;
    };
    // Address and port as the kernel has them: 10.77.0.1, port 4754.
    const MOVED: &str = "01004D0A:1292";
    let listens = |at: &str| {
        let told = alone
            .namespace
            .run(|| Ok(fs::read_to_string("/proc/thread-self/net/udp")?));
        told.expect("it can be read").matches(at).count()
    };
    // Four shares of its devices for each worker.
    const SOCKETS: usize = 8;
    assert_eq!(listens(":1292"), SOCKETS);
    let sound = fs::read_to_string(alone.file()).expect("it is there");
    let moved = sound.replace("[pop.tokyo]", "[pop.tokyo]\nunderlay = \"10.77.0.1\"");
    fs::write(alone.file(), moved).expect("it is ours");
    alone.reload();
    wait_for("word that it waits", || alone.log().contains("TableWaits"));
    let summary = || alone.summary().expect("it lives");
    assert!(summary().contains("revision 1"), "{}", summary());
    let address = Prefix::host([10, 77, 0, 1].into());
    let added = (alone.namespace).run(|| Netlink::open()?.add_address("lo", address));
    added.expect("root may");
    wait_for("the other table", || summary().contains("revision 2"));
    // Its v6 tunnel address is not used.
    wait_for("the other address", || {
        (listens(MOVED), listens(":1292")) == (SOCKETS, SOCKETS)
    });
    let (code, _) = alone.end();
    assert_eq!(code, Some(0), "{}", alone.log());
}
