//! `[defaults] bgp`: how POPs tell their routers what they announce, and `[router.NAME]`: the router beside a POP.
//!
//! Every POP has one router, of the POP's name; a file need not say more of it. The two have addresses of
//! 172.20.0.0/16 and fd00:ae:0:5::/64 unless it does. With `bgp = false` there are none, and the Internet hears what
//! POPs announce as they decide it.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::addresses::{AddressPair, Space};
use crate::diagnostic::Wrong;
use crate::names::Kind;
use crate::reader::Reader;
use crate::units;

const BGP_EXAMPLE: &str =
    "bgp = { hold = \"90s\", bfd = { interval = \"300ms\", multiplier = 3 } }";
const BFD_EXAMPLE: &str = "{ interval = \"300ms\", multiplier = 3 }";
const BFD_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(10);
/// Four bytes, without 0 and the last (RFC 7300).
const AS_NUMBERS: RangeInclusive<u64> = 1..=4_294_967_294;

/// The longest TCP MD5 key that kernels take, in bytes.
const KEY_BYTES_MAX: usize = 80;

/// How POPs speak with their routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bgp {
    /// The POPs' AS.
    pub asn: u32,
    /// The routers' AS.
    pub router_asn: u32,
    /// The hold time that POPs propose, 3 s to 18 h in whole seconds.
    pub hold: Duration,
    /// BFD beside each session; `None`: none.
    pub bfd: Option<Bfd>,
    /// How long a POP that drains announces on with GRACEFUL_SHUTDOWN (RFC 8326) before it withdraws.
    pub graceful_shutdown: Duration,
}

/// How soon a silent neighbour is missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bfd {
    /// Between two packets, either way.
    pub interval: Duration,
    /// How many may be missed, 1 to 50.
    pub multiplier: u8,
}

impl Default for Bgp {
    fn default() -> Self {
        Self {
            asn: 64_512,
            router_asn: 64_600,
            hold: Duration::from_secs(90),
            bfd: Some(Bfd {
                interval: Duration::from_millis(300),
                multiplier: 3,
            }),
            graceful_shutdown: Duration::from_secs(30),
        }
    }
}

impl Bgp {
    /// Reads `bgp`: `false`, or a table of what differs from the default.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let default = Self::default();
        let Some(field) = reader.field("bgp") else {
            return Some(default);
        };
        if let Some(spoken) = field.value.as_bool() {
            return spoken.then_some(default);
        }
        let mut table = reader.reader_of(&field, BGP_EXAMPLE)?;
        let asn = as_number(&mut table, "asn").unwrap_or(default.asn);
        let router_asn = as_number(&mut table, "router_asn").unwrap_or(default.router_asn);
        let hold = hold(&mut table).unwrap_or(default.hold);
        let bfd = Bfd::read(&mut table, default.bfd);
        let graceful_shutdown = table.parse("graceful_shutdown", "\"30s\"", units::duration);
        table.finish();
        Some(Self {
            asn,
            router_asn,
            hold,
            bfd,
            graceful_shutdown: graceful_shutdown.unwrap_or(default.graceful_shutdown),
        })
    }
}

impl Bfd {
    /// Reads `bfd`: `false`, `true`, or a table of what differs from `otherwise`.
    fn read(reader: &mut Reader<'_>, otherwise: Option<Self>) -> Option<Self> {
        let Some(field) = reader.field("bfd") else {
            return otherwise;
        };
        let default = otherwise.or(Bgp::default().bfd)?;
        if let Some(wanted) = field.value.as_bool() {
            return wanted.then_some(default);
        }
        let mut table = reader.reader_of(&field, BFD_EXAMPLE)?;
        let interval = table.parse("interval", "\"300ms\"", |text| {
            units::duration_within(text, BFD_INTERVAL)
        });
        let multiplier = table.integer("multiplier", 1..=50);
        table.finish();
        Some(Self {
            interval: interval.unwrap_or(default.interval),
            multiplier: multiplier
                .and_then(|multiplier| u8::try_from(multiplier).ok())
                .unwrap_or(default.multiplier),
        })
    }
}

