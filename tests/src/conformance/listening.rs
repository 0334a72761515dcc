//! Listeners: backlog, accept, and whose port it is.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyedge_net::host::{Host, TcpListener as _, TcpStream as _, UdpSocket as _};
use futures_util::future::{join, join_all};
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};

use super::judge::{QUIET, any_port, connected_to, fails, same, soon, within, works};
use super::{Finding, Pair};

pub(super) async fn a_full_backlog_makes_connects_wait_and_loses_none<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let listener = pair.b.tcp_listen(any_port(pair.b_address), 2);
    let mut listener = works("listening", listener)?;
    let done = AtomicUsize::new(0);
    let clients = (1..=5u8).map(|number| {
        let local = Some(any_port(pair.a_address));
        let connect = pair.a.tcp_connect(local, listener.local_addr());
        let done = &done;
        async move {
            let mut stream = works("connecting", connect.await)?;
            done.fetch_add(1, Ordering::Relaxed);
            works("writing", stream.write_all(&[number]).await)?;
            Ok(stream)
        }
    });
    let mut clients = Box::pin(join_all(clients));
    if within(&pair.a, QUIET, &mut clients).await.is_some() {
        return Err("five connections fit into a backlog of two".to_owned());
    }
    let fitted = done.load(Ordering::Relaxed);
    same("connections that fit into a backlog of two", fitted, 2)?;
    let accept_all = async {
        let mut numbers = BTreeSet::new();
        for _ in 0..5 {
            let mut stream = works("accepting", listener.accept().await)?;
            let mut number = [0];
            works("reading", stream.read_exact(&mut number).await)?;
            numbers.insert(number[0]);
        }
        Ok::<_, String>(numbers)
    };
    let (streams, numbers) = soon(&pair.a, "room again", join(clients, accept_all)).await?;
    streams
        .into_iter()
        .collect::<Result<Vec<H::Tcp>, String>>()?;
    same("who was accepted", numbers?, (1..=5).collect())
}

pub(super) async fn a_cancelled_accept_loses_no_connection<H: Host>(pair: Pair<H>) -> Finding {
    let listener = pair.b.tcp_listen(any_port(pair.b_address), 4);
    let mut listener = works("listening", listener)?;
    let short = Duration::from_millis(30);
    if within(&pair.b, short, listener.accept()).await.is_some() {
        return Err("a connection that nobody opened".to_owned());
    }
    let local = Some(any_port(pair.a_address));
    let mut connect = Box::pin(pair.a.tcp_connect(local, listener.local_addr()));
    // Every look at the listener is a fresh accept, given up at once.
    let mut early = None;
    let handshake = async {
        loop {
            early = early.take().or_else(|| listener.accept().now_or_never());
            if let Some(connected) = within(&pair.a, Duration::from_millis(5), &mut connect).await {
                return works("connecting", connected);
            }
        }
    };
    let mut near = soon(&pair.a, "a connection", handshake).await??;
    works("writing", near.write_all(b"hello").await)?;
    let accepted = match early {
        Some(accepted) => accepted,
        None => soon(&pair.b, "the connection", listener.accept()).await?,
    };
    let mut far = works("accepting", accepted)?;
    let mut text = [0; 5];
    let read = soon(&pair.b, "its bytes", far.read_exact(&mut text)).await?;
    works("reading", read)?;
    same("its bytes", &text, b"hello")
}

pub(super) async fn connections_are_accepted_in_their_order<H: Host>(pair: Pair<H>) -> Finding {
    let listener = pair.b.tcp_listen(any_port(pair.b_address), 8);
    let mut listener = works("listening", listener)?;
    let mut opened = Vec::new();
    for _ in 0..8 {
        let connect = pair
            .a
            .tcp_connect(Some(any_port(pair.a_address)), listener.local_addr());
        let stream = soon(&pair.a, "a connection", connect).await?;
        opened.push(works("connecting", stream)?);
    }
    let order: Vec<SocketAddr> = opened.iter().map(|near| near.local_addr()).collect();
    let mut in_order = true;
    for expected in order {
        let far = soon(&pair.b, "a connection", listener.accept()).await?;
        in_order &= works("accepting", far)?.peer_addr() == expected;
    }
    same("first come is first accepted", in_order, true)
}

