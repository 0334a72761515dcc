//! Controllers as processes of this machine, as a user runs them: `anyedge dev`, `anyedge controller`, `anyedge ctl`.
//!
//! Whatever becomes of a test, its processes end: each is killed by its number when its owner goes, and those of a
//! group end with it. Ports are free ones of loopback.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::binary::{Profile, path, root, run};
use crate::two_machines::Scratch;

/// For a group to be there, with a command that was not optimised on a machine that does other things too.
const START_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A group that `anyedge dev` runs in a folder of its own.
pub struct Dev {
    child: Child,
    folder: Scratch,
}

impl Dev {
    /// Starts a group with a shipped topology, and `args` besides.
    ///
    /// # Panics
    /// When it is not there in time.
    pub fn start(topology: &str, args: &[&str]) -> Dev {
        let folder = Scratch::new();
        fs::create_dir_all(folder.path()).expect("a folder");
        let child = Command::new(path(Profile::Debug))
            .arg("dev")
            .arg(root().join(topology))
            .args(args)
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.expect("the command can be run");
        let mut dev = Dev { child, folder };
        let ready = dev.path().join(".anyedge/servers");
        wait_for("a group", || {
            let ended = dev.child.try_wait().expect("it is ours");
            assert!(ended.is_none(), "it ended: {ended:?}");
            ready.exists()
        });
        dev
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `anyedge ctl` in its folder.
    pub fn ctl(&self, args: &[&str]) -> Output {
        self.run(&[&["ctl"], args].concat())
    }

    /// What `anyedge ctl` prints, which must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub fn says(&self, args: &[&str]) -> String {
        text_of(args, self.ctl(args))
    }

    /// The same as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self, args: &[&str]) -> Value {
        json_of(args, |args| self.says(args))
    }

    /// The exit code and what stderr says.
    pub fn refused(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.ctl(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), error)
    }

    /// Starts `anyedge ctl` and lets it run.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn begin(&self, args: &[&str]) -> Child {
        let mut command = Command::new(path(Profile::Debug));
        command.arg("ctl").args(args).current_dir(self.path());
        let command = command.env_remove("ANYEDGE_SERVER").stdout(Stdio::piped());
        command.spawn().expect("the command can be run")
    }

    /// `anyedge` in its folder, to its end.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(path(Profile::Debug));
        command.args(args).current_dir(self.path());
        let output = command.env_remove("ANYEDGE_SERVER").output();
        output.expect("the command can be run")
    }

    /// Processes of the controllers, by their numbers, as /proc has them.
    pub fn members(&self) -> BTreeMap<u64, u32> {
        let mut found = BTreeMap::new();
        for process in children_of(self.child.id()) {
            let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let words: Vec<String> = words
                .split(|byte| *byte == 0)
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect();
            let place = words.iter().position(|word| word == "--id");
            let id = place.and_then(|place| words.get(place + 1)?.parse().ok());
            if let Some(id) = id {
                found.insert(id, process);
            }
        }
        found
    }

    /// Presses Ctrl-C and waits for the end; its exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub fn interrupt(&mut self) -> Option<i32> {
        signal(self.child.id(), Signal::SIGINT);
        let mut code = None;
        wait_for("its end", || {
            let ended = self.child.try_wait().expect("it is ours");
            code = ended.map(|status| status.code());
            ended.is_some()
        });
        code.flatten()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Its controllers end when they lose it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command that must succeed has printed.
fn text_of(args: &[&str], output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {error}");
    String::from_utf8(output.stdout).expect("it is text")
}

