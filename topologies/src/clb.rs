//! `[clb.NAME]`: a load balancer of a region and its listeners.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

use anyedge_ccn::table::SESSION_S;
use anyedge_ccn::table::object::{IpVersion, Profile};
use anyedge_net::route_table::{HealthCheck, IDLE_TIMEOUT_S, RescheduleOn, SourceTold};

use crate::defaults::one_of;
use crate::diagnostic::Wrong;
use crate::health;
use crate::names::{self, Kind};
use crate::reader::Reader;
use crate::security_group;
use crate::snat;
use crate::source_told;
use crate::units;

/// A load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clb {
    /// Name without its kind: `gz-main`.
    pub name: String,
    /// Name of its region.
    pub region: String,
    /// Which families it serves: dual, or clients of IPv6 with targets of IPv4.
    pub ip_version: IpVersion,
    /// Addresses that its targets see in the place of clients (NAT64).
    pub snat: Vec<Ipv4Addr>,
    /// How a backend's answer finds its CLB node.
    pub return_by: ReturnBy,
    /// Flows of a target that is unbound are cut by a RST.
    pub rst_on_unbind: bool,
    /// How long flows of a target that is unbound go on; `None`: not at all.
    pub unbind_drain: Option<Duration>,
    /// Over how long flows that are to be cut are, each at a time of its own.
    pub unbind_spread: Duration,
    /// With all targets of a listener abnormal, all get new flows.
    pub fail_open: bool,
    /// Names of its security groups, in order.
    pub security_groups: Vec<String>,
    /// What its groups accept is not asked about again at the backend.
    pub sg_pass_by_default: bool,
    /// Its groups do not take effect: a fault of old.
    pub eip_bypasses_clb_sg: bool,
    /// Its health checks are not asked about at the backend.
    pub sg_probes_exempt: bool,
    /// It is a shared instance: 50,000 flows at a time and 5,000 new ones a second over all of its listeners.
    pub shared: bool,
    /// Listeners by name, one at least.
    pub listeners: BTreeMap<String, Listener>,
}

/// How a backend's answer finds its CLB node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnBy {
    /// The vSwitch at the backend's host sends it to the flow's CLB node.
    Vswitch,
    /// Plain routing to the region's only CLB node.
    Route,
}

/// A transport protocol that a listener serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// Schedulers by the names that a file gives them.
const SCHEDULERS: [&str; 4] = ["wrr", "wlc", "ip-hash", "maglev"];

/// How a listener chooses a target for a new flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// Smooth weighted round robin.
    Wrr,
    /// The target with the fewest flows for its weight.
    Wlc,
    /// Weighted hashing of the client's address.
    IpHash,
    /// Weighted Maglev hashing.
    Maglev,
}

/// A protocol and port of a CLB, and the servers behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Name within its CLB.
    pub name: String,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port, 1 to 65,535.
    pub port: u16,
    /// How a target is chosen.
    pub scheduler: Scheduler,
    /// Seconds that a client stays with its target after its last new flow; 0: it does not.
    pub session_expire: u32,
    /// Flows at a time; 0: as many as come.
    pub max_conn: u32,
    /// New flows within a second; 0: as many as come.
    pub max_cps: u32,
    /// Seconds that an established TCP flow may be silent; 0: 900.
    pub idle_timeout: u32,
    /// What moves flows that are under way to other targets.
    pub reschedule_on: RescheduleOn,
    /// How its targets are checked; `None`: they are not. TCP only.
    pub health: Option<HealthCheck>,
    /// How its targets are told who the client is. TCP only.
    pub source: SourceTold,
    /// Name of the targets behind it.
    pub targets: String,
}

