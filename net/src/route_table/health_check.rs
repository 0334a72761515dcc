//! Health check: how often a target is probed, and how many results change what is thought of it.
//!
//! Ranges and defaults are those of the product: an interval of 2-300 s, a timeout of 2-60 s that is shorter than
//! the interval, and thresholds of 2-10 results in a row. The author of the routes keeps them; nodes take any
//! values that they get.

use core::fmt;
use core::ops::RangeInclusive;
use core::time::Duration;
use std::sync::Arc;

use crate::flow::{Address, Family};
use crate::switch;
use crate::wire::{tcp, udp};

/// Seconds that may lie between two checks of a target.
pub const INTERVAL_S: RangeInclusive<u64> = 2..=300;
/// Seconds that an answer may take.
pub const TIMEOUT_S: RangeInclusive<u64> = 2..=60;
/// Results in a row that may be asked for.
pub const THRESHOLD: RangeInclusive<u8> = 2..=10;

/// Bytes that a custom check may send, and wait for.
pub const EXCHANGE_BYTES: RangeInclusive<usize> = 1..=500;
/// Seconds that the falls of a target may be remembered.
pub const DAMPING_S: RangeInclusive<u64> = 10..=3_600;
/// How long a target is blocked after [`PASSIVE_FAILURES`], and within which time they count.
pub const PASSIVE_BLOCK: Duration = Duration::from_secs(10);
/// Clients that a target refuses until passive checks block it.
pub const PASSIVE_FAILURES: u8 = 3;

/// How a listener's targets are checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HealthCheck {
    /// From one check to the next, whatever comes of it.
    pub interval: Duration,
    /// How long the answer may take.
    pub timeout: Duration,
    /// Failures in a row that make a target abnormal.
    pub unhealthy: u8,
    /// Successes in a row that make it healthy.
    pub healthy: u8,
    /// What is sent, and what has to come back.
    pub method: Method,
    /// The port that is checked; `None`: the one that gets the flows.
    pub port: Option<u16>,
    /// Where checks come from.
    pub source: ProbeSource,
    /// Whether a target that refuses [`PASSIVE_FAILURES`] clients gets no new flow for [`PASSIVE_BLOCK`]. TCP only.
    pub passive: bool,
    /// How long a fall to abnormal is remembered. From the third on, each within this time of the one before, a target
    /// has to succeed twice as often in a row as after the last, up to eight times as often. `None`: no fall is.
    pub damping: Option<Duration>,
}

/// What a check sends, and what has to come back in time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Method {
    /// A SYN; a SYN+ACK has to come back, and a RST cuts what began.
    #[default]
    Tcp,
    /// The same, then bytes of ours that have to be answered by bytes that begin as these.
    TcpExchange(Arc<Exchange>),
    /// An ICMP echo, which has to be answered.
    Ping,
    /// An ICMP echo, which has to be answered, and a datagram, which must not be refused as for a port that is closed. A
    /// host that limits its ICMP errors hides a closed port (RFC 1812 §4.3.2.8): an exchange does not have this hole.
    UdpPort,
    /// A datagram, to be answered by one that begins as these bytes.
    UdpExchange(Arc<Exchange>),
}

/// The bytes of a custom check.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Exchange {
    /// What is sent.
    pub request: Vec<u8>,
    /// What the answer begins with.
    pub reply: Vec<u8>,
}

/// Where checks come from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum ProbeSource {
    /// The load balancer's VIP.
    #[default]
    Vip,
    /// An address of 100.64.0.0/10 (RFC 6598), each CLB node's own; to IPv6 targets the VIP.
    Shared,
}

impl ProbeSource {
    /// The network address of 100.64.0.0/10: in the place of a VIP, where none is of the target's family (NAT64).
    pub const BLOCK: Address = Address::v4([100, 64, 0, 0]);

    /// Whether checks may come from that address, be it a VIP or not.
    pub fn is_shared(address: &Address) -> bool {
        let octets = address.v4_octets();
        octets.is_some_and(|[first, second, ..]| first == 100 && second & 0xc0 == 64)
    }

    /// The address that a node checks from; `place` is its place among the region's nodes.
    pub fn address(self, vip: Address, place: u16) -> Address {
        let shared = self == ProbeSource::Shared && switch::is_on("P-HC14");
        if vip.family() == Family::V6 || !(shared || vip == ProbeSource::BLOCK) {
            return vip;
        }
        let [high, low] = place.wrapping_add(1).to_be_bytes();
        Address::v4([100, 64, high, low])
    }
}