/// The router beside a POP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// The POP's name, which is also its own.
    pub name: String,
    /// Its AS.
    pub asn: u32,
    /// Its addresses; sessions go to the IPv4 one, if there is one.
    pub address: AddressPair,
    /// The POP's addresses towards it: where sessions come from, and the next hops of routes.
    pub pop: AddressPair,
    /// The hold time.
    pub hold: Duration,
    /// BFD beside the session; `None`: none.
    pub bfd: Option<Bfd>,
    /// The key of TCP MD5 (RFC 2385); `None`: the session is not signed. Simulated hosts sign nothing.
    pub md5: Option<String>,
    /// Whether packets of the session that crossed a router are refused (RFC 5082); simulated ones cross none.
    pub gtsm: bool,
}

impl Router {
    /// The router of a POP of which the file says nothing.
    pub(crate) fn usual(pop: &str, bgp: &Bgp, space: &mut Space) -> Self {
        let given = space.give(pop, 2).unwrap_or_default();
        let next = AddressPair {
            v4: given.v4.map(|v4| (v4.to_bits() + 1).into()),
            v6: given.v6.map(|v6| (v6.to_bits() + 1).into()),
        };
        Self {
            name: pop.to_owned(),
            asn: bgp.router_asn,
            address: next,
            pop: given,
            hold: bgp.hold,
            bfd: bgp.bfd,
            md5: None,
            gtsm: false,
        }
    }

    /// Takes over what the file says of it.
    pub(crate) fn read(&mut self, mut reader: Reader<'_>) {
        self.asn = as_number(&mut reader, "asn").unwrap_or(self.asn);
        let example = "[\"192.0.2.1\", \"2001:db8:9::1\"]";
        let given = AddressPair::read(&mut reader, "address", example);
        let pop = AddressPair::read(&mut reader, "pop_address", example);
        match (given, pop) {
            (Some(given), Some(pop)) => (self.address, self.pop) = (given, pop),
            (None, None) => {}
            (Some(_), None) => reader.missing("pop_address", example),
            (None, Some(_)) => reader.missing("address", example),
        }
        let [own, other] =
            [self.address, self.pop].map(|pair| (pair.v4.is_some(), pair.v6.is_some()));
        if own != other {
            reader.wrong(Wrong::new(
                "`address` and `pop_address` are not of the same families",
                "the same of both: a wire has two ends",
            ));
        }
        self.hold = hold(&mut reader).unwrap_or(self.hold);
        self.bfd = Bfd::read(&mut reader, self.bfd);
        self.md5 = reader.parse("md5", "\"secret\"", key).or(self.md5.take());
        self.gtsm = reader.boolean("gtsm").unwrap_or(self.gtsm);
        reader.finish();
    }

    /// Its full name: `router.tokyo`.
    #[must_use]
    pub fn object(&self) -> String {
        Kind::Router.object(&self.name)
    }
}

fn key(text: &str) -> Result<String, Wrong> {
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'"');
    if is_plain && (1..=KEY_BYTES_MAX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    let hint =
        format!("1 to {KEY_BYTES_MAX} visible ASCII characters, none of them a quotation mark");
    Err(Wrong::new("no key of TCP MD5", hint))
}

fn as_number(reader: &mut Reader<'_>, name: &'static str) -> Option<u32> {
    u32::try_from(reader.integer(name, AS_NUMBERS)?).ok()
}

fn hold(reader: &mut Reader<'_>) -> Option<Duration> {
    let within = Duration::from_secs(3)..=Duration::from_secs(65_535);
    reader.parse("hold", "\"90s\"", |text| {
        let hold = units::duration_within(text, within)?;
        if hold.subsec_nanos() == 0 {
            return Ok(hold);
        }
        let reason = format!("\"{text}\" is no number of seconds");
        Err(Wrong::new(reason, "whole seconds, such as \"90s\""))
    })
}
