//! One process of a live network: a POP, a CLB node or a vSwitch with its forwarder on devices, or a demo backend.
//!
//! The process reads the topology, writes itself the same route table as every other (same file, same revision, same
//! key), opens its devices in the namespace that it was started in, and then works until it is ended. It says that
//! it is ready by answering on its control socket ([`crate::control`]).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyedge_ccn::carry;
use anyedge_net::flow::HashKey;
use anyedge_net::forwarder::Forwarder;
use anyedge_net::id::NodeId;
use anyedge_net::port::PortId;
use anyedge_net::rng::Seed;
use anyedge_net::route_table::{NodeKind, Path as TunnelPath, RouteTable};
use anyedge_net::time::Instant;
use anyedge_net::wire::gre;
use anyedge_net::wire::outer::{Encap, STREAM_INNER_MTU};
use anyedge_pop::pop::Pop;
use anyedge_region::{ClbNode, Limits, VSwitch};
use anyedge_topologies::{Kind, Topology};
use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::runtime::{Builder, Runtime};

use crate::backend;
use crate::control::{Answer, ControlSocket};
use crate::dataplane::clock::MonotonicClock;
use crate::dataplane::mouth::Mouth;
use crate::dataplane::peers::own_paths;
use crate::dataplane::streams::Streams;
use crate::dataplane::{Dataplane, Ground};
use crate::entropy;
use crate::host::LiveHost;
use crate::lab::identities;
use crate::prefix::Prefix;
use crate::tun::{Tun, TunPlan, host_routes};

/// The TUN device of a node.
const TUN: &str = "tun0";
/// How long the main thread waits for a caller before it looks after its data plane.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What names of backend processes start with, in the place of a kind.
const BACKEND: &str = "backend";

/// What a process is told on its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeArgs {
    /// The topology file.
    pub topology: PathBuf,
    /// What it is: `pop.tokyo`, `region.guangzhou.clb-1`, `host.web-1` (its vSwitch) or `backend.web-1`.
    pub name: String,
    /// Keys of the file that are set otherwise, as `key=value`.
    pub overrides: Vec<String>,
    /// The file with its certificate, where a path of its own is a gRPC stream.
    pub identity: Option<PathBuf>,
    /// The control socket on which it shall say that it is ready.
    pub ready: Option<PathBuf>,
}

/// The command line that starts the process `name`: the `node` subcommand of the same binary.
pub fn arguments(
    (topology, overrides): (&Path, &[String]),
    name: &str,
    ready: &Path,
) -> Vec<String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let words = [
        "node",
        "--topology",
        &text(topology),
        "--name",
        name,
        "--ready",
        &text(ready),
    ];
    let set = overrides.iter().flat_map(|text| ["--set", text]);
    words.into_iter().chain(set).map(str::to_owned).collect()
}

/// The name of the backend process on a host.
pub fn backend_name(host: &str) -> String {
    format!("{BACKEND}.{host}")
}

/// Runs the process until it is ended. Returns only with an error.
pub fn run(args: &NodeArgs) -> Result<()> {
    let topology = Topology::load_with(&args.topology, &args.overrides).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow!("{}", lines.join("\n"))
    })?;
    if let Some(host) = args
        .name
        .strip_prefix(BACKEND)
        .and_then(|rest| rest.strip_prefix('.'))
    {
        return backend::run(&topology, host, args);
    }
    let table = route_table(&topology)?;
    let own = table
        .node_named(&args.name)
        .with_context(|| format!("`{}` is no node of the topology", args.name))?;
    let flows_max = usize::try_from(topology.defaults.flows_max)
        .context("more flows than memory has addresses")?;
    let limits = Limits { flows_max };
    let seed = entropy::seed()?;
    let place = Place {
        topology: &topology,
        table,
        own,
    };
    match place.table.nodes[own.index()].kind {
        NodeKind::Pop => place.run(Pop::new(&args.name, seed), args),
        NodeKind::ClbNode(_) => place.run(ClbNode::new(&args.name, limits, seed), args),
        NodeKind::Host(_) => place.run(VSwitch::new(&args.name, limits, seed), args),
    }
}

/// The table that all processes of a topology write alike.
pub fn route_table(topology: &Topology) -> Result<Arc<RouteTable>> {
    let mut key = [0; 16];
    Seed(topology.seed)
        .stream("route-table", "hash key")
        .fill(&mut key);
    let mut author = anyedge_topologies::author(topology, HashKey::new(key))?;
    Ok(author.publish(Instant::ZERO)?)
}

/// Where a node stands.
struct Place<'a> {
    topology: &'a Topology,
    table: Arc<RouteTable>,
    own: NodeId,
}

