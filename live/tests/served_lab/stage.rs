//! A lab that is taken down whatever happens, and what a test does in it.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyedge_live::lab::{self, status::ProcessStatus};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Takes the lab down whatever happens.
pub(crate) struct Lab {
    pub(crate) name: String,
}

impl Lab {
    /// A lab of this process and of this `word`, not yet up.
    pub(crate) fn named(word: &str) -> Self {
        Self {
            name: format!("{word}-{}", std::process::id()),
        }
    }

    /// The running process `name`.
    pub(crate) fn process(&self, name: &str) -> ProcessStatus {
        let status = lab::status(&self.name).expect("the lab is up");
        let mut processes = status.nodes.into_iter().flat_map(|node| node.processes);
        processes
            .find(|process| process.name == name)
            .expect("a process of the lab")
    }

    /// Kills the process `name` as a crash would, and waits until it is gone.
    pub(crate) fn kill(&self, name: &str) {
        let process = self.process(name);
        assert!(process.alive, "{name} runs until it is killed");
        let id = i32::try_from(process.pid).expect("a process id");
        kill(Pid::from_raw(id), Signal::SIGKILL).expect("it can be killed");
        let since = Instant::now();
        while self.process(name).alive {
            assert!(since.elapsed() < Duration::from_secs(5), "{name} lives on");
            std::thread::yield_now();
        }
    }

    /// Runs a command in a node and returns its exit code.
    pub(crate) fn exec(&self, node: &str, words: &[&str]) -> i32 {
        let argv: Vec<OsString> = words.iter().map(OsString::from).collect();
        lab::exec(&self.name, node, &argv).expect("the command runs")
    }

    /// Fetches `url` from `node` into a file and returns what came.
    pub(crate) fn fetch(&self, node: &str, url: &str) -> Vec<u8> {
        let into: PathBuf = std::env::temp_dir().join(format!("{}-fetched", self.name));
        let file = into.to_string_lossy();
        assert_eq!(
            self.exec(
                node,
                &[
                    "curl",
                    "-sS",
                    "--fail",
                    "--max-time",
                    "5",
                    "-o",
                    &*file,
                    url
                ]
            ),
            0,
            "{url}"
        );
        let bytes = fs::read(&into).expect("curl wrote it");
        fs::remove_file(&into).expect("it is there");
        bytes
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let removed = lab::down(&self.name);
        if !std::thread::panicking() {
            removed.expect("the lab can be taken down");
        }
    }
}
