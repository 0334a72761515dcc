//! Processes that end with the bench, their certificates, what they cost, and a disk that is slow for all of them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyedge_ccn::rpc::{Authority, Role};
use anyedge_live::controller::SERVER_NAME;
use anyedge_tests::processes::{children_of, signal};
use nix::sys::signal::Signal;

/// Members of a group.
pub(crate) const MEMBERS: usize = 3;
/// What members of etcd are called: they look for the name that they are reached by.
pub(crate) const LOCAL: &str = "localhost";

/// Certificate, key and authority, as files.
pub(crate) struct Files {
    pub(crate) controller: [PathBuf; 3],
    pub(crate) local: [PathBuf; 3],
}

impl Files {
    pub(crate) fn write(folder: &Path, authority: &mut Authority) -> Files {
        let mut issue = |name: &str| {
            let issued = authority.issue(name, Role::Node).expect("it is a name");
            [
                ("pem", issued.certificate),
                ("key", issued.key),
                ("ca", issued.authority),
            ]
            .map(|(kind, text)| {
                let path = folder.join(format!("{name}.{kind}"));
                std::fs::write(&path, text).expect("a folder of its own");
                path
            })
        };
        Files {
            controller: issue(SERVER_NAME),
            local: issue(LOCAL),
        }
    }
}

/// Makes every sync of a command take so much longer, in microseconds, by strace: the disk is as slow for all.
pub(crate) fn slowed(command: Command, sync_delay: u64) -> Command {
    if sync_delay == 0 {
        return command;
    }
    let mut slowed = Command::new("strace");
    slowed
        .args([
            "-f",
            "-qq",
            "--seccomp-bpf",
            "-o",
            "/dev/null",
            "-e",
            "trace=fsync,fdatasync",
        ])
        .args([
            "-e",
            &format!("inject=fsync,fdatasync:delay_exit={sync_delay}"),
            "--",
        ])
        .arg(command.get_program())
        .args(command.get_args());
    slowed
}

/// Processes that are killed when this goes.
pub(crate) struct Running {
    children: Vec<Child>,
    is_slowed: bool,
}

impl Running {
    pub(crate) fn start(commands: impl IntoIterator<Item = Command>, sync_delay: u64) -> Running {
        let start = |command: Command| {
            let mut command = slowed(command, sync_delay);
            let command = command
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.spawn().expect("the command can be run")
        };
        Running {
            children: commands.into_iter().map(start).collect(),
            is_slowed: sync_delay > 0,
        }
    }

    /// The members themselves, not who slows them.
    pub(crate) fn ids(&self) -> Vec<u32> {
        let started = self.children.iter().map(Child::id);
        if self.is_slowed {
            started.flat_map(children_of).collect()
        } else {
            started.collect()
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for member in self.ids() {
            signal(member, Signal::SIGKILL);
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

/// Free ports of loopback.
pub(crate) fn ports<const COUNT: usize>() -> [u16; COUNT] {
    // All are held at once, so that no two are the same.
    let bound = [(); COUNT].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("a free port"));
    bound.map(|listener| listener.local_addr().expect("it is bound").port())
}

/// What processes have used so far, in user and system time.
pub(crate) fn cpu_seconds(processes: &[u32]) -> f64 {
    let used = processes.iter().map(|process| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // Behind the name, which may have blanks: fields 14 and 15, in hundredths of a second.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks
            .filter_map(|ticks| ticks.parse::<f64>().ok())
            .sum::<f64>()
            / 100.0
    });
    used.sum()
}
