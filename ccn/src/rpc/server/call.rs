//! One call on the server's side: its place, its deadline, its service, its answer.
//!
//! Whatever goes wrong before the service has answered is an answer too: a status without a message, as gRPC
//! wants it. A client that cancels ends the call where it is.

use core::pin::pin;
use core::task::Poll;
use std::future::poll_fn;

use anyedge_net::host::Host;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, Response};
use http_body::Body as _;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service as _;

use super::{Shared, count};
use crate::rpc::deadline::Deadline;
use crate::rpc::incoming::Incoming;
use crate::rpc::outgoing::{Ending, Outgoing};
use crate::rpc::peer::Peer;

/// Answers `request`.
pub(super) async fn answer<H: Host>(
    shared: Shared<H>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    peer: Peer,
) {
    let counts = &shared.counts;
    count(&counts.begun);
    let Some(_permit) = counts.calls.take() else {
        count(&counts.refused);
        let status = Status::resource_exhausted("the server answers as many calls as it may");
        return refuse(respond, status);
    };
    let deadlines = Deadline::of(request.headers(), &shared.host).and_then(|ours| {
        let body = Deadline::of(request.headers(), &shared.host)?;
        Ok((ours, body))
    });
    let (mut deadline, of_body) = match deadlines {
        Ok(deadlines) => deadlines,
        Err(status) => return refuse(respond, status),
    };
    let mut request = request.map(|stream| Body::new(Incoming::new(stream, of_body)));
    request.extensions_mut().insert(peer);
    let mut routes = shared.routes.clone();
    let mut service = pin!(async move {
        poll_fn(|context| {
            tower_service::Service::<Request<Body>>::poll_ready(&mut routes, context)
        })
        .await?;
        routes.call(request).await
    });
    let answered = poll_fn(|context| {
        if respond.poll_reset(context).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(status) = deadline.poll_passed(context) {
            return Poll::Ready(Some(Err(status)));
        }
        service.as_mut().poll(context).map(|answer| match answer {
            Ok(response) => Some(Ok(response)),
            Err(never) => match never {},
        })
    })
    .await;
    match answered {
        None => {}
        Some(Err(status)) => {
            count(&counts.late);
            refuse(respond, status);
        }
        Some(Ok(response)) => reply(&shared, respond, response, deadline).await,
    }
}

/// Answers with a status alone.
fn refuse(mut respond: SendResponse<Bytes>, status: Status) {
    let response = status.into_http::<()>();
    if respond.send_response(response, true).is_err() {
        respond.send_reset(Reason::CANCEL);
    }
}

async fn reply<H: Host>(
    shared: &Shared<H>,
    mut respond: SendResponse<Bytes>,
    response: Response<Body>,
    deadline: Deadline,
) {
    let (parts, body) = response.into_parts();
    let ends_here = body.is_end_stream();
    let head = Response::from_parts(parts, ());
    // It fails for a call that is over.
    let Ok(stream) = respond.send_response(head, ends_here) else {
        return;
    };
    if ends_here {
        return;
    }
    let outgoing = Outgoing {
        host: &shared.host,
        stream,
        stalled_max: shared.limits.stalled_max,
        deadline: Some(deadline),
        cancelled: None,
    };
    match outgoing.send(body).await {
        Ending::Stalled => count(&shared.counts.stalled),
        Ending::TooLate => count(&shared.counts.late),
        Ending::Complete | Ending::Unwanted | Ending::Broken => {}
    }
}