impl Method {
    /// Whether it is made with packets of that protocol, whatever else it sends.
    pub const fn is_of(&self, protocol: u8) -> bool {
        match self {
            Method::Tcp | Method::TcpExchange(_) => protocol == tcp::PROTOCOL,
            Method::UdpPort | Method::UdpExchange(_) => protocol == udp::PROTOCOL,
            Method::Ping => true,
        }
    }

    /// Whether it sends an ICMP echo.
    pub const fn pings(&self) -> bool {
        matches!(self, Method::Ping | Method::UdpPort)
    }

    /// The bytes of a custom check.
    pub const fn exchange(&self) -> Option<&Arc<Exchange>> {
        match self {
            Method::TcpExchange(exchange) | Method::UdpExchange(exchange) => Some(exchange),
            Method::Tcp | Method::Ping | Method::UdpPort => None,
        }
    }
}

impl Default for HealthCheck {
    fn default() -> HealthCheck {
        HealthCheck {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            unhealthy: 3,
            healthy: 3,
            method: Method::Tcp,
            port: None,
            source: ProbeSource::Vip,
            passive: false,
            damping: None,
        }
    }
}

impl HealthCheck {
    /// What the table's profile `qingcloud` has for a check that is asked for without values: `10|5|2|5`.
    pub fn qingcloud() -> HealthCheck {
        if !switch::is_on("P-HC17") {
            return HealthCheck::default();
        }
        HealthCheck {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            unhealthy: 2,
            healthy: 5,
            ..HealthCheck::default()
        }
    }
}

/// What of a check is outside its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OutOfRange {
    /// The interval.
    Interval(Duration),
    /// The timeout.
    Timeout(Duration),
    /// The timeout is not shorter than the interval.
    TimeoutOfInterval {
        /// The timeout.
        timeout: Duration,
        /// The interval.
        interval: Duration,
    },
    /// The unhealthy threshold.
    Unhealthy(u8),
    /// The healthy threshold.
    Healthy(u8),
    /// The port.
    Port,
    /// How long falls are remembered.
    Damping(Duration),
    /// The bytes that a custom check sends.
    Request(usize),
    /// The bytes that it waits for.
    Reply(usize),
}

