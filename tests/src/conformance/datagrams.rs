//! UDP: what travels beside the bytes, what comes back of a closed port, and what is lost.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyedge_net::host::{DatagramMeta, Host, TcpListener as _, UdpSocket as _};

use super::judge::{QUIET, any_port, fails, same, soon, within, works};
use super::listening::wildcard;
use super::{Finding, Pair};

/// More than any socket keeps.
const FLOOD: u32 = 3_000;
const TRIES: usize = 5;
/// What the largest datagram over IPv4 carries; over IPv6 it is 20 bytes more.
const LARGEST: usize = 65_507;

/// A socket on each machine, `a`'s first.
fn sockets<H: Host>(pair: &Pair<H>) -> Result<(H::Udp, H::Udp), String> {
    let near = works("binding", pair.a.udp_bind(any_port(pair.a_address)))?;
    let far = works("binding", pair.b.udp_bind(any_port(pair.b_address)))?;
    Ok((near, far))
}

/// The next datagram of a socket of `b`.
async fn received<H: Host>(
    pair: &Pair<H>,
    socket: &H::Udp,
    into: &mut [u8],
) -> Result<(usize, DatagramMeta), String> {
    let received = soon(&pair.b, "the datagram", socket.recv(into)).await?;
    works("receiving", received)
}

pub(super) async fn a_datagram_tells_its_ttl_tos_and_addresses<H: Host>(pair: Pair<H>) -> Finding {
    let everywhere = any_port(wildcard(pair.a_address));
    let near = works("binding", pair.a.udp_bind(everywhere))?;
    let far = works(
        "binding",
        pair.b.udp_bind(any_port(wildcard(pair.b_address))),
    )?;
    let meta = DatagramMeta {
        peer: SocketAddr::new(pair.b_address, far.local_addr().port()),
        local: Some(pair.a_address),
        ttl: 9,
        tos: 0xb9,
    };
    works("sending", near.send(b"hello", meta))?;
    let mut into = [0; 16];
    let (len, came) = received(&pair, &far, &mut into).await?;
    same("the bytes", &into[..len], b"hello".as_slice())?;
    let peer = SocketAddr::new(pair.a_address, near.local_addr().port());
    same("sender", came.peer == peer, true)?;
    same("receiver", came.local == Some(pair.b_address), true)?;
    same("TTL and TOS", (came.ttl, came.tos), (9, 0xb9))
}

pub(super) async fn a_datagram_without_bytes_arrives<H: Host>(pair: Pair<H>) -> Finding {
    let (near, far) = sockets(&pair)?;
    works(
        "sending",
        near.send(b"", DatagramMeta::to(far.local_addr())),
    )?;
    let (len, came) = received(&pair, &far, &mut [0; 8]).await?;
    same("its length", len, 0)?;
    same("its sender", came.peer == near.local_addr(), true)
}

pub(super) async fn a_datagram_is_cut_to_the_buffer_and_tells_its_length<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let (near, far) = sockets(&pair)?;
    let to = DatagramMeta::to(far.local_addr());
    works("sending", near.send(b"hello", to))?;
    works("sending", near.send(b"again", to))?;
    let mut into = [0; 3];
    let (len, _) = received(&pair, &far, &mut into).await?;
    same("length and bytes", (len, &into), (5, b"hel"))?;
    let (len, _) = received(&pair, &far, &mut into).await?;
    same("the rest is gone", (len, &into), (5, b"aga"))
}

pub(super) async fn a_datagram_larger_than_a_packet_arrives<H: Host>(pair: Pair<H>) -> Finding {
    let (near, far) = sockets(&pair)?;
    let to = DatagramMeta::to(far.local_addr());
    works("sending 4,000 bytes", near.send(&[7; 4_000], to))?;
    let mut into = [0; 5_000];
    let (len, _) = received(&pair, &far, &mut into).await?;
    let intact = into[..len.min(5_000)].iter().all(|byte| *byte == 7);
    same("length, and whether intact", (len, intact), (4_000, true))
}

pub(super) async fn the_largest_datagram_arrives_and_a_larger_one_is_refused<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let (near, far) = sockets(&pair)?;
    let to = DatagramMeta::to(far.local_addr());
    let sent: Vec<u8> = (0..LARGEST).map(|at| (at * 31 + at / 251) as u8).collect();
    works("sending the largest", near.send(&sent, to))?;
    let mut into = vec![0; LARGEST + 1];
    let (len, _) = received(&pair, &far, &mut into).await?;
    let intact = into[..len] == sent[..];
    same("length, and whether intact", (len, intact), (LARGEST, true))?;
    let larger = near.send(&[0; 1 << 16], to);
    same(
        "sending more than any datagram holds",
        larger.is_err(),
        true,
    )
}

