//! What cases are made of: comparing with the contract, waiting for a bounded time, a connection to try on.

use std::fmt::Debug;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use anyedge_net::host::{Host, TcpListener as _};
use futures_util::future::{Either, select, try_join};

use super::{Finding, Pair};

/// How long nothing must happen before it is believed that nothing will. Shorter than a SYN's retry.
pub(super) const QUIET: Duration = Duration::from_millis(300);
/// How long something that must come is waited for: several retries of a SYN.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// What `future` gives, or `None` when it has not within `limit`.
pub(super) async fn within<H: Host, F: Future>(
    host: &H,
    limit: Duration,
    future: F,
) -> Option<F::Output> {
    let deadline = host.sleep_until(host.now() + limit);
    match select(pin!(future), pin!(deadline)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// What `future` gives; a difference when it takes longer than [`PATIENCE`].
pub(super) async fn soon<H: Host, F: Future>(
    host: &H,
    what: &str,
    future: F,
) -> Result<F::Output, String> {
    let output = within(host, PATIENCE, future).await;
    output.ok_or_else(|| format!("{what}: still waiting"))
}

/// `got` must be `wanted`.
pub(super) fn same<T: PartialEq + Debug>(what: &str, got: T, wanted: T) -> Finding {
    if got == wanted {
        return Ok(());
    }
    Err(format!("{what}: {got:?}, not {wanted:?}"))
}

/// `result` must be a success.
pub(super) fn works<T>(what: &str, result: io::Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {:?}", error.kind()))
}

/// `result` must be an error of this kind.
pub(super) fn fails<T>(what: &str, result: io::Result<T>, wanted: ErrorKind) -> Finding {
    match result {
        Ok(_) => Err(format!("{what}: success, not {wanted:?}")),
        Err(error) => same(what, error.kind(), wanted),
    }
}

/// Any port of an address.
pub(super) const fn any_port(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 0)
}

/// A port of `b` on which nobody listens.
pub(super) fn closed_port<H: Host>(pair: &Pair<H>) -> Result<SocketAddr, String> {
    let listener = pair.b.tcp_listen(any_port(pair.b_address), 1);
    Ok(works("listening", listener)?.local_addr())
}

/// A connection between the two, `a`'s end first.
pub(super) async fn connected<H: Host>(pair: &Pair<H>) -> Result<(H::Tcp, H::Tcp), String> {
    let listener = pair.b.tcp_listen(any_port(pair.b_address), 1);
    let mut listener = works("listening", listener)?;
    connected_to(pair, None, &mut listener).await
}

/// A connection from `local` of `a` to `listener`, `a`'s end first.
pub(super) async fn connected_to<H: Host>(
    pair: &Pair<H>,
    local: Option<SocketAddr>,
    listener: &mut H::Listener,
) -> Result<(H::Tcp, H::Tcp), String> {
    let local = local.unwrap_or(any_port(pair.a_address));
    let connect = pair.a.tcp_connect(Some(local), listener.local_addr());
    let connect = async { works("connecting", connect.await) };
    let accept = async { works("accepting", listener.accept().await) };
    soon(&pair.a, "a connection", try_join(connect, accept)).await?
}
