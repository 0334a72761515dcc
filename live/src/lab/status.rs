//! How a running lab is: per node its namespace, and per process whether it lives, whether it answers, and since when.
//!
//! Nothing here is remembered: namespaces are listed, processes looked up by id and start time, and each one that has
//! a control socket is asked. A lab that lost a node is still shown, with that node as it is.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::{Serialize, Serializer};

use super::blueprint::GroupPlan;
use super::name::LabName;
use super::refused::refuse;
use super::routers;
use super::state::{LabState, ProcessState, folder_of};
use super::teardown::namespaces_of;
use crate::control;

/// A lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabStatus {
    /// Its name.
    pub lab: LabName,
    /// The topology file.
    pub topology: PathBuf,
    /// Where its controllers listen, in its management network.
    pub controllers: Vec<String>,
    /// What moves clients' routes.
    pub entered_by: String,
    /// Its nodes, in the blueprint's order.
    pub nodes: Vec<NodeStatus>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// The node, such as `pop.tokyo`.
    pub node: String,
    /// Its namespace's name.
    pub namespace: String,
    /// Whether the namespace stands.
    pub present: bool,
    /// What was started in it.
    pub processes: Vec<ProcessStatus>,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessStatus {
    /// Its name in the lab.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// Whether that very process runs.
    pub alive: bool,
    /// Whether it answered just now; `None` for a program that has no way to.
    pub answering: Option<bool>,
    /// How long it has run; as JSON in seconds.
    #[serde(rename = "uptime_s", serialize_with = "as_seconds")]
    pub uptime: Option<Duration>,
    /// What it says of itself, empty if it does not answer.
    pub summary: String,
    /// What a CLB node waits for before the loss of another would cost no flow.
    pub waits_for: Option<String>,
    /// Where its output goes.
    pub log: PathBuf,
}

impl ProcessStatus {
    /// Whether it lives, answers if it can, and waits for nothing.
    pub fn is_well(&self) -> bool {
        self.alive && self.answering != Some(false) && self.waits_for.is_none()
    }
}

impl LabStatus {
    /// Whether every namespace stands, every process lives, all that can answer do, and all CLB nodes know the flows of
    /// their slots.
    pub fn is_healthy(&self) -> bool {
        let mut nodes = self.nodes.iter();
        nodes.all(|node| node.present && node.processes.iter().all(ProcessStatus::is_well))
    }

    /// Whether a CLB node still waits for something, as for another that a busy machine was slow to start.
    pub fn waits(&self) -> bool {
        let mut processes = self.nodes.iter().flat_map(|node| &node.processes);
        processes.any(|process| process.waits_for.is_some())
    }
}

/// Looks at the lab and asks each of its processes.
pub fn status(lab: &LabName) -> Result<LabStatus> {
    let Some(state) = LabState::read(lab)? else {
        refuse!("no lab `{lab}` is up");
    };
    let present = namespaces_of(lab)?;
    let nodes = state.nodes.iter().map(|node| NodeStatus {
        node: node.node.clone(),
        namespace: node.namespace.clone(),
        present: present.contains(&node.namespace),
        processes: node
            .processes
            .iter()
            .map(|known| process_status(lab, known))
            .collect(),
    });
    Ok(LabStatus {
        lab: lab.clone(),
        topology: state.topology,
        controllers: servers(lab),
        entered_by: state.entered_by,
        nodes: nodes.collect(),
    })
}

/// The controllers' addresses; none where tables are static.
fn servers(lab: &LabName) -> Vec<String> {
    let file = GroupPlan::files(&folder_of(lab)).servers;
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn process_status(lab: &LabName, known: &ProcessState) -> ProcessStatus {
    let answer = known.control.as_deref().map(control::ask);
    let own = answer
        .clone()
        .flatten()
        .filter(|answer| answer.pid == known.process.pid);
    ProcessStatus {
        name: known.name.clone(),
        pid: known.process.pid,
        alive: known.process.is_alive(),
        answering: answer.map(|_| own.is_some()),
        uptime: known.process.uptime(),
        waits_for: own.as_ref().and_then(|answer| answer.waits_for.clone()),
        summary: own
            .map(|answer| answer.summary)
            .or_else(|| routers::summary(lab, &known.name))
            .unwrap_or_default(),
        log: known.log.clone(),
    }
}

fn as_seconds<S: Serializer>(uptime: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    uptime
        .map(|uptime| uptime.as_secs_f64())
        .serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(alive: bool, answering: Option<bool>) -> ProcessStatus {
        ProcessStatus {
            name: "pop.tokyo".to_owned(),
            pid: 7,
            alive,
            answering,
            uptime: Some(Duration::from_millis(1_500)),
            summary: "0 in, 0 out".to_owned(),
            waits_for: None,
            log: PathBuf::from("/run/anyedge/demo/pop.tokyo.log"),
        }
    }

    fn lab(process: ProcessStatus) -> LabStatus {
        let node = NodeStatus {
            node: "pop.tokyo".to_owned(),
            namespace: "anyedge-demo-pop.tokyo".to_owned(),
            present: true,
            processes: vec![process],
        };
        LabStatus {
            lab: "demo".parse().expect("a lab's name"),
            topology: PathBuf::from("/two-pops.toml"),
            controllers: Vec::new(),
            entered_by: String::new(),
            nodes: vec![node],
        }
    }

    #[test]
    fn a_lab_is_healthy_when_all_that_can_answer_do() {
        assert!(lab(process(true, Some(true))).is_healthy());
        assert!(lab(process(true, None)).is_healthy());
        assert!(!lab(process(true, Some(false))).is_healthy());
        assert!(!lab(process(false, None)).is_healthy());
        let mut behind = process(true, Some(true));
        behind.waits_for = Some("region.guangzhou.clb-2 to be told its flows".to_owned());
        let behind = lab(behind);
        assert!(behind.waits() && !behind.is_healthy());
    }

    #[test]
    fn the_status_as_json_has_its_uptime_in_seconds() {
        let json = serde_json::to_value(lab(process(true, Some(true)))).expect("plain data");
        let shown = &json["nodes"][0]["processes"][0];
        assert_eq!(
            (json["lab"].as_str(), shown["uptime_s"].as_f64()),
            (Some("demo"), Some(1.5))
        );
    }
}
