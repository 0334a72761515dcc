//! Routers of a lab: BIRD beside every POP and in every client population, so that clients enter where BGP says.
//!
//! `router.tokyo` peers with the speakers of `pop.tokyo`, with BFD, and with every population whose `public` names
//! that POP. A population prefers the router with the least round trip in the file, by LOCAL_PREF; one that shuts down
//! gracefully (RFC 8326) it takes last. Routes to VIPs come from BGP alone, in the routers' kernels and in the clients'.
//!
//! Reference: the BIRD 2.0 User's Guide.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyedge_topologies::{AddressPair, Client, Kind, Router, Topology};
use anyhow::{Result, bail};

use super::blueprint::ProcessPlan;
use super::name::LabName;
use super::state::folder_of;

/// How long clients' routes to all VIPs may take to come.
pub const CONVERGENCE_MAX: Duration = Duration::from_secs(15);
/// How often a router that has not heard of all yet is asked again.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// ASes of populations begin here.
const CLIENTS_AS: u32 = 4_200_000_000;
/// What names of routers' processes start with, in the place of a kind.
const PROCESS: &str = "bird";
/// The preference of a way without a round trip.
const PREFERENCE_MAX: u64 = 4_000_000_000;
/// What a network more on the path takes of it: more than any round trip, in microseconds.
const NETWORK_WEIGHT: u64 = 60_000_000;

/// One router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterPlan {
    /// The node whose namespace it runs in: `router.tokyo` or `client.osaka`.
    pub node: String,
    /// Its whole configuration.
    pub text: String,
    /// Prefixes that it must know a way to before the lab is up.
    pub awaited: Vec<String>,
}

/// A wire between a POP's router and a population: their addresses on it.
#[derive(Clone, Copy, Debug)]
pub struct PublicWire<'a> {
    /// The POP.
    pub pop: &'a str,
    /// The router's end.
    pub router: AddressPair,
    /// The population's end.
    pub client: AddressPair,
}

/// BIRD on this machine, if it is installed.
pub fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let has_both = |folder: &PathBuf| folder.join("bird").exists() && folder.join("birdc").exists();
    let folder = std::env::split_paths(&path).find(has_both)?;
    Some(folder.join("bird"))
}

/// The name of the router process in a node.
pub fn process_name(node: &str) -> String {
    format!("{PROCESS}.{node}")
}

/// The process of a router.
pub fn process(bird: &Path, lab: &LabName, node: &str) -> ProcessPlan {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let arguments = [
        "-f".to_owned(),
        "-c".to_owned(),
        text(config_of(lab, node)),
        "-s".to_owned(),
        text(socket_of(lab, node)),
    ];
    ProcessPlan {
        node: node.to_owned(),
        name: process_name(node),
        program: Some(bird.to_owned()),
        arguments: arguments.to_vec(),
        control: None,
    }
}

/// Writes the routers' files.
///
/// # Errors
/// When one cannot be written.
pub fn write(lab: &LabName, routers: &[RouterPlan]) -> Result<()> {
    for router in routers {
        std::fs::write(config_of(lab, &router.node), &router.text)?;
    }
    Ok(())
}

fn config_of(lab: &LabName, node: &str) -> PathBuf {
    folder_of(lab).join(format!("{}.conf", process_name(node)))
}

fn socket_of(lab: &LabName, node: &str) -> PathBuf {
    folder_of(lab).join(format!("{}.ctl", process_name(node)))
}

/// What the router of a node says to a question of `birdc`; empty when it does not answer.
pub fn shows(lab: &LabName, node: &str, question: &str) -> String {
    let mut birdc = Command::new("birdc");
    birdc.arg("-s").arg(socket_of(lab, node));
    let answer = birdc.args(question.split(' ')).output();
    answer.map_or_else(
        |_| String::new(),
        |answer| String::from_utf8_lossy(&answer.stdout).into_owned(),
    )
}

/// How the sessions of a router's process stand: `pop_tokyo Established, client_osaka Established`. `None` for any
/// other process.
pub fn summary(lab: &LabName, process: &str) -> Option<String> {
    let node = process.strip_prefix(PROCESS)?.strip_prefix('.')?;
    let shown = shows(lab, node, "show protocols");
    let sessions = shown.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let is_session = words.next()? == "BGP";
        // Table, state, since, and what the session says of itself.
        let told: Vec<&str> = words.skip(3).collect();
        is_session.then(|| format!("{name} {}", told.join(" ")))
    });
    Some(sessions.collect::<Vec<_>>().join(", "))
}

