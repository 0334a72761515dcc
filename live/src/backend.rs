//! The demo backend as a process of its own on a host, on the kernel's TCP and UDP.
//!
//! It listens on every address and port that the topology's targets give its host, and writes one line per request to
//! its standard output, with the client's address as it arrived: the proof that the load balancer kept it.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use anyedge_net::rng::Seed;
use anyedge_topologies::{Kind, Topology};
use anyedge_traffic::backend::{BackendConfig, Seen, What, serve};
use anyhow::{Context, Result, bail};

use crate::control::Answer;
use crate::dataplane::clock::MonotonicClock;
use crate::foreground::{Foreground, asked_to_end};
use crate::host::LiveHost;
use crate::node::{Desk, End, NodeArgs};

/// Serves as the backends of `host` until the process is asked to end.
pub(crate) fn run(topology: &Topology, host: &str, args: &NodeArgs, mut desk: Desk) -> Result<()> {
    let addresses = addresses_of(topology, host);
    if addresses.is_empty() {
        bail!(
            "`{}` serves no targets of the topology",
            Kind::Host.object(host)
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the backend's runtime")?;
    let clock = MonotonicClock::start();
    let live = LiveHost::new(
        &args.name,
        clock,
        Seed(topology.seed),
        runtime.handle().clone(),
    );
    let stats = serve(
        &live,
        BackendConfig {
            services: topology.services_of(host),
            ..BackendConfig::on(addresses.clone())
        },
        Arc::new(log_request),
    )
    .with_context(|| format!("cannot listen on {addresses:?}"))?;
    desk.open(args.ready.as_deref())?;
    let answer = || {
        let stats = stats.snapshot();
        let (http, exchanges, ticks) = (stats.http_requests(), stats.exchanges(), stats.ticks());
        Answer {
            name: args.name.clone(),
            pid: std::process::id(),
            summary: format!("{http} HTTP requests, {exchanges} exchanges, {ticks} ticks"),
            waits_for: None,
        }
    };
    // It has no files to read again.
    while desk.serve(|| false, answer)? == End::Reload {}
    runtime.shutdown_background();
    Ok(())
}

/// Serves on `addresses` until the process is asked to end.
///
/// # Errors
/// When one of them cannot be listened on.
pub fn serve_until_asked(addresses: &[SocketAddr]) -> Result<()> {
    let foreground = Foreground::new("serve")?;
    let host = foreground.host().clone();
    foreground.run(async {
        let asked = asked_to_end()?;
        let config = BackendConfig::on(addresses.to_vec());
        serve(&host, config, Arc::new(log_request))
            .with_context(|| format!("cannot listen on {addresses:?}"))?;
        asked.await;
        Ok(())
    })
}

/// Where the servers of a host listen.
pub(crate) fn addresses_of(topology: &Topology, host: &str) -> Vec<SocketAddr> {
    let own = topology.servers().filter(|server| server.host == host);
    let addresses = own.flat_map(|server| {
        server
            .address
            .iter()
            .map(|ip| SocketAddr::new(ip, server.port))
    });
    addresses.collect::<BTreeSet<_>>().into_iter().collect()
}

fn log_request(seen: &Seen<'_>) {
    let Seen {
        at,
        client,
        told,
        server,
        what,
    } = seen;
    let by = |way: &str, client: Option<SocketAddr>| {
        client.map_or_else(String::new, |client| format!(" ({way} {client})"))
    };
    let told = by("toa", told.toa) + &by("proxy", told.proxy);
    let what = match what {
        What::Http {
            method,
            path,
            status,
        } => format!("{method} {path} {status}"),
        What::Exchange {
            request_bytes,
            answer_bytes,
        } => format!("exchange {request_bytes} B for {answer_bytes} B"),
        What::LongFlow { course, bytes } => format!("{course:?} {bytes} B"),
        What::Tick { bytes } => format!("tick {bytes} B"),
    };
    // A log that cannot be written must not stop the service.
    let _ = writeln!(
        std::io::stdout().lock(),
        "{at:?} {client}{told} -> {server} {what}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_listens_on_both_families_of_its_own_servers() {
        let text = include_str!("../../topologies/two-pops.toml");
        let topology = Topology::parse("two-pops.toml", text).expect("a topology that is shipped");
        let addresses: Vec<String> = addresses_of(&topology, "web-2")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(addresses, ["10.0.0.12:8080", "[fd00:a::12]:8080"]);
        assert!(addresses_of(&topology, "web-9").is_empty());
    }
}