/// What a command says with `--json`.
fn json_of(args: &[&str], says: impl Fn(&[&str]) -> String) -> Value {
    let text = says(&[args, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
}

/// Sends a signal to a process.
pub fn signal(process: u32, signal: Signal) {
    // It may be gone already.
    let _ = kill(Pid::from_raw(process.cast_signed()), signal);
}

/// Processes that a process started, by their numbers.
pub fn children_of(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task"));
    let tasks = tasks.into_iter().flatten().flatten();
    let children = tasks.map(|task| {
        let listed = fs::read_to_string(task.path().join("children"));
        listed.unwrap_or_default()
    });
    let children: Vec<String> = children.collect();
    let words = children.iter().flat_map(|list| list.split_whitespace());
    words.filter_map(|word| word.parse().ok()).collect()
}

/// Looks until `is_there`.
///
/// # Panics
/// When that takes longer than a minute.
pub fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_there() {
        assert!(started.elapsed() < START_MAX, "no {what} in {START_MAX:?}");
        thread::sleep(LOOK_EVERY);
    }
}

/// `anyedge controller` without certificates, several of them, to be killed and started again.
pub struct Controllers {
    folder: Scratch,
    addresses: BTreeMap<u64, SocketAddr>,
    founders: usize,
    running: BTreeMap<u64, Child>,
    profile: Profile,
}

impl Controllers {
    /// Founders with these numbers, none of which runs yet.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn new(ids: &[u64], profile: Profile) -> Controllers {
        // All are held at once, so that no two are the same.
        let bound = ids
            .iter()
            .map(|id| (*id, TcpListener::bind(("127.0.0.1", 0))));
        let bound: Vec<(u64, TcpListener)> = bound
            .map(|(id, listener)| (id, listener.expect("loopback has a free port")))
            .collect();
        let addresses = bound
            .iter()
            .map(|(id, listener)| (*id, listener.local_addr().expect("it is bound")));
        Controllers {
            addresses: addresses.collect(),
            founders: ids.len(),
            folder: Scratch::new(),
            running: BTreeMap::new(),
            profile,
        }
    }

    /// Finds a place for a member that comes later, with a number above those of all founders.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn add(&mut self, id: u64) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        self.addresses.insert(id, address);
        address
    }

    /// `anyedge ctl`, of all members.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn ctl(&self, args: &[&str]) -> Output {
        let servers = self.addresses().into_iter();
        let servers: Vec<String> = servers.map(|address| address.to_string()).collect();
        run(
            self.profile,
            &[&["ctl", "--plain", "--server", &servers.join(",")], args].concat(),
        )
    }

    /// What it prints, which must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub fn says(&self, args: &[&str]) -> String {
        text_of(args, self.ctl(args))
    }

    /// The same as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self, args: &[&str]) -> Value {
        json_of(args, |args| self.says(args))
    }

    /// Where they are.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.values().copied().collect()
    }

    /// Where a member's data is.
    pub fn data(&self, id: u64) -> PathBuf {
        self.folder.path().join(id.to_string())
    }

    /// The command that runs a member, with `args` besides.
    pub fn command(&self, id: u64, args: &[&str]) -> Command {
        let peers = self.addresses.iter();
        let peers: Vec<String> = peers
            .map(|(id, address)| format!("{id}={address}"))
            .collect();
        let mut command = Command::new(path(self.profile));
        let founders: Vec<u64> = self.addresses.keys().copied().take(self.founders).collect();
        let joins = (!founders.contains(&id)).then_some("--join");
        command
            .args([
                "controller",
                "--plain",
                "--election-timeout",
                "300ms",
                "--ends-with-stdin",
            ])
            .args(["--id", &id.to_string(), "--peers", &peers.join(",")])
            .args(["--listen", &self.addresses[&id].to_string()])
            .arg("--data")
            .arg(self.data(id))
            .args(joins)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        command
    }

    /// Starts a member that does not run; its stderr, if wanted.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn start(&mut self, id: u64, stderr: Stdio) -> Option<ChildStderr> {
        let child = self.command(id, &[]).stderr(stderr).spawn();
        let mut child = child.expect("the command can be run");
        let stderr = child.stderr.take();
        let before = self.running.insert(id, child);
        assert!(before.is_none(), "member {id} runs already");
        stderr
    }

    /// Kills a member: it has no moment to prepare.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self, id: u64) {
        let mut child = self.running.remove(&id).expect("it runs");
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }

    /// Asks a member to end; its exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self, id: u64) -> Option<i32> {
        let mut child = self.running.remove(&id).expect("it runs");
        signal(child.id(), Signal::SIGTERM);
        wait_for("its end", || {
            child.try_wait().expect("it is ours").is_some()
        });
        child.wait().expect("it is ours").code()
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