impl Clb {
    pub(crate) fn read(name: String, mut reader: Reader<'_>, profile: Profile) -> Self {
        let book = reader.book;
        let region = reader.need("region", "\"guangzhou\"", |text| {
            book.names.resolve(text, &[Kind::Region])
        });
        let return_by = reader.parse("return", "\"vswitch\"", |text| match text {
            "vswitch" => Ok(ReturnBy::Vswitch),
            "route" => Ok(ReturnBy::Route),
            _ => Err(one_of(text, "way of return", &["vswitch", "route"])),
        });
        let (ip_version, snat) = snat::read(&mut reader, return_by);
        let rst_on_unbind = reader.boolean("rst_on_unbind");
        let unbind_drain = reader.parse("unbind_drain", "\"30s\"", units::duration_above_zero);
        let unbind_spread = reader.parse("unbind_spread", "\"10s\"", units::duration);
        let fail_open = reader.boolean("fail_open");
        let security_groups = security_group::bound(&mut reader);
        let sg_pass_by_default = reader.boolean("sg_pass_by_default");
        let eip_bypasses_clb_sg = reader.boolean("eip_bypasses_clb_sg");
        let sg_probes_exempt = reader.boolean("sg_probes_exempt");
        let shared = shared(&mut reader, profile);
        let listeners = listeners(&mut reader);
        reader.finish();
        Self {
            name,
            region: region.map(|(_, name)| name).unwrap_or_default(),
            ip_version,
            snat,
            return_by: return_by.unwrap_or(ReturnBy::Vswitch),
            rst_on_unbind: rst_on_unbind.unwrap_or(true),
            unbind_drain,
            unbind_spread: unbind_spread.unwrap_or_default(),
            fail_open: fail_open.unwrap_or(true),
            security_groups,
            sg_pass_by_default: sg_pass_by_default.unwrap_or(false),
            eip_bypasses_clb_sg: eip_bypasses_clb_sg.unwrap_or(false),
            sg_probes_exempt: sg_probes_exempt.unwrap_or(false),
            shared,
            listeners,
        }
    }
}

/// Whether it is a shared instance, which one profile has.
fn shared(reader: &mut Reader<'_>, profile: Profile) -> bool {
    let read = reader.parse("instance", "\"shared\"", |text| match text {
        "unlimited" => Ok(false),
        "shared" if profile == Profile::Tencent => Ok(true),
        "shared" => Err(Wrong::new(
            "shared instances are of profile \"tencent\"",
            "profile = \"tencent\" at the top of the file, or \"unlimited\"",
        )),
        _ => Err(one_of(text, "instance type", &["unlimited", "shared"])),
    });
    read.unwrap_or(false)
}

fn listeners(reader: &mut Reader<'_>) -> BTreeMap<String, Listener> {
    let example = "listener.web = { port = \"tcp/80\", targets = \"web\" }";
    if reader.field("listener").is_none() {
        reader.missing("listener.NAME", "{ port = \"tcp/80\", targets = \"web\" }");
    }
    let mut listeners: BTreeMap<String, Listener> = BTreeMap::new();
    let mut entries = reader.entries("listener", example);
    entries.sort_by_key(|(_, span, _)| span.start);
    for (name, name_span, field) in entries {
        if let Err(wrong) = names::check(name) {
            reader.book.mistakes.add(reader.object(), name_span, wrong);
            continue;
        }
        let Some(inner) = reader.reader_of(&field, example) else {
            continue;
        };
        let Some(listener) = Listener::read(name, inner) else {
            continue;
        };
        let same =
            |other: &&Listener| (other.protocol, other.port) == (listener.protocol, listener.port);
        if let Some(other) = listeners.values().find(same) {
            let Listener { protocol, port, .. } = listener;
            let reason = format!("{protocol}/{port} is taken by listener `{}`", other.name);
            reader.wrong_at(
                &field,
                Wrong::new(reason, "each protocol and port once in a CLB"),
            );
        }
        listeners.insert(name.to_owned(), listener);
    }
    listeners
}

