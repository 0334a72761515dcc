//! What gRPC over a `Host` promises, written once and run in each world.
//!
//! Each case is a server on one machine and clients on the other. They wait by the hosts' clocks, for as long
//! as it takes and not longer. The services are those that every server has (health, reflection) and one that
//! never answers.

mod abuse;
mod calls;
mod certificates;
mod datagrams;
mod either_link;
mod links;

use core::future::Future;
use core::net::SocketAddr;
use core::pin::Pin;
use core::time::Duration;

use anyedge_ccn::rpc::{
    Channel, ClientSecurity, HealthBook, Limits, ReflectionService, Role, Server, ServerSecurity,
};
use anyedge_net::host::{Host, TcpListener as _};
use anyedge_proto::health::health_client::HealthClient;
use anyedge_proto::health::{HealthCheckRequest, HealthCheckResponse};
use tonic::service::Routes;
use tonic::{Code, Status};

use crate::conformance::{Case, Finding, Pair, case_list};

pub use calls::{Security, everything_at_once, survives_a_partition};
pub use datagrams::paced_datagrams;
pub use either_link::PacedFlow;
pub use links::paced_flow;

/// Every case, in the order of the files.
pub fn cases<H: Host>() -> Vec<Case<H>> {
    case_list! {
        calls:
            every_kind_of_call_is_answered,
            sixty_four_calls_share_a_connection,
            a_call_ends_at_its_deadline_at_both_ends,
            a_dropped_call_frees_its_place,
            what_is_not_served_is_unimplemented,
            a_lost_server_is_found_again,
            a_server_that_stops_ends_what_has_begun,
            nobody_there_is_unavailable;
        abuse:
            a_message_that_is_too_large_is_refused_and_hurts_nobody,
            a_reader_that_never_reads_loses_its_call_alone,
            one_call_too_many_is_refused,
            one_connection_too_many_is_refused,
            a_client_that_says_nothing_is_cut_off,
            a_client_that_never_answers_is_cut_off,
            bytes_that_are_no_http_end_their_connection,
            an_idle_connection_is_closed_and_made_again;
        certificates:
            a_certificate_says_who_calls_and_what_they_may,
            strangers_are_refused_by_either_end,
            who_does_not_speak_tls_is_cut_off;
        links:
            frames_arrive_in_order_both_ways,
            a_link_that_leads_nowhere_keeps_the_newest_frames_for_a_while,
            a_node_that_calls_again_ends_its_earlier_stream,
            a_link_comes_back_with_its_server,
            a_node_without_a_link_here_is_refused;
        datagrams:
            frames_arrive_whole_both_ways,
            a_link_that_leads_nowhere_keeps_the_newest_frames_for_a_while,
            a_node_that_calls_again_ends_its_earlier_connection,
            a_link_comes_back_with_its_answering_end,
            a_datagram_has_room_for_the_largest_packet_and_no_more,
            whoever_is_no_node_of_ours_gets_nothing_through,
            garbage_is_counted_and_hurts_nobody;
    }
}

/// Limits that a test need not wait for.
const LIMITS: Limits = Limits {
    connections_max: 16,
    calls_max: 128,
    streams_max: 100,
    header_bytes_max: 16 << 10,
    window_bytes: 64 << 10,
    connection_window_bytes: 1 << 20,
    send_bytes_max: 64 << 10,
    unsent_bytes_max: Some(16 << 10),
    handshake_max: Duration::from_secs(2),
    ping_every: Duration::from_secs(2),
    ping_wait: Duration::from_secs(2),
    stalled_max: Duration::from_secs(1),
    idle_max: Duration::from_secs(60),
    retry_max: Duration::from_millis(400),
};

/// A server on the second machine.
struct Served {
    server: Server,
    at: SocketAddr,
    book: HealthBook,
}

/// Health and reflection, as every server of ours has them.
fn usual_routes(book: &HealthBook) -> Routes {
    let services = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ];
    Routes::new(book.service()).add_service(ReflectionService::server(&services))
}

fn serve<H: Host>(pair: &Pair<H>, limits: Limits) -> Served {
    let book = HealthBook::new();
    serve_routes(pair, 0, usual_routes(&book), book, limits)
}

fn listen<H: Host>(pair: &Pair<H>, port: u16) -> (H::Listener, SocketAddr) {
    let local = SocketAddr::new(pair.b_address, port);
    let listener = pair.b.tcp_listen(local, 128).expect("the port is free");
    let at = listener.local_addr();
    (listener, at)
}

fn serve_routes<H: Host>(
    pair: &Pair<H>,
    port: u16,
    routes: Routes,
    book: HealthBook,
    limits: Limits,
) -> Served {
    let (listener, at) = listen(pair, port);
    let security = ServerSecurity::Plain(Role::Operator);
    let server = Server::serve(&pair.b, listener, routes, security, limits);
    Served { server, at, book }
}

fn channel<H: Host>(pair: &Pair<H>, at: SocketAddr, limits: Limits) -> Channel<H> {
    Channel::new(&pair.a, at, ClientSecurity::Plain, limits)
}

async fn check<H: Host>(channel: &Channel<H>) -> Result<i32, Status> {
    let request = HealthCheckRequest::default();
    let answer = HealthClient::new(channel.clone()).check(request).await?;
    Ok(answer.into_inner().status)
}

async fn watch<H: Host>(
    channel: &Channel<H>,
    service: &str,
) -> Result<tonic::Streaming<HealthCheckResponse>, Status> {
    let service = service.to_owned();
    let request = HealthCheckRequest { service };
    let answer = HealthClient::new(channel.clone()).watch(request).await?;
    Ok(answer.into_inner())
}

/// Nothing, when both are the same.
fn same<T: PartialEq + core::fmt::Debug>(what: &str, found: T, expected: T) -> Finding {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: {found:?}, expected {expected:?}"))
}

/// Nothing, when it is an error of this code.
fn fails<T>(what: &str, outcome: Result<T, Status>, code: Code) -> Finding {
    match outcome {
        Err(status) if status.code() == code => Ok(()),
        Err(status) => Err(format!("{what}: {status:?}, expected {code:?}")),
        Ok(_) => Err(format!("{what}: done, expected {code:?}")),
    }
}

/// Nothing, once `is_so`; 10 s later, that it never was.
async fn becomes(host: &impl Host, what: &str, is_so: impl Fn() -> bool) -> Finding {
    for _ in 0..500 {
        if is_so() {
            return Ok(());
        }
        pause(host, Duration::from_millis(20)).await;
    }
    Err(format!("{what} never came about"))
}

async fn pause(host: &impl Host, time: Duration) {
    host.sleep_until(host.now() + time).await;
}

fn says(status: Status) -> String {
    format!("{status:?}")
}

/// A boxed stream, as services return it.
type Answers<T> = Pin<Box<dyn futures_util::Stream<Item = Result<T, Status>> + Send>>;

/// Ends a case by `work`, or says that it took longer than `time`.
async fn in_time(
    host: &impl Host,
    time: Duration,
    what: &str,
    work: impl Future<Output = Finding>,
) -> Finding {
    let sleep = core::pin::pin!(host.sleep_until(host.now() + time));
    let work = core::pin::pin!(work);
    match futures_util::future::select(work, sleep).await {
        futures_util::future::Either::Left((finding, _)) => finding,
        futures_util::future::Either::Right(_) => Err(format!("{what} took longer than {time:?}")),
    }
}