/// A socket of `a` that has sent to a port of `b` where nobody is, and a live one of `b`.
fn refused_socket<H: Host>(pair: &Pair<H>) -> Result<(H::Udp, H::Udp), String> {
    let (near, far) = sockets(pair)?;
    let gone = works("binding", pair.b.udp_bind(any_port(pair.b_address)))?.local_addr();
    let sent = near.send(b"?", DatagramMeta::to(gone));
    works("sending before anything is known", sent)?;
    Ok((near, far))
}

pub(super) async fn a_closed_port_is_told_once_to_who_reads<H: Host>(pair: Pair<H>) -> Finding {
    let (near, far) = refused_socket(&pair)?;
    let mut into = [0; 8];
    let told = soon(&pair.a, "the refusal", near.recv(&mut into)).await?;
    fails("receiving", told, ErrorKind::ConnectionRefused)?;
    if let Some(more) = within(&pair.a, QUIET, near.recv(&mut into)).await {
        return Err(format!(
            "receiving again: {:?}",
            more.map_err(|error| error.kind())
        ));
    }
    works(
        "sending",
        near.send(b"!", DatagramMeta::to(far.local_addr())),
    )?;
    let (len, _) = received(&pair, &far, &mut into).await?;
    same("the socket lives on", &into[..len], b"!".as_slice())
}

pub(super) async fn a_closed_port_is_told_once_to_who_sends<H: Host>(pair: Pair<H>) -> Finding {
    let (near, far) = refused_socket(&pair)?;
    pair.a.sleep_until(pair.a.now() + QUIET).await;
    let to = DatagramMeta::to(far.local_addr());
    let told = near.send(b"lost", to);
    fails("the next send", told, ErrorKind::ConnectionRefused)?;
    works("the one after it", near.send(b"!", to))?;
    let mut into = [0; 8];
    let (len, _) = received(&pair, &far, &mut into).await?;
    same("only that one was sent", &into[..len], b"!".as_slice())
}

pub(super) async fn an_unread_socket_loses_datagrams_silently<H: Host>(pair: Pair<H>) -> Finding {
    let (near, far) = sockets(&pair)?;
    let to = DatagramMeta::to(far.local_addr());
    for number in 0..FLOOD {
        works(
            "sending into a full socket",
            near.send(&number.to_be_bytes(), to),
        )?;
    }
    // All that will come has come: what was lost was lost on arrival.
    pair.b.sleep_until(pair.b.now() + QUIET).await;
    let mut into = [0; 4];
    let mut kept = 0;
    while let Some(came) = within(&pair.b, QUIET, far.recv(&mut into)).await {
        works("receiving", came)?;
        same(
            "the oldest are kept, in order",
            u32::from_be_bytes(into),
            kept,
        )?;
        kept += 1;
    }
    same(
        "some are kept and some are lost",
        (1..FLOOD).contains(&kept),
        true,
    )
}

pub(super) async fn a_udp_port_in_use_is_not_given_twice<H: Host>(pair: Pair<H>) -> Finding {
    let socket = works("binding", pair.b.udp_bind(any_port(pair.b_address)))?;
    let local = socket.local_addr();
    fails(
        "binding where somebody is",
        pair.b.udp_bind(local),
        ErrorKind::AddrInUse,
    )?;
    let everywhere = SocketAddr::new(wildcard(local.ip()), local.port());
    fails(
        "binding everywhere there",
        pair.b.udp_bind(everywhere),
        ErrorKind::AddrInUse,
    )?;
    drop(socket);
    works("binding after that", pair.b.udp_bind(local)).map(drop)
}

pub(super) async fn the_families_have_ports_of_their_own<H: Host>(pair: Pair<H>) -> Finding {
    // Others on a real machine may have the twin of a port that was just given.
    for _ in 0..TRIES - 1 {
        if share_ports(&pair.b).is_ok() {
            return Ok(());
        }
    }
    share_ports(&pair.b)
}

fn share_ports<H: Host>(host: &H) -> Finding {
    let v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let socket = works("binding to ::", host.udp_bind(any_port(v6)))?;
    let twin = SocketAddr::new(v4, socket.local_addr().port());
    works("binding to 0.0.0.0 too", host.udp_bind(twin))?;
    let listener = works("listening on ::", host.tcp_listen(any_port(v6), 1))?;
    let twin = SocketAddr::new(v4, listener.local_addr().port());
    works("listening on 0.0.0.0 too", host.tcp_listen(twin, 1)).map(drop)
}

pub(super) async fn a_peer_of_the_other_family_is_invalid<H: Host>(pair: Pair<H>) -> Finding {
    let (near, _far) = sockets(&pair)?;
    let other: IpAddr = match pair.b_address {
        IpAddr::V4(_) => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv4Addr::LOCALHOST.into(),
    };
    let to = SocketAddr::new(other, 9);
    let sent = near.send(b"?", DatagramMeta::to(to));
    fails("sending", sent, ErrorKind::InvalidInput)?;
    let local = Some(any_port(pair.a_address));
    let connect = soon(&pair.a, "a connect", pair.a.tcp_connect(local, to)).await?;
    fails("connecting", connect, ErrorKind::InvalidInput)
}
