//! Deadlines of calls: read from `grpc-timeout`, kept by the host's clock, enforced at both ends.
//!
//! A call carries the time that is left for it, since the two ends' clocks are not the same. Whatever happens
//! after it has passed is `DEADLINE_EXCEEDED`: no answer, half an answer, or a stream that goes on.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use anyedge_net::host::Host;
use anyedge_net::time::Instant;
use futures_util::future::{Either, select};
use http::HeaderMap;
use tonic::Status;

const HEADER: &str = "grpc-timeout";
/// Longer is as good as none: the arithmetic of time stays far from its end.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A time that will come, if the call has a deadline at all.
pub(super) struct Deadline(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Deadline {
    /// The deadline that `headers` ask for, counted from this moment.
    pub(super) fn of(headers: &HeaderMap, host: &impl Host) -> Result<Deadline, Status> {
        let Some(value) = headers.get(HEADER) else {
            return Ok(Deadline(None));
        };
        let left = value.to_str().ok().and_then(parse);
        let left = left.ok_or_else(|| Status::invalid_argument("malformed grpc-timeout"))?;
        let at = host.now() + left.min(LONGEST);
        Ok(Deadline(Some(Box::pin(host.sleep_until(at)))))
    }

    /// Whether it has passed.
    pub(super) fn poll_passed(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        match &mut self.0 {
            Some(sleep) => sleep
                .as_mut()
                .poll(context)
                .map(|()| Status::deadline_exceeded("the call's time is over")),
            None => Poll::Pending,
        }
    }
}

/// What `work` gives, unless `at` comes first.
pub(crate) async fn until<T>(
    host: &impl Host,
    at: Instant,
    work: impl Future<Output = T>,
) -> Option<T> {
    let work = core::pin::pin!(work);
    let sleep = core::pin::pin!(host.sleep_until(at));
    match select(work, sleep).await {
        Either::Left((result, _)) => Some(result),
        Either::Right(_) => None,
    }
}

/// `1` to `99999999` of `H`, `M`, `S`, `m`, `u` or `n`.
fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(count * 3_600)),
        'M' => Some(Duration::from_secs(count * 60)),
        'S' => Some(Duration::from_secs(count)),
        'm' => Some(Duration::from_millis(count)),
        'u' => Some(Duration::from_micros(count)),
        'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("", None),
            ("S", None),
            ("+1S", None),
            ("1", None),
            ("1s", None),
            ("123456789m", None),
            ("1é", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }
}
