//! TCP while it lives: bytes, half-close, flow control, addresses.

use std::net::SocketAddr;

use anyedge_net::host::{Host, TcpListener, TcpStream};
use futures_util::future::{join, try_join_all};
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};

use super::judge::{QUIET, any_port, connected, connected_to, fails, same, soon, within, works};
use super::{Finding, Pair};

const MUCH: usize = 100_000;
const CONNECTIONS: usize = 200;
/// More than any kernel buffers for a connection by itself.
const UNREAD_MAX: usize = 64 << 20;
const UNSENT_MAX: u32 = 8_192;

/// Bytes in which a lost, doubled or swapped piece shows.
fn pattern(len: usize, salt: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at % 251) as u8 ^ (at >> 8) as u8 ^ salt)
        .collect()
}

pub(super) async fn bytes_arrive_intact_both_ways<H: Host>(pair: Pair<H>) -> Finding {
    let (mut near, far) = connected(&pair).await?;
    pair.b.spawn(async move {
        let (reader, mut writer) = far.split();
        let copied = futures_util::io::copy(reader, &mut writer).await;
        if copied.is_ok() {
            let _ = writer.close().await;
        }
    });
    let sent = pattern(MUCH, 0);
    let mut came = Vec::new();
    let (mut reader, mut writer) = (&mut near).split();
    let send = async {
        works("writing", writer.write_all(&sent).await)?;
        works("closing", writer.close().await)
    };
    let echo = join(send, reader.read_to_end(&mut came));
    let (written, read) = soon(&pair.a, "the echo", echo).await?;
    written?;
    works("reading", read)?;
    same("as many bytes as were sent", came.len(), MUCH)?;
    same("the bytes that were sent", came == sent, true)
}

pub(super) async fn a_closed_half_still_reads<H: Host>(pair: Pair<H>) -> Finding {
    let (mut near, mut far) = connected(&pair).await?;
    works("writing", near.write_all(b"question").await)?;
    works("closing", near.close().await)?;
    let mut question = Vec::new();
    let read = soon(&pair.b, "the FIN", far.read_to_end(&mut question)).await?;
    works("reading the question", read)?;
    same("the question", question.as_slice(), b"question".as_slice())?;
    let sent = pattern(MUCH, 1);
    let answer = sent.clone();
    pair.b.spawn(async move {
        if far.write_all(&answer).await.is_ok() {
            let _ = far.close().await;
        }
    });
    let mut came = Vec::new();
    let read = soon(&pair.a, "the answer", near.read_to_end(&mut came)).await?;
    works("reading the answer", read)?;
    same("the whole answer", came == sent, true)?;
    let after = soon(&pair.a, "a read after the end", near.read(&mut [0; 8])).await?;
    same("a read after the end", works("reading", after)?, 0)
}

pub(super) async fn a_reader_that_stops_makes_the_writer_wait<H: Host>(pair: Pair<H>) -> Finding {
    let (mut near, mut far) = connected(&pair).await?;
    let piece = pattern(65_536, 2);
    let mut written = 0;
    // What a write took is what it returned: one that is given up has taken nothing.
    while let Some(taken) =
        within(&pair.a, QUIET, near.write(&piece[written % piece.len()..])).await
    {
        written += works("writing", taken)?;
        if written > UNREAD_MAX {
            return Err("the writer never waits".to_owned());
        }
    }
    let drained = async {
        let mut came = Vec::new();
        far.read_to_end(&mut came).await.map(|_| came)
    };
    let (closed, came) = soon(&pair.a, "the rest", join(near.close(), drained)).await?;
    works("closing", closed)?;
    let came = works("reading", came)?;
    same("as many bytes as were taken", came.len(), written)?;
    let intact = came
        .chunks(piece.len())
        .all(|part| part == &piece[..part.len()]);
    same("the bytes that were sent", intact, true)
}

/// What a writer gets rid of while nobody reads is less by what may not wait unsent.
pub(super) async fn a_write_waits_while_too_much_is_unsent<H: Host>(pair: Pair<H>) -> Finding {
    let (mut free, mut free_far) = connected(&pair).await?;
    let (mut limited, mut limited_far) = connected(&pair).await?;
    works("limiting", limited.limit_unsent(UNSENT_MAX))?;
    let (all, few) = (
        written_unread(&pair, &mut free).await?,
        written_unread(&pair, &mut limited).await?,
    );
    if few + 2 * UNSENT_MAX as usize > all {
        return Err(format!(
            "{few} bytes were taken with a limit, {all} without"
        ));
    }
    for (near, far, written) in [
        (&mut free, &mut free_far, all),
        (&mut limited, &mut limited_far, few),
    ] {
        let mut came = Vec::new();
        let both = join(near.close(), far.read_to_end(&mut came));
        let (closed, read) = soon(&pair.a, "the rest", both).await?;
        works("closing", closed)?;
        works("reading", read)?;
        same("as many bytes as were taken", came.len(), written)?;
    }
    Ok(())
}

