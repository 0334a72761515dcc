//! `anyedge lab`: the same file with real packets, in namespaces on this machine.

mod bench;
mod links;

use std::ffi::OsString;
use std::path::Path;

use anyedge_live::lab::bench::BenchPlan;
use anyedge_live::lab::capture::{self, CapturePlan};
use anyedge_live::lab::fault::links::LinkFault;
use anyedge_live::lab::fault::{self, Fault};
use anyedge_live::lab::status::{LabStatus, NodeStatus, ProcessStatus};
use anyedge_live::lab::{self, Backend, Wishes};
use anyedge_topologies::Topology;
use anyhow::Error;
use comfy_table::{Table, presets};

use crate::args::{BackendChoice, FaultCommand, LabArgs, LabCommand};
use crate::exit::Exit;
use crate::mistakes::{self, failed, say};

pub(crate) fn run(args: LabArgs) -> Exit {
    match args.command {
        LabCommand::Up {
            file,
            overrides,
            name,
            backend,
            links,
        } => {
            let wishes = Wishes {
                backend: match backend {
                    BackendChoice::Demo => Backend::Demo,
                    BackendChoice::Nginx => Backend::Nginx,
                },
                links: links.into(),
            };
            up(&file, &overrides.set, &name, wishes)
        }
        LabCommand::Status { name, json } => status(&name, json),
        LabCommand::Exec {
            name,
            node,
            command,
        } => exec(&name, &node, &command),
        LabCommand::Down { name } => down(&name),
        LabCommand::Bench {
            name,
            client,
            time,
            v6,
            json,
            quiet,
        } => bench::run(&name, &BenchPlan { client, time, v6 }, json, quiet),
        LabCommand::Links { name, json } => links::run(&name, json),
        LabCommand::Fault { name, fault } => strike(&name, &fault),
        LabCommand::Capture {
            name,
            of,
            out,
            time,
            packets,
        } => {
            let plan = CapturePlan {
                of: &of,
                out: &out,
                time,
                packets_max: packets,
            };
            let captured = name.parse().and_then(|lab| capture::capture(&lab, &plan));
            told(captured.map(|count| format!("{}: {count} packets", out.display())))
        }
    }
}

fn up(file: &Path, overrides: &[String], name: &str, wishes: Wishes) -> Exit {
    let topology = match Topology::load_with(file, overrides) {
        Ok(topology) => topology,
        Err(found) => {
            mistakes::print(file, &found);
            return Exit::BadInput;
        }
    };
    match lab::up_with(file, &topology, name, wishes) {
        Ok(status) => {
            show(&status);
            let hint = topology.clients.keys().next().map_or_else(String::new, |client| {
                format!("\nTry: anyedge lab exec --name {name} client.{client} curl -s http://VIP/\n")
            });
            say(&hint);
            Exit::Kept
        }
        Err(error) => failed(&error),
    }
}

fn status(name: &str, json: bool) -> Exit {
    match lab::status(name) {
        Ok(status) => {
            if json {
                match serde_json::to_string_pretty(&status) {
                    Ok(text) => say(&(text + "\n")),
                    Err(error) => return failed(&error.into()),
                }
            } else {
                show(&status);
            }
            if status.is_healthy() {
                Exit::Kept
            } else {
                Exit::Broken
            }
        }
        Err(error) => failed(&error),
    }
}

fn exec(name: &str, node: &str, command: &[OsString]) -> Exit {
    match lab::exec(name, node, command) {
        Ok(code) => Exit::Passed(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => failed(&error),
    }
}

fn strike(name: &str, command: &FaultCommand) -> Exit {
    let outcome = name.parse().and_then(|lab| match command {
        FaultCommand::Crash { process, time } => {
            let struck = fault::strike(&lab, Fault::Crash, process, *time);
            struck.map(|()| format!("{process} was away for {time:?} and was started again"))
        }
        FaultCommand::Hang { process, time } => {
            let struck = fault::strike(&lab, Fault::Hang, process, *time);
            struck.map(|()| format!("{process} hung for {time:?} and goes on"))
        }
        FaultCommand::Link {
            link,
            words,
            from,
            time,
        } => {
            let fault = LinkFault::of_words(words)?;
            let struck = fault::strike_link(&lab, (link, from.as_deref()), &fault, *time);
            let what = words.join(" ");
            struck.map(|()| match time {
                Some(time) => format!("{link}: {what} for {time:?}, and is what it was"),
                None => format!("{link}: {what}, until anyedge lab fault --name {lab} clear"),
            })
        }
        FaultCommand::Clear => {
            let started = fault::clear(&lab)?;
            Ok(match started.len() {
                0 => "no process had ended; links are what the file says".to_owned(),
                _ => format!("started again: {}", started.join(", ")),
            })
        }
    });
    told(outcome)
}

/// One line of what was done, or the error.
fn told(outcome: Result<String, Error>) -> Exit {
    match outcome {
        Ok(line) => {
            say(&format!("{line}\n"));
            Exit::Kept
        }
        Err(error) => failed(&error),
    }
}

fn down(name: &str) -> Exit {
    match lab::down(name) {
        Ok(removed) if removed.is_nothing() => {
            say(&format!("lab {name}: nothing to take down\n"));
            Exit::Kept
        }
        Ok(_) => {
            say(&format!("lab {name}: down\n"));
            Exit::Kept
        }
        Err(error) => failed(&error),
    }
}

fn show(status: &LabStatus) {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header([
        "node",
        "namespace",
        "process",
        "pid",
        "state",
        "up",
        "says",
    ]);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for node in &status.nodes {
        if node.processes.is_empty() {
            table.add_row([node.node.as_str(), presence(node)]);
        }
        for process in &node.processes {
            table.add_row(row(node, process));
        }
    }
    say(&format!("{table}\n"));
    if !status.entered_by.is_empty() {
        say(&format!("\nclients enter by {}\n", status.entered_by));
    }
    if !status.controllers.is_empty() {
        let (lab, at) = (&status.lab, status.controllers.join(" "));
        say(&format!(
            "\ncontrollers {at}; anyedge ctl --lab {lab} targets\n"
        ));
    }
}

fn presence(node: &NodeStatus) -> &str {
    if node.present {
        &node.namespace
    } else {
        "MISSING"
    }
}

fn row(node: &NodeStatus, process: &ProcessStatus) -> Vec<String> {
    let state = match (process.alive, process.answering) {
        (false, _) => "DEAD",
        (true, Some(false)) => "SILENT",
        (true, Some(true)) => "answers",
        (true, None) => "runs",
    };
    let uptime = process
        .uptime
        .map_or_else(|| "-".to_owned(), |up| format!("{:.0}s", up.as_secs_f64()));
    let waits = process.waits_for.as_ref();
    let waits = waits.map_or_else(String::new, |what| format!("; WAITS for {what}"));
    vec![
        node.node.clone(),
        presence(node).to_owned(),
        process.name.clone(),
        process.pid.to_string(),
        state.to_owned(),
        uptime,
        format!("{}{waits}", process.summary),
    ]
}
