//! A POP's speakers on this machine: BGP and BFD with the routers that the topology gives it.
//!
//! They run on threads of their own, so that a busy data plane does not delay a BFD packet, and one that stopped is
//! noticed: without a sign of life for [`DEAD_AFTER`] everything is withdrawn.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyedge_net::flow::Address;
use anyedge_pop::advertise::{self, Inbox, Plan, Wire};
use anyedge_pop::bgp::IpNet;
use anyedge_topologies::Topology;
use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::dataplane::clock::MonotonicClock;
use crate::dataplane::totals::Totals;
use crate::entropy;
use crate::host::{LiveHost, Protection};

/// How long a data plane may give no sign of life: ten of its longest waits.
const DEAD_AFTER: Duration = Duration::from_secs(1);
/// Between attempts to connect: a router that starts together with its POP is not waited for.
const CONNECT_RETRY: Duration = Duration::from_secs(1);
/// How long sessions may take to be shut down.
const STOP_MAX: Duration = Duration::from_millis(300);

/// A POP's speakers at work.
#[derive(Debug)]
pub(super) struct Speakers {
    inbox: Inbox,
    runtime: Runtime,
    ended: oneshot::Receiver<()>,
}

impl Speakers {
    /// Starts those of a POP, by its bare name; `inbox` and `totals` are its data plane's, whose clock is `clock`. `None` when
    /// the topology gives it no router.
    ///
    /// # Errors
    /// When threads or randomness cannot be had.
    pub(super) fn start(
        topology: &Topology,
        pop: &str,
        clock: MonotonicClock,
        inbox: Inbox,
        totals: &Totals,
    ) -> Result<Option<Self>> {
        let Some(plan) = plan(topology, pop) else {
            return Ok(None);
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot make a runtime for BGP and BFD")?;
        let handle = runtime.handle().clone();
        let host = LiveHost::new(&format!("pop.{pop}"), clock, entropy::seed()?, handle);
        let host = host.protecting(protections(topology, pop));
        totals.with_sockets_of(&host);
        let (done, ended) = oneshot::channel();
        let told = inbox.clone();
        runtime.spawn(async move {
            advertise::run(host, plan, told).await;
            // Whoever does not stop them does not wait.
            let _ = done.send(());
        });
        Ok(Some(Self {
            inbox,
            runtime,
            ended,
        }))
    }

    /// Shuts the sessions down, so that the routers know at once.
    pub(super) fn stop(self) {
        self.inbox.close();
        let Self { runtime, ended, .. } = self;
        // A router that does not answer is not waited for.
        let _ = runtime.block_on(async { tokio::time::timeout(STOP_MAX, ended).await });
    }
}

/// How sessions with the router are protected, by its address.
fn protections(topology: &Topology, pop: &str) -> BTreeMap<IpAddr, Protection> {
    let router = topology.routers.get(pop);
    let protected = router.filter(|router| router.md5.is_some() || router.gtsm);
    let by_address = protected.into_iter().flat_map(|router| {
        let protection = Protection {
            md5: router.md5.clone(),
            gtsm: router.gtsm,
        };
        let addresses: Vec<IpAddr> = router.address.iter().collect();
        addresses
            .into_iter()
            .map(move |ip| (ip, protection.clone()))
    });
    by_address.collect()
}

/// What a POP announces by, and to whom; `None` when it has no router.
fn plan(topology: &Topology, pop: &str) -> Option<Plan> {
    let bgp = topology.defaults.bgp?;
    let router = topology.routers.get(pop)?;
    let wire = Wire {
        ases: [bgp.asn, router.asn],
        local: (router.pop.v4, router.pop.v6),
        remote: (router.address.v4, router.address.v6),
        id: topology.pops.get(pop)?.underlay.v4?,
        hold: router.hold,
        bfd: router.bfd.map(|bfd| (bfd.interval, bfd.multiplier)),
    };
    let vips = topology.vips.values();
    let prefixes = vips.flat_map(|vip| vip.address.iter().zip(&vip.prefixes));
    let prefixes = prefixes.filter_map(|(ip, prefix)| {
        let net = IpNet::new(prefix.network, prefix.length).ok()?;
        Some((Address::from(ip), net))
    });
    let mut neighbour = wire.neighbour()?;
    neighbour.peer.config.connect_retry = CONNECT_RETRY;
    Some(Plan {
        prefixes: prefixes.collect(),
        neighbours: vec![neighbour],
        drain: bgp.graceful_shutdown,
        dead_after: Some(DEAD_AFTER),
    })
}