impl Listener {
    fn read(name: &str, mut reader: Reader<'_>) -> Option<Self> {
        let book = reader.book;
        let port = reader.need("port", "\"tcp/80\"", protocol_and_port);
        let scheduler = reader.parse("scheduler", "\"wrr\"", |text| match text {
            "wrr" => Ok(Scheduler::Wrr),
            "wlc" => Ok(Scheduler::Wlc),
            "ip-hash" => Ok(Scheduler::IpHash),
            "maglev" => Ok(Scheduler::Maglev),
            _ => Err(one_of(text, "scheduler", &SCHEDULERS)),
        });
        let scheduler = scheduler.unwrap_or(Scheduler::Wrr);
        let session_expire = session_expire(&mut reader, scheduler);
        let mut limit = |key| reader.integer(key, 1..=u64::from(u32::MAX));
        let limits = [limit("max_conn"), limit("max_cps")];
        let [max_conn, max_cps] = limits.map(|most| most.map_or(0, |most| most as u32));
        let is_tcp = port.is_none_or(|(protocol, _)| protocol == Protocol::Tcp);
        let idle_timeout = idle_timeout(&mut reader, is_tcp);
        let reschedule_on = reschedule_on(&mut reader);
        let health = health::read(&mut reader, port.map(|(protocol, _)| protocol));
        let source = source_told::read(&mut reader, port.map(|(protocol, _)| protocol));
        let targets = reader.need("targets", "\"web\"", |text| {
            book.names.resolve(text, &[Kind::Targets])
        });
        reader.finish();
        let (protocol, port) = port?;
        Some(Self {
            name: name.to_owned(),
            protocol,
            port,
            scheduler,
            session_expire,
            max_conn,
            max_cps,
            idle_timeout,
            reschedule_on,
            health,
            source,
            targets: targets.map(|(_, name)| name).unwrap_or_default(),
        })
    }
}

/// Whole seconds within `range`.
fn seconds(text: &str, range: RangeInclusive<u32>) -> Result<u32, Wrong> {
    let time = units::duration(text)?;
    let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    if time.subsec_nanos() == 0 && range.contains(&seconds) {
        return Ok(seconds);
    }
    Err(Wrong::new(
        format!("\"{text}\" is out of range"),
        format!("whole seconds from {}s to {}s", range.start(), range.end()),
    ))
}

/// Reads `idle_timeout = "300s"` as seconds; 0 where the file has none.
fn idle_timeout(reader: &mut Reader<'_>, is_tcp: bool) -> u32 {
    let field = reader.field("idle_timeout");
    let read = reader.parse("idle_timeout", "\"300s\"", |text| {
        seconds(text, IDLE_TIMEOUT_S)
    });
    if let Some(field) = field.filter(|_| !is_tcp) {
        let wrong = Wrong::new("an idle timeout is of TCP", "leave it out");
        reader.wrong_at(&field, wrong);
    }
    read.unwrap_or(0)
}

/// Reads `reschedule_on = ["unhealthy"]`.
fn reschedule_on(reader: &mut Reader<'_>) -> RescheduleOn {
    const ALL: [&str; 4] = ["unbind", "weight_zero", "unhealthy", "scale_out"];
    let mut on = RescheduleOn::default();
    let example = "[\"unhealthy\"]";
    for field in reader.list("reschedule_on", example).unwrap_or_default() {
        let place = reader.parse_field(&field, example, |text| {
            let place = match text {
                "unbind" => &mut on.unbind,
                "weight_zero" => &mut on.weight_zero,
                "unhealthy" => &mut on.unhealthy,
                "scale_out" => &mut on.scale_out,
                _ => return Err(one_of(text, "reason to move flows", &ALL)),
            };
            *place = true;
            Ok(())
        });
        let _ = place;
    }
    on
}

/// Reads `session_expire = "5m"` as seconds; `"0s"` is off.
fn session_expire(reader: &mut Reader<'_>, scheduler: Scheduler) -> u32 {
    let field = reader.field("session_expire");
    let read = reader.parse("session_expire", "\"300s\"", |text| {
        if units::duration(text)?.is_zero() {
            return Ok(0);
        }
        seconds(text, SESSION_S)
    });
    let seconds = read.unwrap_or(0);
    if let Some(field) = field
        && seconds > 0
        && scheduler != Scheduler::Wrr
    {
        reader.wrong_at(
            &field,
            Wrong::new(
                "clients stay with `scheduler = \"wrr\"` alone",
                "leave it out",
            ),
        );
    }
    seconds
}

/// Reads `tcp/80`.
fn protocol_and_port(text: &str) -> Result<(Protocol, u16), Wrong> {
    let not_one = || {
        Wrong::new(
            format!("\"{text}\" is no protocol and port"),
            "such as \"tcp/80\" or \"udp/7000\"",
        )
    };
    let (protocol, port) = text.split_once('/').ok_or_else(not_one)?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Err(not_one()),
    };
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(not_one());
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok((protocol, port)),
        _ => Err(Wrong::new(
            format!("port {port} is out of range"),
            "1 to 65535",
        )),
    }
}