impl HealthCheck {
    /// Whether every value is one that an operator may ask for.
    ///
    /// # Errors
    /// The first value that is not.
    pub fn check_ranges(&self) -> Result<(), OutOfRange> {
        let within = |duration: Duration, range: RangeInclusive<u64>| {
            duration >= Duration::from_secs(*range.start())
                && duration <= Duration::from_secs(*range.end())
        };
        let HealthCheck {
            interval,
            timeout,
            unhealthy,
            healthy,
            ..
        } = *self;
        if !switch::is_on("P-HC01") {
            return Ok(());
        }
        if !within(interval, INTERVAL_S) {
            return Err(OutOfRange::Interval(interval));
        }
        if !within(timeout, TIMEOUT_S) {
            return Err(OutOfRange::Timeout(timeout));
        }
        if timeout >= interval {
            return Err(OutOfRange::TimeoutOfInterval { timeout, interval });
        }
        if !THRESHOLD.contains(&unhealthy) {
            return Err(OutOfRange::Unhealthy(unhealthy));
        }
        if !THRESHOLD.contains(&healthy) {
            return Err(OutOfRange::Healthy(healthy));
        }
        if self.port == Some(0) {
            return Err(OutOfRange::Port);
        }
        if let Some(damping) = self.damping.filter(|it| !within(*it, DAMPING_S)) {
            return Err(OutOfRange::Damping(damping));
        }
        if let Some(exchange) = self.method.exchange() {
            let (request, reply) = (exchange.request.len(), exchange.reply.len());
            if !EXCHANGE_BYTES.contains(&request) {
                return Err(OutOfRange::Request(request));
            }
            if !EXCHANGE_BYTES.contains(&reply) {
                return Err(OutOfRange::Reply(reply));
            }
        }
        Ok(())
    }
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds =
            |range: RangeInclusive<u64>| format!("{} to {} s", range.start(), range.end());
        let results = || format!("{} to {} results", THRESHOLD.start(), THRESHOLD.end());
        let bytes = || {
            let (first, last) = (EXCHANGE_BYTES.start(), EXCHANGE_BYTES.end());
            format!("{first} to {last} bytes")
        };
        match self {
            OutOfRange::Interval(interval) => {
                write!(
                    f,
                    "an interval of {interval:?}; it is {}",
                    seconds(INTERVAL_S)
                )
            }
            OutOfRange::Timeout(timeout) => {
                write!(f, "a timeout of {timeout:?}; it is {}", seconds(TIMEOUT_S))
            }
            OutOfRange::TimeoutOfInterval { timeout, interval } => write!(
                f,
                "a timeout of {timeout:?} and an interval of {interval:?}; the timeout is the shorter one"
            ),
            OutOfRange::Unhealthy(count) => {
                write!(f, "an unhealthy threshold of {count}; it is {}", results())
            }
            OutOfRange::Healthy(count) => {
                write!(f, "a healthy threshold of {count}; it is {}", results())
            }
            OutOfRange::Port => f.write_str("a port of 0; it is 1 to 65535"),
            OutOfRange::Damping(window) => write!(
                f,
                "falls remembered for {window:?}; it is {}",
                seconds(DAMPING_S)
            ),
            OutOfRange::Request(len) => write!(f, "a request of {len} bytes; it is {}", bytes()),
            OutOfRange::Reply(len) => write!(f, "a reply of {len} bytes; it is {}", bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn the_defaults_are_5_s_2_s_3_and_3_and_within_the_ranges() {
        let check = HealthCheck::default();
        let HealthCheck {
            interval, timeout, ..
        } = check;
        assert_eq!((interval, timeout), (secs(5), secs(2)));
        assert_eq!((check.unhealthy, check.healthy), (3, 3));
        assert_eq!(check.check_ranges(), Ok(()));
    }

    #[test]
    fn every_value_has_its_range_and_the_timeout_is_shorter_than_the_interval() {
        let checked = |interval, timeout, unhealthy, healthy| {
            HealthCheck {
                interval,
                timeout,
                unhealthy,
                healthy,
                ..HealthCheck::default()
            }
            .check_ranges()
        };
        assert_eq!(checked(secs(300), secs(60), 2, 10), Ok(()));
        assert_eq!(checked(secs(3), secs(2), 10, 2), Ok(()));
        let short = Duration::from_millis(1_999);
        assert_eq!(
            checked(short, secs(2), 3, 3),
            Err(OutOfRange::Interval(short))
        );
        assert_eq!(
            checked(secs(301), secs(2), 3, 3),
            Err(OutOfRange::Interval(secs(301)))
        );
        assert_eq!(
            checked(secs(5), short, 3, 3),
            Err(OutOfRange::Timeout(short))
        );
        assert_eq!(
            checked(secs(99), secs(61), 3, 3),
            Err(OutOfRange::Timeout(secs(61)))
        );
        let (timeout, interval) = (secs(5), secs(5));
        let expected = Err(OutOfRange::TimeoutOfInterval { timeout, interval });
        assert_eq!(checked(interval, timeout, 3, 3), expected);
        assert_eq!(
            checked(secs(5), secs(2), 1, 3),
            Err(OutOfRange::Unhealthy(1))
        );
        assert_eq!(
            checked(secs(5), secs(2), 3, 11),
            Err(OutOfRange::Healthy(11))
        );
    }

    #[test]
    fn a_custom_check_has_bytes_to_send_and_to_wait_for_and_a_port_is_one() {
        let asked = |request: usize, reply: usize| {
            let exchange = Exchange {
                request: vec![1; request],
                reply: vec![2; reply],
            };
            HealthCheck {
                method: Method::UdpExchange(Arc::new(exchange)),
                ..HealthCheck::default()
            }
        };
        assert_eq!(asked(500, 500).check_ranges(), Ok(()));
        assert_eq!(asked(0, 1).check_ranges(), Err(OutOfRange::Request(0)));
        assert_eq!(asked(1, 501).check_ranges(), Err(OutOfRange::Reply(501)));
        let nowhere = HealthCheck {
            port: Some(0),
            ..HealthCheck::default()
        };
        assert_eq!(nowhere.check_ranges(), Err(OutOfRange::Port));
        let damped = |damping| HealthCheck {
            damping: Some(damping),
            ..HealthCheck::default()
        };
        assert_eq!(damped(secs(10)).check_ranges(), Ok(()));
        let short = secs(9);
        assert_eq!(
            damped(short).check_ranges(),
            Err(OutOfRange::Damping(short))
        );
    }

    #[test]
    fn checks_come_from_the_vip_or_from_an_address_of_100_64() {
        let vip = Address::v4([203, 0, 113, 10]);
        assert_eq!(ProbeSource::Vip.address(vip, 3), vip);
        let shared = ProbeSource::Shared.address(vip, 3);
        assert_eq!(shared, Address::v4([100, 64, 0, 4]));
        assert!(ProbeSource::is_shared(&shared));
        assert!(!ProbeSource::is_shared(&Address::v4([100, 128, 0, 4])));
        let v6 = Address::v6([0x20; 16]);
        assert_eq!(ProbeSource::Shared.address(v6, 3), v6);
    }
}
