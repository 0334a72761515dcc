//! A message with a snapshot, in pieces: the message without its state first, then the state, the last piece marked.

use anyedge_proto::raft::{Message, Piece};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tonic::{Status, Streaming};

use super::{PIECE_BYTES, SNAPSHOT_BYTES_MAX};

/// The pieces of `message`.
pub(super) fn pieces(mut message: Message) -> impl Stream<Item = Piece> + Send + 'static {
    let snapshot = message.snapshot.as_mut();
    let mut state =
        snapshot.map_or_else(Bytes::new, |snapshot| core::mem::take(&mut snapshot.state));
    let mut first = Some(message);
    let mut is_over = false;
    stream::iter(core::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let part = state.split_to(state.len().min(PIECE_BYTES));
        is_over = state.is_empty();
        Some(Piece {
            message: first.take(),
            state: part,
            last: is_over,
        })
    }))
}

/// The message without its state, and the piece that it came in.
pub(super) async fn begin(pieces: &mut Streaming<Piece>) -> Result<(Message, Piece), Status> {
    let first = pieces.message().await?;
    let mut piece = first.ok_or_else(|| malformed("without pieces"))?;
    let message = piece.message.take();
    let message = message.ok_or_else(|| malformed("without its message"))?;
    Ok((message, piece))
}

/// The message that the pieces make.
pub(super) async fn gather(
    mut message: Message,
    mut piece: Piece,
    mut pieces: Streaming<Piece>,
) -> Result<Message, Status> {
    let mut state = Vec::new();
    loop {
        if state.len() + piece.state.len() > SNAPSHOT_BYTES_MAX {
            return Err(malformed("of more than 1 GiB"));
        }
        state.extend_from_slice(&piece.state);
        if piece.last {
            break;
        }
        let next = pieces.message().await?;
        piece = next.ok_or_else(|| malformed("without its end"))?;
    }
    let snapshot = message.snapshot.as_mut();
    snapshot.ok_or_else(|| malformed("that is none"))?.state = state.into();
    Ok(message)
}

fn malformed(what: &str) -> Status {
    Status::invalid_argument(format!("a snapshot {what}"))
}
