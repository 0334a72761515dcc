//! Links that gRPC carries: frames both ways, bounded queues, streams that end and begin again.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use anyedge_ccn::carry::{CarryLimits, TunnelService, dial};
use anyedge_ccn::rpc::{Authority, HealthBook, Limits, Role};
use anyedge_net::host::Host;
use tonic::service::Routes;

use super::certificates::{channel_of, issue, serve_as_server, serve_secure};
use super::either_link::{
    CALLER, Carrier, End, PacedFlow, a_second_call_ends_the_first, newest_frames_wait_a_while,
    paced,
};
use super::{LIMITS, Served, becomes, pause, same};
use crate::conformance::{Finding, Pair};

/// A gRPC server that carries the link, and who vouches for those that call it.
struct OverRpc {
    served: Served,
    authority: Authority,
}

impl<H: Host> Carrier<H> for OverRpc {
    type Call = ();

    fn serve(pair: &Pair<H>, limits: CarryLimits) -> Result<(OverRpc, End<H>), String> {
        let far = End::new(&pair.b, limits);
        let (served, authority) = serve_secure(pair, routes_to(&far), HealthBook::new())?;
        Ok((OverRpc { served, authority }, far))
    }

    fn call(&mut self, pair: &Pair<H>, near: &End<H>) -> Result<(), String> {
        dial_as(pair, &self.served, &mut self.authority, CALLER, near)
    }
}

/// The tunnel service, with a port for [`CALLER`].
fn routes_to<H: Host>(far: &End<H>) -> Routes {
    let ports = BTreeMap::from([(CALLER.to_owned(), Arc::clone(&far.port))]);
    Routes::new(TunnelService::server(ports))
}

/// Has `near` dial as `name`.
fn dial_as<H: Host>(
    pair: &Pair<H>,
    served: &Served,
    authority: &mut Authority,
    name: &str,
    near: &End<H>,
) -> Result<(), String> {
    let issued = issue(authority, name, Role::Node)?;
    let channel = channel_of(pair, served, &issued, CarryLimits::rpc())?;
    dial(&near.port, channel);
    Ok(())
}

pub(super) async fn frames_arrive_in_order_both_ways<H: Host>(pair: Pair<H>) -> Finding {
    let limits = CarryLimits {
        queue_bytes_max: 4 << 20,
        wait_max: Duration::from_secs(20),
        ..CarryLimits::default()
    };
    let (mut carrier, far) = OverRpc::serve(&pair, limits)?;
    let ((), near) = carrier.call_from_new_end(&pair, limits)?;
    let expected: Vec<u32> = (0..1_000).collect();
    for number in 0..1_000 {
        near.send(number, 1_400);
        far.send(number, 40 + number as usize);
    }
    becomes(&pair.a, "1,000 frames each way", || {
        near.port.counts().received >= 1_000 && far.port.counts().received >= 1_000
    })
    .await?;
    same("to the far end", far.numbers() == expected, true)?;
    same("to the near end", near.numbers() == expected, true)?;
    let is_whole = |end: &End<H>, bytes: fn(usize) -> usize| {
        let inbox = end.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let mut frames = inbox.iter().zip(0..);
        frames.all(|((_, frame), at)| frame.gre.len() == bytes(at) && frame.tos == at as u8)
    };
    same("whole at the far end", is_whole(&far, |_| 1_400), true)?;
    same("whole at the near end", is_whole(&near, |at| 40 + at), true)?;
    let counts = near.port.counts();
    same("sent", counts.sent, 1_000)?;
    same("dropped", counts.dropped_full + counts.dropped_late, 0)
}

pub(super) async fn a_link_that_leads_nowhere_keeps_the_newest_frames_for_a_while<H: Host>(
    pair: Pair<H>,
) -> Finding {
    newest_frames_wait_a_while::<H, OverRpc>(pair).await
}

pub(super) async fn a_node_that_calls_again_ends_its_earlier_stream<H: Host>(
    pair: Pair<H>,
) -> Finding {
    a_second_call_ends_the_first::<H, OverRpc>(pair).await
}

pub(super) async fn a_link_comes_back_with_its_server<H: Host>(pair: Pair<H>) -> Finding {
    let limits = CarryLimits::default();
    let far = End::new(&pair.b, limits);
    let service = || routes_to(&far);
    let mut authority = Authority::new(&pair.b).map_err(|error| error.to_string())?;
    let quick = Limits {
        ping_every: Duration::from_millis(500),
        ping_wait: Duration::from_millis(500),
        ..LIMITS
    };
    let first = serve_as_server(&pair, 0, service(), &mut authority, quick)?;
    let at = first.at;
    let near = End::new(&pair.a, limits);
    dial_as(&pair, &first, &mut authority, CALLER, &near)?;
    near.send(1, 100);
    becomes(&pair.a, "a frame", || far.port.counts().received == 1).await?;
    drop(first);
    // The server leaves once the call has ended: the far end ends it, as a node that stops does.
    far.port.hang_up();
    pause(&pair.a, Duration::from_millis(600)).await;
    let _second = serve_as_server(&pair, at.port(), service(), &mut authority, quick)?;
    for number in 2..200 {
        near.send(number, 100);
        pause(&pair.a, Duration::from_millis(20)).await;
        if far.port.counts().received > 1 {
            break;
        }
    }
    same("again", far.port.counts().received > 1, true)
}

pub(super) async fn a_node_without_a_link_here_is_refused<H: Host>(pair: Pair<H>) -> Finding {
    let limits = CarryLimits {
        redial: Duration::from_millis(50),
        ..CarryLimits::default()
    };
    let (carrier, far) = OverRpc::serve(&pair, limits)?;
    let OverRpc {
        served,
        mut authority,
    } = carrier;
    let stranger = End::new(&pair.a, limits);
    dial_as(&pair, &served, &mut authority, "pop.osaka", &stranger)?;
    stranger.send(1, 100);
    becomes(&pair.a, "attempts", || {
        served.server.counts().calls_total > 2
    })
    .await?;
    same("received", far.port.counts().received, 0)?;
    same("streams", far.port.counts().streams, 0)
}

/// 6,000 frames of 1,200 bytes over a link, one every 10 ms.
///
/// # Errors
/// When no link comes about, or frames arrive out of order.
pub async fn paced_flow<H: Host>(pair: Pair<H>) -> Result<PacedFlow, String> {
    paced::<H, OverRpc>(pair).await
}
