//! A lab: a topology as namespaces, wires and processes on this machine, up within seconds and down without a trace.
//!
//! `up` builds a [`blueprint::Blueprint`] and returns when every node answers; the nodes are processes of their own
//! and run on. Whatever fails on the way up, everything made so far is removed again. `down` needs no more than the
//! lab's name.
//!
//! Invariant: at most one lab has a name, and the lab's folder under /run/anyedge is the claim to it.

pub mod bench;
pub mod blueprint;
pub mod build;
pub mod capture;
mod catchment;
pub mod exec;
pub mod fault;
pub mod identities;
pub mod modelled;
pub mod name;
pub mod nginx;
pub mod orders;
pub mod plan;
pub mod play;
pub mod process;
pub mod refused;
pub mod routers;
pub mod state;
pub mod status;
pub mod teardown;

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyedge_topologies::Topology;
use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use self::blueprint::{Blueprint, GroupPlan};
use self::name::LabName;
use self::refused::refuse;
use self::state::{LabState, ProcessState};
use self::status::LabStatus;
use self::teardown::Removed;
use crate::control;
use crate::controller::CertificateFiles;

/// How long the nodes of a lab may take to answer, once they were started.
pub const ANSWER_MAX: Duration = Duration::from_secs(15);
/// How often a node that does not answer yet is asked again.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// How much of a failed node's log its error shows, in bytes.
const LOG_TAIL_BYTES: usize = 2_000;

/// What the wires of a lab are like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// As fast as the kernel.
    #[default]
    Bare,
    /// As the file says of its links ([`modelled`]).
    AsInFile,
}

/// Builds the lab of `topology`, which was read from `file`, and waits until all of its nodes answer. They run on.
pub fn up(file: &Path, topology: &Topology, name: &str) -> Result<LabStatus> {
    up_with(file, topology, name, Wishes::default())
}

/// Who answers on the hosts of a lab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The demo backend: HTTP, raw exchanges and datagrams.
    #[default]
    Demo,
    /// nginx: HTTP alone.
    Nginx,
}

/// What a lab may be otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Who answers on its hosts.
    pub backend: Backend,
    /// What its wires are like.
    pub links: Links,
}

/// As [`up`], with what is wished for.
pub fn up_with(file: &Path, topology: &Topology, name: &str, wishes: Wishes) -> Result<LabStatus> {
    let file = file
        .canonicalize()
        .with_context(|| format!("cannot find {}", file.display()))?;
    let bird = routers::installed();
    let mut blueprint = plan::plan_with(topology, &file, &name.parse()?, bird.as_deref())?;
    if wishes.backend == Backend::Nginx {
        nginx::serve_by_nginx(&mut blueprint, topology)?;
    }
    if wishes.links == Links::AsInFile {
        modelled::lay(&mut blueprint, topology, &file)?;
    }
    up_blueprint(&blueprint)
}

/// Builds the lab and waits until every node that can answer does, and for none that waits for another. On any failure
/// nothing of it stays.
pub fn up_blueprint(blueprint: &Blueprint) -> Result<LabStatus> {
    blueprint.check()?;
    if !geteuid().is_root() {
        refuse!("a lab needs root: it makes network namespaces and TUN devices");
    }
    let lab = &blueprint.lab;
    if !state::claim(lab)? {
        refuse!(
            "a lab `{lab}` is up already; take it down with `anyedge lab down --name {lab}` or choose another --name"
        );
    }
    let unfinished = Unfinished { lab };
    if !teardown::namespaces_of(lab)?.is_empty() {
        // Not ours: they stand since before the claim.
        std::mem::forget(unfinished);
        state::release(lab)?;
        refuse!(
            "namespaces of a lab `{lab}` are left over; remove them with `anyedge lab down --name {lab}`"
        );
    }
    let state = build::build(blueprint)?;
    await_answers(&state)?;
    routers::await_routes(lab, &blueprint.routers)?;
    let status = settled(lab)?;
    std::mem::forget(unfinished);
    Ok(status)
}

/// Takes the lab down. One that is not up is no error: see [`Removed::is_nothing`].
pub fn down(name: &str) -> Result<Removed> {
    teardown::take_down(&name.parse()?)
}

/// How the lab is.
pub fn status(name: &str) -> Result<LabStatus> {
    status::status(&name.parse()?)
}

/// Runs a command in a node's namespace and returns its exit code.
pub fn exec(name: &str, node: &str, argv: &[OsString]) -> Result<i32> {
    exec::exec(&name.parse()?, node, argv)
}

/// What [`within_reach`] finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Where the controllers listen.
    pub servers: Vec<SocketAddr>,
    /// An operator's certificate.
    pub certificates: CertificateFiles,
}

/// Does `work` where the lab's controllers can be reached: on a thread in its management network, of which all threads
/// that it starts are too.
pub fn within_reach<T: Send>(name: &str, work: impl FnOnce(Reach) -> T + Send) -> Result<T> {
    let lab: LabName = name.parse()?;
    let namespace = exec::open_node(&lab, plan::management::NET)?;
    let files = GroupPlan::files(&state::folder_of(&lab));
    let servers = fs::read_to_string(&files.servers)
        .with_context(|| format!("cannot read {}", files.servers.display()))?;
    let servers = servers.lines().filter_map(|line| line.parse().ok());
    let reach = Reach {
        servers: servers.collect(),
        certificates: CertificateFiles {
            certificate: files.operator,
            key: files.operator_key,
            authority: files.authority,
        },
    };
    namespace.run(|| Ok(work(reach)))
}

/// Takes a lab down again that was not finished.
struct Unfinished<'a> {
    lab: &'a LabName,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Err(error) = teardown::take_down(self.lab) {
            tracing::error!(lab = %self.lab, "could not take the unfinished lab down: {error:#}");
        }
    }
}

/// How the lab is once no node waits for another, or how it is when that has lasted too long.
fn settled(lab: &LabName) -> Result<LabStatus> {
    let started = Instant::now();
    loop {
        let status = status::status(lab)?;
        if !status.waits() || started.elapsed() > ANSWER_MAX {
            return Ok(status);
        }
        std::thread::sleep(ASK_EVERY);
    }
}

fn await_answers(state: &LabState) -> Result<()> {
    let started = Instant::now();
    for process in state.processes() {
        let Some(socket) = process.control.as_deref() else {
            continue;
        };
        while control::ask(socket).is_none() {
            if !process.process.is_alive() {
                bail!(
                    "`{}` ended instead of answering{}",
                    process.name,
                    log_tail(process)
                );
            }
            if started.elapsed() > ANSWER_MAX {
                bail!(
                    "`{}` did not answer within {ANSWER_MAX:?}{}",
                    process.name,
                    log_tail(process)
                );
            }
            std::thread::sleep(ASK_EVERY);
        }
    }
    Ok(())
}

/// The end of a process's log, for the error that tells of its failure.
fn log_tail(process: &ProcessState) -> String {
    match read_tail(&process.log) {
        Ok(tail) if tail.trim().is_empty() => "; its log is empty".to_owned(),
        Ok(tail) => format!("; its log ends:\n{}", tail.trim_end()),
        Err(error) => format!("; {error:#}"),
    }
}

fn read_tail(log: &Path) -> Result<String> {
    let bytes = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    let from = bytes.len().saturating_sub(LOG_TAIL_BYTES);
    Ok(String::from_utf8_lossy(&bytes[from..]).into_owned())
}