/// Waits until every router knows a way to all that it must.
///
/// # Errors
/// When one does not after [`CONVERGENCE_MAX`].
pub fn await_routes(lab: &LabName, routers: &[RouterPlan]) -> Result<()> {
    let started = Instant::now();
    for router in routers {
        loop {
            let shown = shows(lab, &router.node, "show route");
            let missing = router
                .awaited
                .iter()
                .find(|prefix| !shown.contains(*prefix));
            let Some(missing) = missing else { break };
            if started.elapsed() > CONVERGENCE_MAX {
                let sessions = shows(lab, &router.node, "show protocols");
                bail!(
                    "{} has no route to {missing} after {CONVERGENCE_MAX:?}\n{sessions}",
                    router.node
                );
            }
            std::thread::sleep(ASK_EVERY);
        }
    }
    Ok(())
}

/// The router beside a POP; `clients` are those with a wire to it, and `interface` leads to the POP.
pub fn beside_pop(
    topology: &Topology,
    router: &Router,
    interface: &str,
    clients: &[(&Client, PublicWire<'_>)],
) -> RouterPlan {
    let id = router.address.v4.unwrap_or(Ipv4Addr::new(192, 0, 2, 1));
    let mut text = head(id, "");
    if let Some(bfd) = router.bfd {
        let interval = bfd.interval.as_millis();
        let multiplier = bfd.multiplier;
        push(
            &mut text,
            format_args!(
                "protocol bfd {{ interface \"{interface}\" {{ min rx interval {interval} ms; \
             min tx interval {interval} ms; multiplier {multiplier}; }}; }}\n"
            ),
        );
    }
    let asn = topology.defaults.bgp.map_or(router.asn, |bgp| bgp.asn);
    let session = Session {
        name: name_of(&Kind::Pop.object(&router.name)),
        ases: [router.asn, asn],
        ends: [router.address, router.pop],
        hold: router.hold,
        bfd: router.bfd.is_some(),
        passive: true,
        guard: guard_of(router),
        import: "all".to_owned(),
        export: "none".to_owned(),
    };
    session.write(&mut text);
    for (client, wire) in clients {
        let session = Session {
            name: name_of(&Kind::Client.object(&client.name)),
            ases: [router.asn, as_of(topology, client)],
            ends: [wire.router, wire.client],
            hold: Duration::from_secs(90),
            bfd: false,
            passive: true,
            guard: String::new(),
            import: "all".to_owned(),
            export: format!(
                "where proto = \"{}\"",
                name_of(&Kind::Pop.object(&router.name))
            ),
        };
        session.write(&mut text);
    }
    let published = topology.vips.values();
    let published = published.filter(|vip| vip.publish.contains(&router.name));
    let awaited = published.flat_map(|vip| &vip.prefixes);
    RouterPlan {
        node: router.object(),
        text,
        awaited: awaited.map(ToString::to_string).collect(),
    }
}

/// The router inside a population, whose addresses are `own`.
pub fn of_client(
    topology: &Topology,
    client: &Client,
    own: AddressPair,
    wires: &[PublicWire<'_>],
) -> RouterPlan {
    let id = own.v4.unwrap_or(Ipv4Addr::new(192, 0, 2, 2));
    let mut text = head(id, &source_of(own));
    for ip in own.iter() {
        let family = family_of(ip);
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        push(
            &mut text,
            format_args!("protocol static {{ {family}; route {ip}/{bits} blackhole; }}\n"),
        );
    }
    for wire in wires {
        let Some(router) = topology.routers.get(wire.pop) else {
            continue;
        };
        // The fabric's path is as long from everywhere, so its networks are counted here.
        let (networks, rtt) = client.preference(wire.pop).unwrap_or_default();
        let rtt = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        let rest = u64::from(networks) * NETWORK_WEIGHT + rtt.min(NETWORK_WEIGHT - 1);
        let preference = PREFERENCE_MAX.saturating_sub(rest);
        let session = Session {
            name: name_of(&router.object()),
            ases: [as_of(topology, client), router.asn],
            ends: [wire.client, wire.router],
            hold: Duration::from_secs(90),
            bfd: false,
            passive: false,
            guard: String::new(),
            import: format!(
                "filter {{ bgp_local_pref = {preference}; \
                 if (65535, 0) ~ bgp_community then bgp_local_pref = 0; accept; }}"
            ),
            export: "where source = RTS_STATIC".to_owned(),
        };
        session.write(&mut text);
    }
    let reached = topology.vips.values();
    let reached = reached.filter(|vip| {
        vip.publish
            .iter()
            .any(|pop| client.pop_rtts.contains_key(pop))
    });
    let awaited = reached.flat_map(|vip| &vip.prefixes);
    RouterPlan {
        node: Kind::Client.object(&client.name),
        text,
        awaited: awaited.map(ToString::to_string).collect(),
    }
}

fn as_of(topology: &Topology, client: &Client) -> u32 {
    let place = topology
        .clients
        .keys()
        .position(|name| *name == client.name);
    CLIENTS_AS + u32::try_from(place.unwrap_or(0)).unwrap_or(0)
}

/// A name as BIRD takes it.
fn name_of(object: &str) -> String {
    object.replace(['.', '-'], "_")
}

const fn family_of(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "ipv4" } else { "ipv6" }
}

/// Packets of the node's own leave with its own address, not the wire's.
fn source_of(own: AddressPair) -> String {
    let v4 = own
        .v4
        .map(|ip| format!("if net.type = NET_IP4 then krt_prefsrc = {ip}; "));
    let v6 = own
        .v6
        .map(|ip| format!("if net.type = NET_IP6 then krt_prefsrc = {ip}; "));
    v4.into_iter().chain(v6).collect()
}

/// What every router has: BGP's routes go into the kernel.
fn head(id: Ipv4Addr, source: &str) -> String {
    let mut text = format!("log stderr all;\nrouter id {id};\nprotocol device {{ }}\n");
    push(
        &mut text,
        format_args!("filter installed {{ if source != RTS_BGP then reject; {source}accept; }}\n"),
    );
    for family in ["ipv4", "ipv6"] {
        push(
            &mut text,
            format_args!(
                "protocol kernel {{ {family} {{ import none; export filter installed; }}; }}\n"
            ),
        );
    }
    text
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("text takes text");
}

/// What protects the session with the POP.
fn guard_of(router: &Router) -> String {
    let md5 = router.md5.as_ref();
    let md5 = md5.map(|key| format!("    password \"{key}\";\n"));
    let gtsm = router.gtsm.then(|| "    ttl security on;\n".to_owned());
    md5.into_iter().chain(gtsm).collect()
}

/// One session, ours first.
struct Session {
    name: String,
    ases: [u32; 2],
    ends: [AddressPair; 2],
    hold: Duration,
    bfd: bool,
    passive: bool,
    /// Whole lines.
    guard: String,
    import: String,
    export: String,
}

impl Session {
    /// Goes over IPv4 where both ends have it.
    fn write(&self, text: &mut String) {
        let [own, other] = self.ends;
        let v4 = own
            .v4
            .zip(other.v4)
            .map(|(own, other)| (own.into(), other.into()));
        let v6 = own
            .v6
            .zip(other.v6)
            .map(|(own, other)| (own.into(), other.into()));
        let Some((local, remote)): Option<(IpAddr, IpAddr)> = v4.or(v6) else {
            return;
        };
        let Self {
            name,
            ases: [ours, theirs],
            import,
            export,
            ..
        } = self;
        let hold = self.hold.as_secs();
        push(
            text,
            format_args!(
                "protocol bgp {name} {{\n    local {local} as {ours};\n    neighbor {remote} as {theirs};\n    direct;\n    \
             hold time {hold};\n    connect delay time 1;\n    connect retry time 1;\n    error wait time 1, 2;\n"
            ),
        );
        for (is_so, option) in [(self.bfd, "bfd yes"), (self.passive, "passive yes")] {
            if is_so {
                push(text, format_args!("    {option};\n"));
            }
        }
        text.push_str(&self.guard);
        for ip in own.iter() {
            let family = family_of(ip);
            push(
                text,
                format_args!(
                    "    {family} {{ import {import}; export {export}; next hop address {ip}; }};\n"
                ),
            );
        }
        text.push_str("}\n");
    }
}
