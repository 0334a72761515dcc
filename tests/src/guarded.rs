//! A controller as a process with certificates, and the authority that issues them to callers of all kinds.
//!
//! It is a group of one. What it says on stderr is kept. It ends when it loses its standard input, and is killed by its
//! number besides.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use anyedge_ccn::rpc::{Authority, Issued, Role};
use anyedge_live::controller::SERVER_NAME;
use anyedge_live::dataplane::clock::MonotonicClock;
use anyedge_live::host::LiveHost;
use anyedge_net::rng::Seed;
use tokio::runtime::{Builder, Runtime};

use crate::binary::{Profile, path, root};
use crate::processes::wait_for;
use crate::two_machines::Scratch;

/// The process, and who issues certificates for it.
pub struct Guarded {
    authority: Authority,
    _runtime: Runtime,
    folder: Scratch,
    child: Child,
    address: SocketAddr,
    told: Arc<Mutex<Vec<String>>>,
}

/// One who calls, by the files of its certificate.
#[derive(Clone, Debug)]
pub struct Caller {
    folder: PathBuf,
}

/// A new authority, and what its host lives on.
///
/// # Panics
/// When the machine has no randomness.
pub fn authority() -> (Runtime, Authority) {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    let clock = MonotonicClock::start();
    let host = LiveHost::new("authority", clock, Seed(1), runtime.handle().clone());
    let authority = Authority::new(&host);
    (runtime, authority.expect("the machine has randomness"))
}

impl Guarded {
    /// Starts it and waits until it leads.
    ///
    /// # Panics
    /// When it does not.
    pub fn start() -> Guarded {
        let (runtime, mut authority) = authority();
        let folder = Scratch::new();
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        drop(listener);
        let own = authority.issue(SERVER_NAME, Role::Node);
        let own = written(folder.path().join("own"), &own.expect("a good name"));
        let mut command = Command::new(path(Profile::Debug));
        command
            .args(["controller", "--id", "1", "--ends-with-stdin"])
            .args(["--election-timeout", "300ms"])
            .args(["--listen", &address.to_string()])
            .args(["--peers", &format!("1={address}")])
            .arg("--data")
            .arg(folder.path().join("data"))
            .args(own.flags())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command can be run");
        let stderr = child.stderr.take().expect("it is piped");
        let told = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&told);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().expect("nobody panics with it").push(line);
            }
        });
        let guarded = Guarded {
            authority,
            _runtime: runtime,
            folder,
            child,
            address,
            told,
        };
        guarded.waits_for("leads term");
        guarded
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A caller that the authority vouches for.
    ///
    /// # Panics
    /// When `name` cannot stand in a certificate.
    pub fn caller(&mut self, name: &str, role: Role) -> Caller {
        let issued = self.authority.issue(name, role).expect("a good name");
        self.written(name, &issued)
    }

    /// The same, until that day.
    ///
    /// # Panics
    /// When `name` cannot stand in a certificate.
    pub fn caller_until(&mut self, name: &str, role: Role, day: (i32, u8, u8)) -> Caller {
        let issued = self.authority.issue_until(name, role, day);
        self.written(name, &issued.expect("a good name"))
    }

    /// A caller with these files.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn written(&self, name: &str, issued: &Issued) -> Caller {
        written(self.folder.path().join(name), issued)
    }

    /// What a certificate of the authority is.
    ///
    /// # Panics
    /// When `name` cannot stand in one.
    pub fn issue(&mut self, name: &str, role: Role) -> Issued {
        self.authority.issue(name, role).expect("a good name")
    }

    /// `anyedge ctl`, by somebody; with nobody's certificate for `None`.
    ///
    /// # Panics
    /// When it cannot be run.
    pub fn ctl(&self, caller: Option<&Caller>, args: &[&str]) -> Output {
        let mut command = Command::new(path(Profile::Debug));
        command
            .args(["ctl", "--server", &self.address.to_string()])
            .args(["--timeout", "3s"])
            .args(caller.map_or_else(|| vec!["--plain".to_owned()], Caller::flags))
            .args(args)
            .env_remove("ANYEDGE_SERVER")
            .current_dir(root());
        command.output().expect("the command can be run")
    }

    /// Exit code and stderr of the same.
    pub fn refused(&self, caller: Option<&Caller>, args: &[&str]) -> (Option<i32>, String) {
        let output = self.ctl(caller, args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    }

    /// Waits until it has said that on stderr.
    ///
    /// # Panics
    /// When it does not.
    pub fn waits_for(&self, words: &str) {
        self.waits_for_one_of(&[words]);
    }

    /// Waits until it has said any of these on stderr.
    ///
    /// # Panics
    /// When it does not.
    pub fn waits_for_one_of(&self, words: &[&str]) {
        wait_for(&words.join(" or "), || {
            let told = self.told.lock().expect("nobody panics with it");
            let says = |line: &String| words.iter().any(|words| line.contains(words));
            told.iter().any(says)
        });
    }
}

impl Caller {
    fn flags(&self) -> Vec<String> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let flags = [("--cert", "cert"), ("--key", "key"), ("--ca", "ca")];
        let flags = flags.map(|(flag, name)| [flag.to_owned(), file(name)]);
        flags.into_iter().flatten().collect()
    }
}

fn written(folder: PathBuf, issued: &Issued) -> Caller {
    fs::create_dir_all(&folder).expect("a folder");
    let parts = [
        ("cert", &issued.certificate),
        ("key", &issued.key),
        ("ca", &issued.authority),
    ];
    for (name, text) in parts {
        fs::write(folder.join(name), text).expect("it can be written");
    }
    Caller { folder }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
