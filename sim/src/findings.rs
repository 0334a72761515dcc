//! From a world that has ended to its report.

mod faults;
mod shares;
mod timeline;

use std::collections::BTreeMap;

use anyedge_net::rng::Seed;
use anyedge_net::time::{Instant, nanos};
use anyedge_topologies::{Client, Kind, LoadKind, SloOf, Topology};
use anyedge_traffic::stats::Stats;

use crate::internet::{Population, SiteId};
use crate::node::AnyForwarder;
use crate::report::{
    AssumedLink, ClientReport, ControlReport, FaultReport, FlowReport, Latency, LinkReport,
    LoadReport, Report, SCHEMA, Service, SloReport, causes, millis,
};
use crate::run::LoadAccount;
use crate::stack;
use crate::verdict;
use crate::world::World;

const CATCHMENT: &str = "fewest networks, then lowest RTT (ideal)";

/// Puts together what the run found.
pub(crate) fn report(
    topology: &Topology,
    seed: Seed,
    digest: u64,
    now: Instant,
    world: &World,
    accounts: &[LoadAccount],
    site_names: &BTreeMap<SiteId, String>,
) -> Report {
    let sums = Sums::of(accounts);
    let clients: Vec<ClientReport> = topology
        .clients
        .values()
        .filter(|client| !client.loads.is_empty())
        .map(|client| client_report(topology, client, world, (accounts, &sums), site_names))
        .collect();
    let faults = faults::report(topology, world, accounts, now);
    let listeners = shares::report(world, &world.tally.opened_at);
    Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        topology: topology.name.clone(),
        topology_hash: format!("{:016x}", topology.hash),
        overrides: topology.overrides.clone(),
        seed: seed.0,
        digest: format!("{digest:016x}"),
        virtual_s: now.as_secs_f64(),
        wall_s: 0.0,
        memory_peak_bytes: 0,
        events: world.steps(),
        packet_hops: world.packet_hops(),
        catchment: CATCHMENT,
        tcp_stack: stack::tcp_name(topology.defaults.tcp),
        retransmissions: world.retransmissions(),
        clients,
        links: links(world),
        assumed_links: assumed_links(topology),
        slos: slos(topology, &sums, &faults, world),
        faults,
        flows: flows(world),
        listeners,
        control: control(topology, world),
        drops: causes(&world.drops()),
        timeline: timeline::report(world, accounts, site_names),
    }
}

/// The accounts, added up by client.
struct Sums {
    anycast: BTreeMap<String, Stats>,
    direct: BTreeMap<String, Stats>,
}

impl Sums {
    fn of(accounts: &[LoadAccount]) -> Sums {
        let mut sums = Sums {
            anycast: BTreeMap::new(),
            direct: BTreeMap::new(),
        };
        for account in accounts {
            let side = if account.direct {
                &mut sums.direct
            } else {
                &mut sums.anycast
            };
            side.entry(account.client.clone())
                .or_default()
                .merge(&account.stats.lock());
        }
        sums
    }
}

fn client_report(
    topology: &Topology,
    client: &Client,
    world: &World,
    (accounts, sums): (&[LoadAccount], &Sums),
    site_names: &BTreeMap<SiteId, String>,
) -> ClientReport {
    let none = Stats::default();
    let stats = sums.anycast.get(&client.name).unwrap_or(&none);
    let direct = sums.direct.get(&client.name);
    let own = Kind::Client.object(&client.name);
    let population = world
        .internet
        .populations()
        .iter()
        .find(|population| population.name == own);
    let pops = population
        .map(|population| entries(population, world, site_names))
        .unwrap_or_default();
    // The name breaks ties, so that two equal POPs do not swap from run to run.
    let pop = pops
        .iter()
        .max_by_key(|(name, count)| (**count, core::cmp::Reverse(*name)))
        .map(|(name, _)| name.clone());
    let service = Service::of(stats, direct);
    ClientReport {
        name: client.name.clone(),
        gain_assumed: service.gain_ms.is_some()
            && pops
                .keys()
                .any(|pop| rests_on_assumption(topology, client, pop)),
        pop,
        pops,
        service,
        broken_flows: stats.broken_flows(),
        gap_s: stats.longest_gap().as_secs_f64(),
        gap_from_s: stats.longest_gap_from().map(Instant::as_secs_f64),
        loads: loads(client, accounts),
    }
}

