//! `anyedge doctor`, `anyedge bundle`, `anyedge export`: a topology on machines of their own.

use std::io::Write as _;
use std::path::Path;

use anyedge_live::bundle::{BundlePlan, write_bundle};
use anyedge_live::doctor::Finding;
use anyedge_live::foreground::Foreground;
use anyedge_live::lab::refused::Refused;
use anyedge_live::{containerlab, doctor};
use anyedge_topologies::Topology;
use anyhow::Error;

use crate::args::{BundleArgs, DoctorArgs, ExportCommand};
use crate::ctl::place::Place;
use crate::ctl::trouble::Trouble;
use crate::exit::Exit;
use crate::mistakes;

pub(crate) fn doctor(args: &DoctorArgs) -> Exit {
    let topology = match &args.file {
        Some(file) => match load(file, &args.overrides.set) {
            Ok(topology) => Some(topology),
            Err(exit) => return exit,
        },
        None => None,
    };
    let of = topology.as_ref().zip(args.name.as_deref());
    let mut findings = match doctor::examine(of) {
        Ok(findings) => findings,
        Err(error) => return failed(&error),
    };
    match compare_clocks(args) {
        Ok(more) => findings.extend(more),
        Err(trouble) => return trouble.show(args.json),
    }
    if args.json {
        match serde_json::to_string_pretty(&findings) {
            Ok(text) => print(&format!("{text}\n")),
            Err(error) => return failed(&error.into()),
        }
    } else {
        findings
            .iter()
            .for_each(|finding| print(&format!("{finding}\n")));
    }
    if doctor::is_fit(&findings) {
        Exit::Kept
    } else {
        Exit::Broken
    }
}

/// What the controllers' clocks say to this machine's, where there are controllers.
fn compare_clocks(args: &DoctorArgs) -> Result<Vec<Finding>, Trouble> {
    let Some(place) = Place::find_any(&args.server, &args.security)? else {
        return Ok(Vec::new());
    };
    let failed = |error: Error| Trouble::failed(format_args!("{error:#}"));
    let foreground = Foreground::new("doctor").map_err(failed)?;
    let host = foreground.host().clone();
    let asked = doctor::compare_clocks(&host, &place.servers, &place.security, args.timeout);
    let asked = foreground.run(asked);
    asked.map_err(|error| Trouble::refused(format_args!("{error:#}"), "PEM files"))
}

pub(crate) fn bundle(args: &BundleArgs) -> Exit {
    let topology = match load(&args.file, &args.overrides.set) {
        Ok(topology) => topology,
        Err(exit) => return exit,
    };
    let plan = BundlePlan {
        file: &args.file,
        topology: &topology,
        out: &args.out,
        controllers: args.controllers.iter().cloned().collect(),
    };
    match write_bundle(&plan) {
        Ok(bundle) => {
            let names: Vec<&str> = bundle.hosts.keys().map(String::as_str).collect();
            let out = args.out.display();
            print(&format!(
                "{out}: {} machines ({}), and the operator's folder\nnext: {out}/README.md\n",
                names.len(),
                names.join(", ")
            ));
            Exit::Kept
        }
        Err(error) => failed(&error),
    }
}

pub(crate) fn export(command: &ExportCommand) -> Exit {
    let ExportCommand::Containerlab {
        file,
        overrides,
        out,
    } = command;
    let topology = match load(file, &overrides.set) {
        Ok(topology) => topology,
        Err(exit) => return exit,
    };
    let text = match containerlab::text(&topology, file) {
        Ok(text) => text,
        Err(error) => return failed(&error),
    };
    match out {
        None => print(&text),
        Some(path) => {
            if let Err(error) = std::fs::write(path, text) {
                return failed(
                    &Error::new(error).context(format!("cannot write {}", path.display())),
                );
            }
        }
    }
    Exit::Kept
}

fn load(file: &Path, overrides: &[String]) -> Result<Topology, Exit> {
    Topology::load_with(file, overrides).map_err(|found| {
        mistakes::print(file, &found);
        Exit::BadInput
    })
}

fn print(text: &str) {
    // A reader that has seen enough is no failure of ours.
    let _ = write!(std::io::stdout().lock(), "{text}");
}

fn failed(error: &Error) -> Exit {
    mistakes::complain(&format!("{error:#}"));
    if error.chain().any(|cause| cause.is::<Refused>()) {
        Exit::BadInput
    } else {
        Exit::Internal
    }
}
