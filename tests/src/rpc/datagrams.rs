//! Links that QUIC carries: what those of gRPC promise (the cases of the same names), and what datagrams are.
//!
//! On a real machine a socket's buffer loses what comes too fast, and nothing is sent again: cases that count every frame
//! pause between a few of them.

use core::net::SocketAddr;
use core::time::Duration;

use anyedge_ccn::carry::{Answerer, Caller, CarryLimits, Frame, Ports};
use anyedge_ccn::rpc::{Authority, Issued, Role};
use anyedge_net::flow::Family;
use anyedge_net::host::{DatagramMeta, Host, UdpSocket as _};
use anyedge_net::wire::gre;
use anyedge_net::wire::outer::{Encap, inner_mtu};

use super::certificates::{SERVER, issue, tls};
use super::either_link::{
    CALLER, Carrier, End, PacedFlow, a_second_call_ends_the_first, newest_frames_wait_a_while,
    paced,
};
use super::{becomes, pause, same};
use crate::conformance::{Finding, Pair};

const MTU: u16 = 1_500;

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// An answering end, and who it is.
struct Served<H: Host> {
    answerer: Answerer<H>,
    authority: Authority,
}

fn answer<H: Host>(
    pair: &Pair<H>,
    port: u16,
    far: &End<H>,
    issued: &Issued,
) -> Result<Answerer<H>, String> {
    let ports = Ports::default();
    ports.admit_from(CALLER, far.port.clone(), pair.a_address, MTU);
    let at = SocketAddr::new(pair.b_address, port);
    Answerer::open(&pair.b, at, ports, &tls(&pair.b, issued)?, MTU).map_err(text)
}

impl<H: Host> Carrier<H> for Served<H> {
    type Call = Caller<H>;

    fn serve(pair: &Pair<H>, limits: CarryLimits) -> Result<(Served<H>, End<H>), String> {
        let far = End::new(&pair.b, limits);
        let mut authority = Authority::new(&pair.b).map_err(text)?;
        let issued = issue(&mut authority, SERVER, Role::Node)?;
        let answerer = answer(pair, 0, &far, &issued)?;
        let served = Served {
            answerer,
            authority,
        };
        Ok((served, far))
    }

    fn call(&mut self, pair: &Pair<H>, near: &End<H>) -> Result<Caller<H>, String> {
        let issued = issue(&mut self.authority, CALLER, Role::Node)?;
        call(pair, self.answerer.local_addr(), near, &issued)
    }
}

/// Calls with that certificate. The caller lives as long as what is returned.
fn call<H: Host>(
    pair: &Pair<H>,
    at: SocketAddr,
    near: &End<H>,
    issued: &Issued,
) -> Result<Caller<H>, String> {
    let tls = tls(&pair.a, issued)?;
    let caller = Caller::open(&pair.a, pair.a_address, &tls, MTU).map_err(text)?;
    caller.call(&near.port, at, SERVER, MTU);
    Ok(caller)
}

/// [`paced_flow`](super::paced_flow) in datagrams.
///
/// # Errors
/// When no link comes about, or frames arrive out of order.
pub async fn paced_datagrams<H: Host>(pair: Pair<H>) -> Result<PacedFlow, String> {
    paced::<H, Served<H>>(pair).await
}

pub(super) async fn frames_arrive_whole_both_ways<H: Host>(pair: Pair<H>) -> Finding {
    let (mut served, far) = Served::serve(&pair, CarryLimits::default())?;
    let (_caller, near) = served.call_from_new_end(&pair, CarryLimits::default())?;
    for number in 0..300_u32 {
        near.send(number, 1_400);
        far.send(number, 40 + number as usize);
        if number % 10 == 9 {
            let until = u64::from(number) + 1;
            becomes(&pair.a, "ten frames each way", || {
                near.port.counts().received >= until && far.port.counts().received >= until
            })
            .await?;
        }
    }
    for (end, bytes) in [
        (&far, (|_| 1_400) as fn(usize) -> usize),
        (&near, |at| 40 + at),
    ] {
        let inbox = end.inbox.lock().map_err(text)?;
        let mut numbers: Vec<u32> = Vec::new();
        for (_, Frame { gre, tos }) in inbox.iter() {
            let number = gre
                .first_chunk()
                .map_or(0, |bytes| u32::from_be_bytes(*bytes));
            same("its length", gre.len(), bytes(number as usize))?;
            same("DSCP and ECN of an outer header that it has not", *tos, 0)?;
            numbers.push(number);
        }
        numbers.sort_unstable();
        same("each once", numbers, (0..300).collect())?;
    }
    same("strangers", served.answerer.strangers(), 0)?;
    let counts = near.port.counts();
    same("sent", counts.sent, 300)?;
    same("dropped", counts.dropped_full + counts.dropped_late, 0)
}

pub(super) async fn a_link_that_leads_nowhere_keeps_the_newest_frames_for_a_while<H: Host>(
    pair: Pair<H>,
) -> Finding {
    newest_frames_wait_a_while::<H, Served<H>>(pair).await
}

pub(super) async fn a_node_that_calls_again_ends_its_earlier_connection<H: Host>(
    pair: Pair<H>,
) -> Finding {
    a_second_call_ends_the_first::<H, Served<H>>(pair).await
}

