//! Certificates of a lab: those of its nodes, which show them to controllers and where tunnels are streams, of its
//! controllers, and of an operator.
//!
//! The authority that issues them exists while the lab is built and is nobody's afterwards. Each node reads its own file,
//! which only its owner may read; the lab's folder goes when the lab is taken down, and they with it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyedge_ccn::rpc::{Authority, Identity, Role};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::blueprint::GroupPlan;
use crate::controller::SERVER_NAME;
use crate::dataplane::clock::MonotonicClock;
use crate::entropy;
use crate::host::LiveHost;

/// Issues a certificate to each node, by name, and writes it to its file; and what a group of controllers has.
///
/// # Errors
/// When a file is there already or cannot be written.
pub fn issue(nodes: &[(String, PathBuf)], group: Option<&GroupPlan>) -> Result<()> {
    if nodes.is_empty() && group.is_none() {
        return Ok(());
    }
    let runtime = Builder::new_current_thread()
        .build()
        .context("cannot make a runtime")?;
    let handle = runtime.handle().clone();
    let host = LiveHost::new(
        "authority",
        MonotonicClock::start(),
        entropy::seed()?,
        handle,
    );
    let mut authority = Authority::new(&host).context("cannot make an authority")?;
    for (node, file) in nodes {
        let issued = authority
            .issue(node, Role::Node)
            .with_context(|| format!("cannot issue a certificate to {node}"))?;
        let text = json!({
            "certificate": issued.certificate,
            "key": issued.key,
            "authority": issued.authority,
        });
        write(file, text.to_string().as_bytes())?;
    }
    group.map_or(Ok(()), |group| equip(group, &mut authority))
}

/// Writes what controllers, and those who ask them, find in the group's folder.
fn equip(group: &GroupPlan, authority: &mut Authority) -> Result<()> {
    let files = GroupPlan::files(&group.folder);
    let mut issue = |name: &str, role| {
        let issued = authority.issue(name, role);
        issued.with_context(|| format!("cannot issue a certificate to {name}"))
    };
    let controller = issue(SERVER_NAME, Role::Node)?;
    let operator = issue("operator", Role::Operator)?;
    write(&files.authority, controller.authority.as_bytes())?;
    write(&files.controller, controller.certificate.as_bytes())?;
    write(&files.controller_key, controller.key.as_bytes())?;
    write(&files.operator, operator.certificate.as_bytes())?;
    write(&files.operator_key, operator.key.as_bytes())?;
    write(&files.founding, &group.founding)?;
    let servers = group.servers.iter().map(|at| format!("{at}\n"));
    write(&files.servers, servers.collect::<String>().as_bytes())
}

/// Writes a file that only its owner may read.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(file);
    opened
        .and_then(|mut open| open.write_all(bytes))
        .with_context(|| format!("cannot write {}", file.display()))
}

/// The certificate of a node, from its file.
///
/// # Errors
/// When the file is none that [`issue`] wrote.
pub fn read(file: &Path) -> Result<Identity> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let parts: Value = serde_json::from_str(&text)
        .with_context(|| format!("{} holds no certificate", file.display()))?;
    let part = |name: &str| parts[name].as_str().unwrap_or_default();
    Identity::from_pem(part("certificate"), part("key"), part("authority"))
        .with_context(|| format!("{} holds no certificate", file.display()))
}
