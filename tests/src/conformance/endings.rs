//! How TCP connections end, or never begin: FIN, RST, refusal, silence.

use std::io::ErrorKind;

use anyedge_net::host::{Host, TcpStream as _};
use futures_util::future::join;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};

use super::judge::{any_port, closed_port, connected, fails, same, soon, within, works};
use super::{Finding, Pair};

/// Longer than the first retry of a SYN.
const SILENCE: std::time::Duration = std::time::Duration::from_millis(1_200);

pub(super) async fn a_closed_port_refuses<H: Host>(pair: Pair<H>) -> Finding {
    let connect = pair
        .a
        .tcp_connect(Some(any_port(pair.a_address)), closed_port(&pair)?);
    let connected = soon(&pair.a, "a refusal", connect).await?;
    fails(
        "a connect to a closed port",
        connected,
        ErrorKind::ConnectionRefused,
    )
}

/// The contract knows `TimedOut` and does not say after how long; a second is too early.
pub(super) async fn a_silent_address_keeps_a_connect_waiting<H: Host>(pair: Pair<H>) -> Finding {
    let connect = pair
        .a
        .tcp_connect(Some(any_port(pair.a_address)), pair.silent);
    match within(&pair.a, SILENCE, connect).await {
        None => Ok(()),
        Some(ended) => fails("a connect to nobody", ended, ErrorKind::TimedOut),
    }
}

pub(super) async fn an_aborted_stream_is_a_reset_to_the_other_end<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let (mut near, far) = connected(&pair).await?;
    far.abort();
    let read = soon(&pair.a, "a reset", near.read(&mut [0; 8])).await?;
    fails("reading", read, ErrorKind::ConnectionReset)
}

pub(super) async fn what_came_before_a_reset_is_still_read<H: Host>(pair: Pair<H>) -> Finding {
    let (mut near, mut far) = connected(&pair).await?;
    works("writing", far.write_all(b"last words").await)?;
    // An abort loses what is unsent: the first byte shows that all ten were sent.
    let mut words = [0; 10];
    let first = soon(&pair.a, "the words", near.read(&mut words[..1])).await?;
    same("the first byte", works("reading", first)?, 1)?;
    far.abort();
    near_has_seen_the_end(&pair, &mut near).await?;
    let rest = soon(&pair.a, "the rest", near.read(&mut words[1..])).await?;
    works("reading what came before the reset", rest)?;
    same("the words", &words, b"last words")
}

/// Waits until a write fails: the other end's reset is here.
async fn near_has_seen_the_end<H: Host>(pair: &Pair<H>, near: &mut H::Tcp) -> Finding {
    let until_it_fails = async {
        while near.write(b"?").await.is_ok() {
            pair.a
                .sleep_until(pair.a.now() + std::time::Duration::from_millis(5))
                .await;
        }
    };
    soon(&pair.a, "a write that fails", until_it_fails).await
}

pub(super) async fn a_stream_dropped_with_unread_data_resets<H: Host>(pair: Pair<H>) -> Finding {
    let (mut near, mut far) = connected(&pair).await?;
    works("writing", near.write_all(b"two").await)?;
    // One byte read shows that all three have come: they are one segment.
    let first = soon(&pair.b, "the bytes", far.read(&mut [0; 1])).await?;
    works("reading one of them", first)?;
    drop(far);
    let read = soon(&pair.a, "a reset", near.read(&mut [0; 8])).await?;
    fails("reading", read, ErrorKind::ConnectionReset)
}

pub(super) async fn a_stream_dropped_with_all_read_ends_by_fin<H: Host>(pair: Pair<H>) -> Finding {
    let (mut near, mut far) = connected(&pair).await?;
    works("writing", near.write_all(b"all").await)?;
    let read = soon(&pair.b, "the bytes", far.read_exact(&mut [0; 3])).await?;
    works("reading them", read)?;
    drop(far);
    let read = soon(&pair.a, "the FIN", near.read(&mut [0; 8])).await?;
    same("bytes before the end", works("reading", read)?, 0)
}

pub(super) async fn what_was_written_before_the_drop_arrives<H: Host>(pair: Pair<H>) -> Finding {
    let (mut near, mut far) = connected(&pair).await?;
    let sent = vec![7; 50_000];
    let write = soon(&pair.b, "room for the bytes", far.write_all(&sent)).await?;
    works("writing", write)?;
    drop(far);
    let mut came = Vec::new();
    let read = soon(&pair.a, "the bytes", near.read_to_end(&mut came)).await?;
    works("reading", read)?;
    same("what came is what was sent", came == sent, true)
}

pub(super) async fn both_ends_may_close_at_once<H: Host>(pair: Pair<H>) -> Finding {
    let (mut near, mut far) = connected(&pair).await?;
    let (one, other) = join(near.close(), far.close()).await;
    works("closing one end", one)?;
    works("closing the other", other)?;
    let (mut into, mut also_into) = ([0; 8], [0; 8]);
    let reads = join(near.read(&mut into), far.read(&mut also_into));
    let (one, other) = soon(&pair.a, "both FINs", reads).await?;
    same("bytes before one end", works("reading", one)?, 0)?;
    same("bytes before the other", works("reading", other)?, 0)
}

pub(super) async fn closing_twice_is_closing_once<H: Host>(pair: Pair<H>) -> Finding {
    let (mut near, mut far) = connected(&pair).await?;
    works("closing", near.close().await)?;
    works("closing again", near.close().await)?;
    let read = soon(&pair.b, "the FIN", far.read(&mut [0; 8])).await?;
    same("bytes before the end", works("reading", read)?, 0)?;
    drop(far);
    let read = soon(&pair.a, "the other FIN", near.read(&mut [0; 8])).await?;
    same("bytes before the other end", works("reading", read)?, 0)?;
    works("closing when both have", near.close().await)
}

pub(super) async fn writing_after_closing_is_a_broken_pipe<H: Host>(pair: Pair<H>) -> Finding {
    let (mut near, _far) = connected(&pair).await?;
    works("closing", near.close().await)?;
    fails("writing", near.write(b"more").await, ErrorKind::BrokenPipe)
}

pub(super) async fn writing_to_an_end_that_is_gone_is_a_broken_pipe<H: Host>(
    pair: Pair<H>,
) -> Finding {
    let (mut near, far) = connected(&pair).await?;
    drop(far);
    let read = soon(&pair.a, "the FIN", near.read(&mut [0; 8])).await?;
    same("bytes before the end", works("reading", read)?, 0)?;
    works("writing before that is known", near.write(b"?").await)?;
    near_has_seen_the_end(&pair, &mut near).await?;
    fails(
        "writing afterwards",
        near.write(b"?").await,
        ErrorKind::BrokenPipe,
    )
}

pub(super) async fn a_reset_is_told_once<H: Host>(pair: Pair<H>) -> Finding {
    let (mut near, far) = connected(&pair).await?;
    far.abort();
    let read = soon(&pair.a, "a reset", near.read(&mut [0; 8])).await?;
    fails("reading", read, ErrorKind::ConnectionReset)?;
    let wrote = near.write(b"?").await;
    fails("writing afterwards", wrote, ErrorKind::BrokenPipe)?;
    let read = soon(&pair.a, "an end", near.read(&mut [0; 8])).await?;
    same("reading afterwards", works("reading afterwards", read)?, 0)
}