/// How much is taken until a write waits.
async fn written_unread<H: Host>(pair: &Pair<H>, near: &mut H::Tcp) -> Result<usize, String> {
    let mut written = 0;
    while let Some(taken) = within(&pair.a, QUIET, near.write(&[7; 4_096])).await {
        written += works("writing", taken)?;
        if written > UNREAD_MAX {
            return Err("the writer never waits".to_owned());
        }
    }
    Ok(written)
}

pub(super) async fn two_hundred_connections_do_not_mix<H: Host>(pair: Pair<H>) -> Finding {
    let listener = pair.b.tcp_listen(any_port(pair.b_address), CONNECTIONS);
    let mut listener = works("listening", listener)?;
    let (remote, server) = (listener.local_addr(), pair.b.clone());
    pair.b.spawn(async move {
        while let Ok(stream) = listener.accept().await {
            server.spawn(async move {
                let (reader, mut writer) = stream.split();
                let _ = futures_util::io::copy(reader, &mut writer).await;
            });
        }
    });
    let clients = (0..CONNECTIONS).map(|number| {
        let connect = pair.a.tcp_connect(Some(any_port(pair.a_address)), remote);
        async move {
            let mut stream = works("connecting", connect.await)?;
            let sent = pattern(1_000, number as u8);
            works("writing", stream.write_all(&sent).await)?;
            let mut came = vec![0; sent.len()];
            works("reading", stream.read_exact(&mut came).await)?;
            same("what came is what was sent", came == sent, true)
        }
    });
    soon(&pair.a, "all connections", try_join_all(clients))
        .await?
        .map(drop)
}

pub(super) async fn the_chosen_local_port_is_what_the_other_end_sees<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let listener = pair.b.tcp_listen(any_port(pair.b_address), 1);
    let mut listener = works("listening", listener)?;
    let local = free_port(&pair)?;
    let (near, far) = connected_to(&pair, Some(local), &mut listener).await?;
    same(
        "our own end is the one chosen",
        near.local_addr() == local,
        true,
    )?;
    same("the other end sees it", far.peer_addr() == local, true)?;
    let mirrored = near.peer_addr() == far.local_addr();
    same("both name the listener's end alike", mirrored, true)?;
    let listened = far.local_addr() == listener.local_addr();
    same("and it is the listener's", listened, true)
}

pub(super) async fn one_local_port_serves_two_remotes<H: Host>(pair: Pair<H>) -> Finding {
    let listen = || works("listening", pair.b.tcp_listen(any_port(pair.b_address), 1));
    let (mut first, mut second) = (listen()?, listen()?);
    let local = free_port(&pair)?;
    let (one, _far) = connected_to(&pair, Some(local), &mut first).await?;
    let (other, _far_too) = connected_to(&pair, Some(local), &mut second).await?;
    let shared = one.local_addr() == other.local_addr();
    same("both have the port", shared, true)?;
    let again = pair.a.tcp_connect(Some(local), first.local_addr());
    let again = soon(&pair.a, "the same pair of ends again", again).await?;
    fails(
        "the same pair of ends again",
        again,
        std::io::ErrorKind::AddrInUse,
    )
}

pub(super) async fn a_host_reaches_its_own_address<H: Host>(pair: Pair<H>) -> Finding {
    let listener = pair.a.tcp_listen(any_port(pair.a_address), 1);
    let mut listener = works("listening", listener)?;
    let (near, far) = connected_to(&pair, None, &mut listener).await?;
    let mirrored = near.local_addr() == far.peer_addr();
    same("both name the connecting end alike", mirrored, true)
}

/// A port of `a` that nobody has.
fn free_port<H: Host>(pair: &Pair<H>) -> Result<SocketAddr, String> {
    let listener = pair.a.tcp_listen(any_port(pair.a_address), 1);
    Ok(works("listening", listener)?.local_addr())
}
