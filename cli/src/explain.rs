//! `anyedge explain`: where a flow goes and why, hop by hop.
//!
//! The flow is started in the simulated run of the file, and what is told is what the nodes did with it.

mod show;

use std::io::{self, Write as _};

use anyedge_net::rng::Seed;
use anyedge_sim::explain::{self, Explanation};
use anyedge_sim::run::Options;
use anyedge_topologies::Topology;

use crate::args::ExplainArgs;
use crate::exit::Exit;
use crate::{mistakes, simulate};

/// Starts the flow and tells where it went.
pub(crate) fn run(args: &ExplainArgs) -> Exit {
    let topology = match Topology::load_with(&args.file, &args.overrides.set) {
        Ok(topology) => topology,
        Err(found) => {
            mistakes::print(&args.file, &found);
            return Exit::BadInput;
        }
    };
    let asked = topology.question(&args.from, &args.to, args.at, args.source_port);
    let question = match asked {
        Ok(question) => question,
        Err(wrong) => {
            let hint = wrong.hint.map(|hint| format!("\n  hint: {hint}"));
            let file = args.file.display();
            let hint = hint.unwrap_or_default();
            mistakes::complain(&format!("{file}: {}{hint}", wrong.reason));
            return Exit::BadInput;
        }
    };
    let options = Options {
        seed: args.seed.map(Seed),
        ..Options::default()
    };
    let bar = simulate::progress_bar(args.quiet);
    let explained = explain::explain(&topology, &options, &[question], &mut |progress| {
        simulate::show(&bar, progress);
    });
    bar.finish_and_clear();
    let explained = explained.map(|mut all| all.pop());
    match explained {
        Ok(Some(explanation)) => publish(args, &topology, &explanation),
        Ok(None) => Exit::Internal,
        Err(error) => {
            mistakes::complain(&format!("{}: {error}", args.file.display()));
            Exit::BadInput
        }
    }
}

fn publish(args: &ExplainArgs, topology: &Topology, explanation: &Explanation) -> Exit {
    let text = if args.json {
        serde_json::to_string_pretty(explanation).map_err(|error| error.to_string())
    } else {
        Ok(show::text(topology, explanation))
    };
    let written = text.and_then(|text| match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("stdout: {error}")),
        _ => Ok(()),
    });
    match written {
        Ok(()) if explanation.answered_after_s.is_some() && !explanation.refused => Exit::Kept,
        Ok(()) => Exit::Broken,
        Err(error) => {
            mistakes::complain(&error);
            Exit::Internal
        }
    }
}
