//! What a test says over a connection and what it hears, in one line each.

use core::future::poll_fn;
use core::net::SocketAddr;
use core::pin::Pin;
use core::time::Duration;
use std::io;
use std::sync::{Arc, Mutex};

use anyedge_net::host::Host;
use anyedge_net::time::Instant;
use futures_io::{AsyncRead, AsyncWrite};

use super::loopback::LoopbackHost;

/// What came back over a connection: the bytes up to its end, when that was, and the error if it broke.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Option<Talk>>>);

/// A finished talk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Talk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) broke: Option<io::ErrorKind>,
    pub(crate) at: Instant,
}

impl Heard {
    /// The finished talk; the test fails if it is not.
    pub(crate) fn done(&self) -> Talk {
        self.get().expect("the connection should have ended by now")
    }

    pub(crate) fn get(&self) -> Option<Talk> {
        self.0
            .lock()
            .expect("nothing panics under the lock")
            .clone()
    }
}

/// Connects, writes `pieces` with `pause` before each, and reads to the end.
pub(crate) fn say(host: &LoopbackHost, to: SocketAddr, pieces: &[&[u8]], pause: Duration) -> Heard {
    let heard = Heard::default();
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let (host, result) = (host.clone(), heard.clone());
    host.clone().spawn(async move {
        let mut bytes = Vec::new();
        let outcome = async {
            let mut stream = host.tcp_connect(None, to).await?;
            for piece in pieces {
                host.sleep_until(host.now() + pause).await;
                write_all(&mut stream, &piece).await?;
            }
            read_to_end(&mut stream, &mut bytes).await
        }
        .await;
        let talk = Talk {
            bytes,
            broke: outcome.err().map(|error| error.kind()),
            at: host.now(),
        };
        *result.0.lock().expect("nothing panics under the lock") = Some(talk);
    });
    heard
}

/// Every byte of `text` as a piece of its own.
pub(crate) fn byte_by_byte(text: &[u8]) -> Vec<&[u8]> {
    text.chunks(1).collect()
}

pub(crate) async fn write_all(
    stream: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await?;
        bytes = &bytes[count..];
    }
    Ok(())
}

pub(crate) async fn read_to_end(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    let mut piece = [0; 4_096];
    loop {
        match poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut piece)).await? {
            0 => return Ok(()),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}