pub(super) async fn a_link_comes_back_with_its_answering_end<H: Host>(pair: Pair<H>) -> Finding {
    let far = End::new(&pair.b, CarryLimits::default());
    let mut authority = Authority::new(&pair.b).map_err(text)?;
    let server = issue(&mut authority, SERVER, Role::Node)?;
    let first = answer(&pair, 0, &far, &server)?;
    let at = first.local_addr();
    let near = End::new(&pair.a, CarryLimits::default());
    let issued = issue(&mut authority, CALLER, Role::Node)?;
    let _caller = call(&pair, at, &near, &issued)?;
    near.send(1, 100);
    becomes(&pair.a, "a frame", || far.port.counts().received == 1).await?;
    drop(first);
    pause(&pair.a, Duration::from_secs(2)).await;
    let _second = answer(&pair, at.port(), &far, &server)?;
    for number in 2..400 {
        near.send(number, 100);
        pause(&pair.a, Duration::from_millis(20)).await;
        if far.port.counts().received > 1 {
            break;
        }
    }
    same("again", far.port.counts().received > 1, true)
}

pub(super) async fn a_datagram_has_room_for_the_largest_packet_and_no_more<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let (mut served, far) = Served::serve(&pair, CarryLimits::default())?;
    let (_caller, near) = served.call_from_new_end(&pair, CarryLimits::default())?;
    let family = if pair.a_address.is_ipv4() {
        Family::V4
    } else {
        Family::V6
    };
    let limit = match family {
        Family::V4 => 1_426,
        Family::V6 => 1_406,
    };
    same("the inner MTU", inner_mtu(Encap::Quic, family, MTU), limit)?;
    let largest = usize::from(limit) + gre::HEADER_LEN;
    for bytes in largest - 8..=largest + 8 {
        near.send(bytes as u32, bytes);
    }
    near.send(0, 100);
    becomes(&pair.a, "the last one", || far.numbers().contains(&0)).await?;
    let mut arrived = far.numbers();
    arrived.sort_unstable();
    arrived.remove(0);
    let expected = (largest - 8..=largest).map(|bytes| bytes as u32).collect();
    same("those that fit", arrived, expected)
}

/// Another authority's, one that ended, one of another name, and one that is no node's.
pub(super) async fn whoever_is_no_node_of_ours_gets_nothing_through<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let limits = CarryLimits {
        redial: Duration::from_millis(50),
        ..CarryLimits::default()
    };
    let (mut served, far) = Served::serve(&pair, limits)?;
    let mut elsewhere = Authority::new(&pair.a).map_err(text)?;
    let good = issue(&mut served.authority, CALLER, Role::Node)?;
    let forged = Issued {
        authority: good.authority.clone(),
        ..issue(&mut elsewhere, CALLER, Role::Node)?
    };
    let ended = served
        .authority
        .issue_until(CALLER, Role::Node, (2025, 1, 1));
    let strangers = [
        forged,
        ended.map_err(text)?,
        issue(&mut served.authority, "pop.osaka", Role::Node)?,
        issue(&mut served.authority, CALLER, Role::ReadOnly)?,
    ];
    for stranger in &strangers {
        let near = End::new(&pair.a, limits);
        let before = served.answerer.strangers();
        let _caller = call(&pair, served.answerer.local_addr(), &near, stranger)?;
        becomes(&pair.a, "attempts", || {
            near.send(1, 100);
            near.port.counts().streams > 2
        })
        .await?;
        same("counted", served.answerer.strangers() > before, true)?;
        near.port.close();
    }
    same("received", far.port.counts().received, 0)?;
    same("connections", far.port.counts().streams, 0)?;
    let (_caller, near) = served.call_from_new_end(&pair, limits)?;
    near.send(2, 100);
    becomes(&pair.a, "the node", || far.port.counts().received == 1).await
}

pub(super) async fn garbage_is_counted_and_hurts_nobody<H: Host>(pair: Pair<H>) -> Finding {
    let (mut served, far) = Served::serve(&pair, CarryLimits::default())?;
    let (_caller, near) = served.call_from_new_end(&pair, CarryLimits::default())?;
    near.send(1, 100);
    becomes(&pair.a, "a frame", || far.port.counts().received == 1).await?;
    same("strangers", served.answerer.strangers(), 0)?;
    let at = served.answerer.local_addr();
    let socket = pair.a.udp_bind(SocketAddr::new(pair.a_address, 0));
    let socket = socket.map_err(text)?;
    let mut rng = pair.a.rng("garbage");
    for len in [0, 1, 20, 21, 100, 1_200, 1_472] {
        for first in [0x00, 0x40, 0x80, 0xc0] {
            let mut bytes = vec![0; len];
            rng.fill(&mut bytes);
            if let Some(byte) = bytes.first_mut() {
                *byte = first | (*byte & 0x3f);
            }
            socket.send(&bytes, DatagramMeta::to(at)).map_err(text)?;
        }
    }
    becomes(&pair.a, "28 strangers' datagrams", || {
        served.answerer.strangers() == 28
    })
    .await?;
    near.send(2, 100);
    becomes(&pair.a, "another frame", || far.port.counts().received == 2).await?;
    same("connections", far.port.counts().streams, 1)
}
