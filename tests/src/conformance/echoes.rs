//! ICMP echoes: who answers, what comes back, and to whom.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyedge_net::host::{EchoMeta, EchoSocket as _, Host};

use super::judge::{QUIET, fails, same, soon, within, works};
use super::listening::wildcard;
use super::{Case, Finding, Pair, case_list};

/// Every case of this file.
pub(super) fn cases<H: Host>() -> Vec<Case<H>> {
    case_list! {
        an_echo_comes_back_as_it_was_sent,
        series_of_echoes_do_not_mix,
        an_echo_without_bytes_comes_back,
        an_echo_larger_than_a_packet_comes_back,
        a_reply_is_cut_to_the_buffer_and_tells_its_length,
        a_reply_to_a_series_that_is_closed_reaches_no_other,
        echoes_keep_to_their_family_and_to_an_address_of_the_host
    }
}

/// A series of `a`'s.
fn series<H: Host>(pair: &Pair<H>) -> Result<H::Echo, String> {
    works("binding", pair.a.echo_bind(pair.a_address))
}

/// The next reply of a series of `a`'s.
async fn reply<H: Host>(
    pair: &Pair<H>,
    echoes: &H::Echo,
    into: &mut [u8],
) -> Result<(usize, EchoMeta), String> {
    works(
        "receiving",
        soon(&pair.a, "the reply", echoes.recv(into)).await?,
    )
}

async fn an_echo_comes_back_as_it_was_sent<H: Host>(pair: Pair<H>) -> Finding {
    let everywhere = works("binding", pair.a.echo_bind(wildcard(pair.a_address)))?;
    let sent: Vec<u8> = (0..56).collect();
    for sequence in [1, 2, u16::MAX, 0] {
        works("sending", everywhere.send(pair.b_address, sequence, &sent))?;
        let mut into = [0; 64];
        let (len, meta) = reply(&pair, &everywhere, &mut into).await?;
        same("the bytes", &into[..len], &sent[..])?;
        same("number and TTL", (meta.sequence, meta.ttl), (sequence, 64))?;
        same("who answered", meta.peer == pair.b_address, true)?;
    }
    Ok(())
}

async fn series_of_echoes_do_not_mix<H: Host>(pair: Pair<H>) -> Finding {
    let (one, other) = (series(&pair)?, series(&pair)?);
    works("sending", one.send(pair.b_address, 7, b"one"))?;
    works("sending", other.send(pair.b_address, 7, b"other"))?;
    let mut into = [0; 16];
    let (len, _) = reply(&pair, &other, &mut into).await?;
    same("of the other", &into[..len], b"other".as_slice())?;
    let (len, _) = reply(&pair, &one, &mut into).await?;
    same("of the one", &into[..len], b"one".as_slice())?;
    let more = within(&pair.a, QUIET, one.recv(&mut into)).await;
    same("a second reply", more.is_some(), false)
}

async fn an_echo_without_bytes_comes_back<H: Host>(pair: Pair<H>) -> Finding {
    let echoes = series(&pair)?;
    works("sending", echoes.send(pair.b_address, 3, b""))?;
    let (len, meta) = reply(&pair, &echoes, &mut [0; 8]).await?;
    same("length and number", (len, meta.sequence), (0, 3))
}

async fn an_echo_larger_than_a_packet_comes_back<H: Host>(pair: Pair<H>) -> Finding {
    let echoes = series(&pair)?;
    let sent: Vec<u8> = (0..4_000).map(|at| (at % 251) as u8).collect();
    works("sending 4,000 bytes", echoes.send(pair.b_address, 1, &sent))?;
    let mut into = [0; 5_000];
    let (len, _) = reply(&pair, &echoes, &mut into).await?;
    let intact = into[..len.min(5_000)] == sent[..];
    same("length, and whether intact", (len, intact), (4_000, true))?;
    let larger = echoes.send(pair.b_address, 2, &[0; 1 << 16]);
    fails("more than any echo holds", larger, ErrorKind::InvalidInput)
}

async fn a_reply_is_cut_to_the_buffer_and_tells_its_length<H: Host>(pair: Pair<H>) -> Finding {
    let echoes = series(&pair)?;
    for sequence in 1..=2 {
        works("sending", echoes.send(pair.b_address, sequence, b"hello"))?;
        let mut into = [0; 3];
        let (len, meta) = reply(&pair, &echoes, &mut into).await?;
        same("length and bytes", (len, &into), (5, b"hel"))?;
        same("the rest is gone", meta.sequence, sequence)?;
    }
    Ok(())
}

async fn a_reply_to_a_series_that_is_closed_reaches_no_other<H: Host>(pair: Pair<H>) -> Finding {
    let old = series(&pair)?;
    works("sending", old.send(pair.b_address, 1, b"?"))?;
    drop(old);
    let new = series(&pair)?;
    let answered = within(&pair.a, QUIET, new.recv(&mut [0; 8])).await;
    same("a reply to another", answered.is_some(), false)?;
    works("sending", new.send(pair.b_address, 2, b"!"))?;
    let (_, meta) = reply(&pair, &new, &mut [0; 8]).await?;
    same("the reply to its own", meta.sequence, 2)
}

async fn echoes_keep_to_their_family_and_to_an_address_of_the_host<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let other: IpAddr = match pair.b_address {
        IpAddr::V4(_) => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv4Addr::LOCALHOST.into(),
    };
    let echoes = series(&pair)?;
    let sent = echoes.send(other, 1, b"?");
    fails("to the other family", sent, ErrorKind::InvalidInput)?;
    let bound = pair.a.echo_bind(pair.foreign);
    fails("binding elsewhere", bound, ErrorKind::AddrNotAvailable)
}