fn loads(client: &Client, accounts: &[LoadAccount]) -> Vec<LoadReport> {
    let account = |number: usize, direct: bool| {
        accounts.iter().find(|account| {
            (account.client.as_str(), account.number, account.direct)
                == (client.name.as_str(), number, direct)
        })
    };
    let reports = client
        .loads
        .iter()
        .enumerate()
        .filter_map(|(number, load)| {
            let stats = account(number, false)?.stats.lock();
            let direct = account(number, true).map(|account| account.stats.lock());
            Some(LoadReport {
                to: load.destination(),
                kind: load.kind.name(),
                syns_sent: (load.kind == LoadKind::SynFlood).then(|| stats.syns()),
                service: Service::of(&stats, direct.as_deref()),
                broken_flows: stats.broken_flows(),
                gap_s: stats.longest_gap().as_secs_f64(),
                gap_from_s: stats.longest_gap_from().map(Instant::as_secs_f64),
                stats: stats.clone(),
                direct_latencies: direct.map(|stats| stats.intended().clone()),
            })
        });
    reports.collect()
}

/// Packets of a population by the POP that they entered by.
fn entries(
    population: &Population,
    world: &World,
    names: &BTreeMap<SiteId, String>,
) -> BTreeMap<String, u64> {
    population
        .paths
        .iter()
        .map(|(site, path)| {
            let name = names
                .get(site)
                .map_or("", |name| name.strip_prefix("pop.").unwrap_or(name));
            (name.to_owned(), world.links[path.to_site.index()].delivered)
        })
        .filter(|(_, delivered)| *delivered > 0)
        .collect()
}

/// Whether the way from `pop` to the home of any of the client's loads is an assumed link.
fn rests_on_assumption(topology: &Topology, client: &Client, pop: &str) -> bool {
    client.loads.iter().any(|load| {
        let region = topology.home_region(&load.vip);
        topology
            .link_between(pop, &region.name)
            .is_some_and(|link| link.assumed)
    })
}

fn links(world: &World) -> Vec<LinkReport> {
    let mut links: Vec<LinkReport> = world
        .links
        .iter()
        .map(|link| LinkReport {
            name: link.spec.name.clone(),
            delivered: link.delivered,
            delivered_bytes: link.delivered_bytes,
            dropped: causes(&link.dropped),
        })
        .collect();
    links.sort_by(|a, b| a.name.cmp(&b.name));
    links
}

fn assumed_links(topology: &Topology) -> Vec<AssumedLink> {
    let assumed = topology.links.values().filter(|link| link.assumed);
    assumed
        .map(|link| AssumedLink {
            name: link.name.clone(),
            rtt_ms: millis(nanos(link.rtt)),
            source: link.source.clone(),
        })
        .collect()
}

fn slos(topology: &Topology, sums: &Sums, faults: &[FaultReport], world: &World) -> Vec<SloReport> {
    let mut all = Stats::default();
    sums.anycast.values().for_each(|stats| all.merge(stats));
    let none = Stats::default();
    let judged = |slo: &anyedge_topologies::Slo| match &slo.of {
        SloOf::Clients => verdict::clients(slo, &all),
        SloOf::Client(name) => verdict::clients(slo, sums.anycast.get(name).unwrap_or(&none)),
        SloOf::Listener { .. } => {
            let within = verdict::span(slo);
            let mut windows = world.tally.opened_within.iter();
            let own = windows.find(|(span, _)| within == Some(*span));
            let opened = own.map_or(&world.tally.opened_at, |(_, opened)| opened);
            verdict::listener(slo, &shares::report(world, opened))
        }
        SloOf::Fault(_) | SloOf::Faults => verdict::faults(slo, faults),
    };
    topology.slos.iter().flat_map(judged).collect()
}

fn control(topology: &Topology, world: &World) -> Option<ControlReport> {
    let own = world.control.as_ref()?;
    let account = &own.account;
    Some(ControlReport {
        controllers: topology.controllers.len(),
        elections: account.elections(),
        term: account.term,
        commands: account.commits.len(),
        commit_ms: Latency::of(&account.commits),
        revisions: account.revisions(),
        in_force_ms: Latency::of(&account.everywhere),
        not_in_force: account.on_their_way(),
        tables_refused: own.tables.refused,
        stopped: account.stopped.clone(),
    })
}

fn flows(world: &World) -> FlowReport {
    let tally = &world.tally;
    let still_open = world.nodes.iter().map(|node| match &node.forwarder {
        AnyForwarder::ClbNode(clb_node) => clb_node.flows() as u64,
        AnyForwarder::Pop(_) | AnyForwarder::VSwitch(_) => 0,
    });
    let flows = FlowReport {
        opened: tally.opened,
        established: tally.established,
        moved: tally.moved,
        taken_over: tally.taken_over,
        lost: tally.lost,
        closed: tally
            .closed
            .iter()
            .map(|(end, count)| (format!("{end:?}"), *count))
            .collect(),
        still_open: still_open.sum(),
    };
    // A flow that changes hands is taken over by one node and ends as handed over at the other.
    assert_eq!(
        flows.opened + tally.taken_over,
        tally.closed_total() + tally.lost + flows.still_open,
        "conservation of flows"
    );
    flows
}
