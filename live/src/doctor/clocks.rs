//! Whether this machine's clock and the controllers' agree: each is asked for its own, as NTP does (RFC 5905 §8).
//!
//! No packet depends on it: certificates begin and end by clocks, and the logs of several machines are read side by side.

use std::net::SocketAddr;
use std::time::Duration;

use anyedge_ccn::api::client::Client;
use anyedge_net::host::Host as _;

use super::Finding;
use crate::controller::Security;
use crate::host::LiveHost;

const CHECK: &str = "skew";
/// What a machine that is kept right does not exceed; beyond it lines of two logs change places.
const SKEW_WARNED: Duration = Duration::from_millis(100);
/// Beyond it certificates are over at one end while they are good at the other.
const SKEW_MAX: Duration = Duration::from_secs(60);

/// Asks each of `servers` for its clock, for `patience` at most.
///
/// # Errors
/// When the files of `security` cannot be used.
pub async fn compare_clocks(
    host: &LiveHost,
    servers: &[SocketAddr],
    security: &Security,
    patience: Duration,
) -> anyhow::Result<Vec<Finding>> {
    let security = security.load(host)?.client;
    let mut findings = Vec::with_capacity(servers.len());
    for server in servers {
        let client = Client::new(host, vec![*server], security.clone()).within(patience);
        // The connection's own beginning is no part of the measured round trip.
        let answer = match client.members().await {
            Ok(_) => {
                let asked_at = host.unix_time();
                let answer = client.members().await;
                answer.map(|reply| (asked_at, reply, host.unix_time()))
            }
            Err(status) => Err(status),
        };
        findings.push(match answer {
            Ok((asked_at, reply, answered_at)) => {
                let theirs = Duration::from_micros(reply.unix_micros);
                judge(
                    *server,
                    Reading {
                        asked_at,
                        theirs,
                        answered_at,
                    },
                )
            }
            Err(status) => Finding::warning(
                CHECK,
                format!(
                    "controller {server} does not tell its clock: {}",
                    status.message()
                ),
                format!(
                    "anyedge ctl --server {server} members   # and see what keeps it from answering"
                ),
            ),
        });
    }
    Ok(findings)
}

/// A question for the time: when it was asked and answered by our clock, and what the other's said in between.
struct Reading {
    asked_at: Duration,
    theirs: Duration,
    answered_at: Duration,
}

impl Reading {
    /// How far our clock is before the other (or behind it: `false`), and how much of that the way may account for.
    fn skew(&self) -> (Duration, bool, Duration) {
        let uncertain = self.answered_at.saturating_sub(self.asked_at) / 2;
        let ours = self.asked_at + uncertain;
        (ours.abs_diff(self.theirs), ours >= self.theirs, uncertain)
    }
}

fn judge(server: SocketAddr, reading: Reading) -> Finding {
    let (skew, is_before, uncertain) = reading.skew();
    let word = if is_before { "before" } else { "behind" };
    let says = format!("{skew:.1?} {word} controller {server} (+-{uncertain:.1?})");
    let fix = "systemctl enable --now systemd-timesyncd (or chrony), here and there";
    match skew.saturating_sub(uncertain) {
        sure if sure > SKEW_MAX => Finding::bad(
            CHECK,
            format!("{says}: certificates begin and end at different times"),
            fix,
        ),
        sure if sure > SKEW_WARNED => Finding::warning(
            CHECK,
            format!("{says}: logs cannot be put in one order"),
            fix,
        ),
        _ => Finding::well(CHECK, says),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Gravity;
    use super::*;

    fn judged(theirs: u64) -> Finding {
        let server = SocketAddr::from(([127, 0, 0, 1], 7000));
        let [asked_at, theirs, answered_at] =
            [1_000_000, theirs, 1_000_040].map(Duration::from_millis);
        judge(
            server,
            Reading {
                asked_at,
                theirs,
                answered_at,
            },
        )
    }

    #[test]
    fn a_skew_that_the_way_explains_is_none_and_others_are_judged_by_their_size() {
        // The question took 40 ms: the other's clock was read 20 ms after it was asked, give or take 20.
        assert_eq!(judged(1_000_000).gravity, Gravity::Well);
        assert_eq!(judged(1_000_020 + 119).gravity, Gravity::Well);
        assert_eq!(judged(1_000_020 + 121).gravity, Gravity::Warning);
        assert_eq!(judged(1_000_020 - 121).gravity, Gravity::Warning);
        assert_eq!(judged(1_000_020 + 60_021).gravity, Gravity::Bad);
        assert_eq!(judged(1_000_020 - 60_021).gravity, Gravity::Bad);
    }

    #[test]
    fn it_says_in_which_direction() {
        let says = judged(1_002_020).says;
        assert_eq!(
            says.split(" (").next(),
            Some("2.0s behind controller 127.0.0.1:7000")
        );
        assert!(judged(998_020).says.starts_with("2.0s before "));
    }
}
