//! What is remembered of a running lab: `/run/anyedge/<lab>/state.json`, beside the logs and control sockets.
//!
//! The folder is the lab's claim on its name: whoever makes it owns the name, and `down` removes it last. The file is
//! written aside and renamed, so a reader never sees half of one. It is a convenience, not the truth: namespaces carry
//! the lab's name themselves, and a lab can be taken down without it.

use std::fs::{self, DirBuilder};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::name::LabName;
use super::process::ProcessId;

/// Where labs keep their folders.
const ROOT: &str = "/run/anyedge";
/// Version of the file's format.
const SCHEMA: u32 = 1;

/// A lab as it was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabState {
    /// Version of this format.
    pub schema: u32,
    /// The lab's name.
    pub lab: LabName,
    /// The topology file.
    pub topology: PathBuf,
    /// Keys of that file that are set otherwise.
    #[serde(default)]
    pub overrides: Vec<String>,
    /// What moves clients' routes.
    #[serde(default)]
    pub entered_by: String,
    /// Its nodes, in the blueprint's order.
    pub nodes: Vec<NodeState>,
    /// The wires between them.
    #[serde(default)]
    pub wires: Vec<WireState>,
}

/// A wire, by node and interface at each end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireState {
    /// Its ends.
    pub ends: [(String, String); 2],
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// The node, such as `pop.tokyo`.
    pub node: String,
    /// Its namespace.
    pub namespace: String,
    /// What was started inside.
    pub processes: Vec<ProcessState>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessState {
    /// Its name in the lab.
    pub name: String,
    /// Id and start time.
    pub process: ProcessId,
    /// Where its output goes.
    pub log: PathBuf,
    /// The socket it answers on, if it has one.
    pub control: Option<PathBuf>,
    /// The program.
    #[serde(default)]
    pub program: Option<PathBuf>,
    /// Its arguments.
    #[serde(default)]
    pub arguments: Vec<String>,
}

impl LabState {
    /// A lab without nodes yet.
    pub fn new(lab: LabName, topology: PathBuf) -> Self {
        Self {
            schema: SCHEMA,
            lab,
            topology,
            overrides: Vec::new(),
            entered_by: String::new(),
            nodes: Vec::new(),
            wires: Vec::new(),
        }
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self) -> Result<()> {
        let path = state_path(&self.lab);
        let aside = path.with_extension("json.new");
        let text =
            serde_json::to_string_pretty(self).context("cannot write the lab's state as JSON")?;
        let write = || -> std::io::Result<()> {
            let mut file = fs::File::create(&aside)?;
            file.write_all(text.as_bytes())?;
            fs::rename(&aside, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Reads the file; `None` when there is none.
    pub fn read(lab: &LabName) -> Result<Option<Self>> {
        let path = state_path(lab);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let state: Self = serde_json::from_str(&text)
            .with_context(|| format!("cannot understand {}", path.display()))?;
        if state.schema != SCHEMA {
            bail!(
                "{} has schema {}, this program knows {SCHEMA}",
                path.display(),
                state.schema
            );
        }
        Ok(Some(state))
    }

    /// All processes with their names.
    pub fn processes(&self) -> impl Iterator<Item = &ProcessState> {
        self.nodes.iter().flat_map(|node| &node.processes)
    }
}

/// The lab's folder.
pub fn folder_of(lab: &LabName) -> PathBuf {
    Path::new(ROOT).join(lab.as_str())
}

/// Where a process of the lab writes its output.
pub fn log_of(lab: &LabName, process: &str) -> PathBuf {
    folder_of(lab).join(format!("{process}.log"))
}

/// Where a process of the lab answers.
pub fn control_of(lab: &LabName, process: &str) -> PathBuf {
    folder_of(lab).join(format!("{process}.sock"))
}

/// Where a process of the lab keeps what outlives it.
pub fn data_of(lab: &LabName, process: &str) -> PathBuf {
    folder_of(lab).join(format!("{process}.data"))
}

/// Where a node's certificate is.
pub fn identity_of(lab: &LabName, node: &str) -> PathBuf {
    folder_of(lab).join(format!("{node}.identity.json"))
}

/// Claims the name: makes the folder, `false` if it exists already.
pub fn claim(lab: &LabName) -> Result<bool> {
    fs::create_dir_all(ROOT).with_context(|| format!("cannot make {ROOT}"))?;
    let folder = folder_of(lab);
    // Keys lie in it.
    match DirBuilder::new().mode(0o700).create(&folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot make {}", folder.display())),
    }
}

/// Removes the folder with everything in it; `false` if there was none.
pub fn release(lab: &LabName) -> Result<bool> {
    let folder = folder_of(lab);
    match fs::remove_dir_all(&folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", folder.display())),
    }
}

fn state_path(lab: &LabName) -> PathBuf {
    folder_of(lab).join("state.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_reads_back_as_it_was_written() {
        let lab: LabName = "demo".parse().expect("a lab's name");
        let mut state = LabState::new(lab.clone(), PathBuf::from("/topologies/two-pops.toml"));
        state.nodes.push(NodeState {
            node: "pop.tokyo".to_owned(),
            namespace: lab.namespace_of("pop.tokyo"),
            processes: vec![ProcessState {
                name: "pop.tokyo".to_owned(),
                process: ProcessId {
                    pid: 17,
                    start_ticks: 99,
                },
                log: log_of(&lab, "pop.tokyo"),
                control: Some(control_of(&lab, "pop.tokyo")),
                program: None,
                arguments: vec!["node".to_owned()],
            }],
        });
        let text = serde_json::to_string(&state).expect("plain data");
        assert_eq!(
            serde_json::from_str::<LabState>(&text).expect("what was written"),
            state
        );
        assert!(text.contains("\"anyedge-demo-pop.tokyo\""), "{text}");
    }
}
