//! A node at work: its devices, its threads, and what its main thread does until it is asked to end.
//!
//! The data plane has a thread for each worker, the making of route tables another, and what is told of both a third; services are tasks
//! of a runtime. The main thread answers callers and reads signals. The end takes less than a second: the data plane stops
//! between two batches, and its devices go with it.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle, available_parallelism};
use std::time::Duration;

use anyedge_net::forwarder::Forwarder;
use anyedge_net::wire::outer::Encap;
use anyedge_topologies::Topology;
use anyhow::{Context, Result, bail};
use caps::Capability;
use tokio::runtime::Runtime;

use super::beginning::{Beginning, file_table};
use super::desk::{Desk, End};
use super::events::{self, Listener};
use super::following::{Following, machine};
use super::last_table::LastTable;
use super::metrics::{Figures, registry};
use super::place::{Place, TUN, tunnel_addresses};
use super::speakers::Speakers;
use super::standing::Standing;
use super::table_work::{Fitting, Slot, TableWork};
use super::vip_routes::{VipRoutes, published};
use super::{NodeArgs, load, metrics_server, privileges, service_manager};
use crate::control::Answer;
use crate::dataplane::clock::{Clock, MonotonicClock};
use crate::dataplane::inbox::Inbox;
use crate::dataplane::totals::Totals;
use crate::dataplane::{Dataplane, Ground};
use crate::processor::take_short_turns;

/// Workers of a data plane, at most, where nothing else is asked for.
const WORKERS_MAX: usize = 4;
/// How long services may take to end.
const SERVICES_MAX: Duration = Duration::from_millis(300);

/// What a node has before it has devices.
pub(super) struct Forwarding<'a> {
    pub(super) args: &'a NodeArgs,
    pub(super) topology: &'a Topology,
    pub(super) desk: Desk,
    pub(super) beginning: Beginning,
    pub(super) following: Option<Following>,
}

/// Its threads, and what they share.
struct Running {
    stop: Arc<AtomicBool>,
    inbox: Inbox,
    slot: Slot,
    totals: Arc<Totals>,
    standing: Standing,
    dataplane: Vec<JoinHandle<Result<()>>>,
    tables: JoinHandle<()>,
    listening: JoinHandle<()>,
    speakers: Option<Speakers>,
    runtimes: Vec<Runtime>,
}

impl Forwarding<'_> {
    /// Opens the devices and forwards until the node is asked to end.
    pub(super) fn run(mut self, forwarder: impl Forwarder + Send + 'static) -> Result<()> {
        let running = self.start(forwarder)?;
        self.desk.open(self.args.ready.as_deref())?;
        let attended = self.attend(&running);
        service_manager::tell("STOPPING=1");
        attended.and(running.end())
    }

    /// Opens the devices, starts all threads, and gives up the rights that this took.
    fn start(&mut self, forwarder: impl Forwarder + Send + 'static) -> Result<Running> {
        let (args, own) = (self.args, self.beginning.own);
        let place = Place {
            topology: self.topology,
            table: Arc::clone(&self.beginning.route_table),
            own,
            clients: &args.clients,
        };
        let (streams, streams_runtime) = place.streams(args)?.unzip();
        let workers = args.workers.unwrap_or_else(workers_of_machine);
        let grounds = place.grounds(streams, workers)?;
        let fitting = fitting(&place, &grounds);
        // One ground is for one worker, at a time.
        let workers = workers.min(grounds.len());
        let standing = Standing::default();
        standing.knows(&self.beginning.table);
        let agent = self.following.as_ref().map(|own| own.agent.clone());
        let (teller, listener) = events::queue(agent.clone(), standing.clone());
        let flows = teller.flows();
        let (clock, table) = (MonotonicClock::start(), Arc::clone(&place.table));
        let mut dataplane = Dataplane::new(forwarder, clock, grounds, table, own)?;
        dataplane.watched_by(Box::new(teller));
        let others = (1..workers).map(|_| dataplane.beside());
        let others = others.collect::<Result<Vec<_>>>()?;
        let totals = dataplane.totals();
        let inbox = dataplane.inbox();
        // Once more, for those who watch: the first time nobody did.
        inbox.put(Arc::clone(&place.table), own);
        let figures = Figures {
            node: args.name.clone(),
            totals: Arc::clone(&totals),
            standing: standing.clone(),
            flows,
            agent,
        };
        let work = self.table_work(&place, fitting, inbox.clone(), standing.clone())?;
        let slot = work.slot.clone();
        let tables = start_tables(work)?;
        let metrics = args.metrics.map(metrics_server::listen).transpose()?;
        privileges::drop_in_this_thread();
        let metrics = metrics.map(|listener| start_metrics(listener, figures, args));
        let metrics = metrics.transpose()?;
        let speakers = match args.name.split_once('.') {
            Some(("pop", pop)) => {
                let told = dataplane.announcements();
                Speakers::start(self.topology, pop, clock, told, &totals)?
            }
            _ => None,
        };
        let listening = start_listening(listener)?;
        let stop = Arc::new(AtomicBool::new(false));
        let workers = std::iter::once(dataplane).chain(others);
        let dataplane = start_workers(workers, args.busy_poll, &stop)?;
        Ok(Running {
            stop,
            inbox,
            slot,
            totals,
            standing,
            dataplane,
            tables,
            listening,
            speakers,
            runtimes: [streams_runtime, metrics].into_iter().flatten().collect(),
        })
    }

    fn table_work(
        &mut self,
        place: &Place<'_>,
        fitting: Fitting,
        inbox: Inbox,
        standing: Standing,
    ) -> Result<TableWork> {
        let data = self.args.data.as_deref();
        let slot = self.following.as_ref().map(|own| own.slot.clone());
        let led = || VipRoutes::new(TUN, published(&place.table, place.own));
        Ok(TableWork {
            name: self.args.name.clone(),
            are_files: slot.is_none(),
            slot: slot.unwrap_or_default(),
            assembler: std::mem::take(&mut self.beginning.assembler),
            fitting,
            inbox,
            last: data.map(LastTable::open).transpose()?,
            vips: place.has_vips().then(led),
            standing,
        })
    }

    /// Answers callers and reads files again until the node shall end.
    fn attend(&self, running: &Running) -> Result<()> {
        let answer = || {
            let known = running.standing.lock();
            Answer {
                name: self.args.name.clone(),
                pid: std::process::id(),
                summary: format!("{}; {}", *known, running.totals),
                waits_for: known.waits_for(&self.args.name),
            }
        };
        let is_over = || running.dataplane.iter().any(JoinHandle::is_finished);
        let mut revision = self.beginning.table.revision();
        while self.desk.serve(is_over, answer)? == End::Reload {
            service_manager::tell("RELOADING=1");
            let following = self.following.as_ref();
            match reload(self.args, following, &running.slot, revision + 1) {
                Ok(()) => revision += 1,
                Err(error) => tracing::error!(event = "ReloadRefused", "{error:#}"),
            }
            service_manager::tell("READY=1");
        }
        tracing::info!(event = "Stopping");
        Ok(())
    }
}

