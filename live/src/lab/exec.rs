//! Runs a command in a node's namespace as if it had been typed there: arguments untouched, the caller's own input and
//! output, and its exit code (128 + signal when a signal ended it).
//!
//! While it runs, the caller outlives an interrupt from the terminal, which reaches the command as well, and passes a
//! request to terminate on to it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::blueprint::GroupPlan;
use super::name::LabName;
use super::refused::refuse;
use super::state::folder_of;
use super::teardown::namespaces_of;
use crate::netns::Namespace;

/// Runs `argv` in the node's namespace and returns its exit code. Blocks; must not be called from an async task.
pub fn exec(lab: &LabName, node: &str, argv: &[OsString]) -> Result<i32> {
    let [program, arguments @ ..] = argv else {
        refuse!("there is no command to run in `{node}`")
    };
    let namespace = open_node(lab, node)?;
    let status = namespace.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start a runtime to wait for the command")?;
        runtime.block_on(async {
            let child = Command::new(program)
                .args(arguments)
                .envs(ways_to_controllers(lab))
                .spawn()
                .with_context(|| format!("cannot run {} in `{node}`", program.to_string_lossy()))?;
            outlive(child).await
        })
    })?;
    Ok(exit_code(status))
}

/// What `anyedge ctl` goes by in a lab with controllers.
fn ways_to_controllers(lab: &LabName) -> Vec<(&'static str, OsString)> {
    let files = GroupPlan::files(&folder_of(lab));
    let Ok(servers) = fs::read_to_string(&files.servers) else {
        return Vec::new();
    };
    let servers: Vec<&str> = servers.lines().collect();
    vec![
        ("ANYEDGE_SERVER", servers.join(",").into()),
        ("ANYEDGE_CERT", files.operator.into()),
        ("ANYEDGE_KEY", files.operator_key.into()),
        ("ANYEDGE_CA", files.authority.into()),
    ]
}

/// Opens a node's namespace; the error names the nodes there are.
pub fn open_node(lab: &LabName, node: &str) -> Result<Namespace> {
    if let Ok(namespace) = Namespace::open(&lab.namespace_of(node)) {
        return Ok(namespace);
    }
    let namespaces = namespaces_of(lab)?;
    if namespaces.is_empty() {
        refuse!("no lab `{lab}` is up");
    }
    let nodes: Vec<&str> = namespaces
        .iter()
        .filter_map(|namespace| lab.node_of(namespace))
        .collect();
    refuse!(
        "the lab `{lab}` has no node `{node}`; it has {}",
        nodes.join(", ")
    )
}

async fn outlive(mut child: Child) -> Result<ExitStatus> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
    let mut quit = signal(SignalKind::quit()).context("cannot catch SIGQUIT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
    let pid = child.id();
    loop {
        tokio::select! {
            status = child.wait() => return status.context("cannot wait for the command"),
            // The terminal sends these to the command itself.
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
            _ = terminate.recv() => {
                if let Some(pid) = pid {
                    // It may have ended in between; then the wait above returns.
                    let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
                }
            }
        }
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_becomes_128_and_its_number() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