pub(super) async fn closing_a_listener_resets_who_waits<H: Host>(pair: Pair<H>) -> Finding {
    let listener = pair.b.tcp_listen(any_port(pair.b_address), 4);
    let listener = works("listening", listener)?;
    let connect = pair
        .a
        .tcp_connect(Some(any_port(pair.a_address)), listener.local_addr());
    let mut near = works("connecting", soon(&pair.a, "a connection", connect).await?)?;
    drop(listener);
    let read = soon(&pair.a, "a reset", near.read(&mut [0; 8])).await?;
    fails("reading", read, ErrorKind::ConnectionReset)
}

pub(super) async fn a_port_in_use_is_not_given_twice<H: Host>(pair: Pair<H>) -> Finding {
    let listener = pair.b.tcp_listen(any_port(pair.b_address), 4);
    let listener = works("listening", listener)?;
    let local = listener.local_addr();
    let again = pair.b.tcp_listen(local, 4);
    fails("listening where somebody does", again, ErrorKind::AddrInUse)?;
    let everywhere = SocketAddr::new(wildcard(local.ip()), local.port());
    let again = pair.b.tcp_listen(everywhere, 4);
    fails("listening everywhere there", again, ErrorKind::AddrInUse)?;
    drop(listener);
    works("listening after that", pair.b.tcp_listen(local, 4)).map(drop)
}

/// The end that closes first must keep its port in mind for a while (TIME-WAIT): not so a listener's.
pub(super) async fn a_port_is_free_for_a_listener_while_old_connections_end<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let listener = pair.b.tcp_listen(any_port(pair.b_address), 4);
    let mut listener = works("listening", listener)?;
    let local = listener.local_addr();
    let (mut near, mut far) = connected_to(&pair, None, &mut listener).await?;
    works("closing", far.close().await)?;
    works("closing too", near.close().await)?;
    let read = soon(&pair.b, "the FIN", far.read(&mut [0; 8])).await?;
    same("bytes before the end", works("reading", read)?, 0)?;
    let (_still_near, still_far) = connected_to(&pair, None, &mut listener).await?;
    drop((listener, far));
    let mut listener = works("listening again", pair.b.tcp_listen(local, 4))?;
    connected_to(&pair, None, &mut listener).await?;
    same(
        "the old connection's port",
        still_far.local_addr() == local,
        true,
    )
}

pub(super) async fn any_port_is_another_port<H: Host>(pair: Pair<H>) -> Finding {
    let local = any_port(pair.b_address);
    let mut listeners = Vec::new();
    let mut sockets = Vec::new();
    for _ in 0..50 {
        listeners.push(works("listening", pair.b.tcp_listen(local, 1))?);
        sockets.push(works("binding", pair.b.udp_bind(local))?);
    }
    let tcp: BTreeSet<u16> = listeners
        .iter()
        .map(|listener| listener.local_addr().port())
        .collect();
    let udp: BTreeSet<u16> = sockets
        .iter()
        .map(|socket| socket.local_addr().port())
        .collect();
    same("ports of fifty listeners", tcp.len(), 50)?;
    same("ports of fifty UDP sockets", udp.len(), 50)?;
    same("port 0 given", tcp.contains(&0) || udp.contains(&0), false)
}

pub(super) async fn an_address_of_nobody_is_not_available<H: Host>(pair: Pair<H>) -> Finding {
    let listened = pair.b.tcp_listen(any_port(pair.foreign), 1);
    fails("listening", listened, ErrorKind::AddrNotAvailable)?;
    let bound = pair.b.udp_bind(any_port(pair.foreign));
    fails("binding", bound, ErrorKind::AddrNotAvailable)
}

pub(super) async fn a_wildcard_listener_tells_the_address_that_was_asked<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let everywhere = any_port(wildcard(pair.b_address));
    let mut listener = works("listening", pair.b.tcp_listen(everywhere, 4))?;
    let asked = SocketAddr::new(pair.b_address, listener.local_addr().port());
    let connect = pair.a.tcp_connect(None, asked);
    let near = works("connecting", soon(&pair.a, "a connection", connect).await?)?;
    let far = works("accepting", soon(&pair.b, "it", listener.accept()).await?)?;
    same(
        "the accepted end is what was asked",
        far.local_addr() == asked,
        true,
    )?;
    let mirrored = near.local_addr() == far.peer_addr();
    same("both name the connecting end alike", mirrored, true)
}

/// All addresses of a family.
pub(super) const fn wildcard(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