impl Running {
    /// Ends all threads, the data plane between two batches.
    fn end(self) -> Result<()> {
        // Routers hear of it while packets are still carried.
        if let Some(speakers) = self.speakers {
            speakers.stop();
        }
        self.stop.store(true, Ordering::Relaxed);
        self.inbox.ring();
        self.slot.end();
        let outcomes: Vec<_> = self.dataplane.into_iter().map(JoinHandle::join).collect();
        let _ = (self.tables.join(), self.listening.join());
        for runtime in self.runtimes {
            runtime.shutdown_timeout(SERVICES_MAX);
        }
        for outcome in outcomes {
            match outcome {
                Ok(outcome) => outcome.context("the data plane ended")?,
                Err(_) => bail!("the data plane panicked"),
            }
        }
        Ok(())
    }
}

/// The file again, where it is all that there is; else the certificates.
fn reload(
    args: &NodeArgs,
    following: Option<&Following>,
    slot: &Slot,
    revision: u64,
) -> Result<()> {
    if let Some(following) = following {
        following.read_again()?;
        tracing::info!(event = "CertificateReloaded");
        return Ok(());
    }
    let table = file_table(&load(args)?, revision)?;
    slot.put(table);
    tracing::info!(event = "FileReloaded", revision);
    Ok(())
}

fn fitting(place: &Place<'_>, grounds: &[Ground]) -> Fitting {
    let at = |encap| tunnel_addresses(&place.table, place.own, encap);
    Fitting {
        udp: at(Encap::GreUdp),
        raw: at(Encap::Gre),
        grounds: grounds.len(),
        has_streams: grounds.iter().any(|ground| ground.streams.is_some()),
        has_raw_gre: grounds.iter().any(|ground| ground.raw_gre.is_some()),
        packet_bytes_max: grounds
            .iter()
            .map(|ground| ground.packet_bytes_max)
            .min()
            .unwrap_or(0),
    }
}

/// As many workers as pay: see docs/performance.md.
fn workers_of_machine() -> usize {
    available_parallelism().map_or(1, |processors| processors.get().min(WORKERS_MAX))
}

/// A thread for each worker, which looks again for up to `busy_poll` before it sleeps. One that ends by itself ends the node.
fn start_workers<F, C>(
    workers: impl Iterator<Item = Dataplane<F, C>>,
    busy_poll: Duration,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<JoinHandle<Result<()>>>>
where
    F: Forwarder + Send + 'static,
    C: Clock + 'static,
{
    let threads = workers.enumerate().map(|(index, mut worker)| {
        worker.busy_poll(busy_poll);
        let stop = Arc::clone(stop);
        let thread = Builder::new().name(format!("dataplane-{index}"));
        let thread = thread.spawn(move || {
            take_short_turns();
            worker.run_until(&stop)
        });
        thread.context("cannot start a thread of the data plane")
    });
    threads.collect()
}

/// The thread that makes route tables. That of a POP leads VIPs to its device.
fn start_tables(work: TableWork) -> Result<JoinHandle<()>> {
    let kept: &[Capability] = if work.vips.is_some() {
        &[Capability::CAP_NET_ADMIN]
    } else {
        &[]
    };
    let kept = kept.to_vec();
    let thread = Builder::new().name("tables".to_owned()).spawn(move || {
        privileges::keep_in_this_thread(&kept);
        work.run();
    });
    thread.context("cannot start the thread of tables")
}

/// Answers a Prometheus server on a runtime of its own.
fn start_metrics(listener: TcpListener, figures: Figures, args: &NodeArgs) -> Result<Runtime> {
    let (_, runtime) = machine(&args.name)?;
    drop(runtime.spawn(metrics_server::serve(listener, registry(figures))));
    Ok(runtime)
}

fn start_listening(listener: Listener) -> Result<JoinHandle<()>> {
    let thread = Builder::new().name("events".to_owned());
    let thread = thread.spawn(move || listener.run());
    thread.context("cannot start the thread of events")
}