impl Place<'_> {
    fn run(self, forwarder: impl Forwarder + Send + 'static, args: &NodeArgs) -> Result<()> {
        let streams = self.streams(args)?;
        let (streams, _runtime) = streams.unzip();
        let ground = self.ground(streams)?;
        let clock = MonotonicClock::start();
        let mut dataplane = Dataplane::new(forwarder, clock, ground, self.table, self.own)?;
        let totals = dataplane.totals();
        // Never set: a node process works until it is ended from outside.
        let stop = AtomicBool::new(false);
        let thread = std::thread::Builder::new()
            .name("dataplane".to_owned())
            .spawn(move || dataplane.run_until(&stop))
            .context("cannot start the data plane's thread")?;
        serve_control(args, || thread.is_finished(), || totals.to_string())?;
        match thread.join() {
            Ok(outcome) => outcome.context("the data plane ended"),
            Err(_) => bail!("the data plane panicked"),
        }
    }

    /// The ends of its streams, and what they run on; `None` when no path of its own is one.
    fn streams(&self, args: &NodeArgs) -> Result<Option<(Streams, Runtime)>> {
        let mut paths = own_paths(&self.table, self.own);
        let Some(path) = paths.find(|path| path.encap == Encap::Grpc) else {
            return Ok(None);
        };
        let file = args.identity.as_deref();
        let file = file.with_context(|| {
            let name = &path.name;
            format!("the path {name} is a gRPC stream, which wants --identity")
        })?;
        let identity = identities::read(file)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("cannot make a runtime for streams")?;
        let handle = runtime.handle().clone();
        let host = LiveHost::new(
            &args.name,
            MonotonicClock::start(),
            entropy::seed()?,
            handle,
        );
        let streams = Streams::open(&host, &self.table, self.own, &identity, carry::PORT)?;
        Ok(Some((streams, runtime)))
    }

    /// Opens the node's devices.
    fn ground(&self, streams: Option<Streams>) -> Result<Ground> {
        let node = &self.table.nodes[self.own.index()];
        let paths: Vec<&TunnelPath> = own_paths(&self.table, self.own).collect();
        if let Some(path) = paths.iter().find(|path| path.encap == Encap::Gre) {
            bail!(
                "the path {} is wrapped in plain GRE; a live node speaks GRE in UDP and in streams",
                path.name
            );
        }
        let v4 = Some(node.underlay_v4).filter(|address| *address != Ipv4Addr::UNSPECIFIED);
        let v6 = Some(node.underlay_v6).filter(|address| *address != Ipv6Addr::UNSPECIFIED);
        let outer_max = paths.iter().map(|path| path.mtu).max().unwrap_or(1_500);
        // A stream's packet has its GRE header alone around it.
        let inner_max = u32::from(STREAM_INNER_MTU) + gre::HEADER_LEN as u32;
        let (tun_port, plan) = self.tun_plan(&node.name, &paths)?;
        let tun_mtu = plan.as_ref().map_or(0, |plan| plan.mtu);
        Ok(Ground {
            tun: plan.as_ref().map(Tun::open).transpose()?,
            tun_port,
            mouth: Mouth::open(v4, v6)?,
            streams,
            packet_bytes_max: u32::from(outer_max).max(inner_max).max(tun_mtu) as usize,
        })
    }

    /// The node's TUN: for a POP what clients send to its VIPs, for a host what its backend sends to anybody.
    fn tun_plan(&self, name: &str, paths: &[&TunnelPath]) -> Result<(PortId, Option<TunPlan>)> {
        let plan = |mtu, routes| TunPlan {
            interface: TUN.to_owned(),
            mtu,
            addresses: Vec::new(),
            routes,
        };
        let (kind, bare) = name.split_once('.').unwrap_or((name, ""));
        if kind == Kind::Pop.word() {
            let published = self
                .topology
                .vips
                .values()
                .filter(|vip| vip.publish.iter().any(|pop| pop == bare));
            let mtu = self
                .topology
                .clients
                .values()
                .map(|client| client.line.mtu_bytes)
                .max()
                .unwrap_or(1_500);
            let vips = host_routes(published.flat_map(|vip| vip.address.iter()));
            return Ok((PortId::PUBLIC, Some(plan(mtu.min(65_535), vips))));
        }
        if kind == Kind::Host.word() {
            let mtu = paths
                .iter()
                .map(|path| path.inner_mtu())
                .min()
                .unwrap_or(1_280);
            ensure!(
                mtu >= 1_280,
                "the path to {name} leaves {mtu} bytes for a packet, less than IPv6 needs"
            );
            return Ok((
                PortId::BACKEND,
                Some(plan(u32::from(mtu), vec![Prefix::ANY_V4, Prefix::ANY_V6])),
            ));
        }
        Ok((PortId::LOCAL, None))
    }
}

/// Answers on the control socket until `is_over`. Without a socket it only waits.
pub(crate) fn serve_control(
    args: &NodeArgs,
    is_over: impl Fn() -> bool,
    summary: impl Fn() -> String,
) -> Result<()> {
    let socket = args.ready.as_deref().map(ControlSocket::bind).transpose()?;
    let answer = || Answer {
        name: args.name.clone(),
        pid: std::process::id(),
        summary: summary(),
    };
    while !is_over() {
        match &socket {
            Some(socket) => socket.answer_one(LOOK_EVERY, answer)?,
            None => std::thread::sleep(LOOK_EVERY),
        }
    }
    Ok(())
}
