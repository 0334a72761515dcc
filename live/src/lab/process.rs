//! Processes of a lab: started inside a namespace and left running, found again later, ended for certain.
//!
//! A process is remembered by its id *and* its start time, so that a recycled id is never signalled. A process that
//! has ended but was not waited for (state Z) counts as gone once its last thread has: until then it holds its devices
//! and ports, which the one that takes its place would ask for in vain.
//!
//! Reference: proc_pid_stat(5), fields 3, 20 and 22.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, setsid};
use serde::{Deserialize, Serialize};

use crate::netns::{self, Namespace, NamespaceId};

/// How long a process may take to end after each signal.
pub const GRACE_MAX: Duration = Duration::from_secs(1);
/// How long one that was killed may take to be gone.
const GONE_MAX: Duration = Duration::from_secs(5);
/// How often a dying process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Ticks per second in /proc, part of the kernel's interface to programs.
const USER_HZ: u64 = 100;

/// One process, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The kernel's number, recycled after the process's end.
    pub pid: u32,
    /// When it started, in ticks since boot.
    pub start_ticks: u64,
}

impl ProcessId {
    /// The living process with this number.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (has_ended, start_ticks) = parse_stat(&stat)?;
        (!has_ended).then_some(Self { pid, start_ticks })
    }

    /// Whether this very process runs, not another with its number.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// How long it has run; `None` when it has ended.
    pub fn uptime(self) -> Option<Duration> {
        let since_boot = fs::read_to_string("/proc/uptime").ok()?;
        let seconds: f64 = since_boot.split_whitespace().next()?.parse().ok()?;
        let started = Duration::from_millis(self.start_ticks * 1_000 / USER_HZ);
        self.is_alive()
            .then(|| Duration::from_secs_f64(seconds).saturating_sub(started))
    }

    /// Sends it a signal. One that has ended is no error.
    pub fn signal(self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        match kill(self.raw(), signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => {
                Err(error).with_context(|| format!("cannot send {signal} to process {}", self.pid))
            }
        }
    }

    /// Waits until a process that was killed is gone, with all that it held.
    ///
    /// # Errors
    /// When it is still there after five seconds.
    pub fn await_end(self) -> Result<()> {
        if !all_gone_within(&[self], GONE_MAX) {
            bail!("process {} outlived SIGKILL by {GONE_MAX:?}", self.pid);
        }
        Ok(())
    }

    fn raw(self) -> Pid {
        Pid::from_raw(self.pid.cast_signed())
    }
}

/// Starts `program` in a namespace, in a session of its own, with its output appended to `log` and no input. It runs
/// on when the caller ends.
pub fn start(
    namespace: &Namespace,
    program: &Path,
    arguments: &[String],
    log: &Path,
) -> Result<ProcessId> {
    let output = OpenOptions::new()
        .append(true)
        .create(true)
        .open(log)
        .with_context(|| format!("cannot open the log {}", log.display()))?;
    let errors = output
        .try_clone()
        .with_context(|| format!("cannot share the log {}", log.display()))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    lead_a_session(&mut command);
    let child = namespace.run(|| {
        command
            .spawn()
            .with_context(|| format!("cannot start {} in {}", program.display(), namespace.name()))
    })?;
    match ProcessId::of(child.id()) {
        Some(process) => Ok(process),
        None => bail!(
            "{} in {} ended at once, see {}",
            program.display(),
            namespace.name(),
            log.display()
        ),
    }
}

/// Every process, but the caller's own, that lives in one of the namespaces.
pub fn living_in(namespaces: &BTreeSet<NamespaceId>) -> Result<Vec<ProcessId>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot list /proc")? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if pid != std::process::id()
            && netns::id_of_process(pid).is_some_and(|id| namespaces.contains(&id))
        {
            found.extend(ProcessId::of(pid));
        }
    }
    Ok(found)
}

/// Ends processes: asks, waits for at most [`GRACE_MAX`], then kills and waits as long again.
pub fn end_all(processes: &[ProcessId]) -> Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        for process in processes {
            process.signal(signal)?;
        }
        if all_gone_within(processes, GRACE_MAX) {
            return Ok(());
        }
    }
    let left: Vec<u32> = processes
        .iter()
        .filter(|process| process.is_alive())
        .map(|process| process.pid)
        .collect();
    bail!("processes {left:?} outlived SIGKILL by {GRACE_MAX:?}")
}

fn all_gone_within(processes: &[ProcessId], limit: Duration) -> bool {
    let started = Instant::now();
    loop {
        for process in processes {
            // Only our own children can be waited for; the others are init's.
            let _ = waitpid(process.raw(), Some(WaitPidFlag::WNOHANG));
        }
        if processes.iter().all(|process| !process.is_alive()) {
            return true;
        }
        if started.elapsed() >= limit {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[expect(
    unsafe_code,
    reason = "std has no stable way to start a child in a session of its own"
)]
fn lead_a_session(command: &mut Command) {
    // SAFETY: between fork and exec the closure makes one async-signal-safe system call and allocates nothing.
    unsafe {
        command.pre_exec(|| setsid().map(drop).map_err(std::io::Error::from));
    }
}

/// Whether the process has ended, and its start time, from a line of /proc/PID/stat. The second field, the program's
/// name in brackets, may itself hold blanks and brackets. The first thread may have ended before the others.
fn parse_stat(stat: &str) -> Option<(bool, u64)> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let threads: u64 = fields.nth(16)?.parse().ok()?;
    let start_ticks = fields.nth(1)?.parse().ok()?;
    let has_ended = state == 'X' || state == 'Z' && threads <= 1;
    Some((has_ended, start_ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_past_any_program_name() {
        let stat = "42 (a ) R b) S 1 42 42 0 -1 4194560 9 0 0 0 1 2 0 0 20 0 1 0 987654 1000 10 18446744073709551615";
        assert_eq!(parse_stat(stat), Some((false, 987_654)));
        let ended = stat.replace(") S ", ") Z ");
        assert_eq!(parse_stat(&ended), Some((true, 987_654)));
        let with_a_thread_left = ended.replace(" 20 0 1 0 ", " 20 0 2 0 ");
        assert_eq!(parse_stat(&with_a_thread_left), Some((false, 987_654)));
        assert_eq!(parse_stat("42 (cut) S 1 2"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn the_same_number_with_another_start_is_another_process() {
        let own = ProcessId::of(std::process::id()).expect("the test runs");
        assert!(own.is_alive());
        assert!(own.uptime().is_some());
        let earlier = ProcessId {
            start_ticks: own.start_ticks + 1,
            ..own
        };
        assert!(!earlier.is_alive());
        assert_eq!(earlier.uptime(), None);
        end_all(&[earlier])
            .expect("a process that has gone needs no ending, and the test process lives on");
    }

    #[test]
    fn a_child_that_ended_without_being_waited_for_is_gone() {
        let mut child = Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep is everywhere");
        let process = ProcessId::of(child.id()).expect("it runs");
        end_all(&[process]).expect("TERM ends sleep");
        assert!(!process.is_alive());
        assert!(child.wait().is_err(), "already waited for");
    }
}
