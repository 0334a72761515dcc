//! `anyedge node`: one node of a topology, until it is asked to end.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use anyedge_live::lab::refused::Refused;
use anyedge_live::node;
use tracing_subscriber::EnvFilter;

use crate::args::{LogFormat, NodeArgs};
use crate::exit::Exit;
use crate::mistakes;

/// Runs one node until it is asked to end.
pub(crate) fn run(args: &NodeArgs) -> Exit {
    start_log(args.log_format);
    let controllers = match addresses(&args.controllers) {
        Ok(controllers) => controllers,
        Err(wrong) => {
            mistakes::complain(&wrong);
            return Exit::BadInput;
        }
    };
    let args = node::NodeArgs {
        topology: args.topology.clone(),
        overrides: args.overrides.set.clone(),
        name: args.name.clone(),
        identity: args.identity.clone(),
        ready: args.ready.clone(),
        controllers,
        founding: args.founding.clone(),
        data: args.data.clone(),
        metrics: args.metrics,
        workers: args.workers.map(usize::from),
        busy_poll: args.busy_poll,
        clients: args.clients.clone(),
        lab: args.lab.clone(),
        user: args.user.clone(),
    };
    match node::run(&args) {
        Ok(()) => Exit::Kept,
        Err(error) => {
            mistakes::complain(&format!("{error:#}"));
            if error.chain().any(|cause| cause.is::<Refused>()) {
                Exit::BadInput
            } else {
                Exit::Internal
            }
        }
    }
}

/// Lines from `info` on, or what `RUST_LOG` says, on stderr.
fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// Controllers by address or by name; a name that stands for several is each of them.
fn addresses(words: &[String]) -> Result<Vec<SocketAddr>, String> {
    let mut found = Vec::new();
    for word in words {
        let resolved = word.trim().to_socket_addrs();
        let resolved = resolved.map_err(|error| {
            format!("--controllers: `{word}` is no controller's address: {error}")
        });
        found.extend(resolved?);
    }
    Ok(found)
}
